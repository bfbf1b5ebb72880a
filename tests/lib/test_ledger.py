"The ledger: what is changed in the middle is found, what was torn at the end never happened."

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank import ledger as keeping
from rumos_bank.errors import StoreError
from rumos_bank.ledger import LEDGER, START, append_event, read_ledger

TOLD = "Zürich → 3 €"  # not only ASCII


def write_events(path: Path, n: int) -> Path:
    for number in range(n):
        append_event(path, "crowned", {"version": number, "reason": TOLD})
    return path


with tempfile.TemporaryDirectory() as _folder:  # five lines; the last one vouches for the others
    LINES = write_events(Path(_folder) / LEDGER, 5).read_bytes().splitlines(keepends=True)
BEFORE_LAST = sum(map(len, LINES[:-1]))  # bytes that some later line vouches for
WHOLE = b"".join(LINES)
place = st.integers(0, BEFORE_LAST - 1)
a_byte = st.one_of(st.integers(0, 255), st.sampled_from(b'\r\n "0}')).map(lambda byte: bytes([byte]))
not_last = st.integers(0, len(LINES) - 2)


def is_found(content: bytes) -> bool:
    "Whether reading such a ledger raises."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LEDGER
        path.write_bytes(content)
        with pytest.raises(StoreError, match="changed by hand"):
            read_ledger(path)
        before = path.read_bytes()
        with pytest.raises(StoreError):
            append_event(path, "crowned", {})
        return path.read_bytes() == before  # nothing is written behind a broken chain


@given(place, a_byte)
def test_a_changed_byte_is_found(position, byte):
    if WHOLE[position : position + 1] != byte:
        assert is_found(WHOLE[:position] + byte + WHOLE[position + 1 :])


@given(place)
def test_a_removed_byte_is_found(position):
    assert is_found(WHOLE[:position] + WHOLE[position + 1 :])


@given(place, a_byte)
def test_an_inserted_byte_is_found(position, byte):
    assert is_found(WHOLE[:position] + byte + WHOLE[position:])


@given(not_last, st.sampled_from([b"\n", b"\r", b"{}\n", b"null\n", b"[]\n", b"forged\r", b"forged\r\n"]))
def test_an_inserted_line_is_found(number, line):
    assert is_found(b"".join([*LINES[:number], line, *LINES[number:]]))


@given(not_last, not_last)
def test_a_repeated_line_is_found(number, other):
    assert is_found(b"".join([*LINES[:number], LINES[other], *LINES[number:]]))


@given(not_last)
def test_a_removed_line_is_found(number):
    assert is_found(b"".join([*LINES[:number], *LINES[number + 1 :]]))


@given(st.integers(0, len(LINES) - 1), st.integers(0, len(LINES) - 1))
def test_swapped_lines_are_found(first, second):
    if first != second:
        swapped = LINES.copy()
        swapped[first], swapped[second] = swapped[second], swapped[first]
        assert is_found(b"".join(swapped))


@given(not_last, st.integers(100, 999))
def test_a_changed_fact_is_found_at_the_line_after(number, version):
    changed = LINES.copy()
    changed[number] = json.dumps(json.loads(LINES[number]) | {"version": version}).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LEDGER
        path.write_bytes(b"".join(changed))
        with pytest.raises(StoreError, match=f"line {number + 2} does not continue line {number + 1};"):
            read_ledger(path)


@given(st.integers(1, len(LINES[-1]) - 1))
def test_a_torn_last_line_never_happened(kept):
    torn = b"".join(LINES[:-1]) + LINES[-1][:kept]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LEDGER
        path.write_bytes(torn)
        assert [event["number"] for event in read_ledger(path)] == [1, 2, 3, 4]
        assert path.read_bytes() == torn  # reading changes nothing
        append_event(path, "refused", {"version": 7})
        events = read_ledger(path)
        assert (events[-1]["number"], events[-1]["event"], events[-1]["version"]) == (5, "refused", 7)
        assert path.read_bytes().startswith(b"".join(LINES[:-1]))


@given(st.dictionaries(st.sampled_from("abcde"), st.one_of(st.text(), st.integers(), st.none()), max_size=5))
def test_facts_come_back_as_they_were_told(facts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / LEDGER
        write_events(path, 1)
        written = append_event(path, "crowned", facts)
        assert read_ledger(path)[-1] == written
        assert {name: written[name] for name in facts} == facts
        assert path.read_bytes().count(b"\n") == 2


def test_an_event_says_when_and_who_and_holds_its_place(tmp_path):
    events = read_ledger(write_events(tmp_path / LEDGER, 3))
    assert [event["number"] for event in events] == [1, 2, 3]
    assert events[0]["before"] == START
    assert len({event["before"] for event in events}) == 3
    assert all(event["who"] and event["when"].endswith("+00:00") for event in events)


def test_who_has_no_name_is_told_by_number(tmp_path, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")  # a container's user

    monkeypatch.setattr(keeping.getpass, "getuser", nobody)
    assert append_event(tmp_path / LEDGER, "crowned", {})["who"].startswith("uid ")


def test_no_ledger_no_events(tmp_path):
    assert read_ledger(tmp_path / LEDGER) == [] and not (tmp_path / LEDGER).exists()


def test_a_forged_first_line_is_found(tmp_path):
    (tmp_path / LEDGER).write_bytes(LINES[1])
    with pytest.raises(StoreError, match="line 1 does not continue line 0"):
        read_ledger(tmp_path / LEDGER)


def test_a_wrong_number_is_found_even_behind_the_right_hash(tmp_path):
    first = json.loads(LINES[0]) | {"number": 2}
    (tmp_path / LEDGER).write_bytes(json.dumps(first).encode() + b"\n")
    with pytest.raises(StoreError, match="line 1 does not continue line 0"):
        read_ledger(tmp_path / LEDGER)
