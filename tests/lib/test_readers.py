"Files of clients as programs write them: strange headings, stray quotation marks, folders with more in them than clients."

import csv
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.data import readers
from rumos_bank.data.readers import _end_of_records, defuse_cells, defuse_text, open_source
from rumos_bank.ground.errors import DataError


def read_rows(path: Path) -> list[dict]:
    return [row for chunk in open_source(path, ("AGE",)).chunks() for row in chunk.table.to_pylist()]


# Where records end


def find_end_slowly(block: bytes) -> int:
    "The last line break before which the quotation marks are even, each time counted from the beginning."
    ends = [at for at in range(len(block)) if block[at : at + 1] == b"\n" and not block[:at].count(b'"') % 2]
    return ends[-1] + 1 if ends else 0


@given(st.text('a,"\n', max_size=60).map(str.encode))
def test_records_end_before_the_last_line_break_with_even_marks(block):
    assert _end_of_records(block) == find_end_slowly(block)


class Counted(bytes):
    "Bytes that remember how many of them were searched for quotation marks."

    searched = 0

    def count(self, sub, start=0, end=None):  # type: ignore[override]
        end = len(self) if end is None else end
        self.searched += end - start
        return super().count(sub, start, end)


def test_a_stray_mark_does_not_count_every_line_again():
    block = Counted(b'1,a"b\n' + b"2,c\n" * 5_000)
    assert _end_of_records(block) == 0
    assert block.searched <= 2 * len(block)


def test_a_stray_mark_in_a_small_file_is_text(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_BLOCK", 64)
    (tmp_path / "in.csv").write_text('AGE,note\n30,a\n31,19" screen\n' + "32,b\n" * 50)
    rows = read_rows(tmp_path / "in.csv")
    assert len(rows) == 52 and rows[1] == {"AGE": "31", "note": '19" screen'}


# Headings


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [16, 2**23])
def test_a_heading_may_be_of_two_lines_and_begin_late(ends, block, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_BLOCK", block)
    text = '\n\n"AGE","paid\nback"\n30,a\n31,b\n'.replace("\n", ends)
    (tmp_path / "in.csv").write_bytes(text.encode())
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    for path in (tmp_path / "in.csv", tmp_path / "in.csv.gz"):
        (chunk, *more) = open_source(path, ("AGE",)).chunks()
        rows = [row for each in (chunk, *more) for row in each.table["AGE"].to_pylist()]
        assert rows == ["30", "31"] and chunk.rows[0] == 1
        assert chunk.table.column_names == ["AGE", f"paid{ends}back"]


def test_an_inch_mark_in_a_heading_is_text(tmp_path):
    (tmp_path / "in.csv").write_text('AGE,screen 19"\n30,a\n31,b\n')
    assert [row['screen 19"'] for row in read_rows(tmp_path / "in.csv")] == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [b"AGE,note\r30,a\r31,b\r", b"AGE," + b"x" * 200_000 + b"\n30,a\n"],
    ids=["the line ends of an old machine", "a cell without end"],
)
def test_what_the_reader_of_csv_refuses_is_named(content, tmp_path):
    (tmp_path / "in.csv").write_bytes(content)
    others = csv.field_size_limit(131_072)  # Python's own; scipy.io lifts it for the whole process
    try:
        with pytest.raises(DataError, match=r"in\.csv cannot be read as \.csv"):
            open_source(tmp_path / "in.csv", ("AGE",))
    finally:
        csv.field_size_limit(others)


def test_a_damaged_archive_is_refused(tmp_path):
    packed = bytearray(gzip.compress(b"AGE,note\n" + np.random.default_rng(0).bytes(50_000).hex().encode()))
    packed[200:400] = bytes(200)
    (tmp_path / "in.csv.gz").write_bytes(packed)
    with pytest.raises(DataError, match=r"cannot be read as \.csv\.gz"):
        list(open_source(tmp_path / "in.csv.gz", ("AGE",)).chunks())


def test_a_damaged_spreadsheet_is_refused(tmp_path):
    import zipfile

    import openpyxl

    openpyxl.Workbook().save(tmp_path / "whole.xlsx")
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "in.xlsx", "w") as damaged,
    ):
        for name in whole.namelist():
            damaged.writestr(name, b"<no xml" if name.endswith("workbook.xml") else whole.read(name))
    with pytest.raises(DataError, match=r"in\.xlsx cannot be read as \.xlsx"):
        open_source(tmp_path / "in.xlsx", ("AGE",))


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
    with pytest.raises(DataError, match=r"its folders name too.*month.*drop it from the files"):
        open_source(tmp_path, ("AGE",))


# Formulas


@given(st.text("=+-@\t\r\n1.٣eE a'", max_size=6))
def test_one_text_is_defused_as_a_column_is(text):
    assert defuse_cells(pa.table({"cell": [text]}))["cell"].to_pylist() == [defuse_text(text)]
