"""What engines make of a bank's CSV files: the table of decision 0027 (docs/decisions/0027-reader-engines.md).

Each case is a small file. An engine reads it twice: as it would by itself, and with every column as text and its own means
to go on after a bad row. Shown is what a caller gets: the cells of interest, the number of rows, or the first words of the error.
The table goes into reports/record/engines.md.

    python benchmarks/engine_cases.py
"""

import codecs
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

RECORD, RECIPE = Path(__file__).parents[1] / "reports/record/engines.md", "python benchmarks/engine_cases.py"
WAYS = "by itself", "as text"
Read = Callable[[Path], tuple[list[str], list[tuple], list[str]]]  # columns, rows, what is known of bad ones


class Case(NamedTuple):
    "A file and what should come of it."

    name: str
    content: bytes
    show: Callable[[list[str], list[tuple], list[str]], str]
    wanted: str


def list_rows(table: pa.Table) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def in_arrow(path: Path) -> tuple[list[str], list[tuple], list[str]]:
    table = pc.read_csv(path)
    return table.column_names, list_rows(table), []


def in_arrow_as_text(path: Path) -> tuple[list[str], list[tuple], list[str]]:
    "As our reader does: one core, every column text, a handler for bad rows."
    bad: list[str] = []

    def note(row: pc.InvalidRow) -> str:
        bad.append(f"row {row.number}, {row.actual_columns} of {row.expected_columns} cells")
        return "skip"

    content = path.read_bytes()
    names = pc.read_csv(
        io.BytesIO(content), parse_options=pc.ParseOptions(invalid_row_handler=note)
    ).column_names
    bad.clear()
    table = pc.read_csv(
        io.BytesIO(content),
        pc.ReadOptions(use_threads=False),
        pc.ParseOptions(invalid_row_handler=note, ignore_empty_lines=False),
        pc.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )
    return table.column_names, list_rows(table), bad


def in_polars(path: Path) -> tuple[list[str], list[tuple], list[str]]:
    frame = pl.read_csv(path)
    return frame.columns, frame.rows(), []


def in_polars_as_text(path: Path) -> tuple[list[str], list[tuple], list[str]]:
    frame = pl.read_csv(path, infer_schema=False, extra_columns="ignore", empty_string_is_null=False)
    return frame.columns, frame.rows(), []


def in_duckdb(path: Path) -> tuple[list[str], list[tuple], list[str]]:
    table = duckdb.connect().sql(f"FROM read_csv('{path}')").to_arrow_table()
    return table.column_names, list_rows(table), []


def in_duckdb_as_text(path: Path) -> tuple[list[str], list[tuple], list[str]]:
    with duckdb.connect() as bank:
        table = bank.sql(
            f"FROM read_csv('{path}', all_varchar = true, header = true, store_rejects = true)"
        ).to_arrow_table()
        bad = bank.sql("SELECT line, error_type FROM reject_errors").fetchall()
    return table.column_names, list_rows(table), [f"line {line}, {what}" for line, what in bad]


ENGINES: dict[str, tuple[Read, Read]] = {
    "pyarrow.csv": (in_arrow, in_arrow_as_text),
    "polars": (in_polars, in_polars_as_text),
    "DuckDB": (in_duckdb, in_duckdb_as_text),
}


def cells(name: str) -> Callable[[list[str], list[tuple], list[str]], str]:
    "The first three cells of a column, and the bad rows."

    def show(columns: list[str], rows: list[tuple], bad: list[str]) -> str:
        if name not in columns:
            return f"columns {columns[:3]!r}"
        return ", ".join([*(repr(row[columns.index(name)]) for row in rows[:3]), *bad])

    return show


def count(columns: list[str], rows: list[tuple], bad: list[str]) -> str:
    return ", ".join([f"{len(rows)} rows", *bad[:2], *([f"… {len(bad)} bad"] if len(bad) > 2 else [])])


def whole(columns: list[str], rows: list[tuple], bad: list[str]) -> str:
    return ", ".join([*(repr(list(row)) for row in rows[:3]), *bad])


def make_rows(numbers: range) -> str:
    return "".join(f"{i},{20 + i % 50},n{i}\n" for i in numbers)


HEAD = "ID,AGE,name\n"
CASES = (
    Case("quotation mark never closed, row 4 of 1,000", (HEAD + make_rows(range(1, 4)) + '4,24,"n4\n' + make_rows(range(5, 1000))).encode(), count, "refused, row 5 named"),
    Case("row longer than the heading", (HEAD + "1,25,a\n2,26,b,7\n3,27,c\n").encode(), whole, "two rows, row 3 named"),
    Case("every row longer than the heading", (HEAD + "1,25,a,0\n2,26,b,0\n").encode(), whole, "no row, both named"),
    Case("row shorter than the heading", (HEAD + "1,25,a\n2,26\n3,27,c\n").encode(), whole, "two rows, row 3 named"),
    Case("text behind a closing quotation mark", (HEAD + '1,25,"a"b\n2,26,c\n').encode(), whole, "row 2 named"),
    Case("quotation mark inside of a cell", (HEAD + '1,25,5" pipe\n2,26,c\n').encode(), cells("name"), "'5\" pipe', 'c'"),
    Case("key of 19 digits beside a fraction", b"key,AGE\n4000001234567899017,25\n1.5,26\n", cells("key"), "both exact"),
    Case("key with leading zeros", b"key,AGE\n00012,25\n00013,26\n", cells("key"), "'00012', '00013'"),
    Case("number of 20 digits", b"key,AGE\n40000012345678990170,25\n1,26\n", cells("key"), "both exact"),
    Case("NA as text", b"code,AGE\nNA,25\nnull,26\n", cells("code"), "'NA', 'null'"),
    Case("text only from row 20,000 on", b"key,AGE\n" + b"".join(b"%d,25\n" % i for i in range(20_000)) + b"A7,26\n", count, "20001 rows"),
    Case("UTF-16", codecs.BOM_UTF16_LE + (HEAD + "1,25,é\n").encode("utf-16-le"), whole, "read, or refused by name"),
    Case("line ends of CR only", (HEAD + "1,25,a\n2,26,b\n").replace("\n", "\r").encode(), whole, "two rows"),
    Case("blank row in the middle", (HEAD + "1,25,a\n\n2,26\n").encode(), count, "row 4 named, blank row counted"),
    Case("line `sep=;` above the heading", b"sep=;\nID;AGE;name\n1;25;a\n", whole, "one row"),
    Case("trailing separators", b"ID,AGE,name,,\n1,25,a,,\n", whole, "three columns"),
)  # fmt: skip


def ask(read: Read, case: Case) -> str:
    "What a caller gets, in a few words."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clients.csv"
        path.write_bytes(case.content)
        try:
            return case.show(*read(path))
        except Exception as error:  # any of an engine's own
            said = " ".join(str(error).replace(str(path), "…").split())
            return f"error: {said[:90]}"


def main() -> None:
    ways = [
        (engine, way, read)
        for engine, reads in ENGINES.items()
        for way, read in zip(WAYS, reads, strict=True)
    ]
    heads = ["a CSV file with", "wanted", *(f"{engine}, {way}" for engine, way, _ in ways)]
    rows = [[case.name, case.wanted, *(ask(read, case) for *_, read in ways)] for case in CASES]
    lines = [
        " | ".join(cell.replace("|", "¦") for cell in row) for row in (heads, ["---"] * len(heads), *rows)
    ]
    about = (
        f"polars {pl.__version__}, DuckDB {duckdb.__version__}, pyarrow {pa.__version__}; made by `{RECIPE}`."
    )
    table = "\n".join(f"| {line} |" for line in lines)
    RECORD.write_text(f"# What engines make of a bank's CSV files\n\n{about}\n\n{table}\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
