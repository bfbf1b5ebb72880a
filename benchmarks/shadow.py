"""What an answer of the service pays for a shadow: the same load with and without one, round by round.

Each round runs both after one another, in an order that changes, on a service started anew; what is told are the medians
over rounds of the ratio with / without of one round, and the range of that ratio. The load comes from another process and
waits for each answer before it asks again, so at full load all cores are busy and the shadow lives on what is left: what it
cannot take is dropped and counted. With `--pace` every connection waits between two requests, as callers do.
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
from contextlib import closing
from pathlib import Path

from service import cpu_seconds, describe_machine, make_store, started

WAYS = {"without": "0", "with": ""}


def count(port: int) -> dict[str, int]:
    "What the shadow did so far."
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/metrics")
        told = connection.getresponse().read().decode()
    return {
        name: int(float(value)) for name, value in re.findall(r"^rumos_shadow_(\w+)_total (.*)$", told, re.M)
    }


def measure(way: str, folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    "One round on one service."
    os.environ["RUMOS_SHADOW_VERSION"] = WAYS[way] or str(asked.version)
    load = [sys.executable, str(Path(__file__).with_name("service.py")), "--pace", str(asked.pace)]

    def run(seconds: float) -> dict[str, float]:
        words = ["--load", str(asked.connections), "--port", str(port), "--seconds", str(seconds)]
        return json.loads(subprocess.run([*load, *words], capture_output=True, text=True, check=True).stdout)

    with started("service", folder) as (port, process, _):
        run(1.5)  # to warm up, and until the shadow has loaded
        before, cpu = count(port), cpu_seconds(process)
        told = run(asked.seconds)
        cpu = cpu_seconds(process) - cpu
        time.sleep(1)
        done = {name: value - before[name] for name, value in count(port).items()}
    answered = {name: done[name] / told["requests"] for name in ("scored", "dropped", "failed")}
    rate = told["requests"] / told["seconds"]
    own = {"p50 µs": 1e6 * told["p50"], "p99 µs": 1e6 * told["p99"], "requests/s": rate}
    return own | {"CPU µs": 1e6 * cpu / told["requests"]} | answered


def print_table(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    "Medians of both ways, and the ratio of each round."
    table = {}
    print(f"{'':<12}{'without':>12}{'with':>12}{'ratio':>10}   range of the rounds")
    for name in ("p50 µs", "p99 µs", "requests/s", "CPU µs"):
        ratios = sorted(each["with"][name] / each["without"][name] for each in rounds)
        table[name] = {way: statistics.median(each[way][name] for each in rounds) for way in WAYS}
        table[name] |= {"ratio": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}
        found = table[name]
        print(
            f"{name:<12}{found['without']:>12,.0f}{found['with']:>12,.0f}{found['ratio']:>10.3f}"
            f"   {found['low']:.3f} … {found['high']:.3f}"
        )
    table["shadow"] = {
        name: statistics.median(each["with"][name] for each in rounds)
        for name in ("scored", "dropped", "failed")
    }
    print(
        "of the decisions the shadow " + ", ".join(f"{n} {share:.1%}" for n, share in table["shadow"].items())
    )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="each measures both ways")
    parser.add_argument("--seconds", type=float, default=3, help="of load, each way")
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
        rounds = []
        for number in range(asked.rounds):
            order = list(WAYS) if number % 2 else list(WAYS)[::-1]
            rounds.append({way: measure(way, folder, asked) for way in order})
        table = print_table(rounds)
    if asked.json:
        facts = {"machine": describe_machine(), "connections": asked.connections, "pace": asked.pace}
        Path(asked.json).write_text(
            json.dumps(facts | {"rounds": asked.rounds, "table": table}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
