"""How the record of decisions grows: 10 thousand, 1 million and 10 million cases, and what looking one up costs at each size.

python benchmarks/growth_cases.py --write   # also writes reports/record/growth.md (about ten minutes on two cores)

Cases of files are written as `rumos predict` writes them (without deciding them), and cases decided one by one as the API
writes them. A look-up is the first one of a new process; its imports are not counted, and neither is the operating
system's cache emptied. The exponent is the slope between the last two sizes on logarithmic scales: 0 does not grow, 1 grows
with the record.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from ratios import a_champion, describe_machine

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Decided
from rumos_bank.governance.references import read_references
from rumos_bank.ground.settings import Costs, Settings, read_settings
from rumos_bank.operations.backup import write_backup
from rumos_bank.serving.case_parts import Shared, make_ids, make_part
from rumos_bank.serving.cases import open_cases
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import CaseFolder, DecisionLog, list_days, list_folders

CHUNK, SEEN = 50_000, [name for name in CLIENT_COLUMNS if name not in ("SEX", "MARRIAGE", "AGE")]
TIMED = """
import sys, time, json
from pathlib import Path
import numpy, pyarrow.parquet, orjson, sqlite3
from rumos_bank.ground.settings import read_settings
from rumos_bank.serving.cases import Query, find_by_reference, find_case, list_cases
id_, reference = sys.argv[1:]
settings = read_settings()
took = {}
for name, work in (
    ("id", lambda: find_case(settings, id_)),
    ("reference", lambda: find_by_reference(settings, reference)),
    ("page", lambda: list_cases(settings, Query(), 50)),
):
    start = time.process_time()
    found = work()
    took[name] = 1000 * (time.process_time() - start)
    if name == "reference":
        assert id_ in found, found
print(json.dumps(took))
"""
LOOK = """
import sys, time
from rumos_bank.ground.settings import read_settings
from rumos_bank.monitoring.monitor import Monitor
settings = read_settings()
monitor, start = Monitor(settings), time.process_time()
seen = monitor.scan(sys.argv[1], sys.argv[1])
print(1000 * (time.process_time() - start), seen.clients)
"""


def settings_in(root: Path) -> Settings:
    "The champion's store, with record, keys of references and cache below a folder of our own."
    os.environ |= {"RUMOS_AUDIT_FOLDER": str(root / "decisions"), "RUMOS_DATA_CACHE": str(root / "cache")}
    return read_settings()


def look(day: str, times: int = 1) -> float:
    "CPU milliseconds of the monitor's first look at one day in a new process."
    runs = [subprocess.check_output([sys.executable, "-c", LOOK, day]).split() for _ in range(times)]
    assert all(int(clients) for _, clients in runs)
    return statistics.median(float(took) for took, _ in runs)


def write_files(settings: Settings, n: int) -> tuple[str, str]:
    "Cases of files of a million clients at most, as one day's batches; the id and the reference of one in the middle."
    clients = make_synthetic_clients(CHUNK, seed=7)
    fields = {name: clients[name].to_numpy() for name in SEEN}
    references, log = read_references(settings), DecisionLog(settings)
    rng, wanted, champion = np.random.default_rng(1), ("", ""), Champion.load(settings)
    model = {"version": champion.version, "digest": champion.digest}
    for first in range(0, n, 1_000_000):
        segment = f"202611{1 + first // 1_000_000 % 28:02}-{first // 1_000_000:08x}"
        now = datetime(2026, 11, 1 + first // 1_000_000 % 28, tzinfo=UTC).isoformat()
        costs = Costs().model_dump()
        shared = Shared(segment, now, "cli", "file", model, 0.25, costs)
        folder = CaseFolder(log, shared)
        for number, start in enumerate(range(first, min(first + 1_000_000, n), CHUNK)):
            rows = min(CHUNK, n - start)
            known = [references.hide(f"client {start + each}") for each in range(rows)]
            used = {name: rng.permutation(values[:rows]) for name, values in fields.items()}
            part = make_part(shared, np.arange(rows), used, rng.random(rows), np.zeros(rows, bool), known)
            folder.write(number, *part)
            if start <= n // 2 < start + rows:
                wanted = make_ids(segment, number, 1, n // 2 - start)[0], f"client {n // 2}"
    return wanted


def write_lines(settings: Settings, n: int) -> tuple[str, str]:
    "Cases decided one by one; the id and the reference of one in the middle."
    log, wanted, champion = DecisionLog(settings), ("", ""), Champion.load(settings)
    model = {"version": champion.version, "digest": champion.digest}
    asked = make_synthetic_clients(CHUNK, seed=7)[SEEN].to_dict("records")
    answer = {"prediction": 1, "probability": 0.4, "threshold": 0.25, "refer": False, "model_version": 1}
    for start in range(0, n, 1000):
        known = log.describe([f"client {start + each}" for each in range(1000)], "api")
        entries = [
            Decided(
                caller="key", answer=answer, model=model, input=asked[(start + at) % CHUNK], **about
            ).to_dict()
            for at, about in enumerate(known)
        ]
        ids = log.append_many(entries)
        if start <= n // 2 < start + 1000:
            wanted = ids[n // 2 - start], f"client {n // 2}"
    log.close()
    return wanted


def measure(write: object, n: int, repeat: int) -> dict[str, float]:
    "What a record of this size costs."
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        settings = settings_in(root)
        id_, reference = write(settings, n)  # type: ignore[operator]
        size = sum(path.stat().st_size for path in settings.audit_path.rglob("*") if path.is_file())
        start = time.process_time()
        with open_cases(settings):
            pass
        indexed = time.process_time() - start
        runs = [
            json.loads(subprocess.check_output([sys.executable, "-c", TIMED, id_, reference]))
            for _ in range(repeat)
        ]
        took = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        day = min(
            path.name[:8] for path in (*list_days(settings.audit_path), *list_folders(settings.audit_path))
        )
        first, again = look(day), look(day, repeat)
        whole, more = (back_up(settings, root / "backups", later) for later in (False, True))
        return {"bytes": size / n, "index": indexed, **took} | {
            **{"look": first, "restart": again, "backup": whole, "incremental": more}
        }


def back_up(settings: Settings, folder: Path, later: bool) -> float:
    "Megabytes that a backup writes; a later one leaves out what the first one has."
    return write_backup(settings, folder, incremental=later).path.stat().st_size / 1e6


def find_exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    "The slope between the last two sizes, on logarithmic scales."
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


NAMES = {
    "id": "look-up by id, CPU ms",
    "reference": "look-up by reference, CPU ms",
    "page": "the newest 50 cases, CPU ms",
    "look": "the monitor's first look at one day (a million cases at most), CPU ms",
    "restart": "the same look after a restart, CPU ms",
    "backup": "a whole backup, MB",
    "incremental": "an incremental backup after it, MB",
    "index": "first listing of the whole record, CPU s",
    "bytes": "bytes on disk per case, with a reference",
}


def write_table(found: dict[str, dict[int, dict[str, float]]]) -> str:
    "For people, in Markdown."
    lines = ["# Growth of the record", "", (__doc__ or "").split("\n\n")[2].replace("\n", " "), ""]
    lines += [f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine()}.", ""]
    for title, by_size in found.items():
        sizes = list(by_size)
        lines += [f"## {title}", "", f"| | {' | '.join(f'{n:,}' for n in sizes)} | exponent |"]
        lines += [f"|---|{'--:|' * (len(sizes) + 1)}"]
        for name, words in NAMES.items():
            values = [by_size[n][name] for n in sizes]
            shown = " | ".join(f"{value:,.3g}" for value in values)
            lines.append(f"| {words} | {shown} | {find_exponent(sizes, values):.2f} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,1000000,10000000", help="of files' cases")
    parser.add_argument("--lines", default="10000,100000,1000000", help="of cases decided one by one")
    parser.add_argument("--repeat", type=int, default=5, help="look-ups, each in a process of its own")
    parser.add_argument("--write", action="store_true", help="write reports/record/growth.md")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[str, dict[int, dict[str, float]]] = {}
    with a_champion():
        for title, write, sizes in (
            ("Cases of files", write_files, asked.sizes),
            ("Cases decided one by one", write_lines, asked.lines),
        ):
            for n in map(int, sizes.split(",")):
                found.setdefault(title, {})[n] = measure(write, n, asked.repeat)
                rounded = {name: round(value, 2) for name, value in found[title][n].items()}
                print(title, f"{n:,}", rounded, flush=True)
    table = write_table(found)
    print(table)
    if asked.write:
        (Path(__file__).parents[1] / "reports/record/growth.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
