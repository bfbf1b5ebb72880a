#!/usr/bin/env bash
# A Delta table whose columns have other names in its files is read as empty columns, without an error
#
# Software:   deltalake 1.6.6 with pyarrow 25.0.1 and pandas 3.1.1
# Behaviour:  with column mapping (delta.columnMapping.mode = name) the Parquet files hold names such as col-4f1e…, and the
#             log says which column each of them is. to_pyarrow_dataset, to_pyarrow_table and to_pandas look for the
#             table's own names in the files, do not find them, and fill every column with null. The number of rows is right.
# Surprise:   the same table with reader version 3 is refused ("requires reader feature 'columnMapping'"): the check looks
#             at the list of features, which a table of reader version 2 does not have, although column mapping is what
#             version 2 stands for. The table was written by the same library a moment before.
# Instead:    scan(), which knows the names but promises no order of rows; or read the files by the physicalName that
#             schema() gives with each field.
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
install deltalake==1.6.6 pyarrow==25.0.1 pandas==3.1.1 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaProtocolError


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


clients = pyarrow.table({"ID": [1, 2, 3], "limit": [500.0, 600.0, 700.0]})
MAPPED = {"delta.columnMapping.mode": "name"}

write_deltalake("two", clients, configuration=MAPPED | {"delta.minReaderVersion": "2", "delta.minWriterVersion": "5"})
table = DeltaTable("two")
expect(table.protocol().min_reader_version, 2, "reader version of the first table")
expect(table.to_pyarrow_dataset().count_rows(), 3, "rows in its data set")
for name in clients.column_names:
    expect(table.to_pyarrow_table()[name].to_pylist(), [None] * 3, f"to_pyarrow_table, {name}")
    expect(table.to_pandas()[name].isna().all().item(), True, f"to_pandas, {name} is empty")
    scanned = pyarrow.table(table.scan().read_all())
    expect(sorted(scanned[name].to_pylist()), clients[name].to_pylist(), f"scan, {name}")

write_deltalake("three", clients, configuration=MAPPED | {"delta.minReaderVersion": "3", "delta.minWriterVersion": "7"})
table = DeltaTable("three")
expect(table.protocol().min_reader_version, 3, "reader version of the second table")
try:
    table.to_pyarrow_table()
    expect("read", "refused", "the second table")
except DeltaProtocolError as error:
    expect("columnMapping" in str(error), True, "the second table is refused by name")

write_deltalake("plain", clients)
expect(DeltaTable("plain").to_pyarrow_table().equals(clients), True, "a table without mapping is read as it was written")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
