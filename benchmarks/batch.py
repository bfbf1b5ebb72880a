"""Files of clients: `rumos_bank.batch` beside the least that could be done.

The least is three things one after the other: read the Parquet file, let the bare booster score matrices that are
already made (on all cores), write the Parquet file with the answers. The batch does the same and checks, engineers,
decides, counts, hashes, writes durably and keeps a manifest. The aim is a ratio of at most 2.

    python benchmarks/batch.py                         # 1,000,000 twin clients, the reigning champion
    python benchmarks/batch.py --rows 10000000 --csv   # the whole book, and once more as CSV
"""

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from rumos_bank.batch import predict_file
from rumos_bank.champion import Champion
from rumos_bank.clients import CLIENT_COLUMNS
from rumos_bank.features import feature_matrix
from rumos_bank.settings import read_settings
from rumos_bank.tables import CHUNK_ROWS
from rumos_bank.twin import twin_chunks

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Cost = tuple[
    float, float
]  # seconds on the clock; seconds of all cores together, which a busy machine changes less


def time_it(work: Callable[[], object]) -> Cost:
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def fastest(costs: list[Cost]) -> Cost:
    return min(clock for clock, _ in costs), min(cores for _, cores in costs)


def make_book(path: Path, rows: int) -> None:
    writer = None
    for frame in twin_chunks(rows, seed=1, chunk=CHUNK_ROWS):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def to_csv(book: Path, path: Path) -> None:
    with pq.ParquetFile(book) as file, pacsv.CSVWriter(path, file.schema_arrow) as writer:
        for batch in file.iter_batches():
            writer.write_batch(batch)


def read_tables(book: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(book) as file:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            yield pa.Table.from_batches([batch])


def write_bare(table: pa.Table, chunks: int, path: Path) -> None:
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(chunks):
            writer.write_table(table)


def measure_bare(champion: Champion, book: Path, rows: int, folder: Path) -> dict[str, Cost]:
    "What each of the three takes."
    table = next(read_tables(book))
    clients = np.column_stack([table[name].to_numpy() for name in CLIENT_COLUMNS]).astype(float)
    *steps, (_, booster) = champion.model.model_.steps
    matrix = feature_matrix(clients, champion.protected)
    for _, step in steps:
        matrix = np.asfortranarray(step.transform(matrix))  # by columns: twice as fast here as by rows
    answers = champion.score_columns(list(clients.T))
    for name, values in answers.items():
        table = table.append_column(name, pa.array(values))
    chunks = max(1, rows // CHUNK_ROWS)

    def score() -> None:
        with ThreadPoolExecutor(CORES, initializer=threadpool_limits, initargs=(1,)) as pool:
            list(pool.map(lambda _: booster.predict_proba(matrix), range(chunks)))

    return {
        "bare Parquet read": time_it(lambda: sum(each.num_rows for each in read_tables(book))),
        "bare booster on ready matrices": time_it(score),
        "bare Parquet write": time_it(lambda: write_bare(table, chunks, folder / "bare.parquet")),
    }


def resident() -> float:
    "MiB at this moment (Linux), or the most so far."
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_batch(champion: Champion, source: Path, target: Path) -> tuple[Cost, list[float]]:
    "What it takes, and resident memory after each chunk."
    memory: list[float] = []
    cost = time_it(
        lambda: predict_file(
            source, target, SETTINGS, tell=lambda *_: memory.append(resident()), champion=champion
        )
    )
    return cost, memory


def show(label: str, cost: Cost, rows: int, bare: Cost) -> None:
    clock, cores = cost
    rate, ratios = rows / clock, (clock / bare[0], cores / bare[1])
    print(
        f"{label:32} {clock:8.2f} s {rate:11,.0f} rows/s {ratios[0]:7.2f} × {cores:8.2f} CPU s {ratios[1]:7.2f} ×"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="twin clients, in whole 100,000 (default 1,000,000)"
    )
    parser.add_argument(
        "--repeat", type=int, default=3, help="rounds, of which the fastest counts (default 3)"
    )
    parser.add_argument("--csv", action="store_true", help="also measure CSV to CSV")
    chosen = parser.parse_args()
    champion = Champion.load(SETTINGS)
    print(
        f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}; {champion.family}, {chosen.rows:,} rows"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = folder / "book.parquet"
        make_book(book, chosen.rows)
        rounds = []
        for turn in range(chosen.repeat):
            bare = measure_bare(champion, book, chosen.rows, folder)
            rounds.append((bare, *measure_batch(champion, book, folder / f"out-{turn}.parquet")))
        parts = {label: fastest([bare[label] for bare, *_ in rounds]) for label in rounds[0][0]}
        least = sum(clock for clock, _ in parts.values()), sum(cores for _, cores in parts.values())
        taken_by_batch = fastest([taken for _, taken, _ in rounds])
        for label, taken in parts.items():
            show(label, taken, chosen.rows, least)
        show("all three", least, chosen.rows, least)
        show("batch, Parquet to Parquet", taken_by_batch, chosen.rows, least)
        if chosen.csv:
            to_csv(book, folder / "book.csv")
            show(
                "batch, CSV to CSV",
                measure_batch(champion, folder / "book.csv", folder / "out.csv")[0],
                chosen.rows,
                least,
            )
        memory = rounds[0][2]
        told = ", ".join(f"{memory[int(share * (len(memory) - 1))]:.0f}" for share in (0, 0.25, 0.5, 0.75, 1))
        print(
            f"resident memory of the first batch after 0, 25, 50, 75, 100 % of its chunks, MiB: {told}; most {max(memory):.0f}"
        )


if __name__ == "__main__":
    SETTINGS = read_settings()
    main()
