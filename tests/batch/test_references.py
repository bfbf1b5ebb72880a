"The bank's own references of clients, read from files of every kind and kept as hashes."

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portfolios import SEGMENT, read_answers

from rumos_bank.data.contract import CLIENT_COLUMNS
from rumos_bank.governance.references import read_references
from rumos_bank.ground.errors import DataError
from rumos_bank.serving.batch import list_references, predict_file
from rumos_bank.serving.case_parts import erase_rows, find_rows, read_blocks, read_cases
from rumos_bank.serving.decision_log import DecisionLog, decide_table

LONG = "12345678901234567"  # no floating-point number holds it
WRITTEN = ["00012", LONG, "4711-A", "", "José", " 12 ", "Mu\u0308ller", "4711.0"]
MEANT = ["00012", LONG, "4711-A", "", "José", "12", "Müller", "4711.0"]


def find(settings, done, reference: str) -> list[int]:
    "The rows of the first part that have this reference."
    part = settings.audit_path / done.segment / "part-000000.parquet"
    return find_rows(part, read_references(settings).hide(reference))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".xlsx", ".parquet", ".jsonl"])
def test_a_reference_is_kept_as_it_was_written(ending, champion, settings, tmp_path, portfolio, write):
    clients = portfolio[:8].assign(account=WRITTEN)
    source = tmp_path / f"in{ending}"
    if ending == ".jsonl":
        clients.to_json(source, orient="records", lines=True)
    else:
        write(clients, source)
    done = predict_file(source, tmp_path / "out.parquet", settings, champion=champion, references="account")
    assert (done.scored, done.rejected) == (8, 0)
    for row, reference in enumerate(MEANT):
        assert find(settings, done, reference) == ([row] if reference else []), reference
    ids = read_answers(done.output)["decision_id"]
    log, hasher = DecisionLog(settings), read_references(settings)
    known = [log.find(each).get("reference", "") for each in ids]
    assert known == [reference and hasher.hide(reference)[:16] for reference in MEANT]
    for path in settings.audit_path.rglob("*"):
        assert path.is_dir() or not any(
            each.encode() in path.read_bytes() for each in MEANT if len(each) > 3
        ), f"{path} holds a reference in the clear"


def test_numbers_of_a_workbook_are_whole(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio[:3].assign(account=[4711.0, None, 9.5]), tmp_path / "in.xlsx")
    done = predict_file(source, tmp_path / "out.csv", settings, champion=champion, references="account")
    assert find(settings, done, "4711") == [0] and (done.scored, done.rejected) == (2, 1)
    why = "account: a reference is text or a whole number, got 9.5: format the column as text"
    assert why in done.rejects.read_text()
    assert "reference" not in DecisionLog(settings).find(f"{done.segment}-1")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([12345678901234567, 0, -3]), [LONG, "0", "-3"]),
        (pa.array([4711.0, -0.0, 1e15]), ["4711", "0", "1000000000000000"]),
        (pa.array(["4711.00", "-0.00", None]).cast(pa.decimal128(19, 2)), ["4711", "0", ""]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", None, " "], pa.large_string()), ["a", "", ""]),
        (pa.nulls(2), ["", ""]),
    ],
)
def test_every_type_of_column_is_read(values, texts):
    assert list_references(pa.chunked_array([values])) == (texts, {})


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pa.array([True, None]), "True"),
        (pa.array([0, None], pa.date32()), "1970-01-01"),
        (pa.array([0, None], pa.timestamp("us")), "1970-01-01 00:00:00"),
        (pa.array([0, None], pa.time64("us")), "00:00:00"),
        (pa.array([0, None], pa.duration("us")), "0:00:00"),
        (pa.array([12.5, None]), "12.5"),
        (pa.array(["12.50", None]).cast(pa.decimal128(19, 2)), "12.50"),
    ],
)
def test_what_programs_write_in_different_ways_is_no_reference(values, shown):
    "On the old code a truth value was `true`, a moment `1970-01-01 00:00:00.000000`, and 12.50 was 12.5."
    why = f"a reference is text or a whole number, got {shown}: format the column as text"
    assert list_references(pa.chunked_array([values])) == (["", ""], {0: why})


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet", ".jsonl"])
def test_a_client_has_the_same_reference_in_every_kind_of_file_or_none(
    ending, champion, settings, tmp_path, portfolio, write
):
    clients = portfolio[:3].assign(number=[4711, 12, 9], truth=[True, False, True])
    source = tmp_path / f"in{ending}"
    if ending == ".jsonl":
        clients.to_json(source, orient="records", lines=True)
    else:
        write(clients, source)
    done = predict_file(source, tmp_path / "a.csv", settings, champion=champion, references="number")
    assert find(settings, done, "4711") == [0]
    done = predict_file(source, tmp_path / "b.csv", settings, champion=champion, references="truth")
    assert (done.scored, done.rejected) == ((3, 0) if ending == ".csv" else (0, 3))


def test_a_number_that_its_program_rounded_is_no_reference():
    texts, faults = list_references(pa.chunked_array([[1.0, 1e16, float("inf")]]))
    assert texts == ["1", "", ""] and set(faults) == {1, 2} and "keep it as text" in faults[1]
    with pytest.raises(DataError, match="cannot hold references"):
        list_references(pa.chunked_array([[[1], [2]]]))


def test_a_reference_that_is_too_long_rejects_its_row(champion, settings, tmp_path, portfolio, write):
    accounts = ["x" * 64, "x" * 65, "a\x07b", *"cdefg"]
    clients = portfolio[:8].assign(account=accounts)
    clients.loc[1, "PAY_0"] = 44
    done = predict_file(
        write(clients, tmp_path / "in.parquet"),
        tmp_path / "out.parquet",
        settings,
        champion=champion,
        references="account",
    )
    assert (done.scored, done.rejected) == (6, 2)
    rejects = read_answers(done.rejects)
    assert rejects["input_row"].tolist() == [2, 3]
    assert rejects["reasons"].tolist() == [
        "PAY_0 must be one of the codes -2 to 9, got 44; account: a client's reference is 1 to 64 printable characters, "
        "got 65 characters",
        "account: a client's reference is 1 to 64 printable characters, got 'a\\x07b'",
    ]
    assert find(settings, done, "x" * 64) == [0] and find(settings, done, "c") == [1]


def test_a_missing_column_is_named_with_the_one_that_is_meant(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio, tmp_path / "in.csv")
    for wrong, hint in (("Brnch", "did you mean 'branch'"), ("zzz", "it has ID, LIMIT_BAL")):
        with pytest.raises(DataError, match=f"has no column '{wrong}' with references: {hint}"):
            predict_file(source, tmp_path / "out.csv", settings, champion=champion, references=wrong)
    assert not (tmp_path / "out.csv").exists()


def test_another_column_of_references_is_another_batch(champion, settings, tmp_path, portfolio, write):
    source = write(portfolio.assign(other="B"), tmp_path / "in.parquet")
    first = predict_file(source, tmp_path / "out.parquet", settings, champion=champion, references="branch")
    again = predict_file(source, tmp_path / "out.parquet", settings, champion=champion, references="other")
    assert again.resumed == 0 and again.segment != first.segment and len(find(settings, again, "B")) == 50


def test_what_was_erased_does_not_come_back(champion, settings, tmp_path, portfolio, write):
    source, asked = write(portfolio, tmp_path / "in.parquet"), {"champion": champion, "references": "branch"}
    done = predict_file(source, tmp_path / "out.parquet", settings, **asked)
    part = settings.audit_path / done.segment / "part-000000.parquet"
    content, references = erase_rows(part, [0])
    part.write_bytes(content)
    part.with_suffix(".refs").write_bytes(references)
    next((tmp_path / "out.parquet").glob("part-*")).unlink()
    again = predict_file(source, tmp_path / "out.parquet", settings, **asked)
    assert (again.resumed, again.entry) == (0, done.entry) and part.read_bytes() == content
    assert "input" not in DecisionLog(settings).find(f"{done.segment}-0")


def test_ids_that_are_taken_are_refused(champion, other_champion, settings, tmp_path, portfolio, write):
    from rumos_bank.ground.errors import StoreError

    source = write(portfolio, tmp_path / "in.parquet")
    predict_file(source, tmp_path / "one.csv", settings, champion=champion, segment=SEGMENT)
    before = {path: path.read_bytes() for path in settings.audit_path.rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match="holds other decisions"):
        predict_file(source, tmp_path / "two.csv", settings, champion=other_champion, segment=SEGMENT)
    assert {path: path.read_bytes() for path in settings.audit_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "two.csv").exists() and pd.read_csv(tmp_path / "one.csv").shape[0] == 50


# References as they were given


@pytest.fixture
def clear(settings):
    "The bank keeps references readable too."
    return settings.model_copy(update={"audit": settings.audit.model_copy(update={"clear_references": True})})


def test_references_are_kept_as_they_were_given_if_the_bank_wants_it(
    champion, settings, clear, tmp_path, portfolio, write
):
    "On the old code no part held them."
    rows = portfolio[:8].assign(account=WRITTEN)
    rows.loc[2, "PAY_0"] = 44
    source, meant = write(rows, tmp_path / "in.csv"), [*MEANT[:2], *MEANT[3:]]
    done = predict_file(source, tmp_path / "out.csv", clear, champion=champion, references="account")
    part, log = settings.audit_path / done.segment / "part-000000.parquet", DecisionLog(clear)
    ids = [f"{done.segment}-{row:x}" for row in range(7)]
    assert [log.find(each).get("reference_text", "") for each in ids] == meant
    assert [each.get("reference_text", "") for each in read_cases(part)] == meant
    assert all("reference_text" not in log.find(each)["input"] for each in ids)
    assert next(read_blocks(part)).there.all()  # a client without a reference is not one who was erased
    content, references = erase_rows(part, [0])
    part.write_bytes(content)
    part.with_suffix(".refs").write_bytes(references)
    erased, other = log.find(ids[0]), log.find(ids[1])
    assert not {"input", "reference", "reference_text"} & erased.keys() and b"00012" not in content
    assert other["reference_text"] == LONG and other["input"]
    for asked, column in ((settings, "account"), (clear, "")):
        done = predict_file(
            source, tmp_path / f"of-{column}.csv", asked, champion=champion, references=column
        )
        part = settings.audit_path / done.segment / "part-000000.parquet"
        assert "reference_text" not in pq.read_schema(part).names


@pytest.mark.parametrize("as_arrow", [False, True])
def test_references_of_a_table_are_kept_as_they_were_given_too(
    champion, settings, clear, portfolio, as_arrow
):
    table = portfolio[:3][list(CLIENT_COLUMNS)]
    table = pa.Table.from_pandas(table, preserve_index=False) if as_arrow else table
    for asked, expected in ((clear, ["4711-A", None, "00012"]), (settings, [None] * 3)):
        log = DecisionLog(asked)
        made = decide_table(champion, table, "test", log, ["4711-A", None, "00012"]).table
        found = [log.find(str(each)) for each in made["decision_id"]]
        assert [each.get("reference_text") for each in found] == expected
        assert [bool(each.get("reference")) for each in found] == [True, False, True]
