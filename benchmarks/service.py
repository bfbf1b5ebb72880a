"""Throughput of the service beside a FastAPI endpoint that does nothing, and beside the usual way with a DataFrame.

Each server runs in a process of its own, the load comes from another one (keep-alive, no pipelining). Rounds are
interleaved and the median is reported. Requests per second depend on what else the machine does; CPU time per request, taken
from the kernel's own account of the server's process, is the number to trust.

  nothing, bare     FastAPI endpoint, all 23 fields validated by the same pydantic model, answers a constant
  nothing, framed   the same inside our frame: request id, hosts, headers, metrics, a line of log
  service           the champion's decision on record, by POST /default_prediction
  predecessor       FastAPI endpoint, pydantic, a DataFrame of one row, mlflow.pyfunc
  mlflow serve      `mlflow models serve`: MLflow's own server, as it comes

Where the champion's files lie is found before anything is timed, and given to the two that serve them; every server has one
thread for its model.
"""

import argparse
import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import psutil
from ratios import Ratio, run, tree_seconds

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.ground.settings import Settings, read_settings

SERVERS = ("nothing, bare", "nothing, framed", "service", "predecessor", "mlflow serve")
BODY = json.dumps(EXAMPLE_CLIENT).encode()
SPLIT = {"columns": list(EXAMPLE_CLIENT), "data": [list(EXAMPLE_CLIENT.values())]}
ASKED = dict.fromkeys(SERVERS, ("/default_prediction", BODY))
ASKED["mlflow serve"] = ("/invocations", json.dumps({"dataframe_split": SPLIT}).encode())


def make_request(server: str) -> bytes:
    "All bytes of one request."
    path, body = ASKED[server]
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


# Servers


def make_nothing(settings: Settings, framed: bool):
    "An endpoint that validates, and answers the same to everybody."
    from fastapi import FastAPI

    from rumos_bank.api.middleware import Gate, Metrics, Middleware
    from rumos_bank.data.contract import make_client_model
    from rumos_bank.ground.keys import KeyRing

    app, Client = FastAPI(), make_client_model()

    @app.post("/default_prediction")
    async def default_prediction(client: Client):
        return {"prediction": 0}

    if framed:
        app.add_middleware(Middleware, gate=Gate(KeyRing(settings), settings.api), metrics=Metrics())
    return app


def find_files(settings: Settings) -> str:
    "The folder of the champion's MLflow model."
    from rumos_bank.governance.tracking import find_model_files, open_store
    from rumos_bank.serving.champion import Champion

    return str(find_model_files(open_store(settings), Champion.load(settings).about["run"]))


def make_predecessor(files: str):
    "A DataFrame for one client, and plain MLflow."
    import pandas as pd
    from fastapi import FastAPI

    from rumos_bank.data.contract import make_client_model
    from rumos_bank.governance.tracking import import_mlflow

    model = import_mlflow().pyfunc.load_model(files)
    app, Client = FastAPI(), make_client_model()

    @app.post("/default_prediction")
    def default_prediction(client: Client):
        return {"prediction": int(model.predict(pd.DataFrame([client.model_dump()]))[0])}

    return app


def run_server(name: str, port: int, files: str) -> None:
    "One of SERVERS, until it is stopped; the usual ways load the champion from these files."
    settings = read_settings()
    if name == "service":
        from rumos_bank.api.app import run_api

        return run_api(settings)
    if name == "mlflow serve":
        words = ("models", "serve", "--model-uri", files, "--env-manager", "local")
        os.execv(sys.executable, [sys.executable, "-m", "mlflow", *words, "--port", str(port)])
    import uvicorn

    app = (
        make_predecessor(files) if name == "predecessor" else make_nothing(settings, name.endswith("framed"))
    )
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


@contextmanager
def started(name: str, folder: Path, files: str = ""):
    "A server in a process of its own; gives its port, its process, and the seconds until its first answer."
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # mlflow calls uvicorn
    environment = os.environ | {"RUMOS_PORTS_API": str(port), "PATH": tools}
    start = time.monotonic()
    with (folder / "log").open("ab") as log:
        command = [sys.executable, __file__, "--serve", name, "--port", str(port), "--files", files]
        process = psutil.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        while ask(port, *ASKED[name]) != 200:
            if process.poll() is not None or time.monotonic() - start > 60:
                raise SystemExit(f"{name} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)
        yield port, process, time.monotonic() - start
    finally:
        every = [*process.children(recursive=True), process] if process.is_running() else []
        for each in every:
            each.terminate()
        psutil.wait_procs(every, timeout=10)


def ask(port: int, path: str, body: bytes) -> int:
    "The status of one request; 0 without an answer."
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status
    except OSError:
        return 0


# Load


class Connection(asyncio.Protocol):
    "Asks, waits for the whole answer, and asks again."

    def __init__(
        self, request: bytes, seconds: float, pace: float, waited: list[float], ended: asyncio.Future
    ):
        self.request, self.end, self.pace = request, time.perf_counter() + seconds, pace
        self.waited, self.ended, self.answer = waited, ended, b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.start = time.perf_counter()
        self.transport.write(self.request)

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


async def run_load(server: str, port: int, connections: int, seconds: float, pace: float = 0) -> None:
    "Print what was measured, as JSON."
    loop, waited = asyncio.get_running_loop(), []
    ends = [loop.create_future() for _ in range(connections)]
    start = time.perf_counter()
    for end in ends:
        await loop.create_connection(
            lambda end=end: Connection(make_request(server), seconds, pace, waited, end), "127.0.0.1", port
        )
    await asyncio.gather(*ends)
    waited.sort()
    share = {"p50": waited[len(waited) // 2], "p99": waited[len(waited) * 99 // 100]}
    print(json.dumps({"requests": len(waited), "seconds": time.perf_counter() - start, **share}))


def measure_round(server: str, port: int, process: psutil.Process, seconds: float) -> dict[str, float]:
    "One round on one server."
    before = tree_seconds(process)
    words = {"--load": CONNECTIONS, "--port": port, "--seconds": seconds, "--serve": server}
    command = [sys.executable, __file__, *(str(word) for pair in words.items() for word in pair)]
    known = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    per_request = 1e6 * (tree_seconds(process) - before) / known["requests"]
    pause = 1e6 * known["seconds"] / known["requests"]
    return {"cpu": per_request, "pause": pause, "p50": 1e3 * known["p50"], "p99": 1e3 * known["p99"]}


# What is reported

CONNECTIONS = 8


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "One round on each server after the other, again and again; medians."
    count, seconds = (2, 1) if asked.brief else (5, 3)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in SERVERS}
    files = find_files(read_settings())
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            for name in SERVERS:
                with started(name, Path(folder), files) as (port, process, start):
                    measure_round(name, port, process, 0.5)  # to warm up
                    rounds[name].append(measure_round(name, port, process, seconds) | {"start": start})
    middle = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in rounds.items()
    }
    ours = middle["service"]
    names = {"nothing, bare": "do-nothing FastAPI", "nothing, framed": "the same in our frame"}
    names |= {"predecessor": "FastAPI, DataFrame, pyfunc", "mlflow serve": "mlflow models serve"}
    for server, name in names.items():
        yield Ratio("a decision by the API", name, ours["cpu"], middle[server]["cpu"], "µs CPU")
    for key, what in (
        ("pause", "µs from answer to answer"),
        ("p50", "ms, half wait"),
        ("p99", "ms, 1 % wait"),
    ):
        for server, name in names.items():
            what_is = "the API under 8 connections"
            yield Ratio(what_is, name, ours[key], middle[server][key], what, steady=key == "p50")
    for server in ("predecessor", "mlflow serve"):
        theirs = middle[server]["start"]
        yield Ratio("the API from start to first answer", names[server], ours["start"], theirs, "s")


def call_itself() -> bool:
    "The servers and the load are this script too, in processes of their own."
    parser = argparse.ArgumentParser(add_help=False)
    kinds = {
        "--serve": str,
        "--files": str,
        "--load": int,
        "--port": int,
        "--seconds": float,
        "--pace": float,
    }
    for name, kind in kinds.items():
        parser.add_argument(name, type=kind)
    asked, _ = parser.parse_known_args()
    if asked.load:
        import uvloop

        uvloop.run(run_load(asked.serve, asked.port, asked.load, asked.seconds, asked.pace or 0))
    elif asked.serve:
        run_server(asked.serve, asked.port, asked.files)
    return bool(asked.serve)


if __name__ == "__main__" and not call_itself():
    run(__doc__, measure)
