"What surrounds the library: Makefile, command line, packages, attribution, and the wheel outside the repository."

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest
import typer
import yaml
from processes import clean_environment, end_process, find_free_port, wait_until
from typer.testing import CliRunner

import rumos_bank
from rumos_bank.operations.cli import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = sorted(typer.main.get_command(app).commands)
CLEAN = clean_environment()


def run_python(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=CLEAN | environment, capture_output=True, text=True)


# Makefile and command line


def test_make_help_lists_every_target():
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    explained = dict(re.findall(r"^  ([a-z-]+) +(\S.+)$", shown, re.MULTILINE))
    assert set(explained) == set(phony.split())


def test_the_first_commands_of_the_front_page_are_targets():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^## A first look\n.+?```shell\n(.+?)```", readme, re.MULTILINE | re.DOTALL)
    targets = re.findall(r"^make (\w+)", shown, re.MULTILINE)
    assert targets == ["run", "serve"] and len(shown.splitlines()) == 2
    for target in targets:
        assert re.search(rf"^{target}: ", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_itself_with_an_example(command):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0 and re.search(rf"Example:.*\brumos\s+{command}\b", shown.output, re.DOTALL)


def test_help_loads_nothing_heavy(tmp_path):
    script = (
        "import sys; sys.argv = ['rumos', '--help']\n"
        "from rumos_bank.operations.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print('LOADED', *sys.modules)"
    )
    done = run_python("-c", script, folder=tmp_path, PYTHONPATH=str(ROOT))
    loaded = set(done.stdout.partition("LOADED")[2].split())
    assert "rumos_bank.operations.cli" in loaded, done.stderr
    assert not {"mlflow", "numpy", "pandas", "sklearn", "pydantic", "lightgbm", "matplotlib"} & loaded


# Packages


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock() -> dict[str, str]:
    "Package → its entry: version, marker, hashes."
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([A-Za-z0-9._-]+)(==.*(?:\n +.*)*)", text, re.MULTILINE)
    return {plain(name): entry for name, entry in entries}


def test_the_lock_holds_every_required_package():
    from packaging.requirements import Requirement

    project, lock = PROJECT["project"], read_lock()
    required = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
        *(each for group in PROJECT["dependency-groups"].values() for each in group if isinstance(each, str)),
        *PROJECT["build-system"]["requires"],
    ]
    assert len(required) > 30
    for requirement in map(Requirement, required):
        version = re.match(r"==([^\s;\\]+)", lock.get(plain(requirement.name), ""))
        assert version, f"{requirement.name} is not in requirements.lock: run make lock"
        assert requirement.specifier.contains(version[1]), (
            f"{requirement} is locked at {version[1]}: run make lock"
        )


def test_everything_in_the_lock_is_held_by_hashes():
    lock = read_lock()
    assert len(lock) > 100
    assert not [name for name, entry in lock.items() if "--hash=sha256:" not in entry]


def test_conda_gives_python_and_the_lock_gives_the_packages():
    described = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    assert described["name"] == "rumos_bank" and described["channels"] == ["conda-forge"]
    python, pip, by_pip = described["dependencies"]
    assert re.fullmatch(r"python=3\.1[123]", python) and pip == "pip"
    assert by_pip == {"pip": ["--require-hashes", "-r requirements.lock"]}


def test_the_version_is_written_once():
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "rumos_bank/__init__.py"
    assert f"## {rumos_bank.__version__} — " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_continuous_integration_may_be_run_by_hand():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert "\nmake check test\n" in script.read_text(encoding="utf-8")


# Attribution


@pytest.mark.parametrize("name", ["NOTICE", "README.md"])
def test_the_data_set_is_attributed(name):
    text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    for word in (
        "Default of Credit Card Clients",
        "Yeh",
        "Lien",
        "2009",
        "CC BY 4.0",
        "10.24432/C55S3H",
        "synthetic",
    ):
        assert word in text


def test_the_licence_is_the_one_that_the_package_names():
    assert PROJECT["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_every_link_of_the_front_page_leads_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", readme)
    local = [link or source for link, source in targets if not (link or source).startswith("https://")]
    assert len(local) > 20 and not [name for name in local if not (ROOT / name).exists()]


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = run_python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), folder=ROOT)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    "A folder with the contents of the wheel, to be found before the repository, and an empty working folder."
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "elsewhere").mkdir()
    return folder


def test_the_wheel_holds_library_assets_and_attribution(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    notes = f"rumos_bank-{rumos_bank.__version__}.dist-info"
    assets = {path for path in (ROOT / "rumos_bank/assets").rglob("*") if path.is_file()}
    assert {
        path.relative_to(ROOT).as_posix() for path in assets
    } <= held  # the templates of all pages among them
    assert {
        "rumos_bank/operations/cli.py",
        "rumos_bank/py.typed",
        "rumos_bank/assets/voila/dashboard.ipynb",
    } <= held
    assert {f"{notes}/licenses/LICENSE", f"{notes}/licenses/NOTICE", f"{notes}/entry_points.txt"} <= held
    assert all(name.startswith(("rumos_bank/", notes)) for name in held)


OUTSIDE = """
import pandas as pd
import rumos_bank
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, TARGET
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.ground.settings import PACKAGED, find_settings, read_settings
from rumos_bank.data.synthetic import make_synthetic_clients

settings = read_settings()
assert find_settings() == PACKAGED and settings.costs.false_negative == 3000
clients, family = make_synthetic_clients(1000, seed=1), find_family("Decision_tree")
tree = make_decision(make_model(family, family.trials[0], seed=1), 0.25, settings.costs)
tree.fit(clients[list(CLIENT_COLUMNS)], clients[TARGET])
(refused,) = tree.predict(pd.DataFrame([EXAMPLE_CLIENT]))
assert refused in (0, 1)
print(rumos_bank.__file__)
"""


def test_the_wheel_works_outside_the_repository(installed):
    done = run_python("-c", OUTSIDE, folder=installed / "elsewhere", PYTHONPATH=str(installed / "site"))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == installed / "site/rumos_bank/__init__.py"


def test_the_command_of_the_wheel_explains_how_to_make_a_champion(installed, tmp_path):
    where = {
        "PYTHONPATH": str(installed / "site"),
        "RUMOS_STORE_PATH": str(tmp_path / "store"),
        "RUMOS_LEDGER_FOLDER": str(tmp_path / "keys"),
    }
    script = (
        "from rumos_bank.operations.cli import main; import sys; sys.argv = ['rumos', 'champion']; main()"
    )
    done = run_python("-c", script, folder=installed / "elsewhere", **where)
    assert done.returncode == 2, done.stderr
    assert "there is no champion yet" in done.stderr and "rumos run" in done.stderr
    assert "Traceback" not in done.stderr and not list((installed / "elsewhere").iterdir())


def test_the_wheel_serves_everything_from_any_folder(installed, tmp_path):
    ports = {name: find_free_port() for name in ("MLFLOW", "API", "DASHBOARD")}
    where = {f"RUMOS_PORTS_{name}": str(port) for name, port in ports.items()} | {
        "PYTHONPATH": str(installed / "site"),
        "PYTHONUNBUFFERED": "1",
        "RUMOS_STORE_PATH": str(tmp_path / "store"),
        "RUMOS_LEDGER_FOLDER": str(tmp_path / "keys"),
    }
    script = (
        "from rumos_bank.operations.cli import main; import sys; sys.argv = ['rumos', 'serve', 'all']; main()"
    )
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=installed / "elsewhere",
            env=CLEAN | where,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: log.read_text().count(" ready on ") == 3, 300, log)
        style = f"http://127.0.0.1:{ports['DASHBOARD']}/voila/templates/desk/static/desk.css"
        with urlopen(style, timeout=60) as served:
            assert b".card" in served.read()
    finally:
        end_process(process, 120)
    assert process.returncode == 0 and not list((installed / "elsewhere").iterdir()), log.read_text()
