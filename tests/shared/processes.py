"What tests need to start commands and servers and to be sure that they end: an environment, a port, patience, force."

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUMOS = (
    sys.executable,
    "-c",
    "from rumos_bank.operations.cli import main; main()",
)  # the command, as it is installed


def clean_environment() -> dict[str, str]:
    "This process's, without the bank's own variables."
    return {name: value for name, value in os.environ.items() if not name.startswith("RUMOS_")}


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_open(port: int) -> bool:
    "Whether a program listens there."
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds: Callable[[], object], seconds: float = 20, what: object = "") -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def end_process(process: subprocess.Popen, seconds: float = 30, how: int = signal.SIGTERM) -> None:
    "End a process; kill it if it does not end."
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
        raise AssertionError(
            f"process {process.pid} did not end within {seconds:.0f} s: it was killed"
        ) from None


def run_to_end(command: Sequence[str], seconds: float, **how: object) -> subprocess.CompletedProcess:
    "The output of a command; if it takes longer, all that it has started is killed with it."
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **how
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            kill_group(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def kill_group(process: subprocess.Popen) -> None:
    "kill -9 for it and all that it has started, as a machine that loses power. It leads a session of its own."
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
