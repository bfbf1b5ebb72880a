"Files are whole or unchanged whatever interrupts the writer, and one process at a time holds a lock."

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.ground import files
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.files import hold_lock, rename_durably, sync_path, write_file, write_temporary


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Whole or not at all


@given(st.binary(max_size=200), st.text(max_size=50))
def test_what_was_written_is_read(tmp_path_factory, content, text):
    path = tmp_path_factory.mktemp("files") / "note.txt"
    write_file(path, content)
    assert path.read_bytes() == content
    write_file(path, text)
    assert path.read_bytes() == text.encode() and names(path.parent) == ["note.txt"]


STEPS = ["write", "fsync", "replace", "sync of the folder"]


class Interrupted(BaseException):
    "Neither an error nor an exit: nothing that a writer could expect."


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), Interrupted()]
)
@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_leaves_a_whole_file_and_no_temporary_one(step, error, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "note.txt"
    write_file(path, "old")
    if step == "write":
        monkeypatch.setattr(files.os, "fdopen", fail)
    elif step == "fsync":
        monkeypatch.setattr(files.os, "fsync", fail)
    elif step == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(files, "sync_path", fail)
    with pytest.raises(type(error)):
        write_file(path, "new")
    monkeypatch.undo()
    assert path.read_text() == ("new" if step == STEPS[-1] else "old") and names(tmp_path) == ["note.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
from rumos_bank.ground import files
step, path = sys.argv[1], Path(sys.argv[2])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "fsync": files.os.fsync = die
if step == "replace": Path.replace = die
if step == "sync of the folder": files.sync_path = die
if step == "write":
    whole = os.fdopen
    def half(*given):
        opened = whole(*given)
        opened.write(b"ne"), opened.flush()
        die()
    files.os.fdopen = half
files.write_file(path, "new")
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_writer_killed_at_any_step_leaves_the_old_file_or_the_new_one(step, tmp_path):
    path = tmp_path / "note.txt"
    write_file(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, step, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == ("new" if step == STEPS[-1] else "old")
    left = [name for name in names(tmp_path) if name != "note.txt"]
    assert all(name.startswith(".note.txt.") and name.endswith(".tmp") for name in left)
    write_file(path, "newer")  # the temporary file of a killed writer does not disturb the next one
    assert path.read_text() == "newer"


def test_readers_see_whole_files_only(tmp_path):
    path, seen, ended = tmp_path / "note.txt", set(), threading.Event()
    contents = [letter * 200_000 for letter in "abc"]
    write_file(path, contents[0])

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        write_file(path, contents[number % 3])
    ended.set()
    reader.join()
    assert seen <= set(contents) and names(tmp_path) == ["note.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o666), (0o600, 0o600), (0o640, 0o640)])
def test_permissions_are_those_asked_for_less_the_umask(mode, expected, umask, tmp_path):
    before = os.umask(umask)
    try:
        write_file(tmp_path / "key", "x", mode=mode)
        temporary = write_temporary(tmp_path / "other", b"x", mode)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "key") == mode_of(temporary) == expected & ~umask


def test_a_private_file_replaces_a_public_one(tmp_path):
    (tmp_path / "key").write_text("public")
    (tmp_path / "key").chmod(0o644)
    write_file(tmp_path / "key", "secret", mode=0o600)
    assert mode_of(tmp_path / "key") == 0o600


def test_two_temporary_files_never_share_a_name(tmp_path):
    temporaries = {write_temporary(tmp_path / "note.txt", b"x") for _ in range(50)}
    assert len(temporaries) == 50 and not (tmp_path / "note.txt").exists()


def test_a_folder_that_is_missing_or_in_the_way_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "missing" / "note.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_file(tmp_path / "folder", "x")
    assert names(tmp_path) == ["folder"]


def test_the_content_reaches_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        files.os,
        "fsync",
        lambda opened: (
            done.append("folder" if stat.S_ISDIR(os.fstat(opened).st_mode) else "file") or fsync(opened)
        ),
    )
    monkeypatch.setattr(Path, "replace", lambda path, final: done.append("name") or replace(path, final))
    write_file(tmp_path / "note.txt", "x")
    assert done == ["file", "name", "folder"]


def test_where_folders_have_no_handles_only_files_are_synced(tmp_path, monkeypatch):
    written = write_temporary(tmp_path / "note.txt", b"x")
    opened: list[Path] = []
    real = os.open
    monkeypatch.setattr(files.os, "open", lambda path, *given: opened.append(path) or real(path, *given))
    monkeypatch.setattr(files.os, "name", "nt")
    sync_path(written)
    rename_durably(written, tmp_path / "note.txt")
    monkeypatch.undo()
    assert opened == [written] and names(tmp_path) == ["note.txt"]


# One at a time

HOLD = """
import sys, time
from pathlib import Path
from rumos_bank.ground.files import hold_lock
with hold_lock(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    "Another process that holds the lock."
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run.lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_keeps_other_processes_out_and_ends_with_its_holder(holder, tmp_path):
    start = time.monotonic()
    busy = "wait for the other run"
    with pytest.raises(StoreError, match=rf"^{busy}$"), hold_lock(tmp_path / "run.lock", busy):
        pytest.fail("two processes hold one lock")
    assert time.monotonic() - start < 1
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with hold_lock(tmp_path / "run.lock", "not free", timeout=5):
        pass


def test_a_lock_is_waited_for(tmp_path):
    held, path = threading.Event(), tmp_path / "run.lock"

    def hold_for_a_moment() -> None:
        with hold_lock(path, "busy"):
            held.set()
            time.sleep(0.3)

    other = threading.Thread(target=hold_for_a_moment)
    other.start()
    held.wait()
    with hold_lock(path, "busy", timeout=10):
        pass
    other.join()


def test_a_lock_is_released_by_an_error_and_does_not_change_it(tmp_path):
    with pytest.raises(ZeroDivisionError), hold_lock(tmp_path / "run.lock", "busy"):
        raise ZeroDivisionError
    with hold_lock(tmp_path / "run.lock", "busy"):
        pass


def test_a_lock_in_a_folder_that_is_missing_is_an_error_of_the_disk(tmp_path):
    (tmp_path / "a file").touch()
    with pytest.raises(OSError), hold_lock(tmp_path / "a file" / "run.lock", "busy"):
        pass
