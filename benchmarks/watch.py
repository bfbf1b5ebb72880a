"""How often the monitor is wrong: clean windows that raise an alarm, and injected drifts that do not.

A model learns from 12,000 clients, 3,000 others make its reference, and windows of the remaining 15,000 are judged; that is done
for several divisions of the clients, each with its own model. In a clean window nothing is wrong, so every alarm is a false
one; at most `--rate` of the windows may. Then every drift is put into as many windows, and those in which its own metric raises an
alarm are counted.

    python benchmarks/watch.py                                   # synthetic clients
    RUMOS_DATA_SOURCES=clients.csv python benchmarks/watch.py --real
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from rumos_bank.data.contract import BILLS, CLIENT_COLUMNS, PAYMENTS, STATUSES, TARGET
from rumos_bank.data.sources import load_dataset
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.settings import read_settings
from rumos_bank.model.decision import DecisionModel, make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.monitoring.metrics import (
    Rule,
    Tally,
    count_cohort,
    count_decided,
    judge_metrics,
    make_watch_reference,
    read_metrics,
)

TRAIN, FRESH = 12_000, 3_000


class World:
    "A model, its reference, and the clients that come later."

    def __init__(self, clients: pd.DataFrame, seed: int):
        settings, family = read_settings(), find_family("LightGBM")
        costs, protected = settings.costs, settings.model.protected
        order = np.random.default_rng(seed).permutation(len(clients))
        train, fresh = clients.iloc[order[:TRAIN]], clients.iloc[order[TRAIN : TRAIN + FRESH]]
        self.stream = clients.iloc[order[TRAIN + FRESH :]].reset_index(drop=True)
        model = make_model(family, family.trials[0], seed, protected)
        made = make_decision(model, costs.bayes_threshold, costs, protected)
        self.decision: DecisionModel = made.fit(train, train[TARGET])
        risk = self.decision.predict_proba(fresh)[:, 1]
        held = make_watch_reference(self.decision, train, risk, fresh[TARGET].to_numpy())
        self.cells, self.seen = held["cells"], [name for name in CLIENT_COLUMNS if name not in protected]
        self.reference = Tally(held["counts"], held["cost"], held["outcomes"])
        self.rule = Rule(costs.bayes_threshold, **costs.model_dump())

    def alarms(self, clients: pd.DataFrame, rate: float) -> set[str]:
        "The metrics that raise an alarm for these clients and their outcomes."
        risk = self.decision.predict_proba(clients)[:, 1]
        decided = count_decided(
            self.cells, self.rule, {name: clients[name].to_numpy() for name in self.seen}, risk
        )
        refused = self.rule.refuses(risk)
        cohort = count_cohort(refused, refused, risk, clients[TARGET].to_numpy())
        readings = judge_metrics(read_metrics(decided, self.reference, self.rule, cohort=cohort), rate)
        return {reading.name for reading in readings if reading.alarm}


def lose_a_month(clients: pd.DataFrame) -> pd.DataFrame:
    moved = clients.copy()
    for names in (STATUSES, BILLS, PAYMENTS):
        moved[list(names[:-1])] = clients[list(names[1:])].to_numpy()
    return moved


def default_more(clients: pd.DataFrame) -> pd.DataFrame:
    worse = np.random.default_rng(0).random(len(clients)) < 0.06
    return clients.assign(**{TARGET: np.maximum(clients[TARGET], worse)})


DRIFTS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {  # what → the metric, the change
    "limits in another unit (/40)": ("LIMIT_BAL", lambda c: c.assign(LIMIT_BAL=c["LIMIT_BAL"] // 40)),
    "limits 5 % higher": ("LIMIT_BAL", lambda c: c.assign(LIMIT_BAL=(c["LIMIT_BAL"] * 1.05).astype(int))),
    "bills 5 % higher": ("BILL_AMT1", lambda c: c.assign(BILL_AMT1=(c["BILL_AMT1"] * 1.05).astype(int))),
    "bills half as high": ("BILL_AMT1", lambda c: c.assign(BILL_AMT1=c["BILL_AMT1"] // 2)),
    "two codes swapped": ("EDUCATION", lambda c: c.assign(EDUCATION=c["EDUCATION"].replace({1: 2, 2: 1}))),
    "a month missing": ("PAY_0", lose_a_month),
    "a field constant": ("PAY_AMT3", lambda c: c.assign(PAY_AMT3=0)),
    "1 of 20 two months late": (
        "PAY_0",
        lambda c: c.assign(PAY_0=c["PAY_0"].where(np.arange(len(c)) % 20 > 0, 2)),
    ),
    "6 of 100 payers default": ("defaults", default_more),
}


def draw_windows(world: World, size: int, windows: int, seed: int) -> Iterator[pd.DataFrame]:
    draw = np.random.default_rng(seed)
    for _ in range(windows):
        yield world.stream.iloc[draw.choice(len(world.stream), size, replace=False)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", action="store_true", help="the clients that settings.ini names")
    parser.add_argument("--worlds", type=int, default=8, help="divisions of the clients")
    parser.add_argument("--windows", type=int, default=250, help="clean ones of each, and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 3000, 12_000])
    parser.add_argument("--rate", type=float, default=read_settings().watch.false_alarm_rate)
    asked = parser.parse_args()
    clients = load_dataset(read_settings()).clients if asked.real else make_synthetic_clients(30_000, seed=5)
    worlds = [World(clients, seed) for seed in range(asked.worlds)]
    drifted = max(1, asked.windows // 10)
    for size in asked.sizes:
        few = 4 if size > 5000 else 1  # large windows of one stream have most clients in common
        alarmed = Counter(
            bool(world.alarms(window, asked.rate))
            for seed, world in enumerate(worlds)
            for window in draw_windows(world, size, asked.windows // few, seed)
        )
        print(
            f"{size:>6} clients: {alarmed[True]} of {alarmed.total()} clean windows raise an alarm ({alarmed[True] / alarmed.total():.2%})"
        )
        for what, (metric, change) in DRIFTS.items():
            caught = [
                metric in world.alarms(change(window), asked.rate)
                for seed, world in enumerate(worlds)
                for window in draw_windows(world, size, drifted // few + 1, 100 + seed)
            ]
            print(f"        {what:<30} caught in {np.mean(caught):>6.1%}", flush=True)


if __name__ == "__main__":
    main()
