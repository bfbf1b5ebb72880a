"""The pipeline from data to champion, run on synthetic clients."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pandas as pd
import psutil
import pytest
from places import Place
from processes import ROOT, kill_group, wait_until

from rumos_bank.data.contract import TARGET
from rumos_bank.governance.ledger import read_ledger
from rumos_bank.governance.promotion_state import read_champion
from rumos_bank.governance.tracking import (
    Store,
    find_searches,
    import_mlflow,
    open_store,
    read_artifact,
    tags_of,
)
from rumos_bank.ground.settings import Settings, read_settings
from rumos_bank.model.cost import business_cost
from rumos_bank.model.families import FAMILIES
from rumos_bank.model.search import find_profile
from rumos_bank.operations.dossier import SECTIONS
from rumos_bank.operations.experiments import load_run_data

SMALL = ("--profile", "quick", "--families", "Random_forest,Decision_tree")


def settings_of(place: Place) -> Settings:
    return read_settings(place.repository / "settings.ini", place.environment())


def store_of(place: Place) -> Store:
    return open_store(settings_of(place))


def runs_by_family(store: Store) -> dict[str, list]:
    found: dict[str, list] = {}
    for run in find_searches(store):
        found.setdefault(tags_of(run)["family"], []).append(run)
    return found


def test_the_pipeline_run_reports_what_it_did(quick):
    _place, done = quick
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        "TWIN",
        "Leaderboard",
        "Proposed:",
        "Champion:",
        "Without a model",
        "The model saves",
        "Next: open",
    ):
        assert shown in done.stdout
    for family in FAMILIES:
        assert f"search {family}: done" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_report_holds_notebooks_pages_and_the_leaderboard(quick):
    place, _ = quick
    report = place.reports / "latest"
    for name in (
        "explore",
        "compare",
        "judge",
        "audit",
        "stress",
        "validate",
        "prices",
        *(f"search-{family}" for family in FAMILIES),
    ):
        assert (report / f"{name}.ipynb").exists() and (report / f"{name}.html").exists()
    board = pd.read_csv(report / "leaderboard.csv")
    assert set(board["family"]) == set(FAMILIES)
    assert board["cv_cost"].is_monotonic_increasing
    assert "TWIN" in (report / "leaderboard.html").read_text()
    assert json.loads((report / "pipeline.json").read_text())["twin"] is True
    assert not list(report.glob(".*.ticks"))


def test_the_pages_fetch_nothing_from_outside(quick):
    place, _ = quick
    for page in (place.reports / "latest").glob("*.html"):
        text = page.read_text()
        for fetched in (
            'src="http',
            "src='http",
            '<link rel="stylesheet" href="http',
            "import('http",
            '@import url("http',
        ):
            assert fetched not in text, f"{page.name}: {fetched}"


def test_every_family_is_one_run_below_the_pipeline_run_and_one_version(quick):
    place, _ = quick
    store = store_of(place)
    for family, runs in runs_by_family(store).items():
        assert len(runs) == 1
        parent = store.client.get_run(runs[0].data.tags["mlflow.parentRunId"])
        assert parent.info.status == "FINISHED" and tags_of(parent)["kind"] == "pipeline_run"
        versions = store.client.search_model_versions(f"name = '{family}_twin'")
        assert [version.run_id for version in versions] == [runs[0].info.run_id]
        kept = [item.path for item in store.client.list_artifacts(runs[0].info.run_id, "notebook")]
        assert kept == [f"notebook/search-{family}.ipynb"]
    assert set(runs_by_family(store)) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_served_cost_is_the_logged_cost(quick, family):
    place, _ = quick
    store, settings = store_of(place), settings_of(place)
    run = runs_by_family(store)[family][0]
    test = load_run_data(settings, find_profile("quick"), "twin").test
    served = (
        import_mlflow().pyfunc.load_model(f"models:/{family}_twin/1").predict(test.drop(columns=[TARGET]))
    )
    assert served.shape == (len(test),) and served.dtype == "int64" and set(served) <= {0, 1}
    assert business_cost(test[TARGET], served, settings.costs) == run.data.metrics["min_cost"]


def test_the_champion_is_the_one_that_the_rule_names(quick):
    place, _ = quick
    store = store_of(place)
    board = pd.read_csv(place.reports / "latest" / "leaderboard.csv")
    current = read_champion(store)
    refused = [line.event.family for line in read_ledger(settings_of(place)) if line.event.name == "refused"]
    board = board[~board["family"].isin(refused)]
    assert current.family == board.sort_values("cv_cost")["family"].iloc[0]
    own = f"{current.family}_twin"
    assert store.client.get_model_version_by_alias(own, "champion").run_id == current.run_id
    bearing = [model.name for model in store.client.search_registered_models() if "champion" in model.aliases]
    assert sorted(bearing) == sorted([own, "rumos_lending"])
    events = [line.event for line in read_ledger(settings_of(place)) if line.event.name != "refused"]
    assert [event.name for event in events] == ["data changed", "intent", "promoted"]
    events = events[1:]
    assert {check.verdict for check in events[0].gates} <= {"pass", "warn"}
    assert "model.skops" in events[0].files and all(len(digest) == 64 for digest in events[0].files.values())


def test_the_champion_and_the_leaderboard_can_be_asked(quick):
    place, _ = quick
    known = place.rumos("champion")
    assert known.returncode == 0 and "TWIN" in known.stdout and "version 1" in known.stdout
    board = place.rumos("leaderboard", "--profile", "quick")
    assert board.returncode == 0 and all(family in board.stdout for family in FAMILIES)
    assert "SYNTHETIC" in board.stdout


def test_a_second_pipeline_run_finds_everything_and_changes_nothing(quick):
    place, _ = quick
    again = place.rumos("run", "--profile", "quick")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("found finished in the store") == len(FAMILIES)
    assert f"{len(FAMILIES)} finished searches were taken from the store" in again.stdout
    assert "it is the champion already" in again.stdout
    store = store_of(place)
    assert all(len(runs) == 1 for runs in runs_by_family(store).values())
    assert len(store.client.search_model_versions("name = 'rumos_lending'")) == 1
    assert (place.reports / "latest" / "search-SVC.html").exists()


def test_a_failing_family_leaves_its_report_and_does_not_stop_the_others(copied):
    library = copied.repository / "rumos_bank" / "model" / "families.py"
    whole = library.read_text()
    broken = whole.replace(
        "    return KNeighborsClassifier(",
        '    raise RuntimeError("no neighbours today")\n    return KNeighborsClassifier(',
    )
    assert broken != whole
    library.write_text(broken)
    done = copied.rumos("run", "--profile", "quick", "--families", "KNeighborsClassifier,Decision_tree")
    assert done.returncode == 1
    assert "FAILED search KNeighborsClassifier: RuntimeError: no neighbours today" in done.stdout
    report = copied.reports / "latest"
    left = json.loads((report / "search-KNeighborsClassifier.ipynb").read_text())
    assert left["metadata"]["papermill"]["exception"] is True
    assert "no neighbours today" in (report / "search-KNeighborsClassifier.html").read_text()
    assert "no neighbours today" in (report / "leaderboard.html").read_text()
    assert pd.read_csv(report / "leaderboard.csv")["family"].tolist() == ["Decision_tree"]
    library.write_text(whole)
    repaired = copied.rumos("run", "--profile", "quick", "--families", "KNeighborsClassifier")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "search KNeighborsClassifier: done" in repaired.stdout
    assert pd.read_csv(copied.reports / "latest/leaderboard.csv")["family"].tolist() == [
        "KNeighborsClassifier"
    ]


def test_a_leak_stops_the_pipeline_run_and_no_model_is_promoted(place):
    done = place.rumos("run", *SMALL, RUMOS_LEAK_MAX_AUC="0.6")
    assert done.returncode == 1
    assert "FAILED search Decision_tree: LeakError" in done.stdout and "no model is promoted" in done.stdout
    assert read_champion(store_of(place)) is None


def test_the_dossier_has_every_section_and_names_the_twin(quick):
    place, _ = quick
    page = (place.reports / "latest" / "dossier.html").read_text()
    assert "TWIN" in page
    for section in SECTIONS:
        start = page.index(f'<section id="{section.key}">')
        assert len(page[start : page.index("</section>", start)]) > 200, section.title
    promoted = [line.event for line in read_ledger(settings_of(place)) if line.event.name == "intent"]
    assert promoted[0].files["model.skops"] in page
    assert "Traceback" not in page


def test_the_looks_at_the_test_clients_are_counted(quick):
    _, done = quick
    assert f"looked at {len(FAMILIES)} times in this store" in done.stdout


def test_kill_9_in_a_search_loses_nothing(place):
    process = place.start("run", *SMALL)
    place.wait_for_fits("Random_forest", 8, process)
    kill_group(process)
    done = place.rumos("run", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    store = store_of(place)
    assert {family: len(runs) for family, runs in runs_by_family(store).items()} == {
        "Random_forest": 1,
        "Decision_tree": 1,
    }
    for family in ("Random_forest", "Decision_tree"):
        assert len(store.client.search_model_versions(f"name = '{family}_twin'")) == 1
    left = store.client.search_runs([store.experiment_id], "attributes.status = 'RUNNING'")
    assert not left
    assert read_champion(store) is not None
    tree = runs_by_family(store)["Decision_tree"][0].info.run_id
    read_artifact(store, tree, "notebook/search-Decision_tree.ipynb").unlink()  # killed before it was kept
    done = place.rumos("run", *SMALL)
    assert done.returncode == 0 and "found finished in the store" in done.stdout, done.stdout + done.stderr
    assert (
        len(runs_by_family(store)["Decision_tree"]) == 2 and (place.reports / "latest/dossier.html").exists()
    )
    known = [line.event.name for line in read_ledger(settings_of(place)) if line.event.name != "refused"]
    assert known == ["data changed", "intent", "promoted"]


def find_kernels(pipeline_run: subprocess.Popen) -> list[psutil.Process]:
    "The kernels in which a pipeline run executes its notebooks."
    found = []
    for each in psutil.Process(pipeline_run.pid).children(recursive=True):
        with suppress(psutil.Error):
            found += [each] if "ipykernel" in " ".join(each.cmdline()) else []
    return found


def test_a_second_pipeline_run_is_kept_apart_and_ctrl_c_ends_the_first_with_a_sentence_and_leaves_no_kernel(
    place,
):
    process = place.start("run", *SMALL)
    try:
        place.wait_for_fits("Random_forest", 4, process)
        second = place.rumos("run", *SMALL)
        assert second.returncode == 2
        assert "another pipeline run works" in second.stderr and "RUMOS_STORE_PATH" in second.stderr
        wait_until(lambda: find_kernels(process), what="the first run goes on in a kernel")
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        shown, _ = process.communicate(timeout=30)
    finally:
        kill_group(process)
    assert process.returncode == 130
    assert "the same command again goes on from what is finished" in shown and "Traceback" not in shown
    _, left = psutil.wait_procs(started, timeout=10)
    assert not left, left


@pytest.mark.parametrize(
    ("words", "more", "shown"),
    [
        (("run", "--profile", "fast"), {}, "unknown profile 'fast'; allowed: full, quick"),
        (("run", "--families", "SVM"), {}, "unknown family 'SVM'; allowed:"),
        (("run",), {"RUMOS_DATA_SOURCES": "nowhere.csv"}, "nowhere.csv"),
        (("run",), {"RUMOS_COSTS_FALSE_POSITIVE": "-1"}, "RUMOS_COSTS_FALSE_POSITIVE"),
        (("champion",), {}, "there is no champion yet"),
        (("leaderboard",), {}, "no finished search"),
        (("record",), {}, "there is no finished pipeline run"),
    ],
)
def test_what_a_user_can_correct_is_a_sentence(place, words, more, shown):
    done = place.rumos(*words, **more)
    assert done.returncode == 2
    assert shown in done.stderr and "Traceback" not in done.stderr


def test_a_notebook_refuses_unknown_parameters_before_anything_runs(place):
    words = [
        "papermill",
        str(ROOT / "nbs/experiments/search.ipynb"),
        str(place.folder / "out.ipynb"),
        "-k",
        "python3",
    ]
    command = [sys.executable, "-m", *words, "-p", "famly", "SVC", "--no-progress-bar"]
    done = subprocess.run(
        command, cwd=ROOT, env=place.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "famly" in done.stderr and "known: data, profile, family" in done.stderr
    assert not place.store.exists()
