"Risk grades and the measures of a validator: definitions, textbooks' values, and rates of false alarms by simulation."

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom
from sklearn.metrics import roc_auc_score

from rumos_bank.data.contract import CLIENT_COLUMNS, TARGET
from rumos_bank.data.drift import measure_psi
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import PACKAGED, GradeSettings, read_settings
from rumos_bank.ground.statistics import holm_correction
from rumos_bank.validation.grades import (
    SCORE,
    describe_grades,
    describe_iv,
    find_falls,
    find_grades,
    format_grades,
    format_p_value,
    herfindahl,
    hosmer_lemeshow,
    jeffreys_interval,
    measure_in_the_large,
    measure_power,
    tabulate_grades,
    tabulate_information,
    tabulate_stability,
    weigh_evidence,
)

SCALE = read_settings(PACKAGED, environ={}).grades
THREE = GradeSettings(bounds=(0.1, 0.3), names=("low", "middle", "high"))


def with_odds(probability, factor):
    return factor * probability / (1 - probability + factor * probability)


def simulate(n, seed=0):
    "Clients who default with the probability given."
    rng = np.random.default_rng(seed)
    probability = rng.beta(1.1, 3.9, size=n)
    return (rng.random(n) < probability).astype(int), probability


# the scale


@given(st.floats(0, 1))
def test_a_grade_holds_its_lower_bound_and_not_its_upper_one(probability):
    place = list(SCALE.names).index(find_grades(probability, SCALE)[0])
    ends = (0, *SCALE.bounds, 1)
    assert ends[place] <= probability and (probability < ends[place + 1] or probability == 1)


def test_no_grade_holds_both_accepted_and_refused_clients_at_flat_prices():
    below, at = np.nextafter(0.25, 0), 0.25
    assert find_grades([below, at], SCALE).tolist() == ["E", "F"]


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, 612])
def test_what_is_no_probability_has_no_grade(wrong):
    for ask in (
        lambda: find_grades(wrong, SCALE),
        lambda: tabulate_grades([0, 1], [0.2, wrong], SCALE),
        lambda: measure_in_the_large([0, 1], [0.2, wrong]),
    ):
        with pytest.raises(ParameterError, match="probability must be between 0 and 1"):
            ask()


# the table of grades


def test_jeffreys_is_the_middle_of_its_beta_distribution():
    low, high = jeffreys_interval([1, 7, 40], [10, 50, 41])
    assert beta.cdf(low, [1.5, 7.5, 40.5], [9.5, 43.5, 1.5]) == pytest.approx([0.025] * 3)
    assert beta.cdf(high, [1.5, 7.5, 40.5], [9.5, 43.5, 1.5]) == pytest.approx([0.975] * 3)
    assert jeffreys_interval(0, 9)[0] == 0 and jeffreys_interval(9, 9)[1] == 1
    with pytest.raises(ParameterError, match="between 0 and the clients"):
        jeffreys_interval(3, 2)


def test_every_client_is_in_one_grade_and_the_numbers_are_those_of_the_definition():
    defaulted, probability = simulate(3000)
    table = tabulate_grades(defaulted, probability, SCALE).set_index("grade")
    names = find_grades(probability, SCALE)
    assert table["clients"].sum() == 3000 and table["share"].sum() == pytest.approx(1)
    assert table["defaults"].sum() == defaulted.sum()
    for grade, row in table.iterrows():
        there = names == grade
        assert row["clients"] == there.sum() and row["mean_pd"] == pytest.approx(probability[there].mean())
        assert row["default_rate"] == pytest.approx(defaulted[there].mean())
        assert row["from"] <= probability[there].min() and probability[there].max() < row["up_to"]
        at_least = binom.sf(row["defaults"] - 1, row["clients"], row["mean_pd"])
        assert row["p_riskier"] == pytest.approx(at_least, abs=1e-9)
    assert table["p_holm"].to_numpy() == pytest.approx(holm_correction(table["p_value"].to_numpy()))


def test_grades_without_clients_are_shown_and_count_for_nothing():
    table = tabulate_grades([0, 1, 0, 0], [0.05, 0.06, 0.5, 0.6], THREE)
    assert table["clients"].tolist() == [2, 0, 2] and table["verdict"][1] == "no client"
    assert np.isnan(table.loc[1, ["mean_pd", "default_rate", "low", "high", "p_holm"]].astype(float)).all()
    assert hosmer_lemeshow(table).freedom == 2 and format_grades(table).loc["middle", "mean PD"] == "–"
    assert [pair[:2] for pair in find_falls(table)] == [
        ("low", "high")
    ]  # neighbours among those with clients


def test_a_grade_that_is_off_is_found_with_its_direction():
    probability = np.repeat([0.05, 0.2, 0.5], 1000)
    defaulted = np.concatenate([np.arange(1000) < n for n in (50, 300, 400)]).astype(int)
    table = tabulate_grades(defaulted, probability, THREE)
    assert table["verdict"].tolist() == ["as predicted", "riskier than predicted", "safer than predicted"]
    assert table["p_riskier"][1] < 1e-6 and table["p_riskier"][2] > 0.99
    said = describe_grades(table)
    assert said.startswith("Of 3 grades, safer than predicted: high; riskier than predicted: middle")
    assert "p < 0.001" in said and "rises from grade to grade" in said


def test_calibrated_clients_are_accused_at_most_at_the_stated_rate():
    _, probability = simulate(2000)
    rng = np.random.default_rng(1)
    tables = [tabulate_grades(rng.random(2000) < probability, probability, SCALE, 0.2) for _ in range(300)]
    accused = np.mean([(table["verdict"] != "as predicted").any() for table in tables])
    rejected = np.mean([hosmer_lemeshow(table).p_value < 0.1 for table in tables])
    assert accused < 0.2 + 3 * (0.2 * 0.8 / 300) ** 0.5
    assert abs(rejected - 0.1) < 3.5 * (0.1 * 0.9 / 300) ** 0.5


def test_hosmer_and_lemeshow_by_hand():
    table = tabulate_grades([1] * 3 + [0] * 7 + [1] * 5 + [0] * 5, np.repeat([0.2, 0.6], 10), THREE)
    found = hosmer_lemeshow(table)
    assert found.statistic == pytest.approx(1 / 1.6 + 1 / 2.4) and found.freedom == 2
    assert found.p_value == pytest.approx(np.exp(-found.statistic / 2))


def test_concentration_is_one_in_one_grade_and_least_where_clients_are_spread_evenly():
    assert herfindahl(tabulate_grades([0, 1], [0.01, 0.02], THREE)) == 1
    assert herfindahl(tabulate_grades([0, 1, 0], [0.01, 0.2, 0.9], THREE)) == pytest.approx(1 / 3)


def test_p_values_are_never_shown_as_nothing():
    assert [format_p_value(each) for each in (0, 0.0009, 0.001, 1)] == [
        "< 0.001",
        "< 0.001",
        "0.001",
        "1.000",
    ]


# calibration in the large


def test_the_test_in_the_large_by_hand():
    found = measure_in_the_large(np.arange(100) < 28, np.full(100, 0.2))
    assert found.z == pytest.approx(2) and found.p_value == pytest.approx(0.0455003)
    assert (found.predicted, found.observed) == (pytest.approx(0.2), 0.28)
    assert measure_in_the_large([0, 1], [0.0, 0.0]).p_value == 0  # impossible
    assert measure_in_the_large([0, 0], [0.0, 0.0]).p_value == 1


@pytest.mark.parametrize("level", [0.05, 0.01, 0.001])
def test_calibrated_folds_of_24000_clients_are_refused_at_the_stated_rate(level):
    "Clients of one probability default by a binomial draw, so 40,000 sets of folds need no single client."
    values = (np.arange(400) + 0.5) / 400
    clients = np.round(24_000 * np.diff(beta.cdf(np.arange(401) / 400, 1.1, 3.9))).astype(int)
    rng = np.random.default_rng(0)
    defaults = rng.binomial(clients, values, size=(40_000, 400)).sum(axis=1)
    z = (defaults - clients @ values) / np.sqrt(clients @ (values * (1 - values)))
    probability, one = np.repeat(values, clients), int(defaults[0])
    outcome = (np.arange(len(probability)) < one).astype(int)  # the sum alone counts
    assert measure_in_the_large(outcome, probability).z == pytest.approx(z[0])
    from scipy.stats import norm

    rate = np.mean(2 * norm.sf(np.abs(z)) < level)
    assert abs(rate - level) < 3.5 * (level * (1 - level) / 40_000) ** 0.5


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_odds_that_are_all_too_low_or_too_high_are_far_off(factor):
    defaulted, probability = simulate(24_000, seed=2)
    assert measure_in_the_large(defaulted, probability).p_value > 0.01
    wrong = measure_in_the_large(defaulted, with_odds(probability, factor))
    assert abs(wrong.z) > 15 and wrong.p_value < 1e-12 and (wrong.z > 0) == (factor < 1)


# discriminatory power


def test_delong_by_its_definition():
    defaulted, probability = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([0.9, 0.4, 0.4, 0.5, 0.4, 0.1, 0.1])
    risky, safe = probability[:3], probability[3:]
    wins = (risky[:, None] > safe) + 0.5 * (risky[:, None] == safe)
    variance = wins.mean(axis=1).var(ddof=1) / 3 + wins.mean(axis=0).var(ddof=1) / 4
    found = measure_power(defaulted, probability)
    assert found.gini == pytest.approx(2 * wins.mean() - 1)
    assert found.gini - found.low == pytest.approx(2 * 1.959964 * variance**0.5, rel=1e-6)
    assert found.high == min(1, 2 * found.gini - found.low)


def test_the_interval_of_gini_holds_the_true_one_as_often_as_it_states():
    rng, held = np.random.default_rng(3), []
    truth = 2 * 0.76024994 - 1  # two normal groups one standard deviation apart: Φ(1/√2)
    defaulted = np.repeat([0, 1], [240, 60])
    for _ in range(600):
        score = 1 / (1 + np.exp(-(rng.normal(size=300) + defaulted)))
        found = measure_power(defaulted, score)
        assert found.gini == pytest.approx(2 * roc_auc_score(defaulted, score) - 1)
        held.append(found.low <= truth <= found.high)
    assert 0.92 < np.mean(held) < 0.975


def test_a_perfect_order_has_a_gini_of_one_and_no_order_none():
    assert measure_power([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]).gini == 1
    equal = measure_power([0, 0, 1, 1], [0.3] * 4)
    assert (equal.gini, equal.ks) == (0, 0)
    with pytest.raises(ParameterError, match="got 1 and 3"):
        measure_power([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4])


# weight of evidence


def test_the_information_value_is_the_index_between_payers_and_defaulters():
    clients = make_synthetic_clients(3000, seed=4)
    defaulted = clients[TARGET].to_numpy()
    for name, coded in (("LIMIT_BAL", False), ("PAY_0", True)):
        table = weigh_evidence(clients[name].to_numpy(), defaulted, coded)
        defaults = (table["clients"] * table["default_rate"]).to_numpy()
        paid = table["clients"].to_numpy() - defaults
        assert table["clients"].sum() == 3000 and defaults.sum() == pytest.approx(defaulted.sum())
        assert table["iv"].sum() == pytest.approx(measure_psi(paid, defaults)) and (table["iv"] >= 0).all()
        assert (np.sign(table["woe"]) == np.sign(defaulted.mean() - table["default_rate"])).all()


def test_fields_are_ordered_by_what_they_know():
    clients = make_synthetic_clients(3000, seed=4)
    table = tabulate_information(clients, clients[TARGET].to_numpy(), CLIENT_COLUMNS)
    assert table["field"][0] == "PAY_0" and set(table["field"]) == set(CLIENT_COLUMNS)
    assert table["iv"].is_monotonic_decreasing
    noise = clients.assign(AGE=np.random.default_rng(0).permutation(clients["AGE"]))
    shuffled = tabulate_information(noise, clients[TARGET].to_numpy(), ["AGE"])
    assert shuffled["iv"][0] < 0.03
    with pytest.raises(ParameterError, match="no evidence without payers and defaulters"):
        weigh_evidence(np.arange(3), np.zeros(3))


def test_words_for_sizes():
    assert [describe_iv(iv) for iv in (0.01, 0.05, 0.2, 0.6)] == ["none", "weak", "medium", "strong"]


# stability


def test_halves_of_the_same_clients_rarely_differ_and_a_moved_field_does():
    clients, alarms = make_synthetic_clients(2000, seed=5), 0
    rng = np.random.default_rng(0)
    for _ in range(40):
        order = rng.permutation(2000)
        one, other = clients.iloc[order[:1600]], clients.iloc[order[1600:]]
        scores = tuple(draw_scores(half) for half in (one, other))
        alarms += tabulate_stability(one, other, scores, CLIENT_COLUMNS)["p_holm"].min() < 0.05
    assert alarms <= 6  # 5 % of 40 is 2
    moved = other.assign(AGE=other["AGE"] + 20)
    table = tabulate_stability(one, moved, scores, CLIENT_COLUMNS).set_index("field")
    assert table.index[0] == "AGE" and table["size"]["AGE"] == "large" and table["p_holm"]["AGE"] < 1e-6
    assert set(table.index) == {SCORE, *CLIENT_COLUMNS}


def draw_scores(clients: pd.DataFrame) -> np.ndarray:
    return (0.1 + 0.05 * clients["PAY_0"].clip(0) + clients["LIMIT_BAL"] / 1e7).to_numpy()


def test_the_import_stays_light():
    code = "import sys, rumos_bank.validation.grades; print([m for m in ('pandas', 'scipy', 'sklearn') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
