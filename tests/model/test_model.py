"The bank's own tests of a model: what is known about two clients, the answer's shape, and that sex changes nothing."

import numpy as np
import pandas as pd
import pytest
from stores import champion_of

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.sources import split_clients
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.settings import PACKAGED, read_settings
from rumos_bank.model.decision import DecisionModel, make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.serving.champion import Champion

SETTINGS = read_settings(PACKAGED, environ={})
OTHERS = [name for name in CLIENT_COLUMNS if name not in SETTINGS.model.protected]


def learn(train: pd.DataFrame) -> DecisionModel:
    "The champion's family, quickly, at the threshold that the settings' costs ask for."
    family, protected = find_family("HistGradientBoosting"), SETTINGS.model.protected
    trial = {**family.trials[0], "learning_rate": 0.1, "max_iter": 60}
    model = make_model(family, trial, SETTINGS.split.seed, protected)
    decision = make_decision(model, SETTINGS.costs.bayes_threshold, SETTINGS.costs, protected)
    return decision.fit(train, train[TARGET])


@pytest.fixture(scope="module", params=["twins", pytest.param("real", marks=pytest.mark.real)])
def parts(request) -> tuple[pd.DataFrame, pd.DataFrame]:
    "Train and test clients."
    clients = (
        make_synthetic_clients(6000, seed=9)
        if request.param == "twins"
        else request.getfixturevalue("real").clients
    )
    return split_clients(clients, SETTINGS.split)


@pytest.fixture(scope="module")
def model(parts) -> DecisionModel:
    return learn(parts[0])


@pytest.fixture(scope="module")
def champion(model) -> Champion:
    return champion_of(model)


def test_model_no_default(model, champion):
    decision = champion.decide(EXAMPLE_CLIENT)
    assert decision.prediction == 0 and decision.probability < decision.threshold == 0.25
    assert decision.expected_cost_accept < decision.expected_cost_refuse
    assert model.predict(pd.DataFrame([EXAMPLE_CLIENT])).tolist() == [0]


def test_model_default(model, champion):
    decision = champion.decide(LATE_CLIENT)
    assert decision.prediction == 1 and decision.probability >= decision.threshold
    assert decision.expected_cost_accept > decision.expected_cost_refuse
    assert model.predict(pd.DataFrame([LATE_CLIENT])).tolist() == [1]


def test_model_out_shape(model, champion, parts):
    _, test = parts
    answer = model.predict(test)
    assert answer.shape == (len(test),) and answer.dtype == np.int64 and set(answer) == {0, 1}
    probabilities = model.predict_proba(test)
    assert probabilities.shape == (len(test), 2) and np.allclose(probabilities.sum(axis=1), 1)
    decided = champion.decide(test)
    assert decided.shape == (len(test), 7) and decided.index.equals(test.index)
    assert len(champion.decide(test.head(3).to_dict("records"))) == 3


def test_model_gender(model, champion, parts):
    _, test = parts
    assert set(test["SEX"]) == {1, 2} and len(test) >= 1_200
    other = test.assign(SEX=3 - test["SEX"])
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(test))
    pd.testing.assert_frame_equal(champion.decide(other), champion.decide(test))
    clients, others = (frame[list(CLIENT_COLUMNS)].to_dict("records") for frame in (test, other))
    assert champion.decide(others) == champion.decide(clients)


@pytest.mark.parametrize("name", SETTINGS.model.protected)
def test_no_protected_attribute_changes_a_decision(name, model, champion, parts):
    _, test = parts
    other = test.assign(**{name: test[name].sample(frac=1, random_state=1).to_numpy()})
    assert (other[name] != test[name]).any()
    pd.testing.assert_frame_equal(champion.decide(other), champion.decide(test))
    pd.testing.assert_frame_equal(champion.decide(test[OTHERS]), champion.decide(test))


def test_one_by_one_in_a_list_and_in_columns_the_same_bits(champion, parts):
    _, test = parts
    clients = test[OTHERS].to_dict("records")
    listed = pd.DataFrame(champion.decide(clients), index=test.index)
    pd.testing.assert_frame_equal(listed, champion.decide(test), check_exact=True)
    assert [champion.decide(client) for client in clients] == list(champion.decide(clients))
