"The decision: one object, the cheaper side, and no protected field."

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.cost import expected_costs
from rumos_bank.model.decision import DecisionModel, make_decision

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows
PROTECTED = ("SEX", "MARRIAGE", "AGE")


class ByLimit(BaseEstimator):
    "A model that takes the credit limit for the probability of default, in parts of a million."

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        probability = X[:, 0] / 1_000_000
        return np.column_stack([1 - probability, probability])


def with_probabilities(parts: list[int]) -> pd.DataFrame:
    return pd.DataFrame([EXAMPLE_CLIENT | {"LIMIT_BAL": part} for part in parts])


def decide_by_limit(threshold: float, costs: Costs = COSTS) -> DecisionModel:
    two = pd.DataFrame([EXAMPLE_CLIENT, LATE_CLIENT])
    return make_decision(ByLimit(), threshold, costs).fit(two, np.array([0, 1]))


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
    decision, clients = decide_by_limit(costs.bayes_threshold, costs), with_probabilities(parts)
    chosen = decision.predict(clients)
    expected = np.column_stack(expected_costs(decision.predict_proba(clients)[:, 1], costs))
    rows = np.arange(len(clients))
    assert (expected[rows, chosen] <= expected[rows, 1 - chosen] * (1 + 1e-9)).all()


@pytest.mark.parametrize("threshold", [0.25, 0.4])
def test_an_officer_decides_around_the_threshold_in_force(threshold):
    decision = decide_by_limit(threshold, Costs()).set_params(refer_margin=200)  # 200 € of 4,000 €: 5 points
    parts = [190_000, 210_000, 290_000, 310_000, 340_000, 360_000, 440_000, 460_000]
    near = [abs(part / 1_000_000 - threshold) < 0.05 for part in parts]
    assert decision.refer(with_probabilities(parts)).tolist() == near and sum(near) == 2
    assert not decision.set_params(refer_margin=0).refer(with_probabilities([int(1e6 * threshold)])).any()


def test_from_the_threshold_on_clients_are_refused():
    decided = decide_by_limit(0.3).predict(with_probabilities([299_999, 300_000, 300_001]))
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
    costs_per_client = cross_val_score(copy, twins, twins[TARGET], cv=3)
    assert (costs_per_client < 0).all() and (costs_per_client > -750).all()  # refusing everybody costs more


def test_the_given_model_is_left_unfitted(twins):
    tree = DecisionTreeClassifier(max_depth=1)
    make_decision(tree, 0.25, COSTS).fit(twins, twins[TARGET])
    assert not hasattr(tree, "tree_")


def test_costs_and_fields_come_from_the_settings():
    decision = make_decision(ByLimit(), 0.25, COSTS, ["AGE"])
    assert (decision.false_positive, decision.false_negative, decision.protected) == (10, 10_000, ("AGE",))


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [0, 2]])
def test_both_classes_are_needed(labels):
    two = pd.DataFrame([EXAMPLE_CLIENT, LATE_CLIENT])
    with pytest.raises(
        ParameterError, match=r"y must hold both classes, 0 \(paid\) and 1 \(defaulted\), got \["
    ):
        make_decision(ByLimit(), 0.25, COSTS).fit(two, np.array(labels))


@pytest.mark.parametrize("threshold", [-0.01, 1.4, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ParameterError, match=f"threshold must be a number from 0 to 1, got {threshold}"):
        make_decision(ByLimit(), threshold, COSTS)


def test_a_threshold_just_above_one_accepts_everybody():
    assert decide_by_limit(float(np.nextafter(1, 2))).predict(
        with_probabilities([1, 1_000_000])
    ).tolist() == [0, 0]
    assert decide_by_limit(0).predict(with_probabilities([1, 1_000_000])).tolist() == [1, 1]


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"threshold": 1.4}, "threshold must be a number from 0 to 1, got 1.4"),
        ({"threshold": "0.25"}, "threshold must be a number from 0 to 1, got '0.25'"),
        ({"false_positive": 0}, "false_positive: a price must be greater than 0, got 0"),
        (
            {"false_negative": float("nan")},
            "false_negative: a price is euros, at most 1e9, such as",
        ),
        ({"refer_margin": -1}, "refer_margin must be a number from 0 to 1e9 euros, got -1"),
        ({"refer_margin": True}, "refer_margin must be a number from 0 to 1e9 euros, got True"),
        ({"protected": ("GENDER",)}, r"unknown fields \['GENDER'\]; allowed: LIMIT_BAL"),
        ({"model": LinearSVC()}, r"model must have fit and predict_proba, got LinearSVC\(\)"),
    ],
    ids=str,
)
def test_parameters_are_checked_by_name_and_range_when_fitted(change, expected, twins):
    decision = DecisionModel(ByLimit()).set_params(**change)
    with pytest.raises(ParameterError, match=expected):
        decision.fit(twins, twins[TARGET])


def test_a_parameter_error_is_the_value_error_that_scikit_learn_expects(twins):
    with pytest.raises(ValueError, match="threshold"):
        DecisionModel(ByLimit(), threshold=2).fit(twins, twins[TARGET])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "refer"])
def test_before_fit_there_is_no_answer(method, twins):
    decision = make_decision(ByLimit(), 0.25, COSTS)
    with pytest.raises(NotFittedError, match="DecisionModel instance is not fitted yet"):
        getattr(decision, method)(twins)
    assert not hasattr(decision, "n_features_in_") and not hasattr(decision, "feature_names_in_")
    assert not hasattr(decision, "classes_")


def test_a_fitted_decision_names_its_fields_and_classes(twins, blind):
    assert blind.classes_.tolist() == [0, 1]
    assert blind.n_features_in_ == 23 and tuple(blind.feature_names_in_) == CLIENT_COLUMNS


def test_the_score_is_the_negative_cost_per_client(twins, blind):
    decision = decide_by_limit(0.3, COSTS)
    clients = with_probabilities([100_000, 200_000, 300_000, 400_000, 500_000])
    defaulted = np.array([0, 1, 0, 0, 1])  # one defaulter accepted, two payers refused
    assert decision.score(clients, defaulted) == -(10_000 + 2 * 10) / 5
    assert decision.score(clients, pd.Series(defaulted)) == -(10_000 + 2 * 10) / 5
    assert decision.score(clients, decision.predict(clients)) == 0


def test_a_grid_search_finds_the_cheapest_threshold(twins):
    decision = make_decision(DecisionTreeClassifier(max_depth=3, random_state=0), 0.25, Costs())
    found = GridSearchCV(decision, {"threshold": [0.05, 0.25, 0.95]}, cv=3).fit(twins, twins[TARGET])
    assert found.best_params_ == {"threshold": 0.25}


def test_what_is_stored_of_a_fit_has_not_grown(blind):
    assert set(vars(blind)) == {*blind.get_params(deep=False), "model_", "classes_", "reference_"}
