"""Tables of clients: our reader beside the engines that could read them, in CPU seconds of all cores together.

CSV of 1,000,000 clients by 24 columns into Arrow, an .xlsx of 100,000 rows, Parquet, and the memory of a long CSV. What the
engines make of a bank's faulty files is another question: `engine_cases.py`, and decision 0027.

    python benchmarks/readers.py
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import openpyxl
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import python_calamine
import xlsxwriter
from ratios import Ratio, run

from rumos_bank.data.contract import CLIENT_COLUMNS, ID, find_good_rows
from rumos_bank.data.places import Selection
from rumos_bank.data.readers import open_source
from rumos_bank.data.synthetic import make_synthetic_clients

BLOCK = 2**23  # bytes of CSV


def make_clients(rows: int) -> pa.Table:
    "Synthetic clients, 30,000 of them again and again, with an ID of their own."
    frame = make_synthetic_clients(min(rows, 30_000), seed=1)[[ID, *CLIENT_COLUMNS]]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    whole = pa.concat_tables([table] * -(-rows // len(table))).slice(0, rows).combine_chunks()
    return whole.set_column(0, ID, pa.array(np.arange(1, rows + 1)))


def write_workbook(table: pa.Table, path: Path) -> None:
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, table.column_names)
        for number, row in enumerate(
            zip(*(column.to_pylist() for column in table.columns), strict=True), start=1
        ):
            sheet.write_row(number, 0, row)


def read_blocks(path: Path, kind: pa.DataType) -> int:
    "Blocks of whole records on one core, as our reader does, without looking for quotation marks."
    rows, rest = 0, b""
    with path.open("rb") as file:
        names = file.readline().decode().strip().split(",")
        how = pc.ParseOptions(invalid_row_handler=lambda row: "skip", ignore_empty_lines=False)
        kinds = pc.ConvertOptions(column_types=dict.fromkeys(names, kind))
        while block := file.read(BLOCK):
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            options = pc.ReadOptions(use_threads=False, column_names=names, block_size=end + 1)
            rows += len(pc.read_csv(pa.BufferReader(block[:end]), options, how, kinds))
    return rows


CSV_ENGINES: dict[str, Callable[[Path], object]] = {
    "pyarrow.csv, blocks, text": lambda path: read_blocks(path, pa.string()),
    "pyarrow.csv, blocks, typed": lambda path: read_blocks(path, pa.int64()),
    "pyarrow.csv, whole, all cores": pc.read_csv,
    "polars, typed": lambda path: pl.read_csv(path).to_arrow(),
    "polars, text": lambda path: pl.read_csv(path, infer_schema=False).to_arrow(),
    "DuckDB, typed": lambda path: duckdb.connect().sql(f"FROM '{path}'").to_arrow_table(),
    "DuckDB, text": lambda path: (
        duckdb.connect().sql(f"FROM read_csv('{path}', all_varchar = true)").to_arrow_table()
    ),
}


def read_and_validate(path: Path) -> int:  # good rows
    "What every interface of ours does before it decides."
    source = open_source(path, CLIENT_COLUMNS, selection=Selection())
    good = 0
    for chunk in source.chunks():
        good += int(
            find_good_rows({name: source.fields.read(chunk.table, name) for name in CLIENT_COLUMNS}).sum()
        )
    return good


def by_calamine(path: Path) -> int:
    return sum(1 for _ in python_calamine.load_workbook(path).get_sheet_by_index(0).iter_rows())


def by_openpyxl(path: Path) -> int:
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    return sum(1 for _ in book.worksheets[0].iter_rows(values_only=True))


def by_pyarrow(path: Path) -> int:
    with pq.ParquetFile(path) as file:
        return sum(len(batch) for batch in file.iter_batches(100_000))


def cost(work: Callable[[Path], object], path: Path, rounds: int) -> float:
    "CPU seconds of all threads, the fewest of some rounds."
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work(path)
        found.append(time.process_time() - start)
    return min(found)


def peak(path: Path) -> float:  # MiB
    "The most memory that a process has held which reads and validates a file."
    script = (
        "import re, sys; from pathlib import Path; from readers import read_and_validate; "
        "read_and_validate(Path(sys.argv[1])); status = Path('/proc/self/status').read_text(); "
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) / 1024)"  # ru_maxrss would count the parent's memory too
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return float(done.stdout)


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "Engines among themselves, then our reader beside the fastest of them."
    rows, rounds = (200_000, 2) if asked.brief else (1_000_000, 4)
    with tempfile.TemporaryDirectory() as folder:
        table, path = make_clients(rows), Path(folder) / "clients.csv"
        pc.write_csv(table, path, pc.WriteOptions(quoting_style="none"))
        costs = {name: cost(read, path, rounds) for name, read in CSV_ENGINES.items()}
        chosen, *others = CSV_ENGINES
        what = f"CSV of {rows:,} clients into Arrow: "
        for name in others:
            yield Ratio(what + chosen, name, costs[chosen], costs[name], "CPU s")
        typed = {name: costs[name] for name in costs if not name.endswith("text")}  # ours gives numbers too
        best = min(typed, key=lambda name: typed[name])
        yield Ratio(
            f"CSV of {rows:,} clients read and validated",
            f"the fastest engine that gives numbers ({best})",
            cost(read_and_validate, path, rounds),
            typed[best],
            "CPU s",
            1.5,
        )
        yield from measure_sheets(table.slice(0, 10_000 if asked.brief else 100_000), Path(folder))
        yield from measure_reader(table, Path(folder), 1 if asked.brief else 10, rounds)


def measure_sheets(table: pa.Table, folder: Path) -> Iterator[Ratio]:
    path, what = folder / "clients.xlsx", f".xlsx of {len(table):,} rows: "
    write_workbook(table, path)
    calamine, slow = cost(by_calamine, path, 2), cost(by_openpyxl, path, 1)
    yield Ratio(what + "calamine", "openpyxl, read only", calamine, slow, "CPU s")
    ours = cost(read_and_validate, path, 2)
    yield Ratio(what + "read and validated", "openpyxl, read only", ours, slow, "CPU s", 1 / 8)


def measure_reader(table: pa.Table, folder: Path, times: int, rounds: int) -> Iterator[Ratio]:
    path = folder / "clients.parquet"
    pq.write_table(table, path, row_group_size=100_000)
    ours, bare = cost(read_and_validate, path, rounds), cost(by_pyarrow, path, rounds)
    yield Ratio(
        f"Parquet of {len(table):,} clients read and validated", "pyarrow, batches", ours, bare, "CPU s"
    )
    long = folder / "long.csv"
    with long.open("wb") as file:
        for part in range(times):
            pc.write_csv(table, file, pc.WriteOptions(include_header=part == 0, quoting_style="none"))
    rows = f"{times * len(table):,} clients of CSV"
    yield Ratio(f"memory for {rows}", "1 GiB", peak(long), 1024, "MiB", 1)
    yield Ratio(
        f"memory for {rows}", f"for {len(table):,}", peak(long), peak(folder / "clients.csv"), "MiB", 1.2
    )


if __name__ == "__main__":
    run(__doc__, measure, needs_champion=False)
