"Every family fits, gives the same twice, and is trained for calibrated probabilities."

import json

import numpy as np
import pandas as pd
import pytest

from rumos_bank.data.contract import TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.model.families import FAMILIES, find_family, make_model, plain_parameters
from rumos_bank.model.features import feature_matrix

PROTECTED = ("SEX", "MARRIAGE", "AGE", "EDUCATION")
REGISTERED = {  # the bank's names, for ever
    "Neural_networks",
    "Random_forest",
    "Decision_tree",
    "SVC",
    "KNeighborsClassifier",
    "logistic_reg",
}
WEIGHTS = ("class_weight", "scale_pos_weight", "is_unbalance")


@pytest.fixture(scope="module")
def twins() -> pd.DataFrame:
    return make_synthetic_clients(600, seed=5)


def first_model(name: str, seed: int = 42):
    family = find_family(name)
    return make_model(family, family.trials[0], seed, PROTECTED)


def test_the_registered_names_are_there():
    assert set(FAMILIES) >= REGISTERED
    assert all(name == family.name for name, family in FAMILIES.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_trial_fits_and_predicts_the_same_twice(name, twins):
    X, y = feature_matrix(twins, PROTECTED), twins[TARGET].to_numpy()
    first, second = (first_model(name).fit(X, y).predict_proba(X) for _ in range(2))
    assert first.shape == (600, 2) and np.isfinite(first).all()
    assert first.min() >= 0 and first.max() <= 1
    np.testing.assert_allclose(first.sum(axis=1), 1)
    np.testing.assert_array_equal(first, second)
    assert first[y == 1, 1].mean() > first[y == 0, 1].mean()  # 1 = default, in this order


@pytest.mark.parametrize("name", FAMILIES)
def test_every_trial_is_another_one_and_can_be_made(name):
    family = find_family(name)
    assert len({tuple(sorted(trial.items())) for trial in family.trials}) == len(family.trials) > 0
    for trial in family.trials:
        known = plain_parameters(make_model(family, trial, 42, PROTECTED))
        expected = dict(trial)
        if "hidden" in trial:  # one layer of so many
            expected["hidden_layer_sizes"] = (expected.pop("hidden"),)
        assert {parameter: known[parameter] for parameter in expected} == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_weighs_clients_but_the_one_that_is_calibrated_after(name):
    # weights distort probabilities, and scikit-learn 1.9 changed what `balanced` means in forests
    parameters = make_model(find_family(name), find_family(name).trials[0], 42).get_params()
    weights = {key: value for key, value in parameters.items() if key.split("__")[-1] in WEIGHTS}
    if name == "SVC":
        assert list(weights.values()) == [{0: 1, 1: 2}]
        assert parameters["calibratedclassifiercv__method"] == "sigmoid"
    else:
        assert all(value is None for value in weights.values())
    assert not any(weight in trial for trial in find_family(name).trials for weight in WEIGHTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_reaches_every_random_part(name):
    seeds = [
        value
        for key, value in first_model(name, seed=4711).get_params().items()
        if key.split("__")[-1] == "random_state" and not key.startswith("columntransformer")
    ]
    assert all(4711 <= seed < 4711 + 3 for seed in seeds)
    assert len(seeds) >= (0 if name == "KNeighborsClassifier" else 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_core_is_asked_for(name):
    cores = [value for key, value in first_model(name).get_params().items() if key.endswith("n_jobs")]
    assert all(value in (None, 1) for value in cores)


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "Random_forest",
            {"n_estimators": 150, "min_samples_leaf": 20, "class_weight": None, "random_state": 42},
        ),
        (
            "Decision_tree",
            {"max_depth": 4, "min_samples_leaf": 100, "class_weight": None, "random_state": 42},
        ),
        ("KNeighborsClassifier", {"n_neighbors": 80, "weights": "uniform"}),
        (
            "SVC",
            {
                "C": 0.1,
                "gamma": 0.01,
                "n_components": 300,
                "method": "sigmoid",
                "class_weight": {0: 1, 1: 2},
            },
        ),
        (
            "Scorecard",
            {"num_leaves": 2, "monotone_constraints": [1, -1, 1, 1, -1, -1, 0, 0, 0, 0, 0]},
        ),
        ("Neural_networks", {"alpha": 0.01, "hidden_layer_sizes": (16,), "voting": "soft"}),
        ("logistic_reg", {"C": 0.01, "max_iter": 500, "class_weight": None, "random_state": 42}),
    ],
)
def test_parameters_have_their_plain_names(name, expected):
    parameters = plain_parameters(first_model(name))
    assert {key: parameters[key] for key in expected} == expected
    assert not any("__" in key for key in parameters)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_written_down_is_plain_and_short(name):
    parameters = plain_parameters(first_model(name))
    assert json.loads(json.dumps(parameters)).keys() == parameters.keys()
    assert all(len(str(value)) < 500 for value in parameters.values())  # MLflow takes 6,000
    assert "estimators" not in parameters and "steps" not in parameters


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match="unknown family 'XGBoost'") as caught:
        find_family("XGBoost")
    assert all(name in str(caught.value) for name in FAMILIES)
