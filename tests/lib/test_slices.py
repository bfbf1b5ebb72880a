"Group tables agree with loops and with fairlearn, the price of a referral with a loop."

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import simulated
from fairlearn import metrics as fl
from hypothesis import given
from hypothesis import strategies as st

from rumos_bank.data.contract import EXAMPLE_CLIENT, FIELDS, STATUSES
from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.cost import business_cost, decide
from rumos_bank.model.evaluate import bootstrap_cost
from rumos_bank.model.plots import draw_refer_curve, draw_slices
from rumos_bank.validation import slices as sl

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows
BANK = Costs(false_positive=1000, false_negative=3000)
SLICINGS = {"limit", "delay history", "education", "age band", "sex", "marital status"}


@pytest.fixture(scope="module")
def judged():
    return simulated.judge_twins(3000, seed=5)


@pytest.fixture(scope="module")
def table(judged):
    return sl.measure_slices(*judged, 0.25, COSTS)


@pytest.fixture(scope="module")
def fairness(judged):
    return sl.measure_fairness(*judged, 0.25, draws=500)


# slicing


def test_every_allowed_client_lies_in_one_group_of_each_slicing():
    rng = np.random.default_rng(0)
    drawn = {f.name: rng.integers(f.low, f.high, size=500, endpoint=True) for f in FIELDS}
    clients = pd.DataFrame(drawn, index=range(1000, 1500))
    slices = sl.slice_clients(clients)
    assert set(slices) == SLICINGS and set(sl.PROTECTED_SLICES) < SLICINGS
    for groups in slices.values():
        assert groups.notna().all() and groups.index.equals(clients.index)


@pytest.mark.parametrize(
    ("slicing", "field", "groups"),
    [
        ("age band", "AGE", {18: "under 30", 29: "under 30", 30: "30–39", 59: "50–59", 60: "60 and more", 120: "60 and more"}),
        ("sex", "SEX", {1: "male", 2: "female"}),
        ("marital status", "MARRIAGE", {0: "other or unknown", 1: "married", 2: "single", 3: "other or unknown"}),
        ("education", "EDUCATION", {1: "graduate school", 3: "high school", 4: "other or unknown", 5: "other or unknown"}),
        ("limit", "LIMIT_BAL", {1000: "to 50,000", 50_000: "to 50,000", 50_001: "50,001–100,000", 300_001: "above 300,000"}),
    ],
)  # fmt: skip
def test_groups_hold_the_values_that_their_names_state(slicing, field, groups):
    clients = pd.DataFrame([EXAMPLE_CLIENT] * len(groups)).assign(**{field: list(groups)})
    assert list(sl.slice_clients(clients)[slicing]) == list(groups.values())


@pytest.mark.parametrize(
    ("months", "group"),
    [(0, "never late"), (1, "late in 1 month"), (2, "late in 2 or 3"), (3, "late in 2 or 3"), (6, "late in 4 to 6")],
)  # fmt: skip
def test_delays_are_counted_over_the_six_months(months, group):
    client = EXAMPLE_CLIENT | dict.fromkeys(STATUSES, -2) | dict.fromkeys(STATUSES[:months], 1)
    assert sl.slice_clients(pd.DataFrame([client]))["delay history"][0] == group


def test_what_cannot_be_sliced_is_refused(judged):
    clients = judged[0]
    with pytest.raises(ParameterError, match="missing: AGE, SEX"):
        sl.slice_clients(clients.drop(columns=["SEX", "AGE"]))
    with pytest.raises(ParameterError, match="education of row"):
        sl.slice_clients(clients.assign(EDUCATION=7))


# slices


def test_the_table_agrees_with_a_loop(judged, table):
    clients, defaulted, probability = judged
    refused, slices = decide(probability, 0.25), sl.slice_clients(clients)
    for row in table[~table["group"].str.contains(r"\+")].itertuples():
        here = (slices[row.slicing] == row.group).to_numpy()
        d, r, n = defaulted[here], refused[here], here.sum()
        interval = bootstrap_cost(d, r, COSTS)
        expected = [
            n,
            d.mean(),
            r.mean(),
            ((d == 0) & (r == 1)).sum() / (d == 0).sum(),
            ((d == 1) & (r == 0)).sum() / (d == 1).sum(),
            business_cost(d, r, COSTS) / n,
            interval.low / n,
            interval.high / n,
            probability[here].mean(),
            d.mean() - probability[here].mean(),
        ]
        found = [
            row.clients,
            row.default_rate,
            row.refused_share,
            row.false_positive_rate,
            row.false_negative_rate,
            row.cost_per_client,
            row.cost_low,
            row.cost_high,
            row.predicted,
            row.gap,
        ]
        assert found == pytest.approx(expected, rel=1e-12)


def test_no_client_is_dropped_and_the_groups_add_up(judged, table):
    _, defaulted, probability = judged
    by_slicing = table.groupby("slicing")
    assert set(by_slicing.groups) == SLICINGS
    assert (by_slicing["clients"].sum() == 3000).all()
    total = business_cost(defaulted, decide(probability, 0.25), COSTS)
    euros = (table["cost_per_client"] * table["clients"]).groupby(table["slicing"]).sum()
    assert euros.to_list() == pytest.approx([total] * 6)
    assert ((table["gap_low"] <= table["gap"]) & (table["gap"] <= table["gap_high"])).all()


@pytest.mark.parametrize(
    ("elderly", "groups"),
    [
        (5, {"under 30": (300, False), "50–59 + 60 and more": (45, True)}),
        (45, {"under 30": (300, False), "50–59 + 60 and more": (85, False)}),
        (60, {"under 30": (300, False), "60 and more": (60, False), "50–59": (40, True)}),
    ],
)
def test_small_groups_are_pooled_and_marked(elderly, groups):
    ages = np.repeat([65, 55, 25], [elderly, 40, 300])
    clients = pd.DataFrame([EXAMPLE_CLIENT] * len(ages)).assign(AGE=ages)
    table = sl.measure_slices(clients, np.arange(len(ages)) % 2, np.full(len(ages), 0.3), 0.25, BANK)
    found = table[table["slicing"] == "age band"]
    assert {row.group: (row.clients, row.small) for row in found.itertuples()} == groups


# fairness


def test_the_counts_agree_with_fairlearn(judged):
    clients, defaulted, probability = judged
    refused = decide(probability, 0.25)
    for slicing in ("sex", "education"):
        names, order = sl._pool_small(sl.slice_clients(clients)[slicing])
        cells = [[[((names == g) & (defaulted == d) & (refused == r)).sum() for r in (0, 1)] for d in (0, 1)] for g in order]  # fmt: skip
        given = {"y_true": defaulted, "sensitive_features": names}
        payers = fl.MetricFrame(metrics=fl.false_positive_rate, y_pred=refused, **given)
        expected = [
            fl.demographic_parity_difference(y_pred=refused, **given),
            fl.demographic_parity_ratio(y_pred=1 - refused, **given),
            payers.difference(),
            fl.equalized_odds_difference(y_pred=refused, **given),
        ]
        assert [float(gap) for gap in sl._gaps(np.array(cells))] == pytest.approx(expected)
        assert sl._fairlearn_gaps(names, defaulted, refused) == pytest.approx(expected)


def test_the_interval_agrees_with_resampled_rows(judged, fairness):
    clients, _, probability = judged
    men, refused = (clients["SEX"] == 1).to_numpy(), decide(probability, 0.25)
    rng, gaps = np.random.default_rng(9), []
    for _ in range(2000):
        rows = rng.integers(0, len(men), size=len(men))
        m, r = men[rows], refused[rows]
        gaps.append(abs(r[m].mean() - r[~m].mean()))
    found = fairness[(fairness["slicing"] == "sex")].iloc[0]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(gaps, [0.025, 0.975]), abs=0.004)


def test_the_value_under_no_difference_agrees_with_permuted_labels(judged, fairness):
    clients, _, probability = judged
    men, refused = (clients["SEX"] == 1).to_numpy(), decide(probability, 0.25)
    rng, gaps = np.random.default_rng(9), []
    for _ in range(2000):
        permuted = rng.permutation(men)
        gaps.append(abs(refused[permuted].mean() - refused[~permuted].mean()))
    found = fairness[(fairness["slicing"] == "sex")].iloc[0]
    assert found["if_equal"] == pytest.approx(np.mean(gaps), rel=0.1)


def test_a_model_that_uses_sex_is_detected(judged):
    clients, defaulted, _ = judged
    by_sex = np.where(clients["SEX"] == 1, 0.9, 0.1)
    found = sl.measure_fairness(clients, defaulted, by_sex, 0.25, draws=200)
    found = found[found["slicing"] == "sex"].set_index("measure")
    assert found["value"].to_list() == [1, 0, 1, 1]
    assert found["meaning"].iloc[0] == "refused: 100.0 % of male, 0.0 % of female"
    assert (found["if_equal"].drop("approval ratio") < 0.1).all()


def test_fairness_names_the_groups_it_left_out(judged):
    clients, defaulted, probability = judged
    ages = np.where(np.arange(3000) < 20, 70, np.where(np.arange(3000) < 1500, 25, 35))
    found = sl.measure_fairness(clients.assign(AGE=ages, SEX=1), defaulted, probability, 0.25, draws=50)
    assert set(found["slicing"]) == set(sl.PROTECTED_SLICES)
    age, sex = (found[found["slicing"] == slicing] for slicing in ("age band", "sex"))
    assert (age["left_out"] == "60 and more").all() and age["value"].notna().all()
    assert sex["value"].isna().all() and sex["meaning"].str.contains("fewer than two").all()


def test_refusing_everybody_has_no_approval_ratio(judged):
    found = sl.measure_fairness(*judged, 0.0, draws=50).set_index("measure")
    assert np.isnan(found.loc["approval ratio", "value"]).all()
    assert (found.loc["equalised odds difference", "value"] == 0).all()


def test_seeds_repeat_and_bad_numbers_are_refused(judged, fairness):
    pd.testing.assert_frame_equal(fairness, sl.measure_fairness(*judged, 0.25, draws=500))
    clients, defaulted, probability = judged
    with pytest.raises(ParameterError, match="draws must be at least 1"):
        sl.measure_fairness(*judged, 0.25, draws=0)
    for measure in (sl.measure_slices, sl.measure_fairness):
        with pytest.raises(ParameterError, match="clients has 10"):
            measure(clients.head(10), defaulted, probability, 0.25, BANK)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        sl.measure_slices(clients, defaulted, probability * 100, 0.25, BANK)


# referral


@given(st.floats(1, 1e5), st.floats(1, 1e5), st.floats(0, 1e5))
def test_at_the_ends_of_the_band_the_costs_differ_by_the_margin(false_positive, false_negative, margin):
    costs = Costs(false_positive=false_positive, false_negative=false_negative)
    low, high = sl.refer_band(costs.bayes_threshold, costs, margin)
    assert 0 <= low <= costs.bayes_threshold <= high <= 1
    for end in (low, high):
        differ = abs(false_negative * end - false_positive * (1 - end))
        assert differ == pytest.approx(margin, rel=1e-6, abs=1e-6) or (end in (0, 1) and differ < margin)


def test_no_margin_is_no_band():
    assert sl.refer_band(0.25, BANK, 0) == (0.25, 0.25)
    for margin in (-1, float("nan")):
        with pytest.raises(ParameterError, match="margin_eur must be at least 0"):
            sl.refer_band(0.25, BANK, margin)


def test_the_curve_agrees_with_a_loop():
    defaulted, probability = simulated.draw_outcomes(300, seed=4)
    curve = sl.refer_curve(defaulted, probability, 0.3, COSTS, referral_cost=7, human_error=0.2)
    for row in curve.itertuples():
        right = erring = referred = 0.0
        for outcome, risk in zip(defaulted, probability, strict=True):
            if_wrong = 10_000 if outcome else 10
            if row.margin_eur > 0 and row.low - 1e-12 <= risk <= row.high + 1e-12:
                referred, right, erring = referred + 1, right + 7, erring + 7 + 0.2 * if_wrong
            else:
                lost = if_wrong * ((risk >= 0.3) != outcome)
                right, erring = right + lost, erring + lost
        found = [row.referred_share, row.cost_if_right, row.cost_if_human_errs]
        assert found == pytest.approx([referred / 300, right / 300, erring / 300])
    assert curve["referred_share"].is_monotonic_increasing
    assert curve["referred_share"].iloc[[0, -1]].to_list() == [0, 1]


def test_without_a_margin_no_client_is_referred_not_even_at_the_threshold():
    defaulted, probability = (
        np.array([0, 0, 1, 1]),
        np.array([0.25, 0.25, 0.25, 0.9]),
    )  # as leaves of a tree give
    curve = sl.refer_curve(defaulted, probability, 0.25, BANK, referral_cost=0, human_error=0)
    assert curve["referred_share"].iloc[:2].to_list() == [0, 0.75]
    assert curve["cost_if_right"].iloc[:2].to_list() == [2 * 1000 / 4, 0]


def test_a_free_and_perfect_human_ends_all_cost():
    defaulted, probability = simulated.draw_outcomes(300)
    curve = sl.refer_curve(defaulted, probability, 0.25, BANK, referral_cost=0, human_error=0)
    assert curve["cost_if_right"].iloc[-1] == 0 and curve["cost_if_right"].is_monotonic_decreasing
    assert curve["cost_if_right"].equals(curve["cost_if_human_errs"])


@pytest.mark.parametrize(
    "changes", [{"referral_cost": -1}, {"human_error": 1.1}, {"referral_cost": float("nan")}]
)
def test_an_impossible_human_error_or_cost_is_refused(changes):
    with pytest.raises(ParameterError, match="referral_cost must be at least 0"):
        sl.refer_curve([0, 1], [0.1, 0.9], 0.25, BANK, **({"referral_cost": 100} | changes))


# plots and imports


def test_the_plots_show_the_tables(table):
    plot = draw_slices(table, "test")
    names = [label.get_text() for axes in plot.axes[::2] for label in axes.get_yticklabels()]
    assert len(plot.axes) == 12 and len(names) == len(table)
    assert names[0] == f"{table['group'][0]}  ({table['clients'][0]:,})"
    defaulted, probability = simulated.draw_outcomes(300)
    good, bad = (sl.refer_curve(defaulted, probability, 0.25, BANK, cost) for cost in (10, 5000))
    assert draw_refer_curve(good).get_suptitle().startswith("Referring ")
    assert draw_refer_curve(bad).get_suptitle() == "Referring clients costs more than it saves"
    with pytest.raises(ParameterError, match="at least one group"):
        draw_slices(table.head(0))


def test_importing_slices_is_light():
    heavy = {"sklearn", "pandas", "scipy", "matplotlib", "fairlearn"}
    code = f"import sys, rumos_bank.validation.slices; print(*{heavy} & {{*sys.modules}})"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        == []
    )
