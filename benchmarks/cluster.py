"""Files of clients on a Dask cluster: what a second worker saves, and how time grows with the book.

Every worker is a process of one thread of this machine. Rounds are interleaved (one worker, two, the machine's own
threads, and again), each begins when the machine is idle or patience ends, and the fastest counts, because whatever else
the machine does only makes a round slower. Beside it stand the share of the cores that other programs had in that round, and
the CPU time of all our processes together, which a busy machine changes less. Seconds are those of the whole run: plan,
digest of the input, durable parts, manifest, entry in the log. Starting the processes, which takes the same for a book of
any size, is told apart.

    python benchmarks/cluster.py                                  # 250,000, 1 and 4 million twin clients
    python benchmarks/cluster.py --rows 250000 --repeat 1 --json table.json
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import distributed
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import LocalCluster

from rumos_bank.batch import Engine, predict_file, run_on_threads
from rumos_bank.champion import Champion
from rumos_bank.cluster import run_on_dask
from rumos_bank.settings import read_settings
from rumos_bank.tables import CHUNK_ROWS
from rumos_bank.twin import twin_chunks

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WAYS = ("1 worker", "2 workers", "threads")


class Round(NamedTuple):
    seconds: float  # on the clock
    used: float  # seconds of all cores, ours
    others: float  # share of all cores that other programs had


# Books


def make_book(path: Path, rows: int) -> Path:
    "Twin clients in row groups of a chunk; one chunk is made, and written as often as it takes."
    table = pa.Table.from_pandas(
        next(twin_chunks(CHUNK_ROWS, seed=1, chunk=CHUNK_ROWS)), preserve_index=False
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        for start in range(0, rows, CHUNK_ROWS):
            writer.write_table(table.slice(0, min(CHUNK_ROWS, rows - start)))
    return path


def parts(folder: Path) -> list[str]:
    "Names that tell the content."
    return sorted(path.name for path in folder.glob("part-*.parquet"))


# Clocks


def busy() -> float:
    "Seconds that the cores have worked since the machine started."
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0) - getattr(times, "guest", 0)


def ours() -> float:
    "Seconds that this process and its workers have worked."
    this = psutil.Process()
    every = [this.cpu_times(), *(child.cpu_times() for child in this.children(recursive=True))]
    return sum(each.user + each.system for each in every)


def wait_until_idle(patience: float) -> None:
    end = time.monotonic() + patience
    while psutil.cpu_percent(1.5) > 10 and time.monotonic() < end:
        pass


def time_run(champion: Champion, book: Path, target: Path, engine: Engine) -> Round:
    start, before, all_before = time.perf_counter(), ours(), busy()
    predict_file(book, target, SETTINGS, champion=champion, engine=engine)
    seconds, used = time.perf_counter() - start, ours() - before
    return Round(seconds, used, max(0.0, busy() - all_before - used) / (seconds * CORES))


# Rounds


@contextmanager
def cluster_of(workers: int) -> Iterator[str]:
    "The address of a cluster of so many workers of one thread."
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


def measure(
    champion: Champion, folder: Path, sizes: list[int], repeat: int, patience: float
) -> dict[tuple[str, int], list[Round]]:
    "Every round, by way and size. The clusters stay, and have seen the champion before they are timed."
    books = {rows: make_book(folder / f"{rows}.parquet", rows) for rows in sizes}
    taken: dict[tuple[str, int], list[Round]] = {(way, rows): [] for way in WAYS for rows in sizes}
    few = make_book(folder / "few.parquet", 1000)
    with cluster_of(1) as one, cluster_of(2) as two:
        engines = dict(zip(WAYS, (run_on_dask(one), run_on_dask(two), run_on_threads)))
        for way, engine in engines.items():
            predict_file(few, folder / f"few {way}.parquet", SETTINGS, champion=champion, engine=engine)
        for turn in range(repeat):
            for rows, book in books.items():
                outputs = [folder / f"{turn} {rows} {way}.parquet" for way in WAYS]
                for way, output in zip(WAYS, outputs):
                    wait_until_idle(patience)
                    taken[way, rows].append(time_run(champion, book, output, engines[way]))
                assert len({tuple(parts(output)) for output in outputs}) == 1, "the engines' bits differ"
    return taken


def summarise(taken: dict[tuple[str, int], list[Round]], start: Round, family: str) -> dict:
    "What is worth keeping."
    best = {key: min(rounds) for key, rounds in taken.items()}
    table = [
        {
            "engine": way,
            "rows": rows,
            "seconds": round(each.seconds, 2),
            "rows_per_second": round(rows / each.seconds),
            "cpu_seconds_per_million": round(each.used / rows * 1e6, 2),
            "share_of_other_programs": round(each.others, 2),
            "slowest_round_over_this": round(max(taken[way, rows]).seconds / each.seconds, 2),
        }
        for (way, rows), each in best.items()
    ]
    sizes = sorted({rows for _, rows in best})
    speed_up = {
        rows: round(best["1 worker", rows].seconds / best["2 workers", rows].seconds, 2) for rows in sizes
    }
    versions = f"Python {platform.python_version()}, distributed {distributed.__version__}"
    return {
        "machine": f"{platform.machine()}, {CORES} cores, {versions}",
        "family": family,
        "seconds_to_start_two_workers": round(start.seconds, 1),
        "two_workers_over_one": speed_up,
        "table": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="250000,1000000,4000000", help="sizes of the book, with commas")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for an idle machine (30)")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    chosen = parser.parse_args()
    champion = Champion.load(SETTINGS)
    sizes = [int(rows) for rows in chosen.rows.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken = measure(champion, folder, sizes, chosen.repeat, chosen.patience)
        wait_until_idle(chosen.patience)
        start = time_run(champion, folder / "few.parquet", folder / "start.parquet", run_on_dask(workers=2))
        told = json.dumps(summarise(taken, start, champion.family), indent=1)
    print(told)
    if chosen.json:
        chosen.json.write_text(f"{told}\n")


if __name__ == "__main__":
    SETTINGS = read_settings()
    main()
