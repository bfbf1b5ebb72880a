"What the tests of the store and of promotions are made of: searches whose costs can be counted by hand."

import copy
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rumos_bank.data.contract import ID, TARGET, fingerprint
from rumos_bank.data.sources import Dataset
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance import ledger
from rumos_bank.governance.events import (
    EVENTS,
    Intent,
    Line,
    Retired,
    RolledBack,
    VersionEvent,
    read_line,
    select,
)
from rumos_bank.governance.ledger import LEDGER, START, append_event, read_ledger
from rumos_bank.governance.promotion import Verdict, promote
from rumos_bank.governance.promotion_state import read_champion
from rumos_bank.governance.tracking import Store, log_search, open_store
from rumos_bank.ground.settings import DATABASE, Settings, read_settings
from rumos_bank.model.cost import find_costs
from rumos_bank.model.decision import DecisionModel
from rumos_bank.model.evaluate import measure
from rumos_bank.model.explain import make_reference
from rumos_bank.model.portable import PORTABLE, SKOPS, make_portable
from rumos_bank.model.search import Profile, SearchResult
from rumos_bank.monitoring.metrics import make_watch_reference
from rumos_bank.operations.experiments import describe_search
from rumos_bank.serving.champion import Champion

TOP = Path(__file__).parents[2] / "settings.ini"
TINY = Profile("tiny", 0, 1, refits=2)


# What a few hundred synthetic clients and costs made by hand cannot show: only the money decides
LENIENT = {
    "RUMOS_GATES_MIN_PROBABILITY": "0",
    "RUMOS_GATES_MAX_CALIBRATION_ERROR": "1",
    "RUMOS_GATES_CALIBRATION_LEVEL": "1e-307",
    "RUMOS_GATES_MAX_FAIRNESS_LOSS": "1",
    "RUMOS_GATES_MAX_MONOTONE_VIOLATIONS": "1",
    "RUMOS_GATES_MIN_EXPLAINED": "0",
    "RUMOS_GATES_MAX_REFIT_CHANGES": "1",
    "RUMOS_STRESS_MAX_MISREAD_CHANGES": "1",
    "RUMOS_STRESS_MAX_TURNED": "1",
    "RUMOS_STRESS_MAX_SEED_CHANGES": "1",
    "RUMOS_STRESS_MAX_RESAMPLE_CHANGES": "1",
    "RUMOS_STRESS_SEEDS": "1",
    "RUMOS_STRESS_RESAMPLES": "1",
}


def settings_for(path: Path, **more: str) -> Settings:
    "Settings for a store in this folder, with three folds."
    ours = {"RUMOS_STORE_PATH": str(path), "RUMOS_SPLIT_FOLDS": "3"}
    ours |= {"RUMOS_DATA_CACHE": f"{path}-cache", "RUMOS_LEDGER_FOLDER": f"{path}-keys"}
    ours |= LENIENT
    return read_settings(TOP, environ=ours | more)


@dataclass(frozen=True)
class Data:
    "Some synthetic clients, divided: 150 of the 600 train clients defaulted, and 40 of the 150 test clients."

    dataset: Dataset
    train: pd.DataFrame
    test: pd.DataFrame


def make_data(seed: int) -> Data:
    twins = make_synthetic_clients(2000, seed)
    defaulted, paid = twins[twins[TARGET] == 1], twins[twins[TARGET] == 0]
    train = pd.concat([defaulted[:150], paid[:450]]).sort_values(ID)
    test = pd.concat([defaulted[150:190], paid[450:560]]).sort_values(ID)
    clients = pd.concat([train, test])
    return Data(Dataset(clients, fingerprint(clients), "twin", is_twin=True), train, test)


def with_refusals(found: SearchResult, payers: int, last: bool = False) -> SearchResult:
    "As if every decision out of fold were right, but so many good payers refused, the first or the last: 1,000 / 600 € each."
    folds = found.folds
    probability = np.where(folds["defaulted"] == 1, 0.9, 0.1)
    good = np.flatnonzero(folds["defaulted"] == 0)
    probability[good[len(good) - payers :] if last else good[:payers]] = 0.8
    return with_folds(found, probability, threshold=0.5)


def with_folds(found: SearchResult, probability: np.ndarray, threshold: float) -> SearchResult:
    "As if this had come out of the folds, at this threshold."
    decision = copy.copy(found.decision).set_params(threshold=threshold)
    rule = replace(found.rule, name="bayes", threshold=threshold)  # fixed before these clients were seen
    return replace(found, folds=found.folds.assign(probability=probability), decision=decision, rule=rule)


def log_tree(
    store: Store,
    settings: Settings,
    data: Data,
    found: SearchResult,
    **tags: object,
) -> str:
    "Log a search as the notebook does; `tags` take the place of what is true."
    family = str(tags.pop("family", found.family))
    decision = copy.copy(found.decision)
    decision.reference_ = make_reference(
        decision, data.train, found.folds["probability"].to_numpy(), found.refits
    )
    probability, defaulted = decision.predict_proba(data.test)[:, 1], data.test[TARGET].to_numpy()
    decision.reference_["watch"] = make_watch_reference(
        decision, data.train, probability, defaulted, decision.costs(data.test)
    )
    found = replace(found, decision=decision)
    costs = find_costs(settings.costs, data.test)
    on_test = measure(defaulted, probability, found.decision.thresholds(data.test), costs)
    on_test |= {"min_cost_low": 1.0, "min_cost_high": 2.0, "microseconds_per_client": 3.0}
    tested = pd.DataFrame(
        {"ID": data.test[ID].to_numpy(), "defaulted": defaulted, "probability": probability}
    )
    parts = {"train": data.train, "test": data.test}
    described = (
        describe_search(settings, family, TINY, data.dataset)
        | {"profile": "full", "pipeline_run": "r"}
        | tags
    )
    plots = {"roc": Figure()}
    return log_search(
        store, replace(found, family=family), on_test, tested, plots, data.dataset, parts, described
    )


def learn_from(found: SearchResult, clients: pd.DataFrame) -> SearchResult:
    "As if the search had been made on these clients: a model that answers otherwise."
    decision = copy.deepcopy(found.decision).fit(clients, clients[TARGET])
    return replace(found, decision=decision)


def intent_of(version: int, run: str, **more: object) -> Intent:
    "The intent to promote a version, as far as a test needs it."
    given = {"family": "some", "reason": "cheaper", "folder": "artifacts", "files": {}, "records": {}}
    given |= {"replaces": None, "gates": (), "rules": {}, "today": ""}
    return Intent(version=version, run=run, **given | more)


def lines_from(events: list[dict]) -> list[Line]:
    "Lines of a ledger from as many of their fields as a test gives."
    fill = {
        "when": "",
        "who": "",
        "before": "",
        "signature": "",
        "family": "",
        "reason": "",
        "run": "",
        "folder": "",
    }
    fill |= {
        "files": {},
        "records": {},
        "replaces": None,
        "gates": [],
        "rules": {},
        "today": "",
        "line": 1,
        "intent": 1,
    }
    frame = {each.name for each in fields(Line)}
    names = [frame | {each.name for each in fields(EVENTS[event["event"]])} for event in events]
    return [
        read_line({name: value for name, value in (fill | event).items() if name in known})
        for event, known in zip(events, names)
    ]


def retired(version: int = 1) -> Retired:
    "An event that changes nothing, for tests that need a line."
    return Retired(version=version, replaced_by=version + 1)


def champion_of(decision: DecisionModel, version: int = 1) -> Champion:
    "A champion without a store."
    import skops.io

    form = json.dumps(make_portable(decision, {"family": "some"})).encode()
    files = {PORTABLE: hashlib.sha256(form).hexdigest(), SKOPS: "0"}
    intent = intent_of(version, "r", reason="first", files=files)
    return Champion(
        version, Line(1, intent, "now", "test", START), {PORTABLE: form, SKOPS: skops.io.dumps(decision)}
    )


def move_alias(settings: Settings, version: int) -> None:
    "Change what the alias points to, behind the ledger's back."
    with sqlite3.connect(settings.store_path / DATABASE, timeout=30) as database:
        database.execute(
            "UPDATE registered_model_aliases SET version = ? WHERE alias = 'champion'", (version,)
        )
    database.close()


def put_in_charge(settings: Settings, version: int) -> None:
    "Make another version champion, as after a rollback, without waiting for MLflow."
    intents = [line.event for line in select(read_ledger(settings), Intent)]
    known = [event for event in intents if event.version == version] or intents[-1:]
    intent = replace(known[-1], version=version, done=RolledBack.name)
    number = append_event(settings, intent).number
    move_alias(settings, version)
    about = {"run": intent.run, "family": intent.family, "reason": intent.reason}
    append_event(settings, RolledBack(version=version, **about, intent=number, replaces=None))


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

    @property
    def today(self) -> Store:
        "The store under the settings of the moment."
        return self.store if self.settings is self.store.settings else Store(self.settings)

    def promote(self, run: str, **more: object) -> Verdict:
        data = self.data
        return promote(self.today, self.runs.get(run, run), data.train, data.dataset.fingerprint, **more)

    @property
    def champion_run(self) -> str | None:
        "The name of the run whose model is champion."
        current = read_champion(self.store)
        names = {run: name for name, run in self.runs.items()}
        return current and names.get(current.run_id, current.run_id)

    @property
    def events(self) -> list[tuple[str, str]]:
        "The ledger: what happened to which run."
        names = {run: name for name, run in self.runs.items()}
        lines = select(read_ledger(self.settings), VersionEvent)
        return [(line.event.name, names.get(line.event.run, line.event.run)) for line in lines]

    @property
    def model(self) -> Path:
        "The folder of the newest promoted model."
        return self.store.path / self.line.event.folder

    @property
    def line(self) -> Line[Intent]:
        "The newest line that began a promotion."
        return select(read_ledger(self.settings), Intent)[-1]

    def forge(self, change: Callable[[dict], object]) -> None:
        "Change the lines that began a promotion, and sign every line anew, as the holder of the key may."
        key, before, lines = ledger._load_key(self.settings.ledger_path / "private.pem"), START, []
        for line in read_ledger(self.settings):
            facts = line.to_dict()
            del facts["signature"]
            if isinstance(line.event, Intent):
                change(facts)
            body = json.dumps(facts | {"before": before}).encode()
            lines.append(body[:-1] + f', "signature": "{key.sign(body).hex()}"}}\n'.encode())
            before = hashlib.sha256(lines[-1]).hexdigest()
        (self.store.path / LEDGER).write_bytes(b"".join(lines))
        ledger._write_head(self.settings, lines, "now")

    def forge_digests(self) -> None:
        "Let the ledger record the files as they are now."
        found = {
            name: hashlib.sha256((self.model / name).read_bytes()).hexdigest()
            for name in self.line.event.files
        }
        self.forge(lambda line: line.update(files=found))

    def copy_to(self, path: Path) -> "Place":
        "The same store and keys at another place; its head is not that of the old place."
        shutil.copytree(self.store.path, path)
        settings = settings_for(path)
        if self.settings.ledger_path.exists():
            shutil.copytree(self.settings.ledger_path, settings.ledger_path)
        return replace(self, store=open_store(settings), settings=settings)
