#!/usr/bin/env bash
# ADBC's SQLite driver decides by the first 1,024 rows what a column is, and changes keys of 19 digits for it
#
# Software:   adbc-driver-sqlite 1.13.0 with pyarrow 25.0.1
# Behaviour:  a column is double if one of its first 1,024 values is a fraction: 4000001234567899017 beside 1.5 becomes
#             4.000001234567899e+18. It is text if one of them is text. What comes later and does not fit ends the
#             reading with an error, and nothing before it can be kept: 1,024 whole numbers, then 1.5, or 1,024 empty
#             cells, then a text.
# Surprise:   the same two values are silently changed in row 1,024 and an error in row 1,025. Declared types do not
#             help, because SQLite does not keep to them: NUMERIC stores 25.0 as a whole number and 25.5 as a fraction.
# Instead:    ask SQLite before, SELECT min(typeof(k)), max(typeof(k)), and cast mixed columns to TEXT; or Python's own sqlite3.
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
install adbc-driver-sqlite==1.13.0 adbc-driver-manager==1.13.0 pyarrow==25.0.1 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import sqlite3
import sys

import adbc_driver_sqlite.dbapi


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


KEY = 4000001234567899017


def read(*cells):
    "The type and the first value of a column, or the kind of error."
    bank = sqlite3.connect("bank.db")
    bank.executescript("DROP TABLE IF EXISTS clients; CREATE TABLE clients (k NUMERIC)")
    bank.executemany("INSERT INTO clients VALUES (?)", [(cell,) for cell in cells])
    bank.commit()
    known = [cell for (cell,) in bank.execute("SELECT k FROM clients")]
    bank.close()
    assert known == list(cells)  # as Python's own driver reads them
    with adbc_driver_sqlite.dbapi.connect("bank.db") as connection, connection.cursor() as cursor:
        try:
            cursor.execute("SELECT k FROM clients")
            column = cursor.fetch_arrow_table()["k"]
        except OSError as error:
            return "error", "Type mismatch" in str(error)
        return str(column.type), column[0].as_py()


expect(read(KEY, 2), ("int64", KEY), "two whole numbers")
expect(read(KEY, 1.5), ("double", float(KEY)), "a whole number and a fraction")
expect(int(float(KEY)) == KEY, False, "the key is still the same")
expect(read(*[KEY] * 1023, 1.5), ("double", float(KEY)), "a fraction in row 1,024")
expect(read(*[KEY] * 1024, 1.5), ("error", True), "a fraction in row 1,025")
expect(read(*[KEY] * 1023, "A7"), ("string", str(KEY)), "a text in row 1,024")
expect(read(*[KEY] * 1024, "A7"), ("error", True), "a text in row 1,025")
expect(read(*[None] * 1024, "A7"), ("error", True), "1,024 empty cells, then a text")

bank = sqlite3.connect("bank.db")
bank.executescript("DROP TABLE clients; CREATE TABLE clients (k NUMERIC); INSERT INTO clients VALUES (25.0), (25.5)")
expect(bank.execute("SELECT min(typeof(k)), max(typeof(k)) FROM clients").fetchone(), ("integer", "real"), "kinds in NUMERIC")
bank.close()
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
