"""All benchmarks one after the other, each in a process of its own: a table of ratios, and a comparison with the record.

python benchmarks/bench.py             # make bench: whole and brief, into reports/bench (about twenty minutes on two cores)
python benchmarks/bench.py --compare   # make bench-compare: brief, warns where a ratio lost 20 % or missed its aim
python benchmarks/bench.py --record    # what `make record` does with reports/bench
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ratios import Ratio, a_champion, describe_machine, read_ratios

from rumos_bank.ground.settings import read_settings

SCRIPTS = {  # how a whole run is asked for; a brief one is the same with --brief
    "decision": (),
    "service": (),
    "startup": (),
    "batch": ("--rows", "10000000", "--repeat", "1", "--picture", "{folder}/batch_memory.png"),
    "cluster": ("--rows", "250000,1000000,4000000", "--repeat", "1"),
    "readers": (),
    "search": (),
    "shadow": ("--pace", "0.02"),
}
LOSS = 0.2  # of a ratio, that is reported
HERE = Path(__file__).parent


def run_script(name: str, folder: Path, brief: bool) -> list[Ratio]:
    "Its ratios; what it prints is shown as it comes."
    words = ("--brief",) if brief else tuple(word.format(folder=folder) for word in SCRIPTS[name])
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place) / "ratios.json"
        print(f"\n{name} {' '.join(words)}", flush=True)
        subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *words, "--json", str(answer)],
            check=True,
            cwd=HERE.parent,
        )
        return read_ratios(json.loads(answer.read_text()))


def name_ratio(script: str, ratio: Ratio) -> tuple[str, ...]:
    "What makes it the same ratio on another day."
    return script, ratio.what, ratio.beside, ratio.unit


def write_number(number: float) -> str:
    "Four digits, never a power of ten."
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def describe_script(name: str) -> str:
    "The first sentence of its docstring."
    return ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text())).splitlines()[0]


def write_table(known: dict[str, Any]) -> str:
    "For people, in Markdown."
    lines = ["# Benchmarks", "", "Less is better."]
    for script, one in known.items():
        of = f"{one['champion']}; {one['when']}, commit `{one['commit']}`; {one['machine']}."
        lines += ["", f"## {script}", "", f"{describe_script(script)} Champion: {of}", ""]
        lines += [
            "| measured | beside | ratio | ours | theirs | unit | aim |",
            "|---|---|--:|--:|--:|---|--:|",
        ]
        for each in read_ratios(one["whole"]):
            aim = "" if each.aim is None else f"≤ {each.aim:.3g}"
            numbers = f"**{each.ratio:.3g}** | {write_number(each.ours)} | {write_number(each.theirs)}"
            what = f"{each.what} ({each.note})" if each.note else each.what
            lines.append(f"| {what} | {each.beside} | {numbers} | {each.unit} | {aim} |")
    return "\n".join(lines) + "\n"


def bench(folder: Path, names: Sequence[str]) -> None:
    "Each script whole and brief; what others than these have measured before is kept, with its champion and commit."
    folder.mkdir(parents=True, exist_ok=True)
    git = ("git", "-C", str(HERE), "rev-parse", "--short=10", "HEAD")
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    known = read_recorded(folder)
    with a_champion() as champion:
        for name in names:
            known[name] = {"champion": champion, "commit": commit, "when": f"{datetime.now(UTC):%Y-%m-%d}"}
            known[name] |= {"machine": describe_machine()}
            for kind in ("whole", "brief"):
                known[name][kind] = [asdict(each) for each in run_script(name, folder, brief=kind == "brief")]
            known = {script: known[script] for script in SCRIPTS if script in known}
            text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
            (folder / "benchmarks.json").write_text(text)  # at once: what is measured is kept
    print(f"\n{write_table(known)}\nwritten to {folder}: `make record` puts it on record")


def read_recorded(folder: Path) -> dict[str, Any]:
    "What was measured before, by script; nothing if nothing was."
    path = folder / "benchmarks.json"
    return json.loads(path.read_text()) if path.exists() else {}


def record(folder: Path, into: Path) -> None:
    "From a run into the record."
    if not (known := read_recorded(folder)):
        print(f"no benchmarks in {folder}: the record keeps those it has (`make bench` measures anew)")
        return
    (into / "benchmarks.md").write_text(write_table(known))
    for name in ("benchmarks.json", "batch_memory.png"):
        (into / name).write_bytes((folder / name).read_bytes())


def compare(into: Path) -> None:
    "Today's brief ratios beside those on record."
    if not (known := read_recorded(into)):
        raise SystemExit(f"there is nothing to compare with in {into}: `make bench record` writes it")
    annotation = "::warning::" if os.environ.get("GITHUB_ACTIONS") else "WARNING: "
    lost = pairs = missed = 0
    with tempfile.TemporaryDirectory() as folder, a_champion() as champion:
        for script in SCRIPTS:
            one = known.get(script, {"champion": "", "brief": []})
            if one["champion"] != champion:
                print(f"{script}: the champion is {champion}, on record {one['champion'] or 'none'}")
            known = {name_ratio(script, each): each.ratio for each in read_ratios(one["brief"])}
            for now in run_script(script, Path(folder), brief=True):
                if now.aim is not None and now.ratio > now.aim:
                    missed += 1
                    print(f"{annotation}{now}: the aim is missed", flush=True)
                if not now.steady:
                    continue
                if (was := known.pop(name_ratio(script, now), None)) is None:
                    print(f"{now}: not on record", flush=True)
                    continue
                pairs += 1
                if now.ratio > was * (1 + LOSS):
                    lost += 1
                    print(f"{annotation}{now}; on record {was:.3g}", flush=True)
    print(f"{lost} of {pairs} ratios lost more than {LOSS:.0%} against the record; {missed} missed their aim")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compare", action="store_true", help="brief, beside the record")
    parser.add_argument(
        "--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), help="measure these anew"
    )
    parser.add_argument("--record", action="store_true", help="copy the last run into the record")
    asked = parser.parse_args()
    reports = read_settings().reports_path
    if asked.compare:
        return compare(reports / "record")
    if asked.record:
        return record(reports / "bench", reports / "record")
    bench(reports / "bench", asked.only)


if __name__ == "__main__":
    main()
