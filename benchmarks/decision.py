"""One decision in process, beside the usual way: plain MLflow with a DataFrame of one row.

Asks the champion of the store that settings.ini names. Each way is timed in turns, several rounds; the result is the median of
the rounds in microseconds of processor time, which depends less on what else the machine does.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import pandas as pd
from ratios import Ratio, run

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.governance.tracking import import_mlflow, open_store
from rumos_bank.ground.settings import AuditSettings, read_settings
from rumos_bank.model.features import engineer
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record

FEATURES = "the features of one client"
SCORE = "one decision about a checked client"
DECIDE = "one decision, client checked"
RECORD = "one decision, checked and on record"
REASONS = "the reasons of a refusal"
USUAL = "plain MLflow, a DataFrame of one row"


def find_ways(champion: Champion, log: DecisionLog) -> dict[str, Callable[[], object]]:
    "The ways that are compared."
    settings = read_settings()
    mlflow, values = import_mlflow(), champion.read_client(EXAMPLE_CLIENT)
    mlflow.set_tracking_uri(open_store(settings).uri)
    usual = mlflow.pyfunc.load_model(f"models:/{settings.store.registered_model}@champion")
    return {
        FEATURES: lambda: engineer(values, champion.protected),
        SCORE: lambda: champion.score(values),
        DECIDE: lambda: champion.decide(EXAMPLE_CLIENT),
        RECORD: lambda: decide_and_record(champion, EXAMPLE_CLIENT, "benchmark", log),
        REASONS: lambda: champion.explain(LATE_CLIENT),
        USUAL: lambda: usual.predict(pd.DataFrame([EXAMPLE_CLIENT], columns=CLIENT_COLUMNS)),
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


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "Each of ours beside the usual way, and what a decision on record is made of."
    champion = Champion.load()
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings()
        log = DecisionLog(settings.model_copy(update={"audit": AuditSettings(folder=Path(folder))}))
        rounds, seconds = (3, 0.2) if asked.brief else (7, 0.5)
        found = time_ways(find_ways(champion, log), rounds, seconds)
        log.close()
    for name in (DECIDE, RECORD, REASONS):
        yield Ratio(name, USUAL, found[name], found[USUAL], "µs CPU")
    for name in (FEATURES, SCORE, DECIDE):
        yield Ratio(name, RECORD, found[name], found[RECORD], "µs CPU", steady=False)  # a share of our own


if __name__ == "__main__":
    run(__doc__, measure)
