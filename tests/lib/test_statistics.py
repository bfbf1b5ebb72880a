"The statistics, compared with SciPy and with slow versions of themselves on random inputs."

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.statistics import (
    bootstrap_totals,
    chi_squared_p_value,
    compare_by_folds,
    compare_counts,
    compare_means,
    holm_correction,
    percentile_interval,
    spread,
    sum_up,
    wilson_interval,
)

# The interval of a share


@given(st.integers(1, 100_000), st.data())
def test_the_interval_of_a_share_is_scipys(clients, data):
    defaults = data.draw(st.integers(0, clients))
    expected = stats.binomtest(defaults, clients).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(defaults / clients, clients)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert -1e-12 <= low <= defaults / clients + 1e-12 and defaults / clients - 1e-12 <= high <= 1 + 1e-12


@pytest.mark.parametrize(
    ("share", "clients", "low", "high"),
    [(0.1, 100, 0.05523, 0.17437), (0.0, 10, 0.0, 0.27753), (1.0, 10, 0.72247, 1.0)],
)
def test_the_interval_of_a_share_agrees_with_published_tables(share, clients, low, high):
    assert wilson_interval(share, clients) == pytest.approx((low, high), abs=1e-5)


def test_shares_may_be_an_array():
    low, high = wilson_interval(np.array([0.1, 0.0]), np.array([100, 10]))
    assert low == pytest.approx([0.05523, 0], abs=1e-5) and high == pytest.approx(
        [0.17437, 0.27753], abs=1e-5
    )


# The bootstrap of a total


@pytest.mark.parametrize("levels", [[0, 1000, 3000], [-2000, 0, 1000, 2500]])
def test_drawing_counts_is_drawing_rows(levels):
    rng = np.random.default_rng(0)
    each = rng.choice(levels, size=2000, p=rng.dirichlet(np.ones(len(levels)) * 5))
    counts = bootstrap_totals(each, 8000, seed=1)
    rows = each[rng.integers(0, len(each), size=(8000, len(each)))].sum(axis=1)
    deviation = np.sqrt(len(each)) * each.std()
    for totals in (counts, rows):
        assert abs(totals.mean() - each.sum()) < 4 * deviation / np.sqrt(8000)
        assert totals.std() == pytest.approx(deviation, rel=0.04)
    ranks = [0.025, 0.25, 0.5, 0.75, 0.975]
    assert np.abs(np.quantile(counts, ranks) - np.quantile(rows, ranks)).max() < 0.15 * deviation


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(np.array), st.integers(0, 2**32 - 1))
def test_totals_depend_on_the_seed_alone_and_stay_within_the_possible(each, seed):
    totals = bootstrap_totals(each, 50, seed)
    assert (totals == bootstrap_totals(each, 50, seed)).all()
    assert len(each) * each.min() <= totals.min() and totals.max() <= len(each) * each.max()


def test_another_seed_draws_other_totals():
    each = np.arange(100) % 3
    assert (bootstrap_totals(each, 50, seed=0) != bootstrap_totals(each, 50, seed=1)).any()


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=200).map(np.array), st.floats(0.01, 0.99))
def test_bounds_occur_among_the_totals_and_hold_the_level(totals, level):
    low, high = percentile_interval(totals, level)
    assert {low, high} <= set(totals.tolist())
    assert np.mean((low <= totals) & (totals <= high)) >= level - 1e-9
    wider = percentile_interval(totals, (1 + level) / 2)
    assert wider[0] <= low <= high <= wider[1]


@pytest.mark.parametrize(("each", "draws"), [(np.zeros(0), 10), (np.ones(3), 0)])
def test_a_bootstrap_needs_a_client_and_a_draw(each, draws):
    with pytest.raises(ParameterError, match=f"got {len(each)} clients, {draws} draws"):
        bootstrap_totals(each, draws, seed=0)


@pytest.mark.parametrize("level", [0, 1, 95, -0.1])
def test_an_impossible_level_is_refused(level):
    with pytest.raises(ParameterError, match=f"level must be between 0 and 1, got {level}"):
        percentile_interval(np.ones(3), level)


# Two groups


@given(st.floats(0, 200), st.integers(1, 60))
def test_the_tail_of_chi_squared_is_scipys(statistic, freedom):
    assert chi_squared_p_value(statistic, freedom) == pytest.approx(
        stats.chi2.sf(statistic, freedom), rel=1e-9, abs=1e-14
    )


def test_nothing_to_compare_is_no_difference():
    assert chi_squared_p_value(0.0, 0) == 1
    assert compare_counts(np.array([0, 7]), np.array([0, 3])) == 1


cells = st.lists(st.integers(0, 5_000), min_size=2, max_size=12).map(np.array).filter(lambda row: row.sum())


@given(st.data())
def test_two_groups_of_counts_are_compared_as_scipy_compares_them(data):
    seen = data.draw(cells)
    same_length = st.lists(st.integers(0, 5_000), min_size=len(seen), max_size=len(seen)).map(np.array)
    expected = data.draw(same_length.filter(lambda row: row.sum()))
    used = seen + expected > 0
    assume(used.sum() > 1)
    theirs = stats.chi2_contingency([seen[used], expected[used]], correction=False).pvalue
    assert compare_counts(seen, expected) == pytest.approx(theirs, rel=1e-6, abs=1e-14)
    order = data.draw(st.permutations(range(len(seen))).map(list))
    assert compare_counts(seen[order], expected[order]) == pytest.approx(theirs, rel=1e-6, abs=1e-14)
    assert compare_counts(seen, seen) > 0.999


@pytest.mark.parametrize(
    ("seen", "expected", "message"),
    [([100], [50, 50], "seen has 1, expected has 2"), ([0, 0], [50, 50], "one has no clients")],
)
def test_groups_that_cannot_be_compared_are_refused(seen, expected, message):
    with pytest.raises(ParameterError, match=message):
        compare_counts(np.array(seen), np.array(expected))


values = st.lists(st.floats(-1000, 1000), min_size=1, max_size=60).map(np.array)


@given(values, values)
def test_sums_of_parts_give_mean_and_variance_of_the_whole(one, two):
    mean, variance = spread(sum_up(one) + sum_up(two))
    whole = np.concatenate([one, two])
    assert mean == pytest.approx(whole.mean(), abs=1e-9)
    assert variance == pytest.approx(whole.var(), abs=1e-6)


@given(values, values.filter(lambda row: np.ptp(row) > 1))
def test_two_means_are_compared_as_a_normal_test_compares_them(seen, expected):
    error = expected.std() * np.sqrt(1 / len(seen) + 1 / len(expected))
    theirs = 2 * stats.norm.sf(abs(seen.mean() - expected.mean()) / error)
    ours = compare_means(sum_up(seen)[None], sum_up(expected)[None])
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-12)


def test_groups_weigh_as_they_occur_in_the_window():
    "Euros per client and decision: only the second group has moved, and the window holds none of it."
    reference = np.array([sum_up(np.array([-1.0, 1.0] * 50)), sum_up(np.array([9.0, 11.0] * 50))])
    window = np.array([sum_up(np.array([-1.0, 1.0] * 50)), sum_up(np.zeros(0))])
    assert compare_means(window, reference) == 1


@pytest.mark.parametrize(("mean", "expected"), [(5, 1.0), (6, 0.0)])
def test_a_reference_without_variation_allows_none(mean, expected):
    assert compare_means(sum_up(np.full(3, mean))[None], sum_up(np.full(9, 5))[None]) == expected


def test_the_reference_is_a_sample_too():
    "A known difference counts for less, the fewer clients the reference has, however many the window has."
    seen = np.array([510_000, 490_000])
    probabilities = [compare_counts(seen, np.array([half, half])) for half in (100, 10_000, 1_000_000)]
    assert (
        probabilities[0] > 0.5
        and probabilities[2] < 1e-20
        and probabilities == sorted(probabilities, reverse=True)
    )
    shifted, reference = sum_up(np.full(10_000, 0.05)), np.random.default_rng(0).normal(size=100)
    assert compare_means(shifted[None], sum_up(reference - reference.mean())[None]) > 0.5


# Many tests


def correct_slowly(probabilities: list[float]) -> list[float]:
    "Holm's correction by its definition: the largest of the p-values up to this one, each times the tests left."
    rising = sorted(range(len(probabilities)), key=lambda at: probabilities[at])
    corrected = [0.0] * len(probabilities)
    for place, at in enumerate(rising):
        before = [(len(rising) - rank) * probabilities[rising[rank]] for rank in range(place + 1)]
        corrected[at] = min(1.0, max(before))
    return corrected


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holms_correction_is_its_definition(probabilities):
    ours = holm_correction(np.array(probabilities))
    assert ours == pytest.approx(correct_slowly(probabilities))
    assert (ours >= np.array(probabilities) - 1e-12).all()


def test_holms_correction_by_hand():
    assert np.allclose(holm_correction(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    assert holm_correction(np.array([0.9, 0.8])).tolist() == [1, 1] and len(holm_correction(np.zeros(0))) == 0


# Two models on the same folds

folds = st.lists(st.floats(0, 1000), min_size=2, max_size=15)


@given(folds, st.floats(-100, 100).filter(lambda shift: abs(shift) > 0.1))
def test_a_difference_that_is_the_same_in_every_fold_is_certain(costs, shift):
    found = compare_by_folds(np.array(costs) + shift, np.array(costs), 0.25)
    assert found.mean == pytest.approx(shift) and found.low <= found.mean <= found.high
    assert found.wins == (len(costs) if shift < 0 else 0)


@given(folds, st.randoms(use_true_random=False))
def test_swapping_the_models_swaps_the_answer(costs, random):
    others = [cost + random.uniform(-50, 50) for cost in costs]
    one, two = compare_by_folds(costs, others, 0.25), compare_by_folds(others, costs, 0.25)
    assert one.mean == pytest.approx(-two.mean) and one.low == pytest.approx(-two.high)
    assert one.probability_better == pytest.approx(1 - two.probability_better)


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.floats(0.5, 0.99))
def test_without_the_correction_it_is_the_paired_t_test(seed, k, level):
    rng = np.random.default_rng(seed)
    one, two = rng.normal(400, 9, k), rng.normal(402, 9, k)
    plain = stats.ttest_rel(one, two)
    found = compare_by_folds(one, two, test_to_train=0, level=level)
    assert found.probability_better == pytest.approx(
        1 - plain.pvalue / 2 if plain.statistic < 0 else plain.pvalue / 2
    )
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval(level)))
    assert found.is_clear == (plain.pvalue < 1 - level)
    wider = compare_by_folds(one, two, test_to_train=0.25, level=level)
    assert wider.high - wider.low == pytest.approx((found.high - found.low) * np.sqrt(1 + k * 0.25))


@pytest.mark.parametrize(
    ("costs", "others", "message"), [([1.0], [2.0], "two folds .* got 1"), ([1, 2], [1], "others has 1")]
)
def test_folds_that_cannot_be_compared_are_refused(costs, others, message):
    with pytest.raises(ParameterError, match=message):
        compare_by_folds(costs, others, 0.25)
