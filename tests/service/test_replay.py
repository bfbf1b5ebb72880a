"An old decision is made again by the very model that made it, whichever model is the champion today."

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.integrity import digest_value
from rumos_bank.governance.registry import read_promotions
from rumos_bank.ground.errors import ParameterError, StoreError
from rumos_bank.ground.settings import AuditSettings, Settings
from rumos_bank.serving.batch import predict_file
from rumos_bank.serving.case_parts import erase_rows, find_place, list_parts
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, blank_line, decide_and_record, read_line
from rumos_bank.serving.replay import load_promoted, replay, replay_days

DECISIONS = 1000


def with_log(settings: Settings, folder: Path) -> Settings:
    "The same store, another log."
    return settings.model_copy(update={"audit": AuditSettings(folder=folder)})


def lines_of(settings: Settings) -> list[tuple[Path, list[bytes]]]:
    paths = sorted(settings.audit_path.glob("*.jsonl"))
    return [(path, path.read_bytes().splitlines(keepends=True)) for path in paths]


def rewrite(settings: Settings, change) -> None:
    "Change the entries of the log, line by line."
    for path, lines in lines_of(settings):
        changed = [change(read_line(line)) for line in lines]
        path.write_bytes(b"".join(json.dumps(entry).encode() + b"\n" for entry in changed))


def champions_of(settings: Settings) -> list[Champion]:
    "All that were ever promoted, the oldest first; two of the three are retired."
    lines = read_promotions(settings)
    return [load_promoted(settings, line.event.version, digest_value(line.event.files)) for line in lines]


@pytest.fixture(scope="module")
def champions(promoted) -> list[Champion]:
    return champions_of(promoted.settings)


def decide_about(champions: list[Champion], n: int, seed: int, settings: Settings) -> list[str]:
    "Ids of n decisions, given by the champions in turn."
    log, clients = DecisionLog(settings), make_synthetic_clients(n, seed)[list(CLIENT_COLUMNS)]
    asked = [{name: int(value) for name, value in row.items()} for row in clients.to_dict("records")]
    ids = [decide_and_record(champions[i % 3], client, "test", log).id for i, client in enumerate(asked)]
    log.close()
    return ids


@pytest.fixture(scope="module")
def answered(promoted, champions, tmp_path_factory) -> tuple[Settings, list[str]]:
    "A log of 1,000 decisions of three champions; no test changes it."
    settings = with_log(promoted.settings, tmp_path_factory.mktemp("log"))
    return settings, decide_about(champions, DECISIONS, 5, settings)


@pytest.fixture
def few(promoted, champions, tmp_path) -> tuple[Settings, list[str]]:
    "A store and a log of six decisions, two of each champion, that a test may change."
    place = promoted.copy_to(tmp_path / "store")
    shutil.rmtree(place.settings.audit_path, ignore_errors=True)  # what other tests asked
    return place.settings, decide_about(champions, 6, 6, place.settings)


def test_a_thousand_decisions_of_three_champions_are_identical(answered):
    settings, _ = answered
    reports: list[int] = []
    tally = replay_days(settings, notify=reports.append)
    assert tally.counts == {"identical": DECISIONS}
    assert tally.models == {1: 334, 2: 333, 3: 333}
    assert reports == list(range(1, DECISIONS + 1))


def test_the_three_champions_answer_differently(answered, champions):
    "Else the test above would pass with any of them."
    settings, ids = answered
    entry = DecisionLog(settings).find(ids[0])
    probabilities = [each.score(each.read_client(entry["input"])).probability for each in champions]
    assert len(set(probabilities)) == 3 and probabilities[0] == entry["answer"]["probability"]


def test_one_decision_of_a_retired_champion_is_identical(answered):
    settings, ids = answered
    assert DecisionLog(settings).find(ids[0])["model"]["version"] == 1
    assert replay(settings, ids[0]) == (ids[0], "identical", "", 1)


def test_the_smallest_change_of_a_probability_is_seen(few):
    settings, ids = few

    def nudge(entry: dict) -> dict:
        if entry["id"] == ids[0]:
            entry["answer"]["probability"] = math.nextafter(entry["answer"]["probability"], 1)
        return entry

    rewrite(settings, nudge)
    tally = replay_days(settings)
    assert tally.counts["different"] == 1 and tally.counts.total() == len(ids)
    assert [each.id for each in tally.examples] == [ids[0]]
    assert tally.examples[0].why.startswith("probability: ")


@pytest.mark.parametrize("field", ["prediction", "threshold", "refer", "model_version"])
def test_every_field_of_an_answer_is_compared(few, field):
    settings, ids = few

    def change(entry: dict) -> dict:
        value = entry["answer"][field]
        entry["answer"][field] = not value if isinstance(value, bool) else value + 1
        return entry

    rewrite(settings, change)
    tally = replay_days(settings)
    assert tally.counts == {"different": len(ids)}
    assert all(each.why.startswith(f"{field}: ") and ";" not in each.why for each in tally.examples)


def test_a_removed_input_is_reported_and_not_counted_as_different(few):
    settings, ids = few
    for path, lines in lines_of(settings):
        erased = [blank_line(line) if read_line(line)["id"] == ids[2] else line for line in lines]
        path.write_bytes(b"".join(erased))
    tally = replay_days(settings)
    assert tally.counts == {"identical": 5, "erased": 1} and not tally.obstacles
    assert replay(settings, ids[2])[1:] == ("erased", "what was asked is no longer on record", 0)


def test_a_model_that_was_changed_since_is_not_asked(few):
    settings, ids = few
    line = read_promotions(settings)[0]
    file = settings.store_path / line.event.folder / "model.skops"
    file.write_bytes(file.read_bytes() + b"\0")
    tally = replay_days(settings)
    assert tally.counts == {"identical": 4, "impossible": 2} and set(tally.models) == {2, 3}
    (why,) = tally.obstacles
    assert why.startswith("model.skops of the model is not what was recorded")
    file.unlink()
    assert "cannot be read" in replay(settings, ids[0]).why


def test_a_version_with_other_files_did_not_give_the_decision(few):
    "The number alone is not believed."
    settings, ids = few
    other = digest_value(read_promotions(settings)[1].event.files)
    rewrite(settings, lambda entry: entry | {"model": {"version": 1, "digest": other}})
    tally = replay_days(settings)
    assert tally.counts == {"impossible": len(ids)}
    assert "promoted version 1 with the files of digest" in next(iter(tally.obstacles))


def test_only_the_days_asked_for_are_replayed(few):
    settings, _ = few
    (path,) = settings.audit_path.iterdir()
    path.rename(path.with_name(f"20250102{path.name[8:]}"))
    counts = [
        replay_days(settings, *days).counts.total() for days in (("20250102", "20250102"), ("20250103",))
    ]
    assert counts == [6, 0]


def test_what_no_model_gave_is_not_replayed(few):
    settings, ids = few
    log = DecisionLog(settings)
    override = record_override(settings, log, ids[0], 1, "A. Officer", "the pay slip was checked by hand")
    log.close()
    with pytest.raises(ParameterError, match="is of the kind override"):
        replay(settings, override)
    with pytest.raises(StoreError, match="there is no decision"):
        replay(settings, ids[0][:-1] + "f")
    assert replay_days(settings).counts.total() == len(ids)


def test_a_torn_or_foreign_line_stops_nothing(few):
    settings, ids = few
    (path, lines), *_ = lines_of(settings)
    strange = [
        b"[1, 2]\n",
        b'{"id": "x", "kind": "decision"}\n',
        b'{"kind": "decision"}\n',
        b'{"id": "y", "kind": "batch", "model": 3}\n',
    ]
    path.write_bytes(b"".join([*lines, *strange, lines[0][:50]]))
    assert replay_days(settings).counts == Counter(identical=len(ids), impossible=3)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".xlsx", ".XLSX"])
def test_a_file_of_clients_is_decided_again_by_the_retired_champion(few, champions, tmp_path, ending):
    settings, _ = few
    portfolio = tmp_path / "portfolio.csv"
    make_synthetic_clients(40, seed=7)[list(CLIENT_COLUMNS)].to_csv(portfolio, index=False)
    done = predict_file(portfolio, tmp_path / f"decided{ending}", settings, champion=champions[0])
    assert replay(settings, done.entry).outcome == "identical"
    moved = portfolio.rename(tmp_path / "moved.csv")
    assert replay(settings, done.entry) == (done.entry, "identical", "", 1)  # from its cases
    assert "is gone" in replay(settings, done.entry, portfolio).why
    assert replay(settings, done.entry, moved).outcome == "identical"
    rewrite(settings, lambda entry: entry | {"refused": 41} if entry["kind"] == "batch" else entry)
    assert replay(settings, done.entry, moved).why == f"refused: 41 then, {done.refused} now"


def test_files_in_another_store_and_a_folder_without_an_ending_are_decided_again(few, champions, tmp_path):
    settings, _ = few
    portfolio = make_synthetic_clients(40, seed=7)[list(CLIENT_COLUMNS)]
    fsspec.filesystem("memory").pipe_file("/replayed/portfolio.parquet", portfolio.to_parquet(index=False))
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "folder", "memory://replayed/decisions.v2"):
        done = predict_file("memory://replayed/portfolio.parquet", target, settings, champion=champions[0])
        assert replay(settings, done.entry).outcome == "identical"
    fsspec.filesystem("memory").rm_file("/replayed/portfolio.parquet")
    assert replay(settings, done.entry).outcome == "identical"  # its cases are on record


def test_another_file_is_not_taken_for_the_one_that_was_read(few, champions, tmp_path):
    settings, _ = few
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    for path, seed in ((one, 7), (other, 8)):
        make_synthetic_clients(40, seed)[list(CLIENT_COLUMNS)].to_csv(path, index=False)
    done = predict_file(one, tmp_path / "decided.csv", settings, champion=champions[1])
    replayed = replay(settings, done.entry, other)
    assert replayed.outcome == "impossible" and "is not the file that was read then" in replayed.why


# Cases of files


@pytest.fixture
def decided(few, champions, tmp_path):
    "Forty clients of a file, of whom one has a wrong status and one no reference; thirty of a table; and their settings."
    settings, _ = few
    clients = make_synthetic_clients(40, seed=7)[list(CLIENT_COLUMNS)]
    clients.loc[3, "PAY_0"] = 44
    source = tmp_path / "clients.csv"
    clients.assign(account=["", *[f"A{n}" for n in range(39)]]).to_csv(source, index=False)
    asked = {"champion": champions[0], "references": "account"}
    done = predict_file(source, tmp_path / "decided.csv", settings, **asked)
    log = DecisionLog(settings)
    table = decide_and_record(champions[1], make_synthetic_clients(30, seed=8), "test", log)
    log.close()
    return settings, done, list(pd.read_csv(done.output)["decision_id"]), list(table["decision_id"])


def part_of(settings: Settings, case: str) -> tuple[Path, int]:
    segment, _, position = case.rpartition("-")
    name, row = find_place(int(position, 16))
    return settings.audit_path / segment / name, row


def test_every_case_of_a_file_is_replayed_by_its_id(decided):
    settings, done, ids, of_table = decided
    assert len(ids) == 39 and len(of_table) == 30
    for case in (*ids, *of_table):
        assert replay(settings, case) == (case, "identical", "", 1 if case in ids else 2)
    with pytest.raises(StoreError, match="there is no row 39"):
        replay(settings, f"{done.segment}-{39:x}")


def test_days_count_the_cases_of_files_and_the_files(decided, tmp_path):
    settings, done, _, _ = decided
    tally = replay_days(settings)
    assert tally.counts == {
        "identical": 6 + 39 + 30 + 2
    }  # single decisions, a file, a table, and the two as a whole
    assert tally.models == {1: 2 + 39 + 1, 2: 2 + 30 + 1, 3: 2}
    for path in (tmp_path / "clients.csv", done.output):
        path.unlink()
    assert replay_days(settings).counts == tally.counts  # the cases speak for a file that is gone


def test_one_bit_of_one_case_of_a_file_is_seen(decided):
    settings, done, ids, _ = decided
    path, row = part_of(settings, ids[11])
    table = pq.read_table(path)
    values = table["probability"].to_numpy().copy()
    values[row] = np.nextafter(values[row], 1)
    at = table.column_names.index("probability")
    pq.write_table(table.set_column(at, "probability", pa.array(values)), path)
    tally = replay_days(settings)
    assert tally.counts == {"identical": 6 + 38 + 30 + 2, "different": 1}
    assert tally.examples[0].id == ids[11] and tally.examples[0].why.startswith("probability: ")
    assert replay(settings, ids[11]).outcome == "different"
    assert replay(settings, ids[10]).outcome == "identical"
    Path(DecisionLog(settings).find(done.entry)["input"]["path"]).unlink()
    assert replay(settings, done.entry).outcome == "different"


def test_an_erased_case_of_a_file_is_never_different(decided):
    settings, _, ids, _ = decided
    path, row = part_of(settings, ids[4])
    content, references = erase_rows(path, [row])
    path.write_bytes(content)
    path.with_suffix(".refs").write_bytes(references)
    assert replay(settings, ids[4]).outcome == "erased"
    tally = replay_days(settings)
    assert tally.counts["different"] == 0 and tally.counts["identical"] == 6 + 38 + 30 + 2
    assert tally.counts["erased"] == 1


def test_a_part_that_cannot_be_read_is_reported_and_stops_nothing(decided):
    settings, done, ids, _ = decided
    part_of(settings, ids[0])[0].write_bytes(b"PAR1")
    tally = replay_days(settings)
    assert tally.counts["identical"] == 6 + 30 + 2 and tally.counts["impossible"] == 1
    assert "cannot be read" in next(iter(tally.obstacles))
    assert len(list_parts(settings.audit_path / done.segment)) == 1


def test_a_file_with_references_and_reasons_is_decided_again(few, tmp_path, champions):
    settings, _ = few
    source = tmp_path / "clients.csv"
    clients = make_synthetic_clients(30, seed=7)[list(CLIENT_COLUMNS)]
    clients.assign(account=["x" * 65, *["A"] * 29]).to_csv(source, index=False)
    asked = {"champion": champions[0], "references": "account", "reasons": True}
    done = predict_file(source, tmp_path / "decided.csv", settings, **asked)
    assert (done.scored, done.rejected) == (29, 1)
    assert replay(settings, done.entry) == (done.entry, "identical", "", 1)
