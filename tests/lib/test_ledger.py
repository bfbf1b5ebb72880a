"The ledger: whatever is done to it without the key is found, what was torn at the end never happened."

import hashlib
import itertools
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from crashes import Crash
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from stores import intent_of, retired

from rumos_bank.governance import ledger as keeping
from rumos_bank.governance.events import (
    EVENTS,
    Abandoned,
    Accepted,
    KeysChanged,
    LedgerEvent,
    Line,
    Promoted,
    Rejected,
    RolledBack,
    select,
)
from rumos_bank.governance.ledger import (
    LEDGER,
    START,
    accept_ledger,
    allowed_versions,
    append_event,
    find_former_key,
    find_public_key,
    keep_head,
    read_ledger,
    require_acceptable,
    rotate_key,
    verify_ledger,
)
from rumos_bank.ground.errors import ParameterError, StoreError
from rumos_bank.ground.settings import PACKAGED, Settings, read_settings

REASON = "Zürich → 3 €"  # not only ASCII


def promoted(version: int = 1, reason: str = REASON) -> Promoted:
    return Promoted(version=version, run="r", family="SVC", reason=reason, intent=0, replaces=None)


def place_in(folder: Path, **more: str) -> Settings:
    ours = {"RUMOS_STORE_PATH": str(folder / "store"), "RUMOS_LEDGER_FOLDER": str(folder / "keys")}
    settings = read_settings(PACKAGED, environ=ours | more)
    settings.store_path.mkdir(exist_ok=True)
    return settings


def write_events(settings: Settings, n: int) -> Path:
    for number in range(n):
        append_event(settings, promoted(number))
    return settings.store_path / LEDGER


@pytest.fixture
def settings(tmp_path) -> Settings:
    return place_in(tmp_path)


_FOLDER = tempfile.TemporaryDirectory()
SETTINGS = place_in(Path(_FOLDER.name))  # five lines; no test adds one
FILE = write_events(SETTINGS, 5)
WHOLE = FILE.read_bytes()
LINES = WHOLE.splitlines(keepends=True)
place = st.integers(0, len(WHOLE) - 1)
a_byte = st.one_of(st.integers(0, 255), st.sampled_from(b'\r\n "0}')).map(lambda byte: bytes([byte]))
a_line = st.integers(0, len(LINES) - 1)


@contextmanager
def changed_to(content: bytes) -> Iterator[None]:
    FILE.write_bytes(content)
    try:
        yield
    finally:
        FILE.write_bytes(WHOLE)


def is_found(content: bytes) -> bool:
    "Whether verifying such a ledger raises and names a line."
    assert content != WHOLE
    with changed_to(content), pytest.raises(StoreError, match=r"line \d+ "):
        verify_ledger(SETTINGS)
    return True


@given(place, a_byte)
def test_a_changed_byte_is_found(position, byte):
    if WHOLE[position : position + 1] != byte:
        assert is_found(WHOLE[:position] + byte + WHOLE[position + 1 :])


@given(place)
def test_a_removed_byte_is_found(position):
    assert is_found(WHOLE[:position] + WHOLE[position + 1 :])


@given(st.integers(0, len(WHOLE)), a_byte)
def test_an_inserted_byte_is_found_even_at_the_end(position, byte):
    assert is_found(WHOLE[:position] + byte + WHOLE[position:])


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncation_is_found_wherever_it_is(length):
    assert is_found(WHOLE[:length])


@given(a_line, st.sampled_from([b"\n", b"\r", b"{}\n", b"null\n", b"[]\n", b"forged\r", b"forged\r\n"]))
def test_an_inserted_line_is_found(number, line):
    assert is_found(b"".join([*LINES[:number], line, *LINES[number:]]))


@given(st.integers(0, len(LINES)), a_line)
def test_a_repeated_line_is_found(number, other):
    assert is_found(b"".join([*LINES[:number], LINES[other], *LINES[number:]]))


@given(a_line)
def test_a_removed_line_is_found(number):
    assert is_found(b"".join([*LINES[:number], *LINES[number + 1 :]]))


@given(a_line, a_line)
def test_swapped_lines_are_found(first, second):
    if first != second:
        swapped = LINES.copy()
        swapped[first], swapped[second] = swapped[second], swapped[first]
        assert is_found(b"".join(swapped))


def sign_all(events: list[dict], key: Ed25519PrivateKey) -> bytes:
    "These events as a ledger that holds in itself."
    before, lines = START, []
    for event in events:
        body = json.dumps({**event, "before": before}, ensure_ascii=False).encode()
        lines.append(body[:-1] + f', "signature": "{key.sign(body).hex()}"}}\n'.encode())
        before = hashlib.sha256(lines[-1]).hexdigest()
    return b"".join(lines)


def unsigned() -> list[dict]:
    return [
        {name: value for name, value in json.loads(line).items() if name != "signature"} for line in LINES
    ]


@given(a_line, st.integers(100, 999))
def test_a_whole_rewrite_with_another_key_is_found(number, version):
    events = unsigned()
    events[number]["version"] = version
    forged = sign_all(events, Ed25519PrivateKey.generate())
    with changed_to(forged), pytest.raises(StoreError, match="line 1 is not signed with the key"):
        read_ledger(SETTINGS)


def test_a_forged_change_of_keys_is_found():
    forger = Ed25519PrivateKey.generate()
    change = {
        "number": 6,
        "event": "keys changed",
        "when": "2026-01-01",
        "who": "forger",
        "old_key": find_public_key(SETTINGS),
        "public_key": forger.public_key().public_bytes_raw().hex(),
        "before": hashlib.sha256(LINES[-1]).hexdigest(),
    }
    body = json.dumps(change).encode()
    line = body[:-1] + f', "signature": "{forger.sign(body).hex()}"}}\n'.encode()
    with changed_to(WHOLE + line), pytest.raises(StoreError, match="line 6 is not signed"):
        read_ledger(SETTINGS)


def test_a_line_that_was_changed_is_named_itself():
    changed = LINES.copy()
    changed[2] = changed[2].replace(b'"version": 2', b'"version": 7')
    with changed_to(b"".join(changed)), pytest.raises(StoreError, match="line 3 is not signed with the key"):
        read_ledger(SETTINGS)


def test_nothing_is_written_behind_a_broken_chain():
    broken = WHOLE.replace(b'"version": 4', b'"version": 5')
    with changed_to(broken):
        with pytest.raises(StoreError, match="changed by hand"):
            append_event(SETTINGS, retired())
        assert FILE.read_bytes() == broken


def test_the_genuine_ledger_of_another_store_is_found(tmp_path):
    "Signed with the same key: only the head knows that it is another one."
    folder = Path(_FOLDER.name)
    other = place_in(tmp_path, RUMOS_LEDGER_FOLDER=str(folder / "keys"))
    foreign = write_events(other, 6).read_bytes()
    with changed_to(foreign), pytest.raises(StoreError, match="line 5 is not the one that was written last"):
        read_ledger(SETTINGS)


@given(st.integers(1, len(LINES[-1]) - 1))
def test_a_torn_last_line_never_happened(kept):
    with tempfile.TemporaryDirectory() as folder:
        settings = place_in(Path(folder))
        path = write_events(settings, 2)
        whole = path.read_bytes()
        with path.open("ab") as opened:
            opened.write(LINES[-1][:kept])
        torn = path.read_bytes()
        assert [line.number for line in read_ledger(settings)] == [1, 2]
        assert path.read_bytes() == torn  # reading changes nothing
        with pytest.raises(StoreError, match="line 3 has no end"):
            verify_ledger(settings)
        append_event(settings, retired(7))
        last = read_ledger(settings)[-1]
        assert (last.number, last.event) == (3, retired(7))
        assert path.read_bytes().startswith(whole) and verify_ledger(settings).lines == 3


texts = st.text(st.characters(codec="utf-8"))  # JSON in UTF-8 has no half of a surrogate pair
whole = st.integers(-(2**53), 2**53)
st.register_type_strategy(Mapping, lambda kind: st.dictionaries(texts, texts))
st.register_type_strategy(str, texts)
st.register_type_strategy(int, whole)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
KINDS = [kind for kind in EVENTS.values() if issubclass(kind, LedgerEvent) and kind is not KeysChanged]
any_event = st.sampled_from(KINDS).flatmap(st.builds)  # a change of keys needs the next key


@given(any_event)
def test_an_event_comes_back_as_it_was_written(event):
    with tempfile.TemporaryDirectory() as folder:
        settings = place_in(Path(folder))
        write_events(settings, 1)
        written = append_event(settings, event)
        assert read_ledger(settings)[-1] == written and written.event == event
        assert (settings.store_path / LEDGER).read_bytes().count(b"\n") == 2


def test_an_event_of_a_wrong_type_is_not_written(settings):
    path = write_events(settings, 1)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the event 'promoted' has the field 'version', which must be int"):
        append_event(settings, promoted("2"))
    assert path.read_bytes() == before and verify_ledger(settings).lines == 1


@pytest.mark.parametrize(
    "facts, fault",
    [
        ({"event": "crowned", "version": 1}, "the event 'crowned' is unknown"),
        (
            {"event": "decision", "caller": "", "input": {}, "answer": {}, "model": {}},
            "'decision' is unknown",
        ),
        ({"event": "retired", "version": 1, "replaced_by": 2, "mood": 3}, "has the unknown field 'mood'"),
        ({"event": "retired", "version": 1}, "lacks the field 'replaced_by'"),
        ({"event": "retired", "version": "1", "replaced_by": 2}, "'version', which must be int, got '1'"),
    ],
)
def test_a_genuine_line_that_is_not_in_the_table_is_of_another_version_of_the_library(settings, facts, fault):
    write_events(settings, 1)
    key = keeping._load_key(settings.ledger_path / "private.pem")
    line = {"number": 1, "when": "2026-01-01T12:00:00+00:00", "who": "maker"} | facts
    content = sign_all([line], key)
    (settings.store_path / LEDGER).write_bytes(content)
    keeping._write_head(settings, [content], "now")
    for use in (read_ledger, verify_ledger, lambda place: append_event(place, retired())):
        with pytest.raises(StoreError, match="line 1 is not understood") as caught:
            use(settings)
        assert fault in str(caught.value) and "run the pipeline again (`rumos run`)" in str(caught.value)


def test_a_fact_that_looks_like_a_signature_is_a_fact(settings):
    trick = '", "signature": "' + "0" * 128 + '"}\n'
    append_event(settings, promoted(reason=trick))
    assert read_ledger(settings)[0].event.reason == trick


def test_an_event_states_when_and_who_and_holds_its_place(settings):
    write_events(settings, 3)
    lines = read_ledger(settings)
    assert [line.number for line in lines] == [1, 2, 3]
    assert lines[0].before == START
    assert len({line.before for line in lines}) == 3
    assert all(line.who and line.when.endswith("+00:00") for line in lines)


def test_a_clock_that_was_set_back_makes_no_event_earlier(settings, monkeypatch):
    append_event(settings, retired())

    class Past(keeping.datetime):
        @classmethod
        def now(cls, zone):
            return cls(2001, 1, 1, tzinfo=zone)

    monkeypatch.setattr(keeping, "datetime", Past)
    append_event(settings, retired())
    first, second = read_ledger(settings)
    assert second.when == first.when


def test_an_account_without_a_name_is_recorded_by_its_number(settings, monkeypatch):
    monkeypatch.setattr(keeping.os, "getuid", lambda: 123456789)  # a container's user
    assert append_event(settings, retired()).who == "uid 123456789"


def test_who_acts_is_not_what_the_environment_claims(settings, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "another-account")
    assert append_event(settings, retired()).who == pwd.getpwuid(os.getuid()).pw_name


def test_no_ledger_no_events_and_no_key(settings):
    assert read_ledger(settings) == [] and not (settings.store_path / LEDGER).exists()
    assert verify_ledger(settings).lines == 0 and not settings.ledger_path.exists()


# the key


def test_the_private_key_lies_outside_of_the_store_for_its_owner_only(settings):
    write_events(settings, 1)
    path = settings.ledger_path / "private.pem"
    assert path.stat().st_mode & 0o777 == 0o600 and settings.store_path not in path.parents
    assert settings.ledger_path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(StoreError, match=r"other accounts may read .*private.pem: `chmod 600`"):
        append_event(settings, retired())


def test_a_reader_needs_the_public_key_only(settings, tmp_path):
    path = write_events(settings, 2)
    reader = place_in(tmp_path, RUMOS_LEDGER_FOLDER=str(tmp_path / "none"))
    with pytest.raises(StoreError, match=r"no public key is known here: set .ledger. public_key"):
        read_ledger(reader)
    given = {
        "RUMOS_LEDGER_PUBLIC_KEY": find_public_key(settings),
        "RUMOS_LEDGER_FOLDER": str(tmp_path / "none"),
    }
    reader = place_in(tmp_path, **given)
    assert len(read_ledger(reader)) == 2 and verify_ledger(reader).head is None
    before = path.read_bytes()
    with pytest.raises(StoreError, match="only its holder may write"):
        append_event(reader, retired())
    assert path.read_bytes() == before


def test_a_lost_private_key_is_not_replaced_behind_your_back(settings):
    write_events(settings, 1)
    (settings.ledger_path / "private.pem").unlink()
    with pytest.raises(StoreError, match="the ledger's private key is not in"):
        append_event(settings, retired())
    assert not (settings.ledger_path / "private.pem").exists()


def test_a_crash_while_the_key_is_written_leaves_none(settings, monkeypatch):
    def power_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(keeping.os, "fsync", power_off)
        append_event(settings, retired())
    assert not (settings.ledger_path / "private.pem").exists()
    append_event(settings, retired())
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(keeping.os, "fsync", power_off)
        rotate_key(settings)
    rotate_key(settings)
    assert verify_ledger(settings).lines == 2
    there = {path.name for path in settings.ledger_path.iterdir() if not path.name.startswith("private-")}
    assert there == {"private.pem", "public.hex", "heads"}  # and the former key, for older backups


def test_a_key_is_never_written_over_another(settings):
    append_event(settings, retired())
    before = (settings.ledger_path / "private.pem").read_bytes()
    with pytest.raises(FileExistsError):
        keeping._make_key(settings.ledger_path / "private.pem")
    assert (settings.ledger_path / "private.pem").read_bytes() == before


def test_a_line_of_brackets_in_brackets_is_refused(settings):
    path = write_events(settings, 1)
    path.write_bytes(b"[" * 200_000 + b"]" * 200_000 + b"\n")
    with pytest.raises(StoreError, match="line 1 is no JSON object; the ledger was changed by hand"):
        read_ledger(settings)


def test_a_reason_that_is_no_text_is_refused_and_leaves_nothing(settings):
    path = write_events(settings, 1)
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="write it in UTF-8"):
        append_event(settings, promoted(reason=b"k\xe4se".decode(errors="surrogateescape")))
    assert path.read_bytes() == before


def test_a_head_that_is_written_while_the_heads_are_read_is_no_alarm(settings, tmp_path, monkeypatch):
    other = place_in(tmp_path, RUMOS_STORE_PATH=str(tmp_path / "other"))
    write_events(other, 3)
    find = keeping._find_heads

    def find_and_write(asked):
        found = find(asked)
        keeping._head_file(asked).write_text(keeping._head_file(other).read_text())  # its own, a moment later
        return found

    monkeypatch.setattr(keeping, "_find_heads", find_and_write)
    assert read_ledger(settings) == []


def test_another_private_key_is_refused(settings):
    write_events(settings, 1)
    (settings.ledger_path / "private.pem").unlink()
    keeping._make_key(settings.ledger_path / "private.pem")
    with pytest.raises(StoreError, match="does not belong to the public key"):
        append_event(settings, retired())


def test_after_two_changes_of_keys_every_line_is_still_vouched_for(settings):
    keys = [None]
    write_events(settings, 2)
    keys[0] = find_public_key(settings)
    for _ in range(2):
        keys.append(rotate_key(settings))
        write_events(settings, 1)
    assert len(set(keys)) == 3 and verify_ledger(settings).key == keys[-1]
    changes = [line.event for line in select(read_ledger(settings), KeysChanged)]
    assert [(each.old_key, each.public_key) for each in changes] == [*itertools.pairwise(keys)]
    path = settings.store_path / LEDGER
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(StoreError, match=f"line 2 is not signed with the key {keys[0][:16]}"):
        read_ledger(settings)


def test_a_former_private_key_is_kept_for_a_backup_from_before_the_change(settings):
    path = write_events(settings, 2)
    before, old = path.read_bytes(), find_public_key(settings)
    private = settings.ledger_path / "private.pem"
    secret, former = private.read_bytes(), find_former_key(settings, old)
    rotate_key(settings)
    assert former.name == f"private-{old[:16]}.pem" and former.read_bytes() == secret != private.read_bytes()
    assert former.stat().st_mode & 0o777 == 0o600
    path.write_bytes(before)
    former.replace(private)
    put_back = settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"public_key": old})})
    accept_ledger(put_back, "restored from a backup of before")
    assert verify_ledger(put_back).lines == 3


def test_whether_a_ledger_could_be_put_back_is_known_before_it_is(settings, tmp_path):
    path = write_events(settings, 2)
    older = tmp_path / "older.jsonl"
    shutil.copy(path, older)
    (settings.ledger_path / "private.pem").rename(tmp_path / "safe.pem")
    require_acceptable(settings, older)
    (tmp_path / "safe.pem").rename(settings.ledger_path / "private.pem")
    write_events(settings, 1)
    require_acceptable(settings, older)
    (settings.ledger_path / "private.pem").unlink()
    with pytest.raises(StoreError, match="private key is not in"):
        require_acceptable(settings, older)
    require_acceptable(settings, path)


@pytest.mark.parametrize("step", ["_make_key", "_write", "_publish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_keys_are_changed_is_finished_by_the_next_line(settings, monkeypatch, step, when):
    write_events(settings, 2)
    act = getattr(keeping, step)

    def crashing(*given):
        if when == "before":
            raise Crash
        act(*given)
        raise Crash

    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(keeping, step, crashing)
        rotate_key(settings)
    write_events(settings, 1)
    happened = [line.event.name for line in read_ledger(settings)]
    assert happened in (["promoted"] * 3, ["promoted", "promoted", "keys changed", "promoted"])
    assert not (settings.ledger_path / "next.pem").exists()
    assert verify_ledger(settings).lines == len(happened)


# the head


def test_a_removed_ledger_is_found_until_a_person_gives_a_reason(settings):
    path = write_events(settings, 3)
    path.unlink()
    with pytest.raises(StoreError, match=r"line 1 is missing; 3 were written, .*rumos ledger accept"):
        append_event(settings, retired())
    with pytest.raises(ParameterError, match="needs a reason in own words"):
        accept_ledger(settings, " ")
    line = accept_ledger(settings, "the store was thrown away")
    assert (type(line.event), line.event.lost_head, line.number) == (Accepted, 3, 1)
    append_event(settings, retired())
    assert verify_ledger(settings).lines == 2


def test_an_accepted_ledger_must_still_be_signed(settings):
    path = write_events(settings, 3)
    path.write_bytes(b'{"number": 1, "event": "crowned", "before": "' + START.encode() + b'"}\n')
    with pytest.raises(StoreError, match="line 1 is not signed"):
        accept_ledger(settings, "let me in")


def test_a_line_without_its_head_is_no_alarm_and_the_head_catches_up(settings):
    path = write_events(settings, 2)
    head = keeping._head_file(settings)
    older = head.read_bytes()
    write_events(settings, 1)
    head.write_bytes(older)  # the machine lost power between the two
    assert len(read_ledger(settings)) == 3 and verify_ledger(settings).head == 2
    keep_head(settings)
    assert verify_ledger(settings).head == 3
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(StoreError, match="line 3 is missing"):
        read_ledger(settings)


def test_a_moved_store_keeps_its_head(settings, tmp_path):
    write_events(settings, 3)
    moved = settings.store_path.rename(tmp_path / "elsewhere")
    there = place_in(tmp_path, RUMOS_STORE_PATH=str(moved))
    assert len(read_ledger(there)) == 3
    path = moved / LEDGER
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(StoreError, match="line 3 is missing"):
        read_ledger(there)


def test_the_heads_of_other_stores_do_not_count(settings, tmp_path):
    write_events(settings, 3)
    other = place_in(tmp_path, RUMOS_STORE_PATH=str(tmp_path / "other"))
    append_event(other, retired())
    assert len(read_ledger(other)) == 1 and len(read_ledger(settings)) == 3


# the champion


def test_two_versions_may_bear_the_alias_only_in_the_middle_of_a_change():
    about = {"run": "r", "family": "SVC", "reason": "cheaper", "intent": 1, "replaces": None}

    def allowed(*events: LedgerEvent) -> set[int]:
        return allowed_versions([Line(number, event, "", "", "") for number, event in enumerate(events)])

    first, second = intent_of(1, "r"), intent_of(2, "s")
    done = (first, Promoted(version=1, **about), Rejected(version=5, run="t", reason="no", line=1))
    assert allowed() == set() and allowed(first) == {1} and allowed(*done) == {1}
    assert allowed(*done, second) == {1, 2}
    assert allowed(*done, second, Abandoned(version=2, run="s", reason="gone", intent=4)) == {1}
    assert allowed(*done, second, RolledBack(version=2, **about)) == {2}
