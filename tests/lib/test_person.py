"One person's data: all of it is handed out, all of it is erased, and the record stays verifiable."

import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from processes import clean_environment
from test_audit import WHY, decide, decide_file, name_today, settings_in

from rumos_bank.data.contract import EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.governance.events import (
    DataChanged,
    OutcomeKnown,
    Overridden,
    PersonErased,
    RecordSealed,
    select,
)
from rumos_bank.governance.ledger import LEDGER, accept_ledger, append_event, find_public_key, read_ledger
from rumos_bank.governance.references import KEY, NOTE, find_references, read_references
from rumos_bank.ground.errors import DataError, ParameterError, RumosError, StoreError
from rumos_bank.ground.settings import DataSettings, LedgerSettings, Settings
from rumos_bank.operations import cli
from rumos_bank.serving import letters, person
from rumos_bank.serving.audit import verify_record
from rumos_bank.serving.cases import (
    Query,
    find_by_reference,
    find_case,
    list_cases,
    record_appeal,
    record_override,
)
from rumos_bank.serving.decision_log import DecisionLog, list_days
from rumos_bank.serving.letters import LetterFacts
from rumos_bank.serving.person import erase_person, export_person, finish_erasures, render_person
from rumos_bank.serving.replay import replay, replay_days

SAID = "the employer guarantees the loan"
ASKED = "the client lost the payslip of May"


@pytest.fixture
def place(tmp_path) -> Settings:
    "A store with a ledger of one line."
    settings = settings_in(tmp_path)
    settings.store_path.mkdir()
    append_event(settings, DataChanged(fingerprint="0" * 64, twin=True, clients=2000))
    return settings


@pytest.fixture
def log(place):
    log = DecisionLog(place)
    yield log
    log.close()


@pytest.fixture
def known(place, log) -> dict[str, str]:
    "Two clients, each decided alone and in a file of three; what happened to the first."
    first, second = decide(log, "4711-A"), decide(log, "4712-B")
    decide_file(log, ["4712-B", "4711-A", "4713-C"], name_today())
    appeal = record_appeal(place, log, first, "B. Officer", ASKED)
    outcome = log.append(OutcomeKnown(decision=first, defaulted=1).to_dict())
    found = find_by_reference(place, "4711-A")
    (in_file,) = [each for each in found if each != first]
    override = record_override(place, log, in_file, 0, "A. Officer", SAID)
    return {"first": first, "second": second, "in_file": in_file} | {
        "appeal": appeal,
        "outcome": outcome,
        "override": override,
    }


def everything(settings: Settings) -> bytes:
    "All bytes of the record and of the index."
    files = [*settings.audit_path.rglob("*"), *settings.cache_path.rglob("*")]
    return b"\n".join(path.read_bytes() for path in files if path.is_file())


# export


def test_everything_held_is_in_the_export(place, known):
    held = export_person(place, " 4711-A ")
    assert held["client_reference"] == "4711-A"
    cases = {case["id"]: case for case in held["cases"]}
    assert cases.keys() == {known["first"], known["in_file"]}
    first, in_file = cases[known["first"]], cases[known["in_file"]]
    assert {each["field"]: each["value"] for each in first["values"]} == LATE_CLIENT
    assert {each["field"]: each["value"] for each in in_file["values"]} == EXAMPLE_CLIENT
    assert [each["kind"] for each in first["events"]] == ["appeal", "outcome"]
    assert first["events"][0]["reason"] == ASKED and first["waiting"] == "appeal"
    assert in_file["final"]["by"] == "A. Officer" and in_file["row"] == 1
    assert in_file["file"]["batch"] and first["officer"] == "A. Officer"
    assert json.loads(json.dumps(held)) == held
    assert "4712-B" not in json.dumps(held)


def test_the_page_holds_the_same_and_is_safe(place, log, known):
    page = render_person(export_person(place, "4711-A"))
    for each in (
        known["first"],
        known["in_file"],
        SAID,
        ASKED,
        "repayment status in September",
        "7 months late",
    ):
        assert each in page
    decide(log, "<script>alert(1)</script>")
    assert "<script>" not in render_person(export_person(place, "<script>alert(1)</script>"))
    assert "Nothing is on record" in render_person(export_person(place, "4799-Z"))
    with pytest.raises(DataError, match="1 to 64 printable"):
        export_person(place, "")


def test_a_look_up_makes_neither_key_nor_note(place):
    export_person(place, "4711-A")
    assert find_by_reference(place, "4711-A") == []
    assert not (place.ledger_path / KEY).exists() and not (place.audit_path / NOTE).exists()


def test_a_look_up_without_the_key_asks_for_it_even_without_a_note(place, log):
    decide(log)
    (place.ledger_path / KEY).unlink()
    (place.audit_path / NOTE).unlink()
    with pytest.raises(StoreError, match=f"copy {KEY} from the machine that has it"):
        find_by_reference(place, "4711-A")
    assert not (place.ledger_path / KEY).exists() and not (place.audit_path / NOTE).exists()


def test_a_file_with_references_asks_for_the_key_before_another_is_made(place, log):
    decide_file(log, ["4711-A"], name_today())
    (place.ledger_path / KEY).unlink()
    (place.audit_path / NOTE).unlink()
    for act in (find_references, read_references):
        with pytest.raises(StoreError, match=f"copy {KEY} from the machine that has it"):
            act(place)
    assert not (place.ledger_path / KEY).exists()


def test_a_wrong_note_is_mended_as_the_message_says(place, log):
    id_, key, note = decide(log), place.ledger_path / KEY, place.audit_path / NOTE
    note.write_text("0" * 16)
    with pytest.raises(StoreError, match=f"delete {note}: the next reference writes it anew"):
        find_by_reference(place, "4711-A")
    note.unlink()
    assert find_by_reference(place, "4711-A") == [id_] and not note.exists() and key.exists()
    read_references(place)
    assert note.exists()


def test_a_copied_folder_holds_no_cases(place, log, known):
    before = len(list_cases(place, Query()).cases), find_by_reference(place, "4713-C")
    shutil.copytree(place.audit_path / name_today(), place.audit_path / f"{name_today()[:8]}-00000000")
    assert (len(list_cases(place, Query()).cases), find_by_reference(place, "4713-C")) == before
    with pytest.raises(StoreError, match="there is no decision"):
        find_case(place, f"{name_today()[:8]}-00000000-0")
    assert any(f"is a copy of cases of {name_today()}" in fault for fault in verify_record(place).faults)


def test_a_file_that_cannot_be_written_is_a_sentence(place, known, tmp_path, monkeypatch):
    monkeypatch.setattr("rumos_bank.ground.settings.read_settings", lambda: place)
    with pytest.raises(RumosError, match=r"gone/x\.json cannot be written: No such file or directory"):
        cli.export("4711-A", str(tmp_path / "gone" / "x.json"))
    facts = LetterFacts("x-0", date(2026, 1, 31), True, False, True, LATE_CLIENT)
    monkeypatch.setattr(letters, "find_facts", lambda *_: facts)
    monkeypatch.setitem(letters._FORMS, ".html", lambda *_: "a page")
    with pytest.raises(RumosError, match=r"gone/x\.html cannot be written: No such file or directory"):
        cli.letter("x-0", str(tmp_path / "gone" / "x.html"), "pt", "", "")


# erasing


def test_nothing_about_the_person_is_left_and_everybody_else_is(place, log, known):
    before = find_case(place, known["second"]), export_person(place, "4712-B")["cases"]
    hidden = log.find(known["first"])["reference"]
    done = erase_person(place, "4711-A", WHY)
    assert (done.entries, done.parts) == (
        3,
        2,
    )  # the decision, the appeal, the override; a part and its references
    assert find_by_reference(place, "4711-A") == [] and export_person(place, "4711-A")["cases"] == []
    left = everything(place)
    for each in (hidden, SAID, ASKED):
        assert each.encode() not in left
    assert bytes.fromhex(hidden[:16]) not in left
    for name in ("first", "in_file"):
        case = find_case(place, known[name])
        assert case.erased and case.made.reference is None and case.made.answer["probability"] == 0.4
    assert find_case(place, known["in_file"]).final[:2] == (0, "A. Officer")  # who decided, not why
    assert (find_case(place, known["second"]), export_person(place, "4712-B")["cases"]) == before
    assert len(list_cases(place, Query()).cases) == 5


def test_the_ledger_says_what_was_erased_and_why_and_the_record_is_whole(place, log, known):
    erase_person(place, "4711-A", WHY)
    (line,) = select(read_ledger(place), PersonErased)
    assert line.event.reason == WHY
    assert set(line.event.entries) == {known[name] for name in ("first", "in_file", "appeal", "override")}
    assert {Path(part).suffix for part in line.event.parts} == {".parquet", ".refs"}
    (sealed,) = select(read_ledger(place), RecordSealed)
    assert sealed.number == line.number - 1, "what was before is sealed first"
    state = verify_record(place)
    assert state.faults == () and state.erased == 4 and state.cases == 5
    log.append({"number": 1})
    assert verify_record(place).faults == ()


def test_an_erased_case_is_replayed_as_erased_and_never_as_different(place, known):
    erase_person(place, "4711-A", WHY)
    for name in ("first", "in_file"):
        assert replay(place, known[name])[1:3] == ("erased", "what was asked is no longer on record")
    tally = replay_days(place)
    assert tally.counts["erased"] == 1 and tally.counts["different"] == 0 and "1 erased" in str(tally)


@pytest.mark.parametrize("why", ["", "please", "ok ok ok ok ok", "the client 4711-a asked for it", "\n"])
def test_a_reason_is_in_own_words_and_does_not_name_the_client(why, place, known):
    lines = len(read_ledger(place))
    with pytest.raises(ParameterError, match="reason"):
        erase_person(place, "4711-A", why)
    assert len(read_ledger(place)) == lines and len(find_by_reference(place, "4711-A")) == 2


def test_without_the_ledgers_key_nothing_is_erased_or_written(place, known):
    before = {path: path.read_bytes() for path in place.audit_path.rglob("*") if path.is_file()}
    reader = LedgerSettings(folder=place.store_path / "none", public_key=find_public_key(place))
    (place.store_path / "none").mkdir(mode=0o700)
    key = place.store_path / "none" / "references.key"
    key.write_bytes((place.ledger_path / "references.key").read_bytes())
    key.chmod(0o600)
    with pytest.raises(StoreError, match="only its holder may write"):
        erase_person(place.model_copy(update={"ledger": reader}), "4711-A", WHY)
    assert len(find_by_reference(place, "4711-A")) == 2
    assert {path: path.read_bytes() for path in place.audit_path.rglob("*") if path.is_file()} == before


def test_who_is_not_on_record_cannot_be_erased(place, known):
    with pytest.raises(StoreError, match="nothing is on record about this reference"):
        erase_person(place, "4799-Z", WHY)
    erase_person(place, "4711-A", WHY)
    with pytest.raises(StoreError, match="nothing is on record about this reference"):
        erase_person(place, "4711-A", WHY)
    assert len(select(read_ledger(place), PersonErased)) == 1


def test_a_line_that_was_changed_is_kept_as_evidence(place, known):
    path = place.audit_path / f"{known['first'].rpartition('-')[0]}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"PAY_0":7', b'"PAY_0":1', 1))
    changed = path.read_bytes()
    with pytest.raises(StoreError, match="kept as evidence"):
        erase_person(place, "4711-A", WHY)
    assert path.read_bytes() == changed and select(read_ledger(place), PersonErased) == []


def test_a_client_who_comes_again_is_found_again(place, log, known):
    erase_person(place, "4711-A", WHY)
    again = decide(log, "4711-A")
    assert find_by_reference(place, "4711-A") == [again]
    assert erase_person(place, "4711-A", WHY).entries == 1 and verify_record(place).faults == ()


# kills, restores, writers


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(7))
def test_an_erasure_that_was_killed_is_finished_by_the_same_call(after, place, known, monkeypatch):
    "After each write to the disk: the seal's list, two lines of the ledger, three lines, a part and its references."
    steps = []

    def stop_after(act):
        def stopping(*given, **named):
            if len(steps) == after:
                raise Killed
            steps.append(act)
            return act(*given, **named)

        return stopping

    with monkeypatch.context() as killed:
        for name in ("append_seal", "append_event", "_blank", "write_file"):
            killed.setattr(person, name, stop_after(getattr(person, name)))
        with pytest.raises(Killed):
            erase_person(place, "4711-A", WHY)
    begun = select(read_ledger(place), PersonErased)
    assert bool(begun) == (after > 1)
    assert bool(verify_record(place).faults) == (after > 1), "what is unfinished is found"
    assert erase_person(place, "4711-A", WHY).line == read_ledger(place)[-1].number
    assert len(select(read_ledger(place), PersonErased)) == 1
    assert verify_record(place).faults == () and find_by_reference(place, "4711-A") == []
    assert SAID.encode() not in everything(place) and ASKED.encode() not in everything(place)


def test_half_a_blanked_line_is_finished(place, known, monkeypatch):
    "A kill between two pages of one write."
    with monkeypatch.context() as killed:
        write = person.os.write
        killed.setattr(person.os, "write", lambda file, content: (write(file, content[:20]), exit(1)))
        with pytest.raises(SystemExit):
            erase_person(place, "4711-A", WHY)
    assert any("should be erased" in fault for fault in verify_record(place).faults)
    assert erase_person(place, "4711-A", WHY).entries == 3 and verify_record(place).faults == ()


def test_what_a_backup_brings_back_is_found_and_erased_again(place, log, known):
    saved = {path: path.read_bytes() for path in place.audit_path.rglob("*") if path.is_file()}
    erase_person(place, "4711-A", WHY)
    erase_person(place, "4712-B", WHY)
    assert finish_erasures(place) is None
    for path, content in saved.items():
        path.write_bytes(content)
    faults = verify_record(place).faults
    assert faults and all("rumos person finish" in fault for fault in faults)
    done = finish_erasures(place)
    assert done.entries == 4 and done.parts == 2
    assert verify_record(place).faults == () and find_by_reference(place, "4712-B") == []


def test_parts_that_another_library_writes_otherwise_are_erased_again_with_a_line(place, known, monkeypatch):
    saved = {path: path.read_bytes() for path in place.audit_path.rglob("*.parquet")}
    erase_person(place, "4711-A", WHY)
    for path, content in saved.items():
        path.write_bytes(content)
    erase = person.erase_rows

    def other(*given):
        part, references = erase(*given)
        return part.replace(b"parquet-cpp-arrow", b"parquet-cpp-other"), references

    monkeypatch.setattr(person, "erase_rows", other)
    assert finish_erasures(place).parts == 1 and verify_record(place).faults == ()
    first, second = select(read_ledger(place), PersonErased)
    assert second.event.entries == first.event.entries and "erased again" in second.event.reason


def test_a_batch_that_is_run_once_more_brings_nobody_back(place, log, known):
    erase_person(place, "4711-A", WHY)
    before = {path: path.read_bytes() for path in place.audit_path.rglob("part-*")}
    decide_file(log, ["4712-B", "4711-A", "4713-C"], name_today())
    assert {path: path.read_bytes() for path in place.audit_path.rglob("part-*")} == before
    assert verify_record(place).faults == () and len(find_by_reference(place, "4712-B")) == 2


def test_a_part_that_was_changed_is_not_written_anew(place, known):
    erase_person(place, "4711-A", WHY)
    part = next(place.audit_path.rglob("part-000000.parquet"))
    saved = part.read_bytes()
    decide_file(DecisionLog(place), ["4711-A", "4712-B"], "20260101-0a1b2c3d")
    other = place.audit_path / "20260101-0a1b2c3d" / part.name
    part.write_bytes(other.read_bytes())
    with pytest.raises(StoreError, match="is not what was written"):
        finish_erasures(place)
    part.write_bytes(saved)
    assert finish_erasures(place) is None


WRITER = """
import sys
import time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_audit import decide, settings_in
from rumos_bank.serving.decision_log import DecisionLog
log = DecisionLog(settings_in(Path(sys.argv[1])))
number = 0
while True:
    print(decide(log, f"R-{number % 5}"), flush=True)
    number += 1
    time.sleep(0.002)
"""


def test_a_process_that_appends_to_the_same_file_is_not_disturbed(place):
    command = [sys.executable, "-c", WRITER, str(place.store_path.parent), str(Path(__file__).parent)]
    environment = clean_environment() | {"PYTHONPATH": ":".join(sys.path)}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    told: list[str] = []
    try:
        for number in range(4):
            told += [writer.stdout.readline().strip() for _ in range(100)]
            assert erase_person(place, f"R-{number}", WHY).entries >= 20 * (number + 1)
        told += [writer.stdout.readline().strip() for _ in range(100)]
    finally:
        writer.terminate()
    told += [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.wait(timeout=60)
    log = DecisionLog(place)
    assert len(list_days(place.audit_path)) == 1 and len(set(told)) == len(told) >= 500
    found = [log.find(each) for each in told]
    assert all("input" in each for each in found[4::5]) and "input" not in found[0]
    assert verify_record(place).faults == ()


# restores, other indexes, later events


def save(settings: Settings) -> dict[Path, bytes]:
    folders = (settings.audit_path, settings.store_path)
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path: path.read_bytes() for path in files if path.suffix != ".lock"}


def bring_back(settings: Settings, saved: dict[Path, bytes], ledger_only: bool = False) -> None:
    "An older state, and its ledger accepted, as a restore does it."
    for path, content in saved.items():
        if not ledger_only or path.name == LEDGER:
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    accept_ledger(settings, "restored from the backup")


@pytest.mark.parametrize("ledger_only", [False, True])
def test_an_erasure_survives_a_restore_of_the_ledger(ledger_only, place, log, known):
    "With the log as it was before, or with the log that lives on."
    append_event(place, DataChanged(fingerprint="1" * 64, twin=True, clients=2000))
    saved = save(place)
    erase_person(place, "4711-A", WHY)
    erase_person(place, "4712-B", WHY)
    erased = [line.event for line in select(read_ledger(place), PersonErased)]
    bring_back(place, saved, ledger_only)
    faults = verify_record(place).faults
    assert sum("were erased before a restore" in fault for fault in faults) == 2
    assert finish_erasures(place)
    again = [line.event for line in select(read_ledger(place), PersonErased)]
    assert [each.reason for each in again] == [f"erased before the restore: {WHY}"] * 2
    assert [(each.entries, each.parts) for each in again] == [(each.entries, each.parts) for each in erased]
    assert verify_record(place).faults == () and finish_erasures(place) is None
    assert find_by_reference(place, "4711-A") == find_by_reference(place, "4712-B") == []
    assert ASKED.encode() not in everything(place)


def test_a_lost_erasure_without_the_key_is_never_called_complete(place, known):
    saved = save(place)
    erase_person(place, "4711-A", WHY)
    bring_back(place, saved)
    (place.ledger_path / "private.pem").rename(place.ledger_path / "elsewhere.pem")
    with pytest.raises(StoreError, match="only its holder may write"):
        finish_erasures(place)
    assert "were erased before a restore" in " ".join(verify_record(place).faults)


def test_the_list_of_erasures_holds_neither_values_nor_references(place, known):
    hidden = DecisionLog(place).find(known["first"])["reference"]
    erase_person(place, "4711-A", WHY)
    (kept,) = (place.ledger_path / "erased").glob("*.json")
    text = kept.read_text()
    assert known["first"] in text and WHY in text and kept.stat().st_mode & 0o077 == 0
    assert not [each for each in (hidden, hidden[:16], "4711", "PAY_0", SAID, ASKED) if each in text]


def test_a_list_that_a_crash_left_behind_is_completed(place, known):
    erase_person(place, "4711-A", WHY)
    (kept,) = (place.ledger_path / "erased").glob("*.json")
    kept.unlink()
    assert finish_erasures(place) is None and kept.exists()


def test_every_other_index_forgets_an_erased_reference(place, known, tmp_path):
    other = place.model_copy(update={"data": DataSettings(cache=str(tmp_path / "other"))})
    hidden = DecisionLog(place).find(known["first"])["reference"]
    assert len(find_by_reference(other, "4711-A")) == 2
    erase_person(place, "4711-A", WHY)
    assert find_by_reference(other, "4711-A") == []
    left = b"".join(path.read_bytes() for path in other.cache_path.rglob("*") if path.is_file())
    assert hidden.encode() not in left


def test_an_index_sees_that_the_log_was_put_back(place, log, known):
    "Its file is as long as before, ends in the same hash, and holds the reference again."
    saved = save(place)
    erase_person(place, "4711-A", WHY)
    assert find_by_reference(place, "4711-A") == []
    for path, content in saved.items():
        if place.audit_path in path.parents:
            path.with_suffix(".new").write_bytes(content)
            path.with_suffix(".new").replace(path)
    (place.audit_path / "erased.txt").unlink()
    assert set(find_by_reference(place, "4711-A")) == {known["first"], known["in_file"]}


def test_an_index_forgets_what_a_shorter_log_lacks(place, log):
    first = decide(log)
    (path,) = list_days(place.audit_path)
    short = path.read_bytes()
    assert decide(log, "4712-B") in find_by_reference(place, "4712-B")
    log.close()
    path.write_bytes(short)
    assert find_by_reference(place, "4712-B") == [] and find_by_reference(place, "4711-A") == [first]


@pytest.mark.parametrize("finish", [finish_erasures, lambda place: erase_person(place, "4712-B", WHY)])
def test_what_is_written_about_an_erased_case_is_erased_too(finish, place, log, known):
    erase_person(place, "4711-A", WHY)
    words = {"officer": "A. Officer", "reason": "the pension fund has answered"}
    override = Overridden(decision=known["in_file"], model_prediction=1, prediction=1, **words)
    later = log.append(override.to_dict())  # by a process that had read the case before
    assert b"pension fund" in everything(place)
    finish(place)
    assert b"pension fund" not in everything(place) and verify_record(place).faults == ()
    assert find_case(place, known["in_file"]).final.entry == later and finish_erasures(place) is None
