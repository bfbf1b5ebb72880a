"""Is what is installed here what requirements.lock pins for this machine? Exit code 1 and the differences if not."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements.lock"


def read_pins(text: str) -> dict[str, str]:
    "Package → version, of the lines that count on this machine."
    from packaging.markers import Marker

    pins = {}
    for name, pinned, marker in re.findall(
        r"^([\w.-]+)==([^\s;\\]+)(?: *; *([^\\\n]+))?", text, re.MULTILINE
    ):
        if not marker or Marker(marker.strip()).evaluate():
            pins[name] = pinned
    return pins


def find_differences(pins: dict[str, str]) -> list[str]:
    found = []
    for name, pinned in pins.items():
        try:
            here = version(name)
        except PackageNotFoundError:
            here = "missing"
        if here != pinned:
            found.append(f"{name} is {here}, the lock has {pinned}")
    return found


if __name__ == "__main__":
    pins = read_pins(LOCK.read_text(encoding="utf-8"))
    differences = find_differences(pins)
    print("\n".join(differences) or f"All {len(pins)} packages are those of the lock.")
    sys.exit(bool(differences))
