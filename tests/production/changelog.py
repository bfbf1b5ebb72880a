"""May this version be released? The changelog must have a dated entry for it, and state in euros what its models changed:
under Euros, cost per client before and after, the last of them the champion's in reports/record.

From the command line: changelog.py x.y.z; exit code 1 and the faults if not.
"""

import csv
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Models", "Euros")
EUROS = re.compile(r"(\d[\d,]*(?:\.\d+)?) € per client")


def read_entries(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    "Version → its date (or `unreleased`) and the text under each kind of change, the newest first."
    parts = re.split(r"^## (\S+) — (\S+)\n", text, flags=re.MULTILINE)[1:]
    entries = {}
    for version, day, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        kinds = re.split(r"^### (.+)\n", body, flags=re.MULTILINE)[1:]
        entries[version] = (day, dict(zip(kinds[::2], kinds[1::2], strict=True)))
    return entries


def find_faults(text: str) -> list[str]:
    "What is wrong with the changelog as a whole: a change of models without its euros above all."
    entries = read_entries(text)
    faults = [] if entries else ["it has no entry: ## x.y.z — YYYY-MM-DD"]
    for number, (version, (day, kinds)) in enumerate(entries.items()):
        if not re.fullmatch(r"\d{4}-\d\d-\d\d" if number else r"\d{4}-\d\d-\d\d|unreleased", day):
            faults.append(f"{version} has no date, but {day!r}")
        faults += [f"{version}: unknown kind {kind!r}" for kind in kinds if kind not in KINDS]
        first = number == len(entries) - 1  # nothing before it to compare with
        if first or not kinds.get("Models", "").strip():
            continue
        if len(EUROS.findall(kinds.get("Euros", ""))) < 2:
            faults.append(f"{version} changes models: ### Euros must state `… € per client` before and after")
    return faults


def read_recorded_cost() -> str:
    "What the champion on record costs per client in cross-validation, as it is written here."
    record = ROOT / "reports/record"
    champion = json.loads((record / "record.json").read_text(encoding="utf-8"))["champion_run"]
    with (record / "leaderboard.csv").open(encoding="utf-8", newline="") as opened:
        (cost,) = (row["cv_cost"] for row in csv.DictReader(opened) if row["run_id"] == champion)
    return f"{float(cost):.1f}"


def find_release_faults(text: str, version: str, packaged: str, cost: str) -> list[str]:
    "What stands against this release; cost: of the champion on record."
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return [f"a version is like 1.2.3, got {version!r}: make release VERSION=1.2.3"]
    faults, entries = find_faults(text), read_entries(text)
    if version not in list(entries)[:1]:
        faults.append(f"the newest entry of CHANGELOG.md is {next(iter(entries), 'none')}, not {version}")
    elif entries[version][0] == "unreleased":
        faults.append(f"the entry {version} is still unreleased: write the date")
    euros = EUROS.findall(next(iter(entries.values()), ("", {}))[1].get("Euros", ""))
    if euros and euros[-1] != cost:
        faults.append(f"### Euros ends at {euros[-1]} € per client, the champion on record costs {cost}")
    if packaged != version:
        faults.append(f"rumos_bank/__init__.py has {packaged}, not {version}")
    return faults


if __name__ == "__main__":
    from rumos_bank import __version__

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    faults = find_release_faults(text, sys.argv[1], __version__, read_recorded_cost())
    print("\n".join(faults) or f"{sys.argv[1]} may be released")
    sys.exit(bool(faults))
