"Notebooks and their tests run from any folder, with plain papermill, pytest and nbdev-test."

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from processes import ROOT, clean_environment

BIN = Path(sys.executable).parent
EXPERIMENTS = sorted((ROOT / "nbs/experiments").glob("*.ipynb"))
ERRORS = "nbs/lib/ground/00_errors.ipynb"


def run(tool: str, *words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    "A tool of this environment, run in a folder, with what it wrote on both streams."
    return subprocess.run(
        [BIN / tool, *map(str, words)],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


# papermill


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    "A folder outside the repository, and the variables of a store of its own."
    folder = tmp_path_factory.mktemp("elsewhere")
    store, keys = str(folder / "store"), str(folder / "keys")
    (folder / "here").mkdir()
    return folder / "here", {"RUMOS_STORE_PATH": store, "RUMOS_LEDGER_FOLDER": keys}


def test_papermill_runs_a_search_and_what_follows_from_another_folder(places):
    folder, ours = places
    for name, words in (("search", ("-p", "family", "Decision_tree")), ("compare", ())):
        done = run(
            "papermill",
            ROOT / f"nbs/experiments/{name}.ipynb",
            f"{name}.ipynb",
            *words,
            folder=folder,
            **ours,
        )
        assert done.returncode == 0, done.stdout[-3000:]
    logged = nbformat.read(folder / "search.ipynb", 4).cells[-3]
    assert "Logged as run" in str(logged.outputs)
    assert sorted(path.name for path in folder.iterdir()) == ["compare.ipynb", "search.ipynb"]


def first_cells(notebook: Path) -> str:
    "The parameters of an experiment and the cell that checks them and reads the settings."
    cells = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    return "\n".join(cells[:2])


def test_every_experiment_reads_the_settings_of_its_repository(places):
    "Their second cells, which stop a notebook that could not end."
    folder, ours = places
    begun = [first_cells(path) for path in EXPERIMENTS]
    script = f"for cells in {begun!r}:\n    own = {{}}; exec(cells, own); print(own['settings'].home, own['settings'].store_path)"
    done = run("python", "-c", script, folder=folder, **ours)
    assert len(begun) == 10
    assert done.stdout.splitlines() == [f"{ROOT} {ours['RUMOS_STORE_PATH']}"] * 10


def test_an_experiment_without_its_repository_stops_before_it_searches(places, tmp_path):
    folder, ours = places
    own = tmp_path / "settings.ini"
    own.write_text("[costs]\nfalse_negative = 4000\n")
    search = ROOT / "nbs/experiments/search.ipynb"
    done = run("python", "-c", first_cells(search), folder=folder, RUMOS_SETTINGS=str(own), **ours)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith(
        f"the experiment notebooks are not in {tmp_path}/nbs/experiments: run this in a checkout of the repository "
        "(papermill: --cwd /path/to/checkout), or unset RUMOS_SETTINGS if it names another bank's file"
    )


# pytest


@pytest.mark.parametrize(
    ("folder", "notebook"),
    [(".", ERRORS), ("nbs/lib", "ground/00_errors.ipynb"), ("", ROOT / ERRORS)],
    ids=["root", "below", "elsewhere"],
)
def test_nbval_runs_from_any_folder(folder, notebook, tmp_path):
    done = run("pytest", "--nbval", notebook, folder=ROOT / folder if folder else tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"^\.+ +\[100%\]$", done.stdout, re.MULTILINE)


def test_pytest_runs_from_any_folder(tmp_path):
    done = run("pytest", ROOT / "tests/test_lacking.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


# nbdev


def test_no_chapter_sends_its_own_process_a_signal():
    "nbdev-test runs chapters within its own workers: a signal would end them all."
    sent = {}
    for path in sorted((ROOT / "nbs").glob("*/**/*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            shown = cell.cell_type == "code" and not cell.source.startswith("#| export")
            bare = re.sub(
                r'""".*?"""', "", cell.source, flags=re.DOTALL
            )  # what another process is given to run
            if shown and re.search(r"raise_signal|os\.kill|pthread_kill|os\.abort|_exit\(", bare):
                sent[path.name] = cell.source
    assert not sent


def test_nbdev_test_leaves_the_experiments_out():
    "They would write into the user's store, or fail where it is empty."
    done = run("nbdev-test", "nbs/experiments", folder=ROOT)
    assert done.returncode == 0 and "No files were eligible for testing" in done.stdout, done.stdout


def test_nbdev_test_runs_chapters_from_any_folder(tmp_path):
    "The chapter that once ended the workers among them."
    chapters = "0[0-1]_|84_"
    done = run("nbdev-test", ROOT / "nbs/lib", "--file-re", chapters, folder=tmp_path, **os.environ)
    assert done.returncode == 0 and "Success." in done.stdout, done.stdout[-3000:]
