"Differences between models with a corrected interval, and the calibration of one model."

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import draw_outcomes

from rumos_bank.data.contract import TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.settings import Costs
from rumos_bank.ground.statistics import compare_by_folds
from rumos_bank.model.cost import business_cost, decide
from rumos_bank.model.evaluate import calibration_error
from rumos_bank.validation.judge import (
    Contender,
    _split_brier,
    describe_difference,
    judge,
    make_predecessor,
    measure_calibration,
    tabulate,
)


class Known:
    "Predicts a probability by the last digit of the ID, and keeps the clients it learned from."

    learned: ClassVar[list] = []

    def fit(self, clients, y):
        Known.learned.append(set(clients["ID"]))
        assert (clients[TARGET].to_numpy() == y).all()
        return self

    def predict_proba(self, clients):
        assert not Known.learned[-1] & set(clients["ID"])
        probability = (clients["ID"].to_numpy() % 10) / 10
        return np.column_stack([1 - probability, probability])


def test_every_client_is_judged_once_a_repeat_by_a_model_that_did_not_know_them():
    twins, costs = make_synthetic_clients(500, seed=2), Costs(false_positive=10, false_negative=1000)
    Known.learned = []
    found = judge([Contender("known", Known, 0.25)], twins, costs, repeats=2, folds=5)["known"]
    assert len(Known.learned) == 10
    probability = (twins["ID"].to_numpy() % 10) / 10
    assert (found.probability == probability).all()
    total = business_cost(twins[TARGET], decide(probability, 0.25), costs)
    assert found.costs[:5].sum() * 100 == pytest.approx(total)  # five folds of 100 clients


def test_the_earlier_forest_is_what_it_was():
    forest = make_predecessor(42).make().steps[-1][1]
    assert (forest.n_estimators, forest.class_weight) == (100, "balanced_subsample")
    seen = make_predecessor(42).make().steps[0][1].transformers[0][2]
    assert {"SEX", "MARRIAGE", "AGE"} <= set(seen) and len(seen) == 23


def test_the_table_compares_with_the_reference_and_puts_the_cheapest_first():
    twins = make_synthetic_clients(500, seed=2)
    judged = judge(
        [Contender("known", Known, 0.25), Contender("never", Known, 1.1)], twins, Costs(), repeats=1, folds=5
    )
    table = tabulate(judged, "never")
    assert table["cost"].is_monotonic_increasing
    row = table.set_index("contender").loc["known"]
    assert row["difference"] == pytest.approx(judged["known"].costs.mean() - judged["never"].costs.mean())
    assert table.set_index("contender").loc["never", "difference"] == 0


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        ([1, 2, 1, 2], "costs 8.5 € per client less than"),
        ([19, 18, 19, 18], "costs 8.5 € per client more than"),
        ([1, 19, 2, 18], "do not differ clearly"),
    ],
)
def test_a_difference_is_stated_only_where_it_is_clear(costs, sentence):
    assert sentence in describe_difference("one", "two", compare_by_folds(costs, [10, 10, 10, 10], 1 / 3))


# calibration


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=60).filter(
        lambda rows: len({outcome for outcome, _ in rows}) == 2
    )
)
def test_the_parts_add_up_to_the_brier_score(rows):
    outcome, probability = (np.array(column) for column in zip(*rows, strict=True))
    parts = _split_brier(outcome, probability)
    total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within_bins"]
    assert total == pytest.approx(parts["brier"], abs=1e-12)
    assert parts["brier"] == pytest.approx(np.mean((probability - outcome) ** 2), abs=1e-12)


def test_nothing_remains_within_bins_of_one_probability():
    defaulted, probability = draw_outcomes(3000)
    assert _split_brier(defaulted, np.where(probability > 0.3, 0.5, 0.1))["within_bins"] == pytest.approx(0)
    assert abs(_split_brier(defaulted, probability)["within_bins"]) > 1e-4


def test_the_error_of_a_calibrated_model_agrees_with_a_simulation_by_the_public_metric():
    defaulted, probability = draw_outcomes(1500, seed=2)
    found = measure_calibration(defaulted, probability, seed=0)
    rng = np.random.default_rng(11)
    errors = [
        calibration_error((rng.random(1500) < probability).astype(int), probability) for _ in range(1000)
    ]
    assert found.ece_if_calibrated == pytest.approx(np.mean(errors), rel=0.04)
    assert found.ece_if_calibrated_95 == pytest.approx(np.quantile(errors, 0.95), rel=0.08)
    assert found.ece == calibration_error(defaulted, probability)
    assert found == measure_calibration(defaulted, probability, seed=0)
    assert found != measure_calibration(defaulted, probability, seed=1)


def test_the_slope_reveals_overconfidence():
    defaulted, probability = draw_outcomes(20_000, seed=3)
    odds = probability / (1 - probability)
    for power, slope in ((1, 1), (2, 0.5), (0.5, 2)):
        found = measure_calibration(defaulted, odds**power / (1 + odds**power))
        assert found.slope == pytest.approx(slope, rel=0.05)
    tenfold = measure_calibration(defaulted, 10 * odds / (1 + 10 * odds))
    assert tenfold.intercept == pytest.approx(-np.log(10), rel=0.05)


def test_certain_probabilities_have_a_finite_slope():
    found = measure_calibration([0, 0, 1, 1, 0, 1], [0, 0.2, 1, 0.6, 1, 0])
    assert np.isfinite(found.slope) and np.isfinite(found.intercept)
