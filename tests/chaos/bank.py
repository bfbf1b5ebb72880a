"A small bank that may be broken: a store, its commands, its API, and what must hold in it after anything."

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "shared")]
from processes import RUMOS, clean_environment, find_free_port, run_to_end  # noqa: E402
from services import Service, serve, variables_of  # noqa: E402
from stores import LENIENT  # noqa: E402

from rumos_bank.data.synthetic import make_synthetic_clients  # noqa: E402
from rumos_bank.governance.ledger import CHAMPION, allowed_versions, read_ledger  # noqa: E402
from rumos_bank.ground.settings import DATABASE, Settings, read_settings  # noqa: E402
from rumos_bank.serving.decision_log import read_log  # noqa: E402

FAMILIES = "Decision_tree,logistic_reg"


@dataclass
class Bank:
    "Everything lies in one folder."

    folder: Path
    answered: dict[str, int] = field(default_factory=dict)  # id → prediction, as the API gave it
    more: dict[str, str] = field(default_factory=dict)  # settings of the moment

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def environment(self) -> dict[str, str]:
        ours = {f"RUMOS_PORTS_{name}": str(find_free_port()) for name in ("MLFLOW", "API", "DASHBOARD")}
        ours |= {
            "RUMOS_STORE_REPORTS": str(self.folder / "reports"),
            "RUMOS_SETTINGS": str(ROOT / "settings.ini"),
        }
        ours |= {"RUMOS_DATA_SOURCES": "twin", "PYTHONPATH": str(ROOT), **LENIENT}
        ours |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return clean_environment() | variables_of(self.store) | ours | self.more

    @property
    def settings(self) -> Settings:
        ours = {name: value for name, value in self.environment.items() if name.startswith("RUMOS_")}
        return read_settings(ROOT / "settings.ini", environ=ours)

    def copy_to(self, folder: Path) -> "Bank":
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("reports"))
        return Bank(folder, dict(self.answered))

    def rumos(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess:
        "A command, run to its end."
        return run_to_end([*RUMOS, *words], timeout, cwd=ROOT, env=self.environment)

    def start(self, *words: str, log: Path) -> subprocess.Popen:
        "A command, running in a group of its own."
        with log.open("w") as output:
            return subprocess.Popen(
                [*RUMOS, *words],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @contextmanager
    def open_service(self, **more: str) -> Iterator[Service]:
        with serve(self.store, self.folder, **self.more, **more) as service:
            yield service

    def decide(self, service: Service, clients: int = 20) -> None:
        "Ask the API, and remember its answer."
        columns = [
            name
            for name in make_synthetic_clients(1, seed=3).columns
            if name not in ("ID", "default.payment.next.month")
        ]
        synthetic = make_synthetic_clients(clients, seed=3)[columns]
        for client in json.loads(synthetic.to_json(orient="records")):
            answer = service.post("/default_prediction", client)
            require(answer.status == 200, f"the API answers {answer.status}: {answer.body[:200]!r}")
            self.answered[answer.headers["x-decision-id"]] = answer.json["prediction"]


def pipeline_run(*more: str) -> tuple[str, ...]:
    return ("run", "--profile", "quick", "--families", FAMILIES, *more)


def require(held: bool, what: str) -> None:
    if not held:
        raise AssertionError(what)


def require_sentence(done: subprocess.CompletedProcess, *words: str) -> str:
    "The command failed with a sentence that names these; it is given back."
    known = done.stderr.strip()
    require(done.returncode == 2, f"exit code {done.returncode}, expected 2: {(known or done.stdout)[-300:]}")
    require("Traceback" not in known, f"a traceback: {known[-300:]}")
    for word in words:
        require(word in known, f"{word!r} is missing: {known[-300:]}")
    return known


def require_done(done: subprocess.CompletedProcess) -> str:
    "The command did its work."
    require(done.returncode == 0, f"exit code {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
    return done.stdout


def find_aliases(store: Path) -> list[int]:
    "The versions that bear the champion's alias."
    query = "SELECT version FROM registered_model_aliases WHERE name = 'rumos_lending' AND alias = ?"
    with closing(sqlite3.connect(f"{(store / DATABASE).as_uri()}?mode=ro", uri=True, timeout=30)) as database:
        return [int(row[0]) for row in database.execute(query, (CHAMPION,))]


def require_recorded(answered: Mapping[str, int], settings: Settings) -> None:
    "No answer is missing from the log, and none is different there."
    logged = {entry["id"]: entry for entry in read_log(settings.audit_path, kind="decision")}
    lost = [each for each in answered if each not in logged]
    require(not lost, f"{len(lost)} of {len(answered)} answered decisions are not on record")
    wrong = [each for each, shown in answered.items() if logged[each]["answer"]["prediction"] != shown]
    require(not wrong, f"{len(wrong)} decisions on record differ from their answers")


def require_whole(bank: Bank) -> None:
    "The store opens, there is exactly one champion by the ledger, the ledger verifies, no decision is lost."
    with ThreadPoolExecutor(2) as pool:  # at the same time, as two people would
        for done in pool.map(lambda words: bank.rumos(*words), (("champion",), ("ledger", "verify"))):
            require_done(done)
    aliases = find_aliases(bank.store)
    require(len(aliases) == 1, f"{len(aliases)} versions bear the alias")
    require({*aliases} <= allowed_versions(read_ledger(bank.settings)), "the ledger knows another champion")
    require_recorded(bank.answered, bank.settings)
