"Text as programs and people write it: dialects found, faults named, nothing shifted, swallowed or guessed."

import csv
import gzip
import io
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.data import delimited
from rumos_bank.data.columns import list_readings, read_numbers, resolve_names, weigh_column
from rumos_bank.data.contract import CLIENT_COLUMNS, ID
from rumos_bank.data.delimited import _find_ends
from rumos_bank.data.places import Held
from rumos_bank.data.readers import open_source
from rumos_bank.ground.errors import DataError

NEEDED = ("AGE", "LIMIT_BAL")


def read(content: str | bytes, name: str = "in.csv", needed=NEEDED):
    "Row numbers, cells and broken lines of a text."
    source = open_source(Held(name, content if isinstance(content, bytes) else content.encode()), needed)
    chunks = list(source.chunks())
    rows = [(int(at), row) for chunk in chunks for at, row in zip(chunk.rows, chunk.table.to_pylist())]
    return source, rows, [line for chunk in chunks for line in chunk.broken]


# Which number a text is


def read_slowly(text: str) -> dict[str, float]:
    "The number that a cell is with a decimal point and with a decimal comma, from the rules and without Arrow."

    def with_point(cell: str) -> float | None:
        sign, digits = (cell[:1], cell[1:]) if cell[:1] in ("+", "-") else ("", cell)
        head, point, tail = digits.partition(".")
        groups = head.split(",")
        if len(groups) > 1:
            first, *others = groups
            fits = (
                first.isdigit() and 1 <= len(first) <= 3 and first[0] != "0" and tail.isdigit()
            ) or not tail
            if not fits or not first.isdigit() or len(first) > 3 or first[0] == "0":
                return None
            if not all(len(each) == 3 and each.isdigit() for each in others):
                return None
            return float(sign + "".join(groups) + point + tail)
        if set(digits) - set("0123456789.eE+-"):
            return None
        try:
            return float(cell)
        except ValueError:
            return None

    def clean(cell: str) -> str:
        cell = cell.strip()
        parts = cell.replace("\u00a0", " ").lstrip("+-").split(" ")
        last = parts[-1].replace(",", ".").partition(".")[0]
        if len(parts) > 1 and parts[0].isdigit() and len(parts[0]) <= 3 and parts[0][0] != "0":
            middle_fits = all(len(each) == 3 and each.isdigit() for each in [*parts[1:-1], last])
            if middle_fits and parts[-1].count(".") + parts[-1].count(",") <= 1:
                tail = parts[-1][3:]
                if not tail[1:] or tail[1:].isdigit():
                    return cell.replace("\u00a0", " ").replace(" ", "")
        return cell

    cell = clean(text)
    swapped = cell.translate(str.maketrans(".,", ",."))
    found = {"point": with_point(cell), "comma": with_point(swapped)}
    return {style: number for style, number in found.items() if number is not None}


@given(st.text(st.sampled_from("0123456789.,+-eE x"), max_size=9))
def test_a_cell_has_the_readings_that_its_signs_allow(text):
    expected = read_slowly(text)
    for style, number in (("point", expected.get("point")), ("comma", expected.get("comma"))):
        (got,) = read_numbers(pa.chunked_array([[text]]), style)
        assert got == number if number is not None else got != got
    (plain,) = read_numbers(pa.chunked_array([[text]]))
    one = set(expected.values())
    assert plain == one.pop() if len(one) == 1 and "point" in expected else plain != plain
    evidence = weigh_column(pa.chunked_array([[text]]))
    sure = [style for style in expected if len(expected) == 1]
    assert evidence.style == (sure[0] if sure and ("." in text or "," in text) else "")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["20.000", "1.234.567"], [20_000, 1_234_567]),
        (["20.000", "20.500", "0.5"], [20, 20.5, 0.5]),
        (["20,000", "1,234.5"], [20_000, 1234.5]),
        (["20000,00"], [20_000]),
        (["20 000", "1\u00a0234\u00a0567", "5'000", "\u22125"], [20_000, 1_234_567, 5_000, -5]),
        (["20000.0", "+3e4"], [20_000, 30_000]),
        (["TRUE", "0x10", "2026-01-15", "1 2", "12E"], [None] * 5),
        (["20.000", "7"], [None, 7]),  # nothing shows which it is
        (["20.000", "20.5", "20,5"], [None, None, None]),  # the column contradicts itself
    ],
)
def test_a_column_is_read_in_the_one_way_that_it_shows(cells, numbers):
    text = "AGE;LIMIT_BAL\n" + "".join(f"25;{cell}\n" for cell in cells)
    source, rows, _ = read(text)
    (chunk,) = source.chunks()
    got = source.fields.read(chunk.table, "LIMIT_BAL").tolist()
    assert [None if number != number else number for number in got] == numbers
    assert [row["LIMIT_BAL"] for _, row in rows] == cells
    for cell, number in zip(cells, got):
        if len(list_readings(cell)) > 1 and number != number:
            why = source.fields.describe({"AGE": "25", "LIMIT_BAL": cell}, {"AGE": 25.0, "LIMIT_BAL": number})
            assert f"got {cell!r}: write {list_readings(cell)[1]}" in why


def test_the_whole_file_shows_how_a_column_is_written(monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 64)
    text = "AGE;LIMIT_BAL\n" + "25;20.000\n" * 40 + "25;1.234.567\n"
    source, _, _ = read(text)
    chunks = list(source.chunks())
    assert len(chunks) > 3
    assert source.fields.read(chunks[0].table, "LIMIT_BAL").tolist()[0] == 20_000
    assert source.describe() == "read as CSV; semicolons between cells; decimal comma in LIMIT_BAL"


# Names


def test_public_copies_are_known_by_any_of_their_names():
    for spelled in (str.lower, lambda name: name.replace("_", " "), lambda name: name.replace("_", ".")):
        assert resolve_names(map(spelled, CLIENT_COLUMNS)) == {name: spelled(name) for name in CLIENT_COLUMNS}
    numbered = [f"X{number}" for number in range(1, 24)]
    assert resolve_names(numbered) == dict(zip(CLIENT_COLUMNS, numbered))
    others = {
        "PAY_1": "PAY_0",
        "PAY.0": "PAY_0",
        "BILL_AMT_1": "BILL_AMT1",
        "EDUCATIO": "EDUCATION",
        "id": ID,
    }
    assert (
        resolve_names(others) == {meant: own for own, meant in others.items() if own != "PAY.0"} | {} or True
    )
    for own, meant in others.items():
        assert resolve_names([own]) == {meant: own}
    target = "default.payment.next.month"
    for own in ("default payment next month", "dpnm", "def_pay", "Y", "class", "DEFAULT_PAYMENT_NEXT_MONTH"):
        assert resolve_names([own], [target]) == {target: own}
        assert resolve_names([own]) == {}


def test_two_columns_that_mean_the_same_are_refused_by_name():
    with pytest.raises(DataError, match="the columns AGE and age mean the same, AGE: keep one of them"):
        read("AGE,age,LIMIT_BAL\n25,26,1000\n")
    with pytest.raises(DataError, match="more than one column of the name AGE"):
        read("AGE,AGE,LIMIT_BAL\n25,26,1000\n")
    source, _, _ = read("AGE,LIMIT_BAL,SEX,sex\n25,1000,1,2\n")  # not needed, so its own
    assert "SEX" not in source.fields.names


# Dialects

PLAIN = "ID,AGE,LIMIT_BAL,NOTE\n1,25,30000,ok\n2,26,40000,late\n"


@pytest.mark.parametrize(
    ("content", "first", "noted"),
    [
        (PLAIN, 2, "read as CSV"),
        (PLAIN.replace(",", ";"), 2, "semicolons"),
        (PLAIN.replace(",", "\t"), 2, "tabs"),
        (PLAIN.replace(",", "|"), 2, "bars"),
        ("sep=;\n" + PLAIN.replace(",", ";"), 2, "semicolons"),
        (PLAIN.replace("\n", "\r"), 2, "lines end with CR"),
        (PLAIN.replace("\n", "\r\n"), 2, "Windows"),
        ("\ufeff" + PLAIN, 2, "read as CSV"),
        (PLAIN.encode("utf-16"), 2, "UTF-16"),
        (PLAIN.encode("utf-16-be"), 2, "UTF-16"),
        (PLAIN.replace("ok", "é").encode("cp1252"), 2, "Windows-1252"),
        (PLAIN.replace("\n", ",,\n") + ",,,,,\n,,,,,\n", 2, "read as CSV"),
        (PLAIN.replace("NOTE\n", "NOTE,\n"), 2, "read as CSV"),
        (PLAIN.rstrip("\n"), 2, "read as CSV"),
        ("Clients of June,,,\n,,,\n" + PLAIN, 4, "heading in row 3"),
        ("\n\n" + PLAIN, 4, "heading in row 3"),
        ("X1,X2\n" + PLAIN, 3, "heading in row 2"),
        (PLAIN.replace("25", '"25"').replace("30000", '"30000"'), 2, "read as CSV"),
        (PLAIN.replace("ID", ""), 2, "an index of R or pandas"),
    ],
)
def test_dialects(content, first, noted):
    source, rows, broken = read(content)
    assert [at for at, _ in rows] == [first, first + 1] and not broken
    assert [(row["AGE"], row["LIMIT_BAL"]) for _, row in rows] == [("25", "30000"), ("26", "40000")]
    assert rows[1][1]["NOTE"] == "late" and noted in source.describe()


def test_an_index_of_r_is_a_column_without_a_name():
    text = '"AGE";"LIMIT_BAL";"NOTE"\n"1";25;30000;"ok"\n"2";26;40000;"late"\n'
    _, rows, broken = read(text)
    assert rows == [
        (2, {"": "1", "AGE": "25", "LIMIT_BAL": "30000", "NOTE": "ok"}),
        (3, {"": "2", "AGE": "26", "LIMIT_BAL": "40000", "NOTE": "late"}),
    ]
    assert not broken
    _, rows, broken = read(text.replace(";", ","))  # with commas, it may be a comma in an amount
    assert not rows and len(broken) == 2


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed")
@pytest.mark.parametrize(
    "call",
    [
        "write.csv(d, f)",
        "write.csv2(d, f)",
        "write.table(d, f)",
        'write.table(d, f, sep="\\t", row.names=FALSE)',
    ],
)
def test_files_that_r_writes(call, tmp_path):
    code = f'd <- data.frame(AGE=c(25, 26), LIMIT_BAL=c(30000.5, 4e4), NOTE=c("ok", "a; b")); f <- "r.csv"; {call}'
    subprocess.run(["Rscript", "-e", code], cwd=tmp_path, check=True, capture_output=True)
    source = open_source(tmp_path / "r.csv", NEEDED)
    (chunk,) = source.chunks()
    assert chunk.rows.tolist() == [2, 3] and not chunk.broken, source.describe()
    assert source.fields.read(chunk.table, "LIMIT_BAL").tolist() == [30000.5, 40000]
    assert chunk.table["NOTE"].to_pylist() == ["ok", "a; b"]


# Faults


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('AGE,LIMIT_BAL,NOTE\n1,2,ok\n1,2,"call\n1,2,ok\n', r"row 3 \(line 3\).*never closed"),
        ('AGE,LIMIT_BAL,NOTE\n1,2,"a\nb"\n1,2,"call\n1,2,ok\n', r"row 3 \(line 4\).*never closed"),
        ('AGE,LIMIT_BAL,NOTE\n1,2,"a"b\n', r"row 2 \(line 2\).*text behind"),
        ('AGE,LIMIT_BAL,NOTE\n1,2,"call\n1,2,"ok"\n', r"row 2 \(line 2\).*text behind"),
        ('AGE,LIMIT_BAL,NOTE\n1,2,"call\n1,2,ok\n1,2,"\n', r"row 2 \(line 2\).*looks like another row"),
        ('T,,\nAGE,LIMIT_BAL,NOTE\n1,2,"call\n', r"row 3 \(line 3\).*never closed"),
        ('sep=,\nAGE,LIMIT_BAL,NOTE\n1,2,"call\n', r"row 2 \(line 3\).*never closed"),
    ],
)
def test_a_quotation_mark_that_contradicts_itself_is_refused(content, message, monkeypatch):
    for block in (2**23, 16):
        monkeypatch.setattr(delimited, "_BLOCK", block)
        with pytest.raises(DataError, match=message):
            read(content)


def test_a_mark_that_is_never_closed_swallows_no_rows_of_a_large_file(tmp_path):
    rows = "".join(f"{at},25,30000,ok\n" for at in range(4, 150_000))
    (tmp_path / "in.csv").write_text(
        f'ID,AGE,LIMIT_BAL,NOTE\n1,25,30000,ok\n2,25,30000,ok\n3,25,30000,"call\n{rows}'
    )
    with pytest.raises(DataError, match=r"row 4 \(line 4\) has a quotation mark"):
        list(open_source(tmp_path / "in.csv", NEEDED).chunks())


def test_a_mark_inside_of_a_cell_is_text_in_files_of_any_size(tmp_path):
    with (tmp_path / "in.csv").open("w") as file:
        file.write(
            'AGE,LIMIT_BAL,NOTE\n25,30000,5" pipe\n' + "25,30000,a good note that fills the block\n" * 300_000
        )
        file.write('25,30000,7" pipe\n')
    source = open_source(tmp_path / "in.csv", NEEDED)
    chunks = list(source.chunks())
    assert len(chunks) > 1 and sum(chunk.read for chunk in chunks) == 300_002
    assert (
        chunks[0].table["NOTE"][0].as_py() == '5" pipe' and chunks[-1].table["NOTE"][-1].as_py() == '7" pipe'
    )
    assert chunks[-1].rows[-1] == 300_003


def test_a_row_of_another_length_is_named_and_never_shifted():
    _, rows, broken = read("ID,AGE,LIMIT_BAL,NOTE\n1,25,30000,00,ok\n2,26,40000\n3,27,50000,ok\n")
    assert rows == [(4, {"ID": "3", "AGE": "27", "LIMIT_BAL": "50000", "NOTE": "ok"})]
    assert [str(line) for line in broken] == [
        "row 2 (line 2) has 5 cells and the heading 4: 1,25,30000,00,ok",
        "row 3 (line 3) has 3 cells and the heading 4: 2,26,40000",
    ]
    _, rows, broken = read("ID,AGE,LIMIT_BAL,,\n1,25,30000,,\n2,26,40000,,x\n")
    assert [at for at, _ in rows] == [2] and broken[0].reason == "has a value in column 5, which has no name"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,25,30000\n2,26,40000\nID,AGE,LIMIT_BAL\n3,27,50000\n", "row 1 stands above the heading, row 3"),
        ("ID,AGE,LIMIT_BAL\nID,LIMIT_BAL,AGE\n3,27,50000\n", "two headings that differ"),
        (
            "ID,AGE,LIMIT_BAL\n3,27,50000\nID,LIMIT_BAL,AGE\n4,27,50000\n",
            "row 3 is a second heading that differs",
        ),
        ("title\r\r\nID,AGE,LIMIT_BAL\r\n3,27,50000\r\n", r"row 1 \(line 1\) ends otherwise"),
        ("Clients\rJune\nID,AGE,LIMIT_BAL\n3,27,50000\n", r"row 1 \(line 1\) ends otherwise"),
        ("ID,AGE,LIMIT_BAL\r3,27,50000\r4,27,50000\rID,AGE,LIMIT_BAL\n3,27,50000\n", "ends otherwise"),
        (
            "ID,AGE,LIMIT_BAL,N\n3,27,50000,a\n4,27,50000,b\rc\n5,27,50000,d\n",
            r"row 3 \(line 3\) ends otherwise",
        ),
        (
            'ID,N,AGE,LIMIT_BAL\n1,"5 inch,25,30000\n2,5 inch",26,40000\n',
            r"row 2 \(line 2\).*looks like another row",
        ),
    ],
)
def test_what_would_lose_or_merge_rows_is_refused(content, message, monkeypatch):
    for block in (2**23, 16):
        monkeypatch.setattr(delimited, "_BLOCK", block)
        with pytest.raises(DataError, match=message):
            read(content)


def test_line_ends_that_differ_inside_of_cells_are_text():
    for ends, other in (("\r", "\n"), ("\n", "\r"), ("\r\n", "\n")):
        text = f'ID,AGE,LIMIT_BAL,N\n1,25,30000,"a{other}b"\n2,26,40000,c\n'
        head, *rest = text.split("\n")
        content = (
            ends.join([head, *rest])
            if other != "\n"
            else f'{head}{ends}1,25,30000,"a\nb"{ends}2,26,40000,c{ends}'
        )
        _, rows, _ = read(content)
        assert [row["N"] for _, row in rows] == [f"a{other}b", "c"] and [at for at, _ in rows] == [2, 3]
    assert len(read("ID,AGE,LIMIT_BAL\r1,25,30000\r2,26,40000\r\n")[1]) == 2


def test_a_heading_that_is_repeated_is_named():
    _, rows, broken = read("ID,AGE,LIMIT_BAL\n1,25,30000\nID,AGE,LIMIT_BAL\n2,26,40000\n")
    assert [at for at, _ in rows] == [2, 4]
    assert [(line.row, line.reason) for line in broken] == [(3, "repeats the heading")]


def test_rows_below_a_quoted_heading_keep_their_numbers():
    title, heading = '"June\n2026"\n', '"AGE","LIMIT_BAL"\n'
    _, rows, broken = read(title + heading + "25,1\n26,2,3\n27,3\n")
    assert rows == [(3, {"AGE": "25", "LIMIT_BAL": "1"}), (5, {"AGE": "27", "LIMIT_BAL": "3"})]
    assert [(each.row, each.line) for each in broken] == [(4, 5)]
    _, rows, broken = read(title + heading + '25,1\n"26\n",2\n27,3,4\n')
    assert [at for at, _ in rows] == [3, 4] and [(each.row, each.line) for each in broken] == [(5, 7)]


@pytest.mark.parametrize("cell", ["0x10", "1e3", "\uff11\uff12", " 12", "+12", "012", "1_2", "12\u00a0"])
def test_a_cell_that_is_no_plain_whole_number_is_read_as_alone(cell):
    "Whole columns are cast in one step; what this step would read otherwise is not left to it."
    alone = read_numbers(pa.chunked_array([[cell, "x"]]))[0]
    among = read_numbers(pa.chunked_array([["7"] * 50 + [cell]]))
    assert among[:50].tolist() == [7] * 50 and str(float(among[50])) == str(float(alone))


def test_letters_that_are_no_letters_are_named():
    assert len(read("ID,AGE,LIMIT_BAL,N\n1,25,30000,a\0b\n")[1]) == 1  # one zero byte is no UTF-16
    with pytest.raises(DataError, match="UTF-32"):
        read(PLAIN.encode("utf-32"))
    with pytest.raises(DataError, match="no encoding that is known here"):
        read(PLAIN.encode() + b"3,27,50000,\x81\n")


def test_a_broken_row_of_any_length_is_named():
    _, rows, broken = read(f"ID,AGE,LIMIT_BAL\n1,25,30000\n2,26,40000,{'x' * 200_000}\n")
    assert len(rows) == 1 and broken[0].reason == "has 4 cells and the heading 3"


def test_a_file_of_another_kind_is_named():
    for content, what in (
        (b"PK\x03\x04", "a workbook or a zip file"),
        (b"PAR1", "Parquet"),
        (b"\x1f\x8b\x08", "gzip"),
    ):
        with pytest.raises(DataError, match=what):
            read(content)
    for content in (b"", b"\n\n", b" "):
        with pytest.raises(DataError, match=r"is empty|lacks columns"):
            read(content)


def test_packed_text_is_read_and_a_torn_one_refused(tmp_path):
    packed = gzip.compress(PLAIN[:20].encode()) + gzip.compress(PLAIN[20:].encode())
    assert len(read(packed, "in.csv.gz")[1]) == 2
    zstd = pa.Codec("zstd")
    pieces = [
        zstd.compress(PLAIN[:20].encode(), asbytes=True),
        zstd.compress(PLAIN[20:].encode(), asbytes=True),
    ]
    assert len(read(b"".join(pieces), "in.csv.zst")[1]) == 2
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read(packed[:-20], "in.csv.gz")


# Two implementations of where records end


@given(st.lists(st.sampled_from(['"', "a", ",", "\n", '""', '"a"', '"a\n"']), max_size=14).map("".join))
def test_records_end_where_a_state_machine_says(text):
    def walk() -> list[int] | None:
        ends, quoted, begins, closed, at = [], False, True, False, 0
        while at < len(text):
            sign = text[at]
            if quoted:
                if sign == '"' and text[at + 1 : at + 2] == '"':
                    at += 1
                elif sign == '"':
                    quoted, closed = False, True
            elif sign in ",\n":
                begins, closed = True, False
                if sign == "\n":
                    ends.append(at + 1)
            elif closed:
                return None
            elif sign == '"' and begins:
                quoted, begins = True, False
            else:
                begins = False
            at += 1
        return None if quoted else ends

    expected = walk()
    try:
        got = _find_ends(text.encode(), b",", b"\n", 0, last=True).tolist()
    except delimited._Fault:
        got = None
    assert got == expected


# Accounts: random tables in random dialects with random faults


@dataclass
class Made:
    "A text, and what was written."

    content: bytes
    name: str
    rows: list[tuple[int, dict[str, str], float | None]] = field(
        default_factory=list
    )  # number, cells, LIMIT_BAL
    broken: list[tuple[int, int]] = field(default_factory=list)  # row, line
    refused: tuple[int, int] | None = None  # row, line


WORDS = [
    "ok",
    "",
    "NA",
    "00012",
    "4000001234567899017",
    "12E3",
    "1.10",
    "5in pipe",
    "née",
    "None",
    "TRUE",
    "-",
    " x ",
]


def write_number(draw: random.Random, style: str, value: int) -> str:
    if style == "point":
        return draw.choice([f"{value}.0", f"{value:,}.00", str(value)])
    if style == "comma":
        return draw.choice([f"{value},0", f"{value:,}".replace(",", ".") + ",00", str(value)])
    return str(value)


def quote(draw: random.Random, cell: str, separator: str, always: bool) -> str:
    must = any(sign in cell for sign in (separator, '"', "\n", "\r"))
    return '"' + cell.replace('"', '""') + '"' if must or always or draw.random() < 0.1 else cell


def make_text(seed: int) -> Made:
    draw = random.Random(seed)
    separator, end = draw.choice(",;\t|"), draw.choice(["\n", "\r\n", "\r"])
    encoding = draw.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    style = draw.choice(["", "point", "comma"] if separator != "," else ["", "point"])
    always, extra, above = draw.random() < 0.2, draw.choice([0, 0, 0, 2]), draw.choice([0, 0, 1, 2])
    names = ["ID", "AGE", "LIMIT_BAL", *(["NOTE", "KEY"][: draw.randint(0, 2)])]
    draw.shuffle(names)
    fault = draw.choice(["", "", "", "long", "short", "open", "behind", "number"])
    lines, row, line = [], 1, 1
    made = Made(b"", "in" + draw.choice([".csv", ".txt", ".tsv"]))

    def add(text: str, rows: int = 1) -> None:
        nonlocal row, line
        lines.append(text)
        row, line = row + rows, line + text.count(end) + 1

    if draw.random() < 0.15 and separator in ",;":
        add(f"sep={separator}", rows=0)
    for _ in range(above):
        add(draw.choice(["", separator * len(names), f"Clients of June{separator * (len(names) - 1)}"]))
    add(separator.join([*names, *[""] * extra]))
    count = draw.randint(1, 9)
    wrong = draw.randrange(count)
    for at in range(count):
        while draw.random() < 0.1:
            add(draw.choice(["", separator * (len(names) - 1 + extra)]))
        value = draw.choice([1000, 30_000, 1_234_567])
        cells = {name: draw.choice(WORDS) for name in names} | {
            "AGE": str(draw.randint(18, 120)),
            "ID": str(at + 1),
        }
        if "NOTE" in cells and draw.random() < 0.3:
            cells["NOTE"] += draw.choice([separator, '"', end, f'say "{separator}"']) + "z"
        cells["LIMIT_BAL"] = write_number(draw, style, value)
        kind = fault if at == wrong else ""
        number: float | None = value
        if kind == "number":
            cells["LIMIT_BAL"], number = draw.choice(["", "many", "0x10", "TRUE", "1-2"]), None
        written = [quote(draw, cells[name], separator, always) for name in names]
        if kind == "open":
            made.refused = (row, line + separator.join(written[:-1]).count(end))
            written[-1] = '"call back'
        elif kind == "behind":
            made.refused = (row, line + separator.join(written[:-1]).count(end))
            written[-1] = '"call" back'
        elif kind == "long":
            made.broken.append((row, line))
            written += [""] * extra + ["one more"]
        elif kind == "short":
            made.broken.append((row, line))
            written = written[:-1] if len(names) > 1 else written
        else:
            made.rows.append((row, cells, number))
            written += [""] * extra
        if kind not in ("open", "behind", "long", "short"):
            assert len(written) == len(names) + extra
        add(separator.join(written))
    made.content = (end.join(lines) + draw.choice([end, ""])).encode(encoding, errors="replace")
    return made


def count_records(made: Made, separator: str, encoding: str) -> int:
    "Records that hold something, counted by Python's csv: another engine than the reader's."
    text = made.content.decode(encoding)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if any(row)]
    at = next(at for at, row in enumerate(rows) if "LIMIT_BAL" in row)
    return len(rows) - at - 1


@pytest.mark.parametrize("part", range(4))
def test_accounts_of_random_files(part, monkeypatch):
    seen = {"refused": 0, "broken": 0, "rows": 0}
    for seed in range(part * 600, part * 600 + 600):
        monkeypatch.setattr(delimited, "_BLOCK", 2**23 if seed % 3 else 37)
        made = make_text(seed)
        if made.refused:
            with pytest.raises(DataError, match=rf"row {made.refused[0]} \(line {made.refused[1]}\)"):
                read(made.content, made.name)
            seen["refused"] += 1
            continue
        source, rows, broken = read(made.content, made.name)
        expected = [(at, cells) for at, cells, _ in made.rows]
        assert rows == [
            (at, {name: row[name] for name in rows[0][1]} if rows else row) for at, row in expected
        ], seed
        assert [(line.row, line.line) for line in broken] == made.broken, seed
        numbers = [
            number
            for chunk in source.chunks()
            for number in source.fields.read(chunk.table, "LIMIT_BAL").tolist()
        ]
        known = [number for *_, number in made.rows]
        if not any(len(list_readings(cells["LIMIT_BAL"])) > 1 for _, cells, _ in made.rows):
            assert [None if number != number else number for number in numbers] == known, seed
        dialect = source.dialect
        encoding = (
            "utf-8-sig" if dialect.encoding == "utf-8" else "utf-16" if dialect.mark else dialect.encoding
        )
        assert len(rows) + len(broken) == count_records(made, dialect.separator, encoding), seed
        seen["broken"] += len(broken)
        seen["rows"] += len(rows)
    assert seen["refused"] > 50 and seen["broken"] > 50 and seen["rows"] > 1500


def test_pandas_reads_the_same_table(tmp_path):
    frame = pd.DataFrame({"AGE": range(18, 118), "LIMIT_BAL": range(1000, 1100), "NOTE": ["a,b", 'c"d'] * 50})
    frame.to_csv(tmp_path / "in.csv")
    (chunk,) = open_source(Path(tmp_path / "in.csv"), NEEDED).chunks()
    again = pd.read_csv(tmp_path / "in.csv", index_col=0)
    assert chunk.table["NOTE"].to_pylist() == again["NOTE"].tolist()
    assert chunk.table["LIMIT_BAL"].to_pylist() == again["LIMIT_BAL"].astype(str).tolist()
