"The monitor over a store: each decision is judged by what its own model knew, and a window that cannot be judged is not called quiet."

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import Place, learn_from, with_refusals

from rumos_bank.data.contract import ID, TARGET
from rumos_bank.data.places import Selection
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import DataError, ParameterError
from rumos_bank.monitoring.monitor import Monitor, last_watch, watch
from rumos_bank.monitoring.outcomes import add_outcomes
from rumos_bank.serving.batch import predict_file
from rumos_bank.serving.case_parts import Shared, erase_rows, make_ids, make_part
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import (
    CaseFolder,
    DecisionLog,
    blank_line,
    decide_and_record,
    list_folders,
)


def like_training(seed: int, clients: int) -> pd.DataFrame:
    "Fresh synthetic clients with one defaulter to three payers, as the stores' train clients have."
    made = make_synthetic_clients(6 * clients, seed)
    defaulted, paid = made[made[TARGET] == 1], made[made[TARGET] == 0]
    mixed = pd.concat([defaulted[: clients // 4], paid[: clients - clients // 4]])
    return mixed.sample(frac=1, random_state=seed).reset_index(drop=True)


def decide(place: Place, clients: pd.DataFrame) -> list[str]:
    "Decide about these clients one by one, as an interface does; the ids."
    log = DecisionLog(place.settings)
    asked = clients.drop(columns=[ID, TARGET]).to_dict("records")
    recorded = decide_and_record(Champion.load(place.settings), asked, "test", log)
    log.close()
    return [each.id for each in recorded]


DAY, DUE = "20051001", "20051130"  # of decisions, and 60 days later


def age(place: Place, ids: list[str]) -> list[str]:
    "As if what was decided today had been decided on `DAY`; the ids that the decisions have then."
    for path in place.settings.audit_path.glob(f"{ids[0][:8]}-*.jsonl"):
        written = path.read_bytes().replace(f"{ids[0][:8]}-".encode(), f"{DAY}-".encode())
        path.with_name(DAY + path.name[8:]).write_bytes(written)
        path.unlink()
    return [DAY + each[8:] for each in ids]


def decide_file(
    place: Place, clients: pd.DataFrame, folder: Path, name: str = "june", segment: str = ""
) -> list[str]:
    "Decide about these clients as a file; the ids of its output."
    asked = folder / f"{name}.parquet"
    clients.drop(columns=TARGET).to_parquet(asked, index=False)
    done = predict_file(asked, folder / f"{name}.decided.csv", place.settings, segment=segment)
    return pd.read_csv(done.output)["decision_id"].tolist()


def report(place: Place, ids: list[str], defaulted, folder: Path):
    "Record outcomes, as the back office does."
    pd.DataFrame({"decision_id": ids, "defaulted": defaulted}).to_csv(folder / "outcomes.csv", index=False)
    return add_outcomes(place.settings, folder / "outcomes.csv")


def through(seen) -> dict[str, int]:
    return {each.interface: each.clients for each in seen.interfaces}


def alarmed(seen) -> set[str]:
    return {reading.name for reading in seen.readings if reading.alarm}


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    return like_training(5, 400)


def test_a_clean_window_is_quiet_and_a_drift_is_named_with_what_to_do(promoted, clean):
    decide(promoted, clean[:300])
    seen = watch(promoted.settings)
    assert (seen.state, seen.clients, seen.alarms) == ("quiet", 300, ())
    decide(promoted, clean[:300].assign(LIMIT_BAL=1_000, PAY_0=clean["PAY_0"]))
    moved = watch(promoted.settings)
    assert moved.state == "alarm" and "LIMIT_BAL" in alarmed(moved)
    assert "Ask where this field comes from" in "".join(moved.alarms)


def test_too_few_clients_are_not_called_quiet(promoted, clean):
    decide(promoted, clean[:199])
    seen = watch(promoted.settings)
    assert seen.state == "not judged" and not seen.readings
    assert any("199 clients are too few to judge, 200 are needed" in note for note in seen.notes)


def test_an_empty_log_is_not_called_quiet(promoted):
    seen = watch(promoted.settings)
    assert seen.state == "not judged" and "no decisions" in seen.notes[0]


def test_a_champion_without_a_reference_is_not_judged_and_a_note_gives_the_reason(place, clean, monkeypatch):
    monkeypatch.setattr("stores.make_watch_reference", lambda *given: None)
    place.promote(place.log(with_refusals(place.found, 300), key="old"))
    decide(place, clean[:250])
    seen = watch(place.settings)
    assert seen.state == "not judged" and seen.clients == 250
    assert any("before models carried a reference" in note and "rumos run" in note for note in seen.notes)


def test_each_decision_is_judged_by_what_its_own_model_knew(promoted, clean):
    "The second champion learned from clients whose limits are a tenth; for it, such clients are usual."
    decide(promoted, clean[:250])
    small = promoted.data.train.assign(LIMIT_BAL=promoted.data.train["LIMIT_BAL"] // 10)
    test = promoted.data.test.assign(LIMIT_BAL=promoted.data.test["LIMIT_BAL"] // 10)
    other = replace(promoted, data=replace(promoted.data, train=small, test=test))
    other.promote(other.log(with_refusals(learn_from(promoted.found, small), 200), key="small"))
    assert Champion.load(promoted.settings).version == 2
    decide(promoted, clean[:250].assign(LIMIT_BAL=clean["LIMIT_BAL"] // 10))
    seen = watch(promoted.settings)
    assert {reading.version for reading in seen.readings} == {1, 2} and seen.clients == 500
    assert "LIMIT_BAL" not in alarmed(seen)
    decide(promoted, clean[:250])
    assert {(each.version, each.name) for each in watch(promoted.settings).readings if each.alarm} >= {
        (2, "LIMIT_BAL")
    }


def test_outcomes_are_judged_when_they_are_due(promoted, clean, tmp_path):
    settings = promoted.settings
    ids = age(promoted, decide(promoted, clean[:300]))
    champion = Champion.load(settings)
    accepted = champion.decide(clean[:300])["probability"] < champion.threshold
    report(promoted, ids, np.ones(300, int), tmp_path)
    early = watch(settings, DAY, "20051129")
    assert (early.due, early.outcomes, early.state) == (0, 0, "quiet"), "the day before, nothing is due"
    seen = watch(settings, DUE, DUE)
    assert (seen.due, seen.outcomes, alarmed(seen)) == (accepted.sum(), accepted.sum(), {"defaults"})
    assert f"{accepted.sum()} of {accepted.sum()} outcomes that are due are known" in str(seen)
    assert (
        f"{(~accepted).sum()} outcomes of refused clients are set aside: they had no credit to repay"
        in seen.notes
    )
    realised = next(reading for reading in seen.readings if reading.name == "realised")
    assert np.isclose(realised.seen, 3000) and realised.model == realised.seen


def test_outcomes_recorded_long_after_they_were_due_are_judged_in_the_window_of_the_recording(
    promoted, clean, tmp_path
):
    monitor = Monitor(promoted.settings)
    ids = age(promoted, decide(promoted, clean[:300]))
    assert monitor.scan().due == 0
    report(promoted, ids, clean[TARGET][:300], tmp_path)
    assert monitor.scan().due > 200 and Monitor(promoted.settings).scan().outcomes == monitor.scan().outcomes


def test_too_few_known_outcomes_are_not_judged_and_counted(promoted, clean, tmp_path):
    champion = Champion.load(promoted.settings)
    ids = np.array(age(promoted, decide(promoted, clean)))
    accepted = (champion.decide(clean)["probability"] < champion.threshold).to_numpy()
    report(promoted, ids[accepted][20:].tolist(), 1, tmp_path)
    due = int(accepted.sum())
    seen = watch(promoted.settings, DUE, DUE)
    assert (seen.due, seen.outcomes, seen.state) == (due, due - 20, "not judged")
    assert f"{due} outcomes are due, {due - 20} known, 20 missing" in "".join(seen.notes)
    report(promoted, ids[accepted][:20].tolist(), 1, tmp_path)
    assert alarmed(watch(promoted.settings, DUE, DUE)) == {"defaults"}


def test_an_outcome_before_its_day_waits(promoted, clean, tmp_path):
    ids = decide(promoted, clean[:250])
    report(promoted, ids, 1, tmp_path)
    seen = watch(promoted.settings)
    assert (seen.outcomes, seen.due, alarmed(seen)) == (0, 0, set())
    assert any("250 outcomes that were recorded in these days are not due yet" in note for note in seen.notes)


@pytest.mark.parametrize("as_file", [False, True])
def test_the_realised_cost_follows_the_final_decision(promoted, clean, tmp_path, as_file):
    """An officer accepts ten whom the model refused, of whom two default, and refuses ten whom it accepted.

    Both are counted, whether the clients were decided one by one or in a file.
    """
    settings = promoted.settings
    champion = Champion.load(settings)
    decided = (
        decide_file(promoted, clean, tmp_path, segment=f"{DAY}-0a1b2c3d")
        if as_file
        else decide(promoted, clean)
    )
    ids = np.array(decided if as_file else age(promoted, decided))
    refused = (champion.decide(clean)["probability"] >= champion.threshold).to_numpy()
    log, why = DecisionLog(settings), "known to the branch for years"
    for each in ids[refused][:10]:
        record_override(settings, log, each, 0, "A. Officer", why)
    for each in ids[~refused][:10]:
        record_override(settings, log, each, 1, "A. Officer", why)
    log.close()
    defaulted = np.zeros(len(clean), int)
    defaulted[np.flatnonzero(refused)[:2]] = 1
    defaulted[np.flatnonzero(~refused)[:30]] = 1  # the first ten are set aside
    report(promoted, ids.tolist(), defaulted, tmp_path)
    seen = watch(settings, DUE, DUE)
    n = int((~refused).sum())  # ten more, ten fewer
    realised = next(reading for reading in seen.readings if reading.name == "realised")
    assert (seen.due, seen.outcomes, realised.clients) == (n, n, n)
    assert np.isclose(realised.seen, (20 + 2) * 3000 / n)
    assert np.isclose(realised.model, (20 * 3000 + 8 * 1000) / n)
    (one,) = seen.interfaces
    assert one.interface == ("file" if as_file else "library") and np.isclose(one.realised, realised.seen)
    assert one.outcomes == n and np.isclose(one.realised_model, realised.model)


def test_every_interface_is_counted_and_shown_apart(promoted, clean, tmp_path):
    settings = promoted.settings
    log, asked = DecisionLog(settings), clean.drop(columns=[ID, TARGET])
    champion = Champion.load(settings)
    decide_and_record(champion, asked[:50].to_dict("records"), "k", log, interface="api")
    decide_and_record(champion, asked[50:80], "d", log, interface="upload")
    log.close()
    decide_file(promoted, clean[:300], tmp_path)
    seen = watch(settings)
    assert seen.clients == 380 and through(seen) == {"api": 50, "file": 300, "upload": 30}
    assert "380 clients decided: 50 api, 300 file, 30 upload" in str(seen)
    assert seen.readings and not any("have no entry" in note for note in seen.notes)
    by_name = {each.interface: each for each in seen.interfaces}
    refused = champion.decide(clean[:300])["prediction"].mean()
    assert np.isclose(by_name["file"].refused, refused) and by_name["file"].moved


def test_a_file_is_judged_as_if_its_clients_had_been_decided_one_by_one(promoted, clean, tmp_path):
    decide(promoted, clean)
    one_by_one = watch(promoted.settings)
    shutil.rmtree(promoted.settings.audit_path)
    decide_file(promoted, clean, tmp_path)
    pd.testing.assert_frame_equal(watch(promoted.settings).table(), one_by_one.table())


def test_a_drift_in_a_file_raises_an_alarm(promoted, clean, tmp_path):
    "No client came through another interface: on the old code there were no decisions in the window."
    decide_file(promoted, clean.assign(LIMIT_BAL=1_000), tmp_path)
    assert "LIMIT_BAL" in alarmed(watch(promoted.settings))


def test_a_part_is_counted_once_a_folder_that_grows_is_read_on_and_one_taken_back_is_gone(
    promoted, clean, tmp_path
):
    settings, monitor = promoted.settings, Monitor(promoted.settings)
    decide_file(promoted, clean[:250], tmp_path)
    assert monitor.scan().clients == monitor.scan().clients == 250
    (folder,) = list_folders(settings.audit_path)
    shutil.copy(folder / "part-000000.parquet", folder / "part-000001.parquet")
    assert monitor.scan().clients == monitor.scan().clients == Monitor(settings).scan().clients == 500
    shutil.rmtree(folder)
    assert monitor.scan().clients == 0


def test_the_same_clients_in_two_files_are_decided_twice(promoted, clean, tmp_path):
    for name in ("june", "july"):
        decide_file(promoted, clean[:250], tmp_path, name)
    assert watch(promoted.settings).clients == 500


def test_a_run_that_was_killed_is_named(promoted, clean, tmp_path):
    decide_file(promoted, clean[:250], tmp_path)
    for path in promoted.settings.audit_path.glob("*.jsonl"):
        path.unlink()
    seen = watch(promoted.settings)
    assert seen.clients == 250 and any("1 files of clients have no entry" in note for note in seen.notes)


def test_erased_cases_are_counted_without_their_fields_and_a_part_that_cannot_be_read_is_named(
    promoted, clean, tmp_path
):
    "On the old code they vanished: 248 clients."
    decide_file(promoted, clean[:250], tmp_path)
    whole = watch(promoted.settings)
    (folder,) = list_folders(promoted.settings.audit_path)
    part = folder / "part-000000.parquet"
    content, _ = erase_rows(part, [3, 7])
    part.write_bytes(content)
    seen = watch(promoted.settings)
    assert seen.clients == 250 and through(seen) == through(whole)
    before, after = (each.table().set_index("name") for each in (whole, seen))
    assert after.loc["score"].psi == before.loc["score"].psi
    for name in ("refused", "cost"):
        assert after.loc[name].clients == 250 and after.loc[name].seen == before.loc[name].seen
    assert after.loc["PAY_0"].clients == 248
    assert any("the values of 2 clients were erased" in note for note in seen.notes)
    part.write_bytes(content[:1000])
    seen = watch(promoted.settings)
    assert seen.clients == 0 and any("cannot be read" in note and part.name in note for note in seen.notes)


def test_erased_decisions_of_the_log_are_counted_too(promoted, clean):
    decide(promoted, clean[:50])
    whole = watch(promoted.settings)
    (path,) = (
        each for each in promoted.settings.audit_path.glob("*.jsonl") if b'"decision"' in each.read_bytes()
    )
    path.write_bytes(b"".join(map(blank_line, path.read_bytes().splitlines(keepends=True))))
    seen = watch(promoted.settings)
    assert seen.clients == 50 and seen.interfaces[0].cost == whole.interfaces[0].cost
    assert seen.interfaces[0].refused == whole.interfaces[0].refused


def test_counts_outlast_a_restart_and_are_not_trusted_blindly(promoted, clean, tmp_path, monkeypatch):
    monkeypatch.setattr("rumos_bank.monitoring.monitor._KEEP", 1)
    decide(promoted, clean[:100])
    decide_file(promoted, clean[:250], tmp_path)
    blocks: list[int] = []
    first = Monitor(promoted.settings).scan(rest=lambda: blocks.append(1))
    read = len(blocks)
    again = Monitor(promoted.settings).scan(rest=lambda: blocks.append(1))
    assert read >= 2 and len(blocks) == read, "nothing was read again"
    pd.testing.assert_frame_equal(first.table(), again.table())
    assert again.clients == 350 and through(again) == through(first)
    decide(promoted, clean[:50])
    assert Monitor(promoted.settings).scan().clients == 400
    longest = max(promoted.settings.audit_path.glob("*.jsonl"), key=lambda path: path.stat().st_size)
    lines = longest.read_bytes().splitlines(keepends=True)
    longest.write_bytes(b"".join(lines[10:]) + lines[0] * 10)  # as long, with another end
    assert Monitor(promoted.settings).scan(rest=lambda: blocks.append(1)).clients == 400
    assert len(blocks) > read + 1


def test_a_window_holds_its_days_only(promoted, clean):
    decide(promoted, clean[:250])
    today = datetime.now(UTC)
    before = f"{today - timedelta(days=1):%Y%m%d}"
    assert watch(promoted.settings, first=before, last=before).clients == 0
    for path in promoted.settings.audit_path.glob("*.jsonl"):
        path.rename(path.with_name(before + path.name[8:]))
    assert watch(promoted.settings, first=before, last=before).clients == 250
    assert watch(promoted.settings, first=f"{today:%Y%m%d}").clients == 0
    with pytest.raises(ParameterError, match="YYYYMMDD"):
        watch(promoted.settings, first="yesterday")
    with pytest.raises(ParameterError, match="is after the last day"):
        watch(promoted.settings, first="20260102", last="20260101")


def test_a_monitor_that_goes_on_counts_what_a_new_one_counts(promoted, clean, tmp_path):
    settings, monitor = promoted.settings, Monitor(promoted.settings)
    for start in range(0, 400, 100):
        ids = age(promoted, decide(promoted, clean[start : start + 100]))
        pd.DataFrame({"decision": ids, "defaulted": clean[TARGET][start : start + 100]}).to_csv(
            tmp_path / "o.csv", index=False
        )
        add_outcomes(settings, tmp_path / "o.csv")
        seen, fresh = monitor.scan(DAY, DUE), Monitor(settings).scan(DAY, DUE)
        pd.testing.assert_frame_equal(seen.table(), fresh.table())
        assert (seen.outcomes, seen.due) == (fresh.outcomes, fresh.due)
    champion = Champion.load(settings)
    accepted = int((champion.decide(clean)["probability"] < champion.threshold).sum())
    assert (seen.clients, seen.outcomes, seen.due) == (400, accepted, accepted)


def test_a_monitor_reads_what_was_added_and_nothing_twice(promoted, clean):
    monitor, blocks = Monitor(promoted.settings), []
    decide(promoted, clean[:250])
    monitor.scan(rest=lambda: blocks.append(1))
    read = len(blocks)
    monitor.scan(rest=lambda: blocks.append(1))
    assert read >= 1 and len(blocks) == read
    assert monitor.scan().clients == 250


def test_a_torn_line_and_a_foreign_line_in_the_log_are_passed_over(promoted, clean):
    decide(promoted, clean[:250])
    (path,) = promoted.settings.audit_path.glob("*.jsonl")
    path.write_bytes(
        b'{"id": "x", "kind": "outcome", "decision": "gone", "defaulted": 1}\nnot JSON\n'
        + path.read_bytes()
        + b'{"id"'
    )
    assert watch(promoted.settings).clients == 250


def test_a_decision_without_its_input_counts_and_a_foreign_line_is_passed_over(promoted, clean):
    decide(promoted, clean[:250])
    (path,) = promoted.settings.audit_path.glob("*.jsonl")
    first, *others = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(first)
    emptied = [
        json.dumps({**entry, **part}).encode() + b"\n"
        for part in ({"private": {}}, {"model": 3}, {"model": {}})
    ]
    wrong = {"kind": "outcome", "decision": entry["id"], "defaulted": "no"}
    foreign = [b"5\n", b'{"kind": "decision"}\n', b'{"kind": "batch"}\n', json.dumps(wrong).encode() + b"\n"]
    path.write_bytes(b"".join([first, *emptied, *foreign, *others]))
    assert watch(promoted.settings).clients == 251


def test_rows_of_a_file_that_is_run_twice_are_rejected_once(promoted, clean, tmp_path):
    "As a run leaves it that was killed between the log's line and the manifest's."
    rows = clean.assign(PAY_0=clean["PAY_0"].where(clean.index >= 5, 77)).drop(columns=TARGET)
    rows.to_parquet(tmp_path / "in.parquet", index=False)
    done = predict_file(tmp_path / "in.parquet", tmp_path / "out.parquet", promoted.settings)
    manifest = done.output / "_manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    again = predict_file(tmp_path / "in.parquet", tmp_path / "out.parquet", promoted.settings)
    assert again.entry == done.entry and done.rejected == 5
    monitor = Monitor(promoted.settings)
    assert monitor.scan().rejected == monitor.scan().rejected == 5


def test_a_line_that_is_being_written_is_read_when_it_is_whole(promoted, clean):
    decide(promoted, clean[:250])
    (path,) = promoted.settings.audit_path.glob("*.jsonl")
    whole, monitor = path.read_bytes(), Monitor(promoted.settings)
    for seen, written in ((249, whole[:-100]), (249, whole[:-1]), (250, whole)):
        path.write_bytes(written)
        assert monitor.scan().clients == seen


def test_the_last_scan_is_kept_for_others(promoted, clean):
    assert last_watch(promoted.settings) == {}
    decide(promoted, clean[:250])
    watch(promoted.settings, first="20200101")
    assert last_watch(promoted.settings) == {}
    seen = watch(promoted.settings)
    assert last_watch(promoted.settings) == json.loads(json.dumps(seen.to_dict()))
    assert last_watch(promoted.settings)["state"] == "quiet"
    (promoted.settings.audit_path / "watch.json").write_text("{")
    assert last_watch(promoted.settings) == {}


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_of_decided_clients_is_judged_like_the_log(promoted, clean, tmp_path, ending):
    settings = promoted.settings
    decide(promoted, clean)
    of_log = watch(settings)
    asked, decided = tmp_path / "in.csv", tmp_path / f"out{ending}"
    clean.drop(columns=TARGET).to_csv(asked, index=False)
    predict_file(asked, decided, settings)
    of_file = watch(settings, clients=decided)
    pd.testing.assert_frame_equal(of_file.table(), of_log.table())
    assert of_file.clients == 400 and len(of_file.readings) > 20


def test_a_file_that_was_not_decided_is_refused(promoted, clean, tmp_path):
    clean.to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(DataError, match="lacks columns that the monitor needs: probability, model_version"):
        watch(promoted.settings, clients=tmp_path / "in.csv")
    clean[["PAY_0"]].assign(probability=0.5, model_version=1).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(DataError, match="lacks columns that version 1 uses: LIMIT_BAL"):
        watch(promoted.settings, clients=tmp_path / "few.csv")


def test_rows_that_break_the_contract_are_counted_as_rejected(promoted, clean, tmp_path):
    decided = clean.assign(probability=0.3, model_version=1)
    decided.loc[:4, "PAY_0"] = 77
    decided.to_csv(tmp_path / "decided.csv", index=False)
    seen = watch(promoted.settings, clients=tmp_path / "decided.csv")
    assert (seen.clients, seen.rejected) == (395, 5)


@pytest.fixture
def decided(promoted, clean, tmp_path) -> pd.DataFrame:
    "The clients with their decisions, and how the monitor judges them."
    asked = tmp_path / "asked.parquet"
    clean.drop(columns=TARGET).to_parquet(asked, index=False)
    return pd.read_parquet(predict_file(asked, tmp_path / "decided.parquet", promoted.settings).output)


def with_commas(frame: pd.DataFrame) -> str:
    "As a German spreadsheet saves it."
    texts = frame.astype(object).map(
        lambda cell: str(cell).replace(".", ",") if isinstance(cell, float) else cell
    )
    return texts.to_csv(index=False, sep=";", lineterminator="\r\n")


def test_files_of_other_programs_are_judged_alike(promoted, decided, tmp_path):
    usual = watch(promoted.settings, clients=tmp_path / "decided.parquet")
    money = decided.astype({"LIMIT_BAL": float, "PAY_0": float})
    money["BILL_AMT1"] = [
        f"{amount:,.2f}".translate(str.maketrans(".,", ",.")) for amount in money["BILL_AMT1"]
    ]
    (tmp_path / "german.csv").write_text(with_commas(money), encoding="cp1252")
    upper = decided.rename(columns=str.upper)
    upper.to_csv(tmp_path / "upper.csv", index=False)
    decided.astype({"LIMIT_BAL": float, "model_version": float}).to_excel(tmp_path / "d.xlsx", index=False)
    rows = map(json.dumps, decided.to_dict("records"))  # pandas' own rounds to ten digits
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    decided.rename(columns={"PAY_0": "PAY_1"}).to_csv(tmp_path / "d.tsv", index=False, sep="\t")
    for name in ("german.csv", "upper.csv", "d.xlsx", "d.jsonl", "d.tsv"):
        seen = watch(promoted.settings, clients=tmp_path / name)
        assert (seen.first, seen.clients, seen.rejected) == (name, 400, 0), name
        pd.testing.assert_frame_equal(seen.table(), usual.table())
    notes = watch(promoted.settings, clients=tmp_path / "german.csv").notes
    assert notes[-1].startswith("read as CSV; semicolons between cells; lines end with CR LF (Windows)")
    assert "decimal comma in LIMIT_BAL" in notes[-1] and "probability" in notes[-1]


def test_a_sheet_among_others_is_named(promoted, decided, tmp_path):
    with pd.ExcelWriter(tmp_path / "two.xlsx") as book:
        decided[:300].to_excel(book, sheet_name="June", index=False)
        decided[:250].to_excel(book, sheet_name="July", index=False)
    with pytest.raises(DataError, match="June"):
        watch(promoted.settings, clients=tmp_path / "two.xlsx")
    seen = watch(promoted.settings, clients=tmp_path / "two.xlsx", selection=Selection(sheet="July"))
    assert seen.clients == 250


def test_lines_that_are_no_rows_are_rejected_and_the_first_is_named(promoted, decided, tmp_path):
    lines = decided.to_csv(index=False).splitlines()
    lines[5:5] = ["9,9", *(f"0,{line}" for line in lines[5:8])]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    seen = watch(promoted.settings, clients=tmp_path / "d.csv")
    assert (seen.clients, seen.rejected) == (400, 4)
    assert any("4 rejected, the first of them row 6 (line 6) has 2 cells" in note for note in seen.notes)


def test_a_quotation_mark_that_is_never_closed_refuses_the_file(promoted, decided, tmp_path):
    text = decided.assign(note="ok").to_csv(index=False)
    (tmp_path / "d.csv").write_text(text.replace(",ok\n", ',"call back\n', 1))
    with pytest.raises(DataError, match=r"d\.csv: row 2 \(line 2\) has a quotation mark .* never closed"):
        watch(promoted.settings, clients=tmp_path / "d.csv")


@pytest.mark.parametrize("version", ["", "one", "1.5", "inf"])
def test_a_row_without_a_version_is_rejected(version, promoted, decided, tmp_path):
    frame = decided.astype({"model_version": object})
    frame.loc[:2, "model_version"] = version
    frame.to_csv(tmp_path / "d.csv", index=False)
    seen = watch(promoted.settings, clients=tmp_path / "d.csv")
    assert (seen.clients, seen.rejected) == (397, 3)


def test_two_columns_for_one_field_are_refused(promoted, decided, tmp_path):
    decided.assign(PAY_1=0).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match="the columns PAY_0 and PAY_1 mean the same, PAY_0"):
        watch(promoted.settings, clients=tmp_path / "d.csv")


def test_a_changed_reference_is_not_trusted(promoted, clean):
    decide(promoted, clean[:250])
    path = promoted.model / "portable.json"
    path.write_text(path.read_text().replace('"threshold"', '"threshold" '))
    seen = watch(promoted.settings)
    assert seen.state == "not judged" and any("is not what was recorded" in note for note in seen.notes)


# Over time


def write_day(place: Place, number: int, clients: pd.DataFrame, probability: np.ndarray) -> list[str]:
    "Cases of a file that was begun so many days ago; their ids."
    champion, day = Champion.load(place.settings), datetime.now(UTC) - timedelta(days=number)
    segment, log = f"{day:%Y%m%d}-0a1b2c3{champion.version}", DecisionLog(place.settings)
    about = {"version": champion.version, "digest": champion.digest}
    costs = place.settings.costs.model_dump()
    shared = Shared(segment, day.isoformat(), "", "file", about, champion.threshold, costs)
    n, asked = len(probability), clients.drop(columns=[ID, TARGET])
    fields = {name: asked[name].to_numpy()[:n] for name in champion.seen}
    part = make_part(shared, np.arange(n), fields, probability, np.zeros(n, bool))
    CaseFolder(log, shared).write(0, *part)
    log.close()
    return make_ids(segment, 0, n)


@pytest.fixture
def usual(promoted) -> np.ndarray:
    "The probabilities of the fresh clients that the champion's reference holds, 150."
    return Champion.load(promoted.settings).decide(promoted.data.test)["probability"].to_numpy()


def trends_of(seen) -> dict[str, object]:
    return {each.name: each for each in seen.trends}


def write_days(place: Place, clean: pd.DataFrame, risks: list[np.ndarray]) -> list[list[str]]:
    "Days of 300 clients each, the last of them yesterday."
    return [write_day(place, len(risks) - number, clean, risk) for number, risk in enumerate(risks)]


def test_days_are_followed_over_time_and_a_rise_raises_an_alarm(promoted, clean, usual):
    rng = np.random.default_rng(0)
    write_days(promoted, clean, [rng.choice(usual, 300) for _ in range(12)])
    seen = watch(promoted.settings, clients=None)
    risk = trends_of(seen)["risk"]
    assert (risk.steps, risk.clients, risk.alarm) == (12, 3600, "") and "Over time" in str(seen)
    assert "Odds of default a fifth higher are found" in str(risk)
    decide(promoted, clean[:250])
    assert trends_of(watch(promoted.settings))["risk"] == risk, "today is not over"
    shutil.rmtree(promoted.settings.audit_path)
    write_days(
        promoted, clean, [rng.choice(usual, 300) if day < 6 else np.full(300, 0.9) for day in range(12)]
    )
    seen = watch(promoted.settings)
    risk, started = trends_of(seen)["risk"], f"{datetime.now(UTC) - timedelta(6):%Y%m%d}"
    assert risk.alarm == started and risk.first <= risk.since <= started and risk.seen > risk.expected + 0.2
    assert seen.state == "alarm" and any("have moved over time" in alarm for alarm in seen.alarms)
    assert "1 of 1 tests over time" in str(seen)
    later = promoted.settings.watch.model_copy(update={"count_from": started})
    again = trends_of(watch(promoted.settings.model_copy(update={"watch": later})))["risk"]
    assert again.first == started and again.steps == 6


def test_what_was_counted_of_the_days_is_kept_and_not_trusted_blindly(
    promoted, clean, usual, tmp_path, monkeypatch
):
    from rumos_bank.monitoring import monitor

    rng, read = np.random.default_rng(1), []
    real = monitor._count_days
    monkeypatch.setattr(monitor, "_count_days", lambda *given: read.append(given[2]) or real(*given))
    ids = write_days(promoted, clean, [rng.choice(usual, 300) for _ in range(80)])
    first = watch(promoted.settings)
    assert len(read) == 80 and "defaults" not in trends_of(first)
    assert trends_of(watch(promoted.settings)) == trends_of(first) and len(read) == 80, (
        "nothing was read again"
    )
    one = Monitor(promoted.settings)
    assert [one.scan().trends == first.trends for _ in range(3)] == [True] * 3 and len(read) == 80
    mature = [each for of in ids[:10] for each in of]
    report(promoted, mature, (rng.random(len(mature)) < 0.2).astype(int), tmp_path)
    assert one.scan().trends == first.trends, "a service judges once a day"
    seen = watch(promoted.settings)
    assert len(read) == 90 and trends_of(seen)["defaults"].steps >= 5
    for path in promoted.settings.cache_path.glob("monitor/*-days-*"):
        path.write_text("{")
    assert watch(promoted.settings).trends == seen.trends and len(read) == 170


def test_each_version_has_days_of_its_own(promoted, clean, usual):
    write_days(promoted, clean, [usual, usual, usual])
    promoted.promote(promoted.log(with_refusals(promoted.found, 100), key="next"))
    assert Champion.load(promoted.settings).version == 2
    write_day(promoted, 1, clean, np.tile(usual, 2))
    seen = {(each.version, each.name): each.clients for each in watch(promoted.settings).trends}
    expected = {(1, "risk"): 300, (2, "risk"): 300}
    assert seen == expected, "of the first, 150 a day are joined, and the third day waits"


def test_what_a_metric_can_see_stands_beside_it(promoted, clean):
    decide(promoted, clean)
    seen = watch(promoted.settings)
    powers = {each.name: each.power for each in seen.readings}
    assert all(0 <= power <= 1 for power in powers.values()) and powers["LIMIT_BAL"] > 0.01
    decide(promoted, clean.assign(LIMIT_BAL=1_000))
    moved = next(each for each in watch(promoted.settings).readings if each.name == "LIMIT_BAL")
    assert moved.alarm and moved.power > powers["LIMIT_BAL"]
    assert "With 800 clients it catches" in str(
        moved
    ) and "a tenth of the clients are in another cell" in str(moved)


def test_a_champion_from_before_is_judged_by_windows_and_a_note_says_what_is_missing(
    place, clean, monkeypatch
):
    from rumos_bank.monitoring.metrics import make_watch_reference

    def make_older(*given):
        held = make_watch_reference(*given)
        return {name: held[name] for name in ("cells", "counts", "cost", "outcomes")}

    monkeypatch.setattr("stores.make_watch_reference", make_older)
    place.promote(place.log(with_refusals(place.found, 300), key="older"))
    decide(place, clean[:250])
    seen = watch(place.settings)
    assert seen.readings and not seen.trends
    assert any("what tests over time need" in note for note in seen.notes)
