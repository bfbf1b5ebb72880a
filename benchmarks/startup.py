"""How long a person waits before anything happens: the command line's help and the library's import.

Beside a Python that does nothing, which nothing can undercut. The API's first answer stands with the API (`service.py`), the
desk's with its pictures (`make screens`).
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from ratios import RUMOS, Ratio, run

WAYS = {
    "nothing": (sys.executable, "-c", "pass"),
    "rumos --help": (*RUMOS, "--help"),
    "import rumos_bank.serving.champion": (sys.executable, "-c", "import rumos_bank.serving.champion"),
    "import mlflow": (sys.executable, "-c", "import mlflow"),
    "import pandas, sklearn": (sys.executable, "-c", "import pandas, sklearn.ensemble"),
}


def time_command(command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(asked: argparse.Namespace) -> Iterator[Ratio]:
    "Medians of interleaved rounds."
    rounds = [
        {name: time_command(way) for name, way in WAYS.items()} for _ in range(5 if asked.brief else 15)
    ]
    found = {name: statistics.median(each[name] for each in rounds[1:]) for name in WAYS}
    yield Ratio("rumos --help", "0.3 s", found["rumos --help"], 0.3, "s", 1.0, steady=False)
    for name in ("rumos --help", "import rumos_bank.serving.champion"):
        yield Ratio(name, "a Python that does nothing", found[name], found["nothing"], "s")
    for name in ("import pandas, sklearn", "import mlflow"):
        yield Ratio(
            "import rumos_bank.serving.champion",
            name,
            found["import rumos_bank.serving.champion"],
            found[name],
            "s",
        )


if __name__ == "__main__":
    run(__doc__, measure)
