"""What pytest needs to know: about the notebooks, and about the machine."""

import os

import pytest

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
