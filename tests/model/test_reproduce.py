"A run is made again from what is on record, with the code and the packages of its day, and every difference is named."

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import TINY, Data, Place, log_tree
from typer.testing import CliRunner

import rumos_bank.operations.reproduce as reproduction
from rumos_bank.data.contract import TARGET, fingerprint
from rumos_bank.data.sources import Dataset, split_clients
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance import repricing
from rumos_bank.governance.promotion_state import ChampionVersion
from rumos_bank.governance.tracking import open_store, read_artifact, read_model_record
from rumos_bank.ground.errors import DataError, PipelineError, StoreError
from rumos_bank.ground.settings import CanarySettings, Costs, Settings, read_settings
from rumos_bank.model.search import search
from rumos_bank.monitoring.metrics import make_watch_reference
from rumos_bank.operations.cli import app
from rumos_bank.operations.reproduce import (
    SPECIFICATION,
    TESTED,
    canary,
    compare_answers,
    find_run,
    find_unlike,
    judge,
    load_specification,
    make_environment,
    read_specification,
    reproduce,
    write_specification,
)

ROOT = Path(__file__).parents[2]
NUMPY = f"numpy=={version('numpy')} \\\n    --hash=sha256:0\n"
CHANGED = "return DecisionTreeClassifier(random_state=seed, max_features=3, **trial)"


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    "A repository of its own with this library, the search notebook and a lock of one package."
    home = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "rumos_bank", home / "rumos_bank", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "nbs/experiments").mkdir(parents=True)
    shutil.copy(ROOT / "nbs/experiments/search.ipynb", home / "nbs/experiments")
    shutil.copy(ROOT / "settings.ini", home)
    (home / "requirements.lock").write_text(NUMPY)
    git(home, "init", "--quiet")
    commit_all(home)
    return home


@pytest.fixture(scope="module")
def logged(repository, tmp_path_factory) -> Place:
    "A finished search of synthetic clients, made from the repository's commit; no test changes its store."
    ours = {"RUMOS_SPLIT_FOLDS": "3", "RUMOS_DATA_ON_MISSING_DATA": "stop", "RUMOS_DATA_SOURCES": ""}
    ours |= {name: str(tmp_path_factory.mktemp(name)) for name in ("RUMOS_STORE_PATH", "RUMOS_DATA_CACHE")}
    settings = read_settings(repository / "settings.ini", environ=ours)
    clients = make_synthetic_clients(800, seed=4)
    data = Data(
        Dataset(clients, fingerprint(clients), "twin", is_twin=True), *split_clients(clients, settings.split)
    )
    found = search("Decision_tree", data.train, settings, TINY)
    place = Place(open_store(settings), settings, data, found)
    place.runs = {"honest": log_tree(place.store, settings, data, found, key="honest", dirty=False)}
    return place


@pytest.fixture
def change(logged, tmp_path) -> Callable[..., tuple[Settings, str]]:
    "The same search with other facts in its model record, in a store that a test may change."

    def change_record(**model_record: object) -> tuple[Settings, str]:
        path, run = tmp_path / "store", logged.runs["honest"]
        shutil.copytree(logged.store.path, path)
        store = logged.settings.store.model_copy(update={"path": path})
        settings = logged.settings.model_copy(update={"store": store})
        file = read_artifact(open_store(settings), run, "model_record.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), **model_record}))
        return settings, run

    return change_record


def again(settings: Settings, run: str, logged: Place) -> reproduction.Verdict:
    return reproduce(settings, run, "this", logged.data.dataset)


def worktrees(folder: Path) -> int:
    return len(git(folder, "worktree", "list").splitlines())


def test_a_run_is_made_again_from_its_commit_and_is_identical(logged, repository):
    verdict = again(logged.settings, logged.runs["honest"], logged)
    assert verdict.word == "identical" and not verdict.differs and not verdict.beyond and not verdict.upgrades
    assert [(part.name, part.clients, part.largest, part.changed) for part in verdict.parts] == [
        ("test", 160, 0.0, 0),
        ("out of fold", 640, 0.0, 0),
    ]
    assert verdict.cv_costs[0] == verdict.cv_costs[1] > 0
    assert (
        git(repository, "rev-parse", "HEAD")[:12] in verdict.how[0] and "this environment" in verdict.how[1]
    )
    assert worktrees(repository) == 1
    assert "IDENTICAL" in str(verdict)


def test_a_repriced_model_is_made_again_at_its_own_prices(change, logged):
    settings, run = change()
    dear = settings.model_copy(update={"costs": settings.costs.model_copy(update={"false_positive": 1300.0})})
    store = open_store(dear)
    record = read_model_record(store, run)
    current = ChampionVersion(1, run, record["family"], record)
    parts = {"train": logged.data.train, "test": logged.data.test}
    moved = repricing._log_moved(store, current, logged.data.dataset, parts, make_watch_reference)
    assert moved != run and read_model_record(store, moved)["costs"]["false_positive"] == 1300
    verdict = again(settings, moved, logged)
    assert verdict.word == "identical" and not verdict.differs


def test_the_code_of_the_commit_is_what_runs(change, logged, repository):
    "A commit whose trees see fewer columns gives another model, although the specification is the same."
    families, here = repository / "rumos_bank/model/families.py", git(repository, "rev-parse", "HEAD")
    before = families.read_text()
    try:
        families.write_text(
            before.replace("return DecisionTreeClassifier(random_state=seed, **trial)", CHANGED)
        )
        assert CHANGED in families.read_text()
        other = commit_all(repository)
    finally:
        git(repository, "reset", "--quiet", "--hard", here)
    verdict = again(*change(commit=other), logged)
    assert verdict.word == "different" and verdict.parts[0].largest > 0.05
    assert any(each.startswith("the library's code is ") for each in verdict.differs)
    assert any(each.startswith("the model's content is ") for each in verdict.differs)


def test_another_parameter_is_seen(change, logged):
    settings, run = change(parameters={**logged.found.parameters, "min_samples_leaf": 99})
    verdict = again(settings, run, logged)
    assert verdict.word != "identical" and any("content" in each for each in verdict.differs)


def test_other_clients_on_record_are_not_taken_for_the_same(change, logged):
    settings, run = change()
    tested = read_artifact(open_store(settings), run, "tested.parquet")
    pd.read_parquet(tested).assign(probability=lambda frame: frame["probability"] + 1e-9).to_parquet(tested)
    verdict = again(settings, run, logged)
    assert verdict.word == "equal within the tolerance"
    assert verdict.parts[0].largest == pytest.approx(1e-9) and verdict.parts[1].largest == 0


def test_a_commit_that_is_not_here_is_named(change, logged, repository):
    with pytest.raises(PipelineError, match=r"from commit 00000.*which is not in .*fetch"):
        again(*change(commit="0" * 40), logged)
    assert worktrees(repository) == 1


def test_a_run_of_changed_files_is_made_again_in_place_while_the_library_is_the_same(change, logged):
    verdict = again(*change(dirty=True), logged)
    assert verdict.word == "identical" and verdict.how[0].startswith("in place")


def test_a_run_of_changed_files_is_refused_when_the_library_has_changed(change, logged):
    with pytest.raises(StoreError, match=r"from files that no commit holds.*cannot be reproduced"):
        again(*change(dirty=True, library="0" * 64), logged)


def test_another_lock_is_refused(change, logged):
    with pytest.raises(StoreError, match="is not the lock on record"):
        again(*change(lock="0" * 64), logged)


def test_this_environment_serves_only_if_its_packages_are_those_of_the_lock(change, logged, repository):
    here = git(repository, "rev-parse", "HEAD")
    lock = repository / "requirements.lock"
    try:
        lock.write_text("numpy==0.1\n")
        other, digest = commit_all(repository), reproduction.digest_file(lock)
    finally:
        git(repository, "reset", "--quiet", "--hard", here)
    with pytest.raises(StoreError, match=r"1 packages here are not .*numpy.*use --environment new"):
        again(*change(commit=other, dirty=False, lock=digest), logged)
    assert worktrees(repository) == 1


def test_the_worktree_is_removed_when_the_work_fails(change, logged, repository):
    settings, run = change(parameters={"nonsense": 1})
    with pytest.raises(PipelineError, match=r"could not be fitted again: .*nonsense"):
        again(settings, run, logged)
    assert worktrees(repository) == 1


def test_clients_that_no_source_has_are_an_error(logged):
    with pytest.raises(DataError, match=r"no source gave the clients of the run.*RUMOS_DATA_SOURCES"):
        reproduction._find_clients(
            logged.settings, {"source": "gone.csv", "fingerprint": "0", "seed": 1}, print
        )


def test_a_run_is_found_by_any_of_its_names(logged, promoted):
    store, honest = logged.store, logged.runs["honest"]
    assert find_run(store, "Decision_tree") == find_run(store, honest) == honest
    assert find_run(promoted.store, "champion") == promoted.runs["first"]
    with pytest.raises(StoreError, match=r"no finished search is called 'SVC'.*a family"):
        find_run(store, "SVC")
    with pytest.raises(StoreError, match="there is no champion yet"):
        find_run(store, "champion")


# The environment of its own


@pytest.fixture
def installed(monkeypatch) -> list[Path]:
    "Where something was installed; nothing is."
    folders: list[Path] = []

    def install(folder: Path, lock: Path) -> None:
        folder.mkdir()
        folders.append(folder)
        if "unknown" in lock.read_text():
            raise PipelineError("the run's packages cannot be installed")

    monkeypatch.setattr(reproduction, "_install", install)
    return folders


def test_an_environment_is_made_once_for_each_lock(installed, logged, tmp_path):
    one, other = tmp_path / "one.lock", tmp_path / "other.lock"
    one.write_text(NUMPY)
    other.write_text("# nothing\n")
    made = [make_environment(logged.settings, lock, print) for lock in (one, one, other)]
    assert made[0] == made[1] != made[2] and len(installed) == 2


def test_an_environment_that_failed_is_made_anew(installed, logged, tmp_path):
    lock = tmp_path / "some.lock"
    lock.write_text("unknown==1\n")
    for _ in range(2):
        with pytest.raises(PipelineError):
            make_environment(logged.settings, lock, print)
    assert len(installed) == 2


def test_an_environment_has_a_python_of_its_own_without_our_packages(logged, tmp_path):
    lock = tmp_path / "empty.lock"
    lock.write_text("# no package\n")
    python = make_environment(logged.settings, lock, print)
    asked = "import sys, importlib.util as u; print(sys.prefix, u.find_spec('numpy'))"
    done = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(python.parents[1]), "None"]


def test_the_lock_is_read_with_its_markers():
    lock = f"# a comment ==\n{NUMPY}absent==1 ; python_version < '3'\nabsent==2 ; python_version >= '3'\npip==0.0.1\n"
    assert [each.split(":")[0] for each in find_unlike(lock)] == ["absent", "pip"]
    assert find_unlike(NUMPY) == []


# The verdict


THEN = pd.DataFrame({"ID": range(1000), "defaulted": [1] * 200 + [0] * 800, "probability": 0.1})


def with_probability(first: int, value: float) -> pd.DataFrame:
    "The last `first` clients, all of them good payers, get another probability."
    probability = np.full(1000, 0.1)
    probability[1000 - first :] = value
    return THEN.assign(probability=probability)


@pytest.fixture
def pair(logged) -> Callable[..., reproduction.Verdict]:
    specification = read_specification(logged.store, logged.runs["honest"])
    model_record = {**specification.model_record, "threshold": 0.25}
    specification = replace(
        specification, model_record=model_record, tested=THEN, folds=None, content="", cv_cost=400.0
    )

    def pair_with(tested: pd.DataFrame, cv_cost: float = 400.0, **limits: float) -> reproduction.Verdict:
        made = reproduction.Reproduction(
            0.25, cv_cost, model_record["library"], dict(specification.versions), THEN, tested, content=""
        )
        return judge(specification, made, CanarySettings(**limits))

    return pair_with


@pytest.mark.parametrize(
    "clients, probability, limits, word",
    [
        (0, 0.1, {}, "identical"),
        (5, 0.14, {}, "equal within the tolerance"),
        (5, 0.16, {}, "different"),  # 0.06 is more than 0.05
        (5, 0.3, {"max_difference": 0.5, "max_euros": 5}, "equal within the tolerance"),  # 0.5 % changed
        (6, 0.3, {"max_difference": 0.5, "max_euros": 6}, "different"),  # 0.6 % changed
        (5, 0.3, {"max_difference": 0.5, "max_euros": 4.9}, "different"),  # 5 € more per client
        (1000, float("nan"), {"max_changed_decisions": 1}, "different"),
    ],
)
def test_each_limit_is_held(pair, clients, probability, limits, word):
    assert pair(with_probability(clients, probability), **limits).word == word


def test_a_higher_cost_in_cross_validation_is_beyond_the_tolerance(pair):
    assert pair(THEN, 400.9).word == "equal within the tolerance"
    assert pair(THEN, 401.1).beyond == ("cross-validation: 1.10 € more per client, allowed is 1 €",)
    assert pair(THEN, 300.0).word == "equal within the tolerance"  # cheaper by any amount


def test_euros_are_counted_by_the_costs_of_the_run():
    now = with_probability(2, 0.9).assign(defaulted=0)  # the truth is that of the record
    part = compare_answers("test", THEN, now, (0.25, 0.25), Costs(false_positive=10, false_negative=100))
    assert (part.euros_then, part.euros_now, part.changed) == (200 * 100, 200 * 100 + 2 * 10, 2)


# The canary


@pytest.fixture
def record(logged, tmp_path) -> Settings:
    "Settings of a machine that has no store, but the record of the run."
    store = logged.settings.store.model_copy(
        update={"path": tmp_path / "none", "reports": tmp_path / "reports"}
    )
    settings = logged.settings.model_copy(update={"store": store})
    write_specification(
        settings.reports_path / "record",
        read_specification(logged.store, logged.runs["honest"]),
        settings.split,
    )
    return settings


def test_the_record_is_enough_for_the_canary(record, logged):
    verdict = canary(record, dataset=logged.data.dataset)
    assert verdict.word == "identical" and verdict.how[0].startswith(
        "the specification in the committed record"
    )
    assert [(part.name, part.clients) for part in verdict.parts] == [("test", 160)]
    assert not record.store_path.exists()


def test_the_canary_names_other_versions_and_what_they_change(record, logged):
    facts = record.reports_path / "record" / SPECIFICATION
    known = json.loads(facts.read_text())
    known["versions"]["numpy"] = "1.0"
    facts.write_text(json.dumps(known))
    table = record.reports_path / "record" / TESTED
    kept = pd.read_parquet(table)
    kept.loc[kept.index[:3], "probability"] = 0.99
    kept.to_parquet(table)
    verdict = canary(record, dataset=logged.data.dataset)
    assert verdict.upgrades == (f"numpy 1.0 → {version('numpy')}",)
    assert verdict.word == "different" and verdict.parts[0].largest > 0.05
    assert "decisions change" in str(verdict) and "BEYOND THE TOLERANCE" in str(verdict)


def test_the_canary_as_it_is_typed(record, logged, monkeypatch, tmp_path):
    monkeypatch.setattr(reproduction, "load_dataset", lambda *_: logged.data.dataset)
    monkeypatch.setenv("RUMOS_STORE_PATH", str(record.store_path))
    monkeypatch.setenv("RUMOS_STORE_REPORTS", str(record.reports_path))
    done = CliRunner().invoke(app, ["canary", "--save", str(tmp_path / "verdicts.json")])
    assert done.exit_code == 0 and "IDENTICAL" in done.output, done.output
    assert "identical" in (tmp_path / "verdicts.json").read_text()
    table = record.reports_path / "record" / TESTED
    pd.read_parquet(table).assign(probability=0.99).to_parquet(table)
    done = CliRunner().invoke(app, ["canary"])
    assert done.exit_code == 1 and "BEYOND THE TOLERANCE" in done.output, done.output


def test_the_canary_prefers_the_champion_to_the_record(promoted, record):
    there = record.store.model_copy(update={"path": promoted.store.path})
    specification, origin = reproduction.find_specification(
        record.model_copy(update={"store": there, "ledger": promoted.settings.ledger})
    )
    assert specification.run_id == promoted.runs["first"] and origin == "the champion, version 1"


def test_clients_that_are_divided_differently_are_not_compared(record, logged):
    facts = record.reports_path / "record" / SPECIFICATION
    known = json.loads(facts.read_text())
    facts.write_text(json.dumps(known | {"split": known["split"] | {"seed": 1}}))
    with pytest.raises(PipelineError, match=r"test: 160 clients then and 160 now.*divided differently"):
        canary(record, dataset=logged.data.dataset)


def test_a_specification_survives_the_record_bit_by_bit(record, logged):
    then = read_specification(logged.store, logged.runs["honest"])
    now = load_specification(record.reports_path / "record")
    one, other = (each.tested.set_index("ID").sort_index() for each in (then, now))
    assert one.equals(other) and now.cv_cost == then.cv_cost and now.versions == then.versions
    assert other["defaulted"].equals(
        logged.data.test.set_index("ID")[TARGET].sort_index().rename("defaulted")
    )
    assert now.model_record == dict(then.model_record) | {"source": "twin"}


def test_a_verdict_is_kept_below_the_others(pair, tmp_path):
    for _ in range(2):
        reproduction.save_verdict(tmp_path / "kept.json", pair(THEN))
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert len(kept) == 2 and kept[0]["word"] == "identical" and kept[0]["parts"][0]["clients"] == 1000
