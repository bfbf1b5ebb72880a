"""One decision in process, beside the usual way: plain MLflow with a DataFrame of one row.

Asks the reigning champion of the store that settings.ini names. Each way is timed in turns, several rounds; the median of the
rounds is told in microseconds of processor time, which depends less on what else the machine does, and as a ratio of the usual way.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rumos_bank.audit import DecisionLog, decide_and_record
from rumos_bank.champion import Champion
from rumos_bank.clients import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.features import engineer
from rumos_bank.settings import AuditSettings, read_settings
from rumos_bank.tracking import import_mlflow, open_store


def find_ways(champion: Champion, log: DecisionLog) -> dict[str, Callable[[], object]]:
    "What is compared."
    settings = read_settings()
    mlflow, values = import_mlflow(), champion.read_client(EXAMPLE_CLIENT)
    mlflow.set_tracking_uri(open_store(settings).uri)
    usual = mlflow.pyfunc.load_model(f"models:/{settings.store.registered_model}@champion")
    return {
        "features alone": lambda: engineer(values, champion.protected),
        "decision of a checked client": lambda: champion.score(values),
        "decision of a dict, checked": lambda: champion.decide(EXAMPLE_CLIENT),
        "the same, on record": lambda: decide_and_record(champion, EXAMPLE_CLIENT, "benchmark", log),
        "reasons of a refusal": lambda: champion.explain(LATE_CLIENT),
        "plain MLflow, a DataFrame": lambda: usual.predict(
            pd.DataFrame([EXAMPLE_CLIENT], columns=CLIENT_COLUMNS)
        ),
    }


def time_ways(ways: dict[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, float]:
    "Microseconds of the processor for each, the median of all rounds."
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            way()
            times, start = 0, time.process_time()
            while (passed := time.process_time() - start) < seconds:
                way()
                times += 1
            found[name].append(1e6 * passed / times)
    return {name: statistics.median(each) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is timed")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each way in each round")
    given = parser.parse_args()
    champion = Champion.load()
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings()
        log = DecisionLog(settings.model_copy(update={"audit": AuditSettings(folder=Path(folder))}))
        found = time_ways(find_ways(champion, log), given.rounds, given.seconds)
        log.close()
    load = os.getloadavg()[0]
    print(
        f"{champion.family}, version {champion.version}; Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}"
    )
    *_, usual = found.values()
    for name, each in found.items():
        print(f"{name:<30} {each:10.1f} µs   1 / {usual / each:,.0f}")


if __name__ == "__main__":
    main()
