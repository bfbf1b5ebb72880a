"""What every benchmark reports: ours beside an alternative, as a ratio. These machines are noisy; an absolute time means little.

A script offers `measure(asked)`, which yields a `Ratio` as soon as it is known, and ends with `run(__doc__, measure, …)`: it
then understands `--brief` (smaller and fewer rounds, for a comparison with the record) and `--json FILE`.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import read_settings
from rumos_bank.serving.batch import count_cores
from rumos_bank.serving.champion import Champion

RUMOS = (sys.executable, "-c", "from rumos_bank.operations.cli import main; main()")
CORES = count_cores()


@dataclass(frozen=True)
class Ratio:
    "One line of the table."

    what: str  # is measured
    beside: str  # what it is compared with
    ours: float
    theirs: float
    unit: str  # of both; less is better
    aim: float | None = None  # the most that the ratio may be; None: reported, not promised
    steady: bool = True  # whether it may be compared with the record on another day
    note: str = ""  # of this run alone: how it spread, what was counted beside it

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    def __str__(self) -> str:
        aim = "" if self.aim is None else f", aim ≤ {self.aim:g}"
        known = f"{self.ours:,.4g} and {self.theirs:,.4g} {self.unit}{aim}"
        return f"{self.what} / {self.beside}: {self.ratio:.3g} ({known}){self.note and '; ' + self.note}"


def read_ratios(known: list[dict[str, Any]]) -> list[Ratio]:
    "As a script or the record wrote them."
    return [Ratio(**each) for each in known]


def describe_machine() -> str:
    "What the numbers depend on."
    from importlib.metadata import version

    names = ("scikit-learn", "lightgbm", "pyarrow", "fastapi", "mlflow", "distributed")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    memory = psutil.virtual_memory().total / 2**30
    return f"{platform.machine()}, {CORES} cores, {memory:.0f} GiB, Python {platform.python_version()}, {packages}"


def tree_seconds(process: psutil.Process) -> float:
    "CPU seconds of a process and of all that it has started."
    every = [process, *process.children(recursive=True)]
    return sum(each.cpu_times().user + each.cpu_times().system for each in every)


def keep_files(folder: str, names: list[str]) -> list[str]:
    "Of a cache: what was downloaded, not the folders beside it."
    return [name for name in names if (Path(folder) / name).is_dir()]


@contextmanager
def a_champion() -> Iterator[str]:
    "The store that the settings name, or, without a champion there, one of a quick pipeline run on synthetic clients; and the champion."
    with tempfile.TemporaryDirectory() as place:
        os.environ["RUMOS_AUDIT_FOLDER"] = f"{place}/decisions"  # benchmarks decide about no real client
        try:
            champion = Champion.load(read_settings())
        except StoreError:
            print("There is no champion: a quick pipeline run on synthetic clients makes one …", flush=True)
            names = ("store_path", "store_reports", "ledger_folder", "data_cache")
            ours = {f"RUMOS_{name.upper()}": f"{place}/{name}" for name in names}
            if (cache := read_settings().cache_path).exists():  # downloads stay; this champion does not
                shutil.copytree(cache, ours["RUMOS_DATA_CACHE"], ignore=keep_files)
            os.environ |= ours
            words = ("run", "--profile", "quick", "--families", "LightGBM")
            twin = os.environ | {"RUMOS_DATA_SOURCES": "twin"}
            done = subprocess.run([*RUMOS, *words], env=twin, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr) from None
            champion = Champion.load(read_settings())
        yield f"{champion.family}, version {champion.version}"


def run(
    doc: str,
    measure: Callable[[argparse.Namespace], Iterator[Ratio]],
    options: Callable[[argparse.ArgumentParser], Any] = lambda parser: None,
    needs_champion: bool = True,
) -> None:
    "A script's main."
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brief", action="store_true", help="smaller, with fewer rounds")
    parser.add_argument("--json", type=Path, help="also write the ratios to this file")
    options(parser)
    asked = parser.parse_args()
    print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", flush=True)
    known = []
    with a_champion() if needs_champion else nullcontext():
        for each in measure(asked):
            print(each, flush=True)
            known.append(asdict(each))
    if asked.json:
        asked.json.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
