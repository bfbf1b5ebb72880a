#!/usr/bin/env bash
# Whether an import over several lines becomes relative depends on how long its last line is
#
# Software:   nbdev 3.3.26, with nbformat 5.11.1 to write the notebooks
# Behaviour:  nbdev-export turns "from package.module import name" into "from .module import name". Of an import over
#             several lines it looks at the first line only, cut off at the column at which the last line ends. If the
#             last line is shorter than "from package.module", the import stays absolute. One space of indentation more
#             and it becomes relative. With the closing bracket on a line of its own it never does.
# Surprise:   all spellings mean the same, and the import is read from the syntax tree. A formatter that wraps a long
#             import changes what is exported; nothing is said, and everything works until the package is copied or
#             renamed: then half of a module still imports from the old name.
# Instead:    keep an import from the own package on one line in an exported cell (several of them if it is too long),
#             and search the exported modules for "from package." to be sure.
#
# Exit codes: 0 as described, 1 the behaviour changed, 2 the packages could not be installed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH PYTHONHOME
export XDG_CONFIG_HOME=$folder/config

install() {
    python3 -m venv venv
    if uv --version >/dev/null 2>&1; then
        uv pip install --quiet --python venv/bin/python "$@"
    else
        venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    fi
}
install nbdev==3.3.26 nbformat==5.11.1 || { echo "The packages could not be installed: nothing is known." >&2; exit 2; }

mkdir nbs bank
echo '__version__ = "0.0.1"' > bank/__init__.py
cat > pyproject.toml <<'TOML'
[project]
name = "bank"
description = "A package of two modules"
dynamic = ["version"]

[tool.nbdev]
TOML

cat > spellings.py <<'PY'
START = "from bank.costs import "  # "from bank.costs" is 15 characters long
SPELLINGS = {
    "on one line": (START + "(lose, win)", True),
    "last line of 14 characters": (START + "(lose,\n          win)", False),
    "last line of 15 characters": (START + "(lose,\n           win)", True),
    "last line with a long name": (START + "(lose,\n    win_by_more_than)", True),
    "bracket on its own line": (START + "(\n    lose,\n    win_by_more_than,\n)", False),
}
PY
cat > write.py <<'PY'
import nbformat
from spellings import SPELLINGS


def write(name, *cells):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(book, f"nbs/{name}.ipynb")


write("00_costs", "#| default_exp costs", "#| export\nlose, win, win_by_more_than = 3000, 1000, 2000")
write("01_doors", "#| default_exp doors", *(f"#| export\n{source}" for source, _ in SPELLINGS.values()))
PY
cat > compare.py <<'PY'
import re
import sys
from pathlib import Path

from spellings import SPELLINGS

lines = re.findall(r"^from .*import .*", Path("bank/doors.py").read_text(), flags=re.M)
if len(lines) != len(SPELLINGS):
    sys.exit(f"The behaviour changed: {len(SPELLINGS)} imports were written and {len(lines)} are exported: {lines}.")
for (spelling, (_, relative)), line in zip(SPELLINGS.items(), lines):
    print(f"{spelling:<27} {line}")
    wanted = "from .costs import" if relative else "from bank.costs import"
    if not line.startswith(wanted):
        sys.exit(f"The behaviour changed: the import ({spelling}) was exported as {wanted!r} and is {line!r}.")
PY
{ venv/bin/python write.py && venv/bin/nbdev-export && venv/bin/python compare.py; } \
    || { echo "It is not as described." >&2; exit 1; }

# What it leads to: a copy of the package under another name, in a place where the old name does not exist
mkdir moved
cp -r bank moved/house
cd moved
if said=$("$folder/venv/bin/python" -c "import house.doors" 2>&1); then
    echo "The behaviour changed: the package was not importable under another name and is." >&2
    exit 1
fi
echo "copied to another name:     ${said##*$'\n'}"
case $said in
    *"No module named 'bank'"*) echo "As described." ;;
    *) echo "The behaviour changed: the copy failed for the missing name 'bank' and fails otherwise." >&2; exit 1 ;;
esac
