"What may be released: a version with an honest changelog, packages without unexplained advisories, signed images."

import os
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

sys.path.append(str(Path(__file__).parent))
from audit import judge, read_accepted
from changelog import find_faults, find_release_faults, read_recorded_cost
from images import fill
from installed import find_differences, read_pins

ROOT = Path(__file__).parents[2]
OLD = "## 0.1.0 — 2026-11-01\n\n### Added\n\n- The pipeline.\n"
NEW = "# Changelog\n\n## 0.2.0 — 2026-12-01\n\n### Models\n\n- Another family.\n\n"
EUROS = "### Euros\n\n- In cross-validation 392.1 € per client before, 390.4 € per client after.\n\n"


# The changelog


def test_our_changelog_states_in_euros_what_models_changed():
    assert not find_faults((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_a_change_of_models_carries_euros_before_and_after():
    assert not find_faults(NEW + EUROS + OLD)
    for wanting in ("", "### Euros\n\n- It is better.\n\n", EUROS.replace(" before, 390.4 € per client", "")):
        assert find_faults(NEW + wanting + OLD) == [
            "0.2.0 changes models: ### Euros must state `… € per client` before and after"
        ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("# Changelog\n", "no entry"),
        (NEW + EUROS + OLD.replace("2026-11-01", "unreleased"), "0.1.0 has no date"),
        (OLD.replace("Added", "Improved"), "unknown kind 'Improved'"),
    ],
)
def test_a_changelog_that_cannot_be_read_is_reported(text, fault):
    assert any(fault in known for known in find_faults(text))


@pytest.mark.parametrize(
    ("version", "packaged", "cost", "fault"),
    [
        ("0.2.0", "0.2.0", "390.4", None),
        ("v0.2.0", "0.2.0", "390.4", "like 1.2.3"),
        ("", "0.2.0", "390.4", "like 1.2.3"),
        ("0.1.0", "0.1.0", "390.4", "the newest entry of CHANGELOG.md is 0.2.0"),
        ("0.2.0", "0.1.0", "390.4", "__init__.py has 0.1.0"),
        ("0.2.0", "0.2.0", "391.0", "the champion on record costs 391.0"),
    ],
)
def test_a_release_has_its_entry_its_version_and_the_euros_on_record(version, packaged, cost, fault):
    faults = find_release_faults(NEW + EUROS + OLD, version, packaged, cost)
    assert not faults if fault is None else any(fault in known for known in faults)


def test_what_is_unreleased_is_not_released():
    text = (NEW + EUROS + OLD).replace("2026-12-01", "unreleased")
    assert find_release_faults(text, "0.2.0", "0.2.0", "390.4") == [
        "the entry 0.2.0 is still unreleased: write the date"
    ]


def test_the_record_states_what_its_champion_costs():
    assert float(read_recorded_cost()) > 0


# Advisories

TODAY = date(2026, 12, 1)
ACCEPTED = '[[accepted]]\nid = "GHSA-1"\npackage = "a"\nreason = "never parsed here"\nsince = 2026-11-01\nuntil = 2026-12-31\n'
FOUND = {
    "name": "a",
    "version": "1",
    "vulns": [{"id": "CVE-1", "aliases": ["GHSA-1"], "fix_versions": ["2"]}],
}
CLEAN = {"name": "b", "version": "1", "vulns": []}


def test_an_advisory_is_repaired_or_explained():
    code, lines = judge({"dependencies": [FOUND, CLEAN]}, {})
    assert code == 1 and "a 1: CVE-1, fixed in 2" in lines[0]
    code, lines = judge({"dependencies": [FOUND, CLEAN]}, read_accepted(ACCEPTED, TODAY))
    assert code == 0 and "accepted, never parsed here" in lines[0]


def test_an_explanation_ends_by_itself():
    assert read_accepted(ACCEPTED, TODAY) and not read_accepted(ACCEPTED, date(2027, 1, 1))
    with pytest.raises(ValueError, match="longer than 90 days"):
        read_accepted(ACCEPTED.replace("2026-12-31", "2027-12-31"), TODAY)
    with pytest.raises(ValueError, match="lacks"):
        read_accepted(ACCEPTED.replace('reason = "never parsed here"', 'reason = " "'), TODAY)


@pytest.mark.parametrize("packages", [[], [CLEAN, {"name": "c", "skip_reason": "not found"}]])
def test_packages_that_could_not_be_looked_up_are_not_called_clean(packages):
    code, lines = judge({"dependencies": packages}, {})
    assert code == 2 and lines[-1].startswith("NOT AUDITED")


def test_our_own_explanations_are_whole():
    read_accepted((ROOT / "vulnerabilities.toml").read_text(encoding="utf-8"), date.today())


# Images

DOCKER = """#!/bin/sh
echo "docker $*" >> "$CALLS"
while [ $# -gt 0 ]; do [ "$1" = --metadata-file ] && printf '{\\n  "containerimage.digest": "sha256:%s"\\n}\\n' "${2##*/}" > "$2"; shift; done
"""
COSIGN = '#!/bin/sh\necho "cosign $*" >> "$CALLS"\n'


def test_every_image_is_pushed_with_its_papers_and_signed_by_its_digest(tmp_path):
    for name, script in {"docker": DOCKER, "cosign": COSIGN}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    known = tmp_path / "known"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(known)}
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    command = ["make", "publish", "REGISTRY=ghcr.io/Bank/Rumos", "TAG=v1.2.3"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = known.read_text().splitlines()
    pushed = [line for line in lines if "--push" in line]
    signed = [line for line in lines if line.startswith("cosign")]
    assert len(pushed) == len(signed) == 4
    assert all("--sbom=true" in line and "--provenance=mode=max" in line for line in pushed)
    assert (
        signed[1] == "cosign sign --yes ghcr.io/bank/rumos/service@sha256:service.json"
    )  # the digest that was pushed
    refused = subprocess.run(command[:2], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode and "REGISTRY=… TAG=…" in refused.stdout


def test_production_starts_what_the_pipeline_pushed():
    published = yaml.safe_load((ROOT / ".github/workflows/cicd.yaml").read_text())["jobs"]["publish"]["env"]
    assert published["REGISTRY"] == "ghcr.io/${{ github.repository }}"
    text = (ROOT / "docker-compose.prod.yaml").read_text()
    (head,) = re.findall(r"^# +export (.+?)   #", text, re.MULTILINE)
    given = dict(word.split("=") for word in head.split())
    assert re.fullmatch(r"ghcr\.io/[\w.-]+/[\w.-]+", given["REGISTRY"])
    assert re.fullmatch(r"v\d+\.\d+\.\d+", given["TAG"]), "the name of a tag that make release gives"
    services = yaml.safe_load(text)["services"].values()
    ours = [service["image"] for service in services if "REGISTRY" in service["image"]]
    pushed = [f"{given['REGISTRY']}/{name}:v1.2.3" for name in ("mlflow", "service", "dashboard", "runner")]
    assert [fill(image, given) for image in ours] == pushed
    for wanting in ("REGISTRY", "TAG"):
        with pytest.raises(KeyError, match=wanting):
            fill(ours[0], given | {wanting: ""})


# The environment


def test_a_package_of_another_version_is_reported():
    pins = read_pins(
        "pytest==0.1 \\\n    --hash=sha256:0\nnowhere==1 \\\nelsewhere==2 ; sys_platform == 'none' \\\n    --hash=sha256:0\n"
    )
    assert pins == {"pytest": "0.1", "nowhere": "1"}
    assert find_differences(pins) == [
        f"pytest is {pytest.__version__}, the lock has 0.1",
        "nowhere is missing, the lock has 1",
    ]
    assert not find_differences({"pytest": pytest.__version__})


def test_conda_takes_a_python_that_the_project_supports_and_asks_pip_for_the_lock_alone(tmp_path):
    described = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    assert set(described) <= {"name", "channels", "dependencies"}  # what conda's schema of this file knows
    supported = SpecifierSet(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    (python,) = (line for line in described["dependencies"] if str(line).startswith("python="))
    assert supported.contains(python.partition("=")[2] + ".0")
    # conda hands these lines to pip as a file that lies beside conda.yaml, so that the path in them is meant from there
    lines = described["dependencies"][-1]["pip"]
    named = [ROOT / line.removeprefix("-r ") for line in lines if line.startswith("-r ")]
    assert named == [ROOT / "requirements.lock"] and len(read_pins(named[0].read_text())) > 100
    assert all(line.startswith("-") for line in lines), "nothing but the lock"
