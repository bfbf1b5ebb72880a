#!/usr/bin/env bash
# DuckDB's 128-bit integers are other numbers outside of it: a float in Parquet, a negative number in Arrow
#
# Software:   duckdb 2.0.1 with pyarrow 25.0.1
# Behaviour:  COPY … TO a Parquet file stores HUGEINT as DOUBLE: 9007199254740993 (2^53 + 1) becomes 9007199254740992. An
#             Arrow table gets decimal128(38, 0) with the bits as they are: UHUGEINT from 2^127 on is negative there, and
#             its largest value, 340282366920938463463374607431768211455, is -1. CSV is exact for both. No warning.
# Surprise:   nobody declares a HUGEINT. It is the type of sum() over whole numbers and of count_if(), so a sum of
#             BIGINT keys or of cents loses its last digits in the file, while the same query prints them.
# Instead:    CAST(sum(x) AS BIGINT) or AS DECIMAL(38, 0), which Parquet and Arrow keep exactly; text for UHUGEINT.
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
import warnings
from decimal import Decimal

import duckdb
import pyarrow.parquet


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


warnings.simplefilter("ignore")  # of ways to fetch Arrow
bank = duckdb.connect()
exact = 2**53 + 1
bank.execute("CREATE TABLE payments AS SELECT unnest([9007199254740992, 1])::BIGINT AS cents")
QUERY = "SELECT {} AS total FROM payments"


def through(form, what):
    bank.execute(f"COPY ({QUERY.format(what)}) TO 'total.{form}'")
    if form == "csv":
        return int(open("total.csv").read().split()[1])
    column = pyarrow.parquet.read_table("total.parquet")["total"]
    return str(column.type), column[0].as_py()


expect(bank.sql("SELECT typeof(sum(cents)), typeof(count_if(cents > 0)) FROM payments").fetchall()[0], ("HUGEINT",) * 2, "types")
expect(bank.sql(QUERY.format("sum(cents)")).fetchall()[0], (exact,), "the sum in DuckDB")
expect(through("csv", "sum(cents)"), exact, "in CSV")
expect(through("parquet", "sum(cents)"), ("double", float(2**53)), "in Parquet")
expect(through("parquet", "sum(cents)::BIGINT"), ("int64", exact), "in Parquet, cast to BIGINT")
expect(through("parquet", "sum(cents)::DECIMAL(38, 0)"), ("decimal128(38, 0)", Decimal(exact)), "in Parquet, cast to DECIMAL")

for number, seen in ((2**127 - 1, 2**127 - 1), (2**127, -(2**127)), (2**128 - 1, -1)):
    table = bank.sql(f"SELECT {number}::UHUGEINT AS n").to_arrow_table()
    expect(str(table["n"].type), "decimal128(38, 0)", "UHUGEINT in Arrow is")
    expect(int(table["n"][0].as_py()), seen, f"{number} in Arrow")
    expect(bank.sql(f"SELECT {number}::UHUGEINT::VARCHAR").fetchall()[0], (str(number),), f"{number} in DuckDB")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
