"The store: opened by many, moved anywhere, and holding everything that a search found."

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer
from stores import TINY, TOP, log_tree, settings_for

from rumos_bank.data.contract import CLIENT_COLUMNS, TARGET
from rumos_bank.governance import tracking
from rumos_bank.governance.integrity import TRUSTED_TYPES, content_digest, digest_folder
from rumos_bank.governance.tracking import (
    DATABASE,
    PATH_COLUMNS,
    PLOTS,
    Store,
    find_model_files,
    find_searches,
    finish_pipeline_run,
    import_mlflow,
    load_decision,
    log_notebook,
    open_store,
    read_artifact,
    read_board,
    read_folds,
    read_model_record,
    read_tested,
    register_family,
    register_winner,
    start_pipeline_run,
    tags_of,
)
from rumos_bank.ground.errors import StoreError
from rumos_bank.operations.experiments import (
    choose_ranking,
    count_looks,
    describe_search,
    find_rankings,
    find_whole,
)

PROTECTED = ["SEX", "MARRIAGE", "AGE", "EDUCATION"]


@pytest.fixture(scope="module")
def logged(template, tmp_path_factory):
    "A place, and the run of an honest search in it."
    place = template.copy_to(tmp_path_factory.mktemp("logged") / "store")
    return place, place.log(place.found, key="honest", commit="c" * 40, dirty=True)


# opening


def test_two_processes_may_open_a_new_store_at_once_and_a_third_later(tmp_path):
    code = (
        "import sys; from rumos_bank.ground.settings import read_settings; from rumos_bank.governance.tracking import open_store;"
        "import rumos_bank.governance.tracking as t; t.import_mlflow(); print('ready', flush=True); sys.stdin.readline();"
        "print(open_store(read_settings()).experiment_id)"
    )
    environment = os.environ | {
        "RUMOS_SETTINGS": str(TOP),
        "RUMOS_STORE_PATH": str(tmp_path / "new store"),
        "PYTHONPATH": str(TOP.parent),
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes) for _ in range(2)
    ]
    try:
        for process in both:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        for process in both:  # the tables are made only now, by both at once
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=120) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], outputs
    third = open_store(settings_for(tmp_path / "new store"))
    assert outputs[0][0] == outputs[1][0] == f"{third.experiment_id}\n"
    named = [each.name for each in third.client.search_experiments()]
    assert named.count(tracking.EXPERIMENT) == 1 and find_searches(third) == []


def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"file/store cannot be opened: .*; set RUMOS_STORE_PATH"):
        open_store(settings_for(tmp_path / "file" / "store"))


def test_a_database_that_is_none_is_refused(tmp_path):
    (tmp_path / DATABASE).write_text("no database " * 100)
    with pytest.raises(StoreError, match="cannot be opened: file is not a database"):
        open_store(settings_for(tmp_path))


def test_a_store_of_another_version_is_refused_and_left_alone(tmp_path):
    "An experiment without the mark, as all stores were before there was one."
    old = Store(settings_for(tmp_path / "old"))
    old.path.mkdir()
    old.client.create_experiment(tracking.EXPERIMENT, artifact_location=str(old.path / "artifacts"))
    (old.path / "keep.txt").write_text("mine")
    for _ in range(2):
        with pytest.raises(
            StoreError, match=r"old was made by another version .*run the pipeline again \(`rumos run`\)"
        ):
            open_store(old.settings)
    assert (old.path / "keep.txt").read_text() == "mine"
    assert open_store(settings_for(tmp_path / "new")).path.exists()


# moving


def recorded_texts(database: Path) -> list[tuple[str, str, str]]:
    "Every text in every column of every table: (table, column, text)."
    with sqlite3.connect(database) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = []
        for table in tables:
            cursor = opened.execute(f'SELECT * FROM "{table}"')
            columns = [description[0] for description in cursor.description]
            for row in cursor:
                found += [(table, column, str(value)) for column, value in zip(columns, row)]
    opened.close()
    return found


def test_a_moved_store_knows_its_old_places_no_more(promoted, tmp_path, tmp_path_factory):
    # MLflow's own tables are rewritten: look here, and at PATH_COLUMNS, before moving to another version
    assert import_mlflow().__version__ == "3.17.2"
    old, new = promoted.store.path, tmp_path / "an other pläce" / "100 %_x" / "stores"
    client, run = promoted.store.client, promoted.runs["first"]
    before = load_decision(promoted.store, run).predict_proba(promoted.data.test)
    written = {(table, column) for table, column, text in recorded_texts(old / DATABASE) if str(old) in text}
    assert written == set(PATH_COLUMNS)
    client._tracking_client.store.engine.dispose()
    new.parent.mkdir(parents=True)
    old.rename(new)
    there = open_store(settings_for(new))
    places = str(tmp_path_factory.getbasetemp())  # of this store and of those that it was copied from
    left = [
        (table, column, text)
        for table, column, text in recorded_texts(new / DATABASE)
        if places in text.replace(str(new), "")
    ]
    assert left == []
    np.testing.assert_array_equal(load_decision(there, run).predict_proba(promoted.data.test), before)
    served = import_mlflow().pyfunc.load_model("models:/rumos_lending@champion")
    expected = (before[:, 1] >= 0.5).astype(int)
    np.testing.assert_array_equal(served.predict(promoted.data.test), expected)
    assert read_model_record(there, run)["key"] == "first" and len(read_folds(there, run)) == 600


def test_a_copy_leaves_its_original_alone(promoted, tmp_path):
    copied = promoted.copy_to(tmp_path / "store-2")  # the old path is the beginning of the new one
    inside = str(copied.store.path)
    assert str(find_model_files(copied.store, copied.runs["first"])).startswith(inside + "/")
    copied.log(copied.found, key="only in the copy")
    assert len(find_searches(copied.store, key="only in the copy")) == 1
    original = open_store(promoted.settings)
    assert find_searches(original, key="only in the copy") == []
    assert not str(find_model_files(original, copied.runs["first"])).startswith(inside)


# serving


@pytest.fixture(scope="module")
def served(promoted_template):
    open_store(promoted_template.settings)
    return import_mlflow().pyfunc.load_model("models:/rumos_lending@champion")


FRAMES = {
    "whole numbers": lambda clients: clients,
    "floats": lambda clients: clients.astype(float),
    "small numbers": lambda clients: clients.astype("int32"),
    "no protected fields": lambda clients: clients.drop(columns=PROTECTED),
    "other columns too": lambda clients: clients.assign(ID=7, note="text", **{TARGET: 1}),
    "another order": lambda clients: clients[clients.columns[::-1]],
    "one client": lambda clients: clients[:1],
    "another index": lambda clients: clients.set_index(pd.Index(["x"] * len(clients))),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_plain_mlflow_answers_zero_or_one_for_any_frame(kind, served, promoted_template):
    clients = promoted_template.data.test[list(CLIENT_COLUMNS)]
    expected = load_decision(promoted_template.store, promoted_template.runs["first"]).predict(clients)
    assert set(expected) == {0, 1}
    frame = FRAMES[kind](clients)
    answer = served.predict(frame)
    assert isinstance(answer, np.ndarray) and answer.dtype == np.int64 and answer.shape == (len(frame),)
    np.testing.assert_array_equal(answer, expected[: len(frame)])


def test_plain_mlflow_refuses_a_frame_that_lacks_what_is_needed(served, promoted_template):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="PAY_0"):
        served.predict(promoted_template.data.test.drop(columns=["PAY_0"]))


# what is logged


def test_parameters_have_plain_names(logged):
    place, run_id = logged
    logged_parameters = place.store.client.get_run(run_id).data.params
    assert {
        name: logged_parameters[name] for name in ("max_depth", "min_samples_leaf", "class_weight", "seed")
    } == {
        "max_depth": "4",
        "min_samples_leaf": "100",
        "class_weight": "None",
        "seed": "42",
    }


def test_metrics_are_those_of_the_test_and_of_the_folds(logged):
    place, run_id = logged
    metrics, rule = place.store.client.get_run(run_id).data.metrics, place.found.rule
    on_test = (
        "min_cost",
        "accuracy",
        "recall",
        "roc_auc",
        "precision",
        "pr_auc",
        "brier",
        "log_loss",
        "ks",
        "ece",
    )
    assert set(on_test) | {"fit_seconds", "microseconds_per_client"} <= metrics.keys()
    test, refused = place.data.test[TARGET], place.found.decision.predict(place.data.test)
    wrong_refusals, wrong_loans = ((refused > test).sum(), (refused < test).sum())
    assert metrics["min_cost"] == 1000 * wrong_refusals + 3000 * wrong_loans
    assert metrics["accuracy"] == pytest.approx((refused == test).mean())
    assert (metrics["threshold"], metrics["cv_cost_mean"], metrics["cv_cost_sd"]) == (
        rule.threshold,
        rule.cv_cost,
        rule.cv_sd,
    )
    assert (metrics["cv_cost_bayes"], metrics["cv_cost_tuned"]) == (rule.bayes_cost, rule.tuned_cost)


def test_train_and_test_clients_are_inputs_by_digest(logged):
    place, run_id = logged
    inputs = place.store.client.get_run(run_id).inputs.dataset_inputs
    by_context = {each.tags[0].value: each.dataset for each in inputs}
    assert by_context.keys() == {"train", "test"}
    assert by_context["train"].digest and by_context["train"].digest != by_context["test"].digest
    rows = {context: json.loads(each.profile)["num_rows"] for context, each in by_context.items()}
    assert rows == {"train": 600, "test": 150}
    assert place.data.dataset.fingerprint in by_context["train"].source


def test_plots_trials_and_tables_are_there(logged):
    place, run_id = logged
    assert read_artifact(place.store, run_id, f"{PLOTS}/roc.png").read_bytes().startswith(b"\x89PNG")
    trials = json.loads(read_artifact(place.store, run_id, "trials.json").read_text())
    assert trials["columns"] == list(place.found.trials.columns) and len(trials["data"]) == 1
    pd.testing.assert_frame_equal(read_folds(place.store, run_id), place.found.folds)
    tested = read_tested(place.store, run_id)
    np.testing.assert_array_equal(tested["ID"], place.data.test["ID"])
    np.testing.assert_array_equal(
        tested["probability"], place.found.decision.predict_proba(place.data.test)[:, 1]
    )


def test_tags_name_what_the_run_was_made_of(logged):
    place, run_id = logged
    tags = tags_of(place.store.client.get_run(run_id))
    assert tags["kind"] == "search" and tags["family"] == "Decision_tree"
    assert tags["fingerprint"] == place.data.dataset.fingerprint
    assert all(len(tags[name]) == 64 for name in ("fingerprint", "notebook", "lock", "library"))
    assert (tags["commit"], tags["dirty"], tags["twin"]) == ("c" * 40, "True", "True")
    model_record = read_model_record(place.store, run_id)
    files = json.loads(tags.pop("files"))
    assert files == digest_folder(find_model_files(place.store, run_id)) and "portable.json" in files
    skops = (find_model_files(place.store, run_id) / "model.skops").read_bytes()
    assert tags.pop("content") == content_digest(skops)
    assert {name: str(model_record[name]) for name in tags} == tags
    assert (
        model_record["parameters"] == place.found.parameters
        and model_record["threshold"] == place.found.rule.threshold
    )
    assert (
        model_record["costs"] == {"false_positive": 1000, "false_negative": 3000}
        and model_record["protected"] == PROTECTED
    )


def test_the_model_has_a_signature_an_example_and_no_pickle(logged):
    import yaml

    place, run_id = logged
    files = find_model_files(place.store, run_id)
    described = yaml.safe_load((files / "MLmodel").read_text())
    assert described["flavors"]["sklearn"]["serialization_format"] == "skops"
    assert set(described["flavors"]["sklearn"]["skops_trusted_types"]) <= TRUSTED_TYPES
    columns = json.loads(described["signature"]["inputs"])
    assert [column["name"] for column in columns] == list(CLIENT_COLUMNS)
    optional = [column["name"] for column in columns if not column["required"]]
    assert optional == [name for name in CLIENT_COLUMNS if name in PROTECTED]
    assert json.loads(described["signature"]["outputs"])[0]["tensor-spec"] == {
        "dtype": "int64",
        "shape": [-1],
    }
    assert len(json.loads((files / "input_example.json").read_text())["data"]) == 1
    names = [path.name for path in place.store.path.rglob("*") if path.is_file()]
    assert not [name for name in names if "pkl" in name or "pickle" in name or name.endswith(".joblib")]
    inside = zipfile.ZipFile(files / "model.skops").namelist()
    assert "schema.json" in inside and {Path(name).suffix for name in inside} <= {".json", ".npy"}
    needed = {line.split("==")[0] for line in (files / "requirements.txt").read_text().splitlines()}
    assert needed == {"mlflow", "rumos_bank", "scikit-learn", "lightgbm", "numpy", "scipy", "skops"}


def test_a_decision_comes_back_bit_by_bit(logged):
    place, run_id = logged
    read = load_decision(place.store, run_id)
    for clients in (place.data.train, place.data.test):
        np.testing.assert_array_equal(
            read.predict_proba(clients), place.found.decision.predict_proba(clients)
        )
    assert read.threshold == place.found.rule.threshold


def test_a_forged_model_that_trusts_itself_is_not_rebuilt(place):
    files = find_model_files(place.store, place.runs["first"])
    forged = FunctionTransformer(os.system)
    types = skops.io.get_untrusted_types(data=skops.io.dumps(forged))
    assert types
    skops.io.dump(forged, files / "model.skops")
    described = (files / "MLmodel").read_text()
    trusted = "".join(f"    - {each}\n" for each in types)
    (files / "MLmodel").write_text(
        described.replace("skops_trusted_types:\n", "skops_trusted_types:\n" + trusted)
    )
    with pytest.raises(StoreError, match="is not what was recorded"):
        load_decision(place.store, place.runs["first"])
    place.store.client.set_tag(place.runs["first"], "rumos.files", json.dumps(digest_folder(files)))
    with pytest.raises(StoreError, match=r"not on the list.*system"):
        load_decision(place.store, place.runs["first"])


def test_a_search_that_fails_while_it_is_logged_is_not_found(place, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(tracking, "_log_model", full)
    with pytest.raises(OSError, match="no space left"):
        place.log(place.found, key="broken")
    assert find_searches(place.store, key="broken") == []
    (run,) = place.store.client.search_runs([place.store.experiment_id], "tags.`rumos.key` = 'broken'")
    assert run.info.status == "FAILED"
    with pytest.raises(StoreError, match="has no model; run its family again"):
        load_decision(place.store, run.info.run_id)


# the registry


def test_asking_for_a_version_twice_makes_one(place):
    run = place.runs["first"]
    for register, name in ((register_family, "Decision_tree_twin"), (register_winner, "rumos_lending")):
        first, second = register(place.store, run), register(place.store, run)
        assert first.version == second.version and first.run_id == run
        found = place.store.client.search_model_versions(f"name = '{name}' AND run_id = '{run}'")
        assert len(found) == 1


def test_a_model_of_synthetic_clients_is_never_served_under_the_name_of_real_ones(place):
    client, real = place.store.client, place.log(place.found, key="as if real", twin=False)
    assert [version.run_id for version in client.search_model_versions("name = 'Decision_tree'")] == [real]
    twins = {version.run_id for version in client.search_model_versions("name = 'Decision_tree_twin'")}
    assert twins == {run for name, run in place.runs.items() if name != "cheapest"}


def test_searches_are_ranked_only_with_their_like(place):
    cheap = settings_for(place.store.path, RUMOS_COSTS_FALSE_POSITIVE="800")
    real = place.log(place.found, key="as if real", twin=False)
    log_tree(place.store, cheap, place.data, place.found, key="at 800")
    shuffled = settings_for(place.store.path, RUMOS_SPLIT_SEED="7")
    log_tree(place.store, shuffled, place.data, place.found, key="other folds")
    rankings = find_rankings(place.store, "full")
    assert sorted(len(each.runs) for each in rankings) == [1, 1, 1, 2]  # the newest of each family
    shown = choose_ranking(rankings, place.settings)
    assert (shown.runs, shown.is_twin) == ((real,), False) and "SYNTHETIC" not in shown.title
    twins = choose_ranking(rankings, place.settings, synthetic=True)
    assert set(twins.runs) == {place.runs["cheaper"], place.runs["cheapest"]}
    assert "SYNTHETIC" in twins.title
    with pytest.raises(StoreError, match="no finished search of real clients at today's prices"):
        choose_ranking(rankings, cheap)
    assert choose_ranking(rankings, cheap, synthetic=True).prices.startswith("false positive 800 €")


def test_every_run_is_a_version_of_its_own(place):
    winners = {name: register_winner(place.store, run) for name, run in place.runs.items()}
    assert sorted(int(version.version) for version in winners.values()) == [1, 2, 3, 4, 5]
    assert {name: version.run_id for name, version in winners.items()} == place.runs
    assert winners["first"].source == "models:/Decision_tree_twin/1"
    assert winners["cheapest"].source == "models:/Random_forest_twin/1"


# reading


def test_searches_are_found_by_tags_the_newest_first(place):
    assert [run.info.run_id for run in find_searches(place.store, family="Random_forest")] == [
        place.runs["cheapest"]
    ]
    everything = [run.info.run_id for run in find_searches(place.store)]
    assert everything == list(place.runs.values())[::-1]
    assert find_searches(place.store, family="Decision_tree", key="cheapest") == []


def test_searches_beyond_the_first_page_are_found(place, monkeypatch):
    search = place.store.client.search_runs
    everything = [run.info.run_id for run in find_searches(place.store)]
    monkeypatch.setattr(
        place.store.client, "search_runs", lambda *given, **named: search(*given, **named, max_results=2)
    )
    assert [run.info.run_id for run in find_searches(place.store)] == everything and len(everything) == 5


def test_a_look_at_the_test_clients_counts_after_its_search_was_cleaned_up(place):
    looks = count_looks(place.store, place.data.dataset, "full")
    place.store.client.delete_run(place.runs["dearer"])
    assert (
        count_looks(place.store, place.data.dataset, "full") == looks == len(find_searches(place.store)) + 1
    )


def test_tables_that_were_cut_are_refused_and_their_search_is_made_again(place):
    run = place.runs["first"]
    for name, read in (("folds", read_folds), ("tested", read_tested)):
        assert find_whole(place.store, "first") == run
        table = read_artifact(place.store, run, f"{name}.parquet")
        whole = table.read_bytes()
        table.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(
            StoreError, match=rf"{name}.parquet of run {run} cannot be read .*run its family again"
        ):
            read(place.store, run)
        assert find_whole(place.store, "first") == ""
        table.write_bytes(whole)


@pytest.mark.parametrize("revision", ["ff01da956556", "a_newer_one"])
def test_a_database_of_another_mlflow_is_refused_with_the_remedy(place, tmp_path, revision):
    other = settings_for(tmp_path / "other")
    shutil.copytree(place.store.path, other.store_path)
    with sqlite3.connect(other.store_path / DATABASE) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    database.close()
    with pytest.raises(
        StoreError, match=rf"another MLflow .*version {revision}.* a copy .*`mlflow db upgrade sqlite:"
    ):
        open_store(other)


def test_other_versions_of_the_libraries_make_another_key(place, monkeypatch):
    def find_key() -> str:
        return describe_search(place.settings, "SVC", TINY, place.data.dataset)["key"]

    keys = {find_key(), find_key()}
    with monkeypatch.context() as other:
        other.setattr("platform.python_version_tuple", lambda: ("3", "99", "0"))
        keys.add(find_key())
    with monkeypatch.context() as other:
        other.setattr("importlib.metadata.version", lambda name: "99")
        keys.add(find_key())
    assert len(keys) == 3


def test_the_board_is_in_the_order_of_cost(place):
    board = read_board(place.store, list(place.runs.values()))
    assert board["cv_cost"].is_monotonic_increasing and set(board["run_id"]) == set(place.runs.values())
    assert board["family"].tolist() == ["Decision_tree"] * 4 + ["Random_forest"]  # equal costs: by name
    metrics = place.store.client.get_run(board["run_id"][0]).data.metrics
    assert board["seconds"][0] == metrics["search_seconds"] + metrics["fit_seconds"]
    assert (board["test_low"][0], board["test_high"][0]) == (1, 2)


def test_missing_artifacts_are_named(place):
    read_artifact(place.store, place.runs["first"], "model_record.json").unlink()
    with pytest.raises(StoreError, match=r"lacks model_record.json: .* run its family again"):
        read_model_record(place.store, place.runs["first"])


# pipeline runs


def test_a_new_pipeline_run_marks_what_a_killed_one_left(place):
    client = place.store.client
    killed = start_pipeline_run(place.store, "killed", {"profile": "quick"})
    search = client.create_run(place.store.experiment_id, tags={"rumos.pipeline_run": "killed"}).info.run_id
    by_hand = client.create_run(place.store.experiment_id).info.run_id
    pipeline_run = start_pipeline_run(place.store, "next", {"profile": "quick"})
    finish_pipeline_run(place.store, pipeline_run, "FINISHED")
    status = {run: client.get_run(run).info.status for run in (killed, search, by_hand, pipeline_run)}
    assert list(status.values()) == ["KILLED", "KILLED", "RUNNING", "FINISHED"]
    assert tags_of(client.get_run(pipeline_run)) == {
        "kind": "pipeline_run",
        "pipeline_run": "next",
        "profile": "quick",
    }


def test_the_executed_notebook_is_kept_with_its_run(logged, tmp_path):
    place, run_id = logged
    (tmp_path / "search.ipynb").write_text("{}")
    log_notebook(place.store, run_id, tmp_path / "search.ipynb")
    assert read_artifact(place.store, run_id, "notebook/search.ipynb").read_text() == "{}"
