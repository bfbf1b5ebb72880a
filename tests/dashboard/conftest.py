"A desk over a store with a champion of synthetic clients, and the same desk served to a real browser."

from pathlib import Path

import pytest
from browsing import Opened, Served, find_chromium, serve_desk, settings_in
from lacking import skip_without
from stores import TINY, Place, make_data, with_refusals

from rumos_bank.desk.state import Desk, open_desk
from rumos_bank.governance.tracking import open_store
from rumos_bank.model.search import search

ROOT = Path(__file__).parents[2]
LOUD = "NO BROWSER: the desk was not tested in Chromium. Install one with: make browser"


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Place:
    "A champion (`first`), and a cheaper one that waits to be promoted (`second`)."
    settings = settings_in(tmp_path_factory.mktemp("desk"))
    data = make_data(seed=1)
    found = search("LightGBM", data.train, settings, TINY)
    place = Place(open_store(settings), settings, data, found)
    runs = {"first": with_refusals(found, 300), "second": with_refusals(found, 200)}
    place.runs = {key: place.log(run, key=key, family="LightGBM") for key, run in runs.items()}
    place.promote("first")
    return place


@pytest.fixture
def desk(place) -> Desk:
    return open_desk(place.settings)


@pytest.fixture(scope="session")
def chromium():
    "A browser without a window."
    executable = find_chromium()
    if executable is None:
        skip_without(LOUD, by_root=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(place, chromium, tmp_path_factory) -> Served:
    "The desk, served with the reports of the repository."
    with serve_desk(place.settings, tmp_path_factory.mktemp("log"), ROOT / "reports") as served:
        yield served


@pytest.fixture(scope="session")
def shared(served, chromium) -> Opened:
    "One page for all tests that leave it as it was."
    opened = Opened(chromium, served.address)
    yield opened
    opened.close()


@pytest.fixture
def page(shared):
    "The shared page, on its first tab with the safe client in the form."
    shared.reset()
    yield shared.page
    assert not shared.outside and not shared.errors


def pytest_terminal_summary(terminalreporter):
    if any(LOUD in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_sep("!", LOUD, red=True, bold=True)
