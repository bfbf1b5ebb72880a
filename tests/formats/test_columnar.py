"Columnar files as programs write them: folders with more in them than clients, indexes that only pandas sees, odd types."

import csv
import datetime as dt
import gzip
import io
import json
import math
import shutil
import subprocess
import time
import zipfile
from decimal import Decimal
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, orc

from rumos_bank.data import delimited
from rumos_bank.data.columnar import open_parquet
from rumos_bank.data.columns import Fields, Styles, describe_rows, list_readings, read_numbers, resolve_names
from rumos_bank.data.contract import CLIENT_COLUMNS, find_good_rows
from rumos_bank.data.delimited import Dialect
from rumos_bank.data.places import WHOLE, Held, Selection
from rumos_bank.data.readers import open_source, unpack_zip
from rumos_bank.data.sheets import write_cell
from rumos_bank.ground.errors import DataError
from rumos_bank.serving.writers import WRITERS, defuse_cells, defuse_text, write_table


def read_rows(path: Path) -> list[dict]:
    return [row for chunk in open_source(path, ("AGE",)).chunks() for row in chunk.table.to_pylist()]


# Headings of text


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [16, 2**23])
def test_a_heading_may_be_of_two_lines_and_begin_late(ends, block, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    text = '\n\n"AGE","paid\nback"\n30,a\n31,b\n'.replace("\n", ends)
    (tmp_path / "in.csv").write_bytes(text.encode())
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    for path in (tmp_path / "in.csv", tmp_path / "in.csv.gz"):
        (chunk, *more) = open_source(path, ("AGE",)).chunks()
        rows = [row for each in (chunk, *more) for row in each.table["AGE"].to_pylist()]
        assert rows == ["30", "31"] and chunk.rows[0] == 4
        assert chunk.table.column_names == ["AGE", f"paid{ends}back"]


def test_an_inch_mark_in_a_heading_is_text(tmp_path):
    (tmp_path / "in.csv").write_text('AGE,screen 19"\n30,a\n31,b\n')
    assert [row['screen 19"'] for row in read_rows(tmp_path / "in.csv")] == ["a", "b"]


def test_a_long_name_is_a_name_and_many_names_are_not_all_listed(tmp_path):
    (tmp_path / "in.csv").write_bytes(b"AGE," + b"x" * 200_000 + b"\n30,a\n")
    assert read_rows(tmp_path / "in.csv") == [{"AGE": "30", "x" * 200_000: "a"}]
    names = ",".join(f"column {number}" for number in range(2_000))
    with pytest.raises(DataError, match=r"column 29 and 1,970 more$"):
        open_source(Held("in.csv", names.encode() + b"\n"), ("AGE",))


def test_a_damaged_archive_is_refused(tmp_path):
    packed = bytearray(gzip.compress(b"AGE,note\n" + np.random.default_rng(0).bytes(50_000).hex().encode()))
    packed[200:400] = bytes(200)
    (tmp_path / "in.csv.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"cannot be read as CSV"):
        list(open_source(tmp_path / "in.csv.gz", ("AGE",)).chunks())


# Folders


def write_parquet(path: Path, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_hidden_folders_hold_no_clients(tmp_path, monkeypatch):
    for below in ("a", "_temporary/b", ".ipynb_checkpoints/a", "sub/.old/c", "_d", "sub/e"):
        write_parquet(tmp_path / ".lake" / "clients" / f"{below}.parquet", AGE=[30], name=[below])
    expected = ["a", "sub/e"]
    assert [row["name"] for row in read_rows(tmp_path / ".lake" / "clients")] == expected
    monkeypatch.chdir(tmp_path / ".lake" / "clients")
    assert [row["name"] for row in read_rows(Path())] == expected


@pytest.mark.parametrize("name", ["_clients.parquet", ".clients.parquet"])
def test_a_hidden_file_that_is_named_is_read(name, tmp_path):
    assert read_rows(write_parquet(tmp_path / name, AGE=[30])) == [{"AGE": 30}]


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64()])
def test_a_partition_may_stand_inside_the_files_too(kind, tmp_path):
    for month in (1, 2):
        held = pa.array([month, month], kind)
        path = write_parquet(tmp_path / f"month={month}" / "part.parquet", month=held, AGE=[30, 31])
    source = open_source(tmp_path, ("AGE",))
    assert [row["month"] for row in read_rows(tmp_path)] == [1, 1, 2, 2]
    planned = [source.read(plan).table for plan in source.plan()]
    assert planned == [chunk.table for chunk in source.chunks()] and source.rows == 4
    assert read_rows(path) == [{"month": 2, "AGE": 30}, {"month": 2, "AGE": 31}]


def test_a_partition_that_is_something_else_inside_is_refused(tmp_path):
    write_parquet(tmp_path / "month=1" / "part.parquet", month=["January"], AGE=[30])
    refuse(tmp_path, r"its folders name too.*month.*drop it from the files")


def refuse(place: Path | Held, words: str) -> None:
    "The place is refused with these words, at the latest when it is read."
    with pytest.raises(DataError, match=words):
        list(open_source(place, ("AGE",)).chunks())


@pytest.mark.parametrize(("value", "kind"), [("30", pa.int32()), ("0", pa.string()), ("030", pa.string())])
def test_folders_around_a_file_that_is_named_add_nothing(value, kind, tmp_path):
    path = write_parquet(tmp_path / f"AGE={value}" / "a.parquet", AGE=pa.array([30]).cast(kind))
    assert (
        read_rows(path) == read_rows(path.parent) == pq.read_table(io.BytesIO(path.read_bytes())).to_pylist()
    )
    same = value == str(pq.read_table(io.BytesIO(path.read_bytes()))["AGE"][0])
    if not same:
        refuse(tmp_path, f"a.parquet has a column that its folders name too, with other values .AGE={value}.")


def test_a_folder_name_is_a_text_and_a_needed_field_a_number(tmp_path):
    for branch in ("0012", "007"):
        write_parquet(tmp_path / f"AGE=30/branch={branch}/x=a%20b" / "a.parquet", note=["n"])
    write_parquet(tmp_path / "AGE=31/branch=__HIVE_DEFAULT_PARTITION__/x=" / "a.parquet", note=["n"])
    source = open_source(tmp_path, ("AGE",))
    expected = [
        {"note": "n", "AGE": 30, "branch": "0012", "x": "a b"},
        {"note": "n", "AGE": 30, "branch": "007", "x": "a b"},
        {"note": "n", "AGE": 31, "branch": None, "x": None},
    ]
    assert read_rows(tmp_path) == expected and "3 files in 3 folders" in source.describe()
    assert [row for plan in source.plan() for row in source.read(plan).table.to_pylist()] == expected
    assert open_source(tmp_path, ("note",)).fields.names["AGE"] == "AGE"
    (chunk,) = open_source(tmp_path, ("note",)).chunks()
    assert chunk.table["AGE"].to_pylist() == ["30", "30", "31"]  # not needed: as it stands there


@pytest.mark.parametrize("name", ["b.parq", "000000_0", "b.csv", "old/b.parquet.bak", "_AGE=1/b.csv"])
def test_a_folder_with_a_file_that_is_not_read_is_refused(name, tmp_path):
    write_parquet(tmp_path / "a.parquet", AGE=[30])
    for note in ("_SUCCESS", ".a.parquet.crc", "a.parquet.crc", "_temporary/0/x", ".git/config"):
        (tmp_path / note).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / note).touch()
    assert read_rows(tmp_path) == [{"AGE": 30}]
    assert "; 1 file" in open_source(tmp_path, ("AGE",)).describe()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    refuse(tmp_path, f"holds a file that is not read, .*{name}: move it away")


def test_files_that_differ_are_refused_by_name(tmp_path):
    def pair(first: dict, second: dict, words: str) -> None:
        write_parquet(tmp_path / "a.parquet", AGE=[30], **first)
        write_parquet(tmp_path / "b.parquet", AGE=[31], **second)
        refuse(tmp_path, words)

    pair({"KEY": ["x"]}, {}, "b.parquet lacks columns that the first file has: KEY")
    pair({}, {"KEY": ["x"]}, "b.parquet has columns that the first file lacks: KEY")
    pair({"KEY": [1]}, {"KEY": ["x"]}, "the column KEY is int64 in .*a.parquet and string in .*b.parquet")
    pair(
        {"KEY": [2**53 + 1]}, {"KEY": [1.5]}, "a.parquet holds values in the column KEY .*double, cannot hold"
    )
    pair({"n": [1], "KEY": [1]}, {"n": [1], "x": [2]}, "b.parquet lacks columns that the first file has: KEY")
    twice = pa.table([[30], [1], [1]], names=["AGE", "n", "n"])
    pq.write_table(twice, tmp_path / "b.parquet")
    refuse(tmp_path, "b.parquet has more than one column of the name n: keep one of each")
    refuse(tmp_path / "b.parquet", "b.parquet has more than one column of the name n: keep one of each")


def test_a_text_may_be_a_dictionary_in_some_files(tmp_path):
    write_parquet(tmp_path / "a.parquet", AGE=[30], KEY=pa.array(["0012"]).dictionary_encode())
    write_parquet(tmp_path / "b.parquet", AGE=[31.5], KEY=pa.array(["x"], pa.large_string()))
    expected = [{"AGE": 30.0, "KEY": "0012"}, {"AGE": 31.5, "KEY": "x"}]
    source = open_source(tmp_path, ("AGE",))
    assert read_rows(tmp_path) == expected
    assert [row for plan in source.plan() for row in source.read(plan).table.to_pylist()] == expected


# Formulas


@given(st.text("=+-@\t\r\n1.٣eE a'", max_size=6))
def test_one_text_is_defused_as_a_column_is(text):
    assert defuse_cells(pa.table({"cell": [text]}))[0]["cell"].to_pylist() == [defuse_text(text)]


# Types


NUMBERS = st.integers(-(10**9), 10**9)


@given(
    st.lists(NUMBERS, min_size=1, max_size=5),
    st.sampled_from([(38, 0), (38, 5), (38, 9), (38, 11), (38, 15), (19, 2)]),
)
def test_decimals_are_exact_at_every_scale(numbers, kind):
    column = pa.chunked_array([pa.array(map(Decimal, numbers), pa.decimal128(*kind))])
    assert read_numbers(column).tolist() == numbers
    fractions = pa.chunked_array([pa.array([Decimal("0.1"), *map(Decimal, numbers)], pa.decimal128(38, 11))])
    assert read_numbers(fractions).tolist() == [0.1, *numbers]


def test_types_that_have_no_kernels_or_no_column(tmp_path):
    table = pa.table({"AGE": [30, 31], "NOTE": pa.array(["a", None], pa.string_view())})
    pq.write_table(table, tmp_path / "view.parquet")
    feather.write_feather(table, str(tmp_path / "view.feather"))
    for name in ("view.parquet", "view.feather"):
        assert read_rows(tmp_path / name) == [{"AGE": 30, "NOTE": "a"}, {"AGE": 31, "NOTE": None}]
    frame = pd.DataFrame({"AGE": range(30, 36)}, index=pd.RangeIndex(700001, 700013, 2, name="ID"))
    frame.to_parquet(tmp_path / "index.parquet", row_group_size=4)
    expected = [{"AGE": 30 + at, "ID": 700001 + 2 * at} for at in range(6)]
    assert read_rows(tmp_path / "index.parquet") == expected
    source = open_source(tmp_path / "index.parquet", ("AGE",))
    assert [row for plan in source.plan() for row in source.read(plan).table.to_pylist()] == expected
    held = Held("index.parquet", (tmp_path / "index.parquet").read_bytes())
    assert [
        row for chunk in open_parquet(held, WHOLE, ("AGE",)).chunks() for row in chunk.table.to_pylist()
    ] == expected


def test_integers_of_128_bits_are_named_as_what_they_are(tmp_path):
    polars = pytest.importorskip("polars")
    polars.DataFrame({"AGE": [30], "KEY": [10**20]}).write_parquet(tmp_path / "in.parquet")
    with pytest.raises(
        DataError, match=r"more than 64 bits.*write the column that this names with another type"
    ):
        open_source(tmp_path / "in.parquet", ("AGE",))


# Lines of JSON


def read_lines(content: bytes, name: str = "in.jsonl"):
    source = open_source(Held(name, content), ("AGE",))
    chunks = list(source.chunks())
    rows = [(int(at), row) for chunk in chunks for at, row in zip(chunk.rows, chunk.table.to_pylist())]
    return source, rows, [line for chunk in chunks for line in chunk.broken]


def test_lines_of_json_keep_what_is_written():
    lines = [
        {"AGE": 30, "KEY": 4000001234567899017, "DAY": "2026-01-15", "MIX": 1},
        {"AGE": 31.0, "KEY": 10**20, "MIX": "a"},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    for name, packed in (
        ("in.jsonl", content),
        ("in.ndjson.gz", gzip.compress(content)),
        ("in.jsonl", b"\xef\xbb\xbf" + content),
    ):
        source, rows, broken = read_lines(packed, name)
        assert [row["KEY"] for _, row in rows] == [4000001234567899017, 10**20] and not broken
        assert [row["DAY"] for _, row in rows] == ["2026-01-15", None] and [
            row["MIX"] for _, row in rows
        ] == ["1", "a"]
        (chunk,) = source.chunks()
        assert source.fields.read(chunk.table, "AGE").tolist() == [30, 31]


def test_lines_that_are_no_rows_are_named():
    _, rows, broken = read_lines(
        b'{"AGE": 30}\n\n[1]\n{"AGE": 31, "AGE": 32}\n{"AGE": NaN}\n{"AGE": 33\n{"AGE": 34}\n'
    )
    assert [at for at, _ in rows] == [1, 7]
    assert [(line.row, line.reason) for line in broken] == [
        (3, "is no object with names"),
        (4, "has a name twice"),
        (5, "has NaN, which is no JSON"),
        (6, "is no JSON"),
    ]
    with pytest.raises(
        DataError, match=r"in\.json is JSON, one value for the whole file: write one object a line"
    ):
        open_source(Held("in.json", b"[]"), ("AGE",))


ONE = b'{"AGE": 30, "n": "x"}\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b'[{"AGE": 30}]',
            "no line that is an object .line 1 is no object with names.: write one object a line",
        ),
        (b'[\n{"AGE": 30,\n"n": 1}]', r"no line that is an object \(line 1 is no JSON\)"),
        (b'[\n{"AGE": 30},\n{"AGE": 31}\n]', r"no line that is an object \(line 1 is no JSON\)"),
        (b'\n{\n "AGE": 30\n}\n', r"no line that is an object \(line 2 is no JSON\)"),
        (ONE + ONE.replace(b"x", b"\xfc"), "in.jsonl is not UTF-8 in line 2: save it as UTF-8"),
        (ONE.decode().encode("utf-16"), "in.jsonl is not UTF-8 in line 1"),
        (ONE.replace(b"\n", b"\r") * 3, "in.jsonl has lines that end in CR alone"),
        (
            b'{"AGE": 30}\n{"age": 31}\n',
            "AGE and age mean the same, AGE: keep one of them, in every line: different lines use them",
        ),
        (b'{"AGE": 30, "age": 31}\n', "AGE and age mean the same, AGE: keep one of them$"),
    ],
)
def test_what_is_no_json_lines_as_a_whole_is_refused(content, words):
    refuse(Held("in.jsonl", content), words)


def write_as(suffix: str) -> bytes:
    "One client."
    table, out = pa.table({"AGE": [30], "KEY": ["x"]}), io.BytesIO()
    if suffix in WRITERS:
        return write_table(table, suffix)
    {".parquet": pq, ".orc": orc}[suffix].write_table(table, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.parquet", write_as(".csv"), "is text by its content: its name should have .csv"),
        ("in.parquet", write_as(".feather"), "is Arrow by its content: its name should have .arrow"),
        ("in.arrow", write_as(".parquet"), "is Parquet by its content: its name should have .parquet"),
        ("in.xlsx", write_as(".parquet"), "is Parquet by its content: its name should have .parquet"),
        ("in.sav", write_as(".parquet"), "is Parquet by its content"),
        ("in.arff", write_as(".xlsx"), "is a workbook or a zip file by its content"),
        ("in.csv", write_as(".jsonl"), "is JSON by its content: its name should have .jsonl"),
        ("in.orc", write_as(".jsonl"), "is JSON by its content: its name should have .jsonl"),
        ("in.zip", write_as(".csv"), "is text by its content"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(name, content, words, tmp_path):
    refuse(Held(name, content), words)
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, words)
    if name.endswith(".parquet"):
        memory = fsspec.filesystem("memory")
        memory.pipe_file(f"/clients/{name}", content)
        refuse(f"memory://clients/{name}", words)
        memory.rm("/clients", recursive=True)


def test_a_part_is_named_only_where_there_is_one(tmp_path):
    for suffix in (".csv", ".parquet", ".feather", ".jsonl", ".orc", ".xlsx"):
        (tmp_path / f"in{suffix}").write_bytes(write_as(suffix))
        for part in ("table", "query", *(["sheet"] if suffix != ".xlsx" else [])):
            with pytest.raises(DataError, match=f"which has no {part}: leave out --{part}"):
                open_source(tmp_path / f"in{suffix}", ("AGE",), Selection(**{part: "x"}))
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="is read as a folder, which has no query: leave out --query"):
        open_source(tmp_path / "folder", ("AGE",), Selection(query="x"))
    with pytest.raises(DataError, match="is read as a database, which has no sheet: leave out --sheet"):
        open_source("sqlite:///a.db", ("AGE",), Selection(sheet="x"))
    book = pack(**{"in.xlsx": write_as(".xlsx")})
    with pytest.raises(DataError, match="which has no query"):
        open_source(Held("in.zip", book), ("AGE",), Selection(query="x"))
    with pytest.raises(DataError, match="is read as CSV, which has no sheet"):
        open_source(Held("in.zip", pack(**{"in.csv": b"AGE\n30\n"})), ("AGE",), Selection(sheet="x"))
    assert list(open_source(Held("in.zip", book), ("AGE",), Selection(sheet="decisions")).chunks())


# Arrow and ARFF


def test_a_stream_of_arrow_must_end_with_its_mark():
    table, sink = pa.table({"AGE": [2**32 - 1]}), io.BytesIO()  # its bytes look like the mark
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
        writer.write_table(table)
        cut = len(sink.getvalue())
    whole = sink.getvalue()
    rows = [chunk.table.to_pylist() for chunk in open_source(Held("in.arrows", whole), ("AGE",)).chunks()]
    assert rows == [[{"AGE": 2**32 - 1}] * 2]
    refuse(Held("in.arrows", whole[:cut]), "in.arrows is a stream of Arrow that was cut short: make or copy")
    refuse(Held("in.arrows", whole + whole), "in.arrows holds more behind the end of its stream")
    with pa.ipc.new_stream(empty := io.BytesIO(), table.schema):
        pass
    assert not list(open_source(Held("in.arrows", empty.getvalue()), ("AGE",)).chunks())
    old = Held("in.feather", b"FEA1" + bytes(24) + b"FEA1")  # pyarrow is about to forget how to write one
    refuse(old, "in.feather is an old Feather file .version 1.: write it again")


def test_arff_keeps_whole_numbers_or_refuses_them():
    text = "@relation x\n@attribute AGE numeric\n@attribute rate real\n@attribute KEY numeric\n@data\n"
    rows = f"30,1.5,{2**53 - 1}\n?,2,1\n"
    (chunk,) = open_source(Held("in.arff", (text + rows).encode()), ("AGE",)).chunks()
    assert chunk.table.to_pydict() == {"AGE": [30, None], "rate": [1.5, 2], "KEY": [2**53 - 1, 1]}
    assert chunk.table.schema.types == [pa.int64(), pa.float64(), pa.int64()]
    for key in (2**53 + 1, -4000001234567899017):
        refuse(Held("in.arff", f"{text}30,1,{key}\n".encode()), "numbers of 2.53 or more in the column KEY")


# Archives


def pack(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_a_zip_file_is_its_one_table():
    text = b"AGE,NOTE\n30,a\n"
    assert len(read_lines(pack(**{"june.csv": text, "readme.md": b"-"}), "in.zip")[1]) == 1
    notes = dict.fromkeys(
        (".DS_Store", "__MACOSX/._a.csv", "x/._a.csv", "LICENSE", "a/", "README_1.txt"), b"-"
    )
    assert len(read_lines(pack(**{"june.csv": text} | notes), "in.zip")[1]) == 1
    for other in ("b.dat", "b.zip", "README_part1.csv", ".a.csv", "readme.csv", "b.pdf", "b.csv"):
        with pytest.raises(DataError, match=f"nothing else, and it holds june.csv, {other}: unpack it"):
            read_lines(pack(**{"june.csv": text, other: text}), "in.zip")
    for content in (
        pack(**{"a.csv": text, "b.csv": text}),
        pack(**{"readme.md": b"-"}),
        pack(**{"in.zip": pack(a=text)}),
    ):
        with pytest.raises(DataError, match="must hold one table"):
            read_lines(content, "in.zip")
    with pytest.raises(DataError, match="unpacks to more than 10 bytes"):
        unpack_zip(Held("in.zip", pack(**{"june.csv": text})), most=10)


# Everything that is written is read again as it was

KEYS = [
    "00012",
    "4000001234567899017",
    "12E3",
    "NA",
    "None",
    "1.10",
    "",
    "a;b",
    'say "hi"',
    "née",
    '5" pipe',
    "=1+1",
    "-",
    "@",
    "_x0041_",
    "_x005F_",
    "a_x000D_b",
    "two\r\nlines",
    "two\nlines",
]
MOMENTS = {
    "day": [dt.date(1899, 12, 31), dt.date(1900, 1, 1), dt.date(1900, 2, 28), dt.date(9999, 12, 31)],
    "moment": [
        dt.datetime(1900, 1, 1, 1),
        dt.datetime(1900, 3, 1, 2),
        dt.datetime(2024, 1, 15, 10, 30, 0, 1),
    ],
    "clock": [dt.time(1, 2, 3), dt.time(1, 2, 3, 999999), dt.time(23, 59, 59, 999000)],
    "span": [dt.timedelta(seconds=24), dt.timedelta(days=3, microseconds=7), dt.timedelta(seconds=-5)],
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_is_written_is_read_again_as_it_was(suffix):
    table = pa.table(
        {
            "AGE": [30] * len(KEYS),
            "KEY": KEYS,
            "WIDE": [4000001234567899017] * len(KEYS),
            "HALF": [0.1 + 0.2] * len(KEYS),
        }
    )
    dialects = [
        Dialect(),
        Dialect(";", comma=True, line_end="\r\n"),
        Dialect("\t", "utf-16-le", b"\xff\xfe"),
        Dialect(";", sep_line=True),
    ]
    for dialect in dialects if not WRITERS[suffix].typed else dialects[:1]:
        source, rows, broken = read_lines(write_table(table, suffix, dialect), f"out{suffix}")
        defused = [
            f"'{key}" if key.startswith("=") and suffix not in (".jsonl", ".feather") else key for key in KEYS
        ]
        got = [row["KEY"] for _, row in rows]
        if not suffix.startswith((".csv", ".tsv", ".txt", ".xlsx")):
            defused = KEYS
        assert [key or "" for key in got] == defused and not broken
        assert {str(row["WIDE"]) for _, row in rows} == {"4000001234567899017"}
        (chunk,) = source.chunks()
        style = "comma" if dialect.comma else "point"
        assert read_numbers(chunk.table["HALF"], style).tolist() == [0.1 + 0.2] * len(KEYS)


# Sentences about what is wrong


CELLS = st.one_of(
    st.from_regex(r"\A[ +\-\u2212]?[0-9]{1,3}([.,' \u00a0][0-9]{3}){0,2}([.,][0-9]{0,2})?(e[0-9])? ?\Z"),
    st.text(max_size=6),
    st.sampled_from(
        ["", "2.000", "20,000", "1e400", "007", ".5", "5.", "0x10", "1_000", "\u0662", "1 000,5"]
    ),
)


@given(CELLS)
def test_the_readings_of_a_text_are_those_of_a_column(text):
    column = pa.chunked_array([[text]])
    numbers = [float(read_numbers(column, style)[0]) for style in ("point", "comma")]
    read = [f"{number:g}" if number % 1 else f"{number:.0f}" for number in numbers if number == number]
    assert list_readings(text) == list(
        dict.fromkeys(each.replace("-0", "0") if each == "-0" else each for each in read)
    )


ROWS = st.lists(
    st.tuples(CELLS, CELLS, st.sampled_from(["", "M", "2.000", "1", "2"])), min_size=1, max_size=9
)


@given(ROWS)
def test_rows_are_described_together_as_each_is_alone(cells):
    table = pa.table(dict(zip(["LIMIT_BAL", "AGE", "sex"], map(list, zip(*cells)), strict=True)))
    fields = Fields(resolve_names(table.column_names), Styles(["LIMIT_BAL", "AGE"], lambda: [table]))
    numbers = {name: fields.read(table, name) for name in ("AGE", "SEX", "LIMIT_BAL")}
    alone = [
        fields.describe(row, {name: float(values[at]) for name, values in numbers.items()})
        for at, row in enumerate(table.to_pylist())
    ]
    assert describe_rows(fields, table, numbers) == alone
    assert [not why for why in alone] == find_good_rows(numbers).tolist()


def test_many_rejects_are_described_fast():
    n = 3_000
    table = pa.table({name: [f"{20 + at % 900}.000" for at in range(n)] for name in CLIENT_COLUMNS})
    fields = Fields(resolve_names(table.column_names))
    start = time.perf_counter()
    reasons = describe_rows(fields, table, {name: np.full(n, np.nan) for name in CLIENT_COLUMNS})
    assert time.perf_counter() - start < 2  # one by one through Arrow it was 8 s
    assert "LIMIT_BAL must be" in reasons[0] and "AGE must be" in reasons[0]


@pytest.mark.parametrize(
    ("name", "cell", "shown"),
    [
        *(("AGE", cell, "an empty cell") for cell in (None, "", "  ", math.nan, Decimal("NaN"))),
        ("AGE", dt.date(1900, 1, 24), "1900-01-24"),
        ("AGE", dt.timedelta(seconds=24), "0:00:24"),
        ("AGE", b"20000", "'20000' (bytes)"),
        ("AGE", True, "True"),
        ("AGE", "1e400", "'1e400'"),
        ("AGE", math.inf, "inf"),
        ("AGE", "24 years", "'24 years'"),
        ("SEX", "2.000", "'2.000': write 2"),
        ("LIMIT_BAL", "20.000", "'20.000': write 20000"),
        ("BILL_AMT1", "20.000", "'20.000', which can be 20 or 20000"),
        ("PAY_0", "-5.000", "'-5.000'"),
    ],
)
def test_a_cell_is_shown_as_people_read_it(name, cell, shown):
    number = math.inf if cell in ("1e400", math.inf) else math.nan
    assert Fields({name: "own"}).describe({"own": cell}, {name: number}).endswith(f", got {shown}")


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_are_read_again_from_a_workbook_as_they_were(name):
    for cell in MOMENTS[name]:
        table = pa.table({"AGE": [30], name: [cell]})
        _, ((_, row),), _ = read_lines(write_table(table, ".xlsx"), "out.xlsx")
        assert row[name] == cell or row[name] == write_cell(cell)


@pytest.mark.parametrize("text", ["\x1a", "\ufffe", "\uffff", "_x005F_x0041_", "<r>b</r>"])
@pytest.mark.parametrize("place", ["cell", "name"])
def test_a_text_that_a_workbook_would_change_is_refused(text, place):
    table = pa.table({"AGE": [30], "a" if place == "cell" else text: [text if place == "cell" else "a"]})
    with pytest.raises(DataError, match=r"a workbook cannot hold a (control character|text)"):
        write_table(table, ".xlsx")


@pytest.mark.skipif(shutil.which("soffice") is None, reason="soffice (LibreOffice) is not installed")
def test_libreoffice_reads_what_xlsx_escapes(tmp_path):
    keys = ["_x0041_", "a_x000D_b", "two\nlines"]
    (tmp_path / "a.xlsx").write_bytes(write_table(pa.table({"KEY": keys}), ".xlsx"))
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    command = [
        "soffice",
        "--headless",
        profile,
        "--convert-to",
        "csv",
        "--outdir",
        tmp_path,
        tmp_path / "a.xlsx",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with (tmp_path / "a.csv").open(newline="") as opened:
        assert [row[0] for row in csv.reader(opened)] == ["KEY", *keys]


@pytest.mark.parametrize("cell", [math.inf, -math.inf, [math.nan]])
def test_json_has_no_infinite_numbers(cell):
    with pytest.raises(DataError, match=r"JSON has no infinite numbers.*\.parquet"):
        write_table(pa.table({"x": [cell]}), ".jsonl")
