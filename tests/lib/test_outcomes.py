"Outcomes: nothing untrue is put on record, nothing twice, and nothing is lost."

import tracemalloc
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pytest

from rumos_bank.ground.errors import DataError, ParameterError
from rumos_bank.ground.settings import AuditSettings, DataSettings, LedgerSettings, Settings, StoreSettings
from rumos_bank.monitoring.outcomes import add_outcomes, read_outcomes
from rumos_bank.serving.case_parts import Shared, make_ids, make_part
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.decision_log import CaseFolder, DecisionLog, read_log


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(
        store=StoreSettings(path=tmp_path / "store"),
        ledger=LedgerSettings(folder=tmp_path / "keys"),
        data=DataSettings(cache=str(tmp_path / "cache")),
        audit=AuditSettings(),
    )


def make_case(prediction: int = 0, **about: str) -> dict:
    "The entry of a decision."
    answer = {
        "prediction": prediction,
        "probability": 0.1 + 0.3 * prediction,
        "refer": False,
        "model_version": 1,
    }
    return {"kind": "decision", "caller": "", "answer": answer, "model": {"version": 1}, **about}


@pytest.fixture
def ids(settings) -> list[str]:
    "Three decisions, and the entry of a batch."
    log = DecisionLog(settings)
    made = log.append_many([make_case()] * 3 + [{"kind": "batch"}])
    log.close()
    return made


def write(path: Path, rows: list[tuple[object, object]]) -> Path:
    frame = pd.DataFrame(rows, columns=["decision", "defaulted"])
    writers = {".csv": "to_csv", ".gz": "to_csv", ".parquet": "to_parquet", ".xlsx": "to_excel"}
    getattr(frame, writers[path.suffix])(path, index=False)
    return path


@pytest.mark.parametrize("name", ["o.csv", "o.csv.gz", "o.parquet", "o.xlsx"])
def test_every_kind_of_file_gives_the_same(settings, ids, tmp_path, name):
    added = add_outcomes(settings, write(tmp_path / name, [(ids[0], 1), (ids[2], 0)]))
    assert (added.added, added.known, added.rejected) == (2, 0, ())
    assert read_outcomes(settings) == {ids[0]: 1, ids[2]: 0}


def test_the_same_file_again_writes_nothing(settings, ids, tmp_path):
    path = write(tmp_path / "o.csv", [(ids[0], 1), (ids[2], 0)])
    add_outcomes(settings, path)
    before = {file: file.read_bytes() for file in settings.audit_path.iterdir()}
    again = add_outcomes(settings, path)
    assert (again.added, again.known, again.rejected) == (0, 2, ())
    assert {file: file.read_bytes() for file in settings.audit_path.iterdir()} == before


def test_a_file_that_has_grown_adds_only_what_is_new(settings, ids, tmp_path):
    add_outcomes(settings, write(tmp_path / "o.csv", [(ids[0], 1)]))
    added = add_outcomes(settings, write(tmp_path / "o.csv", [(ids[0], 1), (ids[1], 0)]))
    assert (added.added, added.known) == (1, 1)
    assert len(list(read_log(settings.audit_path, kind="outcome"))) == 2


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (2, "'2'"),
        (-1, "'-1'"),
        (0.5, "'0.5'"),
        ("yes", "'yes'"),
        ("", "an empty cell"),
        (None, "an empty cell"),
        (True, "'True'"),
    ],
)
def test_only_0_and_1_are_outcomes(settings, ids, tmp_path, value, got):
    added = add_outcomes(settings, write(tmp_path / "o.csv", [(ids[0], value), (ids[1], 1)]))
    assert added.rejected == ((2, f"defaulted must be 0 (paid) or 1 (defaulted), got {got}"),)
    assert read_outcomes(settings) == {ids[1]: 1}


def test_two_lines_that_contradict_each_other_are_both_rejected_and_a_repeated_one_counts_once(
    settings, ids, tmp_path
):
    rows = [(ids[0], 1), (ids[1], 0), (ids[0], 0), (ids[1], 0)]
    added = add_outcomes(settings, write(tmp_path / "o.csv", rows))
    assert [number for number, _ in added.rejected] == [2, 4, 5]
    assert (
        "row 4 has the other outcome" in added.rejected[0][1]
        and "row 3 has the same outcome" in added.rejected[2][1]
    )
    assert read_outcomes(settings) == {ids[1]: 0}


def test_what_is_on_record_stays(settings, ids, tmp_path):
    add_outcomes(settings, write(tmp_path / "o.csv", [(ids[0], 1)]))
    added = add_outcomes(settings, write(tmp_path / "o.csv", [(ids[0], 0)]))
    assert added.rejected == ((2, "the outcome on record is 1, and it stays"),)
    assert read_outcomes(settings) == {ids[0]: 1}


def test_an_unknown_id_and_an_id_of_something_else_are_reported(settings, ids, tmp_path):
    rows = [(ids[0][:-1] + "f", 1), (ids[3], 1), ("", 0), ("../../etc", 0)]
    added = add_outcomes(settings, write(tmp_path / "o.csv", rows))
    assert [number for number, _ in added.rejected] == [2, 3, 4, 5] and not read_outcomes(settings)
    assert all("there is no decision" in why for _, why in added.rejected)


def test_a_line_with_another_number_of_cells_is_reported(settings, ids, tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(f"decision,defaulted\n{ids[0]},1\n{ids[1]}\n{ids[2]},0\n")
    added = add_outcomes(settings, path)
    assert added.rejected == ((3, f"has 1 cells and the heading 2: {ids[1]}"),)
    assert set(read_outcomes(settings)) == {ids[0], ids[2]}


def test_a_file_without_the_two_columns_is_an_error_and_nothing_is_written(settings, ids, tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(f"decision,paid\n{ids[0]},1\n")
    with pytest.raises(DataError, match="lacks columns that an outcome needs: defaulted"):
        add_outcomes(settings, path)
    assert not read_outcomes(settings)


def test_columns_beside_the_two_are_left_alone(settings, ids, tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(f"prediction,decision,branch,defaulted\n0,{ids[0]},7,1\n")
    assert add_outcomes(settings, path).added == 1


def write_rows(path: Path, ids: list[str], separator: str = ",", head: str = "decision,defaulted") -> Path:
    rows = [head, f"{ids[0]},1", f"{ids[2]},0"]
    path.write_text("".join(row.replace(",", separator) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("head", ["decision,defaulted", "DECISION,DEFAULTED", " Decision , Defaulted "])
def test_any_separator_and_any_case_of_the_heading(settings, ids, tmp_path, separator, head):
    added = add_outcomes(settings, write_rows(tmp_path / "o.csv", ids, separator, head))
    assert (added.added, added.rejected) == (2, ())
    assert read_outcomes(settings) == {ids[0]: 1, ids[2]: 0}


def test_decimals_are_whole_numbers_and_the_way_of_reading_is_reported(settings, ids, tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(f"Outcomes of June;;\nNr;DECISION;Defaulted\n1;{ids[0]};1,0\n2;{ids[2]};0,0\n")
    added = add_outcomes(settings, path)
    assert read_outcomes(settings) == {ids[0]: 1, ids[2]: 0}
    assert "semicolons between cells; heading in row 2; columns by other names" in added.notes
    assert "decimal comma in Defaulted" in added.notes


def test_a_workbook_of_decimals_with_the_row_of_the_program(settings, ids, tmp_path):
    frame = pd.DataFrame({"Branch": 7, "DECISION": [ids[0], ids[1], ids[2]], "Defaulted": [1.0, 0.5, 0.0]})
    frame.to_excel(tmp_path / "o.xlsx", index=False, startrow=2)
    added = add_outcomes(settings, tmp_path / "o.xlsx")
    assert [row for row, _ in added.rejected] == [5] and read_outcomes(settings) == {ids[0]: 1, ids[2]: 0}


def test_a_quotation_mark_that_is_never_closed_refuses_the_file(settings, ids, tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(f'decision,defaulted,note\n{ids[0]},1,ok\n{ids[1]},0,"call back\n{ids[2]},0,ok\n')
    with pytest.raises(DataError, match=r"o\.csv: row 3 \(line 3\) has a quotation mark .* never closed"):
        add_outcomes(settings, path)
    assert not read_outcomes(settings) and len(list(read_log(settings.audit_path))) == 4


def test_rows_that_are_too_long_are_named_and_never_shifted(settings, ids, tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(f"defaulted,decision\n1,{ids[0]}\n0,1,{ids[1]}\n0,{ids[2]}\n")
    added = add_outcomes(settings, path)
    assert added.rejected == ((3, f"has 3 cells and the heading 2: 0,1,{ids[1]}"),)
    assert read_outcomes(settings) == {ids[0]: 1, ids[2]: 0}


def test_two_columns_that_mean_the_same_are_refused(settings, ids, tmp_path):
    path = write_rows(tmp_path / "o.csv", ids, head="decision,defaulted")
    path.write_text(path.read_text().replace("decision,", "decision,Decision,", 1).replace(",1", ",x,1"))
    with pytest.raises(DataError, match="the columns decision and Decision mean the same, decision"):
        add_outcomes(settings, path)


@pytest.mark.parametrize("name", ["o.jsonl", "o.feather", "o.tsv", "o.ods"])
def test_other_formats(settings, ids, tmp_path, name):
    frame = pd.DataFrame({"decision": [ids[0], ids[2]], "defaulted": [1, 0]})
    content = {
        "o.jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
        "o.feather": frame.to_feather,
        "o.tsv": lambda path: frame.to_csv(path, index=False, sep="\t"),
        "o.ods": lambda path: frame.to_excel(path, index=False, engine="odf"),
    }
    content[name](tmp_path / name)
    assert add_outcomes(settings, tmp_path / name).added == 2
    assert read_outcomes(settings) == {ids[0]: 1, ids[2]: 0}


def test_json_is_refused_by_name(settings, ids, tmp_path):
    (tmp_path / "o.json").write_text("[]")
    with pytest.raises(DataError, match="is JSON, one value for the whole file"):
        add_outcomes(settings, tmp_path / "o.json")


# Cases of files, references, and many lines


def decide_file(
    settings: Settings, segment: str, probability: list[float], references: list[str] = ()
) -> list[str]:
    "Put the cases of a file on record, as a batch does; their ids."
    log, n = DecisionLog(settings), len(probability)
    shared = Shared(segment, "", "", "file", {"version": 1}, 0.25, settings.costs.model_dump())
    hidden = [each.get("reference", "") for each in log.describe(references, "file")]
    part = make_part(shared, np.arange(n), {}, np.array(probability), np.zeros(n, bool), hidden)
    CaseFolder(log, shared).write(0, *part)
    log.close()
    return make_ids(segment, 0, n)


def test_cases_of_a_file_by_the_ids_of_its_output(settings, ids, tmp_path):
    "On the old code: there is no decision."
    made = decide_file(settings, "20051001-0a1b2c3d", [0.1, 0.1, 0.4])
    frame = pd.DataFrame({"LIMIT_BAL": 1, "decision_id": [*made, ids[0], made[0][:-1] + "9"], "defaulted": 1})
    frame.to_csv(tmp_path / "o.csv", index=False)
    added = add_outcomes(settings, tmp_path / "o.csv")
    assert (added.added, added.faults, added.aside) == (4, 1, 1)
    assert added.rejected == ((6, f"there is no decision '{made[0][:-1]}9' in the log"),)
    assert read_outcomes(settings) == dict.fromkeys([*made, ids[0]], 1)
    assert "1 outcome of a refused client is set aside: they had no credit to repay" in str(added)
    again = add_outcomes(settings, tmp_path / "o.csv")
    assert (again.added, again.known, again.aside) == (0, 4, 1)


def test_what_is_set_aside_follows_the_final_decision(settings, tmp_path):
    made = decide_file(settings, "20051001-0a1b2c3d", [0.1, 0.4])
    log = DecisionLog(settings)
    for each, prediction in zip(made, (1, 0)):
        record_override(settings, log, each, prediction, "A. Officer", "known to the branch for years")
    log.close()
    assert add_outcomes(settings, write(tmp_path / "o.csv", [(made[1], 0)])).aside == 0
    assert add_outcomes(settings, write(tmp_path / "o.csv", [(made[0], 0)])).aside == 1


def test_a_reference_names_exactly_one_case_of_the_days(settings, tmp_path):
    first = decide_file(settings, "20051001-0a1b2c3d", [0.1] * 3, ["4711-A", "4711-B", ""])
    second = decide_file(settings, "20051101-0a1b2c3d", [0.1] * 2, ["4711-A", "4711-C"])
    log = DecisionLog(settings)
    (about,) = log.describe(["4711-D"], "api")
    alone = log.append(make_case(**about))
    log.close()
    path = tmp_path / "o.csv"
    path.write_text("reference,defaulted\n4711-A,1\n4711-B,0\n4711-C,1\n4711-D,1\n4712,0\n,0\n")
    added = add_outcomes(settings, path)
    assert read_outcomes(settings) == {first[1]: 0, second[1]: 1, alone: 1}
    assert added.rejected[0] == (
        2,
        "the reference '4711-A' names 2 cases of these days: give the id, in a column decision",
    )
    assert added.rejected[1] == (6, "no case of these days has the reference '4712'")
    assert added.rejected[2][0] == 7 and "1 to 64 printable characters" in added.rejected[2][1]
    october = add_outcomes(settings, path, first="20051001", last="20051031")
    assert (october.added, october.known) == (1, 1) and read_outcomes(settings)[first[0]] == 1
    with pytest.raises(ParameterError, match="YYYYMMDD"):
        add_outcomes(settings, path, first="October")


def test_a_reference_that_is_another_clients_rejects_its_line(settings, tmp_path):
    "On the old code the id counted alone: an outcome of one client was recorded for another."
    made = decide_file(settings, "20051001-0a1b2c3d", [0.1] * 4, ["4711-A", "4712", "", "4713"])
    log = DecisionLog(settings)
    (about,) = log.describe(["4711-D"], "api")
    alone, plain = log.append_many([make_case(**about), make_case()])
    log.close()
    rows = [
        (made[0], 1, "4711-A"), (made[1], 0, "4711-A"), (made[2], 1, "4711-A"), (made[3], 0, None),
        (alone, 1, "4711-A"), (alone, 0, " 4711-D "), (plain, 1, "x" * 65), (made[1], 1, "4712"), (made[3], 1, "x" * 65),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["Decision", "defaulted", "Reference"])
    frame.to_csv(tmp_path / "o.csv", index=False)
    added = add_outcomes(settings, tmp_path / "o.csv")
    assert added.rejected == tuple(
        (row, f"the reference is not that of decision '{made_}': correct one of them")
        for row, made_ in ((3, made[1]), (6, alone), (10, made[3]))
    )
    assert read_outcomes(settings) == {made[0]: 1, made[2]: 1, made[3]: 0, alone: 0, plain: 1, made[1]: 1}
    frame.rename(columns={"Decision": "decision_id"}).to_parquet(tmp_path / "o.parquet", index=False)
    again = add_outcomes(settings, tmp_path / "o.parquet")
    assert (again.added, again.known, again.faults) == (0, 6, 3)


def test_a_reference_beside_the_id_needs_no_key_where_no_case_has_one(settings, ids, tmp_path):
    (tmp_path / "o.csv").write_text(f"decision,reference,defaulted\n{ids[0]},4711,1\n")
    assert add_outcomes(settings, tmp_path / "o.csv").added == 1
    assert not settings.ledger_path.exists()


def test_numbers_of_a_workbook_are_the_references_that_a_file_of_clients_had(settings, tmp_path):
    "On the old code 4711.0 was looked up as it is, and found nothing."
    made = decide_file(settings, "20051001-0a1b2c3d", [0.1] * 3, ["4711", "4712", ""])
    frame = pd.DataFrame({"reference": [4711.0, 4712.5, None], "defaulted": [1, 0, 0]})
    frame.to_parquet(tmp_path / "o.parquet", index=False)
    added = add_outcomes(settings, tmp_path / "o.parquet")
    assert read_outcomes(settings) == {made[0]: 1} and "format the column as text" in added.rejected[0][1]


def test_only_the_first_thousand_faults_are_named_and_all_are_counted(settings, ids, tmp_path):
    rows = [(f"none-{number}", 0) for number in range(1500)] + [(ids[0], 1)]
    added = add_outcomes(settings, write(tmp_path / "o.parquet", rows))
    assert (added.added, added.faults, len(added.rejected)) == (1, 1500, 1000)
    assert [row for row, _ in added.rejected][:2] == [2, 3] or added.rejected[0][0] == 1
    assert str(added).endswith("  and 500 more")


def test_time_and_memory_grow_no_faster_than_the_lines(settings, tmp_path):
    """One id in every line was quadratic: ten times the lines took a hundred times as long.

    A line may take ten times the work and less than 200 bytes; it took 4,800.
    """
    made = decide_file(settings, "20051001-0a1b2c3d", [0.1] * 20_000)
    took = {}
    for lines in (2_000, 20_000):
        for name, ids in (("same", [made[0]] * lines), ("other", made[:lines])):
            path = tmp_path / f"{name}.parquet"
            pd.DataFrame({"decision": ids, "defaulted": 1}).to_parquet(path, row_group_size=1000)
            begin = perf_counter()
            added = add_outcomes(settings, path)
            took[name, lines] = perf_counter() - begin
            assert added.added + added.known + added.faults == lines
    assert took["same", 20_000] < 3 * took["other", 20_000] + 1
    tracemalloc.start()
    add_outcomes(settings, path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000 * 800 + 5e6
