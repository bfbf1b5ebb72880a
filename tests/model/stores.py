"What the tests of the store and of promotions are made of: searches whose costs can be counted by hand."

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rumos_bank.clients import ID, TARGET, fingerprint
from rumos_bank.evaluate import measure
from rumos_bank.explain import make_reference
from rumos_bank.ledger import LEDGER, read_ledger
from rumos_bank.pipeline import describe_search
from rumos_bank.promotion import Verdict, crown, read_champion
from rumos_bank.search import Profile, SearchResult
from rumos_bank.settings import Settings, read_settings
from rumos_bank.sources import Lending
from rumos_bank.tracking import Store, log_search, open_store
from rumos_bank.twin import make_twin

TOP = Path(__file__).parents[2] / "settings.ini"
TINY = Profile("tiny", 0, 1)


def settings_for(path: Path, **more: str) -> Settings:
    "Settings for a store in this folder: three folds, and costs within 1 % are a tie."
    ours = {"RUMOS_STORE_PATH": str(path), "RUMOS_SPLIT_FOLDS": "3", "RUMOS_MODEL_TIE": "0.01"}
    return read_settings(TOP, environ=ours | more)


@dataclass(frozen=True)
class Data:
    "Some twins, divided: 150 of the 600 train clients defaulted, and 40 of the 150 test clients."

    lending: Lending
    train: pd.DataFrame
    test: pd.DataFrame


def make_data(seed: int) -> Data:
    twins = make_twin(2000, seed)
    defaulted, paid = twins[twins[TARGET] == 1], twins[twins[TARGET] == 0]
    train = pd.concat([defaulted[:150], paid[:450]]).sort_values(ID)
    test = pd.concat([defaulted[150:190], paid[450:560]]).sort_values(ID)
    clients = pd.concat([train, test])
    return Data(Lending(clients, fingerprint(clients), "twin", is_twin=True), train, test)


def with_refusals(found: SearchResult, payers: int) -> SearchResult:
    "As if every decision out of fold were right, but so many good payers refused: payers · 1,000 / 600 €."
    folds = found.folds
    chance = np.where(folds["defaulted"] == 1, 0.9, 0.1)
    chance[np.flatnonzero(folds["defaulted"] == 0)[:payers]] = 0.8
    return with_folds(found, chance, threshold=0.5)


def with_folds(found: SearchResult, probability: np.ndarray, threshold: float) -> SearchResult:
    "As if this had come out of the folds, at this threshold."
    decision = copy.copy(found.decision).set_params(threshold=threshold)
    return replace(found, folds=found.folds.assign(probability=probability), decision=decision)


def log_tree(
    store: Store,
    settings: Settings,
    data: Data,
    found: SearchResult,
    **tags: object,
) -> str:
    "Log a search as the notebook does; `tags` go before what is true."
    family = str(tags.pop("family", found.family))
    decision = copy.copy(found.decision)
    decision.reference_ = make_reference(decision, data.train, found.folds["probability"].to_numpy())
    found = replace(found, decision=decision)
    probability, defaulted = found.decision.predict_proba(data.test)[:, 1], data.test[TARGET].to_numpy()
    on_test = measure(defaulted, probability, found.decision.threshold, settings.costs)
    on_test |= {"min_cost_low": 1.0, "min_cost_high": 2.0, "microseconds_per_client": 3.0}
    tested = pd.DataFrame(
        {"ID": data.test[ID].to_numpy(), "defaulted": defaulted, "probability": probability}
    )
    parts = {"train": data.train, "test": data.test}
    described = (
        describe_search(settings, family, TINY, data.lending) | {"profile": "full", "road": "r"} | tags
    )
    figures = {"roc": Figure()}
    return log_search(
        store, replace(found, family=family), on_test, tested, figures, data.lending, parts, described
    )


@dataclass
class Place:
    "A store that a test may change."

    store: Store
    settings: Settings
    data: Data
    found: SearchResult  # a tree, honestly searched
    runs: Mapping[str, str] = field(default_factory=dict)  # name → run

    def log(self, found: SearchResult, **tags: object) -> str:
        return log_tree(self.store, self.settings, self.data, found, **tags)

    def crown(self, run: str) -> Verdict:
        return crown(self.store, self.runs.get(run, run), self.data.train, self.settings)

    @property
    def reigns(self) -> str | None:
        "The name of the run that reigns."
        reign = read_champion(self.store)
        names = {run: name for name, run in self.runs.items()}
        return reign and names.get(reign.run_id, reign.run_id)

    @property
    def events(self) -> list[tuple[str, str]]:
        "The ledger: what happened to which run."
        names = {run: name for name, run in self.runs.items()}
        read = read_ledger(self.store.path / LEDGER)
        return [(event["event"], names.get(event["run"], event["run"])) for event in read]

    def copy_to(self, path: Path) -> "Place":
        shutil.copytree(self.store.path, path)
        settings = settings_for(path)
        return replace(self, store=open_store(settings), settings=settings)
