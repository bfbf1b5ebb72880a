"""Later and paying less are never safer: for the columns, and for the models that are held to it; owing more can be held to."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.data.contract import BILLS, CLIENT_COLUMNS, FIELD_OF, FIELDS, PAYMENTS, STATUSES, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, hold_to, make_model
from rumos_bank.model.features import (
    MOVED,
    PROMISES,
    choose_columns,
    feature_matrix,
    feature_names,
    risk_directions,
)
from rumos_bank.model.scorecard import probability_of, read_points, score
from rumos_bank.validation.judge import measure_promises

PROTECTED = ("SEX", "MARRIAGE", "AGE", "EDUCATION")
NAMES = feature_names(PROTECTED)
ALL = tuple(MOVED)  # the two promises, and the one that is not made
HELD = ("LightGBM", "HistGradientBoosting", "Scorecard")

a_client = st.fixed_dictionaries({field.name: st.integers(field.low, field.high) for field in FIELDS})
months = st.integers(0, 5)


def moved(before: dict, after: dict, promises=PROMISES) -> np.ndarray:
    """By how much each column moves, counted towards more risk."""
    seen = choose_columns(NAMES, promises)
    directions = np.array(risk_directions([NAMES[position] for position in seen], promises))
    matrix = feature_matrix(pd.DataFrame([before, after]), PROTECTED)[:, seen]
    change = matrix[1] - matrix[0]
    assert (change[directions == 0] == 0).all(), "a free column moved: the promise would hang on the data"
    return change * directions


@given(a_client, st.lists(st.integers(-2, 9), min_size=6, max_size=6))
def test_later_statuses_move_columns_towards_risk_only_over_the_whole_scale(client, others):
    """Any months at once, from any status to any later one: -1 to 1 no less than 1 to 2."""
    sooner = {name: min(client[name], other) for name, other in zip(STATUSES, others)}
    later = {name: max(client[name], other) for name, other in zip(STATUSES, others)}
    assert (moved(client | sooner, client | later) >= 0).all()


@pytest.mark.parametrize("month", range(6))
def test_each_pair_of_statuses_is_in_order(month):
    client = {field.name: field.example for field in FIELDS}
    for sooner in range(-2, 9):
        for later in range(sooner + 1, 10):
            assert (
                moved(client | {STATUSES[month]: sooner}, client | {STATUSES[month]: later}) >= 0
            ).all(), (sooner, later)


@given(a_client, st.integers(1, 10_000_000))
def test_owing_more_in_the_latest_month_moves_columns_towards_risk_only(client, more):
    after = client | {BILLS[0]: min(client[BILLS[0]] + more, FIELD_OF[BILLS[0]].high)}
    assert (moved(client, after, ALL) >= 0).all() and (moved(client, after, ["owing more"]) >= 0).all()


@given(a_client, st.sampled_from(CLIENT_COLUMNS), st.integers(0, 10**6))
def test_a_change_moves_no_other_columns_than_it_is_said_to(client, name, number):
    known = FIELD_OF[name]
    matrix = feature_matrix(
        pd.DataFrame([client, client | {name: known.low + number % (known.high - known.low + 1)}])
    )
    changed = {feature_names()[place] for place in np.flatnonzero(matrix[0] != matrix[1])}
    for way, fields in {"being later": STATUSES, "paying less": PAYMENTS, "owing more": BILLS[:1]}.items():
        if name in fields:
            assert changed <= MOVED[way]


@given(a_client, months, st.integers(1, 1_000_000))
def test_a_higher_payment_moves_columns_away_from_risk_only(client, month, more):
    after = client | {PAYMENTS[month]: client[PAYMENTS[month]] + more}
    assert (moved(client, after) <= 0).all()


@pytest.fixture(scope="module", params=HELD)
def decision(request):
    twins = make_synthetic_clients(4000, seed=3)
    family = find_family(request.param)
    model = make_model(family, family.trials[0], 42, PROTECTED)
    return make_decision(model, 0.25, Costs(), PROTECTED).fit(twins, twins[TARGET])


def probability(decision, clients: pd.DataFrame) -> np.ndarray:
    return decision.predict_proba(clients)[:, 1]


@pytest.mark.parametrize("month", range(6))
def test_no_client_is_safer_for_being_later(decision, month):
    clients = make_synthetic_clients(2000, seed=11)
    clients = clients[clients[STATUSES[month]] < 9]
    before = probability(decision, clients)
    for later in (1, 2, 3, 5, 11):
        raised = clients.assign(**{STATUSES[month]: np.minimum(clients[STATUSES[month]] + later, 9)})
        assert (probability(decision, raised) >= before).all()


def test_no_client_is_safer_for_being_later_in_several_months(decision):
    clients, rng = make_synthetic_clients(2000, seed=13), np.random.default_rng(13)
    before = probability(decision, clients)
    for _ in range(5):
        later = clients.copy()
        later[list(STATUSES)] = np.minimum(later[list(STATUSES)] + rng.integers(0, 4, (2000, 6)), 9)
        assert (probability(decision, later) >= before).all()


def test_the_gate_s_own_measure_finds_nothing(decision):
    found = measure_promises(decision, make_synthetic_clients(500, seed=15))
    assert {promise: (found[promise].helped, found[promise].most) for promise in PROMISES} == {
        "being later": (0.0, 0.0),
        "paying less": (0.0, 0.0),
    }


@pytest.mark.parametrize("name", ["LightGBM", "HistGradientBoosting"])
def test_a_family_can_be_held_to_owing_more_too(name):
    family = hold_to(find_family(name), ALL)
    twins, clients = make_synthetic_clients(4000, seed=3), make_synthetic_clients(2000, seed=14)
    model = make_model(family, family.trials[0], 42, PROTECTED)
    held = make_decision(model, 0.25, Costs(), PROTECTED).fit(twins, twins[TARGET])
    before = probability(held, clients)
    for more in (1, 500, 10_000, 1_000_000):
        owing = clients.assign(**{BILLS[0]: clients[BILLS[0]] + more})
        assert (probability(held, owing) >= before).all()
    assert all(each.helped == each.most == 0 for each in measure_promises(held, clients.head(300)).values())


def test_without_a_promise_the_columns_that_it_left_out_are_seen():
    free = hold_to(find_family("LightGBM"), ["paying less"])
    seen = free.prepare(NAMES).transformers[0][2]
    assert {"PAY_0", "late_change", "months_full"} <= {NAMES[place] for place in seen}
    assert "payment_spread" not in {NAMES[place] for place in seen}
    directions = dict(
        zip([NAMES[place] for place in seen], free.model(0, NAMES).monotone_constraints, strict=True)
    )
    assert directions["late_1"] == directions["use_1"] == 0 and directions["PAY_AMT1"] == -1


def test_only_a_family_that_keeps_promises_can_be_held_to_others():
    with pytest.raises(ParameterError, match="Random_forest cannot be held to promises"):
        hold_to(find_family("Random_forest"), PROMISES)
    with pytest.raises(ParameterError, match="unknown promises \\['smiling'\\]; allowed: being later"):
        hold_to(find_family("Scorecard"), ["smiling"])


@pytest.mark.parametrize("month", range(6))
def test_no_client_is_riskier_for_paying_more(decision, month):
    clients = make_synthetic_clients(2000, seed=12)
    before = probability(decision, clients)
    for more in (1, 1_000, 100_000):
        assert (
            probability(decision, clients.assign(**{PAYMENTS[month]: clients[PAYMENTS[month]] + more}))
            <= before
        ).all()


def test_the_promise_is_not_empty(decision):
    clients = make_synthetic_clients(2000, seed=11)
    later = clients.assign(PAY_0=3)
    assert (probability(decision, later) > probability(decision, clients)).mean() > 0.5


def test_the_points_are_the_model():
    twins = make_synthetic_clients(3000, seed=4)
    family = find_family("Scorecard")
    decision = make_decision(make_model(family, family.trials[-1], 42, PROTECTED), 0.25, Costs(), PROTECTED)
    decision.fit(twins[list(CLIENT_COLUMNS)], twins[TARGET])
    table, some = read_points(decision), make_synthetic_clients(200, seed=5)
    values = pd.DataFrame(feature_matrix(some, PROTECTED), columns=NAMES).to_dict("records")
    sums = [score(table, each)["points"].iloc[-1] for each in values]
    np.testing.assert_allclose(
        [probability_of(points) for points in sums], probability(decision, some), rtol=1e-9
    )
    assert len(table) <= 12 * len(set(table["column"]))
    late = table.loc[table["column"] == "late_recent", "points"]
    assert late.is_monotonic_decreasing
    for gap in ({"room": np.nan}, {"room": np.inf, "late_recent": np.nan}):
        with pytest.raises(ParameterError, match=f"and has none in: {', '.join(sorted(gap))}"):
            score(table, values[0] | gap)
    with pytest.raises(ParameterError, match="and has none in: late_recent"):
        score(table, {name: value for name, value in values[0].items() if name != "late_recent"})
