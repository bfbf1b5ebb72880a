"""What treatments of unverifiable codes and what promises cost: the table of reports/record/promises.md, redone.

```
python benchmarks/rules.py HistGradientBoosting   # every variant; about seven minutes on a quiet core
python benchmarks/rules.py LightGBM "not read" "as adopted"
```

Each variant is the family's winning specification on other columns or with other directions, judged by 3 × 5 folds over all clients, as
`30_judge` cuts them, in euros per client against the first variant, with the interval of Nadeau and Bengio. It chooses nothing.
"""

import sys
from collections.abc import Iterator

import numpy as np
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline

from rumos_bank.data.contract import BILLS, STATUSES, TARGET
from rumos_bank.data.sources import load_dataset
from rumos_bank.ground.settings import read_settings
from rumos_bank.ground.statistics import compare_by_folds
from rumos_bank.model.cost import cost_each, decide
from rumos_bank.model.families import find_family
from rumos_bank.model.features import (
    MOVED,
    PROMISES,
    choose_columns,
    feature_matrix,
    feature_names,
    risk_directions,
)

UNSEEN = ("SEX", "MARRIAGE", "AGE")  # before EDUCATION was one of them
WINNERS = {"HistGradientBoosting": 1, "LightGBM": -1}  # the trial that won before the rules
LATER, PAYING, OWING = MOVED
_COUNTS = ("months_unused", "months_full", "months_carried")
_CODES = [f"not_late_{month}" for month in range(1, 7)]
_SHARES = [f"use_{month}" for month in range(2, 7)]
_MADE_OF_LATEST = ("use_mean", "use_most", "use_spread", "use_slope", "use_change", "bill_growth", BILLS[0])
_OF_OLDER = ("older_mean", "older_most", "older_spread", "older_slope", "older_growth")

Columns = dict[str, int]  # name → direction


def make_table(clients) -> dict[str, np.ndarray]:
    "Every column that a variant may see."
    names = feature_names(UNSEEN)
    table = dict(zip(names, feature_matrix(clients, UNSEEN).T, strict=True))
    stated = clients["EDUCATION"].to_numpy(float)
    table |= {"as written": stated, "merged": np.where(np.isin(stated, (0, 4, 5, 6)), 4.0, stated)}
    for month, status in enumerate(STATUSES, 1):
        table[f"not_late_{month}"] = np.minimum(table[status], 0)
        table[f"reordered_{month}"] = np.select(
            [table[status] == 0, table[status] == -2, table[status] == -1], [-2, -1, 0], table[status]
        )
    older = np.array([table[name] for name in _SHARES])
    slope = (older * np.array([2, 1, 0, -1, -2])[:, None]).sum(axis=0) / 10
    made = (older.mean(axis=0), older.max(axis=0), older.std(axis=0), slope, older[0] - older[-1])
    return table | dict(zip(_OF_OLDER, made, strict=True))


def see(promises: tuple[str, ...], without: tuple[str, ...] = (), **more: int) -> Columns:
    "The columns that allow the promises and their directions, without some and with more."
    names = feature_names((*UNSEEN, "EDUCATION"))
    held = [names[place] for place in choose_columns(names, promises)]
    columns = dict(zip(held, risk_directions(held, promises), strict=True))
    return {name: way for name, way in columns.items() if name not in without} | more


def in_order(columns: Columns) -> list[str]:
    "The columns as the model before the rules had them: boosting draws columns by their places."
    names = feature_names(UNSEEN)
    place = {name: float(number) for number, name in enumerate(names)}
    place |= dict.fromkeys(("as written", "merged"), place["EDUCATION"])
    place |= {name: place["months_carried"] - 1 + number / 10 for number, name in enumerate(_CODES, 1)}
    return sorted(columns, key=lambda name: place.get(name, np.inf))


def make_variants() -> Iterator[tuple[str, Columns]]:
    "Every variant of the decision, the model before the rules first."
    pays = (PAYING,)
    free_codes = see(PROMISES, months_unused=0, months_full=0, months_carried=0, **dict.fromkeys(_CODES, 0))
    yield "before: EDUCATION as written", free_codes | {"as written": 0}
    yield "EDUCATION 0, 4, 5, 6 merged", free_codes | {"merged": 0}
    yield "EDUCATION 0, 4, 5, 6 read as 3", free_codes | {"EDUCATION": 0}
    yield "not read", free_codes
    yield "not read; statuses ordered by month", see(PROMISES, **dict.fromkeys(_CODES, 1))
    yield "as adopted", see(PROMISES)
    yield "as adopted, without being later", see(pays)
    yield "as adopted, without paying less", see((LATER,))
    yield "not read; −2, −1 and 0 equal", see(PROMISES, without=_COUNTS)
    late_last = dict.fromkeys((*_COUNTS[:2], "months_revolving"), -1)
    late_last |= {f"reordered_{month}": 1 for month in range(1, 7)}
    yield "not read; only late after not late", see(PROMISES, without=_COUNTS, **late_last)
    yield (
        "not read; owing more",
        see((PAYING, OWING), without=tuple(MOVED[LATER]))
        | {name: way for name, way in free_codes.items() if name in MOVED[LATER] or name in _CODES},
    )
    yield "as adopted, and owing more", see((*PROMISES, OWING))
    older = dict.fromkeys(_OF_OLDER, 0)
    yield "… with the older bills free", see((*PROMISES, OWING), without=_MADE_OF_LATEST, **older)
    latest = (*_MADE_OF_LATEST, "use_1", "room")
    yield "… with the latest bill unseen", see((*PROMISES, OWING), without=latest, **older)


def main(family: str, *chosen: str) -> None:
    settings = read_settings()
    clients = load_dataset(settings).clients
    table, y = make_table(clients), clients[TARGET].to_numpy()
    folds = list(RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0).split(y, y))
    entry, before = find_family(family), None
    trial = entry.trials[WINNERS[family]]
    for name, columns in make_variants():
        if before is not None and chosen and name not in chosen:
            continue
        ordered = in_order(columns)
        X, ways = (
            np.column_stack([table[column] for column in ordered]),
            [columns[column] for column in ordered],
        )
        lost = []
        for learn, judge in folds:
            model = entry.model(settings.split.seed, feature_names(UNSEEN), **trial)
            held = next(
                key for key in model.get_params() if key.startswith("monoton") and "method" not in key
            )
            model = make_pipeline(model.set_params(**{held: ways})).fit(X[learn], y[learn])
            refused = decide(model.predict_proba(X[judge])[:, 1], settings.costs.bayes_threshold)
            lost.append(cost_each(y[judge], refused, settings.costs).mean())
        before = np.array(lost) if before is None else before
        against = compare_by_folds(np.array(lost), before, 1 / 4)
        print(
            f"{name:38} {np.mean(lost):7.2f} {against.mean:+6.2f} [{against.low:+.1f}, {against.high:+.1f}]",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
