#!/usr/bin/env bash
# One CSV row with a cell too many, and DuckDB reads the whole file as one column, without an error
#
# Software:   duckdb 2.0.1; pyarrow 25.0.1 is beside it to compare
# Behaviour:  of 1,000 rows with three cells, one has a fourth. No number of commas fits all rows, so the sniffer decides
#             that the comma is no delimiter: one column, called "ID,AGE,name", with 1,000 texts. One cell too few does the
#             same. With 20,000 rows the same file is an error that names the line; so is any size with a fixed delimiter.
# Surprise:   a bad row is expected to be an error or to be missing. Here the small file, which is the one tried first, is
#             read "well", with the right number of rows, and the large one is refused.
# Instead:    read_csv(…, delim = ',', columns = {…}), or count the columns that came.
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
install duckdb==2.0.1 pyarrow==25.0.1 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import sys
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.csv


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


FIXED = "delim = ',', header = true, columns = {'ID': 'BIGINT', 'AGE': 'BIGINT', 'name': 'VARCHAR'}"


def read(rows, odd, how=""):
    "The columns and the number of rows, or error."
    lines = [f"{number},25,a" for number in range(1, rows + 1)]
    lines[rows // 2] = odd
    Path("clients.csv").write_text("\n".join(["ID,AGE,name", *lines, ""]))
    try:
        table = duckdb.connect().sql(f"FROM read_csv('clients.csv'{how and ', ' + how})")
        return table.columns, len(table.fetchall())
    except duckdb.Error:
        return "error"


THREE = ["ID", "AGE", "name"]
expect(read(1000, "7,25,a"), (THREE, 1000), "1,000 good rows")
for odd in ("7,25,a,9", "7,25"):
    expect(read(1000, odd), (["ID,AGE,name"], 1000), f"999 good rows and {odd}")
    expect(read(1000, odd, FIXED), "error", f"999 good rows and {odd}, columns fixed")
    try:
        pyarrow.csv.read_csv("clients.csv")
        expect("read", "error", "pyarrow")
    except pyarrow.ArrowInvalid as error:
        expect("Expected 3 columns" in str(error), True, "pyarrow raises an error")
expect(read(20000, "7,25,a,9"), "error", "19,999 good rows and 7,25,a,9")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
