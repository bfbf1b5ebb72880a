"The decision: one object, the cheaper side, and nothing that is protected."

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.cost import expected_costs
from rumos_bank.model.decision import DecisionModel, make_decision

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows
PROTECTED = ("SEX", "MARRIAGE", "AGE")


class LimitSays(BaseEstimator):
    "A model that takes the credit limit for the chance of default, in parts of a million."

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        chance = X[:, 0] / 1_000_000
        return np.column_stack([1 - chance, chance])


def with_chances(parts: list[int]) -> pd.DataFrame:
    return pd.DataFrame([EXAMPLE_CLIENT | {"LIMIT_BAL": part} for part in parts])


def translate(threshold: float, costs: Costs = COSTS) -> DecisionModel:
    two = pd.DataFrame([EXAMPLE_CLIENT, LATE_CLIENT])
    return make_decision(LimitSays(), threshold, costs).fit(two, np.array([0, 1]))


@pytest.fixture(scope="module")
def twins() -> pd.DataFrame:
    return make_synthetic_clients(800, seed=3)


@pytest.fixture(scope="module")
def blind(twins) -> DecisionModel:
    "A tree deep enough to use whatever it sees."
    tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=0)
    return make_decision(tree, 0.25, Costs(), PROTECTED).fit(twins, twins[TARGET])


@given(
    st.lists(st.integers(1, 1_000_000), min_size=1, max_size=20),
    st.floats(1, 1e6),
    st.floats(1, 1e6),
)
def test_at_the_bayes_threshold_the_cheaper_side_is_the_decision(parts, false_positive, false_negative):
    costs = Costs(false_positive=false_positive, false_negative=false_negative)
    decision, clients = translate(costs.bayes_threshold, costs), with_chances(parts)
    chosen = decision.predict(clients)
    expected = np.column_stack(expected_costs(decision.predict_proba(clients)[:, 1], costs))
    rows = np.arange(len(clients))
    assert (expected[rows, chosen] <= expected[rows, 1 - chosen] * (1 + 1e-9)).all()


@pytest.mark.parametrize("threshold", [0.25, 0.4])
def test_a_person_is_asked_around_the_threshold_in_force(threshold):
    decision = translate(threshold, Costs()).set_params(refer_margin=200)  # 200 € of 4,000 €: 5 points
    parts = [190_000, 210_000, 290_000, 310_000, 340_000, 360_000, 440_000, 460_000]
    near = [abs(part / 1_000_000 - threshold) < 0.05 for part in parts]
    assert decision.refer(with_chances(parts)).tolist() == near and sum(near) == 2
    assert not decision.set_params(refer_margin=0).refer(with_chances([int(1e6 * threshold)])).any()


def test_from_the_threshold_on_clients_are_refused():
    decided = translate(0.3).predict(with_chances([299_999, 300_000, 300_001]))
    assert decided.tolist() == [0, 1, 1]


@pytest.mark.parametrize("n", [1, 7])
def test_the_answer_is_one_whole_number_a_client(twins, blind, n):
    decided = blind.predict(twins[:n])
    assert decided.shape == (n,) and decided.dtype == np.int64 and set(decided) <= {0, 1}
    probability = blind.predict_proba(twins[:n])
    assert probability.shape == (n, 2)
    np.testing.assert_allclose(probability.sum(axis=1), 1)


def test_a_matrix_decides_like_the_frame(twins):
    seeing = make_decision(DecisionTreeClassifier(max_depth=4, random_state=0), 0.25, COSTS)
    seeing.fit(twins, twins[TARGET])
    matrix = twins[list(CLIENT_COLUMNS)].to_numpy()
    np.testing.assert_array_equal(seeing.predict_proba(matrix), seeing.predict_proba(twins))


@pytest.mark.parametrize(
    "field, values", [("SEX", (1, 2)), ("MARRIAGE", (0, 1, 2, 3)), ("AGE", (18, 44, 120))]
)
def test_protected_fields_change_no_probability(twins, blind, field, values):
    before = blind.predict_proba(twins)
    for value in values:
        np.testing.assert_array_equal(blind.predict_proba(twins.assign(**{field: value})), before)
    np.testing.assert_array_equal(blind.predict_proba(twins.drop(columns=[field])), before)


def test_unprotected_the_same_fields_do_change_probabilities(twins):
    tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=0)
    seeing = make_decision(tree, 0.25, Costs()).fit(twins, twins[TARGET])
    assert (seeing.predict_proba(twins.assign(AGE=18)) != seeing.predict_proba(twins)).any()


def test_it_is_a_scikit_learn_estimator(twins, blind):
    copy = clone(blind)
    assert not hasattr(copy, "model_") and not hasattr(copy.model, "tree_")
    assert copy.get_params(deep=False).keys() == {
        "model",
        "threshold",
        "false_positive",
        "false_negative",
        "protected",
        "refer_margin",
    }
    given = {name: value for name, value in blind.get_params().items() if name != "model"}
    assert {name: value for name, value in copy.get_params().items() if name != "model"} == given
    assert copy.set_params(model__max_depth=1, threshold=0.5).model.max_depth == 1
    assert (cross_val_score(copy, twins, twins[TARGET], cv=3) > 0.6).all()


def test_the_given_model_is_left_unfitted(twins):
    tree = DecisionTreeClassifier(max_depth=1)
    make_decision(tree, 0.25, COSTS).fit(twins, twins[TARGET])
    assert not hasattr(tree, "tree_")


def test_costs_and_fields_come_from_the_settings():
    decision = make_decision(LimitSays(), 0.25, COSTS, ["AGE"])
    assert (decision.false_positive, decision.false_negative, decision.protected) == (10, 10_000, ("AGE",))


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [0, 2]])
def test_both_kinds_of_client_are_needed(labels):
    two = pd.DataFrame([EXAMPLE_CLIENT, LATE_CLIENT])
    with pytest.raises(ParameterError, match="both kinds of client are needed"):
        make_decision(LimitSays(), 0.25, COSTS).fit(two, np.array(labels))


@pytest.mark.parametrize("threshold", [-0.01, 1.4, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ParameterError, match=f"between 0 and 1, got {threshold}"):
        make_decision(LimitSays(), threshold, COSTS)


def test_a_threshold_just_above_one_accepts_everybody():
    assert translate(float(np.nextafter(1, 2))).predict(with_chances([1, 1_000_000])).tolist() == [0, 0]
    assert translate(0).predict(with_chances([1, 1_000_000])).tolist() == [1, 1]
