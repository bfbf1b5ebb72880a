"Break a small bank in every way that is known, and write down what held: `make chaos`, `make chaos KILLS=50`."

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bank import ROOT, Bank, pipeline_run, require_done, require_whole
from faults import FAULTS, Skipped, suffer
from processes import kill_group

from rumos_bank.governance.integrity import library_digest
from rumos_bank.serving.batch import count_cores

RECORD = ROOT / "reports" / "record"
OVER = "it was over already"  # a run that was quicker than the random moment
LATEST = 0.9  # of an undisturbed run: a later moment would often find it over


def describe_machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return {
        "system": system,
        "cores": count_cores(),
        "memory_gb": round(memory / 2**30),
        "root": os.geteuid() == 0,
    }


def count_killed(state: dict[str, Any]) -> int:
    "The runs that were really killed; one that was over before its moment is not counted."
    return sum(each["words"] != OVER for each in state["kills"])


def read_state(kills: int) -> dict[str, Any]:
    "What the same library has suffered already, as long as something is left to do; else a fresh start."
    fresh = {"library": library_digest(), "machine": describe_machine(), "kills": [], "faults": {}}
    with_file = RECORD / "chaos.json"
    if not with_file.exists():
        return fresh
    state = json.loads(with_file.read_text())
    is_done = count_killed(state) >= kills and len(state["faults"]) == len(FAULTS)
    return fresh if is_done or state["library"] != fresh["library"] else state


def try_out(work: Any) -> dict[str, Any]:
    "What came of it, and how long it took."
    begun = time.monotonic()
    try:
        outcome, shown = "held", work()
    except Skipped as why:
        outcome, shown = "SKIPPED", str(why)
    except Exception as error:
        traceback.print_exc()
        outcome, shown = "FAILED", f"{type(error).__name__}: {error}"
    return {"outcome": outcome, "words": shown, "seconds": round(time.monotonic() - begun)}


def make_bank(folder: Path) -> tuple[Bank, float]:
    "A bank with a champion, a backup and some decisions, and the seconds of its pipeline run."
    bank = Bank(folder)
    folder.mkdir()
    begun = time.monotonic()
    require_done(bank.rumos(*pipeline_run()))
    seconds = time.monotonic() - begun
    with bank.open_service() as service:
        bank.decide(service)
    require_done(bank.rumos("backup", str(folder / "backups")))
    return bank, seconds


def kill_a_pipeline_run(bank: Bank, seed: int, seconds: float) -> dict[str, Any]:
    "A pipeline run without anything of an earlier one, killed at a random moment; then the same again, to its end."
    bank.more = {"RUMOS_SPLIT_SEED": str(1000 + seed)}
    moment, log = random.Random(seed).uniform(0, LATEST * seconds), bank.folder / "run.log"
    facts = {"seed": seed, "killed_after": round(moment, 1)}

    def work() -> str:
        process = bank.start(*pipeline_run(), log=log)
        time.sleep(moment)
        was_over = process.poll() is not None
        if not was_over:
            kill_group(process)
        reached = (log.read_text().strip().splitlines() or ["no line yet"])[-1].strip()
        require_whole(bank)
        require_done(bank.rumos(*pipeline_run()))
        require_whole(bank)
        with bank.open_service() as service:
            bank.decide(service)
        return OVER if was_over else reached[:100]

    return facts | try_out(work)


def cells(*words: Any) -> str:
    "A line of a table."
    return "| " + " | ".join(str(word).replace("|", "/").replace("\n", " ") for word in words) + " |"


def write_table(state: dict[str, Any]) -> None:
    "The record, as JSON and as a page."
    machine, kills, faults = state["machine"], state["kills"], state["faults"]
    results = [*kills, *faults.values()]
    counts = ", ".join(
        f"{sum(each['outcome'] == word for each in results)} {word}" for word in ("held", "FAILED", "SKIPPED")
    )
    lines = [
        "# What was broken, and what held",
        "",
        f"Written by `make chaos` on {state['when']}: {machine['system']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GiB{', as root' if machine['root'] else ''}; library `{state['library'][:12]}`. {counts}.",
        "",
        "After each: the store opens, there is exactly one champion by the ledger, the ledger verifies, and no "
        "decision that was answered is missing from the log.",
        "",
        "## Faults",
        "",
        cells("fault", "outcome", "what was seen", "s"),
        "|---|---|---|---|",
        *(
            cells(name.replace("_", " "), each["outcome"], each["words"], each["seconds"])
            for name, each in faults.items()
        ),
        "",
        "## kill -9 of a pipeline run",
        "",
        f"{count_killed(state)} pipeline runs killed with their whole process group at a random moment of the first {LATEST:.0%} of "
        f"an undisturbed run ({len(kills) - count_killed(state)} more were over before it). Each time the same command had "
        "to finish afterwards.",
        "",
        cells("seed", "killed after s", "outcome", "its last line", "all s"),
        "|---|---|---|---|---|",
        *(
            cells(each["seed"], each["killed_after"], each["outcome"], each["words"], each["seconds"])
            for each in kills
        ),
        "",
    ]
    RECORD.mkdir(parents=True, exist_ok=True)
    (RECORD / "chaos.md").write_text("\n".join(lines), encoding="utf-8")
    (RECORD / "chaos.json").write_text(
        json.dumps(state, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=5, help="pipeline runs to kill (5)")
    asked.add_argument("--only", default="", help="one fault, by its name; nothing is written")
    given = asked.parse_args()
    state = read_state(given.kills)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))

    def keep(name: str, row: dict[str, Any]) -> None:
        for place in (str(folder), str(ROOT)):
            row["words"] = row["words"].replace(place, "…")
        print(f"{name}: {row['outcome']} in {row['seconds']} s: {row['shown']}", flush=True)

    try:
        base, seconds = make_bank(folder / "base")
        print(f"an undisturbed pipeline run takes {seconds:.0f} s", flush=True)
        for fault in FAULTS:
            if given.only not in ("", fault.__name__) or fault.__name__ in state["faults"]:
                continue
            bank = base.copy_to(folder / fault.__name__)
            row = try_out(lambda: suffer(fault, bank))  # noqa: B023
            keep(fault.__name__, row)
            shutil.rmtree(bank.folder, ignore_errors=True)
            state["faults"][fault.__name__], state["when"] = row, f"{datetime.now(UTC):%Y-%m-%d}"
            if not given.only:
                write_table(state)
        bank = base.copy_to(folder / "killed")
        while not given.only and count_killed(state) < given.kills:
            row = kill_a_pipeline_run(bank, len(state["kills"]) + 1, seconds)
            keep(f"kill {row['seed']}", row)
            state["kills"].append(row)
            state["when"] = f"{datetime.now(UTC):%Y-%m-%d}"
            write_table(state)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(any(each["outcome"] == "FAILED" for each in [*state["kills"], *state["faults"].values()]))


if __name__ == "__main__":
    sys.exit(main())
