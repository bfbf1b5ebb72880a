"The desk without a browser: its state, its files, its widgets, the command that serves it."

import ast
import io
import json
import time
import zipfile
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.audit import DecisionLog
from rumos_bank.clients import CLIENT_COLUMNS, FIELDS, ID, STATUSES
from rumos_bank.dashboard import build_desk, show_desk, voila_command, voila_environment
from rumos_bank.desk import PRESETS, open_desk, read_row, weigh_costs
from rumos_bank.errors import NoChampionError, SettingsError
from rumos_bank.screens import list_results, show_answer, show_reasons, show_receipt, show_upload
from rumos_bank.settings import Costs, read_settings
from rumos_bank.texts import LANGUAGES, OfficerError, list_choices, name_field, read_whole, write_number
from rumos_bank.uploads import divide_upload, find_fault, read_upload, write_csv

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


@given(st.text(max_size=60))
def test_a_pasted_row_is_a_client_or_a_sentence(text):
    try:
        client = read_row("en", text, ("LIMIT_BAL", "PAY_0"))
    except OfficerError as error:
        assert all(error.tell(language) for language in LANGUAGES)
    else:
        assert not any(find_fault(*pair)[0] for pair in client.items())


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
def test_nobody_overrides_without_a_name_and_a_reason(desk, officer, reason):
    with pytest.raises(OfficerError):
        desk.record_otherwise(officer, reason)
    assert desk.receipt is None


def test_nothing_is_recorded_while_an_entry_is_impossible(desk):
    desk.enter("LIMIT_BAL", "x")
    with pytest.raises(OfficerError, match="correct what is marked"):
        desk.record()


def test_an_answer_that_changed_unseen_is_not_recorded(desk, monkeypatch):
    "Another champion takes over between the look and the click, and decides otherwise."
    desk.fill(PRESETS["late"])
    old, said = desk.champion, desk.decision.prediction

    class Other:
        def __getattr__(self, name):
            return getattr(old, name)

        def decide(self, client):
            return old.decide(client)._replace(prediction=1 - said, model_version=99)

    follower = SimpleNamespace(champion=Other(), alarm="", away="", refresh=lambda: True)
    monkeypatch.setattr(desk, "_follower", follower)
    with pytest.raises(OfficerError, match="changed in this moment"):
        desk.record()
    assert desk.receipt is None and desk.decision.model_version == 99


def test_without_a_champion_it_says_so(tmp_path):
    empty = read_settings(
        environ={"RUMOS_STORE_PATH": str(tmp_path / "none"), "RUMOS_DATA_CACHE": str(tmp_path)}
    )
    with pytest.raises(NoChampionError):
        open_desk(empty)
    assert "rumos run" in build_desk(empty).children[0].value


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
def test_a_file_reads_the_same_in_every_dress(kind, tmp_path):
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
    "What was handed back with reasons is mended and chosen again; its column of reasons is no obstacle."
    frame = make_file(2)
    frame.loc[0, "PAY_0"] = 77
    desk.take_file("a.csv", frame.to_csv(index=False).encode())
    back = write_csv(desk.upload.rejected("en")).decode("utf-8-sig").replace(",77,", ",0,")
    desk.take_file("b.csv", back.encode())
    assert desk.upload.problems.empty and len(desk.upload.clients) == 1


def test_a_cell_is_given_back_as_files_are_written():
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
    assert "img" not in Tags(show_upload(desk)).names
    desk.champion.about["source"] = EVIL
    for widget in find_widgets(show_desk(desk), ""):
        assert "img" not in Tags(str(getattr(widget, "value", ""))).names


def test_all_groups_are_told_in_both_languages(desk):
    desk.fill(PRESETS["late"])
    english = show_reasons(desk) + show_answer(desk)
    desk.language = "pt"
    assert "Last payment" in english and "Último pagamento" in show_reasons(desk)
    assert "Recusar" in show_answer(desk)


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


def test_a_page_looks_at_no_field_that_the_champion_does_not_see(desk):
    page = show_desk(desk)
    assert len(find_widgets(page, "f")) >= len(desk.champion.seen)
    labels = " ".join(widget.description for widget in find_widgets(page, "f"))
    assert "Sex" not in labels and "Age" not in labels


def test_an_error_in_a_callback_is_told_and_logged(desk, monkeypatch, caplog):
    page = show_desk(desk)
    monkeypatch.setattr(desk, "_log", None)
    (record,) = find_widgets(page, "record")
    record.click()
    (alert,) = find_widgets(page, "alert")
    number = alert.value.split("under the number ")[1][:6]
    assert number in caplog.text and "NoneType" not in alert.value and "NoneType" in caplog.text


def test_a_page_without_its_follower_takes_no_time_for_pandas(place):
    "A page is opened by each officer: it must not bring the table library before somebody uploads a file."
    import subprocess
    import sys

    code = (
        "import json, sys; from rumos_bank.settings import Settings; from rumos_bank.desk import open_desk; "
        "from rumos_bank.dashboard import show_desk; show_desk(open_desk(Settings.model_validate_json(sys.argv[1]))); "
        "print(json.dumps([m for m in ('pandas', 'sklearn', 'mlflow', 'scipy', 'matplotlib') if m in sys.modules]))"
    )
    command = [sys.executable, "-c", code, place.settings.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


# Serving


def options_of(settings) -> dict[str, str]:
    return dict(part[2:].split("=", 1) for part in voila_command(settings) if part.startswith("--"))


def test_the_command_says_what_it_must(place):
    given = options_of(place.settings)
    assert given["Voila.ip"] == "127.0.0.1" and given["template"] == "desk"
    assert given["MappingKernelManager.cull_idle_timeout"] == str(place.settings.desk.idle_seconds)
    tornado = ast.literal_eval(given["Voila.tornado_settings"])
    assert tornado["disable_check_xsrf"] and not tornado["allow_remote_access"]
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
