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
from ratios import describe_machine

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Decided
from rumos_bank.governance.references import read_references
from rumos_bank.ground.settings import Costs, DataSettings, LedgerSettings, Settings, StoreSettings
from rumos_bank.serving.case_parts import Shared, make_ids, make_part
from rumos_bank.serving.cases import open_cases
from rumos_bank.serving.decision_log import CaseFolder, DecisionLog

CHUNK, SEEN = 50_000, [name for name in CLIENT_COLUMNS if name not in ("SEX", "MARRIAGE", "AGE")]
TIMED = """
import sys, time, json
from pathlib import Path
import numpy, pyarrow.parquet, orjson, sqlite3
from rumos_bank.ground.settings import DataSettings, LedgerSettings, Settings, StoreSettings
from rumos_bank.serving.cases import Query, find_by_reference, find_case, list_cases
root, id_, reference = sys.argv[1:]
settings = Settings(
    store=StoreSettings(path=Path(root) / "store"),
    ledger=LedgerSettings(folder=Path(root) / "keys"),
    data=DataSettings(cache=str(Path(root) / "cache")),
)
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


def settings_in(root: Path) -> Settings:
    return Settings(
        store=StoreSettings(path=root / "store"),
        ledger=LedgerSettings(folder=root / "keys"),
        data=DataSettings(cache=str(root / "cache")),
    )


def write_files(settings: Settings, n: int) -> tuple[str, str]:
    "Cases of files of a million clients at most, as one day's batches; the id and the reference of one in the middle."
    clients = make_synthetic_clients(CHUNK, seed=7)
    fields = {name: clients[name].to_numpy() for name in SEEN}
    references, log = read_references(settings), DecisionLog(settings)
    rng, wanted = np.random.default_rng(1), ("", "")
    for first in range(0, n, 1_000_000):
        segment = f"202611{1 + first // 1_000_000 % 28:02}-{first // 1_000_000:08x}"
        now = datetime(2026, 11, 1 + first // 1_000_000 % 28, tzinfo=UTC).isoformat()
        costs = Costs().model_dump()
        shared = Shared(segment, now, "cli", "file", {"version": 1, "digest": "0" * 64}, 0.25, costs)
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
    log, wanted = DecisionLog(settings), ("", "")
    asked = make_synthetic_clients(CHUNK, seed=7)[SEEN].to_dict("records")
    answer = {"prediction": 1, "probability": 0.4, "threshold": 0.25, "refer": False, "model_version": 1}
    for start in range(0, n, 1000):
        known = log.describe([f"client {start + each}" for each in range(1000)], "api")
        entries = [
            Decided(
                caller="key", answer=answer, model={"version": 1}, input=asked[(start + at) % CHUNK], **about
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
            json.loads(subprocess.check_output([sys.executable, "-c", TIMED, str(root), id_, reference]))
            for _ in range(repeat)
        ]
        took = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        return {"bytes": size / n, "index": indexed, **took}


def find_exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    "The slope between the last two sizes, on logarithmic scales."
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


NAMES = {
    "id": "look-up by id, CPU ms",
    "reference": "look-up by reference, CPU ms",
    "page": "the newest 50 cases, CPU ms",
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
    for title, write, sizes in (
        ("Cases of files", write_files, asked.sizes),
        ("Cases decided one by one", write_lines, asked.lines),
    ):
        for n in map(int, sizes.split(",")):
            found.setdefault(title, {})[n] = measure(write, n, asked.repeat)
            print(
                title,
                f"{n:,}",
                {name: round(value, 2) for name, value in found[title][n].items()},
                flush=True,
            )
    table = write_table(found)
    print(table)
    if asked.write:
        (Path(__file__).parents[1] / "reports/record/growth.md").write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
