"The metrics agree with their definitions, and the intervals with brute force."

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from rumos_bank.data.contract import CLIENT_COLUMNS, FIELDS, STATUSES
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model import evaluate as ev
from rumos_bank.model.cost import business_cost, cost_each, decide

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows
BANK = Costs(false_positive=1000, false_negative=3000)
KEYS = [
    "min_cost",
    "cost_per_client",
    "savings",
    "refused_share",
    "accuracy",
    "recall",
    "precision",
    "roc_auc",
    "pr_auc",
    "brier",
    "log_loss",
    "ks",
    "ece",
]


def simulate(n=600, seed=0, ties=False):
    "Clients who default with the probability given."
    rng = np.random.default_rng(seed)
    probability = rng.beta(1.1, 3.9, size=n)
    defaulted = (rng.random(n) < probability).astype(int)
    return defaulted, probability.round(1) if ties else probability


@pytest.fixture(scope="module")
def clients():
    return simulate()


# metrics


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_agree_with_their_definitions(ties):
    defaulted, probability = simulate(400, seed=3, ties=ties)
    refused = decide(probability, 0.25)
    bad, good = probability[defaulted == 1], probability[defaulted == 0]
    hits = ((refused == 1) & (defaulted == 1)).sum()
    false_positives, false_negatives = refused.sum() - hits, defaulted.sum() - hits
    pairs = (bad[:, None] > good).mean() + (bad[:, None] == good).mean() / 2
    cuts = np.unique(probability)
    cost = 10 * false_positives + 10_000 * false_negatives
    kept = np.clip(probability, 1e-6, 1 - 1e-6)
    expected = {
        "min_cost": cost,
        "cost_per_client": cost / 400,
        "savings": 1 - cost / (10 * (defaulted == 0).sum()),
        "refused_share": refused.mean(),
        "accuracy": (refused == defaulted).mean(),
        "recall": hits / defaulted.sum(),
        "precision": hits / refused.sum(),
        "roc_auc": pairs,
        "pr_auc": metrics.average_precision_score(defaulted, probability),
        "brier": ((probability - defaulted) ** 2).mean(),
        "log_loss": -np.log(np.where(defaulted == 1, kept, 1 - kept)).mean(),
        "ks": max(abs((bad <= cut).mean() - (good <= cut).mean()) for cut in cuts),
        "ece": ev.calibration_error(defaulted, probability),
    }
    measured = ev.measure(defaulted, probability, 0.25, COSTS)
    assert list(measured) == KEYS == list(expected)
    assert measured == pytest.approx(expected, rel=1e-9)
    assert all(type(value) is float for value in measured.values())


def test_metrics_come_from_probabilities_not_decisions(clients):
    defaulted, probability = clients
    at_25, at_60 = (ev.measure(defaulted, probability, cut, BANK) for cut in (0.25, 0.6))
    for key in ("roc_auc", "pr_auc", "brier", "log_loss", "ks", "ece"):
        assert at_25[key] == at_60[key]
    assert at_25["min_cost"] != at_60["min_cost"]


def test_a_model_that_refuses_no_client_is_measured(clients):
    measured = ev.measure(*clients, 1.1, BANK)
    assert measured["precision"] == measured["recall"] == measured["refused_share"] == 0
    assert measured["savings"] <= 0


@pytest.mark.parametrize(
    ("defaulted", "probability", "message"),
    [
        ([0, 0], [0.1, 0.2], "got only \\[0\\]"),
        ([1, 1], [0.1, 0.2], "got only \\[1\\]"),
        ([], [], "got only \\[\\]"),
        ([0, 2], [0.1, 0.2], "0 and 1 only, got \\[0, 2\\]"),
        ([0, 1], [0.1, 1.2], "between 0 and 1, got 1.2 \\(1 of 2"),
        ([0, 1], [-0.1, -0.2], "got -0.1 \\(2 of 2"),
        ([0, 1], [0.1, np.nan], "got nan"),
        ([0, 1], [0.1], "probability has 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(defaulted, probability, message):
    with pytest.raises(ParameterError, match=message):
        ev.measure(defaulted, probability, 0.25, BANK)


# calibration

probabilities = hnp.arrays(float, st.integers(1, 40), elements=st.one_of(st.just(0.5), st.floats(0, 1)))


@given(probabilities, st.integers(1, 12), st.integers(0, 99))
def test_bins_hold_every_client_once_in_any_order(probability, bins, seed):
    rng = np.random.default_rng(seed)
    defaulted, order = rng.integers(0, 2, len(probability)), rng.permutation(len(probability))
    found = ev.reliability(defaulted, probability, bins)
    assert found.clients.sum() == len(probability) and len(found.clients) <= bins
    assert (found.predicted * found.clients).sum() == pytest.approx(probability.sum())
    assert (found.observed * found.clients).sum() == pytest.approx(defaulted.sum())
    assert (np.diff(found.predicted) > -1e-12).all()
    error = ev.calibration_error(defaulted, probability, bins)
    assert 0 <= error <= 1
    assert ev.calibration_error(defaulted[order], probability[order], bins) == pytest.approx(error)


def test_bins_have_equal_mass():
    defaulted, probability = simulate(1000)
    assert ev.reliability(defaulted, probability).clients.tolist() == [100] * 10


def test_the_error_of_one_constant_probability_is_the_gap_to_the_rate():
    assert ev.calibration_error([1, 0, 0, 0], [0.6] * 4) == pytest.approx(0.35)
    assert ev.calibration_error([1, 0, 0, 0], [0.25] * 4) == 0


def test_a_bin_weighs_as_many_clients_as_it_holds():
    probability = [0.2, 0.2, 0.2, 0.7]  # gaps of 1/3 - .2 for three clients and 1 - .7 for one
    assert ev.calibration_error([1, 0, 0, 1], probability, bins=2) == pytest.approx((0.4 + 0.3) / 4)


def test_the_error_sees_inflated_probabilities():
    defaulted, probability = simulate(5000)
    assert ev.calibration_error(defaulted, probability) < 0.02
    assert ev.calibration_error(defaulted, np.sqrt(probability)) > 0.15


def test_no_bins_are_refused():
    with pytest.raises(ParameterError, match="got 0 bins"):
        ev.reliability([0, 1], [0.1, 0.2], bins=0)


# intervals


def resample_rows(each, draws, seed):
    "The bootstrap as textbooks write it."
    rng = np.random.default_rng(seed)
    return each[rng.integers(0, len(each), size=(draws, len(each)))].sum(axis=1)


def test_the_interval_covers_the_true_cost_about_as_often_as_it_claims():
    truth, inside = 500 * (0.2 * 1000 + 0.1 * 3000), 0
    rng = np.random.default_rng(5)
    for seed in range(500):
        kind = rng.choice(3, size=500, p=[0.7, 0.2, 0.1])  # right, false positive, false negative
        defaulted, refused = (kind == 2).astype(int), (kind == 1).astype(int)
        interval = ev.bootstrap_cost(defaulted, refused, BANK, draws=500, seed=seed)
        inside += interval.low <= truth <= interval.high
    assert 0.92 < inside / 500 < 0.975


def test_a_higher_level_is_wider_and_the_same_seed_the_same(clients):
    defaulted, probability = clients
    refused = decide(probability, 0.25)
    narrow, wide = (ev.bootstrap_cost(defaulted, refused, BANK, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < business_cost(defaulted, refused, BANK) < narrow.high < wide.high
    assert ev.bootstrap_cost(defaulted, refused, BANK, level=0.5) == narrow


def test_both_kinds_of_mistake_have_their_price():
    assert cost_each([0, 0, 1, 1], [0, 1, 0, 1], COSTS).tolist() == [0, 10, 10_000, 0]
    assert ev.bootstrap_cost([0] * 4, [1] * 4, COSTS) == ev.Interval(40, 40)
    assert ev.bootstrap_cost([1] * 4, [0] * 4, COSTS) == ev.Interval(40_000, 40_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"level": 1.0}, "level must"), ({"level": 95}, "got 95"), ({"draws": 0}, "0 draws")],
)
def test_impossible_bootstraps_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        ev.bootstrap_cost([0, 1], [0, 0], BANK, **changes)
    with pytest.raises(ParameterError, match="got 0 clients"):
        ev.bootstrap_cost([], [], BANK)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=20))
def test_a_model_compared_with_itself_differs_by_nothing(rows):
    defaulted, refused = (np.array(column) for column in zip(*rows, strict=True))
    assert ev.compare_costs(defaulted, refused, refused, BANK, draws=50) == ev.Comparison(0, 0, 0, 0.5)


def test_pairing_sees_what_two_intervals_hide(clients):
    defaulted, probability = clients
    first, second = decide(probability, 0.25), decide(probability, 0.27)
    paired = ev.compare_costs(defaulted, first, second, BANK)
    alone = [ev.bootstrap_cost(defaulted, refused, BANK) for refused in (first, second)]
    assert paired.low <= paired.difference <= paired.high
    assert paired.high - paired.low < 0.3 * min(interval.high - interval.low for interval in alone)


def test_swapping_the_two_swaps_the_sign(clients):
    defaulted, probability = clients
    first, second = decide(probability, 0.25), decide(probability, 0.6)
    there, back = (ev.compare_costs(defaulted, *pair, BANK) for pair in ((first, second), (second, first)))
    assert there.difference == -back.difference < 0
    assert there.high < 0 < back.low
    assert there.probability_cheaper > 0.99 and back.probability_cheaper < 0.01


def test_the_paired_draws_agree_with_rows(clients):
    defaulted, probability = clients
    first, second = decide(probability, 0.2), decide(probability, 0.35)
    each = cost_each(defaulted, first, BANK) - cost_each(defaulted, second, BANK)
    rows = resample_rows(each, 8000, seed=2)
    found = ev.compare_costs(defaulted, first, second, BANK, draws=8000, seed=1)
    spread = rows.std()
    assert found.low == pytest.approx(np.quantile(rows, 0.025), abs=0.1 * spread)
    assert found.high == pytest.approx(np.quantile(rows, 0.975), abs=0.1 * spread)
    assert found.probability_cheaper == pytest.approx((rows < 0).mean() + (rows == 0).mean() / 2, abs=0.03)


# what matters


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    fields = {field.name: rng.integers(field.low, field.high, size=300, endpoint=True) for field in FIELDS}
    return pd.DataFrame(fields).assign(ID=range(300))


def refuse_late(clients):
    return (clients["PAY_0"] >= 2).to_numpy().astype(int)


def test_only_the_field_that_is_used_matters(frame):
    table = ev.permutation_costs(refuse_late, frame, refuse_late(frame), BANK)
    worth = table.set_index("field")["dearer_eur"]
    assert worth["PAY_0"] == worth["all statuses"] > 100
    assert (worth.drop(["PAY_0", "all statuses"]) == 0).all()
    assert set(worth.index) == {*CLIENT_COLUMNS, "all statuses", "all bills", "all payments"}
    assert list(table["field"][:2]) == ["PAY_0", "all statuses"]
    assert (table.loc[2:, "sd_eur"] == 0).all()


def test_a_block_is_shuffled_as_one(frame):
    def differs_within(clients):  # the months of a client stay together
        return (clients[list(STATUSES)].nunique(axis=1) > 1).to_numpy().astype(int)

    same = frame.assign(**dict.fromkeys(STATUSES, frame["PAY_0"]))
    table = ev.permutation_costs(differs_within, same, np.zeros(300), BANK).set_index("field")
    assert table.loc["PAY_0", "dearer_eur"] > 0
    assert table.loc["all statuses", "dearer_eur"] == 0


def test_a_harmful_field_has_a_negative_worth(frame):
    table = ev.permutation_costs(refuse_late, frame, 1 - refuse_late(frame), BANK).set_index("field")
    assert table.loc["PAY_0", "dearer_eur"] < -100


def test_shuffling_leaves_the_clients_alone(frame):
    before, kinds = frame.copy(), []

    def predict(clients):
        kinds.append(tuple(clients.dtypes))
        assert list(clients["ID"]) == list(frame["ID"])
        return np.zeros(len(clients))

    labelled = frame.set_index(pd.Index(range(1000, 1300)))
    ev.permutation_costs(predict, labelled, np.zeros(300), BANK, repeats=2)
    pd.testing.assert_frame_equal(frame, before)
    assert len(set(kinds)) == 1 and len(kinds) == 1 + 2 * 26


def test_only_present_fields_are_shuffled_and_seeds_repeat(frame):
    some = frame[["PAY_0", "AGE"]]
    one, same, other = (
        ev.permutation_costs(refuse_late, some, refuse_late(frame), BANK, seed=seed) for seed in (0, 0, 1)
    )
    assert set(one["field"]) == {"PAY_0", "AGE", "all statuses"}
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)
    with pytest.raises(ParameterError, match="repeats must be at least 2"):
        ev.permutation_costs(refuse_late, some, refuse_late(frame), BANK, repeats=1)


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_evaluate_is_light():
    heavy = {"sklearn", "pandas", "scipy", "matplotlib", "IPython"}
    loaded = run(f"import sys, rumos_bank.model.evaluate; print(*{heavy} & {{*sys.modules}})")
    assert loaded.split() == []


def test_the_interval_holds_the_expected_cost_and_the_prediction_another_sample():
    "95 % of the expected cost, 83 % of another sample's cost, and 95 % of it by the prediction interval."
    rng, kinds, shares = np.random.default_rng(1), np.array([0, 1000, 3000]), [0.8, 0.1, 0.1]
    held = np.zeros(3)
    for counts in rng.multinomial(600, shares, size=1500):
        outcome, wrong = np.repeat([0, 0, 1], counts), np.repeat([0, 1, 1], counts)
        refused = np.where(wrong, 1 - outcome, outcome)
        cost, other = float(counts @ kinds), float(rng.multinomial(600, shares) @ kinds)
        assert cost == business_cost(outcome, refused, BANK)
        here = ev.bootstrap_cost(outcome, refused, BANK, draws=400)
        beyond = ev.predict_cost(cost, here)
        assert beyond.high - cost == pytest.approx(2**0.5 * (here.high - cost))
        held += [
            here.low <= 240_000 <= here.high,
            here.low <= other <= here.high,
            beyond.low <= other <= beyond.high,
        ]
    assert held / 1500 == pytest.approx([0.95, 0.834, 0.95], abs=0.025)


def test_a_predicted_cost_is_never_negative():
    assert ev.predict_cost(1000, ev.Interval(0, 4000)) == ev.Interval(0, pytest.approx(1000 + 3000 * 2**0.5))
