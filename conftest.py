"""What pytest needs to know: about the notebooks, and about the machine."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, and a new one makes hypothesis' tables of characters first: neither is a failure. (Where CI is set,
# hypothesis knows so itself.)
if "CI" not in os.environ:
    settings.register_profile("people", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("people")

# No test signs with the user's key, whatever the user has exported
KEYS = tempfile.TemporaryDirectory(prefix="rumos-keys-")  # goes away with this process
os.environ["RUMOS_LEDGER_FOLDER"] = KEYS.name

# As on the road: one thread a process. Two OpenMP threads on a busy core wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """nbval takes a cell without an execution count for one that was never run, and `make sync` cleans the counts away
    (they change every time): whoever has outputs was run."""
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is not None and cell.get("outputs") and cell.get("execution_count") is None:
            cell["execution_count"] = 0


@pytest.fixture(scope="session")
def real():
    "The real data, from the first existing file or folder that RUMOS_DATA_SOURCES names."
    from rumos_bank.data.sources import load_dataset
    from rumos_bank.ground.settings import Settings

    named = [part.strip() for part in os.environ.get("RUMOS_DATA_SOURCES", "").replace("\n", ",").split(",")]
    local = [part for part in named if part and Path(part).exists()]
    if not local:
        pytest.skip("RUMOS_DATA_SOURCES names no existing file with the real data")
    return load_dataset(Settings(home=Path.cwd()), local[:1])
