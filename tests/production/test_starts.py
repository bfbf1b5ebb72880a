"What each image starts, started from its own lock in a place of its own: health answers, a decision is served."

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from images import IMAGES, Image, build_image, build_wheel
from processes import find_free_port

from rumos_bank.data.contract import EXAMPLE_CLIENT

pytestmark = pytest.mark.containers
PORTS = {"mlflow": ("MLFLOW", 5000), "service": ("API", 5001), "dashboard": ("DASHBOARD", 5002)}
HOSTS = {"mlflow": "RUMOS_MLFLOW_HOST", "service": "RUMOS_API_HOST", "dashboard": "RUMOS_DESK_HOST"}
TREES, OTHERS = "Decision_tree", "logistic_reg"  # with a plain form, and without one


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> dict[str, Image]:
    place = tmp_path_factory.mktemp("images")
    wheel = build_wheel(place)
    for name in IMAGES:
        (place / name).mkdir()
    return {name: build_image(name, place / name, wheel) for name in IMAGES}


def run_quick_pipeline(
    runner: Image, place: Path, family: str, **more: str
) -> tuple[dict[str, str], subprocess.CompletedProcess]:
    "A quick pipeline run in a fresh store, as docker-compose.yaml makes it, and where the services find it."
    places = {"RUMOS_STORE_PATH": str(place / "mlruns"), "RUMOS_STORE_REPORTS": str(place / "reports")}
    places |= {"RUMOS_DATA_CACHE": str(place / "cache"), "RUMOS_DATA_SOURCES": "twin"}
    signing = places | {"RUMOS_LEDGER_FOLDER": str(place / "ledger")} | more
    pipeline_run = [*runner.command, "--profile", "quick", "--families", family]
    done = runner.run(*pipeline_run, **signing)
    key = runner.run(str(runner.python.with_name("rumos")), "ledger", "key", **signing)
    (place / "public").mkdir()
    (place / "public" / "public.hex").write_text(key.stdout)
    again = runner.run(*pipeline_run, **signing)
    assert "is the champion already: nothing is run" in again.stdout, again.stdout + again.stderr
    return places | {"RUMOS_LEDGER_FOLDER": str(place / "public")}, done


@pytest.fixture(scope="module")
def places(images, tmp_path_factory) -> dict[str, str]:
    found, done = run_quick_pipeline(images["runner"], tmp_path_factory.mktemp("store"), TREES)
    assert done.returncode == 0 and "Champion:" in done.stdout, done.stdout + done.stderr
    return found


@contextmanager
def started(
    image: Image, places: dict[str, str], **more: str
) -> Iterator[tuple[int, subprocess.Popen, Path]]:
    "The image's command behind the loopback, until its own check of health passes; nothing of it is written to."
    name, usual = PORTS[image.name]
    port, before, log = find_free_port(), image.scan(), image.folder / "log"
    own = {f"RUMOS_PORTS_{name}": str(port), HOSTS[image.name]: "0.0.0.0", "RUMOS_BEHIND_LOOPBACK": "1"}
    environment = image.environment(**places | own | more)
    with log.open("wb") as output:
        process = subprocess.Popen(
            image.command,
            cwd=image.home,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 180
        while image.run(*image.health(usual, port)).returncode:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.5)
        yield port, process, log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    assert image.scan() == before, "something was written into the image"


def ask(port: int, path: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    asked = Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urlopen(asked, timeout=60) as answer:
        return answer.read()


def test_the_service_decides_and_loads_neither_mlflow_nor_scikit_learn(images, places):
    with started(images["service"], places) as (port, process, log):
        answer = json.loads(ask(port, "/decisions?explain=true", EXAMPLE_CLIENT))
        assert answer["model_version"] == 1 and 0 < answer["probability"] < 1
        assert b"rumos_decisions" in ask(port, "/metrics")
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert "/numpy/" in loaded and "/sklearn/" not in loaded and "/scipy/" not in loaded
        assert "RUMOS_BEHIND_LOOPBACK=1" in log.read_text(), "the exemption is reported at the start"


def test_a_champion_without_a_portable_form_is_served_too(images, tmp_path):
    found, done = run_quick_pipeline(
        images["runner"], tmp_path, OTHERS, RUMOS_GATES_MAX_MONOTONE_VIOLATIONS="1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with started(images["service"], found) as (port, process, _):
        answer = json.loads(ask(port, "/decisions", EXAMPLE_CLIENT))
        assert answer["model_version"] == 1
        assert "/sklearn/" in Path(f"/proc/{process.pid}/maps").read_text()


def test_the_desk_shows_its_page(images, places):
    with started(images["dashboard"], places) as (port, _, log):
        page = ask(port, "/").decode()
        assert "Rumos Bank" in page and "sorry" not in page, log.read_text()


def test_mlflow_knows_the_champion(images, places):
    with started(images["mlflow"], places) as (port, _, _log):
        path = "/api/2.0/mlflow/registered-models/alias?name=rumos_lending&alias=champion"
        assert json.loads(ask(port, path))["model_version"]["version"] == "1"


@pytest.mark.parametrize("name", PORTS)
def test_without_the_exemption_no_service_opens_to_a_network(images, places, name):
    image = images[name]
    done = image.run(*image.command, **places | {HOSTS[name]: "0.0.0.0"})
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{HOSTS[name].split('_')[1].lower()}] host" in done.stderr


def test_who_serves_cannot_sign(images, places):
    image = images["mlflow"]
    done = image.run(str(image.python.with_name("rumos")), "ledger", "accept", "for a test", **places)
    assert done.returncode == 2 and "only its holder may write" in done.stderr
