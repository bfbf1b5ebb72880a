"""Files of clients on a Dask cluster: what a second worker saves, and how time and memory grow with the book.

Every worker is a process of one thread of this machine. Rounds are interleaved (one worker, two, the machine's own
threads, and again) and the fastest of each counts, because whatever else the machine does only ever makes it slower; the
spread of the rounds is told beside it. The time is that of the whole run: plan, digest of the input, durable parts,
manifest, entry in the log. Starting the processes, the same for a book of any size, is measured apart by a book of one
chunk; "per million" is what another million clients costs, without the start.

    python benchmarks/cluster.py                                  # 250,000, 1 and 4 million twin clients
    python benchmarks/cluster.py --rows 250000 --repeat 1 --json table.json
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import distributed
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


def time_run(champion: Champion, book: Path, target: Path, engine: Engine) -> float:
    start = time.perf_counter()
    predict_file(book, target, SETTINGS, champion=champion, engine=engine)
    return time.perf_counter() - start


def measure(
    champion: Champion, folder: Path, sizes: list[int], repeat: int
) -> dict[str, dict[int, list[float]]]:
    "Seconds of every round, by way and size. The clusters stay, and have seen the champion before they are timed."
    books = {rows: make_book(folder / f"{rows}.parquet", rows) for rows in sizes}
    taken: dict[str, dict[int, list[float]]] = {way: {rows: [] for rows in sizes} for way in WAYS}
    few = make_book(folder / "few.parquet", 1000)
    with cluster_of(1) as one, cluster_of(2) as two:
        engines = dict(zip(WAYS, (run_on_dask(one), run_on_dask(two), run_on_threads)))
        for way, engine in engines.items():
            predict_file(few, folder / f"few {way}.parquet", SETTINGS, champion=champion, engine=engine)
        for turn in range(repeat):
            for rows, book in books.items():
                outputs = [folder / f"{turn} {rows} {way}.parquet" for way in WAYS]
                for way, output in zip(WAYS, outputs):
                    taken[way][rows].append(time_run(champion, book, output, engines[way]))
                assert len({tuple(parts(output)) for output in outputs}) == 1, "the engines' bits differ"
    return taken


class cluster_of:
    "The address of a cluster of so many workers of one thread."

    def __init__(self, workers: int):
        self.workers = workers

    def __enter__(self) -> str:
        self.cluster = LocalCluster(
            n_workers=self.workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
        return self.cluster.scheduler_address

    def __exit__(self, *_: object) -> None:
        self.cluster.close()


def measure_start(champion: Champion, folder: Path) -> float:
    "Seconds of a run of one small chunk that starts its own cluster."
    return time_run(champion, folder / "few.parquet", folder / "start.parquet", run_on_dask(workers=2))


def summarise(taken: dict[str, dict[int, list[float]]], start: float, family: str) -> dict:
    "What is worth keeping."
    best = {way: {rows: min(times) for rows, times in by_rows.items()} for way, by_rows in taken.items()}
    table = [
        {
            "engine": way,
            "rows": rows,
            "seconds": round(seconds, 2),
            "rows_per_second": round(rows / seconds),
            "core_seconds_per_million": round(seconds * (1 if way == "1 worker" else 2) / rows * 1e6, 2),
            "slowest_over_fastest": round(max(taken[way][rows]) / seconds, 2),
        }
        for way, by_rows in best.items()
        for rows, seconds in by_rows.items()
    ]
    speed_up = {rows: round(best["1 worker"][rows] / best["2 workers"][rows], 2) for rows in best["1 worker"]}
    machine = f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}, distributed {distributed.__version__}"
    return {
        "machine": machine,
        "family": family,
        "seconds_to_start_two_workers": round(start, 1),
        "two_workers_over_one": speed_up,
        "table": table,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="250000,1000000,4000000", help="sizes of the book, with commas")
    parser.add_argument(
        "--repeat", type=int, default=3, help="rounds, of which the fastest counts (default 3)"
    )
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    chosen = parser.parse_args()
    champion = Champion.load(SETTINGS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken = measure(champion, folder, [int(rows) for rows in chosen.rows.split(",")], chosen.repeat)
        told = summarise(taken, measure_start(champion, folder), champion.family)
    print(json.dumps(told, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    SETTINGS = read_settings()
    main()
