"""Later is never safer, paying more is never riskier: for the columns, and for the models that are held to them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.data.contract import CLIENT_COLUMNS, FIELDS, PAYMENTS, STATUSES, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.model.features import choose_columns, feature_matrix, feature_names, risk_directions
from rumos_bank.model.scorecard import probability_of, read_points, score

PROTECTED = ("SEX", "MARRIAGE", "AGE")
NAMES = feature_names(PROTECTED)
SEEN = choose_columns(NAMES, monotone=True)
DIRECTIONS = np.array(risk_directions([NAMES[position] for position in SEEN]))
HELD = ("LightGBM", "HistGradientBoosting", "Scorecard")

a_client = st.fixed_dictionaries({field.name: st.integers(field.low, field.high) for field in FIELDS})
months = st.integers(0, 5)


def moved(before: dict, after: dict) -> np.ndarray:
    """By how much each column moves, counted towards more risk."""
    matrix = feature_matrix(pd.DataFrame([before, after]), PROTECTED)[:, SEEN]
    change = matrix[1] - matrix[0]
    assert (change[DIRECTIONS == 0] == 0).all(), "a free column moved: the promise would hang on the data"
    return change * DIRECTIONS


@given(a_client, months, st.integers(0, 9), st.integers(1, 9))
def test_a_later_status_moves_columns_towards_risk_only(client, month, status, later):
    before = client | {STATUSES[month]: min(status, 8)}
    after = before | {STATUSES[month]: min(min(status, 8) + later, 9)}
    assert (moved(before, after) >= 0).all()


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
    clients = clients[clients[STATUSES[month]].between(0, 8)]
    before = probability(decision, clients)
    for later in (1, 2, 5):
        raised = clients.assign(**{STATUSES[month]: np.minimum(clients[STATUSES[month]] + later, 9)})
        assert (probability(decision, raised) >= before).all()


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
