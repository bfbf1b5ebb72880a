"Champions, settings and clients for the tests of files."

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from portfolios import make_champion

from rumos_bank.data.contract import CLIENT_COLUMNS, ID
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.settings import Settings, read_settings
from rumos_bank.serving.champion import Champion

TOP = Path(__file__).parents[2] / "settings.ini"


@pytest.fixture(scope="session")
def champion() -> Champion:
    return make_champion(3, seed=3)


@pytest.fixture(scope="session")
def other_champion() -> Champion:
    return make_champion(4, seed=4)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return read_settings(TOP, environ={"RUMOS_STORE_PATH": str(tmp_path / "store")})


@pytest.fixture
def elsewhere(tmp_path) -> Callable[[str], Settings]:
    "Settings with a log of another name."

    def make(name: str) -> Settings:
        return read_settings(TOP, environ={"RUMOS_STORE_PATH": str(tmp_path / "logs" / name)})

    return make


@pytest.fixture
def portfolio() -> pd.DataFrame:
    "Fifty clients, with a column of the bank's own."
    made = make_synthetic_clients(50, seed=8)[[ID, *CLIENT_COLUMNS]]
    return made.assign(branch=[f"{number % 7:03}" for number in range(50)])


@pytest.fixture(scope="session")
def write() -> Callable[[pd.DataFrame, Path], Path]:
    def write_table(frame: pd.DataFrame, path: Path) -> Path:
        if path.name.endswith(".parquet"):
            frame.to_parquet(path, index=False)
        elif path.name.endswith(".xlsx"):
            frame.to_excel(path, index=False)
        else:
            frame.to_csv(path, index=False)
        return path

    return write_table
