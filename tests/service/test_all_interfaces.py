"The same clients through every interface: the same decisions, to the last bit."

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import ROOT, RUMOS
from services import settings_of, variables_of

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.sources import split_clients
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.desk.state import open_desk
from rumos_bank.governance.tracking import import_mlflow
from rumos_bank.ground.settings import read_settings
from rumos_bank.serving.champion import Champion

ANSWERS = ("prediction", "probability", "threshold", "expected_cost_accept", "expected_cost_refuse")


@pytest.fixture(scope="module")
def clients() -> pd.DataFrame:
    "As many as the test clients: 6,000."
    synthetic = make_synthetic_clients(30_000, seed=7)
    _, test = split_clients(synthetic, read_settings(ROOT / "settings.ini", environ={}).split)
    return test[["ID", *CLIENT_COLUMNS]].reset_index(drop=True)


@pytest.fixture(scope="module")
def champion(promoted) -> Champion:
    return Champion.load(promoted.settings)


@pytest.fixture(scope="module")
def expected(champion, clients) -> pd.DataFrame:
    "The decisions of the library."
    return champion.decide(clients)[list(ANSWERS)]


def places_of(folder: Path) -> dict[str, str]:
    "A folder for the log of an interface whose store must stay as it is."
    return {"RUMOS_AUDIT_FOLDER": str(folder / "decisions"), "RUMOS_DATA_CACHE": str(folder / "cache")}


def environment_of(store: Path, folder: Path) -> dict[str, str]:
    return variables_of(store, PYTHONPATH=str(ROOT), PATH="/usr/bin:/bin", **places_of(folder))


def require_same(answers: pd.DataFrame, expected: pd.DataFrame, tolerance: float = 0) -> None:
    assert len(answers) == len(expected) == 6000
    assert answers["prediction"].tolist() == expected["prediction"].tolist()
    for name in ANSWERS:
        given, known = answers[name].to_numpy(float), expected[name].to_numpy(float)
        assert (np.abs(given - known) <= tolerance * np.abs(known)).all(), name


def test_the_library_answers_the_same_for_dicts_and_for_frames(champion, clients, expected):
    records = clients[list(CLIENT_COLUMNS)].to_dict("records")
    one_by_one = pd.DataFrame([champion.decide(client).to_dict() for client in records])
    require_same(one_by_one, expected)
    assert 0 < expected["prediction"].mean() < 1


def test_the_api_answers_the_same(service, clients, expected):
    records = json.loads(clients[list(CLIENT_COLUMNS)].to_json(orient="records"))
    answers = [
        answer
        for start in range(0, len(records), 1000)
        for answer in service.post("/decisions", records[start : start + 1000]).json
    ]
    require_same(pd.DataFrame(answers), expected)
    some = [service.post("/default_prediction", record).json["prediction"] for record in records[:200]]
    assert some == expected["prediction"][:200].tolist()


def test_the_desk_answers_the_same_for_a_file(promoted, clients, expected, tmp_path):
    desk = open_desk(settings_of(promoted.store.path, **places_of(tmp_path)))
    desk.take_file("clients.csv", clients.to_csv(index=False).encode())
    require_same(desk.decide_file().answers, expected)


def test_the_desk_answers_the_same_for_one_client(promoted, clients, expected, tmp_path):
    desk = open_desk(settings_of(promoted.store.path, **places_of(tmp_path)))
    for number, client in enumerate(clients[list(CLIENT_COLUMNS)].head(200).to_dict("records")):
        desk.fill(client)
        known = desk.decision.to_dict()
        assert {name: known[name] for name in ANSWERS} == expected.iloc[number].to_dict()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".xlsx"])
def test_the_command_line_answers_the_same(promoted, clients, expected, tmp_path, ending):
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    write = {".parquet": clients.to_parquet, ".xlsx": clients.to_excel}.get(ending, clients.to_csv)
    write(source, index=False)
    done = subprocess.run(
        [*RUMOS, "predict", str(source), str(target)],
        env=environment_of(promoted.store.path, tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "6,000 read = 6,000 scored + 0 rejected" in done.stdout
    read = {".parquet": pd.read_parquet, ".xlsx": pd.read_excel}.get(ending)
    answers = read(target) if read else pd.read_csv(target, float_precision="round_trip")
    assert answers["ID"].tolist() == clients["ID"].tolist()
    require_same(answers, expected, tolerance=1e-15 if ending == ".xlsx" else 0)  # a sheet keeps 16 digits


def test_one_client_on_the_command_line(promoted, clients, expected, tmp_path):
    environment = environment_of(promoted.store.path, tmp_path)
    client = json.dumps({name: int(value) for name, value in clients.iloc[5][list(CLIENT_COLUMNS)].items()})
    done = subprocess.run(
        [*RUMOS, "predict", "--json", client], env=environment, capture_output=True, text=True, timeout=60
    )
    answer = json.loads(done.stdout)
    assert {name: answer[name] for name in ANSWERS} == expected.iloc[5].to_dict()


def test_plain_mlflow_answers_the_same(promoted, clients, expected):
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(promoted.store.uri)
    model = mlflow.pyfunc.load_model(f"models:/{promoted.store.registered_model}@champion")
    assert np.array_equal(model.predict(clients[list(CLIENT_COLUMNS)]), expected["prediction"])
