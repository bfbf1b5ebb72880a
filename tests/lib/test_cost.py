"Money is counted right for every cut, and the chosen cut is the cheapest."

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.cost import (
    business_cost,
    choose_threshold,
    cost_curve,
    cost_each,
    decide,
    expected_costs,
    is_close,
    savings,
    trivial_costs,
)

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows

probabilities = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0]), st.floats(0, 1))  # with many ties
some_clients = st.lists(st.tuples(st.integers(0, 1), probabilities), min_size=1, max_size=30).map(
    lambda rows: (np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))
)
some_costs = st.builds(Costs, false_positive=st.integers(1, 9), false_negative=st.integers(1, 9))


def test_every_cell_has_its_own_price():
    defaulted = [0] * 2 + [0] * 3 + [1] * 5 + [1] * 7
    refused = [0] * 2 + [1] * 3 + [0] * 5 + [1] * 7
    assert business_cost(defaulted, refused, COSTS) == 3 * 10 + 5 * 10_000
    assert trivial_costs(defaulted, COSTS) == {"accept everybody": 12 * 10_000, "refuse everybody": 5 * 10}


def test_lists_frames_and_booleans_count_alike():
    pd = pytest.importorskip("pandas")
    defaulted, refused = np.array([0, 1, 1, 0]), np.array([1, 0, 0, 0])
    expected = business_cost(defaulted, refused, COSTS)
    assert expected == 10 + 2 * 10_000
    assert business_cost(list(defaulted), list(refused), COSTS) == expected
    assert business_cost(defaulted == 1, refused == 1, COSTS) == expected
    shuffled_index = pd.Series(refused, index=[3, 2, 1, 0])  # rows count, not labels
    assert business_cost(pd.Series(defaulted), shuffled_index, COSTS) == expected


def test_different_lengths_are_refused():
    with pytest.raises(ParameterError, match="defaulted has 2, refused has 1"):
        business_cost([0, 1], [0], COSTS)
    with pytest.raises(ParameterError, match="probability has 1"):
        cost_curve([0, 1], [0.5], COSTS)


@given(some_clients, some_costs)
def test_the_curve_is_the_cost_of_its_own_thresholds(clients, costs):
    defaulted, probability = clients
    curve = cost_curve(defaulted, probability, costs)
    brute = [business_cost(defaulted, decide(probability, cut), costs) for cut in curve.thresholds]
    assert curve.costs.tolist() == brute
    assert (np.diff(curve.thresholds) > 0).all()
    assert len(curve.thresholds) == len(np.unique(probability)) + 1


@given(some_clients, some_costs)
def test_the_curve_goes_from_refusing_all_to_accepting_all(clients, costs):
    defaulted, probability = clients
    curve = cost_curve(defaulted, probability, costs)
    policies = trivial_costs(defaulted, costs)
    assert curve.costs[0] == policies["refuse everybody"]
    assert curve.costs[-1] == policies["accept everybody"]
    assert decide(probability, curve.thresholds[0]).all()
    assert not decide(probability, curve.thresholds[-1]).any()


@given(some_clients, some_costs, st.floats(0, 2))
def test_no_cut_is_cheaper_than_the_chosen_one(clients, costs, other):
    defaulted, probability = clients
    chosen = choose_threshold(defaulted, probability, costs)
    cost = business_cost(defaulted, decide(probability, chosen), costs)
    for cut in (other, *probability):
        assert cost <= business_cost(defaulted, decide(probability, cut), costs)


@given(some_clients, some_costs)
def test_among_equals_the_closest_to_bayes_is_chosen(clients, costs):
    defaulted, probability = clients
    curve = cost_curve(defaulted, probability, costs)
    chosen = choose_threshold(defaulted, probability, costs)
    distance = abs(chosen - costs.bayes_threshold)
    equals = curve.thresholds[curve.costs == curve.costs.min()]
    assert chosen in equals
    assert all(distance <= abs(cut - costs.bayes_threshold) for cut in equals)


def test_equals_are_settled_by_hand():
    costs = Costs(false_positive=1, false_negative=1)  # Bayes threshold .5
    # cuts at .1, .25, .45, .75 and above .9 cost 1, 2, 1, 2, 1: the tie goes to .45
    assert choose_threshold([1, 0, 1, 0], [0.1, 0.4, 0.5, 1.0], costs) == pytest.approx(0.45)


@given(some_clients, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_refuses_more(clients, one, other):
    _, probability = clients
    low, high = sorted((one, other))
    assert (decide(probability, high) <= decide(probability, low)).all()


def test_at_the_threshold_the_bank_refuses():
    assert decide([0.25, np.nextafter(0.25, 0)], 0.25).tolist() == [1, 0]
    assert decide([1.0], np.nextafter(1, 2)).tolist() == [0]
    assert decide([0.3], 0.2).dtype == np.int64


@given(st.lists(st.integers(0, 1), min_size=2, max_size=30), some_costs)
def test_savings_are_0_without_a_model_and_1_without_a_mistake(defaulted, costs):
    if len(set(defaulted)) == 1:
        with pytest.raises(ParameterError, match="both classes"):
            savings(0, defaulted, costs)
        return
    without = trivial_costs(defaulted, costs)
    assert savings(min(without.values()), defaulted, costs) == 0
    assert savings(max(without.values()), defaulted, costs) <= 0
    assert savings(business_cost(defaulted, defaulted, costs), defaulted, costs) == 1


def test_no_clients_have_no_curve():
    with pytest.raises(ParameterError, match="got none"):
        cost_curve([], [], COSTS)


# before the outcome is known


@given(some_clients, some_costs, st.floats(0, 1))
def test_the_cost_of_each_adds_up(clients, costs, threshold):
    defaulted, probability = clients
    refused = decide(probability, threshold)
    assert cost_each(defaulted, refused, costs).sum() == business_cost(defaulted, refused, costs)


def test_what_each_side_is_expected_to_cost_counted_by_hand():
    assert expected_costs(0.25, COSTS) == (0.25 * 10_000, 0.75 * 10)  # accepting, refusing


@given(some_clients, some_costs, probabilities, st.floats(0, 20))
def test_a_number_and_a_column_get_the_same_bits(clients, costs, threshold, margin):
    _, probability = clients
    near = is_close(probability, threshold, costs, margin)
    accepting, refusing = expected_costs(probability, costs)
    for place, one in enumerate(probability.tolist()):
        assert is_close(one, threshold, costs, margin) is bool(near[place])
        assert expected_costs(one, costs) == (accepting[place], refusing[place])
    assert (margin > 0 and near[probability == threshold].all()) or not near.any()


@given(probabilities, some_costs, st.floats(0.001, 20))
def test_at_the_bayes_threshold_close_means_that_the_expected_costs_are_close(probability, costs, margin):
    accepting, refusing = expected_costs(probability, costs)
    apart = abs(accepting - refusing)
    if abs(apart - margin) > 1e-9:
        assert is_close(probability, costs.bayes_threshold, costs, margin) == (apart <= margin)
