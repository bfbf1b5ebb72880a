#!/usr/bin/env bash
# A workbook by xlsxwriter has zeros where its formulas are, and readers and a later save hand them on as numbers
#
# Software:   xlsxwriter 3.3.1; python-calamine 0.9.1 and openpyxl 3.1.5 read
# Behaviour:  xlsxwriter does not calculate. It stores 0 as the last value of each formula and sets fullCalcOnLoad in
#             workbook.xml, so that a spreadsheet calculates when the file is opened. Readers of values ignore the flag: a
#             bill of =SUM(A2:B2) is 0 to both, not missing and not an error.
# Surprise:   openpyxl, which writes formulas too, stores no value, and the same readers give an empty cell or None there.
#             A program that looks for empty cells finds the one and not the other.
# Instead:    pass the value to write_formula, or look for fullCalcOnLoad together with a formula.
#
# Exit codes: 0 as described, 1 the behaviour changed, 2 the packages could not be installed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH PYTHONHOME

install() {
    python3 -m venv venv
    if uv --version >/dev/null 2>&1; then
        uv pip install --quiet --python venv/bin/python "$@"
    else
        venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    fi
}
install xlsxwriter==3.3.1 python-calamine==0.9.1 openpyxl==3.1.5 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import sys
import zipfile

import openpyxl
import python_calamine
import xlsxwriter


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


def read(path):
    "The last cell of row 2 by calamine and by openpyxl, which reads the values that are stored."
    by_calamine = python_calamine.load_workbook(path).get_sheet_by_index(0).to_python()[1][2]
    return by_calamine, openpyxl.load_workbook(path, data_only=True).active["C2"].value


with xlsxwriter.Workbook("a.xlsx") as book:
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["PAY_AMT1", "PAY_AMT2", "TOTAL"])
    sheet.write_row(1, 0, [1500, 2000])
    sheet.write_formula(1, 2, "=SUM(A2:B2)")
expect(read("a.xlsx"), (0.0, 0), "a sum of 3,500 by xlsxwriter")
with zipfile.ZipFile("a.xlsx") as archive:
    expect(b'fullCalcOnLoad="1"' in archive.read("xl/workbook.xml"), True, "the flag that asks for a calculation")

book = openpyxl.Workbook()
book.active.append(["PAY_AMT1", "PAY_AMT2", "TOTAL"])
book.active.append([1500, 2000, "=SUM(A2:B2)"])
book.save("b.xlsx")
expect(read("b.xlsx"), ("", None), "the same by openpyxl")

with xlsxwriter.Workbook("c.xlsx") as book:
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["PAY_AMT1", "PAY_AMT2", "TOTAL"])
    sheet.write_row(1, 0, [1500, 2000])
    sheet.write_formula(1, 2, "=SUM(A2:B2)", None, 3500)
expect(read("c.xlsx"), (3500.0, 3500), "the same by xlsxwriter with its value")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
