"`from rumos_bank import …`: the names that it offers, and that asking for one loads no more than it needs."

import importlib
import inspect
import json
import subprocess
import sys

import pytest
from processes import ROOT, clean_environment

import rumos_bank

OFFERED = [
    "Champion",
    "Costs",
    "Decision",
    "DecisionModel",
    "FIELDS",
    "RumosError",
    "Settings",
    "business_cost",
    "decide_and_record",
    "explain",
    "find_family",
    "load_dataset",
    "make_synthetic_clients",
    "measure",
    "open_store",
    "predict_file",
    "read_ledger",
    "read_settings",
    "replay",
    "reproduce",
    "run_pipeline",
    "search",
    "validate_clients",
    "watch",
]


def list_loaded(code: str) -> set[str]:
    "The modules that a new Python has loaded after this code."
    script = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_the_names_are_pinned():
    assert rumos_bank.__all__ == OFFERED
    assert dir(rumos_bank) == sorted([*OFFERED, "__version__"])


@pytest.mark.parametrize("name", OFFERED)
def test_a_name_is_what_its_module_defines(name):
    module = importlib.import_module(f"rumos_bank.{rumos_bank._MODULES[name]}")
    offered = getattr(rumos_bank, name)
    assert offered is getattr(module, name)
    if callable(offered):
        assert offered.__module__ == module.__name__ and len(inspect.getdoc(offered).splitlines()[0]) > 15


def test_mypy_and_editors_see_the_same_names():
    "The imports under TYPE_CHECKING and the table agree."
    source = inspect.getsource(rumos_bank)
    block = source.partition("if TYPE_CHECKING:\n")[2].partition("\n\n")[0]
    seen: dict[str, object] = {}
    exec("\n".join(line.strip() for line in block.splitlines()), seen)
    assert sorted(seen.keys() - {"__builtins__"}) == OFFERED
    assert all(seen[name] is getattr(rumos_bank, name) for name in OFFERED)
    assert (ROOT / "rumos_bank/py.typed").is_file()


def test_importing_the_package_loads_nothing_else():
    "Hence `import rumos_bank` costs what a bare Python costs, and one file more."
    assert list_loaded("import rumos_bank") - list_loaded("pass") == {"rumos_bank"}


def test_asking_for_a_name_loads_its_module_alone():
    assert "rumos_bank.ground.errors" in list_loaded("from rumos_bank import RumosError")
    assert not {"numpy", "pydantic"} & list_loaded("from rumos_bank import RumosError")
    assert not {"numpy", "mlflow"} & list_loaded("from rumos_bank import read_settings")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ImportError, match="cannot import name 'Champions'"):
        exec("from rumos_bank import Champions")
    with pytest.raises(AttributeError, match="no attribute 'Champions'; it offers Champion, Costs, "):
        _ = rumos_bank.Champions


def test_the_docstring_names_what_is_internal():
    assert "internal" in rumos_bank.__doc__ and "from rumos_bank import Champion" in rumos_bank.__doc__
