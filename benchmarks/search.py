"""A family's search beside the grid of the bank's earlier team: processor time of one thread, same clients, same folds.

That grid is not run whole again: of each of its families one setting is fitted and judged on one of the five folds, and the
seconds are multiplied by the fits of its grid (the line says so). Ours is the search itself: every trial, every fold. Its forest, tree, nearest neighbours, logistic regression, support vectors with
`probability=True` and network of 2 × 20 units are as they were: raw fields scaled, weights balanced where there are any.
"""

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from ratios import Ratio, run
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from rumos_bank.data.contract import CLIENT_COLUMNS, TARGET
from rumos_bank.ground.settings import read_settings
from rumos_bank.model.families import find_family
from rumos_bank.model.search import cross_validate, find_profile, make_folds
from rumos_bank.operations.experiments import load_run_data

GRID: dict[str, tuple[Any, int]] = {  # family → one setting, and how many were tried
    "logistic_reg": (LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000), 6),
    "KNeighborsClassifier": (KNeighborsClassifier(9), 9),
    "Decision_tree": (DecisionTreeClassifier(max_depth=3, class_weight="balanced", random_state=0), 6),
    "Random_forest": (RandomForestClassifier(100, class_weight="balanced_subsample", random_state=0), 2),
    "Neural_networks": (MLPClassifier((20, 20), solver="lbfgs", max_iter=1000, random_state=0), 12),
    "SVC": (SVC(C=0.1, class_weight="balanced", probability=True, random_state=0), 6),
}


SLOWEST = ("SVC", "Neural_networks")  # of the earlier team's; most of its seconds, none of them fitted whole


def time_cpu(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "One family after the other."
    settings = read_settings()
    train = load_run_data(settings, find_profile("full")).train
    if asked.brief:
        train = train.sample(4000, random_state=0)
    y, raw, folds = (
        train[TARGET].to_numpy(),
        train[list(CLIENT_COLUMNS)].to_numpy(float),
        settings.split.folds,
    )
    held_out = make_folds(y, folds, settings.split.seed) == 0
    found: dict[str, Ratio] = {}
    fitted = 0.0
    for name, (model, tried) in GRID.items():
        family, old = find_family(name), make_pipeline(MinMaxScaler(), model)
        mine = time_cpu(lambda family=family: cross_validate(family, family.trials, train, settings))
        one = time_cpu(lambda old=old: old.fit(raw[~held_out], y[~held_out]).predict_proba(raw[held_out]))
        fits = f"{len(family.trials)} trials × {folds} folds"
        beside = f"the earlier grid, one fit × {tried} settings × {folds} folds"
        found[name] = Ratio(f"search of {name}, {fits}", beside, mine, one * tried * folds, "CPU s")
        fitted += one
        print(f"{name} …", flush=True)
    every, others = list(found.values()), [each for name, each in found.items() if name not in SLOWEST]
    theirs = sum(each.theirs for each in every)
    slow = sum(found[name].theirs for name in SLOWEST) / theirs
    known = f"of theirs {1 - fitted / theirs:.1%} is multiplied and not fitted, {slow:.0%} is of {' and '.join(SLOWEST)}"
    yield add_up("search of these six families", every, known)
    yield add_up(f"search of these without {' and '.join(SLOWEST)}", others)
    yield from every


def add_up(what: str, each: list[Ratio], note: str = "") -> Ratio:
    "Some families together."
    ours, theirs = sum(one.ours for one in each), sum(one.theirs for one in each)
    return Ratio(what, "the earlier grids", ours, theirs, "CPU s", note=note)


if __name__ == "__main__":
    run(__doc__, measure)
