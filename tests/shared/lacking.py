"Tests whose tool is not on this machine: skipped where people work, failed where CI could have installed it."

import os
from typing import NoReturn

import pytest


def skip_without(reason: str, by_root: bool = False) -> NoReturn:
    "`by_root`: the Makefile installs it for root only; everything else comes with the lock."
    if os.environ.get("CI") and (not by_root or os.geteuid() == 0):
        pytest.fail(f"{reason} (CI is set: it must be there)", pytrace=False)
    pytest.skip(reason)
