"A champion that needs no store, and what became of a file of clients."

import hashlib
import json
from pathlib import Path

import pandas as pd
import skops.io
from stores import intent_of

from rumos_bank.data.contract import CLIENT_COLUMNS, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Line
from rumos_bank.ground.settings import Costs
from rumos_bank.model.decision import make_decision
from rumos_bank.model.explain import make_reference
from rumos_bank.model.families import find_family, make_model
from rumos_bank.model.portable import PORTABLE, SKOPS, make_portable
from rumos_bank.serving.batch import Cases
from rumos_bank.serving.case_parts import Shared
from rumos_bank.serving.champion import Champion

SEGMENT = "20051001-1a2b3c4d"  # where two runs are to give the same ids
CASES = Cases(Shared(SEGMENT, "2005-10-01T09:00:00+00:00", "test", "file", {"version": 3}, 0.25, {}))
PROTECTED = ("SEX", "MARRIAGE", "AGE")


def make_champion(version: int, seed: int, name: str = "LightGBM") -> Champion:
    clients = make_synthetic_clients(2000, seed)
    family, parameters = find_family(name), {"n_estimators": 20} if name == "LightGBM" else {}
    decision = make_decision(
        make_model(family, parameters, seed, PROTECTED), 0.25, Costs(), PROTECTED, refer_margin=200
    )
    decision.fit(clients[list(CLIENT_COLUMNS)], clients[TARGET])
    probability = decision.predict_proba(clients[list(CLIENT_COLUMNS)])[:, 1]
    decision.reference_ = make_reference(decision, clients, probability)
    form = make_portable(decision, {"family": family.name})
    content = {PORTABLE: json.dumps(form).encode(), SKOPS: skops.io.dumps(decision)}
    files = {name: hashlib.sha256(written).hexdigest() for name, written in content.items()}
    line = Line(1, intent_of(version, "r", files=files), "now", "test", "")
    return Champion(version, line, content)


def read_answers(path: Path) -> pd.DataFrame:
    "A file of decisions; the bank's own column as text."
    if path.is_dir():
        return pd.read_parquet(path)
    if path.suffix == ".xlsx":
        return pd.read_excel(path, dtype={"branch": str})
    return pd.read_csv(path, dtype={"branch": str}, float_precision="round_trip")


DIES = """
import os, pickle, signal, sys
from pathlib import Path
from rumos_bank.serving import batch
from rumos_bank.serving import cluster
from rumos_bank.data import columnar, places
from rumos_bank.ground.settings import read_settings
places.CHUNK_ROWS = columnar.CHUNK_ROWS = 500
done = []
def notify(rows, whole, seconds):
    done.append(rows)
    if len(done) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
folder, given = Path(sys.argv[1]), sys.argv[2]
asked = {"champion": pickle.loads((folder / "champion").read_bytes()), "notify": notify}
if len(sys.argv) > 3:
    asked["engine"] = cluster.run_on_dask(sys.argv[3])
batch.predict_file(folder / given, folder / "out.parquet", read_settings(), **asked)
"""  # a batch that is killed after four chunks


DIES_EVERYWHERE = """
import os, pickle, signal, sys, threading
from pathlib import Path
import numpy as np
import filelock, orjson, pyarrow.compute, pyarrow.parquet
from threadpoolctl import threadpool_limits
from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.data.readers import open_source
from rumos_bank.serving import batch
from rumos_bank.data import columnar, places
from rumos_bank.ground.settings import read_settings
places.CHUNK_ROWS = columnar.CHUNK_ROWS = 20
folder, ending = Path(sys.argv[1]), sys.argv[2]
champion = pickle.loads((folder / "champion").read_bytes())
with threadpool_limits(1):  # all is loaded once, and no thread is begun before the forks
    champion.score_columns([np.array([value]) for value in EXAMPLE_CLIENT.values()])
open_source(folder / "in.parquet", champion.seen).digest()
lock, left = threading.Lock(), [0]
def wrap(real):
    def step(*given, **named):
        with lock:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        return real(*given, **named)
    return step
for name in ("fsync", "fdatasync", "replace", "write", "link", "rename", "unlink"):
    setattr(os, name, wrap(getattr(os, name)))
for moment in range(200):
    (folder / f"{moment}").mkdir()
    settings = read_settings(environ={"RUMOS_STORE_PATH": str(folder / "logs" / f"{moment}")})
    left[0], child = -1, os.fork()
    if not child:
        left[0] = moment
        target = folder / f"{moment}" / f"out{ending}"
        batch.predict_file(folder / "in.parquet", target, settings, champion=champion, references="ref")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
left[0] = -1
(folder / "moments").write_text(str(moment))
"""  # one batch after the other, each killed one step later, until one is finished
