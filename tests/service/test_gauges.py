"The gauges about the clients of these days: the service scans the decisions of every interface."

import re
import time

from services import serve
from stores import settings_for

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.monitoring.monitor import last_watch
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record


def read_gauges(service) -> dict[str, float]:
    found = re.findall(r"^rumos_watch_(\S+) (\S+)$", service.get("/metrics").body.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def wait_for(service, name: str, value: float) -> dict[str, float]:
    end = time.monotonic() + 20
    while (gauges := read_gauges(service)).get(name) != value:
        assert time.monotonic() < end, f"{name} did not become {value}: {gauges}"
        time.sleep(0.1)
    return gauges


def test_an_alarm_shows_in_the_gauges_the_log_and_beside_the_decisions(store, tmp_path):
    "The same client 300 times is no clean window, whichever interface they came through."
    log_folder = str(tmp_path / "decisions")  # the store's own log holds what other tests asked
    settings = settings_for(store, RUMOS_AUDIT_FOLDER=log_folder)
    with serve(store, tmp_path, RUMOS_WATCH_SECONDS="1", RUMOS_AUDIT_FOLDER=log_folder) as service:
        quiet = wait_for(service, "clients", 0)
        assert (quiet["alarm"], quiet["judged"]) == (0, 0) and not [name for name in quiet if "psi" in name]
        assert service.post("/decisions", [EXAMPLE_CLIENT] * 150).status == 200
        assert wait_for(service, "clients", 150)["judged"] == 0
        log = DecisionLog(settings)
        decide_and_record(Champion.load(settings), [EXAMPLE_CLIENT] * 150, "another interface", log)
        gauges = wait_for(service, "clients", 300)
        log.close()
        assert (gauges["alarm"], gauges["judged"]) == (1, 1)
        assert gauges['psi{metric="LIMIT_BAL"}'] > 0.25 and gauges['psi{metric="score"}'] > 0.25
        assert 0 < gauges['power{metric="LIMIT_BAL"}'] < 1 and not [
            name for name in gauges if "over_time" in name
        ]
        assert gauges["refused_share"] in (0, 1) and gauges["expected_cost_eur"] > 0
        assert abs(gauges["last_scan_timestamp_seconds"] - time.time()) < 60
        states = [event["state"] for event in service.events("clients")]
        assert states == ["not judged", "alarm"] and not service.events("monitor_failed")
        assert last_watch(settings)["state"] == "alarm"
        start = time.monotonic()
    assert time.monotonic() - start < 10, "the monitor does not keep the service from ending"
