"Drift: as few false alarms in clean windows as promised, and an alarm for every drift that is put in."

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.data.contract import BILLS, CLIENT_COLUMNS, PAYMENTS, STATUSES, TARGET
from rumos_bank.data.drift import choose_cells, count_cells, join_rare_cells, measure_distance, measure_psi
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import CasesSettings, Costs
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.monitoring.metrics import (
    NO_COHORT,
    Cohort,
    Rule,
    Tally,
    count_cohort,
    count_decided,
    count_outcomes,
    judge_metrics,
    make_watch_reference,
    read_metrics,
)

PROTECTED = ("SEX", "MARRIAGE", "AGE")
SEEN = [name for name in CLIENT_COLUMNS if name not in PROTECTED]
RATE = 0.01

# Two groups of clients

counts = st.lists(st.integers(0, 5_000), min_size=2, max_size=12).map(np.array).filter(lambda row: row.sum())


@given(st.data())
def test_a_group_is_like_itself_and_the_order_of_cells_does_not_matter(data):
    seen = data.draw(counts)
    expected = data.draw(st.permutations(seen.tolist()).map(np.array))
    order = data.draw(st.permutations(range(len(seen))).map(list))
    assert measure_psi(seen, seen) == measure_distance(seen, seen) == 0
    for measure in (measure_psi, measure_distance):
        assert np.isclose(measure(seen, expected), measure(seen[order], expected[order]))
        assert measure(seen, expected) >= 0
    assert measure_distance(seen, expected) <= 1


values = st.lists(st.integers(-20, 20), min_size=1, max_size=400).map(np.array)


@given(values, values, st.booleans())
def test_every_value_falls_into_one_cell_whatever_the_reference(reference, later, coded):
    cells = choose_cells(reference, coded)
    counted = [count_cells(cells, values) for values in (reference, later)]
    assert [len(each) for each in counted] == [len(counted[0])] * 2
    assert [int(each.sum()) for each in counted] == [len(reference), len(later)]


@given(values)
def test_no_cell_of_amounts_is_small(reference):
    cells = count_cells(choose_cells(reference), reference)
    assert len(cells) == 1 or cells.min() >= 0.05 * len(reference)


def test_a_code_that_was_never_seen_is_not_taken_for_another():
    cells = choose_cells(np.repeat([1, 2, 3], [500, 400, 100]), coded=True)
    known, new = count_cells(cells, np.array([1, 2, 2])), count_cells(cells, np.array([9, 2, 2]))
    assert known.tolist() == [1, 2, 0, 0] and new.tolist() == [0, 2, 0, 1]


@given(st.data())
def test_joined_cells_hold_all_clients_and_are_not_rare(data):
    seen = data.draw(counts)
    same_length = st.lists(st.integers(0, 5_000), min_size=len(seen), max_size=len(seen))
    expected = data.draw(same_length.map(np.array).filter(lambda row: row.sum()))
    ours, theirs = join_rare_cells(seen, expected)
    assert len(ours) == len(theirs) and (ours.sum(), theirs.sum()) == (seen.sum(), expected.sum())
    smaller = min(seen.sum(), expected.sum())
    likely = (ours + theirs) * smaller / (seen.sum() + expected.sum())
    assert likely.min() >= min(5, smaller) - 1e-9
    if ((seen + expected) * smaller >= 5 * (seen.sum() + expected.sum())).all():
        assert ours.tolist() == seen.tolist() and theirs.tolist() == expected.tolist()


def test_the_rarest_cells_are_joined_and_stand_last():
    ours, theirs = join_rare_cells(np.array([1, 150, 1, 40, 8]), np.array([0, 6800, 110, 2100, 990]))
    assert ours.tolist() == [150, 40, 10] and theirs.tolist() == [6800, 2100, 1100]


@pytest.mark.parametrize("compare", [join_rare_cells, measure_distance, measure_psi])
def test_two_groups_are_compared_in_the_same_cells(compare):
    with pytest.raises(ParameterError, match="seen has 1, expected has 2"):
        compare(np.array([100]), np.array([50, 50]))


# Windows of clients


class World:
    "A model that learned from synthetic clients, its reference, and the clients that come later."

    def __init__(self) -> None:
        clients = make_synthetic_clients(24_000, seed=11)
        train, fresh, self.stream = clients[:8000], clients[8000:12_000], clients[12_000:]
        family = find_family("LightGBM")
        model = make_model(family, family.trials[0], 1, PROTECTED)
        self.decision = make_decision(model, 0.25, Costs(), PROTECTED).fit(train, train[TARGET])
        probability = self.decision.predict_proba(fresh)[:, 1]
        self.held = make_watch_reference(self.decision, train, probability, fresh[TARGET].to_numpy())
        self.reference = Tally(**{name: self.held[name] for name in ("counts", "cost", "outcomes")})
        self.rule = Rule(0.25, 1000.0, 3000.0)
        self.risk = self.decision.predict_proba(self.stream)[:, 1]
        self.fields = {name: self.stream[name].to_numpy() for name in SEEN}
        self.defaulted = self.stream[TARGET].to_numpy()

    def judge(self, fields: dict, risk: np.ndarray, defaulted: np.ndarray | None = None) -> set[str]:
        "The names of the metrics that raise an alarm."
        tally = count_decided(self.held["cells"], self.rule, fields, risk)
        cohort = NO_COHORT if defaulted is None else self.count(risk, defaulted)
        readings = judge_metrics(read_metrics(tally, self.reference, self.rule, cohort=cohort), RATE)
        return {reading.name for reading in readings if reading.alarm}

    def count(self, risk: np.ndarray, outcome: np.ndarray) -> Cohort:
        "The cohort of clients about whom no person decided."
        refused = self.rule.refuses(risk)
        return count_cohort(refused, refused, risk, outcome)

    def alarms(self, clients: pd.DataFrame, risk: np.ndarray | None = None) -> set[str]:
        "The same for clients as they reach a service: the model's probabilities follow from their fields."
        risk = self.decision.predict_proba(clients)[:, 1] if risk is None else risk
        return self.judge({name: clients[name].to_numpy() for name in SEEN}, risk)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("size", [200, 2000])
def test_700_clean_windows_raise_no_more_alarms_than_promised(world, size):
    "At 1 % seven are expected; sixteen or more would happen to a true 1 % in less than three of a thousand."
    rng, alarms = np.random.default_rng(size), 0
    for _ in range(700):
        rows = rng.choice(len(world.risk), size, replace=False)
        fields = {name: values[rows] for name, values in world.fields.items()}
        alarms += bool(world.judge(fields, world.risk[rows], world.defaulted[rows]))
    assert alarms <= 15


@pytest.mark.parametrize("size", [200, 1000, 12_000])
def test_a_clean_window_raises_no_alarm(world, size):
    assert not world.alarms(world.stream[:size])


def shift_months(clients: pd.DataFrame) -> pd.DataFrame:
    "The newest month is missing, and every other month is taken for the one after it."
    moved = clients.copy()
    for names in (STATUSES, BILLS, PAYMENTS):
        moved[list(names[:-1])] = clients[list(names[1:])].to_numpy()
    return moved


DRIFTS = {
    "a field in another unit": (300, {"LIMIT_BAL"}, lambda c: c.assign(LIMIT_BAL=c["LIMIT_BAL"] // 40)),
    "an amount half as large": (1000, {"BILL_AMT1"}, lambda c: c.assign(BILL_AMT1=c["BILL_AMT1"] // 2)),
    "two codes swapped": (
        1000,
        {"EDUCATION"},
        lambda c: c.assign(EDUCATION=c["EDUCATION"].replace({1: 2, 2: 1})),
    ),
    "a code that never was": (
        1000,
        {"EDUCATION"},
        lambda c: c.assign(EDUCATION=c["EDUCATION"].replace({3: 6})),
    ),
    "a month missing": (1000, {"PAY_0"}, shift_months),
    "a field that is constant": (200, {"PAY_AMT3"}, lambda c: c.assign(PAY_AMT3=0)),
    "a limit 5 % higher, in a large window": (
        12_000,
        {"LIMIT_BAL"},
        lambda c: c.assign(LIMIT_BAL=(c["LIMIT_BAL"] * 1.05).astype(int)),
    ),
    "one client of twenty who pays late, in a large window": (
        12_000,
        {"PAY_0"},
        lambda c: c.assign(PAY_0=c["PAY_0"].where(np.arange(len(c)) % 20 > 0, 2)),
    ),
    "late payers": (
        500,
        {"PAY_0", "score", "refused"},
        lambda c: c.assign(PAY_0=c["PAY_0"].clip(lower=2)),
    ),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_a_drift_that_is_put_in_raises_an_alarm_by_name(world, name):
    size, expected, change = DRIFTS[name]
    assert expected <= world.alarms(change(world.stream[:size]))


def test_one_field_that_moves_raises_its_own_alarm_alone(world):
    risk = world.risk[:2000]
    clients = world.stream[:2000].assign(BILL_AMT6=world.stream["BILL_AMT6"][:2000] // 3)
    assert world.alarms(clients, risk) == {"BILL_AMT6"}


def test_scores_that_move_raise_an_alarm_though_no_field_does(world):
    assert {"score", "cost"} <= world.alarms(world.stream[:1000], world.risk[:1000] * 0.8)


@pytest.mark.parametrize("more", [0.06, 0.2])
def test_a_rise_of_defaults_raises_an_alarm_once_outcomes_are_known(world, more):
    "Six of a hundred payers default instead, and nothing else can be seen."
    size, rng = 4000, np.random.default_rng(3)
    fields = {name: values[:size] for name, values in world.fields.items()}
    worse = np.maximum(world.defaulted[:size], rng.random(size) < more)
    assert world.judge(fields, world.risk[:size], world.defaulted[:size]) == set()
    assert world.judge(fields, world.risk[:size], worse) == {"defaults"}


NOTHING = Tally({}, np.zeros(3), np.zeros((2, 4)))


def alarms_of(world: World, size: int, reported: float, judge) -> int:
    "Clean windows of 300 that raise an alarm, if so many of the payers and all defaulters are reported."
    rng, alarms = np.random.default_rng(size), 0
    known = count_outcomes(world.rule.refuses(world.risk), world.risk, world.defaulted)
    reference = Tally({}, np.zeros(3), 100 * known)  # so large that the window alone is uncertain
    for _ in range(300):
        rows = rng.choice(len(world.risk), size)
        risk, outcome = world.risk[rows], world.defaulted[rows].copy()
        outcome[(outcome == 0) & (rng.random(size) >= reported)] = -1
        cohort = world.count(risk, outcome)
        readings = read_metrics(NOTHING, reference, world.rule, cohort=judge(cohort))
        alarms += any(each.alarm for each in judge_metrics(readings, RATE))
    return alarms


@pytest.mark.parametrize(("size", "reported"), [(1000, 0.7), (1000, 0.96), (40_000, 0.96)])
def test_outcomes_that_are_missing_raise_no_more_alarms_than_promised(world, size, reported):
    """Who pays is reported late. Judged as if those missing did not exist, hundreds of clean windows raise an alarm.

    At 1 % three of 300 are expected; nine or more would happen to a true 1 % in four of a thousand.
    """
    asked = CasesSettings().least_outcomes

    def as_the_monitor(cohort: Cohort) -> Cohort:
        return cohort if cohort.covers(asked) else NO_COHORT

    assert alarms_of(world, size, reported, as_the_monitor) <= 8
    naive = alarms_of(world, size, reported, lambda cohort: cohort._replace(missing=0))
    assert naive > 100 or (size, reported) == (1000, 0.96), "the test could not fail"


def test_a_rise_of_defaults_is_found_though_some_outcomes_are_missing(world):
    rng, size = np.random.default_rng(4), 4000
    outcome = np.maximum(world.defaulted[:size], rng.random(size) < 0.2)
    outcome[rng.random(size) < 0.03] = -1
    cohort = world.count(world.risk[:size], outcome)
    assert cohort.covers(0.95) and cohort.missing > 50
    readings = judge_metrics(read_metrics(NOTHING, world.reference, world.rule, cohort=cohort), RATE)
    assert [(each.name, each.alarm) for each in readings] == [("defaults", True), ("realised", False)]


def test_the_realised_cost_is_that_of_the_banks_decisions_with_the_models_beside_it(world):
    "Refused by the model: the last three. An officer accepts the first two of them; one defaults, one pays."
    risk, outcome = np.array([0.1, 0.1, 0.6, 0.6, 0.6]), np.array([1, 0, 1, 0, 0])
    refused, final = risk > 0.25, np.array([False, False, False, False, True])
    cohort = count_cohort(refused, final, risk, outcome)
    assert cohort[1:4] == (4, 0, 1) and cohort.known == 4
    realised = read_metrics(NOTHING, world.reference, world.rule, cohort=cohort)[-1]
    assert np.isclose(realised.seen, 2 * 3000 / 4)
    assert np.isclose(realised.expected, (2 * 0.1 + 2 * 0.6) * 3000 / 4)
    assert np.isclose(realised.model, (3000 + 1000) / 4)
    assert realised.low < realised.seen < realised.high


def test_outcomes_of_clients_whom_an_officer_accepted_do_not_judge_the_model(world):
    "They were chosen; that all of them pay says nothing about the model's probabilities."
    accepted = world.risk[world.risk < 0.25][:1000]
    chosen = np.full(1000, 0.6)
    refused = np.repeat([False, True], 1000)
    outcome = np.concatenate([world.defaulted[world.risk < 0.25][:1000], np.zeros(1000, int)])
    cohort = count_cohort(refused, np.zeros(2000, bool), np.concatenate([accepted, chosen]), outcome)
    readings = judge_metrics(read_metrics(NOTHING, world.reference, world.rule, cohort=cohort), RATE)
    assert [(each.name, each.clients, each.alarm) for each in readings] == [
        ("defaults", 1000, False),
        ("realised", 2000, False),
    ]


def test_the_reference_holds_no_clients_and_is_small(world):
    text = json.dumps(world.held, default=np.ndarray.tolist)
    assert len(text) < 10_000 and not set(PROTECTED) & set(world.held["cells"])
    smallest = [
        counts.min()
        for name, counts in world.held["counts"].items()
        if "edges" in world.held["cells"].get(name, {})
    ]
    assert min(smallest) >= 0.05 * 4000


def test_tallies_of_parts_add_up_to_the_tally_of_all(world):
    def count(rows: slice) -> Tally:
        fields = {name: values[rows] for name, values in world.fields.items()}
        return count_decided(world.held["cells"], world.rule, fields, world.risk[rows])

    whole, parts = count(slice(0, 900)), count(slice(0, 250)) + count(slice(250, 900))
    assert all((whole.counts[name] == parts.counts[name]).all() for name in whole.counts)
    assert np.allclose(whole.cost, parts.cost)


def test_cohorts_join(world):
    refused = world.rule.refuses(world.risk)
    final, outcome = refused.copy(), world.defaulted.copy()
    final[::7], outcome[::5] = ~final[::7], -1
    costs = Costs(np.linspace(500, 1500, len(outcome)), np.linspace(2000, 4000, len(outcome)))
    whole = count_cohort(refused, final, world.risk, outcome, costs)
    halves = [
        count_cohort(*(column[part] for column in (refused, final, world.risk, outcome)), costs.take(part))
        for part in (slice(0, 5000), slice(5000, None))
    ]
    joined = halves[0].join(halves[1])
    assert np.allclose(joined.outcomes, whole.outcomes) and joined[1:4] == whole[1:4]
    assert np.allclose(joined.euros, whole.euros) and (whole.euros > 0).all()
