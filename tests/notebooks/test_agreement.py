"The notebooks are the source: what is made from them must be what is committed."

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import clean_environment

ROOT = Path(__file__).parents[2]
NEEDED = ("nbs", "rumos_bank", "reports/record", "Makefile", "pyproject.toml", "settings.ini", "README.md")
MADE = ("rumos_bank/**/*.py", "rumos_bank/assets/settings.ini", "nbs/**/*.ipynb", "README.md")


def _read_made(top: Path) -> dict[str, bytes]:
    "Everything that `make sync` writes, by path; which Python ran the front page last is left out."
    found = {path.relative_to(top).as_posix(): path for pattern in MADE for path in top.glob(pattern)}
    read = {name: path.read_bytes() for name, path in found.items() if ".ipynb_checkpoints" not in name}
    page = "nbs/index.ipynb"
    return read | {page: re.sub(rb'"version": "3\.[\d.]+"', b'"version": ""', read[page])}


def _copy(target: Path) -> None:
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=left_out)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, target / name)


def _sync(folder: Path) -> None:
    "`make sync` as a user calls it, with this Python instead of an installation of its own."
    ours = clean_environment()
    command = ["make", "-o", ".venv/.ready", "sync", f"BIN={Path(sys.executable).parent}"]
    environment = ours | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"make sync failed:\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def synced(tmp_path_factory):
    "A copy of the repository after `make sync`, with one notebook as Jupyter saves it after `Run All`."
    folder = tmp_path_factory.mktemp("agreement")
    _copy(folder)
    page = folder / "nbs/app/dashboard.ipynb"
    saved = json.loads(page.read_text(encoding="utf-8"))
    saved["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    page.write_text(json.dumps(saved), encoding="utf-8")
    _sync(folder)
    return folder


def test_notebooks_library_and_readme_agree(synced):
    committed, made = _read_made(ROOT), _read_made(synced)
    differ = sorted(name for name in committed.keys() | made.keys() if committed.get(name) != made.get(name))
    assert not differ, f"run make sync and look at what it changed: {', '.join(differ)}"


def test_every_module_comes_from_a_notebook():
    library, notebooks = ROOT / "rumos_bank", ROOT / "nbs" / "lib"
    modules = {path.relative_to(library).with_suffix("") for path in library.glob("*/[a-z]*.py")}
    exported = {Path(path.parent.name, path.stem[3:]) for path in notebooks.glob("*/*.ipynb")}
    assert modules == exported, (
        "each notebook nbs/lib/PACKAGE/NN_name.ipynb is the module PACKAGE.name, and there is no other"
    )
    assert {path.name for path in library.glob("*.py")} == {"__init__.py", "_modidx.py"}


def test_the_packaged_settings_are_those_at_the_top():
    packaged = ROOT / "rumos_bank/assets/settings.ini"
    assert packaged.read_bytes() == (ROOT / "settings.ini").read_bytes(), (
        "settings.ini changed: run make sync"
    )
