"One of each fault: what is done to a bank, what it reports, and what must hold."

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

from bank import (
    Bank,
    find_aliases,
    pipeline_run,
    require,
    require_done,
    require_recorded,
    require_sentence,
    require_whole,
)
from loads import Load
from processes import kill_group, wait_until
from services import Answer

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.governance.ledger import CHAMPION, read_ledger
from rumos_bank.governance.tracking import open_store
from rumos_bank.ground.settings import DATABASE


class Skipped(Exception):
    "This machine cannot show it; the message is the reason."


def remember(bank: Bank, load: Load) -> None:
    "Every whole answer of a load must be on record from now on, and none may have failed to come."
    require(not load.broken, f"{len(load.broken)} connections broke: {load.broken[:3]}")
    bank.answered |= {decision: shown for _, status, decision, _, shown in load.answers if status == 200}


def newest_backup(bank: Bank) -> str:
    return str(max((bank.folder / "backups").glob("rumos-*.zip")))


def state_of(service) -> str:
    return service.get("/health/ready").json["status"]


@contextmanager
def small_disk(folder: Path, megabytes: int):
    "A disk of this size in the folder; only root may make one."
    folder.mkdir(parents=True)
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    if not made:
        raise Skipped("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    "A file that leaves no byte free."
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb") as opened:
        while True:
            opened.write(b"0" * 65536)
            opened.flush()
    with suppress(OSError), filler.open("ab") as opened:
        while True:
            opened.write(b"0")
            opened.flush()
    return filler


def full_disk_under_the_api(bank: Bank) -> str:
    "The log's disk is full while the API decides: no answer leaves that is not on record."
    with (
        small_disk(bank.folder / "disk", 4) as disk,
        bank.open_service(RUMOS_AUDIT_FOLDER=str(disk / "log")) as service,
    ):
        before = dict(bank.answered)
        bank.decide(service)
        filler = fill(disk)
        refused = ask_until_refused(bank, service)
        require(refused.status == 503, f"got {refused.status}")
        require("cannot be written" in refused.body.decode(), refused.body.decode())
        filler.unlink()
        bank.decide(service)
        own = {each: shown for each, shown in bank.answered.items() if each not in before}
        require_recorded(
            own, bank.settings.model_copy(update={"audit": type(bank.settings.audit)(folder=disk / "log")})
        )
        bank.answered = before  # they lie on the disk that is removed
        return f"{len(own)} answers on record; with the disk full 503: {refused.json.get('detail', '')}"


def ask_until_refused(bank: Bank, service) -> Answer:
    "The last answer of the API; the little that still fits into the log's last page is answered, and must be on record."
    for _ in range(100):
        answer = service.post("/default_prediction", EXAMPLE_CLIENT)
        if answer.status != 200:
            return answer
        bank.answered[answer.headers["x-decision-id"]] = answer.json["prediction"]
    raise AssertionError("a hundred decisions were answered with a full disk")


def full_disk_under_a_pipeline_run(bank: Bank) -> str:
    "The store's disk is full in the middle of a pipeline run: the run reports it, and a second one finishes."
    size = sum(path.stat().st_size for path in bank.folder.rglob("*") if path.is_file()) // 10**6
    with small_disk(bank.folder / "disk", size + 40) as disk:
        shutil.copytree(
            bank.folder, disk / "bank", ignore=shutil.ignore_patterns("disk", "backups", "reports")
        )
        small = Bank(disk / "bank", dict(bank.answered), {"RUMOS_SPLIT_SEED": "77"})
        log = bank.folder / "full.log"
        process = small.start(*pipeline_run(), log=log)
        try:
            wait_until(lambda: "started" in log.read_text(), 120, "a search begins")
            filler = fill(disk)
            process.wait(timeout=240)
        finally:
            if process.poll() is None:
                kill_group(process)
        shown = log.read_text()
        require(process.returncode in (1, 2), f"exit code {process.returncode}: {shown[-300:]}")
        require("Traceback" not in shown, f"a traceback: {shown[-400:]}")
        filler.unlink()
        require_done(small.rumos(*pipeline_run()))
        require_whole(small)
    known = [line for line in shown.splitlines() if "FAILED" in line or line.startswith("rumos:")]
    require(
        any("full" in line or "No space" in line for line in known), f"the reason is missing: {known[:3]}"
    )
    return f"exit code {process.returncode}: {known[-1].strip()[:160]}"


def locked_database(bank: Bank) -> str:
    "Another process holds the database for ten seconds: the API answers all along, a command waits for it."
    with bank.open_service() as service:
        bank.decide(service)
        holder = sqlite3.connect(bank.store / DATABASE, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN EXCLUSIVE")
        freed = threading.Timer(10, lambda: (holder.execute("ROLLBACK"), holder.close()))
        freed.start()
        try:
            begun = time.monotonic()
            command = bank.start("champion", log=bank.folder / "locked.log")
            while freed.is_alive():
                bank.decide(service, clients=5)
            command.wait(timeout=120)
        finally:
            freed.join()
        shown = (bank.folder / "locked.log").read_text()
        require(command.returncode == 0 and "champion is version" in shown, shown[-300:])
        wait_until(lambda: state_of(service) == "ready", 20, "the API is ready again")
    return f"`rumos champion` waited and answered after {time.monotonic() - begun:.0f} s"


def corrupt_database(bank: Bank) -> str:
    "The database is overwritten: the running API goes on, commands report what to do, the backup brings it back."
    with bank.open_service() as service:
        bank.decide(service)
        (bank.store / DATABASE).write_bytes(b"no database at all" * 1000)
        wait_until(lambda: state_of(service) == "degraded", 20, "the API reports that it is degraded")
        bank.decide(service)
        shown = require_sentence(bank.rumos("champion"), "cannot be opened")
    with bank.open_service() as service:
        bank.decide(service)  # an API that starts now takes the champion that was last verified
    kept = dict(bank.answered)
    restored = require_done(bank.rumos("restore", newest_backup(bank), "--replace"))
    require_recorded(kept, bank.settings)
    require("is kept in" in restored, restored)
    return shown


def truncated_artifact(bank: Bank) -> str:
    "The champion's file is cut: the running API goes on, nothing loads it, the backup brings it back."
    intent = [line.event for line in read_ledger(bank.settings) if line.event.name == "intent"][-1]
    with bank.open_service() as service:
        model = bank.store / intent.folder / "portable.json"
        model.write_bytes(model.read_bytes()[:-100])
        bank.decide(service)
    shown = require_sentence(
        bank.rumos("predict", "--json", json.dumps(EXAMPLE_CLIENT)), "is not what was recorded"
    )
    require_sentence(bank.rumos("backup", str(bank.folder / "bad")), "is not what was recorded")
    require(not list((bank.folder / "bad").glob("rumos-*")), "a backup of a broken store was written")
    require_done(bank.rumos("restore", newest_backup(bank), "--replace"))
    return shown[:200]


def moved_store(bank: Bank) -> str:
    "The store's folder is moved: the next command repairs the paths, and a pipeline run goes on from what is finished."
    moved = Bank(bank.folder.with_name("moved"), bank.answered)
    bank.folder.rename(moved.folder)
    bank.folder = moved.folder
    done = require_done(moved.rumos(*pipeline_run()))
    require("found finished in the store" in done, done[-400:])
    return "both searches were found finished at the new place"


def set_alias_by_hand(bank: Bank, version: int) -> None:
    "Behind MLflow's back, as a person with the database open would."
    with sqlite3.connect(bank.store / DATABASE, timeout=30) as database:
        database.execute(
            "UPDATE registered_model_aliases SET version = ? WHERE alias = ?", (version, CHAMPION)
        )
    database.close()


def alias_to_a_deleted_version(bank: Bank) -> str:
    "The alias points to a version that was deleted: readers refuse it, the next command puts it back."
    name, client = bank.settings.store.registered_model, open_store(bank.settings).client
    champion = client.get_model_version_by_alias(name, CHAMPION)
    deleted = client.create_model_version(name, champion.source, champion.run_id).version
    client.delete_model_version(name, deleted)
    with bank.open_service() as service:
        set_alias_by_hand(bank, int(deleted))
        wait_until(lambda: state_of(service) == "degraded", 20, "the API reports that it is degraded")
        bank.decide(service)
        shown = require_sentence(bank.rumos("predict", "--json", json.dumps(EXAMPLE_CLIENT)), "moved by hand")
        require_done(bank.rumos("champion"))
        wait_until(lambda: state_of(service) == "ready", 20, "the API is ready again")
    require(find_aliases(bank.store) == [int(champion.version)], "the alias was not put back")
    return shown[:200]


def deleted_champion(bank: Bank) -> str:
    "The champion is deleted in MLflow: the running API goes on, commands refuse, its run is proposed and promoted again."
    name, client = bank.settings.store.registered_model, open_store(bank.settings).client
    champion = client.get_model_version_by_alias(name, CHAMPION)
    with bank.open_service() as service:
        client.delete_model_version(name, champion.version)
        wait_until(lambda: state_of(service) == "degraded", 20, "the API reports that it is degraded")
        bank.decide(service)
        shown = require_sentence(bank.rumos("champion"), f"`rumos propose {champion.run_id}`")
    require_done(bank.rumos("propose", champion.run_id, "--why", "it was deleted by mistake"))
    again = max(client.search_model_versions(f"name='{name}'"), key=lambda each: int(each.version))
    require_done(bank.rumos("approve", str(again.version)))
    return shown[:200]


def mlflow_gone_under_load(bank: Bank) -> str:
    "The MLflow server dies under the load of the API: every answer comes, the API reports that it is degraded."
    variables = bank.environment
    port = variables["RUMOS_PORTS_MLFLOW"]
    bank.more = {"RUMOS_PORTS_MLFLOW": port}
    server = bank.start("serve", "mlflow", log=bank.folder / "mlflow.log")
    try:
        wait_until(lambda: "ready on" in (bank.folder / "mlflow.log").read_text(), 120, "MLflow answers")
        with (
            bank.open_service(RUMOS_STORE_SERVER=f"http://127.0.0.1:{port}") as service,
            Load(service) as load,
        ):
            load.wait_for(200)
            stop_services(server)
            wait_until(lambda: state_of(service) == "degraded", 30, "the API reports that it is degraded")
            load.wait_for(500)
        require({status for _, status, *_ in load.answers} == {200}, "an answer failed")
    finally:
        if server.poll() is None:
            stop_services(server)
    remember(bank, load)
    return f"{len(load.answers):,} answers, all 200"


def stop_services(server: subprocess.Popen) -> None:
    "`rumos serve` and the group of the server that it started, all with kill -9."
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(int(child), 9)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, 9)
    server.wait(timeout=30)


def two_pipeline_runs_at_once(bank: Bank) -> str:
    "The second pipeline run is refused with a sentence; the first one finishes."
    bank.more = {"RUMOS_SPLIT_SEED": "78"}
    log = bank.folder / "first.log"
    first = bank.start(*pipeline_run(), log=log)
    try:
        wait_until(lambda: "started" in log.read_text(), 120, "the first run is under way")
        shown = require_sentence(
            bank.rumos(*pipeline_run()), "another pipeline run works", "RUMOS_STORE_PATH"
        )
        first.wait(timeout=300)
    finally:
        if first.poll() is None:
            kill_group(first)
    require(first.returncode == 0, log.read_text()[-300:])
    return shown[:160]


def slow_and_broken_clients(bank: Bank) -> str:
    "64 connections that ask, among 32 that send a byte now and then and others that break off: all who ask are answered."
    body = (
        b"POST /default_prediction HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400\r\n\r\n{" + b" " * 300
    )
    stopped = threading.Event()

    def drip(service) -> None:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection,
        ):
            for place in range(len(body)):
                connection.sendall(body[place : place + 1])
                if stopped.wait(0.1):
                    return

    def break_off(service) -> None:
        while not stopped.wait(0.05):
            for sent in (body[:60], b"\x16\x03\x01\x02nonsense", b""):
                with (
                    suppress(OSError),
                    socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection,
                ):
                    connection.sendall(sent)

    with bank.open_service() as service:
        threads = [threading.Thread(target=drip, args=(service,)) for _ in range(32)]
        threads += [threading.Thread(target=break_off, args=(service,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            with Load(service, connections=64) as load:
                load.wait_for(3000)
        finally:
            stopped.set()
            for thread in threads:
                thread.join(timeout=60)
        require({status for _, status, *_ in load.answers} == {200}, "an answer failed")
        bank.decide(service)
    remember(bank, load)
    return f"{len(load.answers):,} answers, all 200"


FAULTS: tuple[Callable[[Bank], str], ...] = (
    locked_database,
    corrupt_database,
    truncated_artifact,
    alias_to_a_deleted_version,
    deleted_champion,
    slow_and_broken_clients,
    full_disk_under_the_api,
    full_disk_under_a_pipeline_run,
    mlflow_gone_under_load,
    two_pipeline_runs_at_once,
    moved_store,
)


def suffer(fault: Callable[[Bank], str], bank: Bank) -> str:
    "One fault, and then everything that must hold after any."
    shown = fault(bank)
    require_whole(bank)
    return shown
