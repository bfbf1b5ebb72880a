"The documentation: every command in it is real, every link leads somewhere, and the site needs no network."

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from lacking import skip_without
from pages import (
    PAGES,
    ROOT,
    find_anchors,
    find_blocks,
    find_broken_links,
    find_calls,
    find_fault,
    find_named_calls,
    find_whole_calls,
)

from rumos_bank.operations.cli import app

sys.path.append(str(ROOT / "docs"))

COMMAND = typer.main.get_command(app)
(TARGETS,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
NEEDED = ("sphinx", "furo", "myst_nb", "latex2mathml")
CHAPTERS = sorted((ROOT / "nbs" / "lib").glob("*.ipynb"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def fault_of(call: list[str], whole: bool = True) -> str:
    return find_fault(call, COMMAND, set(TARGETS.split()), whole)


@pytest.fixture(scope="session", autouse=True)
def reference() -> Path:
    "The pages that are made from the library; links lead to them."
    from generate import write_reference

    write_reference(ROOT / "docs" / "reference")
    return ROOT / "docs" / "reference"


# What is typed


@each_page
def test_every_command_would_be_taken(page):
    text = page.read_text(encoding="utf-8")
    calls = [(call, True) for call in find_whole_calls(text)]
    calls += [(call, False) for call in find_named_calls(text)]
    faults = [f"{' '.join(call)}: {fault}" for call, whole in calls if (fault := fault_of(call, whole))]
    assert not faults


def test_commands_are_found_and_wrong_ones_are_told():
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert len([call for text in texts for call in find_whole_calls(text) + find_named_calls(text)]) > 100
    assert list(find_calls("A=1 make run  # once")) == [["make", "run"]]
    assert list(find_calls("rumos gc && rumos history | tail")) == [["rumos", "gc"], ["rumos", "history"]]
    assert fault_of(["rumos", "promote"]) == "no command crown"
    assert fault_of(["rumos", "keys", "burn"]) == "no command burn"
    assert fault_of(["make", "money"]) == "no target money"
    assert "--often" in fault_of(["rumos", "watch", "--often"], whole=False)
    assert "MissingParameter" in fault_of(["rumos", "gate"])
    assert not fault_of(["rumos", "gate"], whole=False)


@each_page
def test_code_in_python_compiles_and_what_stands_alone_runs(page):
    for block in find_blocks(page.read_text(encoding="utf-8"), "python"):
        tree = ast.parse(block)
        if page.name != "README.md" and isinstance(tree.body[0], ast.Import | ast.ImportFrom):
            exec(compile(tree, page.name, "exec"), {})


# Where links lead


@each_page
def test_every_link_leads_somewhere(page):
    assert not find_broken_links(page)


def test_a_link_to_nowhere_is_told(tmp_path):
    (tmp_path / "one.md").write_text(
        "# One\n[a](two.md) [b](#one) [c](#three) ![d](one.md#one) `[e](four.md)`\n"
    )
    assert find_broken_links(tmp_path / "one.md") == ["two.md", "#three"]


def test_every_public_name_has_an_entry(reference):
    for chapter in CHAPTERS:
        module = chapter.stem[3:]
        tree = ast.parse((ROOT / "rumos_bank" / f"{module}.py").read_text(encoding="utf-8"))
        (names,) = (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        assert {name.lower() for name in names} <= find_anchors(reference / f"{module}.md"), module


# The site


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    "Built as `make docs` builds it: a warning is an error."
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        skip_without(f"NO SITE: {', '.join(missing)} not installed. Lock the docs group: make lock")
    folder = tmp_path_factory.mktemp("docs")
    (specification,) = re.findall(
        r"-m (sphinx .*) \. _site$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    options = specification.replace("_proc/docs", str(folder / "trees")).split()
    command = [sys.executable, "-m", *options, ".", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


OUTSIDE = re.compile(
    r"<(?:script|link|img|iframe|source|video|object)\b[^>]*\b(?:src|href|data)=[\"'](?:https?:)?//[^\"']*|"
    r"(?:url\(|@import )[\"']?(?:https?:)?//[^\"')]*"
)


def test_the_site_asks_nobody_for_scripts_styles_fonts_or_pictures(site):
    pages = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > 120
    asked = {
        (path.name, found) for path in pages for found in OUTSIDE.findall(path.read_text(encoding="utf-8"))
    }
    assert not asked
    assert OUTSIDE.search('<script defer src="https://cdn.example/x.js">') and OUTSIDE.search(
        "url(//fonts.example/a)"
    )


def test_every_chapter_and_experiment_has_its_page_with_outputs(site):
    for book in [*CHAPTERS, *(ROOT / "nbs" / "experiments").glob("*.ipynb")]:
        assert (site / book.relative_to(ROOT)).with_suffix(".html").is_file()
    cost = (site / "nbs/lib/model/20_cost.html").read_text(encoding="utf-8")
    assert "<h1>20 Cost" in cost and "4000.0" in cost and "<math" in cost and "#| export" not in cost


async def search_site(site: Path, executable: str) -> tuple[list[str], list[str]]:
    "Titles that a search finds, and every address that the browser asked for."
    from playwright.async_api import async_playwright

    asked: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable)
        page = await browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        await page.goto((site / "index.html").as_uri())
        await page.wait_for_url("**/docs/index.html")
        await page.locator("input[name=q]").first.fill("calibration")
        await page.locator("input[name=q]").first.press("Enter")
        await page.wait_for_selector("ul.search li a")
        found = await page.locator("ul.search li a").all_inner_texts()
        await browser.close()
    return found, asked


def test_the_site_works_from_a_file_and_its_search_finds(site):
    from browsing import find_chromium
    from loops import run_alone

    if (executable := find_chromium()) is None:
        skip_without(
            "NO BROWSER: the search of the site was not tried. Install one with: make browser", by_root=True
        )
    found, asked = run_alone(search_site(site, executable))
    assert any("calibration" in title.lower() or re.match(r"\d\d ", title) for title in found)
    assert not [address for address in asked if not address.startswith(("file:", "data:"))]
