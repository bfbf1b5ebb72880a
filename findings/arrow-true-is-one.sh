#!/usr/bin/env bash
# pyarrow takes True for 1.0 beside a fraction, and refuses it beside a whole number
#
# Software:   pyarrow 25.0.1
# Behaviour:  pa.array([1.0, True]) is [1.0, 1.0] of type double, with or without a type given, and without an error. A whole number in the
#             place of the fraction is refused: pa.array([1, True], pa.int64()) raises ArrowTypeError.
# Surprise:   whether True is a number depends on whether its neighbours have a fraction. Cells of a workbook arrive as Python's floats and
#             bools: a column of amounts with one TRUE in it is a column of numbers afterwards.
# Instead:    look at the types of the cells before they become an array.
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
install pyarrow==25.0.1 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

cat > finding.py <<'PY'
import sys

import pyarrow


def expect(seen, wanted, what):
    print(f"{what}: {seen!r}")
    if seen != wanted:
        sys.exit(f"The behaviour changed: {what} was {wanted!r} and is {seen!r}.")


def make(cells, kind=None):
    try:
        return pyarrow.array(cells, kind).to_pylist()
    except pyarrow.ArrowException as error:
        return type(error).__name__


expect(make([1.0, True], pyarrow.float64()), [1.0, 1.0], "1.0 and True as float64")
expect(make([1.0, True]), [1.0, 1.0], "1.0 and True without a type")
expect(make([1, True], pyarrow.int64()), "ArrowTypeError", "1 and True as int64")
PY
venv/bin/python -I finding.py || { echo "It is not as described." >&2; exit 1; }
echo "As described."
