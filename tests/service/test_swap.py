"Champions that change under load, a decision log that cannot be written, processes that die: nothing answered is lost or wrong."

import json
import re
import shutil
import signal
import socket
import threading
import time

import pytest
from loads import Load, check, find_champions
from processes import is_open, wait_until
from services import serve, set_alias, settings_of

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.serving.decision_log import read_log


def test_the_champion_changes_five_times_under_load(store, tmp_path):
    champions = find_champions(store)
    with serve(store, tmp_path) as service, Load(service) as load:
        for version in (1, 2, 3, 2, 1):
            load.wait_for(300)
            set_alias(store, version)
            service.wait_for(version)
        load.wait_for(500)
    assert len(load.answers) >= 2000 and [answer[3] for answer in load.answers[-8:]] == [1] * 8
    assert {answer[3] for answer in load.answers} == {1, 2, 3}
    check(load, champions)


def test_a_bad_challenger_is_refused_and_the_old_champion_stays(store, tmp_path):
    champions = find_champions(store)
    set_alias(store, 1)
    with serve(store, tmp_path) as service:
        assert service.get("/champion").json["version"] == 1
        (forged,) = [
            path for path in store.glob("artifacts/**/portable.json") if b"HistGradient" in path.read_bytes()
        ]
        forged.write_bytes(forged.read_bytes().replace(b"0.", b"1.", 1))
        set_alias(store, 3)
        wait_until(lambda: service.get("/health/ready").json["status"] == "degraded")
        ready = service.get("/health/ready")
        assert ready.status == 200 and ready.json["reason"] == "the newest champion was refused"
        answer = service.post("/decisions", EXAMPLE_CLIENT).json
        assert {k: v for k, v in answer.items() if k != "id"} == champions[1].decide(EXAMPLE_CLIENT).to_dict()
        assert "rumos_champion_alarm 1.0" in service.get("/metrics").body.decode()
        alarms = [event["alarm"] for event in service.events("champion") if event["alarm"]]
        assert len(alarms) == 1 and "portable.json" in alarms[0], "logged once, with the file that differs"
        set_alias(store, 2)
        service.wait_for(2)
        assert service.get("/health/ready").json["status"] == "ready"


def test_many_clients_in_one_request_do_not_keep_others_waiting(service):
    waited, stop = [], threading.Event()

    def ask_for_health() -> None:
        while not stop.is_set():
            start = time.monotonic()
            service.get("/health/live")
            waited.append(time.monotonic() - start)

    thread = threading.Thread(target=ask_for_health)
    thread.start()
    for _ in range(5):
        assert len(service.post("/decisions", [EXAMPLE_CLIENT] * 1000).json) == 1000
    stop.set()
    thread.join(timeout=30)
    assert len(waited) > 10 and sorted(waited)[-3] < 0.2


@pytest.mark.parametrize("round_", range(3))
def test_what_was_answered_is_on_record_after_a_kill(store, tmp_path, round_):
    champions = find_champions(store)
    with serve(store, tmp_path) as service, Load(service) as load:
        load.wait_for(100 * (round_ + 1))
        service.kill()
    assert len(load.answers) >= 100
    check(load, champions, killed=True)


def test_no_decision_without_a_record(store, tmp_path):
    shutil.rmtree(store / "decisions", ignore_errors=True)
    (store / "decisions").write_text("a file where the folder should be")
    with serve(store, tmp_path) as service:
        for path in ("/default_prediction", "/decisions", "/decisions?explain=true"):
            answer = service.post(path, EXAMPLE_CLIENT)
            assert answer.status == 503 and "decision log" in answer.json["detail"]
            assert "prediction" not in answer.json
        assert "rumos_unrecorded_total 3.0" in service.get("/metrics").body.decode()
        (store / "decisions").unlink()
        assert service.post("/default_prediction", EXAMPLE_CLIENT).status == 200


def test_it_ends_in_order_when_it_is_asked_to(store, tmp_path):
    head = b"POST /default_prediction HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = json.dumps(EXAMPLE_CLIENT).encode()
    with serve(store, tmp_path) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as begun:
            begun.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:50])
            service.get("/health/live")  # what was sent before has arrived
            service.process.terminate()
            wait_until(lambda: not is_open(service.port))
            begun.sendall(body[50:])
            answer = begun.makefile("rb").read()  # the answer, and the end of the connection
        assert (
            service.process.wait(timeout=10) == -signal.SIGTERM
        )  # uvicorn ends by the signal that it received
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"prediction"' in answer
    (name,) = re.findall(rb"x-decision-id: (\S+)", answer)
    assert name.decode() in {entry["id"] for entry in read_log(settings_of(store).audit_path)}
    assert not service.events("failure")
