"A pipeline run, a champion and decisions whose MLflow tables lie in PostgreSQL."

import json
import subprocess
from importlib.util import find_spec

import pytest
from databases import PASSWORD, find_programs, run_postgres
from lacking import skip_without
from places import Place

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.governance.registry import UnreachableError, glance
from rumos_bank.governance.tracking import open_store
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import DATABASE, read_settings
from rumos_bank.serving.champion import Champion

FAMILIES = "Decision_tree"


@pytest.fixture(scope="module")
def database():
    if find_spec("psycopg") is None:
        skip_without("PostgreSQL's driver is not installed: rumos_bank[postgres]")
    programs = find_programs()
    if programs is None:
        skip_without("there is no PostgreSQL on this machine: make servers installs Debian's", by_root=True)
    with run_postgres(programs) as running:
        yield running


@pytest.fixture(scope="module")
def taken(database, tmp_path_factory) -> tuple[Place, subprocess.CompletedProcess]:
    "A quick pipeline run of one family on synthetic clients: the tables are the same for all."
    place = Place(tmp_path_factory.mktemp("postgres"))
    pipeline_run = ("run", "--profile", "quick", "--families", FAMILIES)
    return place, place.rumos(*pipeline_run, **database.settings)


def settings_of(place, database, **more):
    return read_settings(place.repository / "settings.ini", place.environment(**database.settings | more))


def test_a_pipeline_run_promotes_a_champion(taken, database):
    place, done = taken
    assert done.returncode == 0, done.stdout + done.stderr
    known = place.rumos("champion", **database.settings)
    assert "@champion is version 1" in known.stdout, known.stderr
    assert not (place.store / DATABASE).exists(), "the tables are in PostgreSQL, not in the folder"


def test_the_ledger_holds_and_the_champion_decides(taken, database):
    place, _ = taken
    assert place.rumos("ledger", "verify", **database.settings).returncode == 0
    answer = json.loads(
        place.rumos("predict", "--json", json.dumps(EXAMPLE_CLIENT), **database.settings).stdout
    )
    champion = Champion.load(settings_of(place, database))
    assert answer["model_version"] == champion.version == 1
    assert answer["probability"] == champion.decide(EXAMPLE_CLIENT).probability


def test_what_was_found_is_found_again(taken, database):
    place, _ = taken
    board = place.rumos("leaderboard", "--profile", "quick", **database.settings)
    assert all(family in board.stdout for family in FAMILIES.split(",")), board.stderr
    again = place.rumos("run", "--once", "--profile", "quick", **database.settings)
    assert (again.returncode, "is the champion already: nothing is run" in again.stdout) == (0, True), (
        again.stderr
    )


def test_the_password_is_written_nowhere(taken):
    place, done = taken
    quoted = "p%40ss"
    assert PASSWORD not in done.stdout + done.stderr and quoted not in done.stdout + done.stderr
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert len(files) > 30  # reports, artifacts, a ledger, a cache
    for path in files:
        content = path.read_bytes()
        assert PASSWORD.encode() not in content and quoted.encode() not in content, path


def test_another_folder_is_not_taken_for_the_one_that_the_database_was_made_for(taken, database, tmp_path):
    place, _ = taken
    settings = settings_of(place, database, RUMOS_STORE_PATH=str(tmp_path))
    with pytest.raises(StoreError, match="mount that folder under its own name"):
        open_store(settings)
    assert open_store(settings_of(place, database)).experiment_id


def test_a_wrong_password_is_reported_without_showing_it(taken, database, tmp_path):
    place, _ = taken
    (tmp_path / "wrong").write_text("not the password")
    settings = settings_of(place, database, RUMOS_STORE_DATABASE_PASSWORD_FILE=str(tmp_path / "wrong"))
    with pytest.raises(UnreachableError, match="does not answer") as known:
        glance(settings)
    assert "not the password" not in str(known.value) and "RUMOS_STORE_DATABASE_PASSWORD_FILE" in str(
        known.value
    )


def test_a_champion_goes_on_while_the_database_is_unreachable(taken, database):
    place, _ = taken
    champion = Champion.load(settings_of(place, database))
    unreachable = {"RUMOS_STORE_DATABASE": "postgresql+psycopg://mlflow@127.0.0.1:1/mlflow"}
    cached = Champion.load(read_settings(place.repository / "settings.ini", place.environment(**unreachable)))
    assert "does not answer" in cached.cached
    assert cached.decide(EXAMPLE_CLIENT) == champion.decide(EXAMPLE_CLIENT)
