"A PostgreSQL of its own for a test: made in a temporary folder, on the loopback, and taken away again."

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import find_free_port, is_open

USER, NAME = "mlflow", "postgres"
PASSWORD = "p@ss/word with: everything"  # what an address cannot hold as it is


@dataclass(frozen=True)
class Database:
    "A started server."

    port: int
    password_file: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "RUMOS_STORE_DATABASE": f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{NAME}",
            "RUMOS_STORE_DATABASE_PASSWORD_FILE": str(self.password_file),
        }


def find_programs() -> Path | None:
    "The folder of PostgreSQL's programs; Debian keeps them away from the path."
    places = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else next(iter(places), None)


@contextmanager
def run_postgres(programs: Path) -> Iterator[Database]:
    "A new cluster that asks for a password; PostgreSQL refuses to run as root, so root runs it as the account `nobody`."
    user = "nobody" if os.getuid() == 0 else None
    folder, port = Path(tempfile.mkdtemp(prefix="rumos-postgres-")), find_free_port()
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    if user:
        shutil.chown(folder, user)
        shutil.chown(password, user)
    made = ("-D", str(folder / "data"), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}")
    subprocess.run(
        [programs / "initdb", *made], user=user, check=True, capture_output=True, timeout=120, cwd=folder
    )
    words = ("-D", str(folder / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F")
    process = subprocess.Popen(
        [programs / "postgres", *words],
        user=user,
        cwd=folder,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(port, process)
        yield Database(port, password)
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown: open connections are ended
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: subprocess.Popen) -> None:
    "Until it listens."
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "PostgreSQL ended by itself"
        if is_open(port):
            return
        time.sleep(0.1)
    raise AssertionError("PostgreSQL did not start within a minute")
