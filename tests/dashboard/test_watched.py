"The desk and the monitor: no warning while nothing is wrong, otherwise one line that states what to do, in both languages."

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from loops import run_alone

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.desk.state import open_desk
from rumos_bank.desk.views import show_warnings
from rumos_bank.desk.widgets import Page, follow_champion
from rumos_bank.ground.settings import DATABASE
from rumos_bank.monitoring.metrics import Trend
from rumos_bank.monitoring.monitor import keep_watch, watch
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record
from rumos_bank.serving.words import LANGUAGES


def wait_for_alarm(desk) -> None:
    end = time.monotonic() + 10
    while not desk.watched and time.monotonic() < end:
        desk.check_monitor()
        time.sleep(0.05)


@pytest.fixture
def troubled(place, tmp_path):
    "A desk whose last 200 clients were one and the same."
    settings = place.copy_to(tmp_path / "store").settings
    log = DecisionLog(settings)
    desk = open_desk(settings)
    decide_and_record(desk.champion, [EXAMPLE_CLIENT] * 200, "test", log)
    log.close()
    return desk


def test_there_is_no_warning_before_the_first_scan(desk):
    assert not desk.watched and "differ from those" not in show_warnings(desk)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unreachable_store_is_reported_until_it_answers(place, tmp_path, language):
    settings = place.copy_to(tmp_path / "store").settings
    Champion.load(settings)  # fills the cache
    database = settings.store_path / DATABASE
    whole, words = (
        database.read_bytes(),
        {"en": ("does not answer", "refused"), "pt": ("não responde", "rejeitado")},
    )
    for opens_unreachable in (True, False):
        if opens_unreachable:
            database.write_bytes(b"no database at all" * 100)
        desk = open_desk(settings)
        desk.language = language
        database.write_bytes(b"no database at all" * 100)
        desk.follow()
        unreachable, refused = words[language]
        assert unreachable in show_warnings(desk) and refused not in show_warnings(desk)
        database.write_bytes(whole)
        assert not desk.follow() and unreachable not in show_warnings(desk)


def test_a_desk_scans_itself_where_no_other_process_does(troubled):
    assert not troubled.watched
    wait_for_alarm(troubled)
    assert "LIMIT_BAL" in troubled.watched


def test_a_desk_uses_a_fresh_scan_and_starts_no_other(troubled):
    watch(troubled.settings)
    troubled.check_monitor()
    scanner = troubled._scanner
    assert "LIMIT_BAL" in troubled.watched and not scanner.thread.is_alive() and not scanner.monitor._begun


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_alarm_is_one_line_that_names_three_metrics_and_what_to_do(troubled, language):
    watch(troubled.settings)
    troubled.check_monitor()
    troubled.language = language
    shown = show_warnings(troubled)
    words = {
        "en": ("Credit limit", "Check each answer"),
        "pt": ("Limite de crédito", "Verifique cada resposta"),
    }[language]
    assert all(word in shown for word in (*words, "rumos watch --report", "…"))
    assert shown.count("rumos watch") == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_alarm_over_time_is_named_too(troubled, language):
    calm = watch(troubled.settings, first="20200101", last="20200101")
    crept = Trend("gini", 1, "202601", "202602", 2, 900, 0.02, 0.1, 0.4, 1.0, "202602", "202602")
    keep_watch(troubled.settings, replace(calm, trends=(crept,), scanned_at=datetime.now(UTC).isoformat()))
    troubled.check_monitor()
    troubled.language = language
    assert troubled.watched == ("gini",)
    words = {"en": "how well risks are ranked", "pt": "a ordenação dos riscos"}
    assert words[language] in show_warnings(troubled)


def test_the_line_appears_on_an_open_page_and_goes_again(troubled):
    async def read_the_page() -> None:
        page = Page(troubled)
        warnings = page.part(show_warnings, "champion alarm unreachable watched", "warnings")
        follow_champion(page, 0.02)
        calm = watch(troubled.settings, first="20200101", last="20200101")
        for scan, warned in ((calm, False), (watch(troubled.settings), True), (calm, False)):
            keep_watch(troubled.settings, replace(scan, scanned_at=datetime.now(UTC).isoformat()))
            async with asyncio.timeout(20):
                while ("Check each answer" in warnings.value) != warned:
                    await asyncio.sleep(0.02)

    run_alone(read_the_page())
