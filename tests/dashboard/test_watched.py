"The desk and the watch: calm while nothing is wrong, one line with what to do in both languages when something is."

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from loops import run_alone

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.desk.state import open_desk
from rumos_bank.desk.texts import LANGUAGES
from rumos_bank.desk.views import show_warnings
from rumos_bank.desk.widgets import Page, follow_champion
from rumos_bank.ground.settings import DATABASE
from rumos_bank.monitoring.monitor import keep_watch, watch
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record


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


def test_nothing_is_said_while_nothing_is_known(desk):
    assert not desk.watched and "differ from those" not in show_warnings(desk)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_store_that_is_away_is_told_until_it_is_back(place, tmp_path, language):
    settings = place.copy_to(tmp_path / "store").settings
    Champion.load(settings)  # fills the cache
    database = settings.store_path / DATABASE
    whole, words = (
        database.read_bytes(),
        {"en": ("does not answer", "refused"), "pt": ("não responde", "rejeitado")},
    )
    for opens_away in (True, False):
        if opens_away:
            database.write_bytes(b"no database at all" * 100)
        desk = open_desk(settings)
        desk.language = language
        database.write_bytes(b"no database at all" * 100)
        desk.follow()
        unreachable, refused = words[language]
        assert unreachable in show_warnings(desk) and refused not in show_warnings(desk)
        database.write_bytes(whole)
        assert not desk.follow() and unreachable not in show_warnings(desk)


def test_a_desk_where_nobody_else_looks_looks_itself(troubled):
    assert not troubled.watched
    wait_for_alarm(troubled)
    assert "LIMIT_BAL" in troubled.watched


def test_a_desk_believes_a_fresh_look_and_does_not_look_again(troubled):
    watch(troubled.settings)
    troubled.check_monitor()
    assert (
        "LIMIT_BAL" in troubled.watched and not troubled._scanning.is_alive() and not troubled._monitor._read
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_alarm_is_one_line_that_names_three_figures_and_what_to_do(troubled, language):
    watch(troubled.settings)
    troubled.check_monitor()
    troubled.language = language
    shown = show_warnings(troubled)
    words = {"en": ("Credit limit", "Look twice"), "pt": ("Limite de crédito", "Veja bem")}[language]
    assert all(word in shown for word in (*words, "rumos watch --report", "…"))
    assert shown.count("rumos watch") == 1


def test_the_line_appears_on_an_open_page_and_goes_again(troubled):
    async def look_at_the_page() -> None:
        page = Page(troubled)
        warnings = page.part(show_warnings, "champion alarm away watched", "warnings")
        follow_champion(page, 0.02)
        calm = watch(troubled.settings, first="20200101", last="20200101")
        for look, told in ((calm, False), (watch(troubled.settings), True), (calm, False)):
            keep_watch(troubled.settings, replace(look, scanned_at=datetime.now(UTC).isoformat()))
            async with asyncio.timeout(20):
                while ("Look twice" in warnings.value) != told:
                    await asyncio.sleep(0.02)

    run_alone(look_at_the_page())
