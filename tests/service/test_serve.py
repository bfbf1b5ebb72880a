"`rumos serve` itself, with small services: where they are asked, when they are reported as ready, and that none outlives it."

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from services import ROOT, find_free_port, settings_of

from rumos_bank.ground.errors import SettingsError
from rumos_bank.operations import serve as serving
from rumos_bank.operations.serve import Service, describe_service, require_free, serve

SMALL = """
import sys
from pathlib import Path
from rumos_bank.operations import serve as serving
from rumos_bank.ground.settings import read_settings
service = serving.Service("api", int(sys.argv[1]), (sys.executable, "-m", "http.server", sys.argv[1], "-b", "127.0.0.1"), health="/")
serving.describe_service = lambda *_: service
sys.exit(serving.serve(read_settings(), ["api"]))
"""


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_no_service_outlives_a_closed_terminal_or_a_stop(tmp_path, how):
    port = find_free_port()
    process = start_small(tmp_path, port)
    process.send_signal(how)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "stopped" in rest
    with socket.socket() as trial:
        assert trial.connect_ex(("127.0.0.1", port)) != 0


def start_small(folder, port: int, before: tuple[str, ...] = ()) -> subprocess.Popen:
    "A service that answers already."
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUMOS_")}
    environment |= {"RUMOS_STORE_PATH": str(folder / "store"), "RUMOS_SETTINGS": str(ROOT / "settings.ini")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*before, sys.executable, "-c", SMALL, str(port)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while " ready on " not in (line := process.stdout.readline()):
        assert line
    return process


def test_nohup_keeps_the_services_open(tmp_path):
    process = start_small(tmp_path, find_free_port(), ("nohup",))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_slow_service_is_reported_as_ready_when_it_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE", 0)
    port, known = find_free_port(), []
    code = f"import time, http.server as h; time.sleep(1); h.test(h.SimpleHTTPRequestHandler, port={port})"
    late = Service("api", port, (sys.executable, "-c", code), health="/")
    monkeypatch.setattr(serving, "describe_service", lambda *_: late)

    def notify(line: str) -> None:
        known.append(line)
        if " ready on " in line:
            signal.raise_signal(signal.SIGTERM)

    give_up = threading.Timer(30, lambda: os.kill(os.getpid(), signal.SIGTERM))
    give_up.start()
    try:
        assert serve(settings_of(tmp_path), ["api"], notify) == 0, known
    finally:
        give_up.cancel()
    assert "does not answer" in known[1] and " ready on " in known[2]


@pytest.fixture
def answering():
    "A server on another address than 127.0.0.1; it refuses the name it is asked by."

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(400 if self.path == "/health" else 503)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.2", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_a_service_is_asked_where_it_listens(answering):
    assert Service("api", answering, (), health="/health", host="127.0.0.2").is_ready()
    assert Service("api", answering, (), host="127.0.0.2").is_ready()
    assert not Service("api", answering, (), health="/other", host="127.0.0.2").is_ready()
    assert not Service("api", answering, (), health="/health").is_ready()
    require_free(Service("api", answering, ()))
    with pytest.raises(SettingsError, match=f"port {answering} is taken"):
        require_free(Service("api", answering, (), host="127.0.0.2"))
    with pytest.raises(SettingsError, match="must be an address of this machine"):
        require_free(Service("api", answering, (), host="192.0.2.1"))


def test_a_service_that_listens_everywhere_is_near(tmp_path):
    assert Service("api", 5001, (), host="0.0.0.0").address == "http://127.0.0.1:5001"
    assert Service("api", 5001, (), host="::").address == "http://[::1]:5001"
    settings = settings_of(tmp_path, RUMOS_API_HOST="127.0.0.2", RUMOS_DESK_HOST="127.0.0.3")
    assert [describe_service(name, settings).near for name in ("api", "dashboard")] == [
        "127.0.0.2",
        "127.0.0.3",
    ]


def test_no_proxy_is_asked_for_a_service(answering, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "" if name == "no_proxy" else f"http://127.0.0.1:{find_free_port()}")
    assert Service("api", answering, (), health="/health", host="127.0.0.2").is_ready()
