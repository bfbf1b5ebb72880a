"""What pytest needs to know about the notebooks and about the machine."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, and a new one first builds hypothesis' tables of characters: neither is a failure. (In CI,
# hypothesis relaxes these limits itself.)
if "CI" not in os.environ:
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")

# No test signs with the user's key, whatever the user has exported
KEYS = tempfile.TemporaryDirectory(prefix="rumos-keys-")  # removed when this process ends
os.environ["RUMOS_LEDGER_FOLDER"] = KEYS.name

# One thread per process, as in a pipeline run: two OpenMP threads on a busy core wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


def pytest_configure(config):
    "Name nbval's file by its full path, so that pytest works from any folder."
    ours = str(Path(__file__).parent / "tests/nbval-sanitize.cfg")
    config.option.nbval_sanitize_with = getattr(config.option, "nbval_sanitize_with", None) or ours


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Give a cell with outputs an execution count.

    nbval takes a cell without one for a cell that was never run, and `make sync` removes the counts, which change at each run.
    """
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is not None and cell.get("outputs") and cell.get("execution_count") is None:
            cell["execution_count"] = 0


@pytest.fixture(scope="session")
def real():
    "The real data set, from the first existing file or folder that RUMOS_DATA_SOURCES names."
    from rumos_bank.data.sources import load_dataset
    from rumos_bank.ground.settings import Settings

    named = [part.strip() for part in os.environ.get("RUMOS_DATA_SOURCES", "").replace("\n", ",").split(",")]
    local = [part for part in named if part and Path(part).exists()]
    if not local:
        pytest.skip("RUMOS_DATA_SOURCES names no existing file with the real data")
    return load_dataset(Settings(home=Path.cwd()), local[:1])
