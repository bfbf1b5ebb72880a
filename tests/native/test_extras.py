"A part whose packages are not installed names the command that installs them, and shows no traceback."

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from processes import ROOT, clean_environment

from rumos_bank.ground.errors import EXTRAS, PackageError, require_extra

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_extra_is_known_by_the_modules_that_it_brings():
    assert EXTRAS.keys() == PROJECT["optional-dependencies"].keys()
    brought = packages_distributions()
    for extra, modules in EXTRAS.items():
        require_extra(extra, "this test")  # all are installed here
        wanted = {
            canonicalize_name(Requirement(each).name) for each in PROJECT["optional-dependencies"][extra]
        }
        assert all(wanted & set(map(canonicalize_name, brought[module])) for module in modules)


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_named_with_its_command(extra, monkeypatch):
    for module in EXTRAS[extra]:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(PackageError) as raised:
                require_extra(extra, "the part", otherwise="leave it out")
        assert str(raised.value) == (
            f"the part needs {module}, which is not installed: "
            f'run pip install "rumos_bank[{extra}]", or leave it out'
        )


COMMANDS = {
    "fastapi": ("api", "serve", "api"),
    "uvicorn": ("api", "serve", "all"),
    "voila": ("desk", "serve", "dashboard"),
    "ipywidgets": ("desk", "serve", "all"),
    "psycopg": ("postgres", "serve", "mlflow"),
}


@pytest.mark.parametrize("hidden", COMMANDS)
def test_a_command_without_its_extra_is_one_sentence(hidden, tmp_path):
    extra, *words = COMMANDS[hidden]
    script = (
        f"import sys; sys.modules[{hidden!r}] = None; sys.argv = ['rumos', *{words!r}]\n"
        "from rumos_bank.operations.cli import main; main()"
    )
    ours = {"RUMOS_STORE_PATH": str(tmp_path / "store"), "RUMOS_LEDGER_FOLDER": str(tmp_path / "keys")}
    if extra == "postgres":
        ours["RUMOS_STORE_DATABASE"] = "postgresql+psycopg://mlflow@127.0.0.1:1/mlflow"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=clean_environment() | ours | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert f'run pip install "rumos_bank[{extra}]"' in done.stderr and "Traceback" not in done.stderr
