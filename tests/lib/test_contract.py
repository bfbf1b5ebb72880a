"The contract of a client: every rule, all violations at once, and a fingerprint that sees every value."

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumos_bank.data.contract import (
    CLIENT_COLUMNS,
    EXAMPLE_CLIENT,
    FIELDS,
    ID,
    LATE_CLIENT,
    TARGET,
    check_client,
    find_name,
    find_violations,
    fingerprint,
    parse_numbers,
    validate_clients,
)
from rumos_bank.ground.errors import DataError


def frame(n: int = 2) -> pd.DataFrame:
    return pd.DataFrame([EXAMPLE_CLIENT] * n)


def labelled(n: int = 3) -> pd.DataFrame:
    return frame(n).assign(**{ID: range(1, n + 1), TARGET: 0})


def with_value(column: str, value: object, row: int = 1) -> pd.DataFrame:
    "Two clients, one of them with this value, whatever its type."
    values: list[object] = [EXAMPLE_CLIENT[column]] * 2
    values[row] = value
    return frame().assign(**{column: pd.Series(values, dtype=object)})


@st.composite
def clients(draw) -> pd.DataFrame:
    "One to four clients, anywhere within the contract."
    rows = st.tuples(*(st.integers(field.low, field.high) for field in FIELDS))
    return pd.DataFrame(draw(st.lists(rows, min_size=1, max_size=4)), columns=list(CLIENT_COLUMNS))


def test_the_two_examples_keep_the_contract():
    assert find_violations(pd.DataFrame([EXAMPLE_CLIENT, LATE_CLIENT])).empty


@settings(max_examples=25, deadline=None)
@given(clients())
def test_what_lies_within_the_ranges_is_valid(valid):
    pd.testing.assert_frame_equal(validate_clients(valid), valid.astype("int64"))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_the_edges_of_every_field(field):
    for inside in (field.low, field.high):
        assert find_violations(with_value(field.name, inside)).empty
    for outside in (field.low - 1, field.high + 1):
        found = find_violations(with_value(field.name, outside))
        assert found[["row", "column", "value"]].to_numpy().tolist() == [[1, field.name, outside]]
        assert ("one of the codes" if field.codes else "between") in found["rule"][0]


NO_NUMBERS = ["30000", "", True, False, None, np.nan, np.inf, -np.inf, 30000.5, "abc", [1], 1 + 2j]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("column", ["LIMIT_BAL", "PAY_AMT6"])
def test_what_is_no_whole_number_is_refused(column, value):
    found = find_violations(with_value(column, value))
    assert found[["row", "column", "rule"]].to_numpy().tolist() == [[1, column, "a whole number"]]


@pytest.mark.parametrize("value", [30000, 30000.0, np.int32(30000), np.float32(30000), 3e4], ids=repr)
def test_whole_numbers_of_any_type_are_fine(value):
    valid = validate_clients(with_value("LIMIT_BAL", value))
    assert valid["LIMIT_BAL"].tolist() == [30000, 30000] and set(valid.dtypes) == {np.dtype("int64")}


@pytest.mark.parametrize("column", [[True, False], ["1", "2"], [np.nan, np.nan]], ids=repr)
def test_a_whole_column_of_another_type_is_refused(column):
    found = find_violations(frame().assign(SEX=column))
    assert found["row"].tolist() == [0, 1] and set(found["column"]) == {"SEX"}


@pytest.mark.parametrize("column", CLIENT_COLUMNS)
def test_every_field_is_needed(column):
    with pytest.raises(DataError, match=f"1 violation.*\n  {column}: there must be a column of this name"):
        validate_clients(frame().drop(columns=column))


def test_all_violations_at_once():
    bad = frame(3).assign(AGE=[17, 25, 121], SEX=[1, 3, 1], PAY_AMT1=[-1, 0, 0.5]).drop(columns="PAY_6")
    with pytest.raises(DataError) as caught:
        validate_clients(bad)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("6 violations") and len(lines) == 7
    for part in ("row 0: AGE", "row 2: AGE", "row 1: SEX", "row 0: PAY_AMT1", "row 2: PAY_AMT1", "PAY_6: "):
        assert sum(part in line for line in lines) == 1, part


def test_a_long_list_is_cut_and_counted():
    with pytest.raises(DataError) as caught:
        validate_clients(frame(33).assign(AGE=5))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("33 violations") and lines[-1] == "  … and 13 more" and len(lines) == 22


def test_rows_are_named_by_the_label_they_have():
    bad = frame().set_axis(["anna", "ben"]).assign(AGE=[25, 5])
    with pytest.raises(DataError, match="row ben: AGE must be between 18 and 120 years, got 5"):
        validate_clients(bad)


def test_an_id_occurs_once():
    found = find_violations(frame(3).assign(**{ID: [7, 8, 7]}))
    assert set(found["rule"]) == {"different in every row"} and set(found["value"]) == {7}


def test_an_id_is_a_whole_number():
    assert find_violations(frame(2).assign(**{ID: [1, 2.5]}))["column"].tolist() == [ID]


@pytest.mark.parametrize("value", [1e30, -1e30, 10**30, 10**400, 10**18 + 10**17], ids=repr)
def test_an_id_that_no_whole_number_holds_is_refused(value):
    odd = frame(2).assign(**{ID: pd.Series([1, value], dtype=object)})
    assert find_violations(odd)["row"].tolist() == [1]
    if abs(value) < 10**400:
        with pytest.raises(DataError, match="row 1: ID must be a number of at most 18 digits, got"):
            validate_clients(odd)


def test_a_long_id_is_kept_to_its_last_digit():
    ids = [10**18 - 1, 10**18 - 2, 1 - 10**18]
    assert validate_clients(frame(3).assign(**{ID: ids}))[ID].tolist() == ids


def test_an_id_may_be_left_out_and_is_kept_where_it_is():
    assert ID not in validate_clients(frame())
    assert validate_clients(labelled(), labelled=True)[ID].tolist() == [1, 2, 3]


@pytest.mark.parametrize("value", [2, -1, 0.5, "1", None])
def test_the_target_is_0_or_1(value):
    bad = labelled().assign(**{TARGET: pd.Series([0, 1, value], dtype=object)})
    found = find_violations(bad, labelled=True)
    assert found["row"].tolist() == [2] and found["column"].tolist() == [TARGET]


def test_the_target_is_needed_only_where_it_is_asked_for():
    assert find_violations(frame()).empty
    assert find_violations(frame(), labelled=True)["column"].tolist() == [TARGET]


@pytest.mark.parametrize("value", ["unknown", None, 0.5, 1])
def test_a_target_that_is_not_asked_for_is_left_out(value):
    assert list(validate_clients(frame().assign(**{TARGET: value}))) == list(CLIENT_COLUMNS)


def test_a_column_that_is_not_asked_for_may_be_left_out_but_is_checked():
    asked = [name for name in CLIENT_COLUMNS if name not in ("SEX", "AGE")]
    assert list(validate_clients(frame().drop(columns=["SEX", "AGE"]), asked).columns) == asked
    assert find_violations(frame().drop(columns="SEX").assign(AGE=5), asked)["column"].tolist() == [
        "AGE",
        "AGE",
    ]


def test_unknown_columns_are_left_out_and_the_order_is_canonical():
    mixed = labelled().assign(note="x").iloc[:, ::-1]
    assert list(validate_clients(mixed, labelled=True).columns) == [ID, *CLIENT_COLUMNS, TARGET]


def test_no_clients_are_no_violation():
    assert len(validate_clients(frame(0).reindex(columns=list(CLIENT_COLUMNS)))) == 0


def test_the_argument_is_left_alone():
    given_frame = frame().astype(float)
    before = given_frame.copy()
    validate_clients(given_frame)
    pd.testing.assert_frame_equal(given_frame, before)


# one client without a frame

ANYTHING = st.one_of(
    st.integers(-20, 20),
    st.integers(),
    st.floats(),
    st.integers(-(10**7), 10**7).map(float),
    st.sampled_from(
        [*NO_NUMBERS, 10**30, -(10**30), 1e300, -0.0, b"1", {}, (), Decimal(1), Fraction(1), pd.NA]
    ),
    st.sampled_from([int, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64]).map(
        lambda kind: kind(2)
    ),
    st.sampled_from(
        [np.bool_(True), np.complex64(1), np.timedelta64(1, "D"), np.datetime64("2005-09"), np.str_(1)]
    ),
)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(CLIENT_COLUMNS), ANYTHING, min_size=1, max_size=3),
        min_size=1,
        max_size=40,
    )
)
def test_one_client_is_judged_as_a_frame_is(changed):
    asked = [EXAMPLE_CLIENT | values for values in changed]
    columns = {name: pd.Series([client[name] for client in asked], dtype=object) for name in CLIENT_COLUMNS}
    expected: list[set[str]] = [set() for _ in asked]
    for v in find_violations(pd.DataFrame(columns)).itertuples():
        expected[v.row].add(f"  {v.column} must be {v.rule}, got {asked[v.row][v.column]!r}")
    for client, faults in zip(asked, expected):
        if not faults:
            checked = check_client(client)
            assert checked == {name: int(value) for name, value in client.items()}
            assert {type(value) for value in checked.values()} == {int}
            continue
        with pytest.raises(DataError) as caught:
            check_client(client)
        lines = str(caught.value).splitlines()
        assert set(lines[1:]) <= faults  # a frame tells of 1.5 twice: neither whole nor in the range
        assert {line.split()[0] for line in lines[1:]} == {fault.split()[0] for fault in faults}
        assert lines[0].startswith(f"{len(lines) - 1} violations")


@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["10⁴⁰⁰", "−10⁴⁰⁰"])
def test_a_number_that_no_float_holds_is_refused_too(value):
    with pytest.raises(DataError, match=r"1 violations.*\n  LIMIT_BAL must be"):
        check_client(EXAMPLE_CLIENT | {"LIMIT_BAL": value})
    assert find_violations(with_value("LIMIT_BAL", value))["row"].tolist() == [1]  # and not the other client


@pytest.mark.parametrize("column", [[1 + 0j, 2 + 5j], pd.to_timedelta([1, 2], "D")], ids=["complex", "time"])
def test_a_column_of_numbers_that_do_not_lie_on_a_line_is_refused(column):
    assert find_violations(frame().assign(SEX=column))["row"].tolist() == [0, 1]


@given(st.sets(st.sampled_from(CLIENT_COLUMNS)), st.sets(st.sampled_from(CLIENT_COLUMNS)))
def test_one_clients_fields_are_needed_where_they_are_asked_for(given_fields, asked):
    client = {name: EXAMPLE_CLIENT[name] for name in given_fields}
    columns = [name for name in CLIENT_COLUMNS if name in asked]
    if missing := asked - given_fields:
        with pytest.raises(DataError) as caught:
            check_client(client, columns)
        assert {line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]} == missing
    else:
        checked = check_client(client, columns)
        assert checked == client and list(checked) == [
            name for name in CLIENT_COLUMNS if name in given_fields
        ]


def test_what_is_no_field_is_left_alone_and_so_is_the_client():
    client = {"note": object(), **EXAMPLE_CLIENT, TARGET: "?"}
    before = dict(client)
    assert check_client(client) == EXAMPLE_CLIENT and client == before


# other people's tables


@pytest.mark.parametrize(
    "name, known",
    [
        ("pay_1", "PAY_0"),
        (" Pay 0 ", "PAY_0"),
        ("bill.amt1", "BILL_AMT1"),
        ("id", ID),
        ("X1", "X1"),
        (3, "3"),
    ],
)
def test_a_name_is_taken_loosely(name, known):
    assert find_name(name) == known


def test_numbers_are_read_and_the_rest_is_kept():
    assert parse_numbers(pd.Series(["90 000", "1e3 ", "-5"])).tolist() == [90_000, 1000, -5]
    mixed = ["90 000", "", "twelve", None, 4]
    assert parse_numbers(pd.Series(mixed, dtype=object)).tolist()[:3] == [90_000, "", "twelve"]


@settings(max_examples=25, deadline=None)
@given(clients(), st.randoms(use_true_random=False))
def test_the_fingerprint_does_not_depend_on_the_dress(valid, random):
    columns = list(CLIENT_COLUMNS)
    random.shuffle(columns)
    dressed = valid[columns].astype(float).set_axis(range(100, 100 + len(valid)))
    assert fingerprint(validate_clients(dressed)) == fingerprint(validate_clients(valid))


@settings(max_examples=25, deadline=None)
@given(clients(), st.data())
def test_the_fingerprint_sees_every_value(valid, data):
    row = data.draw(st.integers(0, len(valid) - 1))
    column = data.draw(st.integers(0, len(CLIENT_COLUMNS) - 1))
    changed = valid.copy()
    changed.iloc[row, column] += data.draw(st.sampled_from([-1, 1]))
    assert fingerprint(changed) != fingerprint(valid)


def test_the_fingerprint_sees_names_and_order():
    two = pd.DataFrame([EXAMPLE_CLIENT, LATE_CLIENT])
    assert fingerprint(two) != fingerprint(two.iloc[::-1])
    assert fingerprint(two) != fingerprint(two.rename(columns={"AGE": "YEARS"}))
    assert fingerprint(two) != fingerprint(two.iloc[:1])
    swapped = two.rename(columns={"PAY_0": "PAY_2", "PAY_2": "PAY_0"})
    assert fingerprint(two) != fingerprint(swapped)  # equal columns, other names


def test_the_fingerprint_is_the_same_on_every_machine():
    known = "99e2d765"  # sha256 of "int64", the 23 names, and the values as little-endian 64-bit numbers
    assert fingerprint(validate_clients(pd.DataFrame([EXAMPLE_CLIENT]))).startswith(known)
