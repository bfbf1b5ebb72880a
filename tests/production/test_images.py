"The Dockerfile, the locks and the compose files, read as they stand."

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from images import IMAGES, ROOT, SERVICES, read_pins, read_stages
from lacking import skip_without

from rumos_bank.governance.integrity import REVISION
from rumos_bank.ground.errors import SettingsError
from rumos_bank.ground.settings import PACKAGED, read_settings

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
DOCUMENTED = [ROOT / name for name in (*COMPOSE, "Makefile")] + [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
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
def test_an_image_runs_as_a_numbered_user_and_reports_its_health(image):
    words = STAGES[image]
    assert words[0][1].startswith("base AS"), "not from a stage with tools to build"
    assert dict(STAGES["base"])["USER"] == "1000:1000" and not any(word == "USER" for word, _ in words)
    health = dict(words)["HEALTHCHECK"]
    assert health == "NONE" if image == "runner" else "python" in health


def test_an_image_knows_its_commit_where_a_pipeline_run_reads_it():
    base = STAGES["base"]
    assert ("ARG", "REVISION=unknown") in base and ("RUN", f'echo "${{REVISION}}" > {REVISION}') in base
    assert dict(base)["WORKDIR"] == "/app", "the folder of settings.ini"
    built = [service["build"]["args"] for service in COMPOSE["docker-compose.yaml"]["services"].values()]
    assert built == [{"REVISION": "${REVISION:-unknown}"}] * len(IMAGES)
    makefile = (ROOT / "Makefile").read_text()
    (local,) = re.findall(r'REVISION="\$\$\((git [^)]+)\)" docker compose build', makefile)
    if (ROOT / ".git").exists():
        known = subprocess.run(shlex.split(local), cwd=ROOT, capture_output=True, text=True).stdout
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?\n", known)


def test_nothing_is_fetched_but_packages_with_hashes():
    everything = [line for words in STAGES.values() for line in words]
    assert not [rest for word, rest in everything if word == "ADD"]
    for image in IMAGES:
        stage = [rest for word, rest in STAGES[f"build-{image}"] if word != "FROM"]
        lock = f"containers/{image}.lock"
        assert stage == [f"{lock} /src/{lock}", f"sh /src/containers/install.sh {image}"]
    script = (ROOT / "containers" / "install.sh").read_text().splitlines()
    fetched = [rest for word, rest in everything if word == "RUN" and "pip install" in rest]
    fetched += [line for line in script if "pip install" in line]
    assert len(fetched) == 3 and "set -eu" in script
    for line in fetched:
        for words in re.findall(r"pip install ([^&]*)", line):
            assert "--require-hashes" in words or "--no-deps" in words


def test_what_the_dockerfile_copies_is_sent_to_it():
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        rest for words in STAGES.values() for word, rest in words if word == "COPY" and "--from" not in rest
    ]
    sources = [source for rest in copied for source in rest.split()[:-1]]
    assert len(sources) > 10
    for source in sources:
        assert (ROOT / source).exists() and any(fnmatch(source, pattern) for pattern in sent), source


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_of_an_image_is_a_part_of_the_one_lock(lock):
    whole, part = read_pins(ROOT / "requirements.lock"), read_pins(ROOT / "containers" / f"{lock}.lock")
    assert part and all(versions <= whole[name] for name, versions in part.items())


def test_a_lock_holds_what_its_group_asks_for():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for image in (*SERVICES, "build"):
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
    assert service["mem_limit"] and service["pids_limit"]
    assert 0 < service["cpus"] <= 2  # an engine refuses more than the machine has
    assert not service.get("privileged") and service.get("network_mode") != "host"


@pytest.mark.parametrize("place", OURS, ids="-".join)
def test_ours_read_the_banks_settings_and_keep_what_they_fetched(place):
    file, name = place
    service = OURS[place]
    if name in ("pod", "proxy", "database"):
        return
    assert "./settings.ini:/app/settings.ini:ro" in service["volumes"]
    folder = service["environment"]["RUMOS_DATA_CACHE"]
    assert f"cache:{folder}" in service["volumes"], "a champion kept in memory is gone after a restart"
    assert "cache" in COMPOSE[file]["volumes"]
    named = [volume.split(":")[1] for volume in service["volumes"] if re.match(r"[\w-]+:", volume)]
    made = next(rest for word, rest in STAGES["base"] if word == "RUN").split()
    assert set(named) <= set(made), "the image makes the folder, so that its user may write there"


def test_on_one_machine_ports_are_published_on_the_loopback_only():
    published = [
        port
        for service in COMPOSE["docker-compose.yaml"]["services"].values()
        for port in service.get("ports", [])
    ]
    assert sorted(published) == [f"127.0.0.1:{port}:{port}" for port in (5000, 5001, 5002)]


def test_in_production_only_the_proxys_port_is_published_and_nothing_is_exempted():
    services = COMPOSE["docker-compose.prod.yaml"]["services"]
    assert [service["ports"] for service in services.values() if service.get("ports")] == [["443:8443"]]
    assert set(re.findall(r"listen (\d+)", (ROOT / "containers" / "nginx.conf").read_text())) == {"8443"}
    assert "RUMOS_BEHIND_LOOPBACK" not in (ROOT / "docker-compose.prod.yaml").read_text()


def test_in_production_the_network_of_proxy_and_services_outlives_them():
    services = COMPOSE["docker-compose.prod.yaml"]["services"]
    sharing = {name: service for name, service in services.items() if "network_mode" in service}
    assert len(sharing) == 4 and "proxy" in sharing
    for service in sharing.values():
        assert service["network_mode"] == "service:pod" and service["depends_on"]["pod"]["restart"] is True
    owner = services["pod"]
    assert owner["command"] == ["sleep", "infinity"] and owner["restart"] == "unless-stopped"
    assert not owner.keys() & {"volumes", "secrets", "environment", "depends_on"}, "nothing to fail over"


def test_in_production_no_secret_stands_in_an_environment_and_images_are_named_by_variables():
    for name, service in COMPOSE["docker-compose.prod.yaml"]["services"].items():
        assert service["image"].startswith("${"), name
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("_FILE"), f"{name}: {key}={value}"


def test_what_a_shell_exports_for_compose_is_taken_by_our_commands_too():
    set_or_read = re.compile(r"\$\{(?=RUMOS)(\w+)|\b(RUMOS_\w+)=")
    named = {
        "".join(names): path.name for path in DOCUMENTED for names in set_or_read.findall(path.read_text())
    }
    assert len(named) > 5
    for name, where in named.items():
        try:
            read_settings(PACKAGED, environ={name: ""})
        except SettingsError as error:
            assert "unknown variable" not in str(error), f"{where}: {error}"


@pytest.mark.parametrize("place", OURS, ids="-".join)
def test_a_container_is_given_variables_that_our_commands_know(place):
    given = {name: "" for name in OURS[place].get("environment", {}) if name.startswith("RUMOS_")}
    try:
        read_settings(PACKAGED, environ=given)
    except SettingsError as error:
        assert "unknown variable" not in str(error)


@pytest.mark.parametrize("file", COMPOSE)
def test_only_the_pipeline_has_the_key_that_signs(file):
    for name, service in COMPOSE[file]["services"].items():
        folders = [
            volume.split(":")[1] for volume in service.get("volumes", []) if volume.startswith("ledger")
        ]
        assert ("/ledger" in folders) == (name == "rumos-pipeline")
        if name in ("lending-prediction-service", "lending-prediction-ui"):
            assert "ledger-public:/ledger-public:ro" in service["volumes"]
