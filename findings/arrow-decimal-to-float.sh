#!/usr/bin/env bash
# A DECIMAL cast to float64 is not the nearest float, and small whole numbers are no longer whole
#
# Software:   pyarrow 25.0.1; polars 2.1.0 is beside it to compare
# Behaviour:  the cast gives the unscaled number times 10**-scale, and 10**-scale is no exact float. DECIMAL(10,1) 0.3
#             becomes 0.30000000000000004, DECIMAL(38,9) 15 becomes 15.000000000000002. At the scales 5, 9, 11 and 15
#             whole numbers up to 1,000 are hit, at the others up to 18 none of them. A large one at the same scale,
#             15,000,000, is exact: where the unscaled number no longer fits a float, another way is taken.
# Surprise:   a cast is taken for exact wherever the float can hold the value, and small values for the safe ones. The
#             safe cast raises nothing here, but the next one does: 15.000000000000002 cannot become an int64. What a
#             database exports as NUMERIC (prices, whole-number codes) is no longer equal to itself.
# Instead:    cast to string and then to float64, or cast in polars: both give the nearest float. Whole numbers can be
#             cast to int64 directly.
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
install pyarrow==25.0.1 polars==2.1.0 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import sys
from decimal import Decimal

import polars
import pyarrow


def expect(seen, wanted, what):
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


def cast(values, precision, scale):
    column = pyarrow.array([Decimal(value) for value in values], type=pyarrow.decimal128(precision, scale))
    return {
        "float64": column.cast(pyarrow.float64()).to_pylist(),
        "string, float64": column.cast(pyarrow.string()).cast(pyarrow.float64()).to_pylist(),
        "polars": polars.Series(polars.from_arrow(column)).cast(polars.Float64).to_list(),
    }


examples = [
    ("0.3", 10, 1, 0.30000000000000004),
    ("0.57", 10, 2, 0.5700000000000001),
    ("15", 38, 9, 15.000000000000002),
    ("15000000", 38, 9, 15000000.0),
]
for value, precision, scale, wanted in examples:
    seen = {way: floats[0] for way, floats in cast([value], precision, scale).items()}
    kind = f"DECIMAL({precision},{scale}) {value}"
    print(f"{kind:<24}", "; ".join(f"by {way}: {number!r}" for way, number in seen.items()))
    expect(seen["float64"], wanted, f"{kind} as float64")
    expect(seen["string, float64"], float(value), f"{kind} by string")
    expect(seen["polars"], float(value), f"{kind} in polars")

wholes = range(1001)
hit = {}
for scale in range(19):
    casts = cast(wholes, 38, scale)
    inexact = {way: sum(a != b for a, b in zip(floats, wholes)) for way, floats in casts.items()}
    if inexact["float64"]:
        hit[scale] = inexact["float64"]
    expect((inexact["string, float64"], inexact["polars"]), (0, 0), f"inexact by string and in polars at scale {scale}")
print("Whole numbers from 0 to 1,000 that are inexact, by scale:", hit)
expect(list(hit), [5, 9, 11, 15], "the list of scales with inexact whole numbers")

fifteen = pyarrow.array([Decimal(15)], type=pyarrow.decimal128(38, 9))
expect(fifteen.cast(pyarrow.int64()).to_pylist(), [15], "15 as int64")
try:
    refused = f"no: {fifteen.cast(pyarrow.float64()).cast(pyarrow.int64()).to_pylist()}"
except pyarrow.ArrowInvalid as error:
    refused = f"yes: {error}"
print("15 by float64 to int64 refused?", refused)
expect(refused[:3], "yes", "15 by float64 to int64 refused")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
