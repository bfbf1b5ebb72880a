"""What an answer of the service pays for a shadow: the same load with and without one, turn by turn.

Two services run all the time, one with a shadow and one without. They get the load in short turns, in an order that
changes, and a turn begins when the shadow has answered what the last one left. The results are medians over rounds, the
median of the ratio with / without of one round, and the range of its middle half, because other programs disturb single
turns. The processor time of a turn is read when the shadow has answered what the turn left, so that its work counts whole. The load comes from another process and waits for each answer before it asks again, so without a pace all cores are
busy and the shadow lives on what is left: what it cannot take is dropped and counted. With `--pace` every connection waits
between two requests, as callers do.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
from ratios import Ratio, run, tree_seconds
from service import started

from rumos_bank.governance.ledger import read_ledger
from rumos_bank.ground.settings import Settings, read_settings
from rumos_bank.model.portable import PORTABLE
from rumos_bank.serving.champion import Champion


def find_challenger(settings: Settings) -> int:
    "The newest version that is not the champion; the champion itself where no other was judged by the gates."
    champion = Champion.load(settings).version
    known = {event["version"] for event in read_ledger(settings) if PORTABLE in event.get("files", {})}
    return max(known - {champion}, default=champion)


class Way:
    "A service that runs, with or without a shadow."

    def __init__(
        self, port: int, process: psutil.Process, has_shadow: bool, asked: argparse.Namespace, seconds: float
    ):
        self.port, self.process, self.has_shadow = port, process, has_shadow
        self.requests = 1  # one was asked to see that it answers
        words = {"--load": asked.connections, "--port": port, "--seconds": seconds, "--pace": asked.pace}
        words["--serve"] = "service"
        script = Path(__file__).with_name("service.py")
        self.command = [sys.executable, str(script), *(str(word) for pair in words.items() for word in pair)]

    def measure(self) -> dict[str, float]:
        "One turn."
        before = tree_seconds(self.process)
        load = json.loads(subprocess.run(self.command, capture_output=True, text=True, check=True).stdout)
        self.requests += load["requests"]
        self.settle()
        cpu = tree_seconds(self.process) - before
        own = {"p50": 1e6 * load["p50"], "p99": 1e6 * load["p99"]}
        return own | {"CPU": 1e6 * cpu / load["requests"]}

    def count(self) -> dict[str, int]:
        "The shadow's counts so far."
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            shown = connection.getresponse().read().decode()
        found = re.findall(r"^rumos_shadow_(scored|dropped|failed)_total (.*)$", shown, re.M)
        return {name: int(float(value)) for name, value in found}

    def settle(self) -> None:
        "Until the shadow has answered or dropped everything; a service without one is asked for its numbers once."
        end = time.monotonic() + 60
        while sum((done := self.count()).values()) < self.requests and self.has_shadow:
            if time.monotonic() > end:
                raise SystemExit(f"the shadow did not answer: {done} of {self.requests}")
            time.sleep(0.1)


def run_rounds(folder: Path, asked: argparse.Namespace) -> tuple[list[dict[str, dict]], dict[str, float]]:
    "Every round's numbers, and the shadow's counts as shares."
    count_of, seconds = (4, 0.5) if asked.brief else (asked.rounds, 1)
    with ExitStack() as stack:
        ways = {}
        for name, version in (("without", 0), ("with", asked.version)):
            os.environ["RUMOS_SHADOW_VERSION"] = str(version)
            port, process, _ = stack.enter_context(started("service", folder))
            ways[name] = Way(port, process, version > 0, asked, seconds)
            ways[name].settle()
        rounds = []
        for number in range(count_of + 1):
            rounds.append({})
            for name in list(ways)[:: 1 if number % 2 else -1]:
                rounds[-1][name] = ways[name].measure()
        shares = {name: made / ways["with"].requests for name, made in ways["with"].count().items()}
    return rounds[1:], shares  # the first one warms up


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "Medians of both ways."
    settings = read_settings()
    asked.version = asked.version or find_challenger(settings)
    itself = ", the champion itself" if asked.version == Champion.load(settings).version else ""
    with tempfile.TemporaryDirectory() as place:
        rounds, shares = run_rounds(Path(place), asked)
    for name, unit in (("CPU", "µs CPU"), ("p50", "µs, half wait"), ("p99", "µs, 1 % wait")):
        each = [one["with"][name] / one["without"][name] for one in rounds]
        low, _, high = statistics.quantiles(each)
        ours, theirs = (statistics.median(one[way][name] for one in rounds) for way in ("with", "without"))
        spread = f"version {asked.version}{itself} in the shadow; middle half of the rounds {low:.2f} to {high:.2f}"
        yield Ratio(
            "an answer with a shadow", "without", ours, theirs, unit, steady=name == "CPU", note=spread
        )
    print("of the decisions the shadow " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=12, help="each measures both ways")
    parser.add_argument("--connections", type=int, default=8, help="that ask at the same time")
    parser.add_argument("--pace", type=float, default=0, help="seconds between two requests of a connection")
    parser.add_argument(
        "--version", type=int, default=0, help="in the shadow (the newest that is not the champion)"
    )


if __name__ == "__main__":
    run(__doc__, measure, add_options)
