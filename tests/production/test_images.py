"The Dockerfile, the locks and the compose files, read as they stand."

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from images import DOORS, IMAGES, ROOT, read_pins, read_stages
from lacking import skip_without

STAGES = read_stages()
BIN = Path(sys.executable).parent
COMPOSE = {
    name: yaml.safe_load((ROOT / name).read_text())
    for name in ("docker-compose.yaml", "docker-compose.prod.yaml")
}
OURS = {
    (file, name): service
    for file, compose in COMPOSE.items()
    for name, service in compose["services"].items()
}
LOCKS = sorted(path.stem for path in (ROOT / "containers").glob("*.lock"))


def find_program(name: str) -> str:
    found = shutil.which(name, path=BIN) or shutil.which(name)
    if not found:
        skip_without(f"{name} is not installed: make installs it into .venv")
    return found


def test_the_checker_of_dockerfiles_finds_nothing():
    done = subprocess.run([find_program("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", COMPOSE)
def test_the_compose_files_follow_their_schema(file):
    words = (find_program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_stage_begins_with_the_pinned_base_or_another_stage():
    base = dict(STAGES[""])["ARG"]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.1[123]-slim-\w+@sha256:[0-9a-f]{64}", base)
    begun = {name: words[0][1].split()[0] for name, words in STAGES.items() if name}
    assert all(source == "${PYTHON_IMAGE}" or source in begun for source in begun.values())


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_numbered_user_and_says_how_it_is(image):
    words = STAGES[image]
    assert words[0][1].startswith("base AS"), "not from a stage with tools to build"
    assert dict(STAGES["base"])["USER"] == "1000:1000" and not any(word == "USER" for word, _ in words)
    health = dict(words)["HEALTHCHECK"]
    assert health == "NONE" if image == "runner" else "python" in health


def test_nothing_is_fetched_but_packages_with_hashes():
    everything = [line for words in STAGES.values() for line in words]
    assert not [rest for word, rest in everything if word == "ADD"]
    fetched = [rest for word, rest in everything if word == "RUN" and "pip install" in rest]
    assert len(fetched) == len(LOCKS)
    for line in fetched:
        for words in re.findall(r"pip install ([^&]*)", line):
            assert "--require-hashes" in words or "--no-deps" in words


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_of_an_image_is_a_part_of_the_one_lock(lock):
    whole, part = read_pins(ROOT / "requirements.lock"), read_pins(ROOT / "containers" / f"{lock}.lock")
    assert part and all(versions <= whole[name] for name, versions in part.items())


def test_a_lock_holds_what_its_group_asks_for():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for image in (*DOORS, "build"):
        asked = {line for line in groups[image] if isinstance(line, str)}
        asked |= set(groups["deciding"]) if image != "build" else set()
        names = {re.match(r"[\w-]+", line)[0] for line in asked}
        assert names <= read_pins(ROOT / "containers" / f"{image}.lock").keys(), "run make image-locks"


def test_the_service_holds_no_notebooks_and_no_mlflow():
    unwanted = {
        "mlflow",
        "papermill",
        "voila",
        "jupyterlab",
        "nbconvert",
        "ipykernel",
        "pandas",
        "matplotlib",
    }
    assert not unwanted & read_pins(ROOT / "containers" / "service.lock").keys()


@pytest.mark.parametrize("place", OURS, ids="-".join)
def test_a_service_is_hardened(place):
    service = OURS[place]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] and service["cpus"] and service["pids_limit"]
    assert not service.get("privileged") and service.get("network_mode") != "host"


def test_on_one_machine_ports_are_published_on_the_loopback_only():
    published = [
        port
        for service in COMPOSE["docker-compose.yaml"]["services"].values()
        for port in service.get("ports", [])
    ]
    assert sorted(published) == [f"127.0.0.1:{port}:{port}" for port in (5000, 5001, 5002)]


def test_in_production_only_the_proxy_is_published_and_nothing_is_exempted():
    services = COMPOSE["docker-compose.prod.yaml"]["services"]
    assert [name for name, service in services.items() if service.get("ports")] == ["proxy"]
    assert "RUMOS_BEHIND_LOOPBACK" not in (ROOT / "docker-compose.prod.yaml").read_text()


def test_in_production_no_secret_stands_in_an_environment_and_images_are_named_by_variables():
    for name, service in COMPOSE["docker-compose.prod.yaml"]["services"].items():
        assert service["image"].startswith("${"), name
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("_FILE"), f"{name}: {key}={value}"


@pytest.mark.parametrize("file", COMPOSE)
def test_only_the_road_has_the_key_that_signs(file):
    for name, service in COMPOSE[file]["services"].items():
        folders = [
            volume.split(":")[1] for volume in service.get("volumes", []) if volume.startswith("ledger")
        ]
        assert ("/ledger" in folders) == (name == "rumos-road")
        if name in ("lending-prediction-service", "lending-prediction-ui"):
            assert "ledger-public:/ledger-public:ro" in service["volumes"]
