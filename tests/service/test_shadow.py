"A challenger in the shadow of the service: it makes the same decisions, and no fault of it reaches a caller."

import asyncio
import json
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from loops import run_alone
from processes import wait_until
from services import Service, serve, set_alias, settings_of

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Line
from rumos_bank.governance.registry import find_version
from rumos_bank.ground.errors import StoreError
from rumos_bank.monitoring import shadow as shadowing
from rumos_bank.monitoring.shadow import MOST, Shadow, judge_shadow
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, read_log

SHADOW = {"RUMOS_SHADOW_VERSION": "1"}


@pytest.fixture(scope="module")
def clients() -> list[dict]:
    return json.loads(make_synthetic_clients(300, seed=5)[list(CLIENT_COLUMNS)].to_json(orient="records"))


def count(service: Service, name: str) -> int:
    shown = service.get("/metrics").body.decode()
    return int(float(re.search(rf"^rumos_shadow_{name}_total (.*)$", shown, re.M)[1]))


def shadow_process(service: Service) -> psutil.Process:
    wait_until(lambda: psutil.Process(service.process.pid).children())
    return psutil.Process(service.process.pid).children()[0]


def without_ids(answers: list[dict]) -> list[dict]:
    return [{name: value for name, value in answer.items() if name != "id"} for answer in answers]


def entries(store: Path, kind: str) -> list[dict]:
    return [entry for entry in read_log(settings_of(store).audit_path) if entry["kind"] == kind]


# Not used


def test_the_answers_are_those_without_a_shadow_and_the_shadow_is_on_record(store, tmp_path, clients):
    with serve(store, tmp_path) as alone:
        expected = without_ids(alone.post("/decisions", clients).json)
        assert not psutil.Process(alone.process.pid).children(), "no version, no shadow"
    with serve(store, tmp_path, **SHADOW) as service:
        answers = service.post("/decisions", clients).json
        late = service.post("/default_prediction", LATE_CLIENT)
        assert without_ids(answers) == expected and late.body == b'{"prediction":1}'
        wait_until(lambda: count(service, "scored") == 301)
        changes, failed = count(service, "changed_decisions"), count(service, "failed")
    first = Champion(1, (line := find_version(settings_of(store), 1).line), _files(store, line))
    written = {entry["decision"]: entry for entry in entries(store, "shadow")}
    assert written.keys() == {answer["id"] for answer in answers} | {late.headers["x-decision-id"]}
    for answer, client in zip(answers, clients, strict=True):
        entry = written[answer["id"]]
        assert entry["answer"] == first.decide(client).to_dict() and entry["answer"]["model_version"] == 1
        assert entry["model"] == {"version": 1, "digest": first.digest}
    assert failed == 0 and changes == sum(
        written[answer["id"]]["answer"]["prediction"] != answer["prediction"] for answer in answers
    ) + (written[late.headers["x-decision-id"]]["answer"]["prediction"] != 1)
    report = judge_shadow(settings_of(store), 1)
    assert report.to_refuse + report.to_accept == changes > 0 and report.champions == (3,)


def _files(store: Path, line: Line) -> dict[str, bytes]:
    return {name: (store / line.event.folder / name).read_bytes() for name in line.event.files}


def test_the_log_of_the_service_names_the_shadow_and_holds_no_client(store, tmp_path):
    with serve(store, tmp_path, **SHADOW) as service:
        service.post("/default_prediction", EXAMPLE_CLIENT | {"LIMIT_BAL": 31_415})
        wait_until(lambda: count(service, "scored") == 1)
    (event,) = service.events("shadow")
    assert event["version"] == 1 and len(event["digest"]) == 64
    assert "31415" not in service.log.read_text()


def test_a_shadow_sees_what_is_on_record_and_no_protected_field(store, tmp_path):
    with serve(store, tmp_path, **SHADOW) as service:
        service.post("/decisions", EXAMPLE_CLIENT)
        wait_until(lambda: count(service, "scored") == 1)
    (entry,) = entries(store, "shadow")
    assert entry.keys() == {"id", "time", "kind", "decision", "answer", "microseconds", "model"}


# Faults of the shadow


def test_a_version_that_cannot_be_loaded_changes_nothing(store, tmp_path, clients):
    settings = settings_of(store)
    with pytest.raises(StoreError, match="what the files of version 9 must be"):
        find_version(settings, 9)
    (store / find_version(settings, 1).line.event.folder / "portable.json").write_bytes(b"{}")
    for version, why in (("9", "version 9"), ("1", "portable.json")):
        with serve(store, tmp_path, RUMOS_SHADOW_VERSION=version) as service:
            wait_until(lambda service=service: service.events("shadow"))
            (event,) = service.events("shadow")
            assert event["version"] == 0 and why in event["error"]
            assert len(service.post("/decisions", clients).json) == 300
            assert service.get("/health/ready").json == {"status": "ready", "model_version": 3}
            assert not entries(store, "shadow")


def test_no_caller_waits_for_a_shadow_that_stands_still_and_what_is_too_much_is_dropped(store, tmp_path):
    before = len(entries(store, "decision"))
    with serve(store, tmp_path, **SHADOW) as service:
        process = shadow_process(service)
        wait_until(lambda: service.events("shadow"))
        process.suspend()
        many, turns = [EXAMPLE_CLIENT] * 1000, MOST // 1000 + 5
        for _ in range(turns):  # each would wait for ever if it waited for the shadow
            assert len(service.post("/decisions", many).json) == 1000
        assert process.status() == psutil.STATUS_STOPPED
        dropped = count(service, "dropped")
        assert 3000 <= dropped <= 5000, "some batches had left before it stood still"
        process.resume()
        made = 1000 * turns
        wait_until(lambda: count(service, "scored") == made - dropped, seconds=120)
    assert len(entries(store, "decision")) == before + made
    assert len(entries(store, "shadow")) == made - dropped


def test_a_shadow_that_dies_is_logged_and_counted_and_the_service_goes_on(store, tmp_path, clients):
    with serve(store, tmp_path, **SHADOW) as service:
        wait_until(lambda: service.events("shadow"))
        shadow_process(service).kill()
        assert len(service.post("/decisions", clients).json) == 300
        wait_until(lambda: count(service, "failed") == 300)
        assert len(service.post("/decisions", clients).json) == 300
        assert "the shadow's process has ended" in service.events("shadow")[-1]["error"]
        assert service.get("/health/ready").json["status"] == "ready"


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="other systems have no such policy")
def test_it_computes_only_when_no_other_process_does_and_leaves_ctrl_c_to_the_service(store, tmp_path):
    with serve(store, tmp_path, **SHADOW) as service:
        process = shadow_process(service)
        wait_until(lambda: service.events("shadow"))
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE and process.nice() == 19
        assert os.getsid(process.pid) == os.getsid(service.process.pid), (
            "priorities count inside a session only"
        )
        process.send_signal(signal.SIGINT)
        service.post("/decisions", EXAMPLE_CLIENT)
        wait_until(lambda: count(service, "scored") == 1)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_service(store, tmp_path, end):
    with serve(store, tmp_path, **SHADOW) as service:
        process = shadow_process(service)
        wait_until(lambda: service.events("shadow"))
        os.kill(service.process.pid, end)
        service.process.wait(timeout=10)
    process.wait(timeout=10)


def test_the_champion_may_change_meanwhile_and_the_shadow_stays(store, tmp_path, clients):
    with serve(store, tmp_path, **SHADOW) as service:
        process = shadow_process(service)
        service.post("/decisions", clients)
        set_alias(store, 2)
        service.wait_for(2)
        service.post("/decisions", clients)
        wait_until(lambda: count(service, "scored") == 600)
        assert shadow_process(service) == process
    assert judge_shadow(settings_of(store), 1).champions == (2, 3)


# Without a server


@pytest.fixture
def listening(store, monkeypatch):
    "A shadow without a service, its counts and its events."
    monkeypatch.setattr(shadowing, "PAUSE", 0.02)
    monkeypatch.setattr(shadowing, "AGAIN", 0.05)
    counts, events = dict.fromkeys(("scored", "changes", "failed", "dropped"), 0), []

    class Count:
        def __init__(self, name: str):
            self.name = name

        def inc(self, number: int) -> None:
            counts[self.name] += number

    settings = settings_of(store, **SHADOW)
    made = Shadow(settings, {name: Count(name) for name in counts}, lambda _, **facts: events.append(facts))

    def run_until(holds) -> None:
        async def both() -> None:
            task = asyncio.create_task(made.run())
            end = time.monotonic() + 20
            while not holds() and time.monotonic() < end:
                await asyncio.sleep(0.02)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        run_alone(both())
        assert holds(), (counts, events)

    return made, counts, events, run_until


def test_what_cannot_be_answered_is_counted_and_its_kind_reported_once(listening, store):
    made, counts, events, run_until = listening
    log = DecisionLog(settings_of(store))
    entry = {"kind": "decision", "caller": "", "answer": {"prediction": 0}, "model": {}}
    good = log.append({**entry, "input": EXAMPLE_CLIENT})
    bad = log.append({**entry, "input": {"LIMIT_BAL": 31_415}})
    made.offer([good, bad, "20051001-00000000-0"])
    run_until(lambda: counts["scored"] == 1 and counts["failed"] == 2)
    made.offer([bad])
    run_until(lambda: counts["failed"] == 3)
    errors = [facts["error"] for facts in events if "version" in facts and "digest" not in facts]
    assert errors == ["StoreError", "DataError"], "each kind is reported when it is new"
    assert "31415" not in json.dumps(events)


def test_a_shadow_is_started_again(listening, monkeypatch):
    _, _, events, run_until = listening
    monkeypatch.setattr(shadowing, "_WORKER", "print('no JSON')")
    run_until(lambda: len(events) >= 3)
    assert all("JSONDecodeError" in facts["error"] for facts in events)


def test_no_more_wait_than_the_queue_holds(listening):
    made, counts, _, _ = listening
    made.offer(["x"] * (MOST - 1))
    made.offer(["x"] * 3)
    made.offer(["x"])
    assert (len(made.waiting), counts["dropped"]) == (MOST, 3)
