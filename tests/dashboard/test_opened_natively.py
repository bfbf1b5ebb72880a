"The desk in a plain `voila` and in JupyterLab looks as `rumos serve dashboard` shows it, and changes nothing around it."

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import DESKTOP
from processes import ROOT, clean_environment, find_free_port, is_open, kill_group, wait_until

NOTEBOOK = ROOT / "nbs/app/dashboard.ipynb"
LOOKS = """() => Object.fromEntries(Object.entries({
    ".head": ["backgroundColor", "borderBottomColor", "display"],
    ".tabs button.mod-active": ["backgroundColor", "color", "borderRadius", "fontWeight"],
    ".card": ["backgroundColor", "borderRadius", "boxShadow"],
    ".card h2": ["color", "fontSize"],
    ".card.answer .verdict": ["backgroundColor", "display", "borderRadius"],
    ".app .f input": ["height", "borderColor", "backgroundColor"],
    ".six": ["display"],
    ".main": ["display", "columnGap"],
}).map(([name, kept]) => {
    const style = getComputedStyle(document.querySelector(name));
    return [name, kept.map((each) => style[each])];
}))"""


@contextlib.contextmanager
def start(place, folder: Path, *words: object) -> Iterator[int]:
    "A Jupyter program as a user starts it, on a free port."
    port, settings = find_free_port(), place.settings
    environment = clean_environment() | {
        "PYTHONPATH": str(ROOT),
        "RUMOS_STORE_PATH": str(settings.store_path),
        "RUMOS_LEDGER_FOLDER": str(settings.ledger_path),
        "RUMOS_AUDIT_FOLDER": str(settings.audit_path),
        "RUMOS_DATA_CACHE": str(settings.cache_path),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, words), f"--port={port}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: is_open(port), 90, folder / "log")
        yield port
    finally:
        kill_group(process)


@pytest.fixture
def opened(chromium):
    context = chromium.new_context(viewport=DESKTOP, locale="en-GB")
    yield context.new_page()
    context.close()


def test_plain_voila_shows_the_desk_in_its_style(place, page, opened, tmp_path):
    expected = page.evaluate(LOOKS)
    with start(place, tmp_path, "voila", NOTEBOOK, "--no-browser", "--Voila.ip=127.0.0.1") as port:
        opened.goto(f"http://127.0.0.1:{port}/")
        opened.locator(".card.answer .verdict").wait_for(timeout=90_000)
        assert opened.evaluate(LOOKS) == expected


def test_jupyterlab_shows_the_desk_in_its_style_and_keeps_its_own(place, page, opened, tmp_path):
    expected = page.evaluate(LOOKS)
    shutil.copy(NOTEBOOK, tmp_path)
    plain = ("--no-browser", "--allow-root", "--IdentityProvider.token=", "--ip=127.0.0.1")
    with start(
        place, tmp_path, "jupyterlab", *plain, "--LabApp.expose_app_in_browser=True", tmp_path
    ) as port:
        opened.goto(f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK.name}")
        input_of_cell = ".jp-CodeCell .jp-Cell-inputWrapper"  # JupyterLab fills a cell after it has placed it
        opened.locator(input_of_cell).first.wait_for(state="attached", timeout=90_000)
        cell = (
            f"document.querySelector('{input_of_cell}')"  # JupyterLab takes it out and puts it back meanwhile
        )
        outside = f"{cell} && getComputedStyle({cell}).display"
        before = opened.wait_for_function(outside, timeout=90_000).json_value()
        opened.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.isReady", timeout=90_000
        )
        opened.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        opened.locator(".card.answer .verdict").wait_for(timeout=90_000)
        assert opened.evaluate(LOOKS) == expected
        assert opened.wait_for_function(outside, timeout=90_000).json_value() == before != "none"
