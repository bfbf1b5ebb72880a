"What the tests of the service are made of: stores with champions, a started server, and requests byte by byte."

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import ROOT, clean_environment, end_process, find_free_port, wait_until
from stores import put_in_charge

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.ground.settings import Settings, read_settings

SERVE = "from rumos_bank.api.app import run_api; from rumos_bank.ground.settings import read_settings; run_api(read_settings())"

EXAMPLE = json.dumps(EXAMPLE_CLIENT)


def settings_of(store: Path, **more: str) -> Settings:
    return read_settings(ROOT / "settings.ini", environ=variables_of(store, **more))


def variables_of(store: Path, **more: str) -> dict[str, str]:
    ours = {"RUMOS_STORE_PATH": str(store), "RUMOS_DATA_CACHE": str(store / "cache")}
    return ours | {"RUMOS_LEDGER_FOLDER": f"{store}-keys"} | more


def set_alias(store: Path, version: int) -> None:
    "Make a version the champion, as a rollback would; every version of these stores was champion once."
    put_in_charge(settings_of(store), version)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    "A started service."

    store: Path
    port: int
    process: subprocess.Popen
    log: Path  # what it writes on standard error
    key: str = ""
    ready: str = ""
    seconds: float = 0.0  # from start to the readiness line
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"Content-Type": "application/json"} if body is not None else {}
        if self.key:
            given["Authorization"] = f"Bearer {self.key}"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = body if isinstance(body, bytes | str | None) else json.dumps(body)
        with closing(connection):
            connection.request(method, path, sent, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def send(self, raw: bytes) -> int:
        "These bytes on a connection of their own; the status that comes back, 0 if none does."
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            answer = b""
            with suppress(OSError):  # refused before all of it was sent
                connection.sendall(raw)
            with suppress(OSError):
                while b"\r\n" not in answer and (part := connection.recv(65536)):
                    answer += part
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0

    def wait_for(self, version: int, seconds: float = 10) -> None:
        "Wait until this version is the champion."
        wait_until(
            lambda: self.get("/health/ready").json.get("model_version") == version,
            seconds,
            f"version {version}",
        )

    def kill(self) -> None:
        "As a machine that fails would."
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def events(self, event: str = "") -> list[dict[str, Any]]:
        read = [json.loads(line) for line in self.log.read_bytes().splitlines() if line.startswith(b"{")]
        return [line for line in read if event in ("", line["event"])]


@contextmanager
def serve(store: Path, folder: Path, **variables: str) -> Iterator[Service]:
    "The service on a free port, in a process of its own, stopped at the end."
    port, log = find_free_port(), folder / f"service-{time.monotonic_ns()}.log"
    ours = variables_of(store, RUMOS_SETTINGS=str(ROOT / "settings.ini"), RUMOS_PORTS_API=str(port))
    environment = (
        clean_environment() | ours | {"RUMOS_API_REFRESH_SECONDS": "0.1", "PYTHONPATH": str(ROOT)} | variables
    )
    start = time.monotonic()
    with log.open("wb") as errors:
        command = [sys.executable, "-c", SERVE]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        ready = process.stdout.readline()
        assert ready, log.read_text()
        yield Service(store, port, process, log, ready=ready, seconds=time.monotonic() - start)
    finally:
        end_process(process)
        process.stdout.close()
