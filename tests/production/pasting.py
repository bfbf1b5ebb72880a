"Blocks of a page, pasted one after the other into one fresh shell, in a folder that looks like a clone."

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from pages import BLOCK, ROOT, RUN
from processes import clean_environment
from services import serve, variables_of
from stores import Place, log_tree

import rumos_bank.model.search as searching
from rumos_bank.governance.tracking import open_store
from rumos_bank.ground.settings import read_settings
from rumos_bank.operations.experiments import load_run_data

PORT = 5001  # of the API, as the pages write it
END = "END OF PYTHON"
MARK = "<<<"  # begins our own lines in what the shell prints


def make_bank(folder: Path) -> Place:
    "Return a store as a small pipeline run leaves it: two searches on synthetic clients, the first one promoted."
    settings = read_settings(ROOT / "settings.ini", variables_of(folder / "store", RUMOS_DATA_SOURCES="twin"))
    data = load_run_data(settings, searching.find_profile("quick"))
    place = Place(open_store(settings), settings, data, None)
    one_trial = searching.Profile("quick", 3000, 1)
    for family in ("HistGradientBoosting", "LightGBM"):
        found = searching.search(family, data.train, settings, one_trial)
        run = log_tree(place.store, settings, data, found, key=family, profile="quick")
        if family == "HistGradientBoosting":
            verdict = place.promote(run)
            assert verdict.state == "promoted", verdict
    return place


def make_clone(folder: Path) -> Path:
    "Return a folder with links to the repository's files, an environment to activate, and nothing that was made."
    clone = folder / "clone"
    clone.mkdir()
    for path in ROOT.iterdir():
        if path.name not in ("mlruns", "reports", ".venv", "_site", "_proc", "build"):
            (clone / path.name).symlink_to(path)
    if (Path(sys.prefix) / "bin" / "activate").is_file():
        (clone / ".venv").symlink_to(sys.prefix)
    else:  # an environment of conda, which has no script of its own
        (clone / ".venv" / "bin").mkdir(parents=True)
        (clone / ".venv" / "bin" / "activate").write_text(
            f'export PATH="{Path(sys.executable).parent}:$PATH"\n'
        )
    return clone


def write_script(text: str) -> tuple[str, int]:
    "Return what is typed: each block for a terminal as it is, each block of Python into an interpreter of its own."
    lines = [f"trap 'echo \"{MARK}FAILED $BASH_COMMAND\"' ERR", "set -o pipefail -o errtrace"]
    blocks = 0
    for indent, language, code in BLOCK.findall(text):
        code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        if language == RUN:
            lines += [f"echo; echo '{MARK}block {blocks}'", code]
        elif language == "python":
            lines += [f"echo; echo '{MARK}block {blocks}'", f"{sys.executable} - <<'{END}'\n{code}{END}"]
        else:
            continue
        blocks += 1
    return "\n".join(lines) + "\n", blocks


def paste(page: Path, bank: Place, folder: Path) -> list[str]:
    "Return what went wrong: each command that failed, with what was printed around it."
    text = page.read_text(encoding="utf-8")
    script, blocks = write_script(text)
    if not blocks:
        return []
    place, clone = bank.copy_to(folder / "store"), make_clone(folder)
    ours = variables_of(place.store.path, RUMOS_DATA_SOURCES="twin")
    ours |= {
        "RUMOS_STORE_REPORTS": str(folder / "reports"),
        "PYTHONPATH": str(ROOT),
        "CURL_HOME": str(folder),
    }
    bare = [part for part in os.environ["PATH"].split(":") if not (Path(part) / "rumos").exists()]
    environment = clean_environment() | ours | {"PATH": ":".join(bare)}
    environment.pop("VIRTUAL_ENV", None)
    asks = f"127.0.0.1:{PORT}" in script
    with serve(place.store.path, folder) if asks else nullcontext() as service:
        if service:  # the address stays as it is pasted; a refusal is a failure
            target = f"127.0.0.1:{PORT}:127.0.0.1:{service.port}"
            (folder / ".curlrc").write_text(f'connect-to = "{target}"\nfail-with-body\n')
        done = subprocess.run(
            ["bash", "-s"],
            input=script,
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
    output = done.stdout + done.stderr
    failed = [line for line in output.splitlines() if line.startswith(f"{MARK}FAILED")]
    started = len(re.findall(f"^{MARK}block", output, re.MULTILINE))
    if started != blocks:
        failed.append(f"{started} of {blocks} blocks were reached")
    return [*failed, output] if failed else []
