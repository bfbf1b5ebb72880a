"The desk without a browser: its state, its files, its views, its widgets, the command that serves it."

import ast
import asyncio
import base64
import csv
import io
import json
import re
import time
import zipfile
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from types import SimpleNamespace

import hypothesis
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import run_alone

from rumos_bank.data.contract import CLIENT_COLUMNS, FIELDS, ID, STATUSES
from rumos_bank.desk import views
from rumos_bank.desk.state import (
    MOST_EXPLAINED,
    NOTICE_SECONDS,
    PRESETS,
    Letter,
    Receipt,
    list_answers,
    open_desk,
    read_row,
    weigh_costs,
)
from rumos_bank.desk.texts import OfficerError, read_whole
from rumos_bank.desk.uploads import (
    UPLOADED,
    describe_line,
    describe_problem,
    describe_row,
    divide_upload,
    find_fault,
    list_reference_columns,
    read_upload,
    write_rejected,
    write_results,
)
from rumos_bank.desk.views import (
    draw_gauge,
    list_results,
    read_report,
    show_answer,
    show_board,
    show_links,
    show_reasons,
    show_receipt,
    show_rows,
    show_upload,
    show_verdict,
)
from rumos_bank.desk.widgets import (
    Page,
    build_desk,
    follow_champion,
    show_desk,
    show_error,
    voila_command,
    voila_environment,
)
from rumos_bank.governance.events import (
    AppealDecided,
    Appealed,
    Decided,
    LetterWritten,
    OutcomeKnown,
    Overridden,
    SecondLook,
)
from rumos_bank.ground.errors import DataError, NoChampionError, SettingsError
from rumos_bank.ground.settings import Costs, Prices, read_settings
from rumos_bank.serving.batch import EXPLAINED, predict_file
from rumos_bank.serving.cases import Case, find_by_reference, find_case
from rumos_bank.serving.champion import Decision
from rumos_bank.serving.decision_log import DECISION_ID, DecisionLog, decide_and_record, read_log
from rumos_bank.serving.words import LANGUAGES, list_choices, name_field, write_number

EVIL = '<img src=x onerror="alert(1)">'
OWN = "The salary comes later this month"  # a reason in a person's own words


# The form


def test_the_answer_is_the_champions(desk):
    for client in PRESETS.values():
        desk.fill(client)
        assert desk.decision == desk.champion.decide(desk.client)
        assert desk.explanation == desk.champion.explain(desk.client)


def test_an_impossible_entry_leaves_the_others_and_takes_the_answer_away(desk):
    assert not desk.enter("LIMIT_BAL", "12abc") and not desk.enter("BILL_AMT1", "99999999999")
    assert set(desk.problems) == {"LIMIT_BAL", "BILL_AMT1"} and desk.decision is None
    assert desk.enter("LIMIT_BAL", "80,000") and desk.decision is None
    assert desk.enter("BILL_AMT1", "-200") and desk.decision is not None
    assert (desk.client["LIMIT_BAL"], desk.client["BILL_AMT1"]) == (80_000, -200)


def test_a_preset_clears_what_was_wrong(desk):
    desk.enter("LIMIT_BAL", "x")
    desk.fill(PRESETS["new"])
    assert not desk.problems and desk.decision is not None


@given(st.integers(-10_000_000, 10_000_000), st.sampled_from(list(LANGUAGES)))
def test_what_is_written_is_read(number, language):
    assert read_whole(language, write_number(language, number)) == number


@given(st.text(max_size=12), st.sampled_from(list(LANGUAGES)))
def test_reading_never_raises(text, language):
    assert read_whole(language, text) is None or isinstance(read_whole(language, text), int)


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "90.000"), ("pt", "90,000"), ("pt", "90.000"), ("pt", "1.500.000"), ("en", "-1.234.567")],
)
def test_thousands_written_as_in_another_language_are_no_number_in_the_form(desk, language, text):
    desk.language, before = language, desk.client["BILL_AMT1"]
    assert read_whole(language, text) is None
    assert not desk.enter("BILL_AMT1", text) and desk.client["BILL_AMT1"] == before
    assert desk.problems["BILL_AMT1"][0] == "not whole"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", ["90.000", "90,000", "-1.500"])
def test_a_pasted_cell_with_two_readings_is_refused_with_both(language, text):
    with pytest.raises(OfficerError, match=text) as refused:
        read_row(language, f"{text}\t2", ("BILL_AMT1", "PAY_0"))
    for number in {text.replace(",", "").replace(".", ""), str(int(float(text.replace(",", "."))))} - {"-1"}:
        assert number in str(refused.value)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.500.000\t2", 1_500_000),
        ("-1,234,567.0;2", -1_234_567),
        ("90 000,00;2", 90_000),
        ("−500\t2", -500),
        ("5e4 2", 50_000),
        ("bill amt1,PAY_1,note\n90000,2,none", 90_000),
        ('"bill amt1","PAY_1","note"\n"90000","2","a, ""b"""', 90_000),
        ("ID\tBILL_AMT1\tPAY_0\tprobability\n00012\t90000\t2\t0.25", 90_000),
    ],
)
def test_a_pasted_row_is_read_as_a_file_is(text, amount):
    assert read_row("pt", text, ("BILL_AMT1", "PAY_0")).client == {"BILL_AMT1": amount, "PAY_0": 2}


@pytest.mark.parametrize("text", ["TRUE\t2", "0x10\t2", "2026-01-01\t2", "\t2", "NT$ 5\t2", "1e400\t2"])
def test_what_is_no_number_in_a_file_is_none_in_a_pasted_row(text):
    with pytest.raises(OfficerError, match="BILL_AMT1"):
        read_row("en", text, ("BILL_AMT1", "PAY_0"))


def test_a_pasted_quotation_mark_without_its_partner_is_refused():
    with pytest.raises(OfficerError, match="never closed"):
        read_row("en", 'BILL_AMT1;PAY_0;note\n500;2;"call', ("BILL_AMT1", "PAY_0"))


@pytest.mark.parametrize("text", ["1e1000000", "9" * 5000, "1e5", "inf", "-Infinity"])
def test_a_number_without_end_is_refused_at_once(text):
    began = time.monotonic()
    assert all(read_whole(language, text) is None for language in LANGUAGES)
    assert time.monotonic() - began < 1


def test_a_huge_number_is_a_fault_and_no_error(desk):
    assert find_fault("BILL_AMT1", 10**400)[0] == "not whole" and not desk.enter("BILL_AMT1", 10**400)


@given(st.text(max_size=60))
def test_a_pasted_row_is_a_client_or_a_sentence(text):
    try:
        client = read_row("en", text, ("LIMIT_BAL", "PAY_0")).client
    except OfficerError as error:
        assert all(error.translate(language) for language in LANGUAGES)
    else:
        assert not any(find_fault(*pair)[0] for pair in client.items())


@pytest.mark.parametrize("heading", ["PAY_1;limit bal", "Pay_0;LIMIT_BAL", "note;PAY_0;LIMIT_BAL"])
def test_a_pasted_heading_is_read_by_its_names(heading):
    row = "x;2;90000" if heading.startswith("note") else "2;90000"
    read = read_row("en", f"{heading}\n{row}", ("LIMIT_BAL", "PAY_0"))
    assert read.client == {"LIMIT_BAL": 90000, "PAY_0": 2} and read.reference == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PAY_0;limite\n2;9000", "lacks LIMIT_BAL"),
        ("PAY_0;LIMIT_BAL;pay_1\n2;9000;0", "More than one column stands for PAY_0"),
        ("PAY_0;LIMIT_BAL\n2;9000;0", "has 3 numbers; 2 are needed"),
        ("9000;2\n8000;0", "One row, please"),
        ("LIMIT_BAL;PAY_0\n9000;2\n8000;0", "One row, please"),
        ("LIMIT_BAL;PAY_0", "One row, please"),
        ("limite;atraso\n9000;2", "One row, please"),
    ],
)
def test_a_paste_that_could_be_misread_is_refused(text, message):
    with pytest.raises(OfficerError, match=message):
        read_row("en", text, ("LIMIT_BAL", "PAY_0"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_field_has_a_name_and_every_code_has_words(language):
    names = [name_field(language, field.name) for field in FIELDS]
    assert len(set(names)) == len(FIELDS)
    for field in FIELDS:
        words = list_choices(language, field.name)
        assert set(words) == set(field.codes) and len(set(words.values())) == len(words)


# Deciding


def test_a_decision_is_on_record_before_it_is_shown(desk, place):
    desk.fill(PRESETS["late"])
    receipt = desk.record()
    entry = DecisionLog(place.settings).find(receipt.id)
    assert entry["answer"] == desk.decision.to_dict() and entry["model"]["digest"] == desk.champion.digest
    assert entry["input"] == desk.client and entry["time"] == receipt.time


def test_an_override_stands_beside_the_models_decision(desk, place):
    desk.fill(PRESETS["late"])
    receipt = desk.record_otherwise(f" {EVIL} ", f"{OWN} {EVIL}")
    case = find_case(place.settings, receipt.id)
    (own,) = case.events
    assert own["decision"] == case.id and own["prediction"] != case.made.answer["prediction"]
    assert own["officer"] == case.made.officer == desk.officer == EVIL and "<img" not in show_receipt(desk)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("officer", "reason", "says"),
    [
        ("", OWN, ("Your name", "O seu nome")),
        ("  ", OWN, ("Your name", "O seu nome")),
        ("x", "", ("three different words and 15 letters", "três palavras diferentes e 15 letras")),
        ("x", "late late late late late", ("three different words", "três palavras")),
        ("x", "it is so", ("15 letters", "15 letras")),
    ],
)
def test_an_override_needs_a_name_and_a_reason(desk, place, language, officer, reason, says):
    before = len(list(read_log(place.settings.audit_path)))
    with pytest.raises(OfficerError) as refused:
        desk.record_otherwise(officer, reason)
    assert says[list(LANGUAGES).index(language)] in refused.value.translate(language)
    assert desk.receipt is None and len(list(read_log(place.settings.audit_path))) == before


def test_nothing_is_recorded_while_an_entry_is_impossible(desk):
    desk.enter("LIMIT_BAL", "x")
    with pytest.raises(OfficerError, match="correct what is marked"):
        desk.record()


def test_a_second_click_records_nothing_more(desk, place):
    desk.fill(PRESETS["late"])
    receipt = desk.record()
    assert desk.record() is receipt
    own = desk.record_otherwise("A. Officer", OWN)
    assert desk.record() is own and own.id == receipt.id
    desk.take_file("two.csv", make_file(2).to_csv(index=False).encode())
    batch = desk.decide_file()
    assert desk.decide_file() is batch
    ours = [each for each in read_log(place.settings.audit_path) if each["id"][:17] == batch.id[:17]]
    assert [each["kind"] for each in ours] == ["decision", "override", "batch"]
    assert [ours[0]["id"], ours[1]["decision"], ours[2]["id"]] == [receipt.id, receipt.id, batch.id]


class Like:
    "The champion in force in all but what is named; `other` is what it answers otherwise."

    def __init__(self, champion, other="", **others):
        self.champion, self.version, self.other = champion, 99, other
        self.__dict__.update(others)

    def __getattr__(self, name):
        return getattr(self.champion, name)

    def score(self, values):
        decision = self.champion.score(values)._replace(model_version=99)
        return (
            decision._replace(**{self.other: 1 - getattr(decision, self.other)}) if self.other else decision
        )

    def decide(self, client):
        return self.score(self.read_client(client))


def promote(desk, champion) -> None:
    "Let this champion be found at the next request."
    desk._follower = SimpleNamespace(champion=champion, alarm="", unreachable="", refresh=lambda: True)


@pytest.mark.parametrize("other", ["prediction", "refer"])
@pytest.mark.parametrize("polled", [False, True])
@pytest.mark.parametrize("against", [False, True])
def test_an_answer_that_changed_unseen_is_not_recorded(desk, monkeypatch, other, polled, against):
    "Another champion takes over during the click, or just before it, and decides otherwise."
    desk.fill(PRESETS["late"])
    promote(desk, Like(desk.champion, other=other))
    if polled:
        desk.follow()
    with pytest.raises(OfficerError, match="the model changed just now"):
        desk.record_otherwise("A. Officer", OWN) if against else desk.record()
    assert desk.receipt is None and desk.decision.model_version == 99
    later = time.monotonic() + NOTICE_SECONDS
    monkeypatch.setattr("rumos_bank.desk.state.monotonic", lambda: later)
    assert desk.record().prediction == desk.decision.prediction


def test_a_new_champion_with_the_same_answer_delays_no_officer(desk):
    desk.fill(PRESETS["late"])
    desk.champion.cached = "as if the store had been unreachable"
    promote(desk, same := Like(desk.champion, cached=""))
    assert desk.record() and desk.champion is same


def test_a_real_clients_place_is_not_taken_by_a_synthetic_one(desk, tmp_path):
    "Where no source answers, unless the champion knows synthetic clients only."
    offline = {"sources": ("http://127.0.0.1:1/clients.csv",), "offline_after": 1, "cache": tmp_path}
    assert desk.settings.data.on_missing_data == "twin"
    data = desk.settings.data.model_copy(update=offline)
    desk.settings = desk.settings.model_copy(update={"data": data})
    promote(desk, Like(desk.champion, about=desk.champion.about | {"twin": False}))
    desk.follow()
    before = desk.client
    with pytest.raises(DataError, match="no source gave the data set"):
        desk.find_client("12")
    assert desk.client == before


@pytest.fixture
def opened(place):
    "Settings of a desk that other machines can reach."
    desk = place.settings.desk.model_copy(update={"host": "0.0.0.0"})
    return place.settings.model_copy(update={"desk": desk})


def test_a_champion_of_synthetic_clients_is_not_shown_to_a_network(desk, opened):
    with pytest.raises(SettingsError, match="synthetic clients only"):
        open_desk(opened)
    assert "synthetic clients only" in build_desk(opened).children[0].value
    open_desk(opened.model_copy(update={"behind_loopback": True}))
    current, desk.settings = desk.champion, opened
    promote(desk, Like(current))
    assert not desk.follow() and desk.champion is current and "synthetic clients only" in desk.alarm


def follow_for(desk, seconds: float, page: Page) -> int:
    "Follow the champion while something else runs on the same loop; the number of its turns."

    async def turn() -> int:
        follow_champion(page, 0.02)
        turns, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.01)
            turns += 1
        page.following.cancel()
        return turns

    return run_alone(turn())


def test_a_slow_server_keeps_no_officer_waiting(desk):
    def refresh() -> bool:
        time.sleep(0.4)
        return False

    desk._follower = SimpleNamespace(champion=desk.champion, alarm="", unreachable="", refresh=refresh)
    assert follow_for(desk, 0.5, Page(desk)) > 15


def test_an_error_does_not_end_the_following(desk, monkeypatch):
    requests = []

    def refresh() -> bool:
        requests.append(len(requests))
        if len(requests) == 1:
            raise ConnectionError("an error that no other test foresees")
        return False

    promote(desk, other := Like(desk.champion))
    monkeypatch.setattr(desk._follower, "refresh", refresh)
    monkeypatch.setattr(desk, "check_monitor", lambda: 1 / (len(requests) - 2))  # the second fails elsewhere
    page = Page(desk)
    follow_for(desk, 0.5, page)
    assert len(requests) > 3 and desk.champion is other
    assert "under the number" in page.alert.value and "There is a new champion" not in page.alert.value


def test_without_a_champion_the_page_is_a_sentence(tmp_path):
    empty = read_settings(
        environ={"RUMOS_STORE_PATH": str(tmp_path / "none"), "RUMOS_DATA_CACHE": str(tmp_path)}
    )
    with pytest.raises(NoChampionError):
        open_desk(empty)
    shown = build_desk(empty).children[0].value
    assert "There is no champion now" in shown and "rumos run" in shown and "rumos champion" in shown


# One number, a reference, and earlier cases


def test_a_reference_is_recorded_found_and_no_input_of_the_model(desk, place):
    desk.fill(PRESETS["late"], "C-1")
    before = desk.decision
    assert desk.refer(" R-2026/17 ") and desk.reference == "R-2026/17" and desk.decision == before
    receipt = desk.record()
    entry = DecisionLog(place.settings).find(receipt.id)
    assert find_by_reference(place.settings, "R-2026/17") == [receipt.id]
    assert entry["input"] == desk.client and "R-2026/17" not in json.dumps(entry)
    assert "R-2026/17" in show_receipt(desk)
    desk.fill(PRESETS["safe"])
    assert desk.reference == "" and desk.receipt is None


def test_another_reference_takes_the_number_away(desk):
    desk.fill(PRESETS["late"], "R-1")
    assert desk.record() and desk.refer("R-2") and desk.receipt is None


@pytest.mark.parametrize("text", ["x" * 65, "a\x07b", "a\u202eb"])
@pytest.mark.parametrize(
    ("language", "says"), [("en", "at most 64 characters"), ("pt", "no máximo 64 caracteres")]
)
def test_what_is_no_reference_is_explained_and_not_recorded(desk, text, language, says):
    page, desk.language = show_desk(desk), language
    (field,) = find_widgets(page, "own")
    field.value = text
    assert says in field.description and "invalid" in field._dom_classes and desk.decision
    with pytest.raises(OfficerError) as refused:
        desk.record()
    assert says in refused.value.translate(language) and desk.receipt is None
    field.value = "x" * 64
    assert "invalid" not in field._dom_classes and desk.reference == "x" * 64


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("PAY_0;LIMIT_BAL;Referência do cliente;ID\n2;9000;00012;7", "00012"),
        ("ID;PAY_0;LIMIT_BAL\n00012;2;9000", "00012"),
        ("client_ref,PAY_0,LIMIT_BAL\n,2,9000", ""),
        ("00012\t9000\t2", "00012"),
        ("9000\t2", ""),
    ],
)
def test_a_pasted_reference_comes_along(text, reference):
    assert read_row("en", text, ("LIMIT_BAL", "PAY_0")) == ({"LIMIT_BAL": 9000, "PAY_0": 2}, reference)


def test_a_pasted_row_whose_reference_is_none_leaves_the_form_as_it_was(desk):
    before = desk.client
    with pytest.raises(OfficerError, match="at most 64"):
        desk.paste(
            f"ID;{';'.join(desk.champion.seen)}\n{'x' * 65};{';'.join(map(str, desk.client.values()))}"
        )
    assert desk.client == before


def test_an_override_keeps_the_number_and_shows_the_final_decision(desk, place):
    desk.fill(PRESETS["late"])
    first = desk.record()
    desk.record_otherwise("A. Officer", OWN)
    shown = [show_receipt(desk), show_verdict(desk), views.show_footer(desk)]
    assert desk.receipt.id == first.id and first.id in shown[0] and first.id in shown[2]
    assert ">Accept<" in shown[1] and "The model: refuse." in shown[1] and "Accept" in shown[0]
    desk.record_otherwise("B. Officer", "The employer has closed down for good")
    assert desk.receipt == (first.id, desk.receipt.time, 1, "B. Officer", 1)
    assert "as by the model" in show_verdict(desk) and ">Refuse<" in show_verdict(desk)
    final = find_case(place.settings, first.id).final
    assert (final.prediction, final.by) == (1, "B. Officer")
    desk.language = "pt"
    assert "Decidido por B. Officer, tal como pelo modelo" in show_verdict(desk)


def test_a_name_that_was_stated_is_recorded_from_then_on(desk, place):
    desk.fill(PRESETS["late"])
    desk.record_otherwise("A. Officer", OWN)
    desk.fill(PRESETS["safe"])
    assert DecisionLog(place.settings).find(desk.record().id)["officer"] == "A. Officer"


def test_an_earlier_case_is_found_by_number_reference_and_the_number_of_an_override(desk, place):
    desk.fill(PRESETS["late"], "F-77")
    receipt = desk.record_otherwise("A. Officer", OWN)
    other = open_desk(place.settings)
    for text in (f" {receipt.id.upper()} ", "F-77", find_case(place.settings, receipt.id).events[0]["id"]):
        other.cases.find(text)
        assert other.cases.case.id == receipt.id and other.cases.case_reference in ("", "F-77")
        assert other.cases.why == other.champion.explain(desk.client)
    for text in ("", "20200101-00000000-0", "unknown", "x" * 100):
        with pytest.raises(OfficerError, match="There is no case") as refused:
            other.cases.find(text)
        assert "Não há nenhum processo" in refused.value.translate("pt")
    assert other.cases.case.id == receipt.id


def refer_a_client(desk, reference: str) -> str:
    "A case that the model refers; its number."
    champion = Like(desk.champion, other="refer")
    if champion.score(champion.read_client(desk.client)).refer is False:
        champion = desk.champion
    made = decide_and_record(champion, desk.client, "tests", desk._log, references=reference, interface="api")
    return made.id


def test_a_second_look_is_taken_once(desk, place):
    number = refer_a_client(desk, "S-1")
    desk.cases.find("S-1")
    model = desk.cases.case.made.answer["prediction"]
    assert desk.cases.case.waiting == "second look" and list_answers(desk.cases.case) == (0, 1)
    assert "waits for a second look" in views.show_case(desk)
    for _ in range(2):
        desk.cases.decide(model, "A. Officer", OWN)
    (look,) = find_case(place.settings, number).events
    assert (look["kind"], look["prediction"]) == ("second look", model)
    assert not desk.cases.case.waiting and list_answers(desk.cases.case) == (1 - model,)
    assert "Second look by A. Officer" in views.show_events(desk)


def test_an_appeal_is_taken_and_answered_by_another_officer(desk, place):
    desk.fill(PRESETS["late"], "P-1")
    desk.record_otherwise("A. Officer", OWN)
    desk.cases.find("P-1")
    with pytest.raises(OfficerError, match="nothing to appeal against"):
        desk.cases.appeal("A. Officer", OWN)
    desk.cases.decide(1, "A. Officer", "The employer has closed down for good")
    assert desk.receipt.prediction == 1
    with pytest.raises(OfficerError, match="different words"):
        desk.cases.appeal("A. Officer", "no")
    desk.cases.appeal("A. Officer", "The client has found other work")
    assert desk.cases.case.waiting == "appeal" and "due by" in views.show_case(desk)
    with pytest.raises(OfficerError, match="answer the appeal first"):
        desk.record_otherwise("C. Officer", OWN)
    with pytest.raises(OfficerError) as refused:
        desk.cases.decide(0, " a.  OFFICER", "The new employer confirms it")
    assert "Another officer" in str(refused.value) and "outro analista" in refused.value.translate("pt")
    desk.cases.decide(0, "B. Officer", "The new employer confirms it")
    final = find_case(place.settings, desk.receipt.id).final
    assert (final.prediction, final.by, final.how) == (0, "B. Officer", "appeal decided")
    assert (desk.receipt.prediction, desk.receipt.officer) == (0, "B. Officer")


def test_nothing_is_decided_about_a_case_that_another_officer_changed(desk, place):
    desk.fill(PRESETS["late"], "Q-1")
    desk.record()
    desk.cases.find("Q-1")
    other = open_desk(place.settings)
    other.cases.find("Q-1")
    other.cases.decide(0, "B. Officer", OWN)
    with pytest.raises(OfficerError, match="changed meanwhile"):
        desk.cases.decide(0, "A. Officer", "The employer confirms the salary")
    assert desk.cases.case.final.by == desk.receipt.officer == "B. Officer"


def test_the_widgets_offer_what_the_case_allows(desk):
    page = show_desk(desk)
    desk.fill(PRESETS["late"], "W-1")
    (record,) = find_widgets(page, "record")
    record.click()
    (act,) = find_widgets(page, "act")
    assert "gone" in act._dom_classes
    (opener,) = [
        each for each in find_widgets(page, "btn") if getattr(each, "description", "") == "Open the case"
    ]
    opener.click()
    accept, refuse = act.children[3].children
    assert (
        "gone" not in act._dom_classes and "gone" in refuse._dom_classes and "gone" not in accept._dom_classes
    )
    accept.click()
    assert "Your name, please" in act.children[1].description
    act.children[1].value, act.children[2].value = "A. Officer", OWN
    accept.click()
    accept.click()
    assert len(desk.cases.case.events) == 1 and desk.officer == "A. Officer" and act.children[2].value == ""
    (alert,) = find_widgets(page, "alert")
    assert alert.value == "" and ">Accept<" in find_widgets(page, "answer")[0].children[0].value


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_that_can_happen_to_a_case_is_told(desk, language):
    desk.language, desk.cases.case = language, make_case(desk, "word")
    shown = views.show_events(desk) + views.show_case(desk) + views.show_case_facts(desk)
    other = [text for text in re.findall(r">([^<>]+)<", shown) if text.strip()]
    assert len(re.findall("<li>", shown)) == 6
    mine, theirs = (
        ("Carta ao cliente", "Letter to the client") if language == "pt" else ("Letter to", "Carta ao")
    )
    assert mine in shown and theirs not in shown and other


def test_a_letter_is_recorded_after_it_was_looked_at(desk, place):
    pytest.importorskip("typst")
    named = dict.fromkeys(("bank", "address", "contact", "data_protection", "authority"), "somewhere")
    desk.cases.settings = place.settings.model_copy(
        update={"letters": place.settings.letters.model_copy(update=named)}
    )
    desk.fill(PRESETS["late"], "L-1")
    desk.record()
    desk.cases.find("L-1")
    desk.cases.preview("pt")
    assert desk.cases.draft.pdf == b"" and not desk.cases.case.events and 'lang="pt"' in desk.cases.draft.page
    assert desk.receipt.id in desk.cases.draft.page and "L-1" in desk.cases.draft.page
    for _ in range(2):
        desk.cases.record_letter()
    assert desk.cases.draft.pdf.startswith(b"%PDF") and "letter" in views.show_letter(desk)
    (written,) = desk.cases.case.events
    assert written["language"] == "pt" and len(written["hashed"]) == 64
    desk.cases.preview("en")
    desk.record_otherwise("A. Officer", OWN)
    assert desk.cases.draft is None, "an old letter does not stand beside a new decision"


def test_without_a_named_bank_no_letter_is_written(desk):
    desk.fill(PRESETS["late"], "L-2")
    desk.record()
    desk.open_case()
    with pytest.raises(OfficerError, match="No letter can be written") as refused:
        desk.cases.preview("en")
    assert "Não se pode escrever a carta" in refused.value.translate("pt") and desk.cases.draft is None


# Cases of a file


def test_rows_of_a_file_are_found_by_their_number_and_reference(desk, place):
    frame = make_file(4).assign(**{"Client ref": ["U-1", "U-2", "", "U-4"]})
    frame.loc[0, "PAY_0"] = 77
    desk.officer = "A. Officer"
    desk.take_file("four.csv", frame.to_csv(index=False).encode())
    assert desk.upload.column == "Client ref"
    batch = desk.decide_file()
    back = pd.read_csv(io.BytesIO(batch.results[1]), dtype=str)
    assert list(back[DECISION_ID]) == list(batch.answers[DECISION_ID]) and list(batch.answers.index) == [
        3,
        4,
        5,
    ]
    for row, reference in ((3, "U-2"), (5, "U-4")):
        desk.cases.find(reference)
        case = desk.cases.case
        assert case.id == batch.answers[DECISION_ID][row] and case.entry["row"] == row
        assert (case.made.interface, case.made.officer) == ("upload", "A. Officer")
        assert case.made.input == batch.upload.clients.loc[row].to_dict()
        desk.cases.find(case.id)
        assert desk.cases.case.id == case.id
    with pytest.raises(OfficerError, match="There is no case"):
        desk.cases.find("U-1")
    with pytest.raises(OfficerError, match="number of a whole file"):
        desk.cases.find(batch.id)
    assert list(list_results("pt", batch)["Processo"]) == list(batch.answers[DECISION_ID])
    desk.cases.find("U-4")
    desk.cases.decide(1 - desk.cases.case.final.prediction, "A. Officer", OWN)
    assert desk.cases.case.final.by == "A. Officer"


def test_a_column_of_references_is_never_guessed(desk):
    frame = make_file(4).assign(note=["a", "b", "c", "d"], same="x")
    desk.take_file("four.csv", frame.to_csv(index=False).encode())
    page = show_desk(desk)
    (column,) = [
        each for each in find_widgets(page, "choice") if ("None", "") in getattr(each, "options", ())
    ]
    assert desk.upload.column == "" and [value for _, value in column.options] == ["", ID, "note"]
    column.value = "note"
    assert desk.upload.references == ["a", "b", "c", "d"]
    desk.decide_file()
    desk.cases.find("c")
    assert desk.cases.case.entry["row"] == 4
    desk.choose_references(ID)
    assert desk.upload.column == "note", "what is decided stays"


def test_a_row_whose_reference_is_none_is_returned(desk):
    frame = make_file(4).assign(reference=["a", "x" * 65, "c", "d"])
    desk.take_file("four.csv", frame.to_csv(index=False).encode())
    assert list(desk.upload.clients.index) == [2, 4, 5] and "x" * 40 in show_rows(desk)
    assert "no máximo 64" in read_lines(write_rejected(desk.upload, "pt"))[1]
    desk.choose_references("")
    assert list(desk.upload.clients.index) == [2, 3, 4, 5]


def test_a_file_that_comes_again_is_noticed_and_recorded_again(desk, place):
    content = make_file(4).assign(LIMIT_BAL=123_000).to_csv(index=False).encode()
    desk.take_file("four.csv", content)
    assert desk.repeated is None and "already" not in show_upload(desk)
    first = desk.decide_file()
    for name, sent in (("again.csv", content), ("other.csv", content.replace(b",", b";"))):
        desk.take_file(name, sent)
        assert desk.repeated["id"] == first.id and first.id in show_upload(desk)
        assert "were decided already" in show_upload(desk)
        desk.language = "pt"
        assert "já foram decididos" in show_upload(desk)
        desk.language = "en"
    assert desk.decide_file().id != first.id
    desk.take_file("four.csv", content.replace(b"123000", b"124000"))
    assert desk.repeated is None


def test_a_file_gets_its_reasons(desk):
    desk.take_file("four.csv", make_file(4).to_csv(index=False).encode())
    desk.language = "pt"
    desk.decide_file()
    steps = []
    desk.explain_file(lambda done, total: steps.append((done, total)))
    back = pd.read_csv(io.BytesIO(desk.batch.results[1]))
    refused = back["prediction"] == 1
    assert steps == [(0, 2)] and refused.sum() == 2
    reasons = back.loc[refused, [name for name in EXPLAINED if name.startswith("reason")]].fillna("")
    assert reasons.agg("; ".join, axis=1).str.contains("Último pagamento: dois meses de atraso").all()
    assert back.loc[refused, "change_1"].str.startswith("Se ").all()
    assert back.loc[~refused, "reason_1"].isna().all()
    desk.take_file(*desk.batch.results)
    assert set(desk.upload.replaced) > {*EXPLAINED, DECISION_ID}


def test_more_reasons_than_the_desk_can_give_are_refused_and_the_decisions_stay(desk):
    desk.take_file("many.csv", make_file(2 * MOST_EXPLAINED + 2).to_csv(index=False).encode())
    desk.decide_file()
    with pytest.raises(OfficerError, match="rumos predict --reasons") as refused:
        desk.explain_file(lambda done, total: None)
    assert "1,001" in str(refused.value) and desk.batch.reasons is None and len(desk.batch.answers) == 2002


# What if


def test_the_curve_is_the_cost_of_the_cells(desk):
    cells = {name: np.asarray(value) for name, value in desk.champion.reference["cells"].items()}
    costs = Costs(false_positive=7, false_negative=1000)
    weighed = weigh_costs(desk.champion, costs)
    for place in (0, 3, len(cells["score"])):
        refused_payers = (cells["clients"] - cells["defaults"])[place:].sum()
        accepted_defaults = cells["defaults"][:place].sum()
        expected = (7 * refused_payers + 1000 * accepted_defaults) / cells["clients"].sum()
        assert weighed.curve[place] == pytest.approx(expected)
    assert weigh_costs(desk.champion, desk.champion.prices.flat).threshold == desk.champion.threshold


# Files


def make_file(rows: int) -> pd.DataFrame:
    clients = pd.DataFrame([PRESETS["safe"], PRESETS["late"]] * (rows // 2))
    return clients.assign(**{ID: range(1, len(clients) + 1)})


def test_thirty_thousand_rows_take_seconds(desk):
    frame = make_file(30_000)
    frame.loc[::3, "LIMIT_BAL"] = -1
    desk.settings = desk.settings.model_copy(
        update={"desk": desk.settings.desk.model_copy(update={"max_upload": 20})}
    )
    began = time.monotonic()
    desk.take_file("many.csv", frame.to_csv(index=False).encode())
    batch = desk.decide_file()
    assert len(read_lines(batch.results)) == 20_001
    assert len(read_lines(write_rejected(batch.upload, "pt"))) == 10_001 and show_rows(desk)
    assert len(batch.answers) == 20_000 and batch.upload.read == 30_000
    assert time.monotonic() - began < 10
    one = desk.champion.decide({name: PRESETS["late"][name] for name in desk.champion.seen})
    assert set(batch.answers.loc[batch.answers.index % 2 == 1, "probability"]) == {one.probability}


def test_totals_add_up(desk):
    desk.take_file("two.csv", make_file(2).to_csv(index=False).encode())
    answers = desk.decide_file().answers
    accept, refuse = answers["expected_cost_accept"], answers["expected_cost_refuse"]
    chosen = np.where(answers["prediction"] == 1, refuse, accept).sum()
    sums = desk.batch.add_up()
    assert sums["cost"] == pytest.approx(chosen) and sums["saved"] == pytest.approx(accept.sum() - chosen)


def read_lines(written: tuple[str, bytes], encoding: str = "utf-8-sig") -> list[str]:
    return written[1].decode(encoding).splitlines()


def write_as(kind: str, frame: pd.DataFrame, folder) -> tuple[str, bytes]:
    "A file as another program writes it."
    if kind in ("xlsx", "ods", "parquet"):
        path = folder / f"a.{kind}"
        frame.to_parquet(path) if kind == "parquet" else frame.to_excel(
            path, index=False, engine={"xlsx": "openpyxl", "ods": "odf"}[kind]
        )
        return path.name.upper(), path.read_bytes()
    sign = {"semicolons": ";", "tabs": "\t", "wide": "\t"}.get(kind, ",")
    encoding = {"windows": "cp1252", "wide": "utf-16"}.get(kind, "utf-8-sig")
    return "a.txt", frame.to_csv(index=False, sep=sign).encode(encoding)


KINDS = ("csv", "semicolons", "tabs", "wide", "windows", "xlsx", "ods", "parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_reads_the_same_in_every_format(kind, tmp_path):
    if kind == "ods":
        pytest.importorskip("odf", reason="odfpy is not installed")
    frame = make_file(4)
    divided = read(*write_as(kind, frame.assign(nome="José"), tmp_path), CLIENT_COLUMNS)
    assert divided.good.all() and not divided.broken and divided.table["nome"].to_pylist() == ["José"] * 4
    assert divided.rows.tolist() == ([1, 2, 3, 4] if kind == "parquet" else [2, 3, 4, 5])
    assert divided.clients.reset_index(drop=True).equals(frame[list(CLIENT_COLUMNS)].astype("int64"))


def read(name: str, content: bytes, seen=("BILL_AMT1", "PAY_0")):
    return divide_upload(read_upload(name, content, seen, 1), seen)


def list_rejected(upload) -> dict[int, str]:
    "Number of a row that cannot be decided → why."
    return {int(upload.rows[at]): describe_row("en", upload, at) for at in np.flatnonzero(~upload.good)}


@pytest.mark.parametrize("sign", [";", "\t", ","])
@pytest.mark.parametrize("amount", ["20.000", "20,000"])
@pytest.mark.parametrize("other", ["", "1", "late"])
def test_what_may_be_thousands_or_a_fraction_is_returned(sign, amount, other):
    cell = f'"{amount}"' if sign == "," else amount
    text = f"BILL_AMT1{sign}PAY_0\n{cell}{sign}2\n{other}{sign}0\n500{sign}1\n"
    divided = read("amounts.csv", text.encode())
    assert f"“{amount}” can be 20" in (why := list_rejected(divided)[2]) and "20000" in why
    assert {"BILL_AMT1": 500, "PAY_0": 1} in divided.clients.to_dict("records")
    assert not (divided.clients["BILL_AMT1"].abs() == 20).any()


@pytest.mark.parametrize(
    ("cells", "amounts"),
    [
        (["20.000", "-1.500.000"], [20_000, -1_500_000]),
        (["20.000", "1,50", "700,0"], [20_000, 700]),
        (["20,000", "700.0"], [20_000, 700]),
        (["20.000", "12.5"], [20]),
    ],
)
def test_a_column_that_shows_how_it_is_written_is_read_so(cells, amounts):
    text = "".join(f"{cell};0\n" for cell in ("BILL_AMT1", *cells)).replace("AMT1;0", "AMT1;PAY_0")
    assert read("amounts.csv", text.encode()).clients["BILL_AMT1"].tolist() == amounts


def test_a_column_given_twice_is_refused(tmp_path):
    for heading in ("BILL_AMT1,PAY_0,BILL_AMT1", "BILL_AMT1,PAY_0,bill amt1", "BILL_AMT1,PAY_0,PAY_1"):
        with pytest.raises(OfficerError, match=r"More than one column stands for (BILL_AMT1|PAY_0)"):
            read("twice.csv", f"{heading}\n1,2,3\n".encode())
    pd.DataFrame([[1, 2, 3]], columns=["PAY_0", "BILL_AMT1", "PAY_0"]).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    with pytest.raises(OfficerError, match="stands for PAY_0"):
        read("a.xlsx", (tmp_path / "a.xlsx").read_bytes())
    with pytest.raises(OfficerError, match="stands for note"):
        read("notes.csv", b"note,BILL_AMT1,note,PAY_0\na,1,b,2\n")


def test_rows_are_numbered_as_the_spreadsheet_does_and_no_cell_is_shifted(tmp_path):
    divided = read("gaps.csv", b"\nBILL_AMT1,PAY_0\n100,2\n\n200,77\n,\n300,0\n\n")
    assert divided.rows.tolist() == [3, 5, 7] and list(list_rejected(divided)) == [5]
    assert list(divided.clients["BILL_AMT1"]) == [100, 300] and divided.table["PAY_0"][1].as_py() == "77"
    divided = read("signs.csv", b"BILL_AMT1,PAY_0\n100,2,\n200,1,\n")
    assert divided.clients.to_dict("records") == [
        {"BILL_AMT1": 100, "PAY_0": 2},
        {"BILL_AMT1": 200, "PAY_0": 1},
    ]
    pd.DataFrame({"BILL_AMT1": [100, None, 200], "PAY_0": [2, None, 1]}).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    assert list(read("a.xlsx", (tmp_path / "a.xlsx").read_bytes()).clients.index) == [2, 4]


def test_what_the_browser_offers_is_what_is_read(desk):
    (upload,) = find_widgets(show_desk(desk), "drop")
    assert upload.accept.split(",") == list(UPLOADED)
    for suffix in (*UPLOADED, ".CSV"):
        with pytest.raises(OfficerError) as refused:
            read(f"a{suffix}", b"")
        assert refused.value.key != "wrong kind"
    for name in ("a", "a.csv.gz", "a.jsonl", "a.zip", "csv"):
        with pytest.raises(OfficerError, match=r"none of \.csv, "):
            read(name, b"BILL_AMT1,PAY_0\n1,2\n")


def test_what_was_not_decided_is_counted_on_record(desk, place):
    frame = make_file(4)
    frame.loc[0, "PAY_0"] = 77
    desk.take_file("four.csv", frame.to_csv(index=False).encode())
    entry = DecisionLog(place.settings).find(desk.decide_file().id)
    assert (entry["clients"], entry["rejected"], entry["broken"]) == (3, 1, 0)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    make_file(2).to_excel(tmp_path / "bomb.xlsx", index=False)
    assert len(read("bomb.xlsx", (tmp_path / "bomb.xlsx").read_bytes(), CLIENT_COLUMNS).rows) == 2
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet2.xml", b"0" * 40_000_000)
    bomb = (tmp_path / "bomb.xlsx").read_bytes()
    assert len(bomb) < 1_000_000
    with pytest.raises(OfficerError, match="unpacks to more than 15 MB"):
        read_upload("bomb.xlsx", bomb, CLIENT_COLUMNS, 1)


@pytest.mark.parametrize("kind", ["long texts", "many rows", "many pages", "nested"])
def test_a_parquet_bomb_is_not_unpacked(kind):
    columns = {
        "long texts": {"NOTE": ["x" * 100_000] * 1_000},
        "many rows": {"NOTE": np.zeros(20_000_000, "int64")},
        "many pages": {"NOTE": [f"{number % 3}" * 1000 for number in range(100_000)]},
        "nested": {"NOTE": [["x" * 10_000]] * 10_000},
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns[kind]), out, compression="zstd")
    assert len(out.getvalue()) < 1_000_000
    with pytest.raises(OfficerError, match="unpacks to more than 15 MB"):
        read_upload("bomb.parquet", out.getvalue(), CLIENT_COLUMNS, 1)


def test_ids_of_any_kind_are_kept_and_not_judged(desk):
    frame = make_file(2).astype({ID: object})
    frame[ID] = ["A-17", "A-17"]
    desk.take_file("ids.csv", frame.to_csv(index=False).encode())
    results = list_results("pt", desk.decide_file())
    assert list(results["Cliente"]) == ["A-17", "A-17"] and list(results["Linha"]) == [2, 3]


KEYS = ["00012", "4000001234567899017", "12E3", "NA", "None", "1.10"]


def answer(upload) -> pd.DataFrame:
    "Answers as a champion gives them."
    values = (1, 0.5, 0.25, 1500.0, 500.0, False, 7)
    return pd.DataFrame([values] * len(upload.clients), upload.clients.index, list(Decision._fields))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ods"])
def test_the_returned_file_is_the_same_file_with_the_answers_behind(kind, tmp_path):
    frame = make_file(6).assign(NOTE=KEYS, nome="José")
    if kind == "xlsx":
        moments = {
            "day": date(2026, 1, 2),
            "moment": datetime(2026, 1, 2, 3, 4, 5),
            "share": 0.1,
            "yes": True,
        }
        frame = frame.assign(**moments, long=10**14)
    name, content = write_as(kind, frame, tmp_path)
    upload = read(name, content, CLIENT_COLUMNS)
    written = write_results(upload, answer(upload))
    assert written[0] == f"{name[0]}-decided.{'txt' if name == 'a.txt' else kind}"
    if kind == "xlsx":
        sheet = openpyxl.load_workbook(io.BytesIO(written[1])).active
        head, *rows = [[cell.value for cell in row] for row in sheet.rows]
        given = [list(row) for row in openpyxl.load_workbook(io.BytesIO(content)).active.values]
        assert [head[: len(frame.columns)], *(row[: len(frame.columns)] for row in rows)] == given
        assert [row[head.index("NOTE")] for row in rows] == KEYS and head[-7:] == list(Decision._fields)
    elif kind == "parquet":
        back = pq.read_table(io.BytesIO(written[1])).to_pandas()
        assert back[list(frame)].astype(object).equals(frame.reset_index(drop=True).astype(object))
        assert list(back)[-7:] == list(Decision._fields)
    else:
        encoding = {"windows": "cp1252", "wide": "utf-16"}.get(kind, "utf-8-sig")
        before, after = content.decode(encoding).splitlines(), read_lines(written, encoding)
        sign = {"semicolons": ";", "tabs": "\t", "wide": "\t"}.get(kind, ",")
        half = "0,5" if kind == "semicolons" else "0.5"
        assert after[0] == sign.join([before[0], *Decision._fields])
        for one, other in zip(before[1:], after[1:], strict=True):
            assert other.startswith(one + sign) and other.split(sign)[-6] == half
        assert written[1][:2] == content[:2]  # the byte order mark, or none


def test_a_spreadsheet_in_lisbon_gets_its_own_signs_back():
    text = "ID;BILL_AMT1;PAY_0\r\n00012;-1.500,00;2\r\n=1+1;30.000,00;1\r\n3;30,50;1\r\n"
    upload = read("lisboa.csv", text.encode())
    lines = write_results(upload, answer(upload))[1].decode().split("\r\n")
    assert lines[1].startswith("00012;-1.500,00;2;1;0,5;0,25;1500;500;") and lines[2].startswith(
        "'=1+1;30.000,00;1;"
    )
    assert upload.clients["BILL_AMT1"].tolist() == [-1500, 30_000]
    assert "decimal comma in BILL_AMT1" in upload.source.describe()
    rejected = read_lines(write_rejected(upload, "pt"))
    assert rejected[1] == "4;BILL_AMT1: Um número inteiro, por favor (recebido “30.5”);3;30,50;1"


def test_decided_files_can_be_uploaded_again(desk):
    "Rows returned with reasons are corrected and chosen again; results are decided again in place of the old answers."
    frame = make_file(2)
    frame.loc[0, "PAY_0"] = 77
    desk.take_file("a.csv", frame.to_csv(index=False).encode())
    name, content = write_rejected(desk.upload, "en")
    desk.take_file(name, content.replace(b",77,", b",0,"))
    assert not any(desk.upload.faults.values()) and len(desk.upload.clients) == 1
    first = desk.decide_file()
    assert read_lines(first.results)[0].startswith("LIMIT_BAL,")
    desk.take_file(*first.results)
    assert desk.repeated["id"] == first.id
    again = desk.decide_file()
    assert again.id != first.id and drop_ids(again.results[1]) == drop_ids(first.results[1])
    assert again.answers.drop(columns=DECISION_ID).equals(first.answers.drop(columns=DECISION_ID))
    assert not {*again.answers[DECISION_ID]} & {*first.answers[DECISION_ID]}


def drop_ids(content: bytes) -> bytes:
    "A text without the numbers of cases."
    return re.sub(rb"[0-9]{8}-[0-9a-f]{8}-[0-9a-f]{1,12}", b"", content)


def test_a_column_that_the_answers_would_replace_is_refused_before_anything_is_decided(desk):
    with pytest.raises(OfficerError, match=r"already has columns .*: rename or drop probability"):
        desk.take_file("a.csv", make_file(2).assign(probability=1).to_csv(index=False).encode())
    assert desk.upload is None


def test_what_a_format_cannot_hold_comes_back_as_text(tmp_path):
    frame = make_file(2).assign(note=["fine", "also"])
    upload = read(*write_as("xlsx", frame, tmp_path), CLIENT_COLUMNS)
    at = upload.table.column_names.index("note")
    table = upload.table.set_column(at, "note", pa.chunked_array([["a\x01b", "fine"]]))
    name, content = write_results(replace(upload, table=table), answer(upload))
    assert name == "A-decided.csv" and "a\x01b" in content.decode("utf-8-sig")


def test_a_returned_cell_holds_no_formula():
    cells = ["=1+1", "@SUM(A1)", "-5", "+49", "-2+3", "fine"]
    text = "=note,BILL_AMT1,PAY_0\n" + "".join(f"{cell},1,{at - 3}\n" for at, cell in enumerate(cells))
    upload = read("a.csv", text.encode())
    for _, back in (write_results(upload, answer(upload)), write_rejected(upload, "en")):
        found = pd.read_csv(io.BytesIO(back), dtype=str)["'=note"].tolist()
        assert set(found) <= {"'=1+1", "'@SUM(A1)", "-5", "+49", "'-2+3", "fine"}


# The faults that the desk had, with the right value


def make_lines(sign: str = ",", **changes) -> list[str]:
    "A heading and six clients, with a note; `changes` are columns of text."
    frame = make_file(6).assign(**{"NOTE": "ok"} | changes)[[ID, *CLIENT_COLUMNS, "NOTE"]]
    return frame.to_csv(index=False, sep=sign, quoting=csv.QUOTE_NONE, escapechar="\\").splitlines()


def take(desk, lines: list[str], name: str = "june.csv"):
    return desk.take_file(name, ("\n".join(lines) + "\n").encode())


def test_a_comma_in_an_amount_shifts_no_cell(desk):
    head, *rows = make_lines()
    upload = take(desk, [head, *(row.replace(",240000,", ",240000,00,") for row in rows)])
    assert [line.row for line in upload.broken] == [2, 4, 6] and upload.rows.tolist() == [3, 5, 7]
    assert upload.clients["LIMIT_BAL"].tolist() == [50_000] * 3
    shown = show_upload(desk) + show_rows(desk)
    assert "6 rows read = 3 that can be decided + 0 rejected + 3 lines that are no rows" in shown
    assert "Line 2 of the text has 26 cells and the heading 25" in shown


def test_an_unclosed_quotation_mark_refuses_the_file(desk):
    head, *rows = make_lines()
    with pytest.raises(OfficerError, match=r"row 4 \(line 4\) has a quotation mark .* never closed"):
        take(desk, [head, *rows[:2], rows[2].replace("ok", '"call back'), *rows[3:]])
    assert desk.upload is None


@pytest.mark.parametrize("cell", ["TRUE", "true", "0x10", "2026-01-01"])
def test_what_is_no_number_counts_as_none(desk, cell, tmp_path):
    upload = take(desk, make_lines(PAY_0=["0", cell, "2", "1", "-1", "0"]))
    assert list(list_rejected(upload)) == [3] and cell in list_rejected(upload)[3]
    frame = make_file(2).assign(PAY_0=[True, 2])
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    assert list(list_rejected(read("a.xlsx", (tmp_path / "a.xlsx").read_bytes()))) == [2]


def write_wrong_size(plain, target) -> None:
    "Let a workbook say that its sheet has one cell, as some programs do."
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            new.writestr(item, re.sub(rb'<dimension ref="[^"]+"', b'<dimension ref="A1"', old.read(item)))


def test_a_workbook_whose_size_is_written_wrongly_is_read_whole(desk, tmp_path):
    make_file(4).to_excel(tmp_path / "plain.xlsx", index=False)
    write_wrong_size(tmp_path / "plain.xlsx", tmp_path / "a.xlsx")
    assert len(desk.take_file("a.xlsx", (tmp_path / "a.xlsx").read_bytes()).clients) == 4


def count_entries(place) -> int:
    return sum(1 for _ in read_log(place.settings.audit_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "lacks the columns|holds no clients"),
        ("a.csv", b"\n\n", "lacks the columns|holds no clients"),
        ("a.csv", ",".join(CLIENT_COLUMNS).encode(), "holds no clients"),
        ("a.csv", f"{','.join(CLIENT_COLUMNS)}\n{',' * 22}\n".encode(), "holds no clients"),
        ("a.csv", f"{','.join(CLIENT_COLUMNS)},pay_1\n".encode(), "stands for PAY_0"),
        ("a.csv", b"PK\x03\x04", "cannot be (used|read)"),
        ("a.csv", b"%PDF-1.7", "it is a PDF by its content"),
        ("a.xlsx", b"LIMIT_BAL;AGE\n1;2\n", "it is text with the name of a workbook"),
        ("a.parquet", b"PAR1", "cannot be used: it cannot be read as a table"),
        ("a.parquet", b"PAR1" * 9, "cannot be used: it cannot be read as a table"),
        ("a.docx", b"", "none of"),
    ],
)
def test_after_a_file_that_cannot_be_used_nothing_is_decided(desk, place, name, content, message):
    take(desk, make_lines())
    desk.decide_file()
    before = count_entries(place)
    with pytest.raises(OfficerError, match=message) as refused:
        desk.take_file(name, content)
    assert all(refused.value.translate(language) for language in LANGUAGES)
    assert desk.upload is None and desk.batch is None
    assert show_upload(desk) + show_rows(desk) + views.show_totals(desk) + views.show_downloads(desk) == ""
    with pytest.raises(OfficerError, match="None of them"):
        desk.decide_file()
    assert count_entries(place) == before


def test_a_file_without_a_valid_row_is_shown_and_not_recorded(desk, place):
    head, *rows = make_lines(LIMIT_BAL="-1")
    upload, before = take(desk, [head, *rows[:2], rows[2] + ",x"]), count_entries(place)
    assert upload.read == 3 and len(upload.clients) == 0 and len(upload.broken) == 1
    assert "None of them can be decided" in show_upload(desk) and "26 cells" in show_rows(desk)
    with pytest.raises(OfficerError, match="None of them"):
        desk.decide_file()
    take(desk, [head, rows[2] + ",x"])  # not one row
    assert "None of them can be decided" in show_upload(desk) and "26 cells" in show_rows(desk)
    assert count_entries(place) == before


def test_the_page_states_how_a_file_was_read(desk):
    names = ",".join(CLIENT_COLUMNS).lower()
    row = ",".join(map(str, PRESETS["late"].values()))
    desk.take_file("a.csv", f"June\n{names}\n{row}\n".replace(",", ";").encode())
    desk.language = "pt"
    shown = show_upload(desk)
    assert "Como foi lido:" in shown and "CSV; semicolons between cells; heading in row 2" in shown
    assert "columns by other names: limit_bal as LIMIT_BAL" in shown
    desk.decide_file()
    assert "1 linhas lidas = 1 decididas + 0 rejeitadas + 0" in views.show_totals(desk)


# The desk and `rumos predict`


def make_inputs(folder) -> None:
    "Small tables as other programs write them, good and bad."
    head, *rows = make_lines()
    text = {
        "plain.csv": [head, *rows],
        "quote_never_closed.csv": [head, rows[0], rows[1].replace("ok", '"call back'), *rows[2:]],
        "comma_in_amount.csv": [head, *(row.replace(",240000,", ",240000,00,") for row in rows)],
        "semicolon_decimal_comma.csv": make_lines(
            ";", LIMIT_BAL=["30000,00", "1.250,50", "2,5e4", "9", "", "x"]
        ),
        "two_readings.csv": make_lines(";", BILL_AMT1=["20.000", "30.000", "1", "-2", "", "late"]),
        "empty_columns_behind.csv": [f"{line},," for line in (head, *rows)]
        + ["," * (len(CLIENT_COLUMNS) + 4)],
        "title_above.csv": ["Clients of June,,,", ",,,", head, *rows],
        "other_names.csv": [head.replace("PAY_0", "pay_1").lower(), *rows],
        "keys.csv": make_lines(NOTE=KEYS),
        "short_rows.csv": [head, rows[0], "1,2,3", "", rows[1], rows[2] + ",more"],
        "faults.csv": make_lines(PAY_0=["0", "1.5", "TRUE", "12", "", "0"], BILL_AMT1=["1e400", *"12345"]),
        "twice.csv": [head + ",pay_1", *rows],
        "heading_only.csv": [head],
        "lacks.csv": [head.replace("PAY_6", "NOTE6"), *rows],
    }
    for name, lines in text.items():
        (folder / name).write_bytes(("\n".join(lines) + "\n").encode())
    semicolons = make_lines(";")
    (folder / "carriage_return_only.csv").write_bytes("\r".join([head, *rows, ""]).encode())
    (folder / "sep_line.csv").write_bytes("\n".join(["sep=;", *semicolons, ""]).encode())
    (folder / "unicode_text.txt").write_bytes("\n".join([*make_lines("\t"), ""]).encode("utf-16"))
    (folder / "empty.csv").write_bytes(b"")
    frame = make_file(6)
    frame.loc[2, "PAY_0"] = 77
    frame.assign(NOTE=KEYS).to_excel(folder / "plain.xlsx", index=False)
    write_wrong_size(folder / "plain.xlsx", folder / "dimension_of_one_cell.xlsx")
    amounts = {
        name: pa.array([Decimal(int(value)) for value in frame[name]], pa.decimal128(38, 9)) for name in frame
    }
    pq.write_table(pa.table(amounts), folder / "decimal_38_9.parquet")
    views = pa.Table.from_pandas(frame).append_column("NOTE", pa.array(KEYS, pa.string_view()))
    pq.write_table(views, folder / "string_view.parquet")
    frame.drop(columns=ID).set_index(pd.RangeIndex(700001, 700007, name=ID)).to_parquet(
        folder / "range_index.parquet"
    )
    frame.to_json(folder / "records.json", orient="records")


def name_columns(reasons: str) -> list[str]:
    "The columns that a batch's reasons name, or the line that is no row."
    if reasons.startswith("line "):
        return [reasons.partition(":")[0].replace("line", "Line").replace(" has", " of the text has")]
    return [each.split()[0].rstrip(":") for each in reasons.split("; ")]


def test_the_desk_and_a_batch_decide_alike(desk, place, tmp_path):
    make_inputs(tmp_path)
    refused, decided = [], []
    for path in sorted(tmp_path.iterdir()):
        target = tmp_path / f"{path.name}.out.jsonl"
        try:
            done = predict_file(path, target, place.settings, champion=desk.champion)
        except DataError:
            with pytest.raises(OfficerError):
                desk.take_file(path.name, path.read_bytes())
            refused.append(path.stem)
            continue
        decided.append(path.stem)
        upload = desk.take_file(path.name, path.read_bytes())
        own = list(map(json.loads, target.read_text(encoding="utf-8").splitlines()))
        counts = len(upload.clients), len(upload.rows) - len(upload.clients), len(upload.broken)
        assert counts == (done.scored, done.rejected, done.broken), path
        assert upload.source.describe() == done.notes and upload.read == done.read
        if done.scored:
            answers = desk.decide_file().answers
            for name in Decision._fields:
                assert [row[name] for row in own] == answers[name].tolist(), (path, name)
            if path.suffix in (".csv", ".xlsx"):  # the same bytes, too
                again = predict_file(
                    path, tmp_path / f"{path.name}.out{path.suffix}", place.settings, champion=desk.champion
                )
                if path.suffix == ".csv":
                    assert drop_ids(desk.batch.results[1]) == drop_ids(again.output.read_bytes()), path
                else:
                    mine, theirs = (
                        [row[:-1] for row in openpyxl.load_workbook(io.BytesIO(each)).active.values]
                        for each in (desk.batch.results[1], again.output.read_bytes())
                    )
                    assert mine == theirs, path
        lost = {}
        if done.rejects:
            rejects = map(json.loads, done.rejects.read_text(encoding="utf-8").splitlines())
            lost = {row["input_row"]: name_columns(row["reasons"]) for row in rejects}
        mine = {row: name_columns(why) for row, why in list_rejected(upload).items()}
        mine |= {line.row: [describe_line("en", line)] for line in upload.broken}
        assert mine == lost, path
    assert refused == ["empty", "heading_only", "lacks", "quote_never_closed", "records", "twice"]
    assert len(decided) == 18


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("20.000", "20 or 20000"),
        (None, "got “nothing”"),
        (" ", "got “nothing”"),
        (1.5, "got “1.5”"),
        ("", "nothing"),
    ],
)
def test_a_reason_shows_the_cell(value, shown):
    assert shown in describe_problem("en", "BILL_AMT1", value)


# What is shown


def find_widgets(root, name: str) -> list:
    "All widgets from this one down that bear a class of the style sheet; empty: all."
    found = [root] if not name or name in root._dom_classes else []
    return found + [hit for child in getattr(root, "children", ()) for hit in find_widgets(child, name)]


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_from_outside_becomes_markup(desk, language):
    desk.language = language
    frame = make_file(2).astype({"LIMIT_BAL": object}).rename(columns={ID: EVIL})
    frame.loc[0, "LIMIT_BAL"] = EVIL
    desk.take_file(f"{EVIL}.csv", frame.to_csv(index=False).encode())
    assert "img" not in Tags(show_upload(desk) + show_rows(desk)).names
    desk.champion.about["source"] = EVIL
    for widget in find_widgets(show_desk(desk), ""):
        assert "img" not in Tags(str(getattr(widget, "value", ""))).names


FREE_TEXT = st.builds(
    lambda before, markup, after: before + markup + after,
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=10),
    st.sampled_from(
        (EVIL, "<script>", "</p><p>", "<!--", "]]>", '" onfocus="alert(1)', "' x='", "&lt;b>", "{{ 7 }}")
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=10),
)


def make_case(desk, text: str) -> Case:
    "A case with an event of every kind, with this text wherever a person or another program writes."
    answer, model = desk.decision.to_dict(), {"version": 1, "digest": text}
    made = Decided(caller=text, answer=answer, model=model, interface="desk", officer=text, input=desk.client)
    said = {"decision": text, "officer": text, "reason": text}
    decided = {**said, "model_prediction": 1, "prediction": 0}
    events = [
        Overridden(**decided),
        SecondLook(**decided),
        Appealed(**said, due="20260131"),
        AppealDecided(**decided, appeal=text),
        LetterWritten(decision=text, language="pt", hashed=text),
        OutcomeKnown(decision=text, defaulted=1),
    ]
    stamp = {"id": text, "time": "2026-11-21T15:31:40+00:00"}
    return Case(made.to_dict() | stamp, tuple(each.to_dict() | stamp for each in events))


def show_everything(place, folder, language: str, text: str) -> str:
    "All views of a desk with this text in every field that is free: of officers, files, stores and reports."
    (folder / "record").mkdir(exist_ok=True)
    row = {"family": text, "cv_cost": 390.5, "test_cost": 2, "test_low": 1, "test_high": 3, "roc_auc": 0.8}
    pd.DataFrame([row]).to_csv(folder / "record" / "leaderboard.csv", index=False)
    cell = {"metadata": {"tags": ["dossier-limits"]}, "source": [f"- {text}"]}
    (folder / "record" / "compare.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    store = place.settings.store.model_copy(update={"reports": folder, "server": f"http://{text}"})
    desk = open_desk(place.settings)
    desk.settings = place.settings.model_copy(update={"store": store})
    names = dict.fromkeys(("source", "fingerprint", "promoted_by", "reason"), text)
    desk.champion = Like(desk.champion, family=text, digest=text, about=desk.champion.about | names)
    desk.language, desk.alarm, desk.unreachable = language, text, text
    desk.reference = text
    desk.receipt = Receipt(text, "2026-11-21T15:31:40+00:00", 0, text, 1)
    desk.cases.case, desk.cases.case_reference, desk.cases.why = make_case(desk, text), text, desk.explanation
    desk.cases.draft = Letter(text, text, "en", SimpleNamespace(), f"<p>{text}</p>", b"x")
    frame = make_file(2).astype({"LIMIT_BAL": object}).assign(**{f"note {text}": f"x{text}"})
    frame.loc[0, "LIMIT_BAL"] = f"x{text}"
    desk.take_file(f"{text}.csv", frame.to_csv(index=False).encode())
    desk.repeated = {"id": text, "time": "2026-11-21T15:31:40+00:00"}
    report = read_report(desk.settings)
    shown = [show(desk) for show in (getattr(views, name) for name in ONE_DESK)]
    shown += [show_board(desk, report), show_links(desk, report), *views.show_curves(desk)]
    desk.decide_file()
    shown += [views.show_totals(desk), views.show_downloads(desk)]
    shown += [views.show_closed(dict.fromkeys(LANGUAGES, text)), views.label(f"x{text}", text, text)]
    return "".join([*shown, views.note(text), views.link_download(text, b"x", text)])


ONE_DESK = (
    "answer",
    "badge",
    "brand",
    "champion",
    "changes",
    "cost_curve",
    "costs",
    "footer",
    "reasons",
    "receipt",
)
ONE_DESK += ("case", "case_facts", "case_reasons", "events", "letter")
ONE_DESK += ("rows", "upload", "upload_hint", "warnings")
ONE_DESK = tuple(f"show_{name}" for name in ONE_DESK)


class Elements(HTMLParser):
    "All elements in order, each with the names of its attributes."

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_comment(self, data):
        self.found.append(("comment", ()))


@given(FREE_TEXT, st.sampled_from(list(LANGUAGES)))
@hypothesis.settings(max_examples=25, deadline=None)
def test_no_free_text_adds_an_element_or_an_attribute(place, tmp_path_factory, text, language):
    folder = tmp_path_factory.mktemp("reports")
    plain = Elements(show_everything(place, folder, language, "word")).found
    assert len(plain) > 200
    assert Elements(show_everything(place, folder, language, text)).found == plain


def test_all_groups_are_described_in_both_languages(desk):
    desk.fill(PRESETS["late"])
    english = show_reasons(desk) + show_answer(desk)
    desk.language = "pt"
    assert "Last payment" in english and "Último pagamento" in show_reasons(desk)
    assert "Recusar" in show_answer(desk)


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.58, ("58", "25")),
        (0.2496, ("24.96", "25.00")),
        (0.24996, ("24.996", "25.000")),
        (0.2504, ("25.04", "25.00")),
        (0.031, ("3.1", "25")),
    ],
)
def test_a_probability_and_its_limit_never_look_the_same(desk, probability, shown):
    desk.decision = desk.decision._replace(probability=probability, threshold=0.25)
    percent, limit = (f"{number}\N{NO-BREAK SPACE}%" for number in shown)
    assert f"{percent} probability" in show_verdict(desk) and f"limit of {limit}." in show_verdict(desk)
    gauge = draw_gauge("en", probability, 0.25, 0.2, 0.3)
    assert f"Probability of default {percent}; the limit is {limit};" in gauge


def test_the_report_of_another_run_is_not_shown_as_the_champions(desk, tmp_path):
    folder, run = tmp_path / "latest", desk.champion.about["run"]
    folder.mkdir()
    head = "family,cv_cost,test_cost,test_low,test_high,roc_auc"
    (folder / "leaderboard.csv").write_text(f"{head}\n{desk.champion.family},390.5,2,1,3,0.786\n")
    store = desk.settings.store.model_copy(update={"reports": tmp_path})
    desk.settings = desk.settings.model_copy(update={"store": store})
    for chosen, marked in ((run, True), ("f" * 32, False)):
        (folder / "pipeline.json").write_text(json.dumps({"champion_run": chosen}))
        shown = show_board(desk, read_report(desk.settings))
        assert ('class="mine"' in shown) is marked and ("another pipeline run" in shown) is not marked


def test_mlflow_is_named_only_where_it_can_be_reached(desk, opened, tmp_path):
    folder = tmp_path / "latest"
    folder.mkdir()
    (folder / "leaderboard.csv").write_text("family,cv_cost\n")
    (folder / "dossier.html").write_text("<h1>Dossier</h1>")
    store = opened.store.model_copy(update={"reports": tmp_path, "server": "http://127.0.0.1:5000"})
    for settings, named in ((desk.settings, True), (opened, False)):
        desk.settings = settings.model_copy(update={"store": store})
        shown = show_links(desk, read_report(desk.settings))
        assert ("http://127.0.0.1:5000" in shown) is named
        assert f"base64,{base64.b64encode(b'<h1>Dossier</h1>').decode()}" in shown


def test_the_sliders_follow_the_champions_costs(desk):
    page, costs = show_desk(desk), desk.champion.prices.flat
    first = find_widgets(page, "sl")[0]
    first.value = first.max
    twice = Costs(false_positive=2 * costs.false_positive, false_negative=costs.false_negative)
    assert desk.what_if != costs
    prices = Prices(false_positive=twice.false_positive, false_negative=twice.false_negative)
    promote(desk, Like(desk.champion, prices=prices, costs=lambda client: prices.flat))
    (record,) = find_widgets(page, "record")
    record.click()
    assert desk.what_if == twice
    assert [slider.value for slider in find_widgets(page, "sl")] == [
        twice.false_positive,
        twice.false_negative,
    ]
    assert "2,000" in find_widgets(page, "sl")[0].description


def test_the_results_follow_the_language_and_only_sentences_are_announced(desk):
    page = show_desk(desk)
    frame = make_file(2)
    frame.loc[0, "PAY_0"] = 77
    desk.take_file("two.csv", frame.to_csv(index=False).encode())
    (languages,) = find_widgets(page, "lang")
    languages.value = "pt"
    languages.value = "en"
    (decide,) = [each for each in find_widgets(page, "btn") if "Decide 1" in getattr(each, "description", "")]
    assert not [each for each in find_widgets(page, "a11y-live") if "<table" in getattr(each, "value", "")]
    assert [each for each in find_widgets(page, "") if "<table" in str(getattr(each, "value", ""))]
    decide.click()
    (result,) = find_widgets(page, "result")
    table = result.children[-1]
    assert "Probability of default" in str(table.outputs)
    languages.value = "pt"
    assert "Probabilidade de incumprimento" in str(table.outputs) and "Probability of default" not in str(
        table.outputs
    )


def test_the_widgets_follow_the_state_and_the_state_the_widgets(desk):
    page = show_desk(desk)
    limit = find_widgets(page, "amount")[0]
    limit.value = "90,000"
    assert desk.client["LIMIT_BAL"] == 90_000
    (answer,) = find_widgets(page, "answer")
    before = answer.children[0].value
    find_widgets(page, "choice")[0].value = 3
    assert desk.client[STATUSES[0]] == 3 and answer.children[0].value != before
    limit.value = "zwei"
    assert "err" in limit.description and "invalid" in limit._dom_classes


def test_a_page_asks_for_no_field_that_the_champion_does_not_use(desk):
    page = show_desk(desk)
    assert len(find_widgets(page, "f")) >= len(desk.champion.seen)
    labels = " ".join(widget.description for widget in find_widgets(page, "f"))
    assert "Sex" not in labels and "Age" not in labels


def test_an_error_in_a_callback_is_shown_and_logged(desk, monkeypatch, caplog):
    page = show_desk(desk)
    monkeypatch.setattr(desk, "_log", None)
    (record,) = find_widgets(page, "record")
    record.click()
    (alert,) = find_widgets(page, "alert")
    number = alert.value.split("under the number ")[1][:6]
    assert number in caplog.text and "NoneType" not in alert.value and "NoneType" in caplog.text


def test_a_page_without_its_follower_takes_no_time_for_pandas(place):
    "Each officer opens a page: it must not load the table library before the officer uploads a file."
    import subprocess
    import sys

    code = (
        "import json, sys; from rumos_bank.ground.settings import Settings; from rumos_bank.desk.state import open_desk; "
        "from rumos_bank.desk.widgets import show_desk; show_desk(open_desk(Settings.model_validate_json(sys.argv[1]))); "
        "print(json.dumps([m for m in ('pandas', 'sklearn', 'mlflow', 'scipy', 'matplotlib') if m in sys.modules]))"
    )
    command = [sys.executable, "-c", code, place.settings.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_missing_champion_is_reported_in_both_languages():
    for language, words in (("en", "There is no champion now"), ("pt", "De momento não há campeão")):
        shown = show_error(language, NoChampionError("there is no champion"))
        assert words in shown and "rumos champion" in shown


# Serving


def options_of(settings) -> dict[str, str]:
    return dict(part[2:].split("=", 1) for part in voila_command(settings) if part.startswith("--"))


def test_the_command_has_all_options(place):
    given = options_of(place.settings)
    assert given["Voila.ip"] == "127.0.0.1" and given["template"] == "desk"
    assert given["MappingKernelManager.cull_idle_timeout"] == str(place.settings.desk.idle_seconds)
    tornado = ast.literal_eval(given["Voila.tornado_settings"])
    assert tornado["disable_check_xsrf"] and not tornado["allow_remote_access"]
    assert given["VoilaConfiguration.file_allowlist"] == "[]"
    assert tornado["websocket_max_message_size"] > 4 / 3 * 1_000_000 * place.settings.desk.max_upload


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::"])
def test_beyond_the_loopback_a_token_is_needed(host, tmp_path):
    with pytest.raises(SettingsError, match="token_file"):
        voila_command(read_settings(environ={"RUMOS_DESK_HOST": host}))
    short = tmp_path / "token"
    short.write_text("short")
    both = {"RUMOS_DESK_HOST": host, "RUMOS_DESK_TOKEN_FILE": str(short)}
    with pytest.raises(SettingsError, match="at least 16"):
        voila_command(read_settings(environ=both))
    short.write_text("long-enough-to-be-one")
    settings = read_settings(environ=both)
    assert voila_environment(settings)["JUPYTER_TOKEN_FILE"] == str(short)
    assert "long-enough" not in " ".join(voila_command(settings))


@pytest.mark.parametrize(
    ("field", "cell", "says"),
    [
        ("SEX", "2.000", "SEX: “2.000” must be written 2"),
        ("BILL_AMT1", "20.000", "BILL_AMT1: “20.000” can be 20 or 20000: "),
        ("PAY_0", "-5.000", "(got “-5.000”)"),
    ],
)
def test_a_reading_that_the_field_excludes_is_not_offered(field, cell, says):
    assert says in describe_problem("en", field, cell)


def test_a_column_of_references_is_read_as_a_batch_reads_it(desk):
    frame = make_file(4).assign(reference=[True, False, True, True])
    desk.take_file("four.parquet", frame.to_parquet(index=False))
    assert desk.upload.clients.empty and "True" in show_rows(desk)


def test_a_column_of_lists_holds_no_references(desk):
    frame = make_file(4).assign(tags=[["a"], ["b"], ["c"], ["d"]], account=["k", "l", "m", "n"])
    desk.take_file("four.parquet", frame.to_parquet(index=False))
    columns = list_reference_columns(desk.upload)
    assert "account" in columns and "tags" not in columns
    assert len(desk.upload.clients) == 4
