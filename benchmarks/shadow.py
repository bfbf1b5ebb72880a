"""What an answer of the service pays for a shadow: the same load with and without one, turn by turn.

Two services run all the time, one with a shadow and one without. They get the load in short turns, in an order that
changes, and a turn begins when the shadow has answered what the last one left. What is told are medians over rounds, the
median of the ratio with / without of one round, and the range of its middle half, because other programs disturb single
turns. The load comes from another process and waits for each answer before it asks again, so without a pace all cores are
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
from contextlib import ExitStack, closing
from pathlib import Path

from service import cpu_seconds, describe_machine, make_store, started


def count(port: int) -> dict[str, int]:
    "What the shadow did so far."
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        told = connection.getresponse().read().decode()
    return {
        name: int(float(value)) for name, value in re.findall(r"^rumos_shadow_(\w+)_total (.*)$", told, re.M)
    }


def settle(port: int, asked: int) -> None:
    "Until the shadow has answered or dropped everything."
    end = time.monotonic() + 60
    while (done := count(port))["scored"] + done["dropped"] + done["failed"] < asked:
        if time.monotonic() > end:
            raise SystemExit(f"the shadow did not answer: {done} of {asked}")
        time.sleep(0.1)


class Way:
    "A service that runs, with or without a shadow."

    def __init__(self, port: int, process: subprocess.Popen, asked: argparse.Namespace):
        self.port, self.process, self.requests = port, process, 1  # one was asked to see that it answers
        load = [sys.executable, str(Path(__file__).with_name("service.py")), "--load", str(asked.connections)]
        self.command = [
            *load,
            "--port",
            str(port),
            "--seconds",
            str(asked.seconds),
            "--pace",
            str(asked.pace),
        ]

    def measure(self) -> dict[str, float]:
        "One turn."
        before = cpu_seconds(self.process)
        told = json.loads(subprocess.run(self.command, capture_output=True, text=True, check=True).stdout)
        cpu = cpu_seconds(self.process) - before
        self.requests += told["requests"]
        own = {"p50 µs": 1e6 * told["p50"], "p99 µs": 1e6 * told["p99"]}
        return own | {
            "requests/s": told["requests"] / told["seconds"],
            "CPU µs": 1e6 * cpu / told["requests"],
        }


def run_rounds(
    folder: Path, asked: argparse.Namespace
) -> tuple[list[dict[str, dict[str, float]]], dict[str, float]]:
    "Every round's numbers, and what became of the decisions at the shadow."
    with ExitStack() as stack:
        ways = {}
        for name, version in (("without", 0), ("with", asked.version)):
            os.environ["RUMOS_SHADOW_VERSION"] = str(version)
            ways[name] = Way(*stack.enter_context(started("service", folder))[:2], asked)
        rounds = []
        for number in range(asked.rounds + 1):
            rounds.append({})
            for name in list(ways)[:: 1 if number % 2 else -1]:
                settle(ways["with"].port, ways["with"].requests)
                rounds[-1][name] = ways[name].measure()
        settle(ways["with"].port, ways["with"].requests)
        done = count(ways["with"].port)
        shares = {name: done[name] / ways["with"].requests for name in ("scored", "dropped", "failed")}
    return rounds[1:], shares  # the first one warms up


def print_table(
    rounds: list[dict[str, dict[str, float]]], shares: dict[str, float]
) -> dict[str, dict[str, float]]:
    "Medians of both ways, and the ratio of each round."
    table = {}
    print(f"{'':<12}{'without':>12}{'with':>12}{'ratio':>10}   middle half of the rounds")
    for name in ("p50 µs", "p99 µs", "requests/s", "CPU µs"):
        low, ratio, high = statistics.quantiles(
            [each["with"][name] / each["without"][name] for each in rounds]
        )
        found = {way: statistics.median(each[way][name] for each in rounds) for way in ("without", "with")}
        table[name] = found | {"ratio": ratio, "low": low, "high": high}
        print(
            f"{name:<12}{found['without']:>12,.0f}{found['with']:>12,.0f}{ratio:>10.3f}   {low:.3f} … {high:.3f}"
        )
    print("of the decisions the shadow " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    return table | {"shadow": shares}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="each measures both ways")
    parser.add_argument("--seconds", type=float, default=1, help="of load in a turn")
    parser.add_argument("--connections", type=int, default=8, help="that ask at the same time")
    parser.add_argument("--pace", type=float, default=0, help="seconds between two requests of a connection")
    parser.add_argument("--store", help="a store with a champion; without it a quick road makes one")
    parser.add_argument("--version", type=int, default=1, help="that listens")
    parser.add_argument("--json", help="write what was measured to this file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["RUMOS_AUDIT_FOLDER"] = str(folder / "decisions")
        if asked.store:
            os.environ["RUMOS_STORE_PATH"] = str(Path(asked.store).absolute())
        else:
            make_store(folder)
        print(
            f"{describe_machine()}\n{asked.connections} connections, {asked.rounds} rounds, pace {asked.pace:g} s"
        )
        table = print_table(*run_rounds(folder, asked))
    if asked.json:
        facts = {"machine": describe_machine(), "connections": asked.connections, "pace": asked.pace}
        Path(asked.json).write_text(
            json.dumps(facts | {"rounds": asked.rounds, "table": table}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
