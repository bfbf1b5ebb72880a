"The plots: their titles, marks and numbers, and no global state."

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rumos_bank.ground.errors import ParameterError
from rumos_bank.ground.settings import Costs
from rumos_bank.model import plots as pl
from rumos_bank.model.cost import business_cost, cost_curve, decide

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows
BANK = Costs(false_positive=1000, false_negative=3000)
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def clients():
    "600 clients who default with the probability given."
    rng = np.random.default_rng(0)
    probability = rng.beta(1.1, 3.9, size=600)
    return (rng.random(600) < probability).astype(int), probability


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def written(plot):
    return [text.get_text() for text in plot.axes[0].texts]


def grades(**changes):
    "Two grades with clients and one without."
    columns = {
        "grade": ["A", "B", "C"],
        "clients": [300, 0, 100],
        "share": [0.75, 0.0, 0.25],
        "mean_pd": [0.04, np.nan, 0.4],
        "default_rate": [0.0, np.nan, 0.5],
        "low": [0.0, np.nan, 0.4],
        "high": [0.01, np.nan, 0.6],
        "verdict": ["safer than predicted", "no client", "as predicted"],
    }
    return pd.DataFrame(columns | changes)


def test_every_plot_shows_with_its_title(clients):
    defaulted, probability = clients
    refused = decide(probability, 0.25)
    board = pd.DataFrame({"family": ["a"], "cv_cost": [400.0], "cv_sd": [9.0], "champion": [True]})
    plots = [
        pl.draw_cost_curve(defaulted, probability, 0.25, BANK, "test"),
        pl.draw_roc(defaulted, probability, 0.25, "test"),
        pl.draw_precision_recall(defaulted, probability, 0.25, "test"),
        pl.draw_calibration(defaulted, probability, label="test"),
        pl.draw_confusion(defaulted, refused, BANK, "test"),
        pl.draw_cap(defaulted, probability, "test"),
        pl.draw_lift(defaulted, probability, "test"),
        pl.draw_ks(defaulted, probability, "test"),
        pl.draw_grades(grades(), "test"),
        pl.draw_leaderboard(board),
    ]
    for plot in plots:
        assert isinstance(plot, Figure)
        image = pl.show(plot)
        assert image.data.startswith(PNG)
        assert image.alt == " ".join(plot.get_suptitle().split()) != ""
    assert len({plot.get_suptitle() for plot in plots}) == len(plots)
    assert all(plot.axes[0].get_title(loc="left") == "test" for plot in plots[:-1])


def test_the_cost_curve_shows_the_model_and_both_policies(clients):
    defaulted, probability = clients
    plot = pl.draw_cost_curve(defaulted, probability, 0.3, BANK)
    here = business_cost(defaulted, decide(probability, 0.3), BANK) / 600
    assert f"loses {here:,.0f} €" in plot.get_suptitle()
    assert {"accept everybody", "refuse everybody", " Bayes threshold 0.25"} <= set(written(plot))
    longest = max(plot.axes[0].lines, key=lambda line: len(line.get_ydata()))
    assert min(longest.get_ydata()) == min(cost_curve(defaulted, probability, BANK).costs) / 600


def test_a_threshold_above_1_stays_on_the_plot(clients):
    plot = pl.draw_cost_curve(*clients, 1.5, BANK)
    points = [line.get_xdata()[0] for line in plot.axes[0].lines if line.get_marker() == "o"]
    assert points == [1]


def test_the_confusion_has_every_number_in_its_cell():
    defaulted = [0] * 2 + [0] * 3 + [1] * 5 + [1] * 7
    refused = [0] * 2 + [1] * 3 + [0] * 5 + [1] * 7
    plot = pl.draw_confusion(defaulted, refused, COSTS)
    cells = {}
    for text in plot.axes[0].texts:
        column, row = (round(place) for place in text.get_position())
        cells.setdefault((row, column), []).append(text.get_text())
    right = "right, nothing lost"
    assert cells == {
        (0, 0): ["2", right],
        (0, 1): ["3", "30 € lost"],
        (1, 0): ["5", "50,000 € lost"],
        (1, 1): ["7", right],
    }
    assert plot.get_suptitle() == "8 of 17 decisions are wrong and lose 50,030 €"


def test_the_leaderboard_is_ranked_and_only_the_champion_has_colour():
    board = pd.DataFrame(
        {
            "family": ["dear", "cheap", "tied"],
            "cv_cost": [450.0, 400.0, 400.5],
            "cv_sd": [5.0, 9.0, 7.0],
            "champion": [False, False, True],
        }
    )
    plot = pl.draw_leaderboard(board)
    names = [label.get_text() for label in plot.axes[0].get_yticklabels()]
    assert names == ["cheap", "tied  (champion)", "dear"]
    assert plot.get_suptitle().startswith("cheap loses least: 400.0 €")
    colours = [to_hex(line.get_color()).upper() == pl.ACCENT for line in plot.axes[0].lines]
    assert colours == [False, True, False]
    with pytest.raises(ParameterError, match="at least one family"):
        pl.draw_leaderboard(board.head(0))


def test_drawing_leaves_pyplot_alone():
    code = (
        "import sys, rumos_bank.model.plots as p\n"
        "p.show(p.draw_roc([0, 1, 0, 1], [.1, .4, .5, .9], .25))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert run(code).split() == ["False"]


# Stress, stability and other clients

STRESSED = pd.DataFrame(
    {
        "scenario": ["limit × 0.9", "limit × 1.1", "all bills × 1.3"],
        "kind": ["one amount a tenth wrong"] * 2 + ["all clients worse off"],
        "now_refused": [0.004, 0.0, 0.2],
        "now_accepted": [0.002, 0.003, 0.0],
    }
)


def test_stress_shows_both_directions_without_colour_and_a_panel_per_kind():
    plot = pl.draw_stress(STRESSED, "made up")
    first, second = plot.axes
    assert [axes.get_title(loc="left") for axes in plot.axes] == [
        "one amount a tenth wrong",
        "all clients worse off",
    ]
    assert first.get_title(loc="right") == "made up"
    assert [label.get_text() for label in first.get_yticklabels()] == ["limit × 0.9", "limit × 1.1"]
    widths = {bar.get_hatch(): round(bar.get_width(), 6) for bar in first.patches if bar.get_width()}
    assert widths.keys() == {None, "/////"} and {round(bar.get_width(), 6) for bar in first.patches} == {
        0.4,
        0,
        -0.2,
        -0.3,
    }
    assert written(plot) == ["0.4", "0.2", "0.3"] and [text.get_text() for text in second.texts] == ["20.0"]
    assert plot.get_suptitle() == "One amount a tenth wrong changes at most 0.6 % of the decisions"
    keys = [text.get_text() for text in plot.legends[0].get_texts()]
    assert keys == ["refused → accepted", "accepted → refused"]


def test_stability_has_a_marker_per_kind_and_the_limit_of_each():
    fits = pd.DataFrame(
        {
            "kind": ["another seed", "resampled clients", "resampled clients"],
            "changed": [0.01, 0.02, 0.04],
            "first_reason": [0.0, np.nan, 0.1],
            "reasons": [0.1, 0.2, 0.3],
            "changes_lost": [0.1, 0.2, 0.3],
        }
    )
    plot = pl.draw_stability(fits, {"another seed": 0.04, "resampled clients": 0.1}, "made up")
    above, below = plot.axes
    dots = {
        line.get_marker(): line.get_xdata().tolist() for line in above.lines if line.get_marker() != "None"
    }
    assert dots == {"D": [1.0], "o": [2.0, 4.0]}
    bars = [line.get_xdata()[0] for line in above.lines if line.get_marker() == "None"]
    assert bars == [4.0, 10.0] and above.get_xlim()[1] > 10
    assert [len(line.get_xdata()) for line in below.lines] == [
        1,
        1,
        1,
        2,
        1,
        2,
    ]  # what is no number has no dot
    assert "1.0 % with another seed" in " ".join(plot.get_suptitle().split())


def test_other_clients_show_the_cost_in_force_and_the_best():
    table = pd.DataFrame(
        {"population": ["as they are", "worse times"], "cost": [400.0, 500.0], "gap": [1.0, 25.0]}
        | {"calibration_error": [0.01, 0.08]}
    )
    plot = pl.draw_shift(table, "made up")
    left, right = plot.axes
    points = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    assert points == [399, 400, 475, 500] and written(plot) == ["400", "500"]
    assert [bar.get_width() for bar in right.patches] == [1.0, 8.0]
    assert "25.0 € per client" in plot.get_suptitle()


def test_only_blocks_that_cost_clearly_more_have_colour():
    table = pd.DataFrame(
        {
            "block": ["never late", "late"],
            "clients": [1500, 500],
            "more": [30.0, 5.0],
            "low": [20.0, -5.0],
            "high": [40.0, 15.0],
        }
    )
    plot = pl.draw_blocks(table, "made up")
    colours = [
        to_hex(line.get_color()).upper() == pl.ACCENT
        for line in plot.axes[0].lines
        if line.get_marker() == "o"
    ]
    assert colours == [True, False] and written(plot) == ["+30", "+5"]
    assert [label.get_text() for label in plot.axes[0].get_yticklabels()] == [
        "never late  (1,500)",
        "late  (500)",
    ]


@pytest.mark.parametrize(
    "draw", [pl.draw_stress, pl.draw_shift, pl.draw_blocks, lambda table: pl.draw_stability(table, {})]
)
def test_there_is_nothing_to_draw_without_a_row(draw):
    with pytest.raises(ParameterError, match=r"needs? at least one"):
        draw(STRESSED.head(0))


def test_the_profile_encloses_the_area_of_the_accuracy_ratio(clients):
    defaulted, probability = clients
    plot = pl.draw_cap(defaulted, probability)
    lines = {len(line.get_xdata()): line for line in plot.axes[0].lines}
    model, perfect = lines[max(lines)], lines[3]
    assert perfect.get_xdata()[1] == pytest.approx(defaulted.mean()) and perfect.get_ydata()[1] == 1
    area = np.trapezoid(model.get_ydata(), model.get_xdata()) - 0.5
    ratio = area / ((1 - defaulted.mean()) / 2)
    assert f"accuracy ratio (Gini) {ratio:.3f}" in written(plot)
    first = np.argsort(-probability)[:120]  # the riskiest fifth of 600
    assert (
        f"are {100 * defaulted[first].sum() / defaulted.sum():.0f} % of the defaulters" in plot.get_suptitle()
    )


def test_clients_of_equal_probability_come_together():
    "The order of the rows must not matter where nothing separates the clients."
    for defaulted in ([1, 1, 0, 0], [0, 0, 1, 1]):
        assert "are 50 % of the defaulters" in pl.draw_cap(defaulted, [0.3] * 4, part=0.5).get_suptitle()
        assert "default 1.0 times" in pl.draw_lift(defaulted, [0.3] * 4).get_suptitle()


def test_lifts_weigh_up_to_one(clients):
    defaulted, probability = clients
    plot = pl.draw_lift(defaulted, probability)
    heights = [bar.get_height() for bar in plot.axes[0].patches]
    assert len(heights) == 10 and np.mean(heights) == pytest.approx(1) and heights[0] > 2 > heights[-1]
    assert plot.axes[0].get_xticklabels()[-1].get_text() == "10\n100 %"


def test_grades_without_clients_keep_their_place_and_a_rate_of_0_is_drawn():
    plot = pl.draw_grades(grades())
    rates, sizes = plot.axes
    assert plot.get_suptitle() == "Of 2 grades, safer than predicted: A"
    assert [text.get_text() for text in sizes.get_xticklabels()] == ["A", "B", "C"]
    low, _ = rates.get_ylim()
    dots = next(line for line in rates.lines if line.get_marker() == "o")
    assert dots.get_xdata().tolist() == [0, 2] and dots.get_ydata()[0] > low > 0
    assert (
        pl.draw_grades(grades(verdict="as predicted")).get_suptitle()
        == "The clients of all 2 grades default as predicted"
    )
    with pytest.raises(ParameterError, match="at least one client"):
        pl.draw_grades(grades().assign(clients=0))
