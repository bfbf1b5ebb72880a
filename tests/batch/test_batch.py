"""A file of clients in, the same file with decisions out: in every format, with every fault, killed at every moment."""

import errno
import gzip
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crashes import Crash
from hypothesis import given
from hypothesis import strategies as st
from portfolios import CASES, DIES, DIES_EVERYWHERE, PROTECTED, SEGMENT, read_answers

from rumos_bank.data import columnar, delimited, places
from rumos_bank.data.columns import Fields
from rumos_bank.data.contract import (
    CLIENT_COLUMNS,
    FIELDS,
    ID,
)
from rumos_bank.data.places import Chunk
from rumos_bank.data.readers import open_source
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.references import read_references
from rumos_bank.ground.errors import DataError, ParameterError, RumosError, StoreError
from rumos_bank.ground.settings import Settings
from rumos_bank.serving import batch, writers
from rumos_bank.serving.batch import predict_file, score_table
from rumos_bank.serving.case_parts import find_rows, hash_parts
from rumos_bank.serving.champion import Decision
from rumos_bank.serving.decision_log import DECISION_ID, DecisionLog, list_folders, read_log
from rumos_bank.serving.writers import defuse_cells

ANSWERS = list(Decision._fields)
ENDINGS = (".csv", ".csv.gz", ".parquet", ".xlsx")


@pytest.fixture
def small_chunks(monkeypatch):
    "Several chunks from fifty clients."
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 8)
    monkeypatch.setattr(delimited, "_BLOCK", 1000)


# What becomes of a row


def test_a_row_that_is_rejected_always_has_a_reason(champion):
    frame = make_synthetic_clients(40, seed=2).astype(object)
    for at, field in enumerate(FIELDS):
        frame.iloc[at, frame.columns.get_loc(field.name)] = field.high + 1
    table = pa.Table.from_pandas(frame.infer_objects(), preserve_index=False)
    scored = score_table(
        champion,
        Chunk(0, np.arange(1, 41), table),
        Fields({name: name for name in table.column_names}),
        CASES,
    )
    reasons = scored.rejected.to_pandas().set_index("input_row")["reasons"]
    expected = {at + 1 for at, field in enumerate(FIELDS) if field.name not in PROTECTED}
    assert set(reasons.index) == expected
    for row, reason in reasons.items():
        assert reason.startswith(FIELDS[row - 1].name) and str(FIELDS[row - 1].high + 1) in reason


def test_protected_fields_may_be_absent_or_hold_anything(champion, settings, tmp_path, portfolio, write):
    without = write(portfolio.drop(columns=[*PROTECTED]), tmp_path / "without.csv")
    wrong = write(portfolio.assign(SEX="x", AGE=-1), tmp_path / "wrong.csv")
    for source in (without, wrong):
        assert predict_file(source, tmp_path / "out.csv", settings, champion=champion).rejected == 0
        got = read_answers(tmp_path / "out.csv")
        pd.testing.assert_frame_equal(got[ANSWERS], champion.decide(portfolio))


# Every format gives the library's answers


@pytest.mark.parametrize("target", ENDINGS)
@pytest.mark.parametrize("source", ENDINGS)
def test_every_format_gives_the_librarys_answers_bit_for_bit(
    source, target, champion, settings, tmp_path, portfolio, write, small_chunks
):
    came = write(portfolio, tmp_path / f"in{source}")
    done = predict_file(came, tmp_path / f"out{target}", settings, champion=champion)
    answers, expected = read_answers(done.output), champion.decide(portfolio)
    pd.testing.assert_frame_equal(answers[ANSWERS], expected, check_dtype=target != ".xlsx")
    numbers = [name for name in (ID, *CLIENT_COLUMNS) if name in (*champion.seen,)]
    pd.testing.assert_frame_equal(answers[numbers], portfolio[numbers])
    assert answers["branch"].tolist() == portfolio["branch"].tolist()
    assert list(answers.columns) == [*portfolio.columns, *ANSWERS, DECISION_ID]
    assert (done.read, done.scored, done.rejected, done.rejects) == (50, 50, 0, None)
    assert (done.refused, done.referred) == (expected["prediction"].sum(), expected["refer"].sum())
    chosen = np.where(
        expected["prediction"] == 1, expected["expected_cost_refuse"], expected["expected_cost_accept"]
    )
    assert done.expected_cost == pytest.approx(chosen.sum(), rel=1e-12)
    assert done.cost_accept_all == pytest.approx(expected["expected_cost_accept"].sum(), rel=1e-12)
    assert done.refused and done.referred  # the fixture tries both
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") or "rejects" in path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_row_is_lost(ending, champion, settings, tmp_path, portfolio, write, small_chunks):
    portfolio.loc[[6, 30], "LIMIT_BAL"] = [999, 10_000_001]
    portfolio.loc[49, "PAY_0"] = 10
    done = predict_file(
        write(portfolio, tmp_path / f"in{ending}"), tmp_path / f"out{ending}", settings, champion=champion
    )
    assert (done.read, done.scored, done.rejected) == (50, 47, 3)
    rejected = read_answers(done.rejects)
    heading = ending != ".parquet"  # the heading is row 1, where there is one
    assert rejected["input_row"].tolist() == [7 + heading, 31 + heading, 50 + heading]
    assert rejected[ID].tolist() == portfolio[ID][[6, 30, 49]].tolist()
    assert rejected["reasons"].tolist() == [
        "LIMIT_BAL must be a whole number between 1,000 and 10,000,000 TWD, got 999",
        "LIMIT_BAL must be a whole number between 1,000 and 10,000,000 TWD, got 10000001",
        "PAY_0 must be one of the codes -2 to 9, got 10",
    ]
    assert read_answers(done.output)[ID].tolist() == portfolio[ID].drop([6, 30, 49]).tolist()
    assert done.rejects.name == f"out.rejects{ending}"


def test_a_file_of_bad_rows_only_still_gives_both_files(champion, settings, tmp_path, portfolio, write):
    for ending in (".csv", ".parquet"):
        source = write(portfolio.assign(PAY_0=11), tmp_path / f"in{ending}")
        done = predict_file(source, tmp_path / f"out{ending}", settings, champion=champion)
        assert (done.scored, done.rejected) == (0, 50)
        assert list(read_answers(done.output).columns) == [*portfolio.columns, *ANSWERS, DECISION_ID]
        assert len(read_answers(done.rejects)) == 50


def test_rejects_of_an_earlier_run_are_removed(champion, settings, tmp_path, portfolio, write):
    for ending in (".csv", ".parquet"):
        target = tmp_path / f"out{ending}"
        first = predict_file(
            write(portfolio.assign(PAY_0=11), tmp_path / f"in{ending}"), target, settings, champion=champion
        )
        assert first.rejects.exists()
        second = predict_file(write(portfolio, tmp_path / f"in{ending}"), target, settings, champion=champion)
        assert second.rejects is None and not first.rejects.exists()
        assert len(read_answers(target)) == 50


def test_partitions_become_columns(champion, settings, tmp_path, portfolio):
    folder = tmp_path / "portfolio"
    for month in (9, 10):
        (folder / f"month={month}").mkdir(parents=True)
        portfolio.assign(ID=portfolio[ID] + month).to_parquet(
            folder / f"month={month}" / "part.parquet", index=False
        )
    (folder / "_SUCCESS").touch()
    done = predict_file(folder, tmp_path / "out.parquet", settings, champion=champion)
    answers = read_answers(done.output)
    assert (
        done.read == 100 and answers["month"].tolist() == ["10"] * 50 + ["9"] * 50
    )  # in the order of the paths
    pd.testing.assert_frame_equal(answers[ANSWERS][50:].reset_index(drop=True), champion.decide(portfolio))


def test_parts_with_other_columns_are_refused(champion, settings, tmp_path, portfolio):
    (tmp_path / "portfolio").mkdir()
    portfolio.to_parquet(tmp_path / "portfolio" / "a.parquet", index=False)
    portfolio.drop(columns="branch").to_parquet(tmp_path / "portfolio" / "b.parquet", index=False)
    with pytest.raises(DataError, match=r"b\.parquet lacks columns that the first file has: branch"):
        predict_file(tmp_path / "portfolio", tmp_path / "out.csv", settings, champion=champion)


def test_any_numeric_type_is_a_number(champion, settings, tmp_path, portfolio):
    typed = portfolio.astype(
        {"LIMIT_BAL": "float64", "PAY_0": "int8", "PAY_2": "Int16", "BILL_AMT1": "float32"}
    )
    table = pa.Table.from_pandas(typed, preserve_index=False)
    decimal = table["PAY_AMT1"].cast(pa.decimal128(19, 0))
    table = table.set_column(table.column_names.index("PAY_AMT1"), "PAY_AMT1", decimal)
    table = table.set_column(
        table.column_names.index("PAY_3"), "PAY_3", table["PAY_3"].combine_chunks().dictionary_encode()
    )
    pq.write_table(table, tmp_path / "in.parquet")
    done = predict_file(tmp_path / "in.parquet", tmp_path / "out.parquet", settings, champion=champion)
    pd.testing.assert_frame_equal(
        read_answers(done.output)[ANSWERS], champion.decide(portfolio.astype({"ID": int}))
    )


# CSV as it comes


def csv_of(portfolio: pd.DataFrame, **cells: str) -> str:
    return portfolio.assign(**cells).to_csv(index=False)


@pytest.mark.parametrize("block", [64, 300, 10_000])
def test_blocks_end_where_records_end(block, champion, settings, tmp_path, portfolio, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    notes = [f'"quoted\n{number}", twice' if number % 3 else "" for number in range(50)]
    (tmp_path / "in.csv").write_text(csv_of(portfolio, note=notes))
    done = predict_file(tmp_path / "in.csv", tmp_path / "out.csv", settings, champion=champion)
    answers = pd.read_csv(done.output, keep_default_na=False)
    assert done.read == 50 and answers["note"].tolist() == notes


def test_dialects_of_csv(champion, settings, tmp_path, portfolio):
    text = csv_of(portfolio)
    expected = champion.decide(portfolio)
    files = {
        "mark.csv": b"\xef\xbb\xbf" + text.encode(),
        "windows.csv": text.replace("\n", "\r\n").encode(),
        "no_end.csv": text.rstrip("\n").encode(),
        "blank_lines.csv": text.replace("\n", "\n\n").encode(),
        "blanks.csv": text.replace(",", ", ").replace(", ", ",", text.split("\n")[0].count(",")).encode(),
        "CAPITALS.CSV": text.encode(),
        "members.csv.gz": gzip.compress(text[:500].encode()) + gzip.compress(text[500:].encode()),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        done = predict_file(tmp_path / name, tmp_path / "out.csv", settings, champion=champion)
        assert (done.read, done.rejected, done.broken) == (50, 0, 0), name
        pd.testing.assert_frame_equal(read_answers(done.output)[ANSWERS], expected)


def test_lines_with_another_number_of_cells_are_broken(champion, settings, tmp_path, portfolio, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 500)
    lines = csv_of(portfolio.assign(PAY_0=portfolio["PAY_0"].where(portfolio.index != 20, 99))).splitlines()
    lines[3] += ",one more"
    lines[30] = "too,few"
    (tmp_path / "in.csv").write_text("\n".join(lines))
    done = predict_file(tmp_path / "in.csv", tmp_path / "out.csv", settings, champion=champion)
    assert (done.read, done.scored, done.rejected, done.broken) == (50, 47, 1, 2)
    rejected = pd.read_csv(done.rejects)
    assert rejected["input_row"].tolist() == [4, 22, 31]
    assert rejected["reasons"][2] == "line 31 has 2 cells and the heading 25: too,few"
    assert (
        "has 26 cells and the heading 25" in rejected["reasons"][0] and "one more" in rejected["reasons"][0]
    )


def test_cells_stay_as_they_came(champion, settings, tmp_path, portfolio):
    given = {
        "LIMIT_BAL": " 3e4",
        "PAY_0": "+1",
        "note": "NA",
        "code": "0012",
        "empty": "",
        "key": "4000001234567899017",
    }
    (tmp_path / "in.csv").write_text(csv_of(portfolio, **given))
    predict_file(tmp_path / "in.csv", tmp_path / "out.csv", settings, champion=champion)
    answers = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert answers.loc[0, list(given)].to_dict() == given


# Formulas

WILD = st.text(st.sampled_from("=+-@\t\r\n1.a'"), max_size=5)


@given(st.lists(WILD, min_size=1, max_size=5))
def test_no_cell_is_a_formula(cells):
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        safe = defuse_cells(pa.table({"cell": pa.array(cells, kind)}))[0]["cell"].to_pylist()
        for before, after in zip(cells, safe):
            changed = after != before
            assert after == (f"'{before}" if changed else before)
            if len(after) > 1 and after[0] in "=+-@\t\r\n":
                float(after)
            assert not changed or before[0] in "=+-@\t\r\n"


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".xlsx"])
def test_formulas_are_defused_in_what_we_write(ending, champion, settings, tmp_path, portfolio, write):
    evil = portfolio.assign(branch="=HYPERLINK(1)", **{"+name": "-5", "none": "-"})
    evil.loc[3, "PAY_0"] = 77
    done = predict_file(
        write(evil, tmp_path / "in.parquet"), tmp_path / f"out{ending}", settings, champion=champion
    )
    for path in (done.output, done.rejects):
        answers = read_answers(path)
        assert set(answers["branch"]) == {"'=HYPERLINK(1)"} and set(answers["'+name"].astype(str)) == {"-5"}
        assert set(answers["none"]) == {"-"}  # a sign alone is no formula
    assert done.defused == 50
    assert "50 cells begin like a formula: an apostrophe stands before them" in str(done)


def test_parquet_is_data_and_stays_as_it_came(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio.assign(branch="=1+1"), tmp_path / "in.parquet")
    assert set(
        read_answers(predict_file(source, tmp_path / "o.parquet", settings, champion=champion).output)[
            "branch"
        ]
    ) == {"=1+1"}


# Crash and begun again


def contents(*folders: Path) -> dict[str, bytes]:
    return {
        f"{folder.name}/{path.name}": path.read_bytes()
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.suffix == ".parquet"
    }


def read_manifest(folder: Path) -> list[dict]:
    "The lines that were written to their end."
    path = folder / "_manifest.jsonl"
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def test_a_run_killed_at_any_write_is_completed_to_the_same_bytes(
    champion, elsewhere, tmp_path, portfolio, write, small_chunks, monkeypatch
):
    portfolio.loc[[9, 33], "PAY_0"] = 44
    source = write(portfolio, tmp_path / "in.parquet")
    (tmp_path / "whole").mkdir()
    asked = {"champion": champion, "segment": SEGMENT}
    whole = predict_file(source, tmp_path / "whole" / "out.parquet", elsewhere("whole"), **asked)
    expected = contents(whole.output, whole.rejects)
    assert len(expected) == 7 + 2
    lock, calls, fsync, scored = threading.Lock(), [0], os.fsync, []

    def fail(descriptor: int) -> None:
        with lock:
            calls[0] -= 1
            if calls[0] <= 0:  # a dead process writes nothing more
                raise Crash
        fsync(descriptor)

    real = batch.score_table
    monkeypatch.setattr(batch, "score_table", lambda *given: scored.append(given[1].number) or real(*given))
    for moment in range(1, 80):
        target, calls[0] = tmp_path / f"{moment}" / "out.parquet", moment
        target.parent.mkdir()
        settings = elsewhere(f"{moment}")
        monkeypatch.setattr(os, "fsync", fail)
        try:
            predict_file(source, target, settings, **asked)
            break
        except Crash:
            monkeypatch.setattr(os, "fsync", fsync)
        require_on_record(target, settings)
        kept = read_manifest(target)[1:]
        scored.clear()
        again = predict_file(source, target, settings, champion=champion, segment=SEGMENT)
        assert contents(target, again.rejects) == expected
        assert replace(
            again, output=whole.output, rejects=whole.rejects, resumed=0, seconds=0, entry=""
        ) == replace(whole, resumed=0, seconds=0, entry="")
        assert not set(scored) & {line["chunk"] for line in kept if "chunk" in line}
        assert again.resumed == sum(
            line["totals"]["scored"] + line["totals"]["rejected"] for line in kept if "chunk" in line
        )
    assert moment > 40


def require_on_record(target: Path, settings: Settings) -> list[str]:
    "Every id that a person can see in this output is found, and no two are the same."
    if not target.exists() or (target.is_dir() and not list(target.glob("part-*"))):
        return []
    ids = read_answers(target)[DECISION_ID].tolist()
    log = DecisionLog(settings)
    assert [log.find(each)["id"] for each in ids] == ids and len(set(ids)) == len(ids)
    return ids


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_kill_9_at_every_step_leaves_no_decision_that_is_not_on_record(
    ending, champion, elsewhere, tmp_path, portfolio, write, monkeypatch
):
    source = write(portfolio.assign(ref=[f"R{n}" for n in range(50)]), tmp_path / "in.parquet")
    (tmp_path / "champion").write_bytes(pickle.dumps(champion))
    subprocess.run([sys.executable, "-c", DIES_EVERYWHERE, str(tmp_path), ending], check=True)
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 20)
    moments = int((tmp_path / "moments").read_text())
    assert moments > 12
    for moment in range(moments):
        settings, target = elsewhere(f"{moment}"), tmp_path / f"{moment}" / f"out{ending}"
        before = require_on_record(target, settings)
        done = predict_file(source, target, settings, champion=champion, references="ref")
        after = require_on_record(target, settings)
        assert len(after) == 50 and (set(before) <= set(after) or ending == ".csv")
        entries = [each for each in read_log(settings.audit_path) if each.get("segment") == done.segment]
        assert [each["id"] for each in entries] == [done.entry]
        segments = {each.get("segment") for each in read_log(settings.audit_path)}
        assert {path.name for path in list_folders(settings.audit_path)} <= segments  # nobody is there twice
        assert not list(target.parent.glob(".*.cases"))
        parts = hash_parts(settings.audit_path / done.segment)
        assert entries[0]["parts"] == parts and len(parts) == 6
        (row,) = find_rows(settings.audit_path / done.segment / "part-000001.parquet", hide(settings, "R23"))
        assert after[23].endswith(f"{2**24 + row:x}")


def hide(settings: Settings, reference: str) -> str:
    return read_references(settings).hide(reference)


def test_after_kill_9_the_next_run_goes_on(champion, settings, elsewhere, tmp_path, monkeypatch):
    make_synthetic_clients(5000, seed=6).to_parquet(tmp_path / "in.parquet", index=False)
    environ = os.environ | {"RUMOS_STORE_PATH": str(tmp_path / "store")}
    (tmp_path / "champion").write_bytes(pickle.dumps(champion))
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), "in.parquet"], env=environ, check=False)
    assert died.returncode == -signal.SIGKILL
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 500)
    done = predict_file(tmp_path / "in.parquet", tmp_path / "out.parquet", settings, champion=champion)
    assert (done.read, done.resumed) == (5000, 2000)
    same = {"champion": champion, "segment": done.segment}
    clean = predict_file(tmp_path / "in.parquet", tmp_path / "clean.parquet", elsewhere("clean"), **same)
    assert list(contents(done.output).values()) == list(contents(clean.output).values())


def test_a_finished_batch_gives_its_result_again_without_scoring(
    champion, settings, tmp_path, portfolio, write, monkeypatch
):
    source, target = write(portfolio, tmp_path / "in.parquet"), tmp_path / "out.parquet"
    first = predict_file(source, target, settings, champion=champion)
    monkeypatch.setattr(batch, "score_table", None)
    again = predict_file(source, target, settings, champion=champion)
    assert again == replace(first, resumed=50, seconds=0.0)
    assert len(list(read_log(settings.audit_path))) == 1


def test_another_input_or_champion_begins_anew(
    champion, other_champion, settings, tmp_path, portfolio, write, small_chunks
):
    source, target = write(portfolio, tmp_path / "in.parquet"), tmp_path / "out.parquet"
    predict_file(source, target, settings, champion=champion)
    other = predict_file(source, target, settings, champion=other_champion)
    assert other.resumed == 0 and set(read_answers(target)["model_version"]) == {4}
    write(portfolio[:20], source)
    fewer = predict_file(source, target, settings, champion=other_champion)
    assert fewer.resumed == 0 and len(read_answers(target)) == 20
    assert len(list(target.glob("part-*"))) == 3


def test_a_damaged_part_is_scored_again(champion, settings, tmp_path, portfolio, write, small_chunks):
    source, target = write(portfolio, tmp_path / "in.parquet"), tmp_path / "out.parquet"
    predict_file(source, target, settings, champion=champion)
    before = contents(target)
    part = sorted(target.glob("part-*"))[2]
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    sorted(target.glob("part-*"))[5].unlink()
    again = predict_file(source, target, settings, champion=champion)
    assert contents(target) == before and again.resumed == 50 - 16


@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_a_single_file_is_whole_or_not_there(
    ending, champion, settings, tmp_path, portfolio, write, small_chunks
):
    source, target = write(portfolio, tmp_path / "in.parquet"), tmp_path / f"out{ending}"
    target.write_text("of yesterday")

    def stop(done: int, rows: int | None, seconds: float) -> None:
        if done >= 24:
            raise Crash

    with pytest.raises(Crash):
        predict_file(source, target, settings, notify=stop, champion=champion, overwrite=True)
    assert target.read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == sorted(
        ["in.parquet", target.name]
    )
    assert not list(settings.audit_path.rglob("*"))  # nobody was told anything


def test_a_file_that_no_batch_wrote_is_not_replaced(champion, settings, tmp_path, portfolio, write):
    source, target = write(portfolio.assign(PAY_0=[11, *[0] * 49]), tmp_path / "in.csv"), tmp_path / "out.csv"
    first = predict_file(source, target, settings, champion=champion)
    again = predict_file(source, target, settings, champion=champion)  # its own, unchanged
    assert again.scored == first.scored == 49
    for path in (target, first.rejects):
        written = path.read_bytes()
        path.write_bytes(written + b"a person's note\n")
        with pytest.raises(
            DataError, match=rf"{path.name} is there already, and no batch wrote it as it is now"
        ):
            predict_file(source, target, settings, champion=champion)
        assert path.read_bytes() == written + b"a person's note\n"
        path.write_bytes(written)
    target.write_text("a letter")
    predict_file(source, target, settings, champion=champion, overwrite=True)
    assert len(read_answers(target)) == 49
    first.rejects.write_text("a letter")
    whole = write(portfolio, tmp_path / "whole.csv")
    predict_file(whole, target, settings, champion=champion, overwrite=True)  # it has no rejects
    assert first.rejects.read_text() == "a letter" and len(read_answers(target)) == 50


def test_what_nobody_can_see_in_a_broken_line_is_written_as_its_code(champion, settings, tmp_path, portfolio):
    text = csv_of(portfolio) + "\x1a,\x00\ufffe,short\n"
    for ending in (".csv", ".xlsx", ".jsonl"):
        (tmp_path / "in.csv").write_text(text)
        done = predict_file(tmp_path / "in.csv", tmp_path / f"out{ending}", settings, champion=champion)
        assert (done.scored, done.broken) == (50, 1)
        (why,) = [row["reasons"] for row in read_rejects(done.rejects)]
        assert why.startswith("line 52 has 3 cells") and why.endswith(r"\x1a,\x00\ufffe,short")


def read_rejects(path: Path) -> list[dict]:
    source = open_source(path, ["AGE"])
    return [row for chunk in source.chunks() for row in chunk.table.to_pylist()]


def test_a_batch_in_which_nobody_could_be_scored_says_so(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio.assign(PAY_0=11), tmp_path / "in.csv")
    text = str(predict_file(source, tmp_path / "out.csv", settings, champion=champion))
    assert "no client could be scored" in text and "expected cost" not in text


@pytest.mark.parametrize("source", [".", "/", ".."])
def test_an_output_needs_a_name_where_the_input_has_none(source, settings):
    with pytest.raises(ParameterError, match="needs a name for the output: give one"):
        predict_file(source, settings=settings)


def test_an_output_has_a_name_and_a_format_by_default(champion, settings, tmp_path, portfolio, write):
    for name, expected in (
        ("a.csv", "a.decided.csv"),
        ("b.csv.gz", "b.decided.csv.gz"),
        ("c.parquet", "c.decided.parquet"),
    ):
        done = predict_file(write(portfolio, tmp_path / name), settings=settings, champion=champion)
        assert done.output == tmp_path / expected and len(read_answers(done.output)) == 50
    with pytest.raises(DataError, match="does not exist: make it"):
        predict_file(tmp_path / "a.csv", tmp_path / "far" / "out.csv", settings, champion=champion)
    with pytest.raises(DataError, match=r"must end in \.parquet, \.csv"):
        predict_file(tmp_path / "a.csv", tmp_path / "out.pdf", settings, champion=champion)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_its_own_output_can_be_read_again(
    ending, champion, other_champion, settings, tmp_path, portfolio, write
):
    came = write(portfolio.assign(PAY_0=[11, *[0] * 49]), tmp_path / f"in{ending}")
    first = predict_file(came, tmp_path / f"one{ending}", settings, champion=champion)
    again = predict_file(first.output, tmp_path / f"two{ending}", settings, champion=other_champion)
    answers = read_answers(again.output)
    assert again.scored == 49 and list(answers.columns) == [*portfolio.columns, *ANSWERS, DECISION_ID]
    assert set(answers["model_version"]) == {other_champion.version}
    rejects = predict_file(first.rejects, tmp_path / f"three{ending}", settings, champion=champion)
    assert rejects.rejected == 1 and list(read_answers(rejects.rejects).columns) == [
        "input_row",
        "reasons",
        *portfolio.columns,
    ]
    some = write(portfolio.assign(prediction=1), tmp_path / f"some{ending}")
    with pytest.raises(DataError, match=r"already has columns.*prediction"):
        predict_file(some, tmp_path / f"four{ending}", settings, champion=champion)


def test_two_batches_do_not_write_to_one_place(champion, settings, tmp_path, portfolio, write):
    source, target = write(portfolio, tmp_path / "in.csv"), tmp_path / "out.parquet"
    tried = []

    def at_the_same_time(*_: object) -> None:
        with pytest.raises(StoreError, match="another batch is writing"):
            predict_file(source, target, settings, champion=champion)
        tried.append(1)

    predict_file(source, target, settings, notify=at_the_same_time, champion=champion)
    assert tried


# Memory


def test_only_a_few_chunks_are_under_way():
    begun, finished = [], []

    def chunks():
        for number in range(40):
            begun.append(number)
            assert number - len(finished) <= batch.count_cores() + 1
            yield number

    for result in batch._map_in_order(lambda number: number, chunks()):
        finished.append(result)
    assert finished == list(range(40))


def test_what_was_read_is_let_go(tmp_path, monkeypatch):
    for module in (places, columnar):
        monkeypatch.setattr(module, "CHUNK_ROWS", 2000)
    rng, path = np.random.default_rng(0), tmp_path / "in.parquet"
    schema = pa.schema([(name, pa.int64()) for name in CLIENT_COLUMNS])
    with pq.ParquetWriter(path, schema) as writer:
        for _ in range(40):
            numbers = rng.integers(0, 2**60, (len(CLIENT_COLUMNS), 2000))
            writer.write_table(pa.table(list(numbers), schema=schema))
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in open_source(path).chunks()]
    assert len(held) == 40 and max(held) < path.stat().st_size / 3


# What is on record


def test_a_batch_leaves_one_entry(champion, settings, tmp_path, portfolio, write, small_chunks):
    portfolio.loc[0, "PAY_0"] = 55
    done = predict_file(
        write(portfolio, tmp_path / "in.csv"), tmp_path / "out.csv", settings, caller="me", champion=champion
    )
    (entry,) = read_log(settings.audit_path)
    assert (entry["id"], entry["kind"], entry["caller"]) == (done.entry, "batch", "me")
    assert entry["model"] == {"version": 3, "digest": champion.digest}
    for side, path in (("input", tmp_path / "in.csv"), ("output", done.output)):
        assert entry[side] == {"path": str(path), "sha256": batch.digest_file(path)}
    assert (entry["scored"], entry["rejected"], entry["broken"], entry["refused"]) == (49, 1, 0, done.refused)
    assert entry["rejects_file"] == {"path": str(done.rejects), "sha256": batch.digest_file(done.rejects)}


def test_no_output_has_decisions_that_are_not_on_record(
    champion, settings, tmp_path, portfolio, write, monkeypatch
):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batch, "record_batch", fail)
    source = write(portfolio, tmp_path / "in.csv")
    for name in ("out.csv", "out.xlsx"):
        with pytest.raises(DataError, match=r"the decision log .* cannot be written .*: make room"):
            predict_file(source, tmp_path / name, settings, champion=champion)
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in.csv"]


@pytest.mark.parametrize(
    ("name", "whole"), [("a.parquet", 50), ("a.csv", 50), ("a.csv.gz", 50), ("a.xlsx", 50)]
)
def test_progress_is_reported(name, whole, champion, settings, tmp_path, portfolio, write, small_chunks):
    reports, source = [], write(portfolio, tmp_path / name)
    predict_file(
        source,
        tmp_path / "out.csv",
        settings,
        notify=lambda *news: reports.append(news),
        champion=champion,
    )
    assert reports[-1][:2] == (50, whole)
    assert all(before[0] < after[0] for before, after in itertools.pairwise(reports))


def test_a_dry_run_changes_nothing(champion, settings, tmp_path, portfolio, write, small_chunks):
    source = write(portfolio, tmp_path / "in.parquet")
    planned = predict_file(source, tmp_path / "out.parquet", settings, dry_run=True, champion=champion)
    work = f"would score 50 clients with champion 3 into {tmp_path / 'out.parquet'}"
    assert str(planned) == f"read as Parquet\n{work}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet"]
    predict_file(source, tmp_path / "out.parquet", settings, champion=champion)
    lines = (tmp_path / "out.parquet" / "_manifest.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "out.parquet" / "_manifest.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:10])
    planned = predict_file(source, tmp_path / "out.parquet", settings, dry_run=True, champion=champion)
    assert planned.resumed == 16 and "16 of them are finished" in str(planned)


# What cannot be done is refused in a sentence


def test_what_cannot_be_read_is_refused(champion, settings, tmp_path, portfolio, write):
    good = write(portfolio, tmp_path / "good.parquet").read_bytes()
    files = {
        "none.csv": (None, "does not exist"),
        "portfolio.pdf": (b"a,b", r"must end in \.csv"),
        "empty.csv": (b"", "is empty"),
        "head.csv": (csv_of(portfolio[:0]).encode(), "holds no clients"),
        "few.csv": (
            csv_of(portfolio.drop(columns="PAY_0")).encode(),
            "lacks columns that the champion needs: PAY_0",
        ),
        "twice.csv": (
            csv_of(portfolio).replace("branch", "ID", 1).encode(),
            "more than one column of the name ID",
        ),
        "again.csv": (csv_of(portfolio, prediction=1).encode(), "already has columns.*prediction"),
        "cut.csv.gz": (gzip.compress(csv_of(portfolio).encode())[:-20], "cannot be read as CSV"),
        "no.csv.gz": (csv_of(portfolio).encode(), "cannot be read as CSV"),
        "cut.parquet": (good[:-100], "cannot be read as Parquet"),
        "no.xlsx": (b"PK\x03\x04", "cannot be read as a workbook"),
    }
    for name, (content, message) in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            predict_file(tmp_path / name, tmp_path / "out.csv", settings, champion=champion)
        assert not (tmp_path / "out.csv").exists()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder without \.parquet"):
        open_source(tmp_path / "folder")


def test_places_that_cannot_be_written_are_refused(
    champion, settings, tmp_path, portfolio, write, monkeypatch
):
    source = write(portfolio, tmp_path / "in.parquet")
    for target in (source, tmp_path / "in.parquet" / "out.csv"):
        with pytest.raises(ParameterError, match="must lie apart"):
            predict_file(source, target, settings, champion=champion)
    (tmp_path / "mine.parquet").mkdir()
    (tmp_path / "mine.parquet" / "letter.txt").touch()
    with pytest.raises(DataError, match=r"no parts, such as letter\.txt"):
        predict_file(source, tmp_path / "mine.parquet", settings, champion=champion)
    (tmp_path / "file.parquet").touch()
    with pytest.raises(DataError, match="cannot be written"):
        predict_file(source, tmp_path / "file.parquet", settings, champion=champion)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for ending in (".csv", ".xlsx", ".parquet"):
        with pytest.raises(DataError, match="make room on its disk, then run the same command again"):
            predict_file(source, tmp_path / f"full{ending}", settings, champion=champion)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".full")]


def test_a_disk_that_stays_full_is_reported_and_leaves_nothing(
    champion, settings, tmp_path, portfolio, write, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = write(portfolio, tmp_path / "in.parquet")
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(batch._Growing, "drop", full)
    with pytest.raises(DataError, match="make room"):
        predict_file(source, tmp_path / "out.csv", settings, champion=champion)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["in.parquet"]


@pytest.mark.parametrize(
    ("target", "rejects"),
    [
        ("s3://bank/o.v2", "s3://bank/o.v2.rejects.parquet"),
        ("s3://bank/o.v2/", "s3://bank/o.v2.rejects.parquet"),
        ("s3://bank/o.PARQUET", "s3://bank/o.rejects.parquet"),
        (Path("portfolio.2026.10"), Path("portfolio.2026.10.rejects.parquet")),
        (Path("portfolio.2026.11.parquet"), Path("portfolio.2026.11.rejects.parquet")),
        (Path("a.b/c.csv.gz"), Path("a.b/c.rejects.csv.gz")),
        (Path("folder"), Path("folder.rejects.parquet")),
    ],
)
def test_rejects_lie_beside_their_own_output(target, rejects, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("portfolio.2026.10", "folder"):
        Path(folder).mkdir()
    assert batch.name_rejects(target) == rejects


def test_the_rejects_do_not_replace_the_input(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio, tmp_path / "out.rejects.csv")
    (tmp_path / "link.csv").symlink_to(source)
    for target in (tmp_path / "out.csv", tmp_path / "link.csv"):
        with pytest.raises(ParameterError, match="must lie apart"):
            predict_file(source, target, settings, champion=champion)
    assert len(read_answers(source)) == 50


def test_a_file_that_was_moved_is_the_same_input(champion, settings, tmp_path, portfolio, write):
    source, target = write(portfolio, tmp_path / "in.parquet"), tmp_path / "out.parquet"
    first = predict_file(source, target, settings, champion=champion)
    moved = source.rename(tmp_path / "moved.parquet")
    again = predict_file(moved, target, settings, champion=champion)
    assert (again.resumed, again.entry) == (50, first.entry)


def test_a_file_that_changes_before_it_is_read_is_noticed(
    champion, settings, tmp_path, portfolio, write, monkeypatch
):
    source, opened = write(portfolio, tmp_path / "in.csv"), batch.open_source

    def change(*given: object) -> object:
        found = opened(*given)
        write(portfolio.assign(PAY_0=9), source)
        return found

    monkeypatch.setattr(batch, "open_source", change)
    with pytest.raises(DataError, match="was changed while it was read"):
        predict_file(source, tmp_path / "out.csv", settings, champion=champion)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("place", ["near", "far"])
def test_parts_that_another_removed_meanwhile_are_no_fault(place, tmp_path):
    folder = batch._open_folder(tmp_path / "parts" if place == "near" else "memory://removed/parts")
    folder.write("part-000000-0123456789abcdef.parquet", b"x")
    folder.remove(["part-000000-0123456789abcdef.parquet"] * 2)
    folder.remove([])
    assert folder.names() == [] and folder.read("part-000000-0123456789abcdef.parquet") == b""


def test_a_file_that_changes_while_it_is_read_is_noticed(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio, tmp_path / "in.csv")
    with pytest.raises(DataError, match="was changed while it was read"):
        predict_file(
            source,
            tmp_path / "out.csv",
            settings,
            notify=lambda *_: source.write_text("other"),
            champion=champion,
        )
    assert not (tmp_path / "out.csv").exists()


def test_a_spreadsheet_has_a_limit(champion, settings, tmp_path, portfolio, write, monkeypatch):
    monkeypatch.setattr(writers, "SHEET_ROWS", 49)
    with pytest.raises(
        DataError, match=r"a sheet holds 49 rows and no more: choose an output that ends in \.csv"
    ):
        predict_file(
            write(portfolio, tmp_path / "in.csv"), tmp_path / "out.xlsx", settings, champion=champion
        )


def test_empty_rows_of_a_spreadsheet_are_passed_over_and_counted(champion, settings, tmp_path, portfolio):
    wide = portfolio.astype(object)
    wide.loc[10] = None
    wide.loc[12, "PAY_0"] = "late"
    wide.to_excel(tmp_path / "in.xlsx", index=False)
    done = predict_file(tmp_path / "in.xlsx", tmp_path / "out.csv", settings, champion=champion)
    assert (done.read, done.rejected) == (49, 1)
    assert pd.read_csv(done.rejects)["input_row"].tolist() == [14]


def test_without_a_champion_the_error_names_the_command_that_makes_one(settings, tmp_path, portfolio, write):
    with pytest.raises(RumosError, match="rumos run"):
        predict_file(write(portfolio, tmp_path / "in.csv"), tmp_path / "out.csv", settings)


def test_columns_that_csv_cannot_hold(champion, settings, tmp_path, portfolio):
    portfolio.assign(history=[[1, 2]] * 50).to_parquet(tmp_path / "in.parquet", index=False)
    with pytest.raises(DataError, match=r"choose an output that ends in \.parquet"):
        predict_file(tmp_path / "in.parquet", tmp_path / "out.csv", settings, champion=champion)


def test_the_manifest_names_what_the_output_is_made_of(champion, settings, tmp_path, portfolio, write):
    done = predict_file(
        write(portfolio, tmp_path / "in.parquet"), tmp_path / "out.parquet", settings, champion=champion
    )
    first, cases, chunk, last = map(json.loads, (done.output / "_manifest.jsonl").read_text().splitlines())
    assert first["input"] == batch.digest_file(tmp_path / "in.parquet")
    assert first["model"] == {"version": 3, "digest": champion.digest}
    assert (chunk["totals"]["scored"], last) == (50, {"entry": done.entry})
    assert cases == {"ids": done.segment}
