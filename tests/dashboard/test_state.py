"The desk without a browser: its state, its files, its views, its widgets, the command that serves it."

import ast
import asyncio
import base64
import io
import json
import time
import zipfile
from html.parser import HTMLParser
from types import SimpleNamespace

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import run_alone

from rumos_bank.data.contract import CLIENT_COLUMNS, FIELDS, ID, STATUSES
from rumos_bank.desk import views
from rumos_bank.desk.state import NOTICE_SECONDS, PRESETS, Receipt, open_desk, read_row, weigh_costs
from rumos_bank.desk.texts import LANGUAGES, OfficerError, list_choices, name_field, read_whole, write_number
from rumos_bank.desk.uploads import divide_upload, find_fault, read_upload, write_csv
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
from rumos_bank.ground.errors import DataError, NoChampionError, SettingsError
from rumos_bank.ground.settings import Costs, read_settings
from rumos_bank.serving.decision_log import DecisionLog, read_log

EVIL = '<img src=x onerror="alert(1)">'


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
def test_thousands_written_as_in_another_language_are_no_number(desk, language, text):
    desk.language, before = language, desk.client["BILL_AMT1"]
    assert read_whole(language, text) is None
    assert not desk.enter("BILL_AMT1", text) and desk.client["BILL_AMT1"] == before
    assert desk.problems["BILL_AMT1"][0] == "not whole"
    with pytest.raises(OfficerError):
        read_row(language, f"{text}\t2", ("BILL_AMT1", "PAY_0"))


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
        client = read_row("en", text, ("LIMIT_BAL", "PAY_0"))
    except OfficerError as error:
        assert all(error.translate(language) for language in LANGUAGES)
    else:
        assert not any(find_fault(*pair)[0] for pair in client.items())


@pytest.mark.parametrize("heading", ["PAY_1;limit bal", "Pay_0;LIMIT_BAL", "note;PAY_0;LIMIT_BAL"])
def test_a_pasted_heading_is_read_by_its_names(heading):
    row = "x;2;90000" if heading.startswith("note") else "2;90000"
    assert read_row("en", f"{heading}\n{row}", ("LIMIT_BAL", "PAY_0")) == {"LIMIT_BAL": 90000, "PAY_0": 2}


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
    receipt = desk.record_otherwise(f" {EVIL} ", f"because {EVIL}")
    log = DecisionLog(place.settings)
    own, model = log.find(receipt.id), log.find(receipt.decision)
    assert own["decision"] == model["id"] and own["prediction"] != model["answer"]["prediction"]
    assert own["officer"] == EVIL and desk.officer == EVIL and "<img" not in show_receipt(desk)


@pytest.mark.parametrize(("officer", "reason"), [("", "x"), ("  ", "x"), ("x", ""), ("x", " \n")])
def test_an_override_needs_a_name_and_a_reason(desk, officer, reason):
    with pytest.raises(OfficerError):
        desk.record_otherwise(officer, reason)
    assert desk.receipt is None


def test_nothing_is_recorded_while_an_entry_is_impossible(desk):
    desk.enter("LIMIT_BAL", "x")
    with pytest.raises(OfficerError, match="correct what is marked"):
        desk.record()


def test_a_second_click_records_nothing_more(desk, place):
    desk.fill(PRESETS["late"])
    receipt = desk.record()
    assert desk.record() is receipt
    own = desk.record_otherwise("A. Officer", "a reason")
    assert desk.record_otherwise("", "") is own and desk.record() is own
    desk.take_file("two.csv", make_file(2).to_csv(index=False).encode())
    batch = desk.decide_file()
    assert desk.decide_file() is batch
    entries = [each["id"] for each in read_log(place.settings.audit_path) if each["id"][:17] == batch.id[:17]]
    assert entries == [receipt.id, own.id, batch.id]


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
        desk.record_otherwise("A. Officer", "a reason") if against else desk.record()
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
    assert weigh_costs(desk.champion, desk.champion.costs).threshold == desk.champion.threshold


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
    write_csv(batch.upload.rejected("pt"))
    assert len(batch.answers) == 20_000 and len(batch.upload.rejected("en")) == 10_000
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


@pytest.mark.parametrize("kind", ["csv", "semicolons", "xlsx", "windows"])
def test_a_file_reads_the_same_in_every_format(kind, tmp_path):
    frame = make_file(4)
    if kind == "xlsx":
        frame.to_excel(tmp_path / "a.xlsx", index=False)
        name, content = "A.XLSX", (tmp_path / "a.xlsx").read_bytes()
    else:
        text = frame.assign(nome="José").to_csv(index=False, sep=";" if kind == "semicolons" else ",")
        name, content = "a.csv", text.encode("cp1252" if kind == "windows" else "utf-8-sig")
    divided = divide_upload(name, read_upload(name, content, CLIENT_COLUMNS, 1), CLIENT_COLUMNS)
    assert divided.rejected("en").empty
    assert divided.clients.reset_index(drop=True).equals(frame[list(CLIENT_COLUMNS)].astype("int64"))


def read(name: str, content: bytes, seen=("BILL_AMT1", "PAY_0")):
    return divide_upload(name, read_upload(name, content, seen, 1), seen)


@pytest.mark.parametrize("sign", [";", "\t", ","])
@pytest.mark.parametrize("amount", ["20.000", "20,000", "-1.500.000"])
@pytest.mark.parametrize("other", ["", "1", "late"])
def test_what_may_be_thousands_or_a_fraction_is_returned(sign, amount, other):
    amount = f'"{amount}"' if sign == "," else amount
    text = f"BILL_AMT1{sign}PAY_0\n{amount}{sign}2\n{other}{sign}0\n500{sign}1\n"
    divided = read("amounts.csv", text.encode())
    assert amount.strip('"') in divided.rejected("en")["reasons"][2]
    assert {"BILL_AMT1": 500, "PAY_0": 1} in divided.clients.to_dict("records")
    assert not (divided.clients["BILL_AMT1"].abs() == 20).any()


def test_a_column_given_twice_is_refused(tmp_path):
    for heading in ("BILL_AMT1,PAY_0,BILL_AMT1", "BILL_AMT1,PAY_0,bill amt1", "BILL_AMT1,PAY_0,PAY_1"):
        with pytest.raises(OfficerError, match=r"More than one column stands for (BILL_AMT1|PAY_0)"):
            read("twice.csv", f"{heading}\n1,2,3\n".encode())
    pd.DataFrame([[1, 2, 3]], columns=["PAY_0", "BILL_AMT1", "PAY_0"]).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    with pytest.raises(OfficerError, match="stands for PAY_0"):
        read("a.xlsx", (tmp_path / "a.xlsx").read_bytes())
    assert len(read("notes.csv", b"note,BILL_AMT1,note,PAY_0\na,1,b,2\n").clients) == 1


def test_rows_are_numbered_as_the_spreadsheet_does_and_no_cell_is_shifted(tmp_path):
    divided = read("gaps.csv", b"\nBILL_AMT1,PAY_0\n100,2\n\n200,77\n,\n300,0\n\n")
    assert list(divided.rows.index) == [3, 5, 7] and list(divided.rejected("en").index) == [5]
    assert list(divided.clients["BILL_AMT1"]) == [100, 300] and str(divided.rows["PAY_0"][5]) == "77"
    divided = read("signs.csv", b"BILL_AMT1,PAY_0\n100,2,\n200,1,\n")
    assert divided.clients.to_dict("records") == [
        {"BILL_AMT1": 100, "PAY_0": 2},
        {"BILL_AMT1": 200, "PAY_0": 1},
    ]
    pd.DataFrame({"BILL_AMT1": [100, None, 200], "PAY_0": [2, None, 1]}).to_excel(
        tmp_path / "a.xlsx", index=False
    )
    assert list(read("a.xlsx", (tmp_path / "a.xlsx").read_bytes()).clients.index) == [2, 4]


def test_what_was_not_decided_is_counted_on_record(desk, place):
    frame = make_file(4)
    frame.loc[0, "PAY_0"] = 77
    desk.take_file("four.csv", frame.to_csv(index=False).encode())
    entry = DecisionLog(place.settings).find(desk.decide_file().id)
    assert (entry["clients"], entry["rejected"]) == (3, 1)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    make_file(2).to_excel(tmp_path / "bomb.xlsx", index=False)
    assert len(read_upload("bomb.xlsx", (tmp_path / "bomb.xlsx").read_bytes(), CLIENT_COLUMNS, 1)) == 2
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet2.xml", b"0" * 40_000_000)
    bomb = (tmp_path / "bomb.xlsx").read_bytes()
    assert len(bomb) < 1_000_000
    with pytest.raises(OfficerError, match="cannot be read as a table") as refused:
        read_upload("bomb.xlsx", bomb, CLIENT_COLUMNS, 1)
    assert "far too much" in str(refused.value.__cause__)


def test_ids_of_any_kind_are_kept_and_not_judged(desk):
    frame = make_file(2).astype({ID: object})
    frame[ID] = ["A-17", "A-17"]
    desk.take_file("ids.csv", frame.to_csv(index=False).encode())
    results = list_results("pt", desk.decide_file())
    assert list(results["Cliente"]) == ["A-17", "A-17"] and list(results["Linha"]) == [2, 3]


def test_decided_files_can_be_uploaded_again(desk):
    "Rows returned with reasons are corrected and chosen again; their column of reasons is no obstacle."
    frame = make_file(2)
    frame.loc[0, "PAY_0"] = 77
    desk.take_file("a.csv", frame.to_csv(index=False).encode())
    back = write_csv(desk.upload.rejected("en")).decode("utf-8-sig").replace(",77,", ",0,")
    desk.take_file("b.csv", back.encode())
    assert desk.upload.problems.empty and len(desk.upload.clients) == 1


def test_a_returned_cell_holds_no_formula():
    cells = ["\n=1+1", "=1+1", "-5", "+49", "-2+3", "fine"]
    back = write_csv(pd.DataFrame({"=note": cells}))
    read = pd.read_csv(io.BytesIO(back), dtype=str, index_col=0)
    assert read["'=note"].tolist() == ["'\n=1+1", "'=1+1", "-5", "+49", "'-2+3", "fine"]


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
    desk.receipt = Receipt(text, "2026-11-21T15:31:40+00:00", 0, text, text)
    frame = make_file(2).astype({"LIMIT_BAL": object}).assign(**{f"note {text}": f"x{text}"})
    frame.loc[0, "LIMIT_BAL"] = f"x{text}"
    desk.take_file(f"{text}.csv", frame.to_csv(index=False).encode())
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
    page, costs = show_desk(desk), desk.champion.costs
    first = find_widgets(page, "sl")[0]
    first.value = first.max
    twice = Costs(false_positive=2 * costs.false_positive, false_negative=costs.false_negative)
    assert desk.what_if != costs
    promote(desk, Like(desk.champion, costs=twice))
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
    find_widgets(page, "choice")[1].value = 3
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
