"""Look every locked package up among the known vulnerabilities (pip-audit). Exit codes: 0 clean or explained, 1 findings,
2 the packages could not be looked up: then nothing is known, and the report states it."""

import json
import subprocess
import sys
import tomllib
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = timedelta(days=90)


def read_accepted(text: str, today: date) -> dict[str, str]:
    "Advisory → reason, for what is accepted today. An entry that lacks something or is too long raises ValueError."
    accepted = {}
    for entry in tomllib.loads(text).get("accepted", []):
        missing = {"id", "package", "reason", "since", "until"} - set(entry)
        if missing or not str(entry["reason"]).strip():
            raise ValueError(f"{entry} lacks {', '.join(sorted(missing)) or 'a reason'}")
        if entry["until"] - entry["since"] > LONGEST:
            raise ValueError(f"{entry['id']} is accepted for longer than {LONGEST.days} days")
        if entry["since"] <= today <= entry["until"]:
            accepted[entry["id"]] = entry["reason"]
    return accepted


def judge(report: dict, accepted: dict[str, str]) -> tuple[int, list[str]]:
    "Exit code and sentences for what pip-audit reported."
    packages = report["dependencies"]
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    lines, code = [], 0
    for package in packages:
        for found in package.get("vulns", []):
            known = {found["id"], *found.get("aliases", [])} & set(accepted)
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            head = f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}"
            lines.append(f"{head}: accepted, {accepted[known.pop()]}" if known else head)
            code = code if lines[-1] != head else 1
    if not packages:
        return 2, ["NOT AUDITED: pip-audit gave no report, see above."]
    if unknown:
        lines.append(
            f"NOT AUDITED: {len(unknown)} of {len(packages)} packages could not be looked up. There is no way to the "
            "advisories from here; the weekly workflow runs this audit where there is one."
        )
        return code or 2, lines
    return code, [*lines, f"{len(packages)} packages were looked up: {'see above' if code else 'clean'}."]


def ask() -> dict:
    "What pip-audit reports on the lock."
    words = ("-r", "requirements.lock", "--require-hashes", "--disable-pip", "--progress-spinner", "off")
    command = [sys.executable, "-m", "pip_audit", *words, "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(done.stderr[-500:], file=sys.stderr)
        return {"dependencies": []}


if __name__ == "__main__":
    text = (ROOT / "vulnerabilities.toml").read_text(encoding="utf-8")
    code, lines = judge(ask(), read_accepted(text, date.today()))
    print("\n".join(lines))
    sys.exit(code)
