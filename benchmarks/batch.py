"""Files of clients: `rumos_bank.serving.batch` beside the least that could be done.

The least is three things one after the other: read the Parquet file, let the bare booster score matrices that are
already made (on all cores), write the Parquet file with the answers. The batch does the same and checks, engineers,
decides, counts, hashes, writes durably and keeps a manifest. The aim is a ratio of at most 2. The other side is the usual
way, MLflow's pyfunc on one DataFrame after the other, timed on one chunk.

Each client is a case on record, with a reference of the bank's own. What that takes is measured beside the same batch
without the record (no parts, no ids, no references): at most 1.3 times the time, and at most 60 bytes a case.

At the end a batch in a process of its own is killed in the middle (kill -9) and taken up again; its parts must have the
content-addressed names of the undisturbed batch.

    python benchmarks/batch.py --rows 10000000 --picture memory.png
"""

import argparse
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from ratios import CORES, RUMOS, Ratio, run
from threadpoolctl import threadpool_limits

from rumos_bank.data.contract import CLIENT_COLUMNS, ID
from rumos_bank.data.places import CHUNK_ROWS
from rumos_bank.data.synthetic import synthetic_chunks
from rumos_bank.governance.tracking import import_mlflow, open_store
from rumos_bank.ground.settings import read_settings
from rumos_bank.model.features import feature_matrix
from rumos_bank.serving import batch
from rumos_bank.serving.batch import predict_file
from rumos_bank.serving.champion import Champion

REFERENCE = "account"  # column of the portfolio

Cost = tuple[
    float, float
]  # seconds on the clock; seconds of all cores together, which a busy machine changes less


def time_it(work: Callable[[], object]) -> Cost:
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def fastest(costs: list[Cost]) -> Cost:
    return min(clock for clock, _ in costs), min(cores for _, cores in costs)


def make_portfolio(path: Path, rows: int) -> None:
    writer = None
    for frame in synthetic_chunks(rows, seed=1, chunk=CHUNK_ROWS):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        accounts = pa.array(np.char.add("PT50-", (frame[ID] + 10**9).to_numpy().astype(str)))
        table = table.append_column(REFERENCE, accounts)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def read_tables(portfolio: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(portfolio) as file:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            yield pa.Table.from_batches([batch])


def write_bare(table: pa.Table, chunks: int, path: Path) -> None:
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(chunks):
            writer.write_table(table)


def measure_bare(champion: Champion, portfolio: Path, rows: int, folder: Path) -> dict[str, Cost]:
    "What each of the three takes."
    table = next(read_tables(portfolio))
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
        "bare Parquet read": time_it(lambda: sum(each.num_rows for each in read_tables(portfolio))),
        "bare booster on ready matrices": time_it(score),
        "bare Parquet write": time_it(lambda: write_bare(table, chunks, folder / "bare.parquet")),
    }


def time_pyfunc(portfolio: Path, rows: int) -> float:
    "Seconds for all rows, from those of one chunk."
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(open_store(SETTINGS).uri)
    usual = mlflow.pyfunc.load_model(f"models:/{SETTINGS.store.registered_model}@champion")
    frame = next(read_tables(portfolio)).select(list(CLIENT_COLUMNS)).to_pandas()
    with threadpool_limits(1):
        return fastest([time_it(lambda: usual.predict(frame)) for _ in range(2)])[1] * rows / len(frame)


def run_command(source: Path, target: Path) -> psutil.Popen:
    "As a person starts it, in a process of its own."
    words = ("predict", str(source), str(target), "--reference-column", REFERENCE)
    return psutil.Popen([*RUMOS, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def without_record() -> Iterator[None]:
    "A batch as it would be if its clients were no cases."
    kept = {name: getattr(batch, name) for name in ("make_part", "make_id_column")}
    try:
        batch.make_part = lambda *_: None
        batch.make_id_column = lambda _, __, n: pa.nulls(n, pa.string())
        yield
    finally:
        for name, function in kept.items():
            setattr(batch, name, function)


def measure_record(
    champion: Champion, portfolio: Path, rows: int, repeat: int, folder: Path
) -> Iterator[Ratio]:
    "What the record takes: time, with its share by steps left out, and bytes."
    target, bare, recorded, sizes = folder / "recorded.parquet", [], [], [0, 0]
    for _ in range(repeat):
        with without_record():
            bare.append(time_it(partial(predict_file, portfolio, target, SETTINGS, champion=champion)))
        shutil.rmtree(target)
        asked = {"champion": champion, "references": REFERENCE}
        recorded.append(time_it(partial(predict_file, portfolio, target, SETTINGS, **asked)))
        done = predict_file(portfolio, target, SETTINGS, **asked)  # finished: nothing is decided
        cases = SETTINGS.audit_path / done.segment
        sizes = [sum(path.stat().st_size for path in cases.glob(f"*.{kind}")) for kind in ("parquet", "refs")]
        shutil.rmtree(target)
        shutil.rmtree(cases)
    what, beside = f"{rows:,} clients with every one on record", "the same without a record"
    for which, unit in enumerate(("s", "CPU s")):
        yield Ratio(what, beside, fastest(recorded)[which], fastest(bare)[which], unit, 1.3)
    yield Ratio("a case on disk, with its reference", "60 bytes", sum(sizes) / rows, 60, "bytes", 1.0)
    yield Ratio("a case on disk, without", "60 bytes", sizes[0] / rows, 60, "bytes", 1.0)


def read_peak(process: psutil.Process) -> float:
    """MiB that the process ever held, by the kernel's own mark.

    `wait4` gives another number: it includes what the parent held when it started the process.
    """
    status = Path(f"/proc/{process.pid}/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 2**10


def watch_memory(source: Path, target: Path) -> tuple[list[float], float]:
    "MiB of resident memory, four times a second, from the first chunk to the end; and the most there ever was."
    process, memory, peak = run_command(source, target), [], 0.0
    while process.poll() is None:
        with suppress(psutil.Error, IndexError):  # a process that has just ended holds nothing
            peak = max(peak, read_peak(process))
            if list_parts(target):
                memory.append(process.memory_info().rss / 2**20)
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"the batch failed with code {process.returncode}")
    return [each for each in memory if each], peak


def list_parts(target: Path) -> list[str]:
    "Their names, which hold the hashes of their content."
    return sorted(path.name for path in target.glob("part-*.parquet"))


def kill_and_resume(source: Path, target: Path, parts: int) -> int:
    "Chunks that were there when the batch was killed; afterwards it is whole."
    process = run_command(source, target)
    while process.poll() is None and len(list_parts(target)) < parts // 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise SystemExit("the batch ended before it could be killed: use more rows")
    before = len(list_parts(target))
    if run_command(source, target).wait():
        raise SystemExit("the batch could not be resumed")
    return before


def draw_memory(memory: list[float], rows: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    plot, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(np.arange(len(memory)) / 4, memory, color="#1f5f8b")
    axes.axhline(1024, color="#b23a48", linestyle="--", linewidth=1)
    axes.text(0, 1010, "1 GiB", color="#b23a48", va="top")
    axes.set(ylim=(0, 1100), xlabel="seconds since the first part", ylabel="resident memory, MiB")
    axes.set_title(f"A batch of {rows:,} clients, Parquet to Parquet", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    plot.savefig(path, dpi=110)
    plt.close(plot)


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "Time, memory, and a kill."
    champion, rows, repeat = Champion.load(SETTINGS), asked.rows, asked.repeat
    if asked.brief:
        rows, repeat = min(rows, 500_000), 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        portfolio = folder / "portfolio.parquet"
        make_portfolio(portfolio, rows)
        rounds = []
        for turn in range(repeat):
            bare = measure_bare(champion, portfolio, rows, folder)
            target = folder / f"out-{turn}.parquet"
            taken = time_it(
                lambda target=target: predict_file(portfolio, target, SETTINGS, champion=champion)
            )
            rounds.append((bare, taken))
        parts = {label: fastest([bare[label] for bare, _ in rounds]) for label in rounds[0][0]}
        least = sum(clock for clock, _ in parts.values()), sum(cores for _, cores in parts.values())
        clock, cores = fastest([taken for _, taken in rounds])
        what, all_three = f"a file of {rows:,} clients, Parquet to Parquet", "bare booster, read and write"
        yield Ratio(what, all_three, clock, least[0], "s", 2.0)
        yield Ratio(what, all_three, cores, least[1], "CPU s", 2.0)
        for label, (_, used) in parts.items():  # shares of our own time: less is not better
            yield Ratio(label, what, used, cores, "CPU s", steady=False)
        yield Ratio(
            what, "pyfunc, a DataFrame a chunk, no file", cores, time_pyfunc(portfolio, rows), "CPU s"
        )
        memory, peak = watch_memory(portfolio, folder / "watched.parquet")
        yield Ratio("most resident memory of it", "1 GiB", peak, 1024, "MiB", 1.0)
        half = max(1, len(memory) // 2)
        later, earlier = max(memory[-half:]), max(memory[:half])
        yield Ratio(
            "most memory in its second half", "in its first half", later, earlier, "MiB", steady=False
        )
        yield from measure_record(champion, portfolio, rows, repeat, folder)
        if asked.picture:
            draw_memory(memory, rows, asked.picture)
        whole = list_parts(folder / "out-0.parquet")
        there = kill_and_resume(portfolio, folder / "killed.parquet", len(whole))
        assert list_parts(folder / "killed.parquet") == whole, "a batch that was killed and resumed differs"
        what, kept = "parts of a killed and resumed batch", f"{there} were there when it was killed"
        yield Ratio(what, "undisturbed, equal by name", len(whole), len(whole), "parts", note=kept)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000, help="synthetic clients, in whole 100,000")
    parser.add_argument("--repeat", type=int, default=3, help="rounds, of which the fastest counts")
    parser.add_argument("--picture", type=Path, help="draw resident memory into this file")


if __name__ == "__main__":
    SETTINGS = read_settings()
    run(__doc__, measure, add_options)
