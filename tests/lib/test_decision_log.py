"The decision log: every answer that a caller received is on record, whatever happened since."

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import intent_of

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Line
from rumos_bank.governance.integrity import digest_value
from rumos_bank.ground.errors import DataError, ParameterError, StoreError
from rumos_bank.ground.settings import (
    AuditSettings,
    DataSettings,
    LedgerSettings,
    Prices,
    Settings,
    StoreSettings,
)
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.model.portable import PORTABLE, SKOPS, make_portable
from rumos_bank.monitoring.monitor import watch
from rumos_bank.monitoring.overrides import judge_overrides
from rumos_bank.serving import decision_log as audit
from rumos_bank.serving.case_parts import list_parts, read_shared
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import (
    DECISION_ID,
    DecisionLog,
    blank_line,
    check_line,
    decide_and_record,
    find_old,
    list_days,
    read_log,
    start_chain,
)

ROOT = Path(__file__).parents[2]
PROTECTED = ("SEX", "MARRIAGE", "AGE")


def settings_in(folder: Path, **audit: object) -> Settings:
    "A log in this folder; what goes with it lies there too."
    return Settings(
        store=StoreSettings(path=folder),
        audit=AuditSettings(**audit),
        data=DataSettings(cache=str(folder / "cache")),
        ledger=LedgerSettings(folder=folder / "keys"),
    )


@pytest.fixture
def place(tmp_path) -> Settings:
    return settings_in(tmp_path / "store")


@pytest.fixture
def log(place):
    log = DecisionLog(place)
    yield log
    log.close()


@pytest.fixture(scope="module")
def champion() -> Champion:
    "A champion of synthetic clients, without a store."
    import skops.io

    clients, family = make_synthetic_clients(800, seed=3), find_family("Decision_tree")
    model = make_model(family, family.trials[0], 1, PROTECTED)
    decision = make_decision(model, 0.25, Prices(), PROTECTED).fit(clients, clients[TARGET])
    form = json.dumps(make_portable(decision, {"family": "Decision_tree"})).encode()
    line = Line(1, intent_of(3, "r", files={PORTABLE: "0", SKOPS: "1"}), "now", "test", "")
    return Champion(3, line, {PORTABLE: form, SKOPS: skops.io.dumps(decision)})


def read_all(settings: Settings) -> list[dict]:
    return list(read_log(settings.audit_path))


# finding


def test_every_id_finds_its_own_entry(log, place):
    ids = [log.append({"number": 0}), *log.append_many([{"number": number} for number in range(1, 400)])]
    assert len(set(ids)) == 400
    assert [log.find(each)["number"] for each in ids] == list(range(400))
    assert [DecisionLog(place).find(each)["number"] for each in (ids[0], ids[-1])] == [
        0,
        399,
    ]  # another process


def test_an_entry_keeps_every_character(log, place):
    odd = {
        "reason": 'a "quote", a \\, a \n line, \x00, \u2028, ünï, 🙂',
        "caller": "=1+1",
        "deep": [{"a": [1.5, None]}],
    }
    found = log.find(log.append(odd))
    assert {name: found[name] for name in odd} == odd
    log.append({"number": 2})
    assert len(read_all(place)) == 2


def test_the_time_is_when_it_was_written(log):
    before = datetime.now(UTC)
    recorded = datetime.fromisoformat(log.find(log.append({}))["time"])
    assert before <= recorded <= datetime.now(UTC)


def test_forged_ids_find_nothing(log, place, tmp_path):
    known = log.append({"number": 1, "id_like": '{"id": "x"}'})
    log.append({"number": 2})
    outside = tmp_path / "20050901-00000000.jsonl"
    outside.write_text(json.dumps({"id": "../../20050901-00000000-0"}) + "\n")
    name, _, _ = known.rpartition("-")
    forged = [
        "",
        "x",
        name,
        f"{name}-",
        f"{name}-1",
        f"{name}-fff",
        f"{name}-{'f' * 12}",
        f"{name}-{'0' * 12}",  # the right place, but not the id that was given out
        f"{name}--1",
        f"{known}\n",
        f" {known}",
        known.upper() if known.upper() != known else known + "0",
        "../../20050901-00000000-0",
        f"../decisions/{known}",
        f"{name}/../{known}",
        "/etc/passwd",
        "20050901-00000000\x00-0",
        "٢٠٠٥٠٩٠١-00000000-0",
        "a" * 10_000,
    ]
    for each in forged:
        with pytest.raises(StoreError, match="there is no decision"):
            log.find(each)
    assert log.find(known)["number"] == 1


def test_an_entry_with_the_id_of_another_is_not_found(log, place):
    known = log.append({"number": 1})
    path = place.audit_path / f"{known.rpartition('-')[0]}.jsonl"
    changed = path.read_text().replace(known, known[:-1] + "5")
    path.write_text(changed)
    with pytest.raises(StoreError, match="there is no decision"):
        log.find(known)


def test_the_files_are_for_their_owner_only(log, place):
    old = os.umask(0)
    try:
        log.append({})
    finally:
        os.umask(old)
    (file,) = place.audit_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert place.audit_path.stat().st_mode & 0o777 == 0o700


# many writers


def test_threads_write_whole_lines_and_find_them(log, place):
    recorded: dict[str, tuple[int, int]] = {}

    def write(thread: int) -> None:
        for number in range(60):
            for each in log.append_many(
                [{"who": [thread, number], "fill": "x" * (number * 7)}] * (1 + number % 3)
            ):
                recorded[each] = (thread, number)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorded) == 8 * 20 * 6
    assert all(tuple(log.find(each)["who"]) == who for each, who in recorded.items())
    assert sorted(entry["id"] for entry in read_all(place)) == sorted(recorded)
    assert len(list(place.audit_path.iterdir())) == 1


def _append_in_a_fork(log: DecisionLog, answers) -> None:
    answers.put([log.append({"who": "child", "number": number}) for number in range(3)])


def test_a_fork_writes_a_file_of_its_own(log, place):
    before = log.append({"who": "parent", "number": 0})
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_append_in_a_fork, args=(log, answers))
    child.start()
    ids = answers.get(timeout=30)
    child.join(timeout=30)
    after = log.append({"who": "parent", "number": 1})
    assert [log.find(each)["number"] for each in ids] == [0, 1, 2]
    assert [log.find(each)["number"] for each in (before, after)] == [0, 1]
    assert len(list(place.audit_path.iterdir())) == 2


WRITER = """
import sys
from pathlib import Path
from rumos_bank.serving.decision_log import DecisionLog
from rumos_bank.ground.settings import Settings, StoreSettings

log = DecisionLog(Settings(store=StoreSettings(path=Path(sys.argv[1]))))
number = 0
while True:
    print(number, log.append({"number": number, "fill": "x" * (number % 5000)}), flush=True)
    number += 1
"""


def test_kill_9_loses_nothing_that_was_answered_and_two_processes_share_the_folder(place):
    command = [sys.executable, "-c", WRITER, str(place.store_path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    recorded = []
    for writer in writers:  # the first fills its pipe and waits while the second is read
        recorded += [writer.stdout.readline() for _ in range(300)]
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    for writer in writers:
        recorded += [line for line in writer.stdout if line.endswith("\n")]
        writer.wait(timeout=30)
    log = DecisionLog(place)
    for number, each in map(str.split, recorded):
        assert log.find(each)["number"] == int(number)
    assert len(recorded) > 600 and len(list(place.audit_path.iterdir())) == 2
    assert {each for _, each in map(str.split, recorded)} <= {entry["id"] for entry in read_all(place)}


# a disk that fails


def fail_once(monkeypatch, act) -> None:
    "The next write does this instead."
    write, calls = os.write, []

    def failing(file: int, lines: bytes) -> int:
        calls.append(file)
        return act(write, file, lines) if len(calls) == 1 else write(file, lines)

    monkeypatch.setattr(audit.os, "write", failing)


def _is_full(write, file, lines):
    raise OSError(errno.ENOSPC, "No space left on device")


def _writes_half(write, file, lines):
    return write(file, lines[: len(lines) // 2])


@pytest.mark.parametrize("act", [_is_full, _writes_half])
@pytest.mark.parametrize("entries", [1, 3])
def test_what_cannot_be_written_has_no_id_and_the_next_entry_has(act, entries, log, place, monkeypatch):
    first = log.append({"number": 1})
    with monkeypatch.context() as broken:
        fail_once(broken, act)
        with pytest.raises(OSError, match=r"No space left|bytes could be written: is the disk full"):
            log.append_many([{"lost": True}] * entries)
    again = log.append({"number": 2})
    assert [log.find(each)["number"] for each in (first, again)] == [1, 2]
    assert sorted(entry["id"] for entry in read_all(place)) == sorted([first, again])


def _is_interrupted(write, file, lines):
    write(file, lines)
    raise KeyboardInterrupt


def test_an_interrupted_write_leaves_nothing_and_later_ids_find_their_entries(log, place, monkeypatch):
    first = log.append({"number": 1})
    with monkeypatch.context() as broken:
        fail_once(broken, _is_interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append({"lost": True})
    again = log.append({"number": 2})
    assert log.find(again)["number"] == 2
    assert sorted(entry["id"] for entry in read_all(place)) == sorted([first, again])


def test_a_full_disk_leaves_no_empty_files(log, place, monkeypatch):
    for _ in range(3):
        with monkeypatch.context() as broken:
            fail_once(broken, _is_full)
            with pytest.raises(OSError, match="No space left"):
                log.append({"lost": True})
    assert list(place.audit_path.iterdir()) == []


def test_a_failed_wait_for_the_disk_is_raised(tmp_path, monkeypatch):
    log = DecisionLog(settings_in(tmp_path, fsync=True))
    waits = []

    def wait(file: int) -> None:
        waits.append(file)
        if len(waits) == 2:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(audit.os, "fdatasync", wait)
    first = log.append({"number": 1})
    with pytest.raises(OSError, match="Input/output"):
        log.append({"number": 2})
    assert log.find(log.append({"number": 3}))["number"] == 3 and log.find(first)["number"] == 1
    assert len(waits) == 3
    log.close()


def test_without_fsync_no_write_waits_for_the_disk(log, monkeypatch):
    monkeypatch.setattr(audit.os, "fdatasync", lambda file: pytest.fail("waited"))
    log.append({})


def test_what_json_cannot_hold_is_refused_and_breaks_nothing(log):
    with pytest.raises(TypeError):
        log.append_many([{"number": 1}, {"number": object()}])
    first, second = log.append({"number": 2}), log.append({"number": 3})
    assert [log.find(each)["number"] for each in (first, second)] == [2, 3]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_no_entry(cut, log, place):
    first, second = log.append({"number": 1}), log.append({"number": 2, "fill": "x" * 60})
    log.close()
    path = place.audit_path / f"{second.rpartition('-')[0]}.jsonl"
    path.write_bytes(path.read_bytes()[: -1 - cut])
    assert [entry["number"] for entry in read_all(place)] == [1]
    assert log.find(first)["number"] == 1
    with pytest.raises(StoreError, match="there is no decision"):
        log.find(second)
    assert log.find(log.append({"number": 3}))["number"] == 3


# days


class Clock(datetime):
    "A clock that a test turns."

    day = datetime(2026, 3, 1, 12, tzinfo=UTC)

    @classmethod
    def now(cls, zone=None):
        return cls.day


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(audit, "datetime", Clock)
    Clock.day = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
    return Clock


def test_a_new_day_has_a_new_file(clock, log, place):
    ids = [log.append({"number": 1})]
    clock.day += timedelta(seconds=2)
    ids += [log.append({"number": 2}), log.append({"number": 3})]
    assert [each[:8] for each in ids] == ["20260301", "20260302", "20260302"]
    assert [log.find(each)["number"] for each in ids] == [1, 2, 3]
    assert sorted(path.name[:8] for path in place.audit_path.iterdir()) == ["20260301", "20260302"]
    for first, last, numbers in (
        ("", "", [1, 2, 3]),
        ("20260302", "", [2, 3]),
        ("", "20260301", [1]),
        ("20260303", "", []),
    ):
        assert [entry["number"] for entry in read_log(place.audit_path, first, last)] == numbers


def test_old_files_go_when_a_new_one_is_opened_and_nothing_else(clock, tmp_path):
    settings = settings_in(tmp_path, keep_days=2, keep_at_least_days=2)
    log = DecisionLog(settings)
    recorded = {}
    beside = ["notes.jsonl", "1.jsonl", "20200101.jsonl", "20200101-copy.jsonl", "20200101-00000000.txt"]
    for day in range(5):
        recorded[day] = log.append({"day": day})
        for name in beside:
            (settings.audit_path / name).write_text("{}\n")
        clock.day += timedelta(days=1)
    kept = sorted(path.name[:8] for path in settings.audit_path.iterdir() if path.name not in beside)
    assert kept == ["20260303", "20260304", "20260305"]  # today and two days before
    assert all((settings.audit_path / name).exists() for name in beside)
    entries = list(read_log(settings.audit_path))
    assert [entry["day"] for entry in entries if "day" in entry] == [2, 3, 4]
    with pytest.raises(StoreError, match="there is no decision"):
        log.find(recorded[1])
    log.close()
    cleared = [entry for entry in entries if entry.get("kind") == "cleared"]  # those of 1 and 2 March
    assert [[name[:8] for name in entry["segments"]] for entry in cleared] == [["20260301"], ["20260302"]]
    assert [entry["keep_days"] for entry in cleared] == [2, 2]


def test_what_is_cleared_leaves_its_name_its_size_and_its_last_hash(clock, tmp_path):
    settings = settings_in(tmp_path, keep_days=2, keep_at_least_days=2)
    log = DecisionLog(settings)
    log.append({"day": 0})
    (path,) = list_days(settings.audit_path)
    written = path.read_bytes()
    folder = settings.audit_path / "20260301-0a1b2c3d"
    folder.mkdir()
    (folder / "part-000000.parquet").write_bytes(b"cases")
    for _ in range(3):
        clock.day += timedelta(days=1)
        log.append({})
    (entry,) = read_log(settings.audit_path, kind="cleared")
    assert entry["segments"].keys() == {path.name, folder.name}
    assert entry["segments"][path.name] == f"{len(written)} {json.loads(written)['chain']}"
    assert not path.exists() and not folder.exists()
    log.close()


def test_the_line_about_a_clean_up_comes_before_it(clock, tmp_path, monkeypatch):
    "A kill in between leaves a file that the next clean-up takes; the other way round, a gap that nobody explains."
    settings = settings_in(tmp_path, keep_days=2, keep_at_least_days=2)
    log = DecisionLog(settings)
    log.append({})
    clock.day += timedelta(days=5)
    log.append({})
    clock.day += timedelta(days=1)
    with monkeypatch.context() as killed:
        killed.setattr(audit, "clear", lambda old: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            log.append({})
    assert len(list(read_log(settings.audit_path, kind="cleared"))) == 1
    assert list_days(settings.audit_path)[0].name.startswith("20260301")


def test_a_clock_that_is_wrong_does_not_empty_the_record(clock, tmp_path):
    settings = settings_in(tmp_path, keep_days=30, keep_at_least_days=30)
    log = DecisionLog(settings)
    for _ in range(3):
        log.append({})
        clock.day += timedelta(days=1)
    right = clock.day
    for wrong in (datetime(2099, 1, 1, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)):
        clock.day = wrong
        log.append({})
    days = [path.name[:8] for path in list_days(settings.audit_path)]
    assert days == ["19990101", "20260301", "20260302", "20260303", "20990101"]
    clock.day = right + timedelta(days=40)  # and the right one goes on
    log.append({})
    clock.day += timedelta(days=1)
    log.append({})
    days = [path.name[:8] for path in list_days(settings.audit_path)]
    assert days == ["20260413", "20260414", "20990101"]
    log.close()


def test_nothing_is_removed_unless_the_bank_sets_it(clock, log, place):
    log.append({})
    clock.day += timedelta(days=10_000)
    log.append({})
    assert find_old(place.audit_path, 0) == [] and len(read_all(place)) == 2


def test_fewer_days_than_the_minimum_are_refused():
    with pytest.raises(ValueError, match="the bank keeps at least 30 days"):
        AuditSettings(keep_days=29)
    assert AuditSettings(keep_days=30).keep_days == 30 and AuditSettings(keep_days=0).keep_days == 0
    assert AuditSettings(keep_days=1, keep_at_least_days=1).keep_days == 1


@pytest.mark.parametrize("day", ["2005-10-01", "200510", "20051301", "٢٠٠٥٠٩٠١", "yesterday"])
def test_a_day_is_eight_digits_that_a_calendar_has(day, place):
    for days in ((day, ""), ("", day)):
        with pytest.raises(ParameterError, match="YYYYMMDD"):
            list(read_log(place.audit_path, *days))
        with pytest.raises(ParameterError, match="YYYYMMDD"):
            watch(place, *days)
        with pytest.raises(ParameterError, match="YYYYMMDD"):
            judge_overrides(place, *days)


def _refuse(*_, **__) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_log_that_may_not_be_read_is_not_called_empty(log, place, monkeypatch):
    known = log.append({})
    with monkeypatch.context() as closed:
        closed.setattr(Path, "iterdir", _refuse)
        for scan in (read_all, watch):
            with pytest.raises(StoreError, match=r"cannot be read \(Permission denied\)"):
                scan(place)
    with monkeypatch.context() as closed:
        closed.setattr(Path, "open", _refuse)
        for scan in (read_all, watch, lambda place: log.find(known)):
            with pytest.raises(StoreError, match=r"cannot be read \(Permission denied\)"):
                scan(place)


def test_a_file_that_is_cleared_while_the_log_is_read_is_passed_over(clock, log, place):
    ids = [log.append({"number": 1})]
    clock.day += timedelta(seconds=2)
    log.append({"number": 2})
    entries = read_log(place.audit_path)
    assert next(entries)["id"] == ids[0]
    (place.audit_path / f"{log._file.name}.jsonl").unlink()
    assert list(entries) == []


def test_what_is_no_entry_is_passed_over(log, place):
    known = log.append({})
    (place.audit_path / "20050901-00000000.jsonl").write_text('5\nnull\n"x"\n[1]\n')
    assert [entry["id"] for entry in read_all(place)] == [known]


def test_a_log_that_was_never_written_is_empty(place):
    assert read_all(place) == [] and find_old(place.audit_path, 5) == []
    with pytest.raises(StoreError, match="there is no decision"):
        DecisionLog(place).find("20260301-00000000-0")


# decisions


def test_a_decision_is_on_record_as_it_was_answered(champion, log):
    recorded = decide_and_record(champion, EXAMPLE_CLIENT, "test", log)
    found = log.find(recorded.id)
    assert recorded.decision == champion.decide(EXAMPLE_CLIENT)
    assert found["answer"] == recorded.decision.to_dict()
    assert found["answer"]["probability"] == recorded.decision.probability  # every bit
    assert found["input"] == {name: EXAMPLE_CLIENT[name] for name in CLIENT_COLUMNS if name not in PROTECTED}
    assert found["model"] == {"version": 3, "digest": digest_value({PORTABLE: "0", SKOPS: "1"})}
    assert (found["kind"], found["caller"]) == ("decision", "test")


def test_a_list_is_on_record_client_by_client(champion, log):
    recorded = decide_and_record(champion, [EXAMPLE_CLIENT, LATE_CLIENT], "test", log)
    assert [each.decision for each in recorded] == champion.decide([EXAMPLE_CLIENT, LATE_CLIENT])
    assert [log.find(each.id)["input"]["PAY_0"] for each in recorded] == [0, 7]
    assert decide_and_record(champion, [], "test", log) == []


@pytest.mark.parametrize("service", ["frame", "arrow"])
def test_each_row_of_a_frame_or_a_table_is_a_case_and_all_are_one_entry(service, champion, log, place):
    import pyarrow as pa

    clients = make_synthetic_clients(50, seed=5).set_index("ID")
    asked = clients if service == "frame" else pa.Table.from_pandas(clients)
    decided = decide_and_record(champion, asked, "test", log)
    if service == "arrow":
        decided = decided.to_pandas()
    refused = [each.prediction for each in champion.decide(clients[list(CLIENT_COLUMNS)].to_dict("records"))]
    assert decided["prediction"].tolist() == refused
    (entry,) = read_all(place)
    assert (entry["kind"], entry["clients"], entry["refused"]) == ("batch", 50, sum(refused))
    seen = [name for name in CLIENT_COLUMNS if name not in PROTECTED]
    for place_in_table, case in enumerate(map(log.find, decided[DECISION_ID])):
        row = clients.iloc[place_in_table]
        assert case["input"] == {name: int(row[name]) for name in seen}
        assert case["answer"]["probability"] == decided["probability"].iloc[place_in_table]  # every bit
        assert (case["kind"], case["row"]) == ("decision", place_in_table + 1)
    other = decide_and_record(champion, clients.iloc[::-1], "test", log)
    first, second = read_all(place)
    assert len(other) == 50 and second["input"] != first["input"]
    assert len({*decided[DECISION_ID], *other[DECISION_ID]}) == 100


def test_what_breaks_the_contract_is_not_recorded(champion, log, place):
    with pytest.raises(DataError, match=r"^client 1 of the list: "):
        decide_and_record(champion, [EXAMPLE_CLIENT, EXAMPLE_CLIENT | {"PAY_0": 10}], "test", log)
    with pytest.raises(DataError, match=r"^1 violations"):
        decide_and_record(champion, EXAMPLE_CLIENT | {"PAY_0": 10}, "test", log)
    with pytest.raises(DataError, match="client 0 of the list must be a dict, got int"):
        decide_and_record(champion, [1], "test", log)
    for odd in ("abc", 5, None, np.zeros((1, 23)), pd.Series(EXAMPLE_CLIENT)):
        with pytest.raises(
            ParameterError, match="clients must be a dict, a list of dicts, a DataFrame or an Arrow"
        ):
            decide_and_record(champion, odd, "test", log)
    assert read_all(place) == []


def test_what_cannot_be_recorded_is_not_answered(champion, log, place, monkeypatch):
    fail_once(monkeypatch, _is_full)
    with pytest.raises(OSError, match="No space left"):
        decide_and_record(champion, EXAMPLE_CLIENT, "test", log)
    assert read_all(place) == []


def test_without_a_log_the_settings_name_the_place(champion, tmp_path, monkeypatch):
    monkeypatch.setenv("RUMOS_STORE_PATH", str(tmp_path / "mine"))
    recorded = decide_and_record(champion, EXAMPLE_CLIENT, "test")
    assert [entry["id"] for entry in read_log(tmp_path / "mine" / "decisions")] == [recorded.id]


def test_pandas_reads_the_files_as_they_are(champion, log, place):
    recorded = decide_and_record(champion, [EXAMPLE_CLIENT] * 3, "test", log)
    log.append({"kind": "batch", "clients": 2})
    (file,) = place.audit_path.iterdir()
    frame = pd.read_json(file, lines=True, precise_float=True)
    assert frame["id"].tolist()[:3] == [each.id for each in recorded] and len(frame) == 4
    assert (
        pd.json_normalize(frame["answer"].dropna().tolist())["probability"].tolist()
        == [recorded[0].decision.probability] * 3
    )


# deciding otherwise

WHY = "the employer guarantees the loan"


def test_an_override_stands_beside_the_models_decision(champion, log, place):
    recorded = decide_and_record(champion, LATE_CLIENT, "test", log)
    found = log.find(record_override(place, log, recorded.id, 0, " A. Officer ", f" {WHY} "))
    assert (found["kind"], found["decision"]) == ("override", recorded.id)
    assert (found["model_prediction"], found["prediction"]) == (recorded.decision.prediction, 0)
    assert (found["officer"], found["reason"]) == ("A. Officer", WHY)
    assert log.find(recorded.id)["answer"] == recorded.decision.to_dict()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"officer": " "}, "the officer's name"),
        ({"reason": "\n"}, "in your own words why this client is decided so"),
        ({"reason": "ok ok ok"}, "at least 3 different words"),
        ({"prediction": 2}, "prediction must be 0"),
        ({"prediction": "1"}, "prediction must be 0"),
    ],
)
def test_an_override_needs_a_name_a_reason_and_a_decision(given, message, champion, log, place):
    recorded = decide_and_record(champion, LATE_CLIENT, "test", log)
    asked = {"decision_id": recorded.id, "prediction": 0, "officer": "A. Officer", "reason": WHY}
    with pytest.raises(ParameterError, match=message):
        record_override(place, log, **asked | given)
    assert len(read_all(place)) == 1


def test_an_override_without_a_decision_is_refused(champion, log, place):
    recorded = decide_and_record(champion, LATE_CLIENT, "test", log)
    with pytest.raises(ParameterError, match="prediction must be 0"):
        record_override(place, log, recorded.id, None, "A. Officer", WHY)
    assert len(read_all(place)) == 1


def test_only_a_decision_can_be_made_otherwise(champion, log, place):
    recorded = decide_and_record(champion, LATE_CLIENT, "test", log)
    override = record_override(place, log, recorded.id, 0, "A. Officer", WHY)
    batch = log.append({"kind": "batch", "clients": 2})
    for other, kind in ((override, "override: it is about the case"), (batch, "batch: name a decision")):
        with pytest.raises(ParameterError, match=f"of the kind {kind}"):
            record_override(place, log, other, 1, "A. Officer", WHY)
    with pytest.raises(StoreError, match="there is no decision"):
        record_override(place, log, "20260301-00000000-0", 1, "A. Officer", WHY)


# the chain, and the part that can be erased


def lines_of(settings: Settings) -> tuple[Path, list[bytes]]:
    (path,) = list_days(settings.audit_path)
    return path, path.read_bytes().splitlines(keepends=True)


def check_all(name: str, lines: list[bytes]) -> list[str]:
    "The fault of each line, in its order."
    chain, faults = start_chain(name), []
    for line in lines:
        checked = check_line(line, chain)
        faults.append(checked.fault)
        chain = line[-67:-3].decode(errors="replace")
    return faults


def test_every_line_hashes_all_before_it_whoever_wrote_and_whatever_failed(champion, log, place, monkeypatch):
    decide_and_record(champion, [EXAMPLE_CLIENT, LATE_CLIENT], "test", log)
    with monkeypatch.context() as broken:
        fail_once(broken, _writes_half)
        with pytest.raises(OSError, match="is the disk full"):
            log.append({"lost": True})
    log.append({"number": 1})
    for path in list_days(place.audit_path):
        lines = path.read_bytes().splitlines(keepends=True)
        assert not any(check_all(path.stem, lines))
    assert len(list_days(place.audit_path)) == 2  # after a failure the log goes on in another file


def test_a_file_under_another_name_is_not_what_was_written(log, place):
    log.append({"number": 1})
    path, lines = lines_of(place)
    assert check_all(path.stem, lines) == [""] and check_all("20260301-00000000", lines) != [""]


def test_the_hash_does_not_show_the_values(champion, log, place):
    "The same client twice: whoever guesses the values cannot confirm them by the hash, which is salted."
    decide_and_record(champion, [EXAMPLE_CLIENT] * 2, "test", log, ["4711-A"] * 2)
    _, lines = lines_of(place)
    first, second = map(json.loads, lines)
    assert first["hidden"] != second["hidden"] and first["private"].keys() == second["private"].keys()
    assert first["private"]["reference"] == second["private"]["reference"]
    assert b"4711-A" not in b"".join(lines)
    for line in lines:
        assert b"PAY_0" not in line.partition(b',"private":')[0] and b"PAY_0" not in blank_line(line)


@pytest.mark.parametrize("reference", [None, "4711-A"])
def test_a_blanked_line_is_as_long_and_the_chain_goes_on(reference, champion, log, place):
    ids = [
        each.id for each in decide_and_record(champion, [EXAMPLE_CLIENT] * 3, "test", log, [reference] * 3)
    ]
    path, lines = lines_of(place)
    lines[1] = blank_line(lines[1])
    path.write_bytes(b"".join(lines))
    assert not any(check_all(path.stem, lines)) and blank_line(lines[1]) == lines[1]
    erased, kept = log.find(ids[1]), log.find(ids[2])
    assert erased.keys() & {"input", "reference"} == set() and erased["answer"] == kept["answer"]
    assert kept["input"]["PAY_0"] == EXAMPLE_CLIENT["PAY_0"]
    assert log.find(log.append({"number": 1}))["number"] == 1


def test_blanks_are_blanks_and_nothing_else(champion, log, place):
    decide_and_record(champion, EXAMPLE_CLIENT, "test", log)
    path, (line,) = lines_of(place)
    blank = blank_line(line)
    at = blank.index(b"{}  ") + 10
    for other in (b"\t", b"x", b"}"):
        assert check_all(path.stem, [blank[:at] + other + blank[at + 1 :]]) != [""]


PARTS = """
import sys
from pathlib import Path
import numpy as np
from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.serving.case_parts import Shared, make_ids, make_part
from rumos_bank.serving.decision_log import CaseFolder, DecisionLog
from rumos_bank.ground.settings import Prices, Settings, StoreSettings

log = DecisionLog(Settings(store=StoreSettings(path=Path(sys.argv[1]))))
shared = Shared("20051001-1a2b3c4d", "2005-10-01T09:00:00+00:00", "test", "file", {"version": 3}, 0.25, Prices().model_dump())
folder, number, n = CaseFolder(log, shared), 0, 500
fields = {name: np.full(n, value) for name, value in EXAMPLE_CLIENT.items()}
while True:
    part = make_part(shared, np.arange(n), fields, np.full(n, 0.1), np.zeros(n, bool), [f"{row + 1:016x}{0:08x}" for row in range(n)])
    folder.write(number, *part)
    print(make_ids(shared.segment, number, n)[-1], flush=True)
    print(log.append({"number": number}), flush=True)
    number += 1
"""


def test_kill_9_while_lines_and_parts_are_written_loses_no_case(place):
    command = [sys.executable, "-c", PARTS, str(place.store_path)]
    writer = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    told = [writer.stdout.readline() for _ in range(40)]
    writer.send_signal(signal.SIGKILL)
    told += [line for line in writer.stdout if line.endswith("\n")]
    writer.wait(timeout=30)
    log = DecisionLog(place)
    found = [log.find(each.strip()) for each in told]
    assert len(told) >= 40 and sum("input" in each for each in found) >= 20
    path, lines = lines_of(place)
    assert not any(check_all(path.stem, [line for line in lines if line.endswith(b"\n")]))
    for part in list_parts(place.audit_path / "20051001-1a2b3c4d"):  # whole or not there
        assert read_shared(part)[1] == 500 and len(part.with_suffix(".refs").read_bytes()) == 500 * 16
