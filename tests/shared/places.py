"""The pipeline is run as a user runs it: the console script, in a process of its own, on a store of its own."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from processes import ROOT, RUMOS, clean_environment, run_to_end


@dataclass(frozen=True)
class Place:
    """A store, a folder for reports and the repository that is used."""

    folder: Path
    repository: Path = ROOT

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def environment(self, **more: str) -> dict[str, str]:
        ours = {
            "RUMOS_STORE_PATH": str(self.store),
            "RUMOS_STORE_REPORTS": str(self.reports),
            "RUMOS_LEDGER_FOLDER": str(self.folder / "keys"),
            "RUMOS_DATA_CACHE": str(self.folder / "cache"),
            "RUMOS_DATA_SOURCES": "twin",
            "PYTHONPATH": str(self.repository),
        }
        return clean_environment() | ours | more

    def rumos(self, *words: str, timeout: float = 600, **more: str) -> subprocess.CompletedProcess:
        """The command, run to its end."""
        command = [*RUMOS, *words]
        return run_to_end(command, timeout, cwd=self.repository, env=self.environment(**more))

    def start(self, *words: str) -> subprocess.Popen:
        """The command, running."""
        return subprocess.Popen(
            [*RUMOS, *words],
            cwd=self.repository,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for_fits(self, family: str, fits: int, process: subprocess.Popen, timeout: float = 120) -> None:
        """Until a search has made some progress beyond its first cells."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert process.poll() is None, process.stdout.read()
            if any(ticks.stat().st_size >= fits for ticks in self.reports.glob(f"*/.search-{family}.ticks")):
                return
            time.sleep(0.05)
        raise AssertionError(f"{family} made no progress in {timeout} s")
