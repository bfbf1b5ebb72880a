#!/usr/bin/env bash
# Whether a Parquet file has a column for an index of whole numbers depends on their values
#
# Software:   pandas 3.1.1, and 2.3.3 to compare, both with pyarrow 25.0.1; polars 2.1.0 and duckdb 2.0.1 read
# Behaviour:  since pandas 3 an index set from a column (set_index, or read_csv with index_col) becomes a range when its
#             whole numbers are evenly spaced. to_parquet then keeps it as a note in the metadata of pandas, not as a
#             column: 10, 20, 30 is gone for every other reader, 10, 20, 31 is there. Two rows are always evenly
#             spaced, one row never counts as a range. pandas itself reads all of them back as they were.
# Surprise:   that a default index is kept as a note only is documented. That an ID set by name turns into one is not
#             seen in the code that sets it: the columns of the file follow from the data, the round trip in pandas
#             passes, and the same lines under pandas 2 write the column.
# Instead:    to_parquet(index=True), or reset_index() before it: the column is then written for every value.
#
# Exit codes: 0 as described, 1 the behaviour changed, 2 the packages could not be installed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH PYTHONHOME

install() {
    local venv=$1
    shift
    python3 -m venv "$venv"
    if uv --version >/dev/null 2>&1; then
        uv pip install --quiet --python "$venv/bin/python" "$@"
    else
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}
{
    install new pandas==3.1.1 pyarrow==25.0.1 polars==2.1.0 duckdb==2.0.1 &&
        install old pandas==2.3.3 pyarrow==25.0.1 polars==2.1.0 duckdb==2.0.1
} || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import io
import sys

import duckdb
import pandas
import polars
from pandas.testing import assert_frame_equal


def expect(seen, wanted, what):
    if seen != wanted:
        sys.exit(f"The behaviour changed: with pandas {pandas.__version__} {what} was {wanted!r} and is {seen!r}.")


def read_columns(frame, **how):
    "The columns that two other readers see, after pandas has read its own file back."
    frame.to_parquet("clients.parquet", **how)
    assert_frame_equal(pandas.read_parquet("clients.parquet"), frame, check_index_type=False)
    in_polars = polars.read_parquet("clients.parquet").columns
    in_duckdb = duckdb.sql("from 'clients.parquet'").columns
    expect(sorted(in_polars), sorted(in_duckdb), "what polars and DuckDB see")
    return sorted(in_polars)


new = pandas.__version__.startswith("3.")
both, one = ["ID", "limit"], ["limit"]
for ids, even in (([10, 20, 30], True), ([30, 20, 10], True), ([10, 20, 31], False), ([3, 8], True), ([3], False)):
    clients = pandas.DataFrame({"ID": ids, "limit": 500.0})
    ways = {
        "set_index": clients.set_index("ID"),
        "read_csv": pandas.read_csv(io.StringIO(clients.to_csv(index=False)), index_col="ID"),
    }
    for way, frame in ways.items():
        seen, kind = read_columns(frame), type(frame.index).__name__
        print(f"pandas {pandas.__version__} {way:<9} ID {ids!s:<12} {kind:<10} others see {', '.join(seen)}")
        expect(kind, "RangeIndex" if new and even else "Index", f"the index {ids} of {way}")
        expect(seen, one if new and even else both, f"what others see of {ids} by {way}")
        expect(read_columns(frame, index=True), both, f"what others see of {ids} with index=True")
PY
for venv in old new; do
    "$venv/bin/python" -I finding.py || { echo "It is not as described." >&2; exit 1; }
done
echo "As described."
