"Workbooks as spreadsheet programs, R and Python write them: every client with its row, or a refusal by name."

import datetime as dt
import io
import re
import shutil
import struct
import subprocess
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest

from rumos_bank.data import sheets
from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.places import CHUNK_ROWS, Held, Selection, digest_place
from rumos_bank.data.sheets import find_workbook_kind, open_sheet
from rumos_bank.ground.errors import DataError

xlsxwriter = pytest.importorskip("xlsxwriter")
office = pytest.mark.skipif(shutil.which("soffice") is None, reason="soffice (LibreOffice) is not installed")
r_language = pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript (R) is not installed")


def read(place, needed=("AGE",), sheet=""):
    "The source, its rows' numbers and its columns as lists."
    source = open_sheet(place, Selection(sheet=sheet), needed)
    chunks = list(source.chunks())
    rows = [number for chunk in chunks for number in chunk.rows.tolist()]
    columns = {
        name: [cell for chunk in chunks for cell in chunk.table[name].to_pylist()] for name in source.columns
    }
    return source, rows, columns


def refuse(place, needed=("AGE",), sheet=""):
    with pytest.raises(DataError) as caught:
        open_sheet(place, Selection(sheet=sheet), needed)
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text
    return text


def list_broken(place, needed=("AGE",)):
    source = open_sheet(place, Selection(), needed)
    return [(each.row, each.reason, each.text) for chunk in source.chunks() for each in chunk.broken]


def build(write, name="clients.xlsx", calculated=True, **options):
    "A workbook of xlsxwriter in memory, as if a spreadsheet program had stored its values; the first sheet is called June."
    held = io.BytesIO()
    book = xlsxwriter.Workbook(held, {"in_memory": True, **options})
    write(book, book.add_worksheet("June"))
    book.close()
    made = Held(name, held.getvalue())
    asks = b' fullCalcOnLoad="1"'  # what xlsxwriter always writes
    return change_part(made, "xl/workbook.xml", lambda part: part.replace(asks, b"")) if calculated else made


def fill(sheet, rows, first=0, column=0):
    for at, row in enumerate(rows, first):
        sheet.write_row(at, column, row)


CLIENTS = [["ID", "AGE"], [1, 25], [2, 31], [3, 40]]


def convert(folder, kind, *files):
    "The files as LibreOffice saves them in another format; one start for all."
    profile = (folder / "profile").as_uri()
    out = folder / kind.partition(":")[0]
    command = ["soffice", "--headless", f"-env:UserInstallation={profile}", "--convert-to", kind]
    done = subprocess.run(
        [*command, "--outdir", str(out), *map(str, files)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return out


def change_part(held, part, change):
    "The same workbook with one part changed."
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(held.content)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for each in old.infolist():
            content = old.read(each)
            new.writestr(each.filename, change(content) if re.fullmatch(part, each.filename) else content)
    return Held(held.name, out.getvalue())


# What LibreOffice, R, pandas and openpyxl write


def write_everything(book, sheet):
    "A title in row 1, the heading in row 3 from column B on, and a cell of every kind."
    day, moment = (
        book.add_format({"num_format": "yyyy-mm-dd"}),
        book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
    )
    clock, share = book.add_format({"num_format": "hh:mm:ss"}), book.add_format({"num_format": "0.0%"})
    sheet.write(0, 1, "Clients of June & July")
    fill(
        sheet,
        [["ID", "AGE", "key", "day", "moment", "clock", "true", "error", "share", "formula", "mixed"]],
        2,
        1,
    )
    sheet.write(3, 1, 4000001)
    sheet.write(3, 2, 25)
    sheet.write_string(3, 3, "00012")
    sheet.write_datetime(3, 4, dt.date(2024, 1, 15), day)
    sheet.write_datetime(3, 5, dt.datetime(2024, 1, 15, 10, 30), moment)
    sheet.write_datetime(3, 6, dt.time(10, 30), clock)
    sheet.write_boolean(3, 7, True)
    sheet.write_formula(3, 8, "=NA()", None, "#N/A")
    sheet.write(3, 9, 0.125, share)
    sheet.write_formula(3, 10, "=1+1", None, 2)
    sheet.write(3, 11, 12)
    sheet.write(5, 1, 4000002)
    sheet.write(5, 2, 31)
    sheet.write_string(5, 3, "  4000001234567899017 ")
    sheet.write_datetime(5, 5, dt.datetime(2024, 1, 16), moment)
    sheet.write_boolean(5, 7, False)
    sheet.write_formula(5, 8, "=1/0", None, "#DIV/0!")
    sheet.write(5, 9, 1)
    sheet.write_formula(5, 10, "=2+3", None, 5)
    sheet.write_string(5, 11, "n/a")


def check_everything(place, kind):
    source, rows, columns = read(place, ["ID", "AGE"])
    assert rows == [4, 6] and source.format == kind
    assert source.describe() == f"read as {kind}; sheet 'June'; heading in row 3"
    assert columns == {
        "ID": [4000001, 4000002],
        "AGE": [25, 31],
        "key": ["00012", "  4000001234567899017 "],
        "day": [dt.date(2024, 1, 15), None],
        "moment": [dt.datetime(2024, 1, 15, 10, 30), dt.datetime(2024, 1, 16)],
        "clock": [dt.time(10, 30), None],
        "true": [True, False],
        "error": ["#N/A", "#DIV/0!"],
        "share": [0.125, 1.0],
        "formula": [2, 5],
        "mixed": ["12", "n/a"],
    }
    types = {
        name: str(kind)
        for name, kind in zip(source.columns, next(source.chunks()).table.schema.types, strict=True)
    }
    assert (types["ID"], types["share"], types["true"]) == ("int64", "double", "bool")
    assert (types["day"], types["moment"], types["clock"]) == ("date32[day]", "timestamp[us]", "time64[us]")


def test_every_kind_of_cell_of_an_xlsx_file():
    check_everything(build(write_everything), "XLSX")


@office
def test_every_kind_of_cell_as_libreoffice_saves_it(tmp_path):
    path = tmp_path / "june.xlsx"
    path.write_bytes(build(write_everything).content)
    for kind in ("ods", "xls", "xlsx"):
        check_everything(convert(tmp_path, kind, path) / f"june.{kind}", kind.upper())


@office
def test_a_csv_file_that_libreoffice_turned_into_a_workbook(tmp_path):
    path = tmp_path / "june.csv"
    path.write_text("ID,AGE,note\n1,25,hello\n2,31,\n,,\n3,40,x\n", encoding="utf-8")
    for kind in ("ods", "xls", "xlsx"):
        _, rows, columns = read(convert(tmp_path, kind, path) / f"june.{kind}")
        assert rows == [2, 3, 5]
        assert columns == {"ID": [1, 2, 3], "AGE": [25, 31, 40], "note": ["hello", None, "x"]}


R_SCRIPT = """
library(openxlsx)
d <- data.frame(ID = 1:3, AGE = c(25, 31, 40), note = c("00012", "x", NA))
write.xlsx(d, "plain.xlsx")
write.xlsx(d, "named.xlsx", rowNames = TRUE)
b <- createWorkbook(); addWorksheet(b, "S"); writeData(b, "S", d, startCol = 3, startRow = 4)
saveWorkbook(b, "moved.xlsx")
"""


@r_language
def test_what_openxlsx_of_r_writes(tmp_path):
    "Its `<dimension>` is A1 for every sheet: openpyxl's streaming reader gives one cell."
    script = tmp_path / "write.R"
    script.write_text(R_SCRIPT)
    done = subprocess.run(["Rscript", script], cwd=tmp_path, capture_output=True, text=True)
    if "there is no package" in done.stderr:
        pytest.skip("openxlsx of R is not installed")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "plain.xlsx") as archive:
        assert b'<dimension ref="A1"/>' in archive.read("xl/worksheets/sheet1.xml")
    expected = {"ID": [1, 2, 3], "AGE": [25, 31, 40], "note": ["00012", "x", None]}
    assert read(tmp_path / "plain.xlsx")[1:] == ([2, 3, 4], expected)
    source, rows, columns = read(tmp_path / "named.xlsx")
    assert rows == [2, 3, 4] and columns == {"": ["1", "2", "3"], **expected}
    assert "first column without a name" in source.notes
    source, rows, columns = read(tmp_path / "moved.xlsx")
    assert rows == [5, 6, 7] and columns == expected and "heading in row 4" in source.notes


@pytest.mark.parametrize("kind", ["xlsx", "ods"])
def test_what_pandas_writes_with_its_index(tmp_path, kind):
    if kind == "ods":
        pytest.importorskip("odf")
    frame = pd.DataFrame({"AGE": [25, 31], "amount": [1.5, None], "when": pd.to_datetime(["2024-01-15"] * 2)})
    path = tmp_path / f"june.{kind}"
    frame.to_excel(path)
    source, rows, columns = read(path)
    assert rows == [2, 3] and source.columns == ("", "AGE", "amount", "when")
    assert columns[""] == [0, 1] and columns["AGE"] == [25, 31] and columns["amount"] == [1.5, None]
    assert [each.isoformat()[:10] for each in columns["when"]] == ["2024-01-15"] * 2


@pytest.mark.parametrize("constant", [True, False])
def test_text_that_xlsxwriter_writes_in_its_two_ways(constant):
    place = build(lambda _, sheet: fill(sheet, [["ID", "AGE"], ["00012", 25]]), constant_memory=constant)
    assert read(place)[2] == {"ID": ["00012"], "AGE": [25]}


def make_strict(content):
    "The namespaces of Strict OOXML instead of those of every day."
    plain, strict = "http://schemas.openxmlformats.org/", "http://purl.oclc.org/ooxml/"
    for old, new in (
        ("spreadsheetml/2006/main", "spreadsheetml/main"),
        ("officeDocument/2006/relationships", "officeDocument/relationships"),
    ):
        content = content.replace(f"{plain}{old}".encode(), f"{strict}{new}".encode())
    return content


def test_strict_ooxml():
    "openpyxl finds no sheet in it."
    place = change_part(build(write_everything), r".*\.(xml|rels)", make_strict)
    assert openpyxl.load_workbook(io.BytesIO(place.content)).sheetnames == []
    check_everything(place, "XLSX")


@office
def test_libreoffice_reads_our_strict_ooxml_alike(tmp_path):
    place = change_part(build(lambda _, sheet: fill(sheet, CLIENTS)), r".*\.(xml|rels)", make_strict)
    (tmp_path / "strict.xlsx").write_bytes(place.content)
    text = (convert(tmp_path, "csv", tmp_path / "strict.xlsx") / "strict.csv").read_text()
    assert text.splitlines() == ["ID,AGE", "1,25", "2,31", "3,40"]


# .xlsb: no program here writes it, so it is made by hand, and LibreOffice reads it too


def pack_record(kind, content=b""):
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    length, size = b"", len(content)
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return head + length + content


def pack_text(text):
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def pack_cell(column, cell):
    at = struct.pack("<II", column, 0)
    if isinstance(cell, bool):
        return pack_record(4, at + bytes([cell]))
    if cell == "#N/A":
        return pack_record(3, at + b"\x2a")
    if isinstance(cell, str):
        return pack_record(6, at + pack_text(cell))
    return pack_record(5, at + struct.pack("<d", cell))


def make_xlsb(tables, hidden_rows=(), hidden_columns=(), states=None):
    sheets = b"".join(
        pack_record(
            156, struct.pack("<II", (states or {}).get(name, 0), at) + pack_text(f"rId{at}") + pack_text(name)
        )
        for at, name in enumerate(tables, 1)
    )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        kinds = "".join(
            f'<Override PartName="/xl/worksheets/sheet{at}.bin" ContentType="application/vnd.ms-excel.worksheet"/>'
            for at in range(1, len(tables) + 1)
        )
        archive.writestr(
            "[Content_Types].xml",
            '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/xl/workbook.bin" '
            f'ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/>{kinds}</Types>',
        )
        base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        head = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        one = '<Relationship Id="{}" Type="' + base + '/{}" Target="{}"/>'
        archive.writestr(
            "_rels/.rels", head + one.format("rId1", "officeDocument", "xl/workbook.bin") + "</Relationships>"
        )
        related = "".join(
            one.format(f"rId{at}", "worksheet", f"worksheets/sheet{at}.bin")
            for at in range(1, len(tables) + 1)
        )
        archive.writestr("xl/_rels/workbook.bin.rels", f"{head}{related}</Relationships>")
        archive.writestr(
            "xl/workbook.bin",
            pack_record(131) + pack_record(143) + sheets + pack_record(144) + pack_record(132),
        )
        for at, rows in enumerate(tables.values(), 1):
            columns = b"".join(
                pack_record(60, struct.pack("<IIIIH", column, column, 2560, 0, 1))
                for column in hidden_columns
            )
            part = pack_record(129)
            part += pack_record(148, struct.pack("<IIII", 0, len(rows) - 1, 0, max(map(len, rows)) - 1))
            part += pack_record(390) + columns + pack_record(391) if columns else b""
            part += pack_record(145)
            for number, row in enumerate(rows):
                flags = bytes([0, 0x10 if number + 1 in hidden_rows else 0, 0])
                part += pack_record(0, struct.pack("<IIH", number, 0, 300) + flags + struct.pack("<I", 0))
                part += b"".join(
                    pack_cell(column, cell) for column, cell in enumerate(row) if cell is not None
                )
            archive.writestr(f"xl/worksheets/sheet{at}.bin", part + pack_record(146) + pack_record(130))
    return Held("june.xlsb", held.getvalue())


XLSB = [["ID", "AGE", "note"], [1, 25, "00012"], [None], [2, 31, "#N/A"], [3, 40, True]]


def test_xlsb():
    source, rows, columns = read(make_xlsb({"Notes": [["x"]], "June": XLSB}))
    assert source.describe() == "read as XLSB; sheet 'June'; other sheets: 'Notes'"
    assert rows == [2, 4, 5]
    assert columns == {"ID": [1, 2, 3], "AGE": [25, 31, 40], "note": ["00012", "#N/A", "TRUE"]}


def test_xlsb_with_hidden_parts():
    text = refuse(make_xlsb({"June": XLSB}, hidden_rows=[3, 4]))
    assert "1 row is hidden: row 4" in text  # row 3 is empty
    assert "hidden columns: note" in read(make_xlsb({"June": XLSB}, hidden_columns=[2]))[0].notes
    assert "'June' only, which is hidden" in refuse(
        make_xlsb({"Notes": [["x"]], "June": XLSB}, states={"June": 2})
    )


@office
def test_libreoffice_reads_our_xlsb_alike(tmp_path):
    path = tmp_path / "june.xlsb"
    path.write_bytes(make_xlsb({"June": XLSB}, hidden_rows=[4], hidden_columns=[2]).content)
    text = (convert(tmp_path, "csv", path) / "june.csv").read_text()
    assert text.splitlines() == ["ID,AGE,note", "1,25,00012", ",,", "2,31,#N/A", "3,40,TRUE"]
    saved = convert(tmp_path, "xlsx", path) / "june.xlsx"
    assert "1 row is hidden: row 4" in refuse(saved), "LibreOffice finds the same row hidden"


# Which sheet


def test_the_sheet_that_has_the_columns_is_read():
    def write(book, sheet):
        fill(sheet, [["Read me"], ["nothing here"]])
        fill(book.add_worksheet("Clients"), CLIENTS)

    source, rows, _ = read(build(write))
    assert rows == [2, 3, 4] and source.describe() == "read as XLSX; sheet 'Clients'; other sheets: 'June'"


def write_two(book, sheet):
    fill(sheet, CLIENTS)
    fill(book.add_worksheet("July"), [["ID", "AGE"], [7, 50]])


def test_two_sheets_of_clients_are_a_question():
    text = refuse(build(write_two))
    assert "'June' and 'July'" in text and "--sheet 'June'" in text
    assert read(build(write_two), sheet="July")[2] == {"ID": [7], "AGE": [50]}
    assert "has no sheet 'May': it has 'June' and 'July'" in refuse(build(write_two), sheet="May")


@pytest.mark.parametrize("hide", ["hide", "very_hidden"])
def test_a_hidden_sheet_is_not_read_unless_it_is_named(hide):
    def write(book, sheet):
        fill(sheet, [["Read me"]])
        other = book.add_worksheet("Clients")
        fill(other, CLIENTS)
        getattr(other, hide)()

    assert "has clients in sheet 'Clients' only, which is hidden: unhide it" in refuse(build(write))
    source, rows, _ = read(build(write), sheet="clients")
    assert rows == [2, 3, 4] and "which is hidden" in source.notes


@pytest.mark.parametrize("hide", ["hide", "very_hidden"])
def test_further_clients_in_a_hidden_sheet_are_a_question(hide):
    def write(book, sheet):
        fill(sheet, [["ID", "AGE"], [99, 99]])
        other = book.add_worksheet("Clients")
        fill(other, CLIENTS)
        other.activate()
        other.set_first_sheet()
        getattr(sheet, hide)()

    text = refuse(build(write))
    assert "has clients in the sheets 'Clients' and 'June' ('June' hidden): choose one" in text
    assert "or keep one of them in the file" in text
    assert read(build(write), sheet="Clients")[2]["ID"] == [1, 2, 3]


def test_hidden_sheets_without_clients_are_noted():
    def write(book, sheet):
        fill(sheet, CLIENTS)
        book.add_worksheet("Codes").write(0, 0, "SEX")
        book.get_worksheet_by_name("Codes").hide()
        book.add_worksheet("Empty").very_hidden()

    source, rows, _ = read(build(write))
    assert rows == [2, 3, 4] and source.notes == ("sheet 'June'", "hidden sheets: 'Codes' and 'Empty'")


def test_a_sheet_without_the_columns_is_handed_on_so_that_the_missing_ones_can_be_named():
    place = build(lambda _, sheet: fill(sheet, [["ID", "LIMIT_BAL"], [1, 2]]))
    source, _, _ = read(place, ["AGE", "LIMIT_BAL"])
    assert source.columns == ("ID", "LIMIT_BAL") and dict(source.fields.names) == {
        "ID": "ID",
        "LIMIT_BAL": "LIMIT_BAL",
    }


def test_an_empty_workbook_and_one_with_a_chart_alone():
    assert "has no cells in a sheet that is shown" in refuse(build(lambda *_: None))

    def write(book, sheet):
        fill(sheet, CLIENTS)
        chart = book.add_chart({"type": "line"})
        chart.add_series({"values": "=June!$B$2:$B$4"})
        book.add_chartsheet("Plot").set_chart(chart)

    assert read(build(write))[1] == [2, 3, 4]


# Hidden rows and columns


def write_filtered(book, sheet):
    fill(sheet, [["ID", "AGE"], *([number, 20 + number] for number in range(1, 8))])
    sheet.autofilter("A1:B8")
    sheet.filter_column("A", "x != 6")
    sheet.set_row(6, options={"hidden": True})
    sheet.set_row(2, options={"hidden": True})


def test_hidden_and_filtered_rows_are_refused_by_name():
    text = refuse(build(write_filtered))
    assert "has hidden rows in sheet 'June' (2 rows are hidden, the first of them row 3)" in text
    assert "show all rows" in text and "delete" in text


@office
def test_rows_that_are_hidden_in_files_of_libreoffice(tmp_path):
    path = tmp_path / "june.xlsx"
    path.write_bytes(build(write_filtered).content)
    for kind in ("ods", "xls", "xlsx"):
        text = refuse(convert(tmp_path, kind, path) / f"june.{kind}")
        assert "(2 rows are hidden, the first of them row 3)" in text


def test_rows_hidden_by_an_outline_or_by_no_height():
    def outline(_, sheet):
        fill(sheet, CLIENTS)
        sheet.set_row(2, None, None, {"level": 1, "hidden": True})

    assert "1 row is hidden: row 3" in refuse(build(outline))
    place = build(lambda _, sheet: fill(sheet, CLIENTS))
    flat = change_part(
        place,
        r".*sheet1\.xml",
        lambda part: part.replace(b'<row r="4"', b'<row r="4" ht="0" customHeight="1"'),
    )
    assert "1 row is hidden: row 4" in refuse(flat)


def test_hidden_rows_without_clients_do_not_matter():
    def write(_, sheet):
        fill(sheet, [["A title"], ["ID", "AGE"], [1, 25], [], [2, 31]])
        for row in (0, 3, 9):
            sheet.set_row(row, options={"hidden": True})

    assert read(build(write))[1] == [3, 5]


def test_a_row_without_its_number_is_counted():
    "Some programs write rows and cells without references."

    def strip(content):
        return re.sub(rb' r="[A-Z]*\d+"', b"", content)

    def write(_, sheet):
        fill(sheet, CLIENTS)
        sheet.set_row(2, options={"hidden": True})
        sheet.write_formula(3, 1, "=NA()", None, "#N/A")

    shown = change_part(
        build(write), r".*sheet1\.xml", lambda content: strip(content).replace(b'hidden="1"', b"")
    )
    assert read(shown)[1:] == ([2, 3, 4], {"ID": [1, 2, 3], "AGE": ["25", "31", "#N/A"]})
    assert "1 row is hidden: row 3" in refuse(change_part(build(write), r".*sheet1\.xml", strip))


@pytest.mark.parametrize("hidden", [False, True])
def test_a_row_that_is_there_twice_is_refused(hidden):
    "calamine would keep the second."

    def repeat(content):
        row = re.search(rb'<row r="3".*?</row>', content)[0]
        return content.replace(row, row + row.replace(b"<v>31<", b"<v>77<"))

    def write(_, sheet):
        fill(sheet, [*CLIENTS, [], [4, 50]])
        if hidden:
            sheet.set_row(8, options={"hidden": True})

    assert read(build(write))[1] == [2, 3, 4, 6]
    assert "has the same row twice" in refuse(change_part(build(write), r".*sheet1\.xml", repeat))


def test_prefixed_tags_and_other_quotation_marks():
    def prefix(content):
        content = re.sub(rb"<(/?)([a-zA-Z])", rb"<\1x:\2", content)
        return content.replace(b"xmlns=", b"xmlns:x=").replace(b'hidden="1"', b"hidden='1'")

    def write(_, sheet):
        fill(sheet, CLIENTS)
        sheet.set_row(2, options={"hidden": True})

    assert "1 row is hidden: row 3" in refuse(change_part(build(write), r".*sheet1\.xml", prefix))


def test_a_hidden_column_is_noted():
    def write(_, sheet):
        fill(sheet, [["ID", "AGE", "SEX"], [1, 25, 2]])
        sheet.set_column("B:B", None, None, {"hidden": True})

    source, _, columns = read(build(write))
    assert "hidden columns: AGE" in source.notes and columns["AGE"] == [25]


def test_hidden_rows_are_found_in_every_block_of_a_long_sheet():
    def write(_, sheet):
        fill(sheet, [["ID", "AGE"], *([number, 30] for number in range(30_000))])
        for row in (9_000, 29_999):
            sheet.set_row(row, options={"hidden": True})

    assert "(2 rows are hidden, the first of them row 9001)" in refuse(build(write))


# Rows and columns


def test_values_beside_the_table_are_never_shifted_or_dropped():
    def write(_, sheet):
        fill(
            sheet,
            [
                ["ID", "AGE", None, "SEX"],
                [1, 25, None, 2],
                [2, 31, 9, 1],
                [3, 40, None, 1, "x"],
                [4, 50, " ", 1],
            ],
        )

    place = build(write)
    assert list_broken(place) == [
        (3, "has a value in column C, which has no name", "9"),
        (4, "has a value in column E, which has no name", "x"),
    ]
    source, rows, columns = read(place)
    assert rows == [2, 5] and columns == {"ID": [1, 4], "AGE": [25, 50], "SEX": [2, 1]} and source.rows == 4


def test_columns_are_named_as_the_spreadsheet_names_them_where_the_table_begins_elsewhere():
    place = build(lambda _, sheet: fill(sheet, [["ID", "AGE"], [1, 25], [2, 31, 9]], 4, 26))
    assert list_broken(place) == [(7, "has a value in column AC, which has no name", "9")]


def test_broken_rows_lie_in_the_chunk_around_them(monkeypatch):
    monkeypatch.setattr(sheets, "CHUNK_ROWS", 2)
    rows = [["ID", "AGE"], [1, 25, "x"], [2, 31], [3, 40], [4, 50, "x"], [5, 60], [6, 61, "x"]]
    source = open_sheet(build(lambda _, sheet: fill(sheet, rows)), Selection(), ["AGE"])
    for _ in range(2):
        chunks = list(source.chunks())
        assert [chunk.number for chunk in chunks] == [0, 1]
        assert [chunk.rows.tolist() for chunk in chunks] == [[3, 4], [6]]
        assert [[each.row for each in chunk.broken] for chunk in chunks] == [[2, 5], [7]]
        assert sum(chunk.read for chunk in chunks) == source.rows == 6


def test_a_sheet_whose_rows_are_all_broken_is_accounted_for():
    source = open_sheet(build(lambda _, sheet: fill(sheet, [["ID"], [1, 2]])), Selection(), ["ID"])
    assert [(chunk.read, len(chunk.broken)) for chunk in source.chunks()] == [(1, 1)]


def test_two_columns_that_mean_the_same_are_refused():
    assert "PAY_0 and pay_1 mean the same" in refuse(
        build(lambda _, s: fill(s, [["PAY_0", "pay_1"], [1, 2]])), ["PAY_0"]
    )


def test_the_headings_of_the_uci_file():
    "X1 … X23 above the names."
    rows = [["", *(f"X{number}" for number in range(1, 24))], ["ID", *CLIENT_COLUMNS], range(1, 25)]
    source, numbers, columns = read(build(lambda _, sheet: fill(sheet, rows)), CLIENT_COLUMNS)
    assert numbers == [3] and columns["AGE"] == [6] and "heading in row 2" in source.notes


def test_merged_cells_have_their_value_in_the_first_cell_only():
    def write(book, sheet):
        fill(sheet, CLIENTS)
        sheet.merge_range("A1:C1", "ID")
        sheet.write("B1", "AGE")
        sheet.merge_range("A3:A4", 2, book.add_format({"bold": True}))

    _, _, columns = read(build(write))
    assert columns["ID"] == [1, 2, None]


# Cells


def read_cells(cells, **options):
    return read(
        build(lambda _, sheet: fill(sheet, [["AGE", "x"], *([30, cell] for cell in cells)]), **options)
    )[2]["x"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([30000, 2**53 - 1], [30000, 2**53 - 1]),
        ([-5, 0], [-5, 0]),
        ([0.1, 3], [0.1, 3.0]),
        ([2.0**53, 1], [2.0**53, 1.0]),
        ([1e300], [1e300]),
        ([True, False], [True, False]),
        ([True, 1], ["TRUE", "1"]),
        (["twelve", 12, 0.1], ["twelve", "12", "0.1"]),
        (["12", "1.5"], ["12", "1.5"]),
        ([" x\ny ", "a_x000D_b", "<&>\u20ac\U0001f600"], [" x\ny ", "a_x000D_b", "<&>\u20ac\U0001f600"]),
        (["x" * 32_767], ["x" * 32_767]),
    ],
)
def test_a_cell_is_what_was_written(cells, expected):
    got = read_cells(cells)
    assert got == expected and list(map(type, got)) == list(map(type, expected))


def test_a_column_of_whole_numbers_stays_whole_beside_empty_cells():
    assert read_cells([1, None, 2**53 - 1]) == [1, None, 2**53 - 1]


def test_a_column_that_changes_its_kind_after_many_rows():
    cells = [*range(5_000), "n/a"]
    assert read_cells(cells) == [*map(str, range(5_000)), "n/a"]
    assert read_cells([*range(5_000), 0.5]) == [*map(float, range(5_000)), 0.5]


def test_numbers_stored_as_text_are_read_by_their_field():
    rows = [["AGE", "LIMIT_BAL"], ["25", "20.000"], ["31", "1.234,50"]]
    source = open_sheet(
        build(
            lambda _, sheet: [
                sheet.write_string(r, c, x) for r, row in enumerate(rows) for c, x in enumerate(row)
            ]
        ),
        Selection(),
        ["AGE", "LIMIT_BAL"],
    )
    (chunk,) = source.chunks()
    assert chunk.table["AGE"].to_pylist() == ["25", "31"]
    assert source.fields.read(chunk.table, "AGE").tolist() == [25, 31]
    assert source.fields.read(chunk.table, "LIMIT_BAL").tolist() == [20000, 1234.5]


def test_truth_dates_and_errors_are_no_numbers_of_a_field():
    def write(book, sheet):
        fill(sheet, [["AGE"], [25], [True], ["#N/A"]])
        sheet.write_datetime(4, 0, dt.date(1900, 1, 31), book.add_format({"num_format": "yyyy-mm-dd"}))
        sheet.write_formula(5, 0, "=1/0", None, "#DIV/0!")
        sheet.write(6, 0, 31, book.add_format({"num_format": "#,##0.00 \u20ac"}))

    source = open_sheet(build(write), Selection(), ["AGE"])
    (chunk,) = source.chunks()
    assert chunk.rows.tolist() == [2, 3, 4, 5, 6, 7]
    assert np.array_equal(source.fields.read(chunk.table, "AGE"), [25, *[np.nan] * 4, 31], equal_nan=True)


def save_openpyxl(*rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    held = io.BytesIO()
    book.save(held)
    return Held("june.xlsx", held.getvalue())


def test_a_formula_without_its_value_is_an_empty_cell_and_noted():
    "openpyxl writes none; a spreadsheet program computes it when it opens the file."
    source, _, columns = read(save_openpyxl(["AGE", "x"], [25, "=1+1"], [31, 7]))
    assert columns["x"] == [None, 7] and "formulas that nobody calculated: x" in source.notes


@pytest.mark.parametrize("heading", ["AGE", "ID"])
def test_formulas_that_nobody_calculated_are_refused_where_they_count(heading):
    "xlsxwriter stores 0 for them, openpyxl nothing; both ask for a calculation."
    rows = [["n", heading, "AGE" if heading == "ID" else "z"], [20, "=A2+5", 40], [21, 26, 41]]
    for place in (save_openpyxl(*rows), build(lambda _, sheet: fill(sheet, rows), calculated=False)):
        text = refuse(place)
        assert (
            f"has formulas that nobody calculated in column {heading}, as in B2: open it in a spreadsheet"
            in text
        )


@office
def test_calculated_formulas_are_read(tmp_path):
    place = save_openpyxl(["=1+1", "AGE", "ID"], [20, "=A2+5", 1], [21, "=A3+5", 2])
    (tmp_path / place.name).write_bytes(place.content)
    assert read(convert(tmp_path, "xlsx", tmp_path / place.name) / place.name)[2]["AGE"] == [25, 26]


def test_a_formula_without_a_stored_value_is_found():
    rows = [["=1+1", "AGE", "ID"], [20, "=A2+5", 1], [21, "=A3+5", 2]]  # the first is not below the heading
    kept = build(lambda _, sheet: fill(sheet, rows))
    assert read(kept)[2]["AGE"] == [0, 0]
    for value in (b"<v></v>", b"<v/>", b""):
        bare = change_part(kept, ".*sheet1.xml", lambda part: part.replace(b"</f><v>0</v>", b"</f>" + value))  # noqa: B023
        assert "formulas that nobody calculated in column AGE, as in B3" in refuse(bare)
    text = change_part(
        kept, ".*sheet1.xml", lambda part: re.sub(rb'(r="B3")(.*?)<v>0', rb'\1 t="str"\2<v>', part)
    )
    assert read(text)[2]["AGE"] == [0, None]  # a formula whose value is an empty text


def test_dates_of_a_workbook_that_counts_from_1904():
    def write(book, sheet):
        fill(sheet, [["AGE", "x"], [25]])
        sheet.write_datetime(1, 1, dt.date(2024, 1, 15), book.add_format({"num_format": "yyyy-mm-dd"}))

    assert read(build(write, date_1904=True))[2]["x"] == [dt.date(2024, 1, 15)]


# What is no workbook, and limits


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"ID;AGE\r\n1;25\r\n", "is text with the name of a workbook"),
        ("\ufeffID\tAGE\r\n1\t25\r\n".encode("utf-16-le"), "is text"),
        (b"\xef\xbb\xbf <html><table><tr><td>ID</td></tr></table></html>", "is a web page"),
        (
            b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>',
            "of Excel 2003",
        ),
        (b"\x09\x04\x06\x00\x00\x00\x10\x00", "of Excel 4 or older"),
        (b"PAR1\0\0\0\0\0\0\0", "is no workbook"),
        (b"PK\x03\x04 cut short", "cannot be read as a workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 cut short", "cannot be read as a workbook"),
    ],
)
def test_what_is_no_workbook_is_refused_by_name(content, says):
    text = refuse(Held("june.xls", content))
    assert text.startswith("june.xls ") and says in text


def zip_parts(**parts):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return held.getvalue()


def test_other_zip_files_are_refused_by_name():
    assert "Apple Numbers" in refuse(Held("june.xlsx", zip_parts(Index__Document_dot_iwa=b"x")))
    assert "is no workbook" in refuse(Held("june.xlsx", zip_parts(word__document_dot_xml=b"x")))
    locked = zip_parts(META__x=b"", content_dot_xml=b"").replace(b"META/x", b"META/y")
    assert "cannot be read" in refuse(Held("june.ods", locked))


def test_files_with_a_password_are_refused_by_name():
    encrypted = sheets._OLD + b"\0" * 504 + "EncryptedPackage".encode("utf-16-le")
    assert "is protected by a password: save it without one" in refuse(Held("june.xlsx", encrypted))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("content.xml", b"\x01\x02")
        archive.writestr("META-INF/manifest.xml", "<manifest:encryption-data/>")
    assert "is protected by a password: save it without one" in refuse(Held("june.ods", held.getvalue()))


def test_a_workbook_under_the_name_of_another_is_read_as_what_it_is():
    place = build(lambda _, sheet: fill(sheet, CLIENTS), name="june.xls")
    assert read(place)[0].format == "XLSX"


def test_a_workbook_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(sheets, "MOST_UNPACKED", 1 << 10)
    assert "unpacks to more than" in refuse(build(lambda _, sheet: fill(sheet, CLIENTS)))


def test_a_part_that_is_larger_than_it_declares_is_refused():
    "The sheet declares half of its size."
    content = build(lambda _, sheet: fill(sheet, [["ID", "AGE"], *([n, 30] for n in range(2_000))])).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        each = archive.getinfo("xl/worksheets/sheet1.xml")
    size = struct.pack("<I", each.file_size)
    assert content.count(size) == 2  # in the local heading and in the directory
    lying = content.replace(size, struct.pack("<I", each.file_size // 2))
    assert "cannot be read as a workbook" in refuse(Held("june.xlsx", lying))


def test_one_far_cell_does_not_ask_for_all_memory():
    def write(_, sheet):
        fill(sheet, CLIENTS)
        sheet.write("XFD1048576", 1)

    text = refuse(build(write))
    assert "has 1,048,576 rows and 16,384 columns up to the last cell of sheet 'June'" in text


@office
def test_one_far_cell_of_an_ods_file(tmp_path, monkeypatch):
    def write(_, sheet):
        fill(sheet, CLIENTS)
        sheet.write("AMJ900", 1)

    (tmp_path / "far.xlsx").write_bytes(build(write).content)
    path = convert(tmp_path, "ods", tmp_path / "far.xlsx") / "far.ods"
    assert list_broken(path) == [(900, "has a value in column AMJ, which has no name", "1")]
    monkeypatch.setattr(sheets, "MOST_CELLS", 900_000)
    assert "has 900 rows and 1,0" in refuse(path)


def test_a_path_in_another_store_is_refused():
    assert "copy it to this machine" in refuse("s3://bank/june.xlsx")


def test_the_identity_is_that_of_the_file(tmp_path):
    place = build(lambda _, sheet: fill(sheet, CLIENTS))
    path = tmp_path / "june.xlsx"
    path.write_bytes(place.content)
    assert open_sheet(path, Selection(), ["AGE"]).digest() == digest_place(place)


def test_kinds_by_their_first_bytes():
    assert find_workbook_kind(build(lambda *_: None).content) == "XLSX"
    assert find_workbook_kind(make_xlsb({"June": XLSB}).content) == "XLSB"


def test_more_rows_than_the_old_limit():
    rows = [["AGE"], *([30] for _ in range(100_001))]
    source = open_sheet(build(lambda _, sheet: fill(sheet, rows), constant_memory=True), Selection(), ["AGE"])
    assert [len(chunk.rows) for chunk in source.chunks()] == [CHUNK_ROWS, 1] and source.rows == 100_001


def test_a_heading_without_clients():
    source, rows, columns = read(build(lambda _, sheet: fill(sheet, [["ID", "AGE"]])))
    assert rows == [] and columns == {"ID": [], "AGE": []} and source.rows == 0


def test_a_row_above_the_heading_that_may_be_a_client_is_refused(tmp_path):
    with xlsxwriter.Workbook(tmp_path / "in.xlsx") as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(([1, 25, 30000], ["ID", "AGE", "LIMIT_BAL"], [2, 26, 40000]), start=1):
            sheet.write_row(number, 0, row)
    with pytest.raises(DataError, match="row 2 stands above the heading, row 3"):
        open_sheet(tmp_path / "in.xlsx", Selection(), ["AGE", "LIMIT_BAL"])
