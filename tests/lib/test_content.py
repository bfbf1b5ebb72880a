"Two fits of the same specification are the same model, whatever the bytes of their files."

import copy

import pytest
import skops.io

from rumos_bank.data.contract import TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.integrity import content_digest
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.decision import DecisionModel, make_decision
from rumos_bank.model.explain import make_reference
from rumos_bank.model.families import FAMILIES, make_model

SMALLER = {
    "SVC": {"n_components": 20},
    "LightGBM": {"n_estimators": 20},
    "Scorecard": {"n_estimators": 20},
    "HistGradientBoosting": {"max_iter": 20, "min_samples_leaf": 10},
}
OTHER = {
    "logistic_reg": {"C": 0.02},
    "KNeighborsClassifier": {"n_neighbors": 7},
    "SVC": {"C": 0.2},
    "Decision_tree": {"min_samples_leaf": 90},
    "Random_forest": {"min_samples_leaf": 21},
    "Neural_networks": {"alpha": 0.02},
    "LightGBM": {"reg_lambda": 2.0},
    "HistGradientBoosting": {"l2_regularization": 9.0},
    "Scorecard": {"learning_rate": 0.11},
}
CLIENTS = make_synthetic_clients(300, seed=8)


def fit(name: str, seed: int = 42, threshold: float = 0.25, **more: object) -> DecisionModel:
    "A decision with everything that is stored."
    trial = {**FAMILIES[name].trials[0], **SMALLER.get(name, {}), **more}
    model = make_model(FAMILIES[name], trial, seed, ("SEX", "MARRIAGE", "AGE"))
    decision = make_decision(model, threshold, Costs(), ("SEX", "MARRIAGE", "AGE")).fit(
        CLIENTS, CLIENTS[TARGET]
    )
    decision.reference_ = make_reference(decision, CLIENTS, decision.predict_proba(CLIENTS)[:, 1])
    return decision


def digest(decision: DecisionModel) -> str:
    return content_digest(skops.io.dumps(decision))


@pytest.fixture(scope="module", params=FAMILIES)
def fitted(request) -> tuple[str, DecisionModel]:
    return request.param, fit(request.param)


def test_a_second_fit_has_the_same_content_in_other_bytes(fitted):
    name, decision = fitted
    files = skops.io.dumps(decision), skops.io.dumps(fit(name))
    assert files[0] != files[1] and content_digest(files[0]) == content_digest(files[1])


def test_another_parameter_has_another_content(fitted):
    name, decision = fitted
    assert digest(decision) != digest(fit(name, **OTHER[name]))


def test_a_file_that_was_loaded_and_stored_again_has_the_same_content(fitted):
    _, decision = fitted
    stored = skops.io.dumps(decision)
    again = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    assert digest(again) == content_digest(stored)


def test_another_seed_has_another_content():
    assert digest(fit("Random_forest", seed=42)) != digest(fit("Random_forest", seed=43))


def test_every_part_of_a_decision_counts():
    decision = fit("Decision_tree")
    changed = [copy.deepcopy(decision) for _ in range(4)]
    changed[0].set_params(threshold=0.26)
    changed[1].set_params(refer_margin=1.0)
    changed[2].reference_ = None
    changed[3].model_.steps[-1][1].tree_.value[0, 0, 0] += 1e-9
    assert len({digest(each) for each in [decision, *changed]}) == 5


def test_how_many_threads_there_were_does_not_count():
    "scikit-learn keeps the number with its bins; the trees are the same."
    decision = fit("HistGradientBoosting")
    bins = decision.model_.steps[-1][1]._bin_mapper
    before, bins.n_threads = digest(decision), bins.n_threads + 1
    assert digest(decision) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip file"])
def test_a_file_without_a_model_is_refused(content):
    with pytest.raises(StoreError, match="no skops file"):
        content_digest(content)
