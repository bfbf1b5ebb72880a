"Power and tests over time: what is stated is what brute force finds, and a year of looks raises no more alarms than stated."

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2
from sklearn.metrics import roc_auc_score

from rumos_bank.data.drift import choose_cells
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.statistics import sum_up
from rumos_bank.model.power import (
    YEAR,
    add_up_days,
    chi_squared_limit,
    compare_in_turn,
    count_ranks,
    cusum_limit,
    gini_of_ranks,
    median_delay,
    power_of_chi_squared,
    power_of_counts,
    power_of_moves,
)
from rumos_bank.monitoring.metrics import (
    SCORE,
    Day,
    Rule,
    Tally,
    count_cohort,
    count_day,
    count_decided,
    find_power,
    follow_days,
    judge_metrics,
    make_watch_reference,
    raise_odds,
    read_metrics,
    read_riskier,
)

RULE, RATE = Rule(0.25, 1000.0, 3000.0), 0.01


def draw(rng: np.random.Generator, clients: int, times: int = 1) -> np.ndarray:
    return rng.beta(1.1, 3.9, (times, clients)).squeeze() if times > 1 else rng.beta(1.1, 3.9, clients)


def fall_due(rng: np.random.Generator, risk: np.ndarray) -> np.ndarray:
    return (rng.random(risk.shape) < risk).astype(int)


class Plain:
    "A stand-in for a decision that sees no field."

    threshold, false_positive, false_negative = RULE
    protected = ()


def make_reference(rng: np.random.Generator, clients: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rumos_bank.monitoring.metrics.FIELDS", ())
    risk = draw(rng, clients)
    held = make_watch_reference(Plain, None, risk, fall_due(rng, risk))
    return held, Tally(held["counts"], held["cost"], held["outcomes"]), read_riskier(held)


# Power


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 12])
@pytest.mark.parametrize("noncentrality", [0.1, 1.0, 5.0, 40.0, 300.0, 2000.0])
def test_the_noncentral_tail_is_that_of_scipy(freedom, noncentrality):
    for level in (0.05, 0.01, 0.0004):
        limit = chi2.isf(level, freedom)
        assert np.isclose(chi_squared_limit(level, freedom), limit)
        ours = power_of_chi_squared(noncentrality, freedom, level)
        assert abs(ours - ncx2.sf(limit, freedom, noncentrality)) < 1e-9


@pytest.mark.parametrize("clients", [200, 1000, 5000])
def test_the_stated_power_is_the_share_of_windows_that_raise_the_alarm(clients, monkeypatch):
    "Within 10 points, four standard errors of 400 windows, each beside a reference of its own of 6,000 clients, and a whole judgement of four metrics."
    rng, names = np.random.default_rng(clients), ("score", "refused", "cost", "defaults")
    caught, corrected, stated = ({name: [] for name in names} for _ in range(3))
    for _ in range(400):
        held, reference, riskier = make_reference(rng, 6000, monkeypatch)
        risk = draw(rng, clients)
        worse = raise_odds(risk)
        tally = count_decided(held["cells"], RULE, {}, worse)  # the model sees it
        refused = RULE.refuses(risk)
        cohort = count_cohort(refused, refused, risk, fall_due(rng, worse))  # the model does not
        readings = read_metrics(tally, reference, RULE, cohort=cohort)
        for each, judged in zip(readings, judge_metrics(readings, RATE)):
            if each.name in names:
                caught[each.name].append(each.p_value <= RATE / 4)
                corrected[each.name].append(judged.alarm)
                stated[each.name].append(find_power(each, reference, riskier, RATE / 4))
    for name in names:
        share, power = np.mean(caught[name]), np.mean(stated[name])
        assert abs(share - power) < 0.1, (name, share, power)
        assert np.mean(corrected[name]) >= share, "the correction is at most as strict"


@given(
    st.lists(st.integers(200, 3000), min_size=2, max_size=9).map(np.array), st.integers(200, 5000), st.data()
)
def test_no_move_of_a_tenth_is_seen_less_often_than_stated(usual, clients, data):
    stated = power_of_moves(usual, clients, RATE / 20)
    grown = np.array(data.draw(st.lists(st.booleans(), min_size=len(usual), max_size=len(usual))))
    if grown.any() and usual[~grown].sum() >= 0.1 * usual.sum():
        shares = usual / usual.sum()
        moved = shares + 0.1 * np.where(
            grown, shares / shares[grown].sum(), -shares / max(shares[~grown].sum(), 1e-9)
        )
        assert power_of_counts(usual, moved * 1e6, clients, RATE / 20) >= stated - 0.01


def test_power_grows_with_the_clients_and_one_cell_has_none():
    usual = np.array([500, 300, 200])
    powers = [power_of_moves(usual, n, 0.01) for n in (200, 1000, 5000)]
    assert powers == sorted(powers) and power_of_moves(np.array([1000]), 500, 0.01) is None


def test_missing_outcomes_lower_the_power(monkeypatch):
    held, reference, riskier = make_reference(np.random.default_rng(0), 6000, monkeypatch)
    alike = np.zeros(5000, bool)
    cohort = count_cohort(alike, alike, np.full(5000, 0.12), np.arange(5000) % 8 == 0)
    (reading,) = (
        each
        for each in read_metrics(Tally({}, np.zeros(3), held["outcomes"]), reference, RULE, cohort=cohort)
        if each.name == "defaults"
    )
    whole, some, half = (find_power(reading, reference, riskier, RATE, missing) for missing in (0, 100, 2500))
    assert whole > some > half


def test_a_reference_from_before_has_no_power_but_for_fields():
    assert read_riskier({"counts": {}}) is None
    reference = Tally(
        {"PAY_0": np.array([500, 500]), SCORE: np.array([500, 500])}, np.zeros(3), np.zeros((2, 4))
    )
    seen = Tally(
        {name: np.array([520, 480]) for name in reference.counts}, np.array([1000.0, 0, 0]), np.zeros((2, 4))
    )
    powers = {
        each.name: find_power(each, reference, None, 0.01)
        for each in read_metrics(replace_cost(seen), replace_cost(reference), RULE)
    }
    assert powers["PAY_0"] > 0.9 and powers[SCORE] is None and powers["cost"] is None


def replace_cost(tally: Tally) -> Tally:
    return Tally(tally.counts, sum_up(np.tile([100.0, 500.0], 500)), tally.outcomes)


# Over time


@pytest.mark.parametrize(("reference", "a_day"), [(24_000, 200), (2000, 1000)])
def test_years_without_drift_raise_no_more_alarms_than_stated(reference, a_day):
    """400 years of daily looks, both sides, at 10 %: forty are expected, and 59 would happen once in a thousand times.

    Beside the reference alone, 2,000 clients with their own error would raise an alarm in most years.
    """
    rng, rate, alarms = np.random.default_rng(a_day), 0.1, 0
    limit = cusum_limit(rate / 2)
    for _ in range(400):
        means = 0.22 + 0.17 * rng.standard_normal(YEAR) / np.sqrt(a_day)
        days = [np.array([a_day, a_day * mean, a_day * (0.17**2 + mean**2)]) for mean in means]
        mean = 0.22 + 0.17 * rng.standard_normal() / np.sqrt(reference)
        usual = np.array([reference, reference * mean, reference * (0.17**2 + mean**2)])
        alarms += max(add_up_days(each).max() for each in compare_in_turn(days, days, usual)) >= limit
    assert 20 <= alarms <= 59


def test_the_limit_is_that_of_simulated_years():
    years = np.random.default_rng(3).standard_normal((8000, YEAR))
    highest = add_up_days(years).max(axis=1)
    for rate in (0.2, 0.05, 0.01):
        assert abs((highest >= cusum_limit(rate)).mean() - rate) < 4 * np.sqrt(rate / 8000)
    with pytest.raises(ParameterError, match="rate must be between 0 and 1"):
        cusum_limit(1.0)


@pytest.mark.parametrize(("a_day", "before"), [(200, 20_000), (1000, 60_000)])
def test_half_of_the_changes_are_found_in_the_stated_time(a_day, before):
    rng, shift, limit = np.random.default_rng(5), 0.1, cusum_limit(0.01)
    stated, found = median_delay(shift, a_day, before, limit), []
    for _ in range(200):
        means = shift + rng.standard_normal(60) / np.sqrt(a_day)
        days = [np.array([a_day, a_day * mean, a_day * (1 + mean**2)]) for mean in means]
        start = rng.standard_normal() / np.sqrt(before)
        usual = np.array([before, before * start, before * (1 + start**2)])
        over = add_up_days(compare_in_turn(days, days, usual)[0]) >= limit
        found.append(int(np.argmax(over)) + 1 if over.any() else 61)
    assert abs(np.median(found) - stated) <= max(1, 0.15 * stated)


@pytest.fixture(scope="module")
def world():
    "A reference of 12,000 clients, and what follows from days of clients beside it."
    with pytest.MonkeyPatch.context() as patch:
        _, reference, riskier = make_reference(np.random.default_rng(8), 12_000, patch)

    def follow(days, count_until=None, share=0.95):
        until = count_until or max(days)
        held = {day: each for day, each in days.items() if day <= until}
        found = follow_days(held, until, reference, riskier, 1, 0.05, 200, share)
        return {each.name: each for each in found}

    return follow


def name_day(number: int) -> str:
    return f"{np.datetime64('2026-01-01') + number}".replace("-", "")


def make_days(
    days: int, a_day: int = 600, changed: int = 10**6, sees: bool = False, seed: int = 1
) -> dict[str, Day]:
    "From `changed` on the odds of default are a fifth higher; the model sees it, or it does not."
    rng, found = np.random.default_rng(seed), {}
    for number in range(days):
        truth = draw(rng, a_day)
        risen = raise_odds(truth) if number >= changed else truth
        risk = risen if sees else truth
        refused = RULE.refuses(risk)
        found[name_day(number)] = count_day(refused, refused, risk, fall_due(rng, risen))
    return found


@pytest.mark.parametrize(("sees", "name"), [(True, "risk"), (False, "defaults")])
def test_a_change_is_found_by_its_own_test_on_one_day_whatever_the_number_of_looks(world, sees, name):
    days = make_days(90, changed=40, sees=sees)
    looks = [world(days, day) for day in sorted(days)]
    raised = [look[name].alarm for look in looks if name in look]
    first = next(place for place, alarm in enumerate(raised) if alarm)
    assert set(raised[:first]) == {""} and set(raised[first:]) == {sorted(days)[first]}, (
        "later looks change nothing"
    )
    assert first >= 40 and all(not look[other].alarm for look in looks for other in look if other != name)
    trend = looks[-1][name]
    assert (
        abs(
            (
                np.datetime64(f"{trend.since[:4]}-{trend.since[4:6]}-{trend.since[6:]}")
                - np.datetime64("2026-02-10")
            ).astype(int)
        )
        <= 5
    )
    assert trend.seen > trend.expected and "over time" in str(trend)


def test_days_are_joined_until_they_have_clients_enough(world):
    days = make_days(30, a_day=70)
    trend = world(days)["risk"]
    assert (trend.steps, trend.clients) == (10, 2100) and trend.delay % 3 == 0
    assert "risk" not in world(make_days(2, a_day=70))


def test_days_of_which_outcomes_are_missing_are_left_out_or_bounded(world):
    "Payers are reported late: four of a hundred are missing each day, and no alarm is raised for it."
    rng, days, many = np.random.default_rng(2), {}, {}
    for number in range(120):
        risk = draw(rng, 1500)
        refused, outcome = RULE.refuses(risk), fall_due(rng, risk)
        payers = np.flatnonzero((outcome == 0) & ~refused)
        for of, share in ((days, 0.04), (many, 0.2)):
            known = outcome.copy()
            known[payers[: int(share * len(payers))]] = -1
            of[name_day(number)] = count_day(refused, refused, risk, known)
    assert not world(days)["defaults"].alarm and "defaults" not in world(many)
    assert world(many, share=0.5)["defaults"].alarm == ""


def test_the_ranking_is_that_of_scikit_learn_and_a_fall_raises_an_alarm(world):
    rng = np.random.default_rng(4)
    risk = draw(rng, 3000)
    outcome = fall_due(rng, risk)
    assert abs(gini_of_ranks(count_ranks(risk, outcome))[0] - (2 * roc_auc_score(outcome, risk) - 1)) < 0.002
    days = make_days(70)
    sound = world(days)["gini"]
    assert not sound.alarm and [month for month, *_ in sound.points] == ["202601", "202602"]
    for number in range(31, 59):  # in February the order says nothing
        risk = draw(rng, 600)
        refused = RULE.refuses(risk)
        days[name_day(number)] = count_day(refused, refused, risk, fall_due(rng, np.full(600, 0.12)))
    fallen = world(days)["gini"]
    assert fallen.alarm == "202602" and abs(fallen.seen) < 0.15 and "Gini" in str(fallen)


def test_a_month_counts_when_all_its_outcomes_are_due(world):
    days = make_days(59)
    assert world(days)["gini"].last == "202602" and world(days, name_day(57))["gini"].last == "202601"
    assert "gini" not in world(days, name_day(29))


def test_cells_of_the_score_do_not_matter_for_the_risk(world):
    assert len(choose_cells(draw(np.random.default_rng(0), 4000))["edges"]) > 5
