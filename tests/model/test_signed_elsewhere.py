"A store that the host began, as the containers of docker-compose.yaml meet it: they share the store and not the key."

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stores import Place, retired

from rumos_bank.governance.ledger import append_event, find_public_key
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import read_settings
from rumos_bank.serving.champion import Champion

sys.path.append(str(Path(__file__).parents[1] / "production"))
from images import ROOT, fill

SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]


@pytest.fixture
def checkout(promoted, tmp_path) -> Place:
    "A store in the checkout's folder, whose ledger the host's key has signed."
    place = promoted.copy_to(tmp_path / "checkout" / "mlruns")
    for name in ("ledger", "ledger-public"):
        (tmp_path / name).mkdir()  # the volumes
    return place


def inside(text: str, place: Place) -> str:
    "A line of the compose file with the places of this test in it."
    filled = fill(text, {"PWD": str(place.store.path.parent)})
    return filled.replace("/ledger", f"{place.store.path.parents[1]}/ledger")


def variables_of(name: str, place: Place, **exported: str) -> dict[str, str]:
    "What the compose file gives to this container; an empty one is passed on if the shell exports it."
    given = SERVICES[name]["environment"]
    known = {
        key: exported.get(key) if value is None else inside(str(value), place) for key, value in given.items()
    }
    return {key: value for key, value in known.items() if value is not None}


def run_pipeline(place: Place, **exported: str) -> subprocess.CompletedProcess:
    "The command of the pipeline's container."
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own |= {"HOME": str(place.store.path.parents[1]), "RUMOS_SETTINGS": str(ROOT / "settings.ini")}
    words = [inside(word, place) for word in SERVICES["rumos-pipeline"]["command"]]
    environment = own | variables_of("rumos-pipeline", place, **exported)
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)


def test_without_the_hosts_public_key_the_pipeline_gives_the_remedy(checkout):
    done = run_pipeline(checkout)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        "no public key is known here: set [ledger] public_key, which `rumos ledger key` shows" in done.stderr
    )


def test_with_the_hosts_public_key_the_services_serve_and_only_the_host_governs(checkout):
    key = find_public_key(checkout.settings)
    done = run_pipeline(checkout, RUMOS_LEDGER_PUBLIC_KEY=key)
    assert done.returncode == 0 and "is the champion already" in done.stdout, done.stderr
    for exported in ({"RUMOS_LEDGER_PUBLIC_KEY": key}, {}):  # a service finds it in the volume, too
        service = variables_of("lending-prediction-service", checkout, **exported)
        settings = read_settings(ROOT / "settings.ini", environ=service)
        assert find_public_key(settings) == key and Champion.load(settings).version == 1
    pipeline_run = variables_of("rumos-pipeline", checkout, RUMOS_LEDGER_PUBLIC_KEY=key)
    with pytest.raises(StoreError, match="only its holder may write"):
        append_event(read_settings(ROOT / "settings.ini", environ=pipeline_run), retired())
    append_event(checkout.settings, retired())
