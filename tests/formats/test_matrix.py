"""Every dialect, name and format through every interface: one table of what happened, the same as what is right.

`READERS_RECORD=1 pytest tests/formats/test_matrix.py` writes it to reports/record/readers.md.
"""

import gzip
import io
import json
import os
import re
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from stores import TINY, Place, make_data, settings_for, with_refusals

from rumos_bank.data import sources
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, ID, LATE_CLIENT, TARGET, fingerprint
from rumos_bank.data.places import Selection
from rumos_bank.data.sources import load_dataset
from rumos_bank.desk.state import Desk
from rumos_bank.desk.texts import OfficerError
from rumos_bank.governance.tracking import open_store
from rumos_bank.ground.errors import RumosError
from rumos_bank.ground.settings import AuditSettings, DataSettings, Settings, StoreSettings
from rumos_bank.model.search import search
from rumos_bank.monitoring.monitor import watch
from rumos_bank.monitoring.outcomes import add_outcomes, read_outcomes
from rumos_bank.serving.batch import predict_file
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record

RECORD = Path(__file__).parents[2] / "reports/record/readers.md"
N = 24  # clients in every file
KEYS = ("00012", "4000001234567899017", "12E3", "NA", "None", "1.10")  # text that must stay as it is
NOTE = "NOTE"
INTERFACES = {
    "predict": "`rumos predict`",
    "desk": "the desk",
    "outcomes": "`rumos outcomes add`",
    "watch": "`rumos watch FILE`",
    "data": "data source",
}

# What is right


@dataclass(frozen=True)
class Right:
    "What an interface should do with a file."

    good: int = N  # clients; -1: the file is refused; -2: the interface does not take such a place
    read: int = N
    phrase: str = ""  # in the sentence that refuses the file or a row

    def __str__(self) -> str:
        if self.good == -2:
            return "–"
        return "refused" if self.good == -1 else f"{self.good} of {self.read}"


WHOLE, NONE = Right(), Right(-2)


def refused(phrase: str) -> dict[str, Right]:
    return dict.fromkeys(INTERFACES, Right(-1, phrase=phrase))


def some(good: int, phrase: str, read: int = N) -> dict[str, Right]:
    "Some rows are refused with this reason; the data set is refused as a whole."
    return dict.fromkeys(INTERFACES, Right(good, read, phrase)) | {"data": Right(-1, phrase=phrase)}


ALL = dict.fromkeys(INTERFACES, WHOLE)
CLIENTS = ALL | {"outcomes": NONE}  # outcomes have no such column
DATA = dict.fromkeys(INTERFACES, NONE) | {"data": WHOLE}
SENT = ALL | {"desk": Right(-1)}  # officers upload text, workbooks and Parquet; the page names no others
FOLDERS = ALL | {"desk": NONE, "data": NONE}  # a person chooses one file, and so does a data source

Maker = Callable[[pd.DataFrame, str, Path], Any]  # the table, a column of amounts in it, a folder → the place


@dataclass(frozen=True)
class Case:
    "A way in which a program writes a table."

    group: str
    name: str
    make: Maker
    right: Mapping[str, Right] = field(default_factory=lambda: ALL)
    needs: str = ""  # a module of the library
    selection: Selection = Selection()  # noqa: RUF009  it is frozen


CASES: list[Case] = []


def add(group: str, name: str, make: Maker, right: Mapping[str, Right] = ALL, **more: Any) -> None:
    CASES.append(Case(group, name, make, right, **more))


# Text

Rows = list[list[str]]


def to_rows(frame: pd.DataFrame) -> Rows:
    return [list(map(str, row)) for row in frame.astype(object).to_numpy().tolist()]


def text(
    change: Callable[[list[str], Rows, int], tuple[list[str], Rows] | None] | None = None,
    sep: str = ",",
    end: str = "\n",
    before: str = "",
    encoding: str = "utf-8",
    name: str = "t.csv",
    pack: Callable[[bytes], bytes] = bytes,
) -> Maker:
    "A file of text; `change` gets the names, the rows and the position of a column of amounts."

    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        head, rows = list(frame.columns), to_rows(frame)
        head, rows = (change and change(head, rows, head.index(amount))) or (head, rows)
        content = before + "".join(sep.join(row) + end for row in [head, *rows])
        (folder / name).write_bytes(pack(content.encode(encoding)))
        return folder / name

    return make


def each(write: Callable[[int, str], str]) -> Callable[[list[str], Rows, int], None]:
    "Change every amount: its row, counted from 0, and its text."

    def change(_: list[str], rows: Rows, at: int) -> None:
        for number, row in enumerate(rows):
            row[at] = write(number, row[at])

    return change


def note(row: int, cell: str) -> Callable[[list[str], Rows, int], None]:
    "Another note in this row, counted from 0."

    def change(head: list[str], rows: Rows, _: int) -> None:
        rows[row][head.index(NOTE)] = cell

    return change


def in_row(row: int, change_row: Callable[[list[str]], list[str]]) -> Any:
    def change(_: list[str], rows: Rows, __: int) -> None:
        rows[row] = change_row(rows[row])

    return change


def group_digits(cell: str, sign: str) -> str:
    return f"{int(cell):,}".replace(",", sign)


def number_rows(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
    return ["", *head], [[str(number), *row] for number, row in enumerate(rows)]


def name_rows_as_r(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
    "As `write.table` does: text in quotation marks, and no name above the rows' names."
    named = [[f'"{number}"', *quote_text(row)] for number, row in enumerate(rows, 1)]
    return [f'"{name}"' for name in head], named


def quote_text(row: list[str]) -> list[str]:
    return [cell if re.fullmatch(r"-?[\d.e-]+|True|False", cell) else f'"{cell}"' for cell in row]


def leave_empty(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
    empty = [""] * (len(head) + 2)
    return [*head, "", ""], [*([*row, "", ""] for row in rows), empty, empty]


def quote_all(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
    return [f'"{name}"' for name in head], [[f'"{cell}"' for cell in row] for row in rows]


add("dialects", "commas", text())
add("dialects", "semicolons", text(sep=";"))
add("dialects", "tabs (.tsv)", text(sep="\t", name="t.tsv"))
add("dialects", "bars", text(sep="|"))
add("dialects", "a line `sep=;`", text(sep=";", before="sep=;\n"))
add("dialects", "lines end with CR LF", text(end="\r\n"))
add("dialects", "lines end with CR", text(end="\r"))
add("dialects", "byte order mark", text(encoding="utf-8-sig"))
add("dialects", "UTF-16 with tabs (Excel's Unicode text)", text(sep="\t", encoding="utf-16", name="t.txt"))
add("dialects", "Windows-1252", text(note(0, "Café"), sep=";", encoding="cp1252"))
add("dialects", "empty columns and rows behind", text(leave_empty, sep=";"))
add("dialects", "a title and an empty row above", text(before="Clients of June,,,\n,,,\n"))
add("dialects", "empty lines above", text(before="\n\n"))
add("dialects", "an index column of pandas", text(number_rows))
add("dialects", "row names of R, blanks between cells", text(name_rows_as_r, sep=" ", name="t.txt"))
add(
    "dialects", "row names of R, commas between cells", text(name_rows_as_r), some(0, "cells and the heading")
)
add("dialects", "all cells in quotation marks", text(quote_all))
add("dialects", "a line break in a cell", text(note(1, '"call\nback"')))
add("dialects", "whole numbers as 20000.0", text(each(lambda _, cell: f"{cell}.0")))
add("dialects", "decimal commas", text(each(lambda _, cell: f"{cell},00"), sep=";"))
add("dialects", "1e+05", text(each(lambda _, cell: f"{int(cell):e}")))
add("dialects", "thousands with points, decimal commas",
    text(each(lambda _, cell: group_digits(cell, ".") + ",00"), sep=";"))  # fmt: skip
add("dialects", "thousands with commas, decimal points",
    text(each(lambda _, cell: group_digits(cell, ",") + ".00"), sep=";"))  # fmt: skip
add("dialects", "thousands with blanks", text(each(lambda _, cell: group_digits(cell, " ")), sep=";"))
add("dialects", "text in quotation marks, two of them inside", text(note(0, '"5"" pipe"')))
add("dialects", "a quotation mark inside a cell", text(note(0, '5" pipe')))
UNSURE = some(0, "got '30.000': write 30000") | {"outcomes": NONE}
add("dialects", "30.000, which can be two numbers", text(each(lambda _, cell: "30.000"), sep=";"), UNSURE)
add("dialects", "an amount divided by its comma",
    text(lambda head, rows, at: (head, [[*row[:at], row[at], "00", *row[at + 1 :]] for row in rows])),
    some(0, "cells and the heading"))  # fmt: skip
add(
    "dialects",
    "one row with a cell too many",
    text(in_row(4, lambda row: ["0", *row])),
    some(N - 1, "cells and the heading"),
)
add(
    "dialects",
    "one row with a cell too few",
    text(in_row(4, lambda row: row[1:])),
    some(N - 1, "cells and the heading"),
)
add(
    "dialects",
    "a quotation mark that is never closed",
    text(note(1, '"call back')),
    refused("is never closed"),
)
add(
    "dialects",
    "text behind a quotation mark",
    text(note(1, '"call" back')),
    refused("text behind the quotation mark"),
)
add("dialects", "keys of a bank, as text",
    text(lambda head, rows, at: note_keys(head, rows)))  # fmt: skip
add("dialects", "truth values for numbers", text(each(lambda _, cell: "TRUE")),
    some(0, "TRUE"))  # fmt: skip
add(
    "dialects",
    "an empty cell",
    text(each(lambda row, cell: "" if row == 3 else cell)),
    some(N - 1, "got an empty cell"),
)


def note_keys(head: list[str], rows: Rows) -> None:
    for row, key in zip(rows, KEYS, strict=False):
        row[head.index(NOTE)] = key


def no_rows(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
    return head, []


EMPTY = refused("holds no clients")
add("dialects", "a heading alone", text(no_rows),
    EMPTY | {"outcomes": Right(0, 0), "watch": Right(0, 0)})  # fmt: skip

# Names


def renamed(names: Mapping[str, str]) -> Maker:
    def change(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
        assert not names.keys().isdisjoint(head)
        return [names.get(name, name) for name in head], rows

    return text(change)


def rename_all(write: Callable[[str], str]) -> Maker:
    return text(lambda head, rows, _: (list(map(write, head)), rows))


NUMBERED = {name: f"X{number}" for number, name in enumerate(CLIENT_COLUMNS, 1)} | {TARGET: "Y"}


def two_headings(head: list[str], rows: Rows, _: int) -> tuple[list[str], Rows]:
    return ["", *(NUMBERED.get(name, name) for name in head[1:])], [head, *rows]


add("names", "small letters", rename_all(str.lower))
add("names", "capitals", rename_all(str.upper))
add("names", "blanks around", rename_all(lambda name: f" {name} "))
add("names", "LIMIT BAL, PAY 2 …", rename_all(lambda name: name.replace("_", " ")), CLIENTS)
add("names", "PAY_1", renamed({"PAY_0": "PAY_1"}), CLIENTS)
add("names", "PAY.0, PAY.2 …", rename_all(lambda name: name.replace("PAY_", "PAY.")), CLIENTS)
add("names", "BILL_AMT_1 …", rename_all(lambda name: re.sub(r"AMT(?=\d)", "AMT_", name)), CLIENTS)
add("names", "X1 … X23, Y", renamed(NUMBERED), CLIENTS)
add("names", "X1 … X23, Y above the names", text(two_headings), CLIENTS)
for target in ("default payment next month", "dpnm", "def_pay", "Y", "class"):
    add("names", target, renamed({TARGET: target}), DATA)
SAME = "mean the same"
TWICE = refused(SAME) | {"outcomes": NONE}
add(
    "names",
    "PAY_0 and PAY_1",
    text(lambda head, rows, at: ([*head, "PAY_1"], [[*row, "0"] for row in rows])),
    TWICE,
)
add("names", "a needed column is missing",
    text(lambda head, rows, at: ([*head[:at], *head[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows])),
    refused("lacks columns"))  # fmt: skip

# Workbooks


def workbook(
    engine: str = "openpyxl",
    name: str = "t.xlsx",
    change: Callable[[pd.DataFrame, str], pd.DataFrame] | None = None,
    **more: Any,
) -> Maker:
    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        frame = change(frame, amount) if change else frame
        frame.to_excel(folder / name, index=False, engine=engine, **more)
        return folder / name

    return make


def old_workbook(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Clients")
    for at, row in enumerate([list(frame.columns), *frame.astype(object).to_numpy().tolist()]):
        for column, cell in enumerate(row):
            sheet.write(at, column, cell)
    book.save(str(folder / "t.xls"))
    return folder / "t.xls"


def patched(patterns: Mapping[bytes, bytes]) -> Maker:
    "A workbook whose parts another program would have written otherwise."

    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        frame.to_excel(folder / "plain.xlsx", index=False)
        with (
            zipfile.ZipFile(folder / "plain.xlsx") as old,
            zipfile.ZipFile(folder / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as new,
        ):
            for item in old.infolist():
                content = old.read(item.filename)
                for pattern, other in patterns.items():
                    content = re.sub(pattern, other, content)
                new.writestr(item, content)
        return folder / "t.xlsx"

    return make


STRICT = {
    rb"http://schemas.openxmlformats.org/spreadsheetml/2006/main": b"http://purl.oclc.org/ooxml/spreadsheetml/main",
    rb"http://schemas.openxmlformats.org/officeDocument/2006/relationships": (
        b"http://purl.oclc.org/ooxml/officeDocument/relationships"
    ),
}


def two_sheets(hide: bool = False) -> Maker:
    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        with pd.ExcelWriter(folder / "t.xlsx", engine="openpyxl") as book:
            frame.to_excel(book, sheet_name="June", index=False)
            frame[:2].to_excel(book, sheet_name="May", index=False)
            if hide:
                book.sheets["May"].sheet_state = "hidden"
        return folder / "t.xlsx"

    return make


def hidden_row(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    with pd.ExcelWriter(folder / "t.xlsx", engine="openpyxl") as book:
        frame.to_excel(book, index=False)
        book.sheets["Sheet1"].row_dimensions[4].hidden = True
    return folder / "t.xlsx"


def as_texts(frame: pd.DataFrame, amount: str) -> pd.DataFrame:
    return frame.astype({amount: str})


def as_floats(frame: pd.DataFrame, amount: str) -> pd.DataFrame:
    return frame.astype({amount: float})


add("workbooks", ".xlsx (openpyxl)", workbook())
add("workbooks", ".xlsx (xlsxwriter)", workbook("xlsxwriter"))
add("workbooks", ".xlsx whose dimension is A1", patched({rb'<dimension ref="[^"]+"': b'<dimension ref="A1"'}))
add("workbooks", ".xlsx, Strict OOXML", patched(STRICT))
add("workbooks", ".xls (xlwt)", old_workbook)
add("workbooks", ".ods (odfpy)", workbook("odf", "t.ods"))
add("workbooks", ".xlsx, three empty rows above", workbook(startrow=3))
add("workbooks", ".xlsx, numbers as text", workbook(change=as_texts))
add("workbooks", ".xlsx, decimals", workbook(change=as_floats))
add("workbooks", ".xlsx, two sheets that fit", two_sheets(), refused("May"))
add("workbooks", ".xlsx, one of two sheets named", two_sheets(),
    ALL | {"desk": NONE, "data": NONE}, selection=Selection(sheet="June"))  # fmt: skip
add("workbooks", ".xlsx, a hidden sheet beside", two_sheets(hide=True), refused("hidden"))
add("workbooks", ".xlsx, a hidden row", hidden_row, refused("hidden rows"))

# Columns


def arrow(
    write: Callable[[pa.Table, Path], Any],
    name: str,
    change: Callable[[pa.Table, str], pa.Table] | None = None,
) -> Maker:
    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        write(change(table, amount) if change else table, folder / name)
        return folder / name

    return make


def parquet(change: Callable[[pa.Table, str], pa.Table]) -> Maker:
    return arrow(pq.write_table, "t.parquet", change)


def put(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def as_decimals(table: pa.Table, amount: str) -> pa.Table:
    cells = [Decimal(value) for value in table[amount].to_pylist()]
    return put(table, amount, pa.array(cells, pa.decimal128(38, 9)))


def as_views(table: pa.Table, amount: str) -> pa.Table:
    return put(table, NOTE, table[NOTE].cast(pa.string_view()))


def as_dictionary(table: pa.Table, amount: str) -> pa.Table:
    return put(put(table, amount, table[amount].dictionary_encode()), NOTE, table[NOTE].dictionary_encode())


def as_narrow(table: pa.Table, amount: str) -> pa.Table:
    return put(table, amount, table[amount].cast(pa.float32()))


def add_nested(table: pa.Table, amount: str) -> pa.Table:
    return table.append_column("more", pa.array([{"a": [1, 2]}] * len(table)))


def parquet_folder(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    (folder / "t").mkdir()
    for number, part in enumerate((frame[:5], frame[5:])):
        part.to_parquet(folder / "t" / f"{number}.parquet", index=False)
    return folder / "t"


def range_index(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    frame.set_index(pd.RangeIndex(1, N + 1, name=ID)).drop(columns=ID).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def polars_parquet(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    pl = pytest.importorskip("polars")
    pl.from_pandas(frame).with_columns(pl.col(NOTE).cast(pl.Categorical)).write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def duckdb_parquet(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    given = pa.Table.from_pandas(frame, preserve_index=False)  # noqa: F841  the query names it
    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT * FROM given) TO '{folder / 't.parquet'}' (FORMAT parquet)")
    return folder / "t.parquet"


def write_ipc(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def write_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def json_lines(pack: Callable[[bytes], bytes] = bytes, name: str = "t.jsonl") -> Maker:
    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        lines = map(json.dumps, frame.to_dict("records"))  # pandas' own rounds to ten digits
        (folder / name).write_bytes(pack("\n".join(lines).encode()))
        return folder / name

    return make


def json_records(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    frame.to_json(folder / "t.json", orient="records")
    return folder / "t.json"


def arff(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    kinds = ["STRING" if name in (NOTE, "decision") else "NUMERIC" for name in frame.columns]
    kept = [at for at, kind in enumerate(kinds) if kind == "NUMERIC"]  # SciPy reads no text
    lines = [
        "% a comment",
        "@RELATION clients",
        *(f"@ATTRIBUTE {frame.columns[at]} NUMERIC" for at in kept),
        "@DATA",
    ]
    rows = frame.iloc[:, kept].astype(float).to_csv(index=False, header=False)
    (folder / "t.arff").write_text("\n".join([*lines, rows]))
    return folder / "t.arff"


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "one table")
        archive.writestr("clients.csv", content)
        archive.writestr("__MACOSX/._clients.csv", b"\0")
    return out.getvalue()


add("files", ".csv.gz", text(name="t.csv.gz", pack=gzip.compress), SENT)
add("files", ".csv.zst", text(name="t.csv.zst", pack=zstd), SENT)
add("files", ".zip with one table", text(name="t.zip", pack=zipped), SENT)
add("files", ".parquet (pandas)", arrow(pq.write_table, "t.parquet"))
add("files", ".parquet (polars, categories)", polars_parquet)
add("files", ".parquet (DuckDB)", duckdb_parquet)
add("files", ".parquet, DECIMAL(38,9)", parquet(as_decimals))
add("files", ".parquet, string views", parquet(as_views))
add("files", ".parquet, dictionaries", parquet(as_dictionary))
add("files", ".parquet, 32-bit floats", parquet(as_narrow))
add("files", ".parquet, a nested column", parquet(add_nested))
add("files", ".parquet, ID as an index of pandas", range_index, CLIENTS)
add("files", "a folder of .parquet", parquet_folder, FOLDERS)
add("files", ".arrow, a file", arrow(write_ipc, "t.arrow"), SENT)
add("files", ".arrows, a stream", arrow(write_stream, "t.arrows"), SENT)
add("files", ".feather", arrow(pyarrow.feather.write_feather, "t.feather"), SENT)
add("files", ".orc", arrow(pyarrow.orc.write_table, "t.orc"), SENT)
add("files", ".jsonl", json_lines(), SENT)
add("files", ".jsonl.gz", json_lines(gzip.compress, "t.jsonl.gz"), SENT)
add("files", ".arff", arff, SENT | {"outcomes": NONE})
add("files", ".json, one value", json_records, refused("is JSON, one value for the whole file"))


def bytes_named(name: str, content: bytes) -> Maker:
    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def workbook_as_csv(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    frame.to_excel(folder / "t.xlsx", index=False)
    return (folder / "t.xlsx").rename(folder / "t.csv")


WRONG = "by its content"
add("files", "a workbook named .csv", workbook_as_csv, refused(WRONG) | {"data": WHOLE})
add("files", "a PDF named .csv", bytes_named("t.csv", b"%PDF-1.7\n"), refused("is a PDF"))
add("files", "an empty file", bytes_named("t.csv", b""), refused("is empty"))
add(
    "files",
    "half a .parquet",
    bytes_named("t.parquet", b"PAR1" + bytes(100)),
    refused("cannot be read as Parquet"),
)
add("files", "another ending", text(name="t.dat"), refused("must end in") | {"data": WHOLE})

# Programs of statistics, tables and databases


def pyreadstat_file(write: str, name: str, **more: Any) -> Maker:
    def make(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
        pyreadstat = pytest.importorskip("pyreadstat")
        short = frame.rename(columns=lambda each: each.replace(".", "_"))
        getattr(pyreadstat, write)(short, str(folder / name), **more)
        return folder / name

    return make


def sqlite_table(frame: pd.DataFrame, amount: str, folder: Path) -> str:
    database = sqlite3.connect(folder / "t.db")
    frame.to_sql("clients", database, index=False)
    database.close()
    return f"sqlite:///{folder / 't.db'}"


def duckdb_table(frame: pd.DataFrame, amount: str, folder: Path) -> str:
    duckdb = pytest.importorskip("duckdb")
    given = pa.Table.from_pandas(frame, preserve_index=False)  # noqa: F841  the query names it
    with duckdb.connect(str(folder / "t.duckdb")) as database:
        database.execute("CREATE TABLE clients AS SELECT * FROM given")
    return f"duckdb:///{folder / 't.duckdb'}"


def delta_table(frame: pd.DataFrame, amount: str, folder: Path) -> Path:
    "One row was deleted and one changed after the first version: the old files still hold them."
    deltalake = pytest.importorskip("deltalake")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    deltalake.write_deltalake(str(folder / "t"), pa.concat_tables([table, table.slice(0, 3)]))
    deltalake.write_deltalake(str(folder / "t"), table, mode="overwrite")
    return folder / "t"


add("statistics", "SPSS .sav", pyreadstat_file("write_sav", "t.sav"), SENT, needs="statistical")
add("statistics", "Stata .dta", pyreadstat_file("write_dta", "t.dta"), SENT, needs="statistical")
add(
    "statistics",
    "SAS .xpt",
    pyreadstat_file("write_xport", "t.xpt", file_format_version=8),
    SENT,
    needs="statistical",
)
add(
    "databases",
    "SQLite, a table",
    sqlite_table,
    FOLDERS,
    needs="databases",
    selection=Selection(table="clients"),
)
add("databases", "SQLite, a query", sqlite_table, FOLDERS, needs="databases",
    selection=Selection(query="SELECT * FROM clients"))  # fmt: skip
add(
    "databases",
    "DuckDB, a table",
    duckdb_table,
    FOLDERS,
    needs="databases",
    selection=Selection(table="clients"),
)
add("databases", "Delta Lake, deleted rows in its files", delta_table, FOLDERS, needs="databases")

# The interfaces


@dataclass(frozen=True)
class Got:
    "What an interface did."

    cell: str  # as `Right` is written
    words: str = ""  # what it stated


@dataclass
class Bank:
    "A store with a champion, and the right answers."

    place: Place
    champion: Champion
    clients: pd.DataFrame  # ID, the 23 fields, NOTE
    answers: pd.DataFrame
    judged: pd.DataFrame | None = None  # the monitor's metrics of these clients

    @property
    def settings(self) -> Settings:
        return self.place.settings

    def frame(self, interface: str, ids: Sequence[str] = ()) -> tuple[pd.DataFrame, str]:
        "The table that an interface takes, and its column of amounts."
        if interface == "outcomes":
            defaulted = np.arange(N) % 3 == 0
            notes = self.clients[NOTE]
            return pd.DataFrame(
                {"decision": ids, "defaulted": defaulted.astype(int), NOTE: notes}
            ), "defaulted"
        more = {"data": self.clients.assign(**{TARGET: np.arange(N) % 3 // 2})}
        watched = pd.concat([self.clients, self.answers], axis="columns")
        return more.get(interface, watched if interface == "watch" else self.clients), "LIMIT_BAL"


def by_predict(bank: Bank, place: Any, case: Case, folder: Path, **_: Any) -> Got:
    done = predict_file(
        place, folder / "out.parquet", bank.settings, champion=bank.champion, selection=case.selection
    )
    reasons = list(pd.read_parquet(done.rejects)["reasons"]) if done.rejects else []
    decided = pd.read_parquet(done.output)
    expected = (
        bank.answers
        if done.scored == N
        else bank.answers.iloc[decided.get(ID, pd.Series(dtype=int)).astype(int) - 1]
    )
    assert np.allclose(decided["probability"], expected["probability"], rtol=0, atol=0)
    assert done.read == done.scored + done.rejected + done.broken
    if "keys of a bank" in case.name:
        assert decided[NOTE].tolist()[: len(KEYS)] == list(KEYS)
    return Got(f"{done.scored} of {done.read}", "\n".join(reasons))


def by_desk(bank: Bank, place: Any, case: Case, folder: Path, **_: Any) -> Got:
    follower = SimpleNamespace(champion=bank.champion, unreachable="", alarm="", refresh=lambda: None)
    desk = Desk(bank.settings, follower, DecisionLog(bank.settings))
    upload = desk.take_file(place.name, place.read_bytes())
    if len(upload.clients) == N:
        assert np.array_equal(upload.clients.to_numpy(), bank.clients[list(bank.champion.seen)].to_numpy())
    return Got(f"{len(upload.clients)} of {upload.read}")


def by_outcomes(
    bank: Bank, place: Any, case: Case, folder: Path, *, log: Settings, given: pd.DataFrame
) -> Got:
    added = add_outcomes(log, place, case.selection)
    right = dict(zip(given["decision"], given["defaulted"], strict=True))
    recorded = read_outcomes(log)
    assert recorded.items() <= right.items() and len(recorded) == added.added
    return Got(
        f"{added.added} of {added.added + len(added.rejected)}", "\n".join(why for _, why in added.rejected)
    )


def by_watch(bank: Bank, place: Any, case: Case, folder: Path, **_: Any) -> Got:
    seen = watch(bank.settings, clients=place, selection=case.selection)
    if seen.clients == N and bank.judged is not None:
        pd.testing.assert_frame_equal(seen.table(), bank.judged)
    return Got(f"{seen.clients} of {seen.clients + seen.rejected}", str(seen))


def by_data(bank: Bank, place: Any, case: Case, folder: Path, *, given: pd.DataFrame, **_: Any) -> Got:
    data = DataSettings(cache="cache", on_missing_data="stop")
    found = load_dataset(Settings(home=place.parent, data=data), [place.name])
    assert found.clients.equals(given[[ID, *CLIENT_COLUMNS, TARGET]])
    return Got(f"{len(found.clients)} of {N}", found.notes)


RUN = {
    "predict": by_predict,
    "desk": by_desk,
    "outcomes": by_outcomes,
    "watch": by_watch,
    "data": by_data,
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Bank:
    settings = settings_for(tmp_path_factory.mktemp("matrix") / "store", RUMOS_WATCH_MIN_CLIENTS="20")
    data = make_data(seed=1)
    found = search("Decision_tree", data.train, settings, TINY)
    place = Place(open_store(settings), settings, data, found)
    place.promote(place.log(with_refusals(found, 300)))
    champion = Champion.load(settings)
    rows = [
        {ID: row + 1, **(LATE_CLIENT if row % 4 == 1 else EXAMPLE_CLIENT), "LIMIT_BAL": 30_000 + 10_000 * row}
        for row in range(N)
    ]
    clients = pd.DataFrame(rows)
    answers = champion.decide(clients[list(CLIENT_COLUMNS)])
    answers = pd.DataFrame({name: np.asarray(answers[name]) for name in answers})
    return Bank(place, champion, clients.assign(NOTE=[f"note {row}" for row in range(N)]), answers)


def run(interface: str, case: Case, bank: Bank, folder: Path, monkeypatch: Any) -> Got:
    "What this interface does with this file."
    folder = folder / interface
    folder.mkdir()
    cache = DataSettings(cache=str(folder / "cache"))
    log = Settings(store=StoreSettings(path=folder / "log"), audit=AuditSettings(), data=cache)
    ids: list[str] = []
    if interface == "outcomes":
        written = DecisionLog(log)
        clients = bank.clients[list(CLIENT_COLUMNS)].to_dict("records")
        ids = [each.id for each in decide_and_record(bank.champion, clients, "matrix", written)]
        written.close()
    given, amount = bank.frame(interface, ids)
    (folder / "in").mkdir()
    place = case.make(given, amount, folder / "in")
    if interface == "data":
        right = given[[ID, *CLIENT_COLUMNS, TARGET]]
        monkeypatch.setattr(sources, "UCI_FINGERPRINT", fingerprint(right))
    try:
        return RUN[interface](bank, place, case, folder, log=log, given=given)
    except OfficerError as error:
        return Got("refused", str(error) if error.key == "unusable" else "")
    except RumosError as error:
        return Got("refused", str(error))


TABLE: dict[str, dict[str, str]] = {}  # case → interface → what happened


@pytest.fixture(scope="module")
def judged(bank, tmp_path_factory) -> None:
    "The monitor's metrics of the plain table, for comparison."
    path = tmp_path_factory.mktemp("judged") / "plain.parquet"
    bank.frame("watch")[0].to_parquet(path, index=False)
    bank.judged = watch(bank.settings, clients=path).table()
    assert len(bank.judged) > 20


@pytest.mark.parametrize("case", CASES, ids=[f"{case.group}: {case.name}" for case in CASES])
def test_what_happened_is_what_is_right(case, bank, judged, tmp_path, monkeypatch):
    if case.needs and find_spec(f"rumos_bank.data.{case.needs}") is None:
        pytest.skip(f"the library has no module data.{case.needs}")
    got = {}
    for interface, right in case.right.items():
        if right.good == -2:
            got[interface] = Got(str(right))
        else:
            got[interface] = run(interface, case, bank, tmp_path, monkeypatch)
    happened = {name: each.cell for name, each in got.items()}
    assert happened == {name: str(right) for name, right in case.right.items()}, got
    TABLE[case.name] = happened
    for interface, right in case.right.items():
        if interface != "desk" or got[interface].words:
            assert right.phrase in got[interface].words, got[interface].words


# The record

HEAD = f"""# One reader: what every interface does with every file

Written by `make readers`. Each file holds {N} clients, and is right as "n of {N}" or "refused". Where all are read, decisions,
outcomes, metrics and the data set are those of the plain table. – : the interface does not take such a place, or its tables have no such column.
"""
TITLES = {
    "dialects": "Dialects of text",
    "names": "Names of columns",
    "workbooks": "Workbooks",
    "files": "Other files",
    "statistics": "Programs of statistics",
    "databases": "Tables and databases",
}


def write_record() -> str:
    "The table for people."
    lines = [HEAD]
    for group, title in TITLES.items():
        found = [case for case in CASES if case.group == group and case.name in TABLE]
        if not found:
            continue
        lines += [
            f"## {title}\n",
            f"| file | {' | '.join(INTERFACES.values())} |",
            f"|---{'|---' * len(INTERFACES)}|",
        ]
        for case in found:
            cells = [TABLE[case.name][name] for name in INTERFACES]
            why = next((right.phrase for right in case.right.values() if right.phrase), "")
            shown = f"{case.name} *(“{why}”)*" if why else case.name
            lines.append(f"| {shown.replace('|', chr(92) + '|')} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def test_the_record_is_of_these_cases(request):
    "Written where it is asked for; otherwise it lists what is tested here."
    if os.environ.get("READERS_RECORD"):
        assert len(TABLE) >= 60
        RECORD.write_text(write_record(), encoding="utf-8")
    text = RECORD.read_text(encoding="utf-8")
    written = [line for line in text.splitlines() if re.match(r"\| (?!file )[^-]", line)]
    known = [case for case in CASES if not case.needs or find_spec(f"rumos_bank.data.{case.needs}")]
    assert len(written) == len(known)
    assert all(any(line.startswith(f"| {case.name}") for line in written) for case in known)
