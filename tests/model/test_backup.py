"A store is lost and comes back: whole, checked, with the same champion, the same decisions and the same history."

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import RUMOS, clean_environment, find_free_port
from stores import LENIENT, TOP, Place, retired, settings_for

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import PersonErased, select
from rumos_bank.governance.ledger import append_event, find_former_key, read_ledger, rotate_key, verify_ledger
from rumos_bank.governance.promotion_state import read_champion, repair
from rumos_bank.governance.tracking import ARTIFACTS, find_searches, open_store
from rumos_bank.ground.errors import SettingsError, StoreError
from rumos_bank.ground.keys import KEYS, add_key, list_keys, revoke_key
from rumos_bank.ground.settings import DATABASE, Settings
from rumos_bank.monitoring.outcomes import read_outcomes
from rumos_bank.operations import backup as backup_module
from rumos_bank.operations.backup import (
    check_restore,
    measure_store,
    require_space,
    restore_backup,
    write_backup,
)
from rumos_bank.serving.audit import verify_record
from rumos_bank.serving.cases import find_by_reference, find_case
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record, list_days, read_log
from rumos_bank.serving.person import erase_person, finish_erasures
from rumos_bank.serving.replay import replay

CLIENTS = make_synthetic_clients(20, seed=4)[list(CLIENT_COLUMNS)].to_dict("records")


@pytest.fixture(autouse=True)
def closed_services(monkeypatch):
    "Whatever listens on the bank's ports of this machine is not ours."
    monkeypatch.setattr(
        backup_module, "Service", lambda *_, **__: type("Closed", (), {"is_ready": lambda self: False})()
    )


def decide(settings: Settings) -> list:
    log = DecisionLog(settings)
    recorded = decide_and_record(Champion.load(settings), CLIENTS, "test", log)
    log.close()
    return recorded


def as_stored(settings: Settings) -> dict[str, bytes]:
    "What a backup must bring back, byte for byte; the database's paths are repaired, so its content is compared."
    kept = ("ledger.jsonl", KEYS)
    store = settings.store_path
    paths = [
        path for folder in (ARTIFACTS, "decisions") for path in (store / folder).rglob("*") if path.is_file()
    ]
    return {
        str(path.relative_to(store)): path.read_bytes() for path in [*paths, *(store / name for name in kept)]
    }


def environment_of(settings: Settings) -> dict[str, str]:
    "For a process of its own: MLflow keeps a lost database open in the one that knew it."
    ours = {"RUMOS_STORE_PATH": settings.store_path, "RUMOS_LEDGER_FOLDER": settings.ledger_path, **LENIENT}
    ours |= {"RUMOS_DATA_CACHE": settings.cache_path, "PYTHONPATH": TOP.parent, "RUMOS_SETTINGS": TOP}
    closed = {f"RUMOS_PORTS_{name}": find_free_port() for name in ("MLFLOW", "API", "DASHBOARD")}
    return clean_environment() | {name: str(value) for name, value in {**ours, **closed}.items()}


def type_in(settings: Settings, *words: str) -> str:
    "A command as an operator types it."
    command = [*RUMOS, *words]
    done = subprocess.run(command, env=environment_of(settings), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_lost_store_comes_back_with_all_that_was_in_it(promoted: Place, tmp_path):
    settings = promoted.settings
    decided = decide(settings)
    log = DecisionLog(settings)
    log.append({"kind": "outcome", "decision": decided[0].id, "defaulted": 1})
    log.close()
    add_key(settings, "back-office", ["score"])
    before, events, safe = as_stored(settings), read_ledger(settings), str(tmp_path / "safe")
    assert "would be copied" in type_in(settings, "backup", safe, "--dry-run") and not Path(safe).exists()
    shown = type_in(settings, "backup", safe)
    assert "champion version 1" in shown and "The private key in" in shown
    (made,) = Path(safe).iterdir()
    shutil.rmtree(settings.store_path)
    assert "would be restored" in type_in(settings, "restore", str(made), "--dry-run")
    assert not settings.store_path.exists()
    assert "restored from" in type_in(settings, "restore", str(made))
    assert as_stored(settings) == before and read_ledger(settings) == events
    assert f"head kept here is line {len(events)}" in type_in(settings, "ledger", "verify")
    assert promoted.runs["first"] in type_in(settings, "champion") and read_ledger(settings) == events
    assert Champion.load(settings).decide(CLIENTS) == [each.decision for each in decided]
    assert "1 identical" in type_in(settings, "replay", decided[7].id)
    assert read_outcomes(settings) == {decided[0].id: 1}
    assert [key.name for key in list_keys(settings)] == ["back-office"]
    assert (settings.store_path / KEYS).stat().st_mode & 0o077 == 0


def test_another_machine_takes_over_and_governs_once_the_private_key_is_there(promoted: Place, tmp_path):
    decided, runs = decide(promoted.settings), {run.info.run_id for run in find_searches(promoted.store)}
    made, other = write_backup(promoted.settings, tmp_path / "safe"), settings_for(tmp_path / "other")
    (notice,) = restore_backup(other, made.path).notices
    assert notice.startswith(f"no key was known here: {made.public_key} is trusted from now on")
    store = open_store(other)
    repair(store)
    assert read_champion(store).run_id == promoted.runs["first"]
    assert {run.info.run_id for run in find_searches(store)} == runs
    assert (verify_ledger(other).lines, verify_ledger(other).head) == (made.head, made.head)
    assert replay(other, decided[7].id).outcome == "identical"
    with pytest.raises(StoreError, match=r"private key is not in .* only its holder may write"):
        append_event(other, retired())
    shutil.copy2(promoted.settings.ledger_path / "private.pem", other.ledger_path)
    assert append_event(other, retired()).number == made.head + 1


@pytest.mark.parametrize("folder", ["keys", "decisions/keys", "decisions"])
def test_no_private_key_is_in_a_backup_and_only_its_owner_reads_it(promoted: Place, tmp_path, folder):
    inside = settings_for(promoted.store.path, RUMOS_LEDGER_FOLDER=str(promoted.store.path / folder))
    decide(inside.model_copy(update={"ledger": promoted.settings.ledger}))
    shutil.copytree(promoted.settings.ledger_path, inside.ledger_path, dirs_exist_ok=True)
    made = write_backup(inside, tmp_path / "safe")
    with zipfile.ZipFile(made.path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    secret = (inside.ledger_path / "private.pem").read_bytes().splitlines()[1]
    assert len(content) > 10 and not [name for name, text in content.items() if secret in text]
    assert any(name.startswith("decisions/") for name in content)
    assert made.path.stat().st_mode & 0o077 == 0


def test_what_was_answered_before_a_backup_began_is_in_it(promoted: Place, tmp_path):
    champion, settings = Champion.load(promoted.settings), promoted.settings
    answered, stopped = [], threading.Event()

    def keep_deciding() -> None:
        log = DecisionLog(settings)
        while not stopped.wait(0.01):  # callers pause too, and the backup needs a turn
            answered.extend(each.id for each in decide_and_record(champion, CLIENTS, "test", log))
        log.close()

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(keep_deciding) for _ in range(4)]
        try:
            end = time.monotonic() + 60
            while len(answered) < 2000:
                assert time.monotonic() < end, work
                time.sleep(0.01)
            before = list(answered)
            made = write_backup(settings, tmp_path / "safe")
            during = len(answered) - len(before)
        finally:
            stopped.set()
        for each in work:
            each.result()
    assert during > 0
    other = settings_for(tmp_path / "other")
    restore_backup(other, made.path)
    kept = {entry["id"] for entry in read_log(other.audit_path)}
    assert set(before) <= kept <= set(answered)


def test_a_backup_is_of_one_moment_while_searches_are_logged_and_a_champion_is_promoted(
    promoted: Place, tmp_path
):
    def write() -> None:
        promoted.promote("cheaper")
        promoted.log(promoted.found, key="late")
        promoted.promote("cheapest")

    made, end = [], time.monotonic() + 120
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(write)
        while not work.done() or not made:
            assert time.monotonic() < end
            made.append(write_backup(promoted.settings, tmp_path / "safe"))
        work.result()
    assert promoted.champion_run == "cheapest" and Champion.load(promoted.settings).version == 3
    heads = [each.head for each in made]
    assert heads == sorted(heads)
    for number, each in enumerate({each.head: each for each in made}.values()):
        other = settings_for(tmp_path / f"other{number}")
        restore_backup(other, each.path)
        assert read_champion(open_store(other)).version == each.champion["version"]


@pytest.fixture
def made(promoted: Place, tmp_path) -> backup_module.Backup:
    decide(promoted.settings)
    return write_backup(promoted.settings, tmp_path / "safe")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("harm", ["cut", "changed"])
def test_a_harmed_backup_is_refused_before_anything_is_touched(promoted: Place, made, tmp_path, harm, share):
    whole = made.path.read_bytes()
    place = int(len(whole) * share)
    bad = tmp_path / "bad.zip"
    bad.write_bytes(
        whole[:place] if harm == "cut" else whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    )
    before = as_files(promoted.store.path)
    with pytest.raises(StoreError, match=r"was changed or cut|cannot be read as a backup"):
        restore_backup(promoted.settings, bad, replace=True)
    assert as_files(promoted.store.path) == before


def as_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".lock"}


def reseal(made: backup_module.Backup, target: Path, **changed: bytes) -> Path:
    "The backup as a forger writes it: other content under right digests."
    with zipfile.ZipFile(made.path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(content.pop(backup_module.MANIFEST))
    content |= {name.replace("__", "/").replace("_dot_", "."): text for name, text in changed.items()}
    manifest["files"] = {
        name: {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        for name, text in content.items()
    }
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
        archive.writestr(backup_module.MANIFEST, json.dumps(manifest))
        archive.comment = b"0" * 64
    backup_module._seal(target)
    return target


def test_a_forged_backup_is_refused_by_the_ledger_and_by_the_names_in_it(promoted: Place, made, tmp_path):
    with zipfile.ZipFile(made.path) as archive:
        ledger = archive.read("ledger.jsonl")
    forged = reseal(
        made, tmp_path / "a.zip", ledger_dot_jsonl=ledger.replace(b"Decision_tree", b"Random_fores")
    )
    before = as_files(promoted.store.path)
    with pytest.raises(StoreError, match=r"line 1 is not signed with the key"):
        restore_backup(promoted.settings, forged, replace=True)
    outside = reseal(made, tmp_path / "b.zip", artifacts__dot__x=b"", **{"artifacts/../../evil": b"x"})
    with pytest.raises(StoreError, match="which is no part of a store"):
        restore_backup(promoted.settings, outside, replace=True)
    assert as_files(promoted.store.path) == before and not (tmp_path / "evil").exists()


def test_a_store_that_is_there_is_kept_under_another_name_and_only_if_asked(promoted: Place, made):
    settings = promoted.settings
    (settings.store_path / "README.md").write_text("the folder's own note")
    with pytest.raises(StoreError, match="is not empty: --replace keeps it under another name"):
        restore_backup(settings, made.path)
    promoted.promote("cheaper")
    later = decide(settings)
    restored = restore_backup(settings, made.path, replace=True)
    assert Champion.load(settings).version == 1 and "was further" in restored.notices[0]
    last = read_ledger(settings)[-1].event
    assert last.name == "accepted" and made.path.name in last.reason
    assert verify_ledger(settings).lines == made.head + 1
    assert (settings.store_path / "README.md").read_text() == "the folder's own note"
    old = settings_for(restored.former)
    for log in (old.audit_path, settings.audit_path):
        assert {each.id for each in later} <= {entry["id"] for entry in read_log(log)}


@pytest.mark.parametrize("folder", ["decisions", "log", "decisions/log", "."])
def test_what_was_decided_since_the_backup_goes_on_in_the_live_log(promoted: Place, tmp_path, folder):
    settings = settings_for(promoted.store.path, RUMOS_AUDIT_FOLDER=str(promoted.store.path / folder))
    old = decide(settings)
    made = write_backup(settings, tmp_path / "safe")
    (file,) = list_days(settings.audit_path)
    new = decide(settings)
    file.write_bytes(file.read_bytes()[:-100])  # it was harmed since
    restored = restore_backup(settings, made.path, replace=True)
    kept = [entry["id"] for entry in read_log(settings.audit_path)]
    assert sorted(kept) == sorted(each.id for each in [*old, *new])
    assert restored.former and Champion.load(settings).version == 1
    unpacked = settings.store_path / "decisions"
    assert folder.startswith("decisions") or not unpacked.exists()
    assert folder == "decisions" or not list(unpacked.glob("*.jsonl"))


def test_a_log_outside_of_the_store_loses_nothing_to_an_older_backup(promoted: Place, tmp_path):
    settings = settings_for(promoted.store.path, RUMOS_AUDIT_FOLDER=str(tmp_path / "log"))
    old = decide(settings)
    made = write_backup(settings, tmp_path / "safe")
    (lost,) = settings.audit_path.glob("*.jsonl")
    new = decide(settings)
    lost.unlink()
    shutil.rmtree(settings.store_path)
    restore_backup(settings, made.path)
    kept = {entry["id"] for entry in read_log(settings.audit_path)}
    assert kept == {each.id for each in [*old, *new]}
    assert not (settings.store_path / "decisions").exists()


def test_a_broken_store_is_not_backed_up(promoted: Place, tmp_path):
    settings, safe = promoted.settings, tmp_path / "safe"
    model = promoted.model / "portable.json"
    whole = model.read_bytes()
    model.write_bytes(whole[:-9])
    with pytest.raises(StoreError, match=r"portable.json of the model is not what was recorded"):
        write_backup(settings, safe)
    model.write_bytes(whole)
    (settings.store_path / KEYS).write_text("harmed")
    with pytest.raises(StoreError, match="cannot be read as a file of keys"):
        write_backup(settings, safe)
    (settings.store_path / KEYS).unlink()
    database = settings.store_path / DATABASE
    pages = bytearray(database.read_bytes())
    pages[4096 * 3 : 4096 * 40] = b"\xff" * 4096 * 37
    database.write_bytes(pages)
    with pytest.raises(
        StoreError, match=r"mlflow.db .*(damaged|malformed|cannot be copied).*restore a backup"
    ):
        write_backup(settings, safe)
    assert not list(safe.rglob("*.zip"))


def test_tables_in_a_server_are_for_its_own_tools(promoted: Place, made, tmp_path):
    server = settings_for(promoted.store.path, RUMOS_STORE_DATABASE="postgresql+psycopg://mlflow@db/mlflow")
    for command in (
        lambda: write_backup(server, tmp_path / "elsewhere"),
        lambda: measure_store(server),
        lambda: check_restore(server, made.path),
        lambda: restore_backup(server, made.path),
    ):
        with pytest.raises(SettingsError, match="with the server's own tools"):
            command()
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(StoreError, match="there is no store in"):
        measure_store(settings_for(tmp_path / "nothing"))


def test_too_little_space_is_reported_before_anything_is_written(
    promoted: Place, made, monkeypatch, tmp_path
):
    monkeypatch.setattr(backup_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    for attempt in (
        lambda: write_backup(promoted.settings, tmp_path / "full"),
        lambda: restore_backup(promoted.settings, made.path, replace=True),
        lambda: check_restore(promoted.settings, made.path),
    ):
        with pytest.raises(StoreError, match=r"are needed in .* 0.0 MB are free: free some space"):
            attempt()
    require_space(tmp_path, 1000)
    assert not list(tmp_path.glob("full/*.zip")) and Champion.load(promoted.settings).version == 1


def test_a_running_service_and_a_running_pipeline_are_in_the_way(promoted: Place, made, monkeypatch):
    from filelock import FileLock

    with (
        FileLock(promoted.store.path / "pipeline.lock"),
        pytest.raises(StoreError, match="a pipeline run or a promotion works"),
    ):
        restore_backup(promoted.settings, made.path, replace=True)
    monkeypatch.undo()
    with socket.create_server(("127.0.0.2", 0)) as service:
        port = service.getsockname()[1]
        busy = settings_for(promoted.store.path, RUMOS_PORTS_API=str(port), RUMOS_API_HOST="127.0.0.2")
        free = {"mlflow": find_free_port(), "dashboard": find_free_port()}
        busy = busy.model_copy(update={"ports": busy.ports.model_copy(update=free)})
        assert check_restore(busy, made.path).head == made.head  # a trial needs no service to stop
        with pytest.raises(
            StoreError, match=f"something answers on port {port}, that of api: stop the services"
        ):
            restore_backup(busy, made.path, replace=True)


def test_a_service_that_was_started_during_the_proof_is_in_the_way(promoted: Place, made, monkeypatch):
    prove, opened = backup_module._prove, []

    def prove_slowly(*given):
        prove(*given)
        opened.append(True)

    monkeypatch.setattr(backup_module, "_prove", prove_slowly)
    monkeypatch.setattr(
        backup_module,
        "Service",
        lambda *_, **__: type("Service", (), {"is_ready": lambda self: bool(opened)})(),
    )
    before = as_files(promoted.store.path)
    with pytest.raises(StoreError, match="stop the services first"):
        restore_backup(promoted.settings, made.path, replace=True)
    assert as_files(promoted.store.path) == before


# what is further here than in the backup


def test_without_the_private_key_a_ledger_that_is_further_stops_a_restore_before_it(
    promoted: Place, made, tmp_path
):
    settings = promoted.settings
    promoted.promote("cheaper")
    (settings.ledger_path / "private.pem").rename(tmp_path / "private.pem")
    before = as_files(settings.store_path)
    with pytest.raises(StoreError, match=r"ledger here is further .* private key is not in .* new folder"):
        restore_backup(settings, made.path, replace=True)
    assert as_files(settings.store_path) == before and Champion.load(settings).version == 2
    reader = settings_for(settings.store_path, RUMOS_LEDGER_FOLDER=str(tmp_path / "of a reader"))
    assert "no key was known here" in restore_backup(reader, made.path, replace=True).notices[0]
    assert Champion.load(reader).version == 1


def test_a_backup_from_before_a_change_of_keys_is_restored_with_the_former_key(promoted: Place, made):
    settings, old = promoted.settings, made.public_key
    rotate_key(settings)
    before = as_files(settings.store_path)
    with pytest.raises(StoreError, match=rf"put .*private-{old[:16]}.pem in .*_PUBLIC_KEY={old}, and"):
        restore_backup(settings, made.path, replace=True)
    former = settings_for(settings.store_path, RUMOS_LEDGER_PUBLIC_KEY=old)
    with pytest.raises(StoreError, match=r"ledger here is further .* does not belong to the public key"):
        restore_backup(former, made.path, replace=True)
    assert as_files(settings.store_path) == before
    find_former_key(settings, old).replace(settings.ledger_path / "private.pem")
    restore_backup(former, made.path, replace=True)
    rotate_key(former)
    assert [line.event.name for line in read_ledger(settings)][-2:] == ["accepted", "keys changed"]
    assert Champion.load(settings).version == 1


def test_a_revoked_key_stays_revoked_and_no_name_is_given_twice(promoted: Place, tmp_path):
    settings = promoted.settings
    for name in ("back-office", "branch"):
        add_key(settings, name)
    made = write_backup(settings, tmp_path / "safe")
    revoke_key(settings, "back-office")
    add_key(settings, "audit")
    now = list_keys(settings)
    restored = restore_backup(settings, made.path, replace=True)
    assert list_keys(settings) == now and (settings.store_path / KEYS).stat().st_mode & 0o077 == 0
    assert restored.notices == (
        "API keys that were added or revoked since the backup stay so: back-office, audit",
    )
    (settings.store_path / KEYS).write_text("harmed")
    notices = restore_backup(settings, made.path, replace=True).notices
    assert len(notices) == 1 and "revoke again what was revoked since" in notices[0]
    assert [key.revoked for key in list_keys(settings)] == ["", ""]


def test_another_processor_may_round_but_not_decide_differently(promoted: Place, made, monkeypatch):
    ask, changed = backup_module._ask_champion, {}

    def ask_elsewhere(settings):
        known = ask(settings)
        return known | {"answer": known["answer"] | changed}

    monkeypatch.setattr(backup_module, "_ask_champion", ask_elsewhere)
    answer = made.champion["answer"]
    for wrong in (
        {"probability": answer["probability"] * (1 + 1e-8)},
        {"prediction": 1 - answer["prediction"]},
    ):
        changed.clear()
        changed.update(wrong)
        with pytest.raises(StoreError, match="the champion of the backup answers"):
            restore_backup(promoted.settings, made.path, replace=True)
    changed.clear()
    changed["probability"] = answer["probability"] * (1 + 1e-14)
    assert restore_backup(promoted.settings, made.path, replace=True).former


def test_an_error_of_the_disk_is_a_sentence(promoted: Place, made, monkeypatch):
    before = as_files(promoted.store.path)

    def full(*_):
        raise OSError(28, "No space left on device")

    with (
        monkeypatch.context() as broken,
        pytest.raises(StoreError, match=r"could not be restored: .*No space"),
    ):
        broken.setattr(backup_module, "_join_logs", full)
        restore_backup(promoted.settings, made.path, replace=True)
    rename = Path.rename
    with monkeypatch.context() as broken, pytest.raises(StoreError, match="cannot be renamed"):
        broken.setattr(Path, "rename", lambda self, to: full() if "work" in self.parts else rename(self, to))
        restore_backup(promoted.settings, made.path, replace=True)
    assert as_files(promoted.store.path) == before
    assert not list(promoted.store.path.parent.glob(f"{promoted.store.path.name}.before-*"))


RESTORE = """
import os, signal, sys
from pathlib import Path
from rumos_bank.operations import backup as backup_module
from rumos_bank.ground.settings import read_settings
file, top, step, when, replace = sys.argv[1:]
owner, name = (Path, "rename") if step == "second rename" else (backup_module, step)
act = getattr(owner, name)
def die(*given):
    if step == "second rename" and given[0].parts[-2:] != ("work", "store"):
        return act(*given)
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    act(*given)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, die)
backup_module.restore_backup(read_settings(top), Path(file), replace=bool(replace))
"""
STEPS = ("_unpack", "_prove", "second rename", "_switch", "trust_key", "verify_ledger")


def kill_a_restore(
    settings: Settings, made: backup_module.Backup, step: str, when: str, replace: bool
) -> None:
    command = [sys.executable, "-c", RESTORE, str(made.path), str(TOP), step, when, "x" * replace]
    died = subprocess.run(command, env=environment_of(settings), capture_output=True, text=True, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [*STEPS, "accept_ledger", "_settle"])
def test_a_restore_that_is_killed_leaves_a_usable_store_and_a_second_one_finishes(
    promoted: Place, made, step, when
):
    settings = promoted.settings
    promoted.promote("cheaper")
    later = decide(settings)
    kill_a_restore(settings, made, step, when, replace=True)
    if step in ("_unpack", "_prove") or (step, when) == ("_switch", "before"):
        assert Champion.load(settings).version == 2 and verify_ledger(settings)
    if (step, when) == ("second rename", "before"):
        assert not settings.store_path.exists()
    restore_backup(settings, made.path, replace=True)
    assert Champion.load(settings).version == 1 and verify_ledger(settings)
    assert {each.id for each in later} <= {entry["id"] for entry in read_log(settings.audit_path)}
    assert not list(settings.store_path.parent.glob(".*.restoring"))
    assert not (settings.store_path / backup_module._MARK).exists()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [*STEPS, "keep_head"])
def test_a_restore_into_nothing_that_is_killed_is_finished_by_the_same_command(made, tmp_path, step, when):
    other = settings_for(tmp_path / "other")
    kill_a_restore(other, made, step, when, replace=False)
    restored = restore_backup(other, made.path)
    assert restored.former is None and Champion.load(other).version == 1
    assert "no key was known here" in restored.notices[0]
    assert verify_ledger(other).head == made.head and not (other.store_path / backup_module._MARK).exists()
    with pytest.raises(StoreError, match="is not empty"):
        restore_backup(other, made.path)


def test_an_incremental_backup_holds_what_is_new_and_needs_the_one_before(promoted: Place, tmp_path):
    place = promoted.copy_to(tmp_path / "bank" / "store")
    log = DecisionLog(place.settings)
    champion = Champion.load(place.settings)
    first = decide_and_record(champion, make_synthetic_clients(300, seed=1), "test", log)["decision_id"][7]
    log.close()
    whole = write_backup(place.settings, tmp_path / "safe")
    since = decide_and_record(champion, make_synthetic_clients(40, seed=2), "test", log)["decision_id"][3]
    log.close()
    small = write_backup(place.settings, tmp_path / "safe", incremental=True)
    third = write_backup(place.settings, tmp_path / "safe", incremental=True)
    assert small.needs == [whole.path.name] and third.needs == [whole.path.name, small.path.name]
    held = [each for each in small.files.values() if "in" not in each]
    assert sum(each["size"] for each in held) < 0.8 * whole.size and len(small.files) > len(whole.files)
    there = settings_for(tmp_path / "other" / "store")
    restore_backup(there, third.path)
    for each in (first, since):
        assert DecisionLog(there).find(each) == DecisionLog(place.settings).find(each)
    whole.path.rename(tmp_path / "safe" / "lost")
    with pytest.raises(StoreError, match=f"what is new since {whole.path.name}: put that file beside it"):
        restore_backup(settings_for(tmp_path / "third" / "store"), third.path)


# erasures


def decide_about(settings: Settings, *references: str) -> list[str]:
    log = DecisionLog(settings)
    recorded = decide_and_record(
        Champion.load(settings), CLIENTS[: len(references)], "test", log, references=list(references)
    )
    log.close()
    return [each.id for each in recorded]


@pytest.mark.parametrize("lost", [True, False])
def test_who_was_erased_after_the_backup_stays_erased(promoted: Place, tmp_path, lost):
    settings = promoted.settings
    first, second = decide_about(settings, "4711-A", "4712-B")
    made = write_backup(settings, tmp_path / "safe")
    erase_person(settings, "4711-A", "the client asked for it in writing")
    if lost:
        shutil.rmtree(settings.store_path)
    restored = restore_backup(settings, made.path, replace=not lost)
    assert any("was erased again" in notice for notice in restored.notices)
    (line,) = select(read_ledger(settings), PersonErased)
    assert line.event.reason == "erased before the restore: the client asked for it in writing"
    assert find_by_reference(settings, "4711-A") == [] and find_case(settings, first).erased
    assert find_by_reference(settings, "4712-B") == [second] and verify_record(settings).faults == ()
    assert finish_erasures(settings) is None


def test_a_machine_that_cannot_sign_says_which_erasures_are_lost(promoted: Place, tmp_path, monkeypatch):
    settings = promoted.settings
    (first,) = decide_about(settings, "4711-A")
    made = write_backup(settings, tmp_path / "safe")
    erase_person(settings, "4711-A", "the client asked for it in writing")
    monkeypatch.setattr(backup_module, "can_sign", lambda settings: False)
    restored = restore_backup(settings, made.path, replace=True)
    (notice,) = [each for each in restored.notices if "erased since the backup" in each]
    assert first in notice and "the client asked for it" in notice and "rumos person finish" in notice


def test_a_new_machine_is_told_that_it_knows_of_no_erasure(promoted: Place, tmp_path):
    made, other = write_backup(promoted.settings, tmp_path / "safe"), settings_for(tmp_path / "other")
    (notice,) = restore_backup(other, made.path).notices
    assert f"do again what was erased since {made.when}" in notice
