"The services as a person starts them: all with one command, tried by the notebook, one of them gone under load."

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
from loads import Load, check, find_champions
from processes import ROOT, RUMOS, clean_environment, find_free_port, is_open, wait_until
from services import serve, set_alias, variables_of

from rumos_bank.data.contract import EXAMPLE_CLIENT

SERVICES = ("MLFLOW", "API", "DASHBOARD")
AWAY = "the store does not answer: the last verified champion decides on"


def environment_of(store: Path, ports: dict[str, int], **more: str) -> dict[str, str]:
    ours = {f"RUMOS_PORTS_{name}": str(port) for name, port in ports.items()}
    return (
        clean_environment()
        | variables_of(store, **ours)
        | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        | more
    )


@contextmanager
def opened(
    what: str, store: Path, ports: dict[str, int], lines: int
) -> Iterator[tuple[subprocess.Popen, list[str]]]:
    "`rumos serve`, after so many readiness lines; stopped at the end, as by Ctrl-C."
    process = subprocess.Popen(
        [*RUMOS, "serve", what],
        env=environment_of(store, ports),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    try:
        end = time.monotonic() + 120
        while sum(" ready on " in line for line in output) < lines:
            line = process.stdout.readline()
            assert line and time.monotonic() < end, "".join(output)
            output.append(line)
        yield process, output
    finally:
        process.send_signal(signal.SIGINT)
        try:
            rest, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            for each in [process, *psutil.Process(process.pid).children(recursive=True)]:
                each.kill()
            raise
        output += rest.splitlines(keepends=True)


def execute(notebook: Path, environment: dict[str, str], folder: Path) -> str:
    "The text of the last cell of the executed notebook."
    output = folder / notebook.name
    code = "import sys, papermill; papermill.execute_notebook(*sys.argv[1:], kernel_name='python3', progress_bar=False)"
    command = [sys.executable, "-c", code, str(notebook), str(output)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(output, 4).cells[-1].outputs[-1]["data"]["text/markdown"]


def test_all_interfaces_open_answer_the_same_and_close(store, tmp_path):
    ports = {name: find_free_port() for name in SERVICES}
    with opened("all", store, ports, lines=3) as (process, output):
        assert all(f"127.0.0.1:{port}" in "".join(output) for port in ports.values())
        environment = environment_of(store, ports)
        verdict = execute(ROOT / "nbs/experiments/ask.ipynb", environment, tmp_path)
        assert verdict == "3 of 3 interfaces were asked; all of them give the same answers."
        taken = subprocess.run(
            [*RUMOS, "serve", "api"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert taken.returncode == 2 and "RUMOS_PORTS_API" in taken.stderr and "Traceback" not in taken.stderr
    assert process.returncode == 0 and output[-1] == "stopped\n", "".join(output)
    assert not any(is_open(port) for port in ports.values())
    logs = store / "logs"
    assert {path.name for path in logs.iterdir()} == {"mlflow.log", "api.log", "dashboard.log"}


def test_before_the_first_pipeline_run_every_interface_names_the_command_that_makes_a_champion(tmp_path):
    environment = environment_of(tmp_path / "store", {"API": find_free_port()})
    client = json.dumps(EXAMPLE_CLIENT)
    for words in (("champion",), ("predict", "--json", client), ("predict", "in.csv", "out.csv")):
        (tmp_path / "in.csv").write_text("ID\n1\n")
        done = subprocess.run(
            [*RUMOS, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and "run `rumos run`" in done.stderr and "Traceback" not in done.stderr
    with serve(tmp_path / "store", tmp_path) as service:
        answer = service.post("/default_prediction", EXAMPLE_CLIENT)
        assert answer.status == 503 and "rumos run" in answer.json["detail"]
        assert service.get("/health/live").status == 200 and service.get("/health/ready").status == 503


def test_the_champion_changes_and_the_mlflow_server_goes_under_load(store, tmp_path):
    changes = int(os.environ.get("CHANGES_UNDER_LOAD", "300"))  # answers between two of them
    champions, port = find_champions(store), find_free_port()
    address = f"http://127.0.0.1:{port}"
    with (
        opened("mlflow", store, {"MLFLOW": port}, lines=1) as (mlflow, _),
        serve(store, tmp_path, RUMOS_STORE_SERVER=address) as service,
        Load(service) as load,
    ):
        for version in (1, 2, 3, 2):
            load.wait_for(changes)
            set_alias(store, version)
            service.wait_for(version)
        load.wait_for(changes)
        set_alias(store, 1)
        service.wait_for(1)
        _server_of(mlflow, port).kill()
        load.wait_for(changes)
        wait_until(lambda: service.get("/health/ready").json["status"] == "degraded", 30, "its next check")
        ready = service.get("/health/ready").json
        assert ready["reason"] == AWAY
        shown = service.get("/metrics").body.decode()
        assert "rumos_champion_cached 1.0" in shown and "rumos_champion_alarm 0.0" in shown
        load.wait_for(changes)
        assert service.get("/champion").json["version"] == 1
    assert {answer[3] for answer in load.answers} == {1, 2, 3}
    check(load, champions)
    with serve(
        store, tmp_path, RUMOS_STORE_SERVER=address
    ) as service:  # started while the server is unreachable
        ready = service.get("/health/ready").json
        assert (ready["status"], ready["reason"]) == ("degraded", AWAY)
        answer = service.post("/decisions", EXAMPLE_CLIENT).json
        assert {k: v for k, v in answer.items() if k != "id"} == champions[1].decide(EXAMPLE_CLIENT).to_dict()


def _server_of(started: subprocess.Popen, port: int) -> psutil.Process:
    "Of what a command has started, the process that opened this port."
    every = psutil.Process(started.pid).children(recursive=True)
    listening = [
        each
        for each in every
        if any(one.status == "LISTEN" and one.laddr.port == port for one in each.net_connections("tcp"))
    ]
    return listening[0]  # its workers, if it has any, hold the same port
