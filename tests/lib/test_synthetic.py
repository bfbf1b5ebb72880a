"Synthetic clients: the contract always holds, the same arguments give the same clients, and drawing stays light."

import itertools
import json
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest

from rumos_bank.data.contract import (
    BILLS,
    CLIENT_COLUMNS,
    EXAMPLE_CLIENT,
    ID,
    PAYMENTS,
    STATUSES,
    TARGET,
    fingerprint,
    validate_clients,
)
from rumos_bank.data.synthetic import (
    DESCRIPTION,
    fit_synthetic,
    make_synthetic_clients,
    pack_description,
    read_description,
    synthetic_chunks,
)
from rumos_bank.ground.errors import DataError, ParameterError

BLOCK = 2**14  # how many clients are drawn at a time


@pytest.fixture(scope="module")
def twin() -> pd.DataFrame:
    return make_synthetic_clients(30_000, seed=11)


@pytest.fixture(scope="module")
def refitted() -> dict:
    return fit_synthetic(make_synthetic_clients(3000, seed=1))


def numbers_in(value):
    "Every leaf of nested lists and dictionaries."
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return itertools.chain.from_iterable(numbers_in(part) for part in parts)
    return [value]


@pytest.mark.parametrize("n", [1, 2, 1000, BLOCK + 1])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_keeps_the_contract_as_it_is(n, seed):
    clients = make_synthetic_clients(n, seed)
    assert list(clients.columns) == [ID, *CLIENT_COLUMNS, TARGET]
    assert (clients.dtypes == "int64").all()
    pd.testing.assert_frame_equal(validate_clients(clients, labelled=True), clients)
    assert clients[ID].tolist() == list(range(1, n + 1))


def test_same_arguments_same_clients():
    assert fingerprint(make_synthetic_clients(1000, 5)) == fingerprint(make_synthetic_clients(1000, 5))


def test_other_seed_other_clients():
    assert len({fingerprint(make_synthetic_clients(1000, seed)) for seed in range(20)}) == 20


def test_the_global_random_state_is_unchanged():
    np.random.seed(3)
    before = np.random.random()
    np.random.seed(3)
    make_synthetic_clients(10, seed=0)
    assert np.random.random() == before


def test_first_id_changes_nothing_else():
    moved = make_synthetic_clients(100, 5, first_id=901)
    assert moved[ID].tolist() == list(range(901, 1001))
    assert moved.drop(columns=ID).equals(make_synthetic_clients(100, 5).drop(columns=ID))


def test_blocks_differ_from_each_other():
    clients = make_synthetic_clients(2 * BLOCK, seed=5)[list(CLIENT_COLUMNS)]
    assert not clients[:BLOCK].reset_index(drop=True).equals(clients[BLOCK:].reset_index(drop=True))


def test_a_caller_may_change_the_table():
    clients = make_synthetic_clients(5, seed=5)
    clients.loc[0, "AGE"] = 99
    assert clients.loc[0, "AGE"] == 99
    assert make_synthetic_clients(5, seed=5).loc[0, "AGE"] != 99


def test_resembles_the_real_clients(twin):
    assert 0.20 < twin[TARGET].mean() < 0.24  # real: .221
    assert 0.055 < (twin["BILL_AMT1"] > twin["LIMIT_BAL"]).mean() < 0.085  # real: .071
    assert twin["LIMIT_BAL"].median() == pytest.approx(140_000, abs=10_000)
    assert twin["AGE"].median() == pytest.approx(34, abs=1)
    assert (twin["LIMIT_BAL"] % 10_000 == 0).all()
    assert (twin[list(BILLS)] < 0).any(axis=None) and (twin[list(PAYMENTS)] == 0).any(axis=None)


def test_default_follows_the_repayment_status(twin):
    rate = twin.groupby(twin["PAY_0"].clip(-2, 2))[TARGET].mean()
    assert rate[0] < 0.16 < 0.28 < rate[1] < 0.42 < 0.62 < rate[2] < 0.76


def test_columns_move_together(twin):
    assert twin[["BILL_AMT1", "BILL_AMT2"]].corr("spearman").iloc[0, 1] > 0.85
    assert twin[["PAY_0", "PAY_2"]].corr("spearman").iloc[0, 1] > 0.5
    assert abs(twin[["SEX", "PAY_AMT6"]].corr("spearman").iloc[0, 1]) < 0.1


def test_no_group_stands_at_the_front(twin):
    halves = twin["PAY_0"][:15_000].mean(), twin["PAY_0"][15_000:].mean()
    assert halves[0] == pytest.approx(halves[1], abs=0.05)


@pytest.mark.parametrize(
    ("n", "chunk", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 3, [2]), (1, 1, [1])]
)
def test_chunks_hold_all_clients(n, chunk, sizes):
    tables = list(synthetic_chunks(n, seed=1, chunk=chunk))
    assert [len(table) for table in tables] == sizes
    together = pd.concat(tables, ignore_index=True)
    assert together[ID].tolist() == list(range(1, n + 1))
    pd.testing.assert_frame_equal(validate_clients(together, labelled=True), together)


def test_chunks_depend_on_nothing_but_the_arguments():
    interleaved, plain = (
        synthetic_chunks(2500, seed=4, chunk=1000),
        list(synthetic_chunks(2500, seed=4, chunk=1000)),
    )
    for expected in plain:
        make_synthetic_clients(3, seed=9)  # other draws in between
        assert fingerprint(next(interleaved)) == fingerprint(expected)
    assert fingerprint(next(synthetic_chunks(5000, seed=4, chunk=1000))) == fingerprint(plain[0])
    assert fingerprint(next(synthetic_chunks(2500, seed=5, chunk=1000))) != fingerprint(plain[0])


def test_chunks_do_not_repeat_each_other():
    tables = [table.drop(columns=ID) for table in synthetic_chunks(5000, seed=4, chunk=500)]
    assert len({fingerprint(table) for table in tables}) == 10


def test_chunks_are_made_one_at_a_time():
    chunks = synthetic_chunks(10**12, seed=1, chunk=100)  # a trillion clients would fit nowhere
    assert isinstance(chunks, types.GeneratorType)
    first, second = itertools.islice(chunks, 2)
    assert second[ID].iloc[0] == first[ID].iloc[-1] + 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_synthetic_clients(0, 1), "n must be at least 1, got 0"),
        (lambda: make_synthetic_clients(5, -1), "seed must be at least 0, got -1"),
        (lambda: synthetic_chunks(0, 1), "n must be at least 1, got 0"),
        (lambda: synthetic_chunks(5, 1, chunk=0), "chunk must be at least 1, got 0"),
        (lambda: synthetic_chunks(5, -2), "seed must be at least 0, got -2"),
    ],
)
def test_impossible_arguments_are_named_at_once(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_the_file_is_small_and_names_its_origin():
    text = DESCRIPTION.read_text(encoding="utf-8")
    assert len(text.encode()) < 64_000
    assert pack_description(read_description()) == text
    assert all(word in json.loads(text)["source"] for word in ("UCI", "Yeh", "Lien", "2009", "CC BY 4.0"))


def test_the_file_holds_whole_numbers_only():
    described = read_description()
    assert {type(leaf) for leaf in numbers_in([described["groups"], described["teacher"]])} == {int}


def used(tree):
    "The columns that a tree of the teacher asks about."
    return set() if isinstance(tree, int) else {tree[0]} | used(tree[2]) | used(tree[3])


@pytest.mark.parametrize("name", ["SEX", "MARRIAGE"])
def test_the_teacher_is_blind_to_sex_and_marriage(name):
    clients = make_synthetic_clients(2000, seed=1)
    tempting = fit_synthetic(clients.assign(**{TARGET: (clients[name] == 2).astype("int64")}))
    for described in (read_description(), tempting):
        columns = set().union(*map(used, described["teacher"]))
        assert columns and CLIENT_COLUMNS.index(name) not in columns


def test_no_small_group_is_described(refitted):
    for described in (read_description(), refitted):
        for group in described["groups"]:
            assert group["clients"] >= 100
            assert abs(group["knots"][0]) <= (3091 if group["clients"] > 1001 else 2054)


def test_drawing_needs_no_heavy_import():
    code = (
        "import sys, rumos_bank.data.synthetic as t; assert 'pandas' not in sys.modules; t.make_synthetic_clients(10, 1); "
        "print([m for m in ('lightgbm', 'sklearn', 'scipy', 'matplotlib', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_and_back(twin, refitted):
    copy = make_synthetic_clients(30_000, seed=11, description=json.loads(pack_description(refitted)))
    pd.testing.assert_frame_equal(validate_clients(copy, labelled=True), copy)
    assert copy[TARGET].mean() == pytest.approx(twin[TARGET].mean(), abs=0.03)
    assert copy["LIMIT_BAL"].mean() == pytest.approx(twin["LIMIT_BAL"].mean(), rel=0.1)
    for status in STATUSES:
        assert copy[status].mean() == pytest.approx(twin[status].mean(), abs=0.12)


def test_fitting_is_repeatable_and_changes_nothing(refitted):
    clients = make_synthetic_clients(3000, seed=1)
    before = fingerprint(clients)
    assert fit_synthetic(clients) == refitted
    assert fingerprint(clients) == before


def test_a_column_of_one_value_stays_so():
    clients = make_synthetic_clients(1000, seed=1).assign(SEX=2, AGE=40, BILL_AMT3=0)
    copy = make_synthetic_clients(500, seed=1, description=fit_synthetic(clients))
    assert set(copy["SEX"]) == {2} and set(copy["AGE"]) == {40} and set(copy["BILL_AMT3"]) == {0}


@pytest.mark.parametrize("n", [300, 910, 1001, 1002, 3000])
def test_the_most_extreme_client_is_not_published(n):
    clients = make_synthetic_clients(n, seed=1).assign(PAY_0=0, **dict.fromkeys(STATUSES[1:], 0))  # one group
    amounts = []
    for paid, owed in [(5_000_000, -5_000_000), (9_000_000, -9_000_000)]:
        clients.loc[0, ["LIMIT_BAL", "PAY_AMT1", "BILL_AMT1"]] = [10_000, paid, owed]
        amounts.append([group["amounts"] for group in fit_synthetic(clients)["groups"]])
    assert len(amounts[0]) == 1 and amounts[0] == amounts[1]


def test_the_contract_holds_for_the_strangest_clients_it_allows():
    strange = {"LIMIT_BAL": 1000, "AGE": 120, "PAY_0": 9, "BILL_AMT1": 10_000_000, "BILL_AMT2": -10_000_000}
    copy = make_synthetic_clients(
        100, seed=1, description=fit_synthetic(make_synthetic_clients(400, seed=1).assign(**strange))
    )
    pd.testing.assert_frame_equal(validate_clients(copy, labelled=True), copy)


@pytest.mark.parametrize(("n", "label"), [(299, None), (1000, 0), (1000, 1)])
def test_too_few_or_all_alike_are_refused(n, label):
    clients = make_synthetic_clients(n, seed=1)
    with pytest.raises(DataError, match=f"got {n} with"):
        fit_synthetic(clients if label is None else clients.assign(**{TARGET: label}))


def test_one_repeated_client_can_be_described():
    clients = pd.DataFrame([EXAMPLE_CLIENT] * 400).assign(**{TARGET: [0, 1] * 200})
    copy = make_synthetic_clients(
        50, seed=1, description=fit_synthetic(validate_clients(clients, labelled=True))
    )
    assert copy["AGE"].unique().tolist() == [25]
