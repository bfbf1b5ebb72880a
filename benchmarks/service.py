"""Throughput of the service beside a FastAPI endpoint that does nothing, and beside the usual way with a DataFrame.

Each server runs in a process of its own, the load comes from another one (keep-alive, no pipelining). Rounds are
interleaved and the median is told. Requests per second depend on what else the machine does; CPU time per request, taken
from the kernel's own account of the server's process, is the number to trust.

  nothing, bare     FastAPI endpoint, all 23 fields validated by the same pydantic model, answers a constant
  nothing, framed   the same inside our frame: request id, hosts, headers, metrics, a line of log
  service           the champion's decision on record, by POST /default_prediction
  predecessor       FastAPI endpoint, pydantic, a DataFrame of one row, mlflow.pyfunc
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

from rumos_bank.clients import EXAMPLE_CLIENT
from rumos_bank.settings import Settings, read_settings

BODY = json.dumps(EXAMPLE_CLIENT).encode()
HEAD = b"POST /default_prediction HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
SERVERS = ("nothing, bare", "nothing, framed", "service", "predecessor")


# Servers


def make_nothing(settings: Settings, framed: bool):
    "An endpoint that validates, and answers the same to everybody."
    from fastapi import FastAPI

    from rumos_bank.bodies import make_client_model
    from rumos_bank.frame import Frame, Gate, Metrics
    from rumos_bank.keys import KeyRing

    app, Client = FastAPI(), make_client_model()

    @app.post("/default_prediction")
    async def default_prediction(client: Client):
        return {"prediction": 0}

    if framed:
        app.add_middleware(Frame, gate=Gate(KeyRing(settings), settings.api), metrics=Metrics())
    return app


def make_predecessor(settings: Settings):
    "A DataFrame for one client, and plain MLflow."
    import pandas as pd
    from fastapi import FastAPI

    from rumos_bank.bodies import make_client_model
    from rumos_bank.champion import Champion
    from rumos_bank.tracking import find_model_files, import_mlflow, open_store

    store = open_store(settings)
    files = find_model_files(store, Champion.load(settings).about["run"])
    model, app, Client = import_mlflow().pyfunc.load_model(str(files)), FastAPI(), make_client_model()

    @app.post("/default_prediction")
    def default_prediction(client: Client):
        return {"prediction": int(model.predict(pd.DataFrame([client.model_dump()]))[0])}

    return app


def run_server(name: str, port: int) -> None:
    "One of SERVERS, until it is stopped."
    settings = read_settings()
    if name == "service":
        from rumos_bank.service import run_api

        return run_api(settings)
    import uvicorn

    app = (
        make_predecessor(settings)
        if name == "predecessor"
        else make_nothing(settings, name.endswith("framed"))
    )
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


@contextmanager
def started(name: str, folder: Path):
    "A server in a process of its own; gives its port, its process, and the seconds until its first answer."
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"RUMOS_PORTS_API": str(port)}
    start = time.monotonic()
    with (folder / "log").open("ab") as log:
        command = [sys.executable, __file__, "--serve", name, "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        while ask(port) != 200:
            if process.poll() is not None or time.monotonic() - start > 60:
                raise SystemExit(f"{name} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)
        yield port, process, time.monotonic() - start
    finally:
        process.terminate()
        process.wait()


def ask(port: int) -> int:
    "The status of one request; 0 if nobody answers."
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/default_prediction", BODY, {"Content-Type": "application/json"})
            return connection.getresponse().status
    except OSError:
        return 0


# Load


class Connection(asyncio.Protocol):
    "Asks, waits for the whole answer, and asks again."

    def __init__(self, seconds: float, pace: float, waited: list[float], ended: asyncio.Future):
        self.end, self.pace = time.perf_counter() + seconds, pace
        self.waited, self.ended, self.answer = waited, ended, b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.start = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200 "), self.answer
        now, self.answer = time.perf_counter(), b""
        self.waited.append(now - self.start)
        if now < self.end and self.pace:
            asyncio.get_running_loop().call_later(self.pace, self.ask)
        elif now < self.end:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error) -> None:
        self.ended.set_result(None)


async def run_load(port: int, connections: int, seconds: float, pace: float = 0) -> None:
    "Print what was measured, as JSON."
    loop, waited = asyncio.get_running_loop(), []
    ends = [loop.create_future() for _ in range(connections)]
    start = time.perf_counter()
    for end in ends:
        await loop.create_connection(
            lambda end=end: Connection(seconds, pace, waited, end), "127.0.0.1", port
        )
    await asyncio.gather(*ends)
    waited.sort()
    share = {"p50": waited[len(waited) // 2], "p99": waited[len(waited) * 99 // 100]}
    print(json.dumps({"requests": len(waited), "seconds": time.perf_counter() - start, **share}))


def cpu_seconds(process: subprocess.Popen) -> float:
    "User and system time of a process so far."
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, process: subprocess.Popen, connections: int, seconds: float) -> dict[str, float]:
    "One round on one server."
    before = cpu_seconds(process)
    command = [
        sys.executable,
        __file__,
        "--load",
        str(connections),
        "--port",
        str(port),
        "--seconds",
        str(seconds),
    ]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    per_request = 1e6 * (cpu_seconds(process) - before) / told["requests"]
    rate = told["requests"] / told["seconds"]
    return {"rate": rate, "cpu": per_request, "p50": 1e3 * told["p50"], "p99": 1e3 * told["p99"]}


# What is told


def make_store(folder: Path) -> None:
    "A quick road on twins, for a machine that has no champion."
    print("No store named: a quick road on synthetic clients makes a champion …", flush=True)
    os.environ |= {"RUMOS_STORE_PATH": str(folder / "store"), "RUMOS_STORE_REPORTS": str(folder / "reports")}
    os.environ["RUMOS_LEDGER_FOLDER"] = str(folder / "keys")
    words = ["run", "--profile", "quick", "--families", "LightGBM"]
    command = [sys.executable, "-c", "from rumos_bank.cli import main; main()", *words]
    environment = os.environ | {"RUMOS_DATA_SOURCES": "twin"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def describe_machine() -> str:
    "What the numbers depend on."
    from importlib.metadata import version

    names = ("fastapi", "uvicorn", "pydantic", "mlflow")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def print_table(rounds: dict[str, list[dict[str, float]]], starts: dict[str, float]) -> None:
    "Medians, and ratios of CPU time and of requests per second."
    middle = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in rounds.items()
    }
    bare, framed = middle["nothing, bare"], middle["nothing, framed"]
    head = (
        "",
        "CPU µs",
        "of framed",
        "of bare",
        "requests/s",
        "of framed",
        "of bare",
        "p50 ms",
        "p99 ms",
        "start s",
    )
    print("".join(f"{word:>12}" if word else f"{word:<16}" for word in head))
    for name, found in middle.items():
        numbers = (
            f"{found['cpu']:.0f}",
            f"{framed['cpu'] / found['cpu']:.2f}",
            f"{bare['cpu'] / found['cpu']:.2f}",
            f"{found['rate']:,.0f}",
            f"{found['rate'] / framed['rate']:.2f}",
            f"{found['rate'] / bare['rate']:.2f}",
            f"{found['p50']:.2f}",
            f"{found['p99']:.2f}",
            f"{starts[name]:.2f}",
        )
        print(f"{name:<16}" + "".join(f"{number:>12}" for number in numbers))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median is told")
    parser.add_argument("--seconds", type=float, default=3, help="of load in each round on each server")
    parser.add_argument("--connections", type=int, default=8, help="that ask at the same time")
    parser.add_argument("--store", help="a store with a champion; without it a quick road makes one")
    for name, kind in (("--serve", str), ("--load", int), ("--port", int), ("--pace", float)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)  # how it calls itself
    asked = parser.parse_args()
    if asked.serve:
        return run_server(asked.serve, asked.port)
    if asked.load:
        import uvloop

        return uvloop.run(run_load(asked.port, asked.load, asked.seconds, asked.pace or 0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["RUMOS_AUDIT_FOLDER"] = str(folder / "decisions")
        if asked.store:
            os.environ["RUMOS_STORE_PATH"] = str(Path(asked.store).absolute())
        else:
            make_store(folder)
        run_rounds(folder, asked)


def run_rounds(folder: Path, asked: argparse.Namespace) -> None:
    "All servers started, one round on each after the other, again and again."
    print(describe_machine())
    print(
        f"{asked.connections} connections, {asked.rounds} rounds of {asked.seconds:g} s, audit log on",
        flush=True,
    )
    starts, rounds = {}, {name: [] for name in SERVERS}
    for name in SERVERS:
        with started(name, folder) as (_, _, seconds):
            starts[name] = seconds
    for _ in range(asked.rounds):
        for name in SERVERS:
            with started(name, folder) as (port, process, _):
                measure(port, process, asked.connections, 0.5)  # to warm up
                rounds[name].append(measure(port, process, asked.connections, asked.seconds))
    print_table(rounds, starts)


if __name__ == "__main__":
    main()
