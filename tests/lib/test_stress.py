"Stress and stability: every scenario by hand, decisions out of fold, refits that differ for one reason only, and other populations."

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rumos_bank.data.contract import (
    BILLS,
    CLIENT_COLUMNS,
    EXAMPLE_CLIENT,
    FIELD_OF,
    PAYMENTS,
    STATUSES,
    TARGET,
    find_good_rows,
)
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import PACKAGED, read_settings
from rumos_bank.model.cost import choose_threshold, cost_each, decide
from rumos_bank.model.decision import make_decision
from rumos_bank.model.evaluate import calibration_error
from rumos_bank.model.explain import find_changes, make_reference
from rumos_bank.model.families import find_family, make_model
from rumos_bank.model.search import make_folds
from rumos_bank.validation.slices import slice_clients
from rumos_bank.validation.stress import (
    CODE,
    ENOUGH,
    MISREAD,
    RESAMPLE,
    SCENARIOS,
    SEED,
    SHIFTS,
    WORSE,
    Refits,
    choose_scenarios,
    fit_again,
    fit_folds,
    measure_blocks,
    measure_shifts,
    measure_stability,
    measure_stress,
    widen_limit,
)

SETTINGS = read_settings(PACKAGED, environ={})
COSTS, PROTECTED = SETTINGS.costs, tuple(SETTINGS.model.protected)
COLUMN = {name: position for position, name in enumerate(CLIENT_COLUMNS)}
BY_NAME = {each.name: each for each in SCENARIOS}


class Rule:
    "Refuses where one field is at least so large; the probability is 0 or 1."

    def __init__(self, field: str, least: float):
        self.position, self.least = COLUMN[field], least

    def predict(self, X):
        return (X[:, self.position] >= self.least).astype(int)

    def predict_proba(self, X):
        return np.column_stack([1 - self.predict(X), self.predict(X)]).astype(float)


def record_of(family: str, seed: int = 42, **parameters: object) -> dict:
    return {"family": family, "parameters": parameters, "seed": seed, "protected": list(PROTECTED)}


def decision_of(record: dict, train: pd.DataFrame):
    model = make_model(find_family(record["family"]), record["parameters"], record["seed"], PROTECTED)
    made = make_decision(model, 0.25, COSTS, PROTECTED).fit(train, train[TARGET].to_numpy())
    made.reference_ = make_reference(made, train, made.predict_proba(train)[:, 1])
    return made


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return make_synthetic_clients(2000, seed=3)


@pytest.fixture(scope="module")
def raw(train) -> np.ndarray:
    return train[list(CLIENT_COLUMNS)].to_numpy(float)


@pytest.fixture(scope="module")
def tree(train):
    "A tree and its record."
    record = record_of("Decision_tree", max_depth=4, min_samples_leaf=50)
    return decision_of(record, train), record


# scenarios


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_scenario_makes_allowed_clients_and_leaves_the_given_ones(scenario, raw):
    before = raw.copy()
    made = scenario.alter(raw)
    assert np.array_equal(raw, before) and made.shape == raw.shape
    assert find_good_rows({name: made[:, place] for name, place in COLUMN.items()}).all()
    changed = {name for name, place in COLUMN.items() if (made[:, place] != raw[:, place]).any()}
    assert changed == {scenario.field} if scenario.field else len(changed) >= 1


def test_every_field_is_stressed_alone_and_every_allowed_code_is_tried():
    amounts = [each.field for each in SCENARIOS if each.kind == MISREAD]
    codes = [each.name for each in SCENARIOS if each.kind == CODE]
    assert {*amounts} | {each.field for each in SCENARIOS if each.kind == CODE} == {*CLIENT_COLUMNS}
    assert all(amounts.count(name) == 2 for name in amounts)
    assert len(codes) == sum(len(known.codes) for known in FIELD_OF.values())


def test_the_scenarios_of_worse_clients_by_hand():
    client = np.array([[EXAMPLE_CLIENT[name] for name in CLIENT_COLUMNS]], float)
    client[0, COLUMN["PAY_6"]], client[0, COLUMN["BILL_AMT6"]] = 9, -1001

    def field(scenario: str, name: str) -> float:
        return BY_NAME[scenario].alter(client)[0, COLUMN[name]]

    assert [field("all statuses a step later", name) for name in STATUSES] == [1, 1, 1, 1, 1, 9]
    assert (
        field("all bills × 1.3", BILLS[0]) == round(8864 * 1.3)
        and field("all bills × 1.3", BILLS[5]) == -1001
    )
    assert field("newest bill + 30 % of the limit", BILLS[0]) == 8864 + 9000
    assert [field("all payments × 0.5", name) for name in PAYMENTS[:2]] == [750, 1000]
    assert field("limit × 0.5", "LIMIT_BAL") == 15_000


def test_what_is_protected_is_not_stressed():
    names = {each.field for each in choose_scenarios(PROTECTED)}
    assert not names & {*PROTECTED} and "LIMIT_BAL" in names
    stated = {each.field for each in choose_scenarios(tuple({*PROTECTED} - {"EDUCATION"}))}
    assert stated - names == {"EDUCATION"}  # a model that reads what clients state is stressed by it
    assert {each.kind for each in choose_scenarios(PROTECTED, [WORSE])} == {WORSE}


# stress


def test_the_effect_of_a_scenario_by_hand():
    clients = np.repeat([[EXAMPLE_CLIENT[name] for name in CLIENT_COLUMNS]], 5, axis=0).astype(float)
    clients[:, COLUMN["LIMIT_BAL"]] = [10_000, 47_000, 50_000, 54_000, 90_000]
    scenarios = [each for each in SCENARIOS if each.field == "LIMIT_BAL"]  # × 0.9, × 1.1
    found = measure_stress(Rule("LIMIT_BAL", 50_000), clients, np.array([0, 1, 1, 0, 0]), COSTS, scenarios)
    assert found["now_refused"].tolist() == [0, 0.2] and found["now_accepted"].tolist() == [0.4, 0]
    assert found["changed"].tolist() == [0.4, 0.2]
    assert found["turned"].round(9).tolist() == [round(2 / 3, 9), 0]  # of the three refused
    assert found["risk_shift"].round(9).tolist() == [-0.4, 0.2]
    assert found["euros"].tolist() == [(3000 - 1000) / 5, -3000 / 5]


def test_prices_of_each_client_are_counted_client_by_client():
    "Costs may be arrays aligned with the clients: the euros are those of the clients whose decision changes."
    clients = np.repeat([[EXAMPLE_CLIENT[name] for name in CLIENT_COLUMNS]], 2, axis=0).astype(float)
    clients[:, COLUMN["LIMIT_BAL"]] = [52_000, 90_000]
    own = SimpleNamespace(false_positive=np.array([10.0, 7.0]), false_negative=np.array([400.0, 5.0]))
    scenarios = [BY_NAME["credit limit × 0.9"]]
    found = measure_stress(Rule("LIMIT_BAL", 50_000), clients, np.array([1, 1]), own, scenarios)
    assert found["euros"].item() == 400 / 2


def test_out_of_fold_decisions_are_those_of_models_that_had_not_seen_the_client(tree, train, raw):
    decision, _ = tree
    fold = make_folds(train[TARGET].to_numpy(), 3, seed=0)
    unseen = fit_folds(decision, train, fold)
    for number in range(3):
        known, here = train[fold != number], fold == number
        alone = make_decision(decision.model, 0.25, COSTS, PROTECTED).fit(known, known[TARGET].to_numpy())
        assert np.array_equal(unseen.predict_proba(raw)[here], alone.predict_proba(raw[here]))
    assert np.array_equal(unseen.predict(raw), decide(unseen.predict_proba(raw)[:, 1], 0.25))
    with pytest.raises(ParameterError, match="clients has 5"):
        unseen.predict(raw[:5])
    with pytest.raises(ParameterError, match="fold has 4"):
        fit_folds(decision, train, fold[:4])


# stability


def test_no_fit_sees_the_held_out_clients(tree, train):
    "Their outcomes may be anything: the fits stay the same."
    decision, record = tree
    held_out = np.arange(len(train)) < 400
    other = train.assign(**{TARGET: np.where(held_out, 1 - train[TARGET], train[TARGET])})
    first, second = (fit_again(decision, record, each, held_out, 1, 2) for each in (train, other))
    pairs = [
        (first.base, second.base),
        *zip((d for _, d in first.again), (d for _, d in second.again), strict=True),
    ]
    for ours, theirs in pairs:
        assert np.array_equal(ours.predict_proba(train), theirs.predict_proba(train))


def test_a_seed_changes_random_models_only_and_resamples_change_both(train):
    held_out = np.arange(len(train)) % 5 == 0
    random = record_of("Decision_tree", max_depth=6, min_samples_leaf=20, splitter="random")
    plain = record_of("Decision_tree", max_depth=6, min_samples_leaf=20)
    changed = {}
    for name, record in (("random", random), ("plain", plain)):
        decision = decision_of(record, train)
        refits = fit_again(decision, record, train, held_out, seeds=2, resamples=2)
        assert [kind for kind, _ in refits.again] == [SEED, SEED, RESAMPLE, RESAMPLE]
        table = measure_stability(refits, train, explained=0)
        changed[name] = table.groupby("kind")["changed"].mean()
    assert changed["plain"][SEED] == 0 < changed["random"][SEED]
    assert min(each[RESAMPLE] for each in changed.values()) > 0


def test_the_base_is_the_specification_and_the_same_at_every_call(tree, train):
    decision, record = tree
    held_out = np.zeros(len(train), bool)
    held_out[:1] = True
    once, again = (fit_again(decision, record, train, held_out, 0, 2) for _ in range(2))
    for ours, theirs in zip(once.again, again.again, strict=True):
        assert np.array_equal(ours[1].predict_proba(train), theirs[1].predict_proba(train))
    known = train[~held_out]
    alone = make_decision(decision.model, 0.25, COSTS, PROTECTED).fit(known, known[TARGET].to_numpy())
    assert np.array_equal(once.base.predict_proba(train), alone.predict_proba(train))


def test_a_fit_that_is_the_base_changes_nothing_and_one_that_refuses_all_keeps_no_change(tree, train):
    decision, _ = tree
    all_refused = make_decision(decision.model, 0.0, COSTS, PROTECTED).fit(train, train[TARGET].to_numpy())
    all_refused.reference_ = decision.reference_
    refits = Refits(decision, [(SEED, decision), (SEED, all_refused)], np.ones(len(train), bool))
    same, strict = measure_stability(refits, train, explained=40).to_dict("records")
    assert [same[name] for name in ("changed", "first_reason", "reasons", "changes_lost")] == [0, 0, 0, 0]
    refused = decision.predict(train)
    assert strict["changed"] == strict["now_refused"] == 1 - refused.mean() and strict["now_accepted"] == 0
    assert strict["changes_lost"] == 1 and strict["first_reason"] == 0  # the same model at another threshold


def test_the_lost_changes_are_the_smallest_ones_of_each_client(tree, train):
    decision, record = tree
    held_out = np.arange(len(train)) < 500
    refits = fit_again(decision, record, train, held_out, 0, 1)
    (row,) = measure_stability(refits, train, explained=30).to_dict("records")
    held = train[held_out]
    refused, lost = held[refits.base.predict(held) == 1].head(30), []
    for client in refused[list(CLIENT_COLUMNS)].to_dict("records"):
        if changes := find_changes(refits.base, client):
            lost.append(int(refits.again[0][1].predict(pd.DataFrame([client | changes[0].fields]))[0]))
    assert lost and row["changes_lost"] == pytest.approx(np.mean(lost))


def test_without_a_refused_client_only_decisions_are_compared(tree, train):
    decision, _ = tree
    lenient = make_decision(decision.model, 1.0, COSTS, PROTECTED).fit(train, train[TARGET].to_numpy())
    refits = Refits(lenient, [(SEED, lenient)], np.ones(len(train), bool))
    table = measure_stability(refits, train)
    assert table["changed"].tolist() == [0]
    assert table[["first_reason", "reasons", "changes_lost"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("clients", "allowed"), [(ENOUGH, 0.05), (10 * ENOUGH, 0.05), (ENOUGH / 4, 0.1), (1, 1.0)]
)
def test_a_limit_is_wider_for_few_clients_and_never_narrower(clients, allowed):
    assert widen_limit(0.05, clients) == pytest.approx(allowed)


# other clients


@pytest.fixture(scope="module")
def judged(train):
    rng = np.random.default_rng(0)
    probability = rng.beta(1.1, 3.9, len(train))
    return (rng.random(len(train)) < probability).astype(int), probability


def test_the_clients_as_they_are_have_their_own_cost_and_error(train, judged):
    defaulted, probability = judged
    same = measure_shifts(train, defaulted, probability, 0.25, COSTS).iloc[0]
    assert same["cost"] == pytest.approx(cost_each(defaulted, decide(probability, 0.25), COSTS).mean())
    assert same["calibration_error"] == pytest.approx(calibration_error(defaulted, probability))
    assert same["clients"] == len(train) and same["default_rate"] == defaulted.mean()


def test_weights_say_what_repeating_clients_would_say(train, judged):
    "Twice as many late clients cost what a table costs in which each late client stands twice."
    defaulted, probability = judged
    (shift,) = [each for each in SHIFTS if each.name == "twice as many late"]
    found = measure_shifts(train, defaulted, probability, 0.25, COSTS, [shift]).iloc[0]
    twice = np.repeat(np.arange(len(train)), 1 + (train["PAY_0"] >= 1).to_numpy())
    cost = cost_each(defaulted[twice], decide(probability[twice], 0.25), COSTS).mean()
    assert found["cost"] == pytest.approx(cost) and found["default_rate"] == pytest.approx(
        defaulted[twice].mean()
    )


def test_the_rates_are_multiplied_as_named(train, judged):
    defaulted, probability = judged
    for shift in SHIFTS:
        weights = shift.weigh(train, defaulted, probability)
        assert (weights > 0).all() and len(weights) == len(train)
        if "×" in shift.name:
            factor = float(shift.name.split("×")[1].split(",")[0])
            rate = probability if "riskier" in shift.name else defaulted
            assert np.average(rate, weights=weights) == pytest.approx(factor * rate.mean(), rel=1e-6)


def test_riskier_clients_stay_calibrated_and_worse_times_do_not(train, judged):
    found = measure_shifts(train, *judged, 0.25, COSTS).set_index("population")
    same, riskier, worse = (
        found.loc[name, "calibration_error"]
        for name in ("as they are", "default rate × 1.5, riskier clients", "default rate × 1.5, worse times")
    )
    assert riskier < same + 0.02 < 0.06 < worse
    assert found.loc["default rate × 1.5, worse times", "gap"] > 5


def test_the_gap_is_at_most_what_the_best_cut_saves(train, judged):
    "A shift of all odds is a new threshold, on a grid."
    defaulted, probability = judged
    same = measure_shifts(train, defaulted, probability, 0.25, COSTS).iloc[0]
    best = choose_threshold(defaulted, probability, COSTS)
    least = cost_each(defaulted, decide(probability, best), COSTS).mean()
    assert 0 <= same["gap"] <= same["cost"] - least + 1e-9 and same["gap"] > (same["cost"] - least) / 4
    own = np.full(len(train), 0.25)  # each client's own threshold
    assert measure_shifts(train, defaulted, probability, own, COSTS).iloc[0].equals(same)


def test_a_block_is_judged_by_a_model_that_never_saw_it(tree, train, raw):
    decision, _ = tree
    defaulted, groups = train[TARGET].to_numpy(), slice_clients(train)["delay history"]
    known = decision.predict(raw)
    found = measure_blocks(
        groups, defaulted, known, fit_folds(decision, train, groups.cat.codes.to_numpy()), raw, COSTS
    )
    assert found["block"].tolist() == list(groups.cat.categories) and found["clients"].sum() == len(train)
    row, here = found.iloc[0], (groups == "never late").to_numpy()
    others = train[~here]
    alone = make_decision(decision.model, 0.25, COSTS, PROTECTED).fit(others, others[TARGET].to_numpy())
    cost = cost_each(defaulted[here], alone.predict(raw[here]), COSTS).mean()
    assert row["cost"] == pytest.approx(cost) and row["more"] == pytest.approx(cost - row["cost_known"])
    assert row["low"] <= row["more"] <= row["high"]
