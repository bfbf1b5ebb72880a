"""Files of clients on a Dask cluster: what a second worker saves, and how time grows with the file.

Every worker is a process of one thread of this machine. Rounds are interleaved (one worker, two, the machine's own
threads, and again), each begins when the machine is idle or patience ends, and the fastest counts, because other programs
only make a round slower. Beside it stand the share of the cores that other programs had in that round, and
the CPU time of all our processes together, which a busy machine changes less. Seconds are those of the whole run: plan,
digest of the input, durable parts, manifest, entry in the log. Starting the processes, which takes the same for a file of
any size, is reported separately.

    python benchmarks/cluster.py                                  # 250,000, 1 and 4 million synthetic clients
    python benchmarks/cluster.py --rows 250000 --repeat 1
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import LocalCluster
from ratios import CORES, Ratio, run, tree_seconds

from rumos_bank.data.places import CHUNK_ROWS
from rumos_bank.data.synthetic import synthetic_chunks
from rumos_bank.ground.settings import read_settings
from rumos_bank.serving.batch import Engine, predict_file, run_on_threads
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.cluster import run_on_dask

WAYS = ("1 worker", "2 workers", "threads")


class Round(NamedTuple):
    seconds: float  # on the clock
    used: float  # seconds of all cores, ours
    others: float  # share of all cores that other programs had


# Files of clients


def make_portfolio(path: Path, rows: int) -> Path:
    "Synthetic clients in row groups of a chunk; one chunk is made, and written as often as it takes."
    table = pa.Table.from_pandas(
        next(synthetic_chunks(CHUNK_ROWS, seed=1, chunk=CHUNK_ROWS)), preserve_index=False
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        for start in range(0, rows, CHUNK_ROWS):
            writer.write_table(table.slice(0, min(CHUNK_ROWS, rows - start)))
    return path


def parts(folder: Path) -> list[str]:
    "The names of the parts, which hold the hashes of their content."
    return sorted(path.name for path in folder.glob("part-*.parquet"))


# Clocks


def busy() -> float:
    "Seconds that the cores have worked since the machine started."
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0) - getattr(times, "guest", 0)


def wait_until_idle(patience: float) -> None:
    end = time.monotonic() + patience
    while psutil.cpu_percent(1.5) > 10 and time.monotonic() < end:
        pass


def time_run(champion: Champion, portfolio: Path, target: Path, engine: Engine) -> Round:
    start, before, all_before = time.perf_counter(), tree_seconds(psutil.Process()), busy()
    predict_file(portfolio, target, SETTINGS, champion=champion, engine=engine)
    seconds, used = time.perf_counter() - start, tree_seconds(psutil.Process()) - before
    return Round(seconds, used, max(0.0, busy() - all_before - used) / (seconds * CORES))


# Rounds


@contextmanager
def cluster_of(workers: int) -> Iterator[str]:
    "The address of a cluster of so many workers of one thread."
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


def measure_rounds(
    champion: Champion, folder: Path, sizes: list[int], repeat: int, patience: float
) -> dict[tuple[str, int], list[Round]]:
    "Every round, by way and size. The clusters stay, and have seen the champion before they are timed."
    portfolios = {rows: make_portfolio(folder / f"{rows}.parquet", rows) for rows in sizes}
    taken: dict[tuple[str, int], list[Round]] = {(way, rows): [] for way in WAYS for rows in sizes}
    few = make_portfolio(folder / "few.parquet", 1000)
    with cluster_of(1) as one, cluster_of(2) as two:
        engines = dict(zip(WAYS, (run_on_dask(one), run_on_dask(two), run_on_threads)))
        for way, engine in engines.items():
            predict_file(few, folder / f"few {way}.parquet", SETTINGS, champion=champion, engine=engine)
        for turn in range(repeat):
            for rows, portfolio in portfolios.items():
                outputs = [folder / f"{turn} {rows} {way}.parquet" for way in WAYS]
                for way, output in zip(WAYS, outputs):
                    wait_until_idle(patience)
                    taken[way, rows].append(time_run(champion, portfolio, output, engines[way]))
                assert len({tuple(parts(output)) for output in outputs}) == 1, "the engines' bits differ"
    return taken


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "The fastest of the rounds, and for cost the one with the least CPU time."
    champion = Champion.load(SETTINGS)
    sizes = [250_000] if asked.brief else [int(rows) for rows in asked.rows.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taken = measure_rounds(champion, folder, sizes, 1 if asked.brief else asked.repeat, asked.patience)
        start = time_run(champion, folder / "few.parquet", folder / "start.parquet", run_on_dask(workers=2))
    clock = {key: min(rounds).seconds for key, rounds in taken.items()}
    used = {key: min(each.used for each in rounds) for key, rounds in taken.items()}
    for rows in sizes:
        what, aim = f"{rows:,} clients, two Dask workers", 1 / 1.6 if rows >= 1_000_000 else None
        yield Ratio(what, "one Dask worker", clock["2 workers", rows], clock["1 worker", rows], "s", aim)
        yield Ratio(what, "threads, no Dask", used["2 workers", rows], used["threads", rows], "CPU s")
    first, last = sizes[0], sizes[-1]
    if last > first:
        what, scale = f"a million of {last:,} clients, two Dask workers", 1e6
        ours, theirs = (used["2 workers", rows] / rows * scale for rows in (last, first))
        yield Ratio(what, f"a million of {first:,}", ours, theirs, "CPU s")
    yield Ratio("starting two workers", "a second", start.seconds, 1, "s, with a file of 1,000", steady=False)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", default="250000,1000000,4000000", help="sizes of the file, with commas")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--patience", type=float, default=5, help="seconds to wait for an idle machine (5)")


if __name__ == "__main__":
    SETTINGS = read_settings()
    run(__doc__, measure, add_options)
