"One client's numbers and whole columns give the same bits, and the formulas are those in words."

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, FIELDS, LATE_CLIENT, STATUSES
from rumos_bank.ground.errors import ParameterError
from rumos_bank.model.features import FEATURES, engineer, feature_matrix, feature_names, is_code

PROTECTED = ("SEX", "MARRIAGE", "AGE", "EDUCATION")
valid_clients = st.tuples(*(st.integers(field.low, field.high) for field in FIELDS))


def draw_clients(n, seed=0):
    "(n, 23) valid clients, uniform over all that the contract allows, extremes and zeros included."
    rng = np.random.default_rng(seed)
    columns = [rng.integers(field.low, field.high, size=n, endpoint=True) for field in FIELDS]
    clients = np.column_stack(columns)
    for position, field in enumerate(FIELDS):
        for value in {field.low, field.high, max(field.low, 0)}:
            clients[rng.random(n) < 0.05, position] = value
    return clients


def make_features(**changes):
    "What a model sees of the example client with some fields changed, by name."
    client = EXAMPLE_CLIENT | changes
    return dict(zip(feature_names(), engineer(list(client.values())), strict=True))


def with_statuses(*statuses):
    return make_features(**dict(zip(STATUSES, statuses, strict=True)))


def same_bits(one, other):
    return np.asarray(one, float).tobytes() == np.asarray(other, float).tobytes()


@given(st.lists(valid_clients, min_size=1, max_size=8))
@settings(deadline=None)
def test_numbers_and_columns_give_the_same_bits(clients):
    matrix = feature_matrix(np.array(clients))
    assert all(same_bits(engineer(list(client)), row) for client, row in zip(clients, matrix, strict=True))


def test_numbers_and_columns_give_the_same_bits_for_5000_clients():
    clients = draw_clients(5000)
    matrix = feature_matrix(clients)
    different = [
        n for n, row in enumerate(matrix) if not same_bits(engineer([int(v) for v in clients[n]]), row)
    ]
    assert different == []


def test_one_row_is_the_same_alone_as_among_many():
    clients = draw_clients(257, seed=1)
    together = feature_matrix(clients)
    alone = np.vstack([feature_matrix(clients[[n]]) for n in range(len(clients))])
    assert same_bits(together, alone)


def test_every_valid_client_has_finite_features():
    assert np.isfinite(feature_matrix(draw_clients(5000, seed=2))).all()
    lows, highs = [field.low for field in FIELDS], [field.high for field in FIELDS]
    assert np.isfinite(feature_matrix([lows, highs])).all()


def test_bounded_features_keep_their_bounds():
    matrix = pd.DataFrame(feature_matrix(draw_clients(5000, seed=3)), columns=feature_names())
    for name in [f"paid_{month}" for month in range(1, 6)] + ["paid_mean", "paid_least"]:
        assert matrix[name].between(0, 2).all()
    assert matrix["paid_all_bills"].between(0, 5).all()
    assert matrix[["late_1", "late_2", "months_since_late", "months_unpaid"]].isin(range(7)).all(axis=None)
    codes = matrix[["months_unused", "months_full", "months_revolving", "late_1"]].sum(axis=1)
    assert (codes == 6).all()  # every month has exactly one kind of status


@given(st.lists(valid_clients, min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_protected_fields_never_change_the_matrix(clients, random):
    frame = pd.DataFrame(clients, columns=CLIENT_COLUMNS)
    others = frame.copy()
    for field in FIELDS:
        if field.name in PROTECTED:
            others[field.name] = [random.randint(field.low, field.high) for _ in clients]
    expected = feature_matrix(frame, PROTECTED)
    assert same_bits(feature_matrix(others, PROTECTED), expected)
    assert same_bits(feature_matrix(frame.drop(columns=list(PROTECTED)), PROTECTED), expected)
    kept = [place for place, name in enumerate(feature_names()) if name not in PROTECTED]
    assert same_bits(feature_matrix(frame)[:, kept], expected)


def test_a_frame_is_read_by_name():
    frame = pd.DataFrame(draw_clients(20), columns=CLIENT_COLUMNS)
    reordered = frame[list(CLIENT_COLUMNS)[::-1]].assign(ID=range(20))
    assert same_bits(feature_matrix(reordered), feature_matrix(frame.to_numpy()))


def test_the_example_client_by_hand():
    seen = make_features()
    expected = {
        "use_1": 8864 / 30000,
        "use_6": 14828 / 30000,
        "use_mean": 71631 / 6 / 30000,
        "use_most": 14828 / 30000,
        "use_slope": (2.5 * (8864 - 14828) + 1.5 * (10062 - 13716) + 0.5 * (11581 - 12580)) / 17.5 / 30000,
        "use_change": (8864 - 10062) / 30000,
        "paid_1": 1500 / 10062,
        "paid_5": 1500 / 14828,
        "paid_least": 1500 / 14828,
        "paid_all_limit": 1 / 3,
        "paid_all_bills": 10000 / 71631,
        "paid_limit_2": 2000 / 30000,
        "months_unpaid": 0,
        "room": 21136,
        "unpaid_limit": 8562 / 30000,
        "bill_growth": -5964 / 30000,
        "payment_least": 1500,
        "payment_most": 2000,
        "payment_spread": (500_000 / 9) ** 0.5 / 30000,
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("statuses", "months"),
    [
        ((0, 0, 0, 0, 0, 0), 6),
        ((1, 1, 1, 1, 1, 1), 6),  # one month late is not two
        ((2, 0, 0, 0, 0, 0), 0),
        ((0, 2, 0, 3, 0, 0), 1),  # the latest counts
        ((-1, 0, 0, 0, 0, 9), 5),
        ((7, 7, 7, 7, 7, 7), 0),
    ],
)
def test_months_since_late(statuses, months):
    assert with_statuses(*statuses)["months_since_late"] == months


def test_statuses_below_1_are_counted_and_not_averaged():
    seen = with_statuses(-2, -1, 0, 1, 2, 3)
    expected = {
        "late_1": 3,
        "late_2": 2,
        "late_most": 3,
        "late_most_3": 0,
        "late_sum": 6,
        "late_recent": (3 * 1 + 2 * 2 + 1 * 3) / 21,
        "late_change": -1,
        "late_trend": -3,
        "months_unused": 1,
        "months_full": 1,
        "months_revolving": 1,
        "months_since_late": 4,
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected)


def test_the_late_client_is_late():
    seen = dict(zip(feature_names(), engineer(list(LATE_CLIENT.values())), strict=True))
    assert (seen["late_1"], seen["late_2"], seen["late_most"], seen["late_sum"]) == (6, 6, 7, 42)
    assert seen["late_recent"] == pytest.approx(7)
    assert seen["late_change"] == seen["late_trend"] == seen["months_revolving"] == 0


def test_no_bill_means_nothing_was_left_unpaid():
    assert make_features(BILL_AMT2=0, PAY_AMT1=0)["paid_1"] == 1
    assert make_features(BILL_AMT2=-500, PAY_AMT1=900)["paid_1"] == 1
    assert make_features(BILL_AMT2=100, PAY_AMT1=0)["paid_1"] == 0
    assert make_features(BILL_AMT2=100, PAY_AMT1=100_000)["paid_1"] == 2


def test_names_are_one_per_column():
    for protected in ((), PROTECTED):
        names = feature_names(protected)
        assert len(names) == len(set(names)) == feature_matrix(draw_clients(2), protected).shape[1]
        assert len(names) == 23 - len(protected) + len(FEATURES)
    assert {name for name in feature_names() if is_code(name)} == {
        "SEX",
        "EDUCATION",
        "MARRIAGE",
        *STATUSES,
    }


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_a_gap_is_refused_in_a_frame_and_in_a_matrix(gap):
    frame = pd.DataFrame(draw_clients(3).astype(float), columns=CLIENT_COLUMNS)
    frame.loc[1, "BILL_AMT3"] = gap
    for clients in (frame, frame.to_numpy(), frame.to_numpy().tolist()):
        with pytest.raises(
            ParameterError,
            match=r"BILL_AMT3 must hold a number for every client, neither NaN nor inf, got -?(nan|inf) in row 1",
        ):
            feature_matrix(clients, PROTECTED)
    unseen = frame.assign(BILL_AMT3=1.0, AGE=gap)
    assert same_bits(feature_matrix(unseen, PROTECTED), feature_matrix(unseen.to_numpy(), PROTECTED))


@pytest.mark.parametrize("kind", [str, object, bool])
def test_what_is_no_number_is_refused_in_a_frame_and_in_a_matrix(kind):
    frame = pd.DataFrame(draw_clients(3), columns=CLIENT_COLUMNS)
    for clients in (frame.astype(kind), frame.to_numpy().astype(kind)):
        with pytest.raises(ParameterError, match="must hold numbers"):
            feature_matrix(clients, PROTECTED)


def test_mistakes_are_named():
    with pytest.raises(ParameterError, match="unknown fields \\['GENDER'\\]"):
        feature_names(("GENDER",))
    with pytest.raises(ParameterError, match="LIMIT_BAL cannot be protected"):
        feature_names(("LIMIT_BAL",))
    with pytest.raises(ParameterError, match="shape \\(n, 23\\), got \\(2, 22\\)"):
        feature_matrix(np.zeros((2, 22)))
    with pytest.raises(ParameterError, match="missing: AGE"):
        feature_matrix(pd.DataFrame([EXAMPLE_CLIENT]).drop(columns="AGE"))


def test_importing_features_is_light():
    code = "import sys, rumos_bank.model.features; print(*{'sklearn', 'pandas', 'scipy', 'matplotlib'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_a_code_that_says_nothing_is_the_least_favourable_documented_one_for_one_client_and_for_many():
    stated = pd.DataFrame([EXAMPLE_CLIENT] * 28).assign(
        EDUCATION=np.repeat(range(7), 4), MARRIAGE=np.tile(range(4), 7)
    )
    matrix = pd.DataFrame(feature_matrix(stated), columns=feature_names())
    assert matrix["EDUCATION"].tolist() == np.repeat([3, 1, 2, 3, 3, 3, 3], 4).tolist()
    assert matrix["MARRIAGE"].tolist() == [3, 1, 2, 3] * 7
    for client, row in zip(stated.to_numpy().tolist(), matrix.to_numpy(), strict=True):
        assert same_bits(engineer(client), row)
    assert (matrix["PAY_0"] == stated["PAY_0"]).all()  # the statuses keep their reading
