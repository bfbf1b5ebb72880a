"Any change of any byte of the record is found; what cannot be found before the next seal is stated, and found after it."

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from processes import clean_environment

from rumos_bank.data.contract import EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.governance.events import (
    DataChanged,
    Decided,
    OutcomeKnown,
    PersonErased,
    RecordSealed,
    select,
)
from rumos_bank.governance.ledger import LEDGER, append_event, read_ledger, rotate_key
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import (
    AuditSettings,
    DataSettings,
    LedgerSettings,
    Prices,
    Settings,
    StoreSettings,
)
from rumos_bank.serving import audit, decision_log
from rumos_bank.serving.audit import (
    SEALS,
    find_end,
    plan_clean_up,
    seal_if_due,
    seal_record,
    verify_record,
)
from rumos_bank.serving.case_parts import Shared, make_part
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.decision_log import (
    CaseFolder,
    DecisionLog,
    blank_line,
    list_days,
    list_folders,
    make_line,
    start_chain,
)
from rumos_bank.serving.person import erase_person

WHY = "the client asked for it in writing"
ANSWER = {"prediction": 1, "probability": 0.4, "threshold": 0.25, "refer": False, "model_version": 3}
MODEL = {"version": 3, "digest": "0" * 64}


def settings_in(root: Path, **audit: object) -> Settings:
    return Settings(
        store=StoreSettings(path=root / "store"),
        ledger=LedgerSettings(folder=root / "keys"),
        data=DataSettings(cache=str(root / "cache")),
        audit=AuditSettings(**audit),
    )


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


def decide(log: DecisionLog, reference: str = "4711-A") -> str:
    about = log.describe([reference], "desk", "A. Officer")[0]
    return log.append(
        Decided(caller="desk", input=LATE_CLIENT, answer=ANSWER, model=MODEL, **about).to_dict()
    )


def decide_file(log: DecisionLog, references: list[str], segment: str, entry: bool = True) -> CaseFolder:
    "The cases of a file, a part for each two clients."
    costs = Prices().model_dump()
    now = datetime.now(UTC).isoformat()
    folder = CaseFolder(log, Shared(segment, now, "test", "file", MODEL, 0.25, costs))
    hidden = [each["reference"] for each in log.describe(references, "file")]
    for number, at in enumerate(range(0, len(references), 2)):
        of_part = hidden[at : at + 2]
        n = len(of_part)
        fields = {name: np.full(n, value) for name, value in EXAMPLE_CLIENT.items()}
        folder.write(
            number,
            *make_part(folder.shared, np.arange(n), fields, np.full(n, 0.4), np.zeros(n, bool), of_part),
        )
    if entry:
        about = {"kind": "batch", "caller": "test", "model": MODEL, "rejected": 0, "refused": n}
        log.append(about | {"input": "0" * 64, "output": "0" * 64} | folder.facts())
    return folder


def name_today() -> str:
    return f"{datetime.now(UTC):%Y%m%d}-0a1b2c3d"


class Clock(datetime):
    "A clock that a test turns."

    day = datetime(2026, 3, 1, 12, tzinfo=UTC)

    @classmethod
    def now(cls, zone=None):
        return cls.day


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(decision_log, "datetime", Clock)
    monkeypatch.setattr(audit, "datetime", Clock)
    Clock.day = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return Clock


# the property


def make_record(root: Path) -> Settings:
    "Lines of many kinds of two processes, one file's parts, two seals, and an erased person."
    settings = settings_in(root)
    settings.store_path.mkdir(parents=True)
    first, second = DecisionLog(settings), DecisionLog(settings)
    case = decide(first)
    record_override(settings, second, case, 0, "A. Officer", "the employer guarantees the loan")
    decide_file(first, ["4711-A", "4712-B", "4713-C"], name_today())
    seal_record(settings)
    other = decide(second, "4714-D")
    first.append(OutcomeKnown(decision=other, defaulted=1).to_dict())
    second.append({"kind": "shadow", "decision": other, "answer": ANSWER, "model": MODEL, "microseconds": 30})
    erase_person(settings, "4711-A", WHY)
    first.append({"kind": "example", "text": 'a "quote", a \\, a \n line, ünï, {}'})
    seal_record(settings)
    first.close()
    second.close()
    return settings


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> tuple[Settings, dict[str, bytes]]:
    "A record, and every file of it as it was written."
    settings = make_record(tmp_path_factory.mktemp("record"))
    files = {
        path.relative_to(settings.audit_path).as_posix(): path.read_bytes()
        for path in sorted(settings.audit_path.rglob("*"))
        if path.is_file()
    }
    return settings, files


def test_a_record_that_nobody_changed_is_whole(record):
    settings, files = record
    state = verify_record(settings)
    assert state.faults == () and state.notes == ()
    assert (state.cases, state.erased) == (2 + 3, 2 + 1)  # the decision and the reason, the row of the file
    assert sum(name.startswith(SEALS) for name in files) == 3  # an erasure seals what was there before
    assert len(files) == 2 + 4 + 3 + 3 and state.files == 2 + 2  # the last: two notes, what was erased
    assert "all as it was written" in str(state)


def put(settings: Settings, name: str, content: bytes | None) -> None:
    path = settings.audit_path / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def check_found(record, name: str, content: bytes | None) -> None:
    settings, files = record
    put(settings, name, content)
    try:
        state = verify_record(settings)
    finally:
        put(settings, name, files[name])
    assert state.faults, name
    stem = name.partition(".jsonl")[0].partition("/part")[0].partition("/2")[0]
    assert any(stem in fault for fault in state.faults)


@st.composite
def changes(draw) -> tuple[int, Callable[[bytes, int], bytes]]:
    "A place as a share of the file, and what happens there."
    byte = bytes([draw(st.integers(0, 255))])
    kind = draw(st.sampled_from(["flip", "insert", "delete", "truncate", "extend"]))
    bit = 1 << draw(st.integers(0, 7))

    def change(content: bytes, at: int) -> bytes:
        if kind == "flip":
            return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
        if kind == "insert":
            return content[:at] + byte + content[at:]
        if kind == "delete":
            return content[:at] + content[at + 1 :]
        return content[:at] if kind == "truncate" else content + byte * (1 + at % 300)

    return draw(st.integers(0, 2**30)), change


QUICK = hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(st.integers(0, 2**20), changes())
def test_any_change_of_any_byte_of_any_file_is_found(record, which, change):
    _, files = record
    name = sorted(files)[which % len(files)]
    at, how = change
    if not files[name]:  # of an erased reference nothing is left
        return check_found(record, name, b"x")
    changed = how(files[name], at % len(files[name]))
    if changed != files[name] and not _is_only_torn(name, files[name], changed):
        check_found(record, name, changed)


def _is_only_torn(name: str, written: bytes, changed: bytes) -> bool:
    "Something without an end after the last line: what a killed write leaves too."
    return name.endswith(".jsonl") and changed.startswith(written) and b"\n" not in changed[len(written) :]


def test_every_single_byte_of_every_line_counts(record):
    _, files = record
    for name in (each for each in files if each.endswith(".jsonl")):
        for at in range(0, len(files[name]), 23):
            changed = bytearray(files[name])
            changed[at] ^= 1
            check_found(record, name, bytes(changed))


def test_every_file_that_is_removed_is_missed(record):
    for name in record[1]:
        check_found(record, name, None)


@QUICK
@given(st.data())
def test_lines_that_are_swapped_doubled_dropped_or_forged_are_found(record, data):
    _, files = record
    name = data.draw(st.sampled_from([each for each in files if each.endswith(".jsonl")]))
    lines = files[name].splitlines(keepends=True)
    one, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    kind = data.draw(st.sampled_from(["swap", "double", "drop", "forge", "blank"]))
    changed = list(lines)
    if kind == "swap":
        changed[one], changed[other] = changed[other], changed[one]
    elif kind == "double":
        changed.insert(other, lines[one])
    elif kind == "drop":
        del changed[one]
    elif kind == "blank":
        changed[one] = blank_line(lines[one])
    else:  # with the right hash and the right id, as one who knows the rules would write it
        chain = lines[one - 1][-67:-3].decode() if one else start_chain(name.removesuffix(".jsonl"))
        offset = sum(map(len, lines[:one]))
        entry = {"id": f"{name.removesuffix('.jsonl')}-{offset:x}", "kind": "example", "forged": other}
        changed.insert(one, make_line(entry, chain)[0])
    if changed != lines:
        check_found(record, name, b"".join(changed))


def test_a_file_that_is_written_anew_with_right_hashes_is_found(record):
    "Whoever knows the rules can make a chain that holds; he cannot make the ledger hold it."
    _, files = record
    for name in (each for each in files if each.endswith(".jsonl")):
        stem = name.removesuffix(".jsonl")
        chain, place, lines = start_chain(stem), 0, []
        for number, line in enumerate(files[name].splitlines()):
            entry = decision_log.read_line(line) | {"id": f"{stem}-{place:x}"}
            entry |= {"officer": "B. Officer"} if number == 0 else {}
            made, chain = make_line(entry, chain)
            lines.append(made)
            place += len(made)
        check_found(record, name, b"".join(lines))


def test_two_files_that_change_places_are_found(record):
    settings, files = record
    for ending in (".jsonl", ".parquet"):
        one, other = [name for name in files if name.endswith(ending)]
        put(settings, one, files[other])
        put(settings, other, files[one])
        faults = verify_record(settings).faults
        put(settings, one, files[one])
        put(settings, other, files[other])
        assert any(Path(one).name in fault for fault in faults)
        assert any(Path(other).name in fault for fault in faults)


def test_a_part_that_joins_a_finished_file_is_found(record):
    settings, files = record
    (folder,) = list_folders(settings.audit_path)
    added = folder / "part-000007.parquet"
    added.write_bytes(files[f"{folder.name}/part-000000.parquet"])
    faults = verify_record(settings).faults
    added.unlink()
    assert any("part-000007.parquet: the entry of its batch does not name it" in fault for fault in faults)


# what a seal adds


def test_what_stands_after_the_last_seal_can_be_cut_between_two_lines_until_the_next_seal(place, log):
    decide(log)
    seal_record(place)
    (path,) = list_days(place.audit_path)
    sealed = path.read_bytes()
    decide(log)
    grown = path.read_bytes()
    path.write_bytes(sealed)
    assert verify_record(place).faults == ()  # stated in the chapter and the threat model
    path.write_bytes(grown)
    assert seal_record(place).event.segments == 1
    path.write_bytes(sealed)
    (fault,) = verify_record(place).faults
    assert fault.startswith(f"{path.name}: its end is gone or was changed; {len(grown):,} bytes were sealed")


def test_a_file_that_was_never_sealed_can_vanish_and_a_sealed_one_cannot(place, log):
    log.append({"kind": "example"})
    (path,) = list_days(place.audit_path)
    written = path.read_bytes()
    path.unlink()
    assert verify_record(place).faults == ()
    path.write_bytes(written)
    seal_record(place)
    path.unlink()
    (fault,) = verify_record(place).faults
    assert fault == f"{path.stem}: is gone; a seal names it, and no retention explains it"


def test_a_file_that_another_entry_names_is_missed_without_a_seal(place, log):
    other = DecisionLog(place)
    record_override(place, other, decide(log), 0, "A. Officer", "the employer guarantees the loan")
    other.close()
    (place.audit_path / f"{log._file.name}.jsonl").unlink()
    (fault,) = verify_record(place).faults
    assert f"{log._file.name}: is gone; entry " in fault


def test_a_seal_is_of_what_grew_and_does_not_grow_with_history(place, clock):
    sizes = []
    for day in range(30):
        name = f"202601{day + 1:02}-0a1b2c3d"
        place.audit_path.mkdir(exist_ok=True)
        line, _ = make_line({"id": f"{name}-0", "kind": "example"}, start_chain(name))
        (place.audit_path / f"{name}.jsonl").write_bytes(line)
        Clock.day = datetime(2026, 1, day + 1, 12, tzinfo=UTC)
        assert seal_record(place).event.segments == 1
        assert seal_record(place) is None
        sizes.append(max((place.audit_path / SEALS).iterdir()).stat().st_size)
    assert max(sizes[2:]) == sizes[2] and len(select(read_ledger(place), RecordSealed)) == 30
    assert verify_record(place).faults == ()


def test_a_file_of_a_day_that_was_over_when_it_was_sealed_cannot_come_or_grow(place, log):
    name = "20260101-0a1b2c3d"
    place.audit_path.mkdir(exist_ok=True)
    line, chain = make_line({"id": f"{name}-0", "kind": "example"}, start_chain(name))
    path = place.audit_path / f"{name}.jsonl"
    path.write_bytes(line)
    seal_record(place)
    more, _ = make_line({"id": f"{name}-{len(line):x}", "kind": "example"}, chain)
    path.write_bytes(line + more)
    (fault,) = verify_record(place).faults
    assert fault == f"{name}.jsonl: {len(more)} bytes were added after its day had been sealed"
    path.write_bytes(line)
    late = path.with_name("20260101-ffffffff.jsonl")
    late.write_bytes(make_line({"id": f"{late.stem}-0", "kind": "example"}, start_chain(late.stem))[0])
    (fault,) = verify_record(place).faults
    assert fault == f"{late.name}: was added after its day had been sealed"


def test_a_seal_that_was_killed_before_the_ledger_counts_for_nothing(place, log, monkeypatch):
    decide(log)
    with monkeypatch.context() as killed:
        killed.setattr(audit, "append_event", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            seal_record(place)
    state = verify_record(place)
    assert state.sealed == "" and state.faults == () and "no line of the ledger names it" in state.notes[0]
    assert seal_record(place).event.segments == 1 and verify_record(place).sealed


def test_the_ledger_of_a_seal_must_be_right(place, log):
    decide(log)
    seal_record(place)
    path = place.store_path / LEDGER
    path.write_bytes(path.read_bytes().replace(b'"segments": 1', b'"segments": 2'))
    (fault,) = verify_record(place).faults
    assert fault.startswith("the ledger cannot be trusted") and "line 2 is not signed" in fault
    with pytest.raises(StoreError, match="line 2 is not signed"):
        seal_record(place)


def test_seals_hold_after_a_change_of_keys(place, log):
    decide(log)
    assert seal_if_due(place, always=True).number == 2
    rotate_key(place)
    decide(log)
    seal_record(place)
    state = verify_record(place)
    assert state.faults == () and [line.number for line in select(read_ledger(place), RecordSealed)] == [2, 4]


def test_it_is_due_once_a_day_and_only_where_the_key_is(place, log, monkeypatch):
    monkeypatch.setattr(audit, "_LOOKED", {})
    reader = place.model_copy(update={"ledger": LedgerSettings(folder=place.store_path / "none")})
    decide(log)
    assert seal_if_due(reader) is None and not (place.store_path / "none").exists()
    assert seal_if_due(settings_in(place.store_path / "elsewhere")) is None  # no ledger: none is begun
    assert seal_if_due(place).event.segments == 1
    decide(log)
    assert seal_if_due(place) is None
    monkeypatch.setattr(audit, "_LOOKED", {})  # another process
    assert seal_if_due(place) is None and seal_if_due(place, always=True) is not None


def test_sealing_in_passing_never_disturbs(place, log, monkeypatch):
    monkeypatch.setattr(audit, "_LOOKED", {})
    decide(log)
    path = place.store_path / LEDGER
    path.write_bytes(b"forged\n")
    assert seal_if_due(place) is None
    monkeypatch.setattr(audit, "seal_record", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
    assert seal_if_due(place, always=True) is None


@pytest.mark.parametrize("length", [0, 1, 300, 66_000, 140_000])
def test_the_end_of_a_file_is_found_from_behind(length, tmp_path):
    path = tmp_path / "20260101-0a1b2c3d.jsonl"
    first, chain = make_line({"id": "x"}, start_chain(path.stem))
    second, last = make_line({"id": "y", "fill": "x" * length}, chain)
    for content, expected in (
        (b"", (0, start_chain(path.stem))),
        (first, (len(first), chain)),
        (first + second, (len(first + second), last)),
        (first + second[:-1], (len(first), chain)),
        (first + b"x" * 65_500, (len(first), chain)),
        (first + second + b"x" * length, (len(first + second), last)),
    ):
        path.write_bytes(content)
        assert find_end(path) == expected


# what a killed process leaves is no fault


def test_a_torn_last_line_and_a_run_without_an_entry_are_notes(place, log):
    decide(log)
    decide_file(log, ["4711-A", "4712-B"], name_today(), entry=False)
    (path,) = list_days(place.audit_path)
    with path.open("ab") as opened:
        opened.write(b'{"id":"2026')
    state = verify_record(place)
    assert state.faults == () and state.cases == 3
    assert [note.partition(":")[0] for note in state.notes] == [f"{path.name}, line 2", name_today()]
    assert seal_record(place).event.segments == 2 and verify_record(place).faults == ()
    shutil.rmtree(place.audit_path / name_today())  # the failed run is thrown away: nobody was told
    assert verify_record(place).faults == ()


def test_a_run_that_is_finished_after_a_seal_is_no_fault(place, log):
    decide_file(log, ["4711-A", "4712-B"], name_today(), entry=False)
    seal_record(place)
    decide_file(log, ["4711-A", "4712-B", "4713-C"], name_today())
    assert verify_record(place).faults == () and verify_record(place).notes == ()


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_audit import decide, decide_file, settings_in
from rumos_bank.serving.decision_log import DecisionLog
log = DecisionLog(settings_in(Path(sys.argv[1])))
number = 0
while True:
    print(decide(log), flush=True)
    decide_file(log, ["4711-A", "4712-B", "4713-C"], f"20260101-{number:08x}")
    number += 1
"""


def test_kill_9_leaves_no_fault(place):
    root = place.store_path.parent
    command = [sys.executable, "-c", PROGRAM, str(root), str(Path(__file__).parent)]
    environment = clean_environment() | {"PYTHONPATH": ":".join(sys.path)}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    told = [writer.stdout.readline() for _ in range(15)]
    writer.kill()
    writer.wait(timeout=30)
    assert len(told[-1]) > 20
    state = verify_record(place)
    assert state.faults == () and state.cases >= 15 + 14 * 3
    seal_record(place)
    assert verify_record(place).faults == ()


# erasing and retention


def test_an_erased_line_without_a_line_of_the_ledger_is_found(place, log):
    decide(log)
    (path,) = list_days(place.audit_path)
    path.write_bytes(blank_line(path.read_bytes()))
    (fault,) = verify_record(place).faults
    assert fault == f"{path.name}, line 1: was erased, and no line of the ledger says so"


def test_an_erasure_that_did_not_happen_is_found(place, log):
    id_ = decide(log)
    append_event(place, PersonErased(reason=WHY, entries=(id_,), parts={}))
    fault, left = verify_record(place).faults
    assert "line 1: should be erased, as line 2 of the ledger says: `rumos person finish`" in fault
    assert left.startswith("erased.txt: is not the list") and left.endswith("`rumos person finish`")


def keep(settings: Settings, **audit: int) -> Settings:
    return settings.model_copy(update={"audit": AuditSettings(**audit)})


def test_what_retention_took_is_explained_also_when_the_explanation_is_cleared(place, clock):
    settings = keep(place, keep_days=3, keep_at_least_days=2)
    log = DecisionLog(settings)
    for _ in range(12):
        log.append({"kind": "example"})
        seal_record(settings)
        clock.day += timedelta(days=1)
    assert len(list_days(settings.audit_path)) == 4
    assert verify_record(settings).faults == ()
    assert verify_record(keep(place, keep_days=30)).faults == ()  # the bank keeps longer from now on
    assert verify_record(keep(place)).faults == ()
    log.close()


@pytest.mark.parametrize("keep_days", [0, 1, 3])
def test_a_forged_line_about_retention_explains_nothing(keep_days, place, clock):
    "The bank keeps 3 days. A line that says it keeps 1, or that a file of yesterday is old, is no excuse."
    settings = keep(place, keep_days=3, keep_at_least_days=2)
    log = DecisionLog(settings)
    log.append({"kind": "example"})
    (path,) = list_days(settings.audit_path)
    seal_record(settings)
    clock.day += timedelta(days=2)
    log.append(
        {"kind": "cleared", "keep_days": keep_days, "segments": {path.name: decision_log.find_state(path)}}
    )
    path.unlink()
    (fault,) = verify_record(settings).faults
    assert fault.startswith(f"{path.stem}: is gone")
    log.close()


def test_a_forged_line_about_retention_hides_no_change_of_a_part(place, log):
    folder = decide_file(log, ["4711-A", "4712-B"], name_today())
    log.append({"kind": "cleared", "keep_days": 1, "segments": {name_today(): "x"}})
    part = folder.path / "part-000000.parquet"
    part.write_bytes(part.read_bytes() + b"x")
    assert verify_record(place).faults == (f"{name_today()}/{part.name}: is not what was written",)


def test_a_clean_up_is_planned_and_nothing_is_taken(place, clock):
    settings = keep(place, keep_days=30)
    assert "nothing is ever removed" in str(plan_clean_up(keep(place)))
    log = DecisionLog(settings)
    log.append_many([{"kind": "decision"}, {"kind": "decision"}, {"kind": "example"}])
    decide_file(log, ["4711-A", "4712-B", "4713-C"], "20260301-0a1b2c3d")
    size = sum(path.stat().st_size for path in settings.audit_path.glob("2*/*")) + sum(
        path.stat().st_size for path in list_days(settings.audit_path)
    )
    assert plan_clean_up(settings).files == 0
    clock.day += timedelta(days=31)
    assert plan_clean_up(settings).files == 0  # the newest day on record is 1 March: is the clock right?
    (settings.audit_path / "20260331-00000000.jsonl").write_bytes(b"")
    plan = plan_clean_up(settings)
    assert (plan.files, plan.cases, plan.size) == (2, 5, size)
    assert (plan.first, plan.last) == ("20260301", "20260301")
    assert "2 files and folders of 20260301 to 20260301 would be removed, 5 cases" in str(plan)
    assert len(list_days(settings.audit_path)) == 2 and list_folders(settings.audit_path)
    log.close()


def test_the_state_names_how_many_faults_there_are():
    state = audit.RecordState(1, 2, 3, 0, "", ("a", "b"), ("c",))
    assert str(state).splitlines()[1:] == ["2 FAULTS", "FAULT a", "FAULT b", "note  c"]
    assert "never sealed" in str(state) and "sealed up to" in str(
        replace(state, sealed="2026-01-01T00:00:00+00:00")
    )
    assert str(replace(state, faults=("a",) * 1_052)).splitlines()[-2:] == [
        "FAULT … and 1,002 more",
        "note  c",
    ]


def test_without_the_private_key_no_list_of_a_seal_is_left(place, log):
    decide(log)
    (place.ledger_path / "private.pem").rename(place.ledger_path / "elsewhere.pem")
    with pytest.raises(StoreError, match="only its holder may write"):
        seal_record(place)
    assert not (place.audit_path / SEALS).exists()


def test_a_seal_makes_no_run_without_an_entry_a_normal_one(place, log):
    decide_file(log, ["4711-A"], name_today(), entry=False)
    for _ in range(2):
        assert any("of a run that has no entry" in note for note in verify_record(place).notes)
        seal_record(place)


def test_a_record_elsewhere_does_not_disturb_the_seals_of_this_one(place, tmp_path):
    "A trial with another folder signs into the same ledger."
    mine = place
    other = mine.model_copy(update={"audit": AuditSettings(folder=tmp_path / "trial")})
    for each in (mine, other, mine):
        with closing(DecisionLog(each)) as log:
            log.append({"kind": "example"})
        assert seal_record(each)
    assert verify_record(mine).faults == verify_record(other).faults == ()
    assert "another record" in verify_record(mine).notes[0]
    (mine.audit_path / "record.txt").write_text("0" * 16 + "\n")
    assert any("record.txt" in fault for fault in verify_record(mine).faults)
