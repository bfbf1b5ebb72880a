"The scorecard on paper: whoever reads the page alone decides as the model does."

import math
import re

import numpy as np
import pytest

from rumos_bank.data.contract import EXAMPLE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.settings import Costs
from rumos_bank.model.decision import DecisionModel, make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.model.features import feature_matrix, feature_names
from rumos_bank.model.scorecard import ROWS, Card, CardRow, make_card, probability_of

PROTECTED = ("SEX", "MARRIAGE", "AGE")
NUMBER = r"-?[\d,]+(?:\.\d+)?"


@pytest.fixture(scope="module")
def decision() -> DecisionModel:
    clients, family = make_synthetic_clients(3000, seed=1), find_family("Scorecard")
    made = make_decision(make_model(family, family.trials[0], 42, PROTECTED), 0.25, Costs(), PROTECTED)
    return made.fit(clients, clients[TARGET])


@pytest.fixture(scope="module")
def card(decision) -> Card:
    return make_card(decision, make_synthetic_clients(3000, seed=1))


def read_label(label: str) -> tuple[float, float, bool]:
    "Above what, up to what, and whether the line is about whole numbers."
    numbers = [
        float(each.replace(",", "")) / (100 if "%" in label else 1) for each in re.findall(NUMBER, label)
    ]
    if label == "any":
        return -math.inf, math.inf, False
    if label.startswith("above"):
        return numbers[0], numbers[1] if "up to" in label else math.inf, False
    if label.startswith("up to"):
        return -math.inf, numbers[0], False
    if label.endswith("and more"):
        return numbers[0] - 1, math.inf, True
    return numbers[0] - 1, numbers[-1], True


def read_page(page: str) -> tuple[float, float, dict[str, list[tuple[float, float, float]]]]:
    "Start, cut-off, and by the title of each row: above, up to, points."
    start = float(re.search(r"starts with <strong>(-?[\d.]+) points", page)[1])
    cut_off = float(re.search(r"The cut-off is (-?[\d.]+) points", page)[1])
    rows, title = {}, ""
    for line in page[page.index("<tbody>") : page.index("</tbody>")].splitlines():
        if found := re.search(r"<strong>(.*?)</strong>", line):
            title = found[1]
        cells = re.findall(r"<td>(.*?)</td>", line)
        if cells:
            above, up_to, _ = read_label(cells[-2])
            rows.setdefault(title, []).append((above, up_to, float(cells[-1])))
    return start, cut_off, rows


def test_reading_the_page_alone_gives_the_models_decisions(decision, card):
    fresh = make_synthetic_clients(5000, seed=9)
    start, cut_off, rows = read_page(card.to_html(EXAMPLE_CLIENT))
    values = dict(zip(feature_names(), feature_matrix(fresh, ()).T, strict=True))
    columns = {title: name for name, (title, _, _) in ROWS.items()}
    total = np.full(len(fresh), start)
    for title, bins in rows.items():
        of_client = values[columns[title]]
        hit = np.array([(above < of_client) & (of_client <= up_to) for above, up_to, _ in bins])
        assert (hit.sum(axis=0) == 1).all(), f"each client has one line in {title}"
        total = total + np.array([points for *_, points in bins]) @ hit
    same = (total <= cut_off) == (decision.predict(fresh) == 1)
    assert same.mean() >= 0.99
    assert card.agreement >= 0.99


def test_no_line_is_printed_twice_and_whole_numbers_are_whole(card):
    for row in card.rows:
        assert len(set(row.labels)) == len(row.labels), row.column
        assert not row.column.startswith(("months", "late_1")) or "." not in " ".join(row.labels)


def test_limits_that_are_nearly_equal_are_printed_with_enough_digits():
    row = CardRow("use_spread", "share", 2, (0.0, 0.0004, math.inf), (1, 2, 3))
    assert row.labels == ["up to 0.00 %", "above 0.00 % up to 0.04 %", "above 0.04 %"]


def test_the_worked_example_adds_up(card):
    page = card.to_html(EXAMPLE_CLIENT)
    example = page[page.index("A worked example") :]
    points = [float(each) for each in re.findall(r"<td>(-?[\d.]+)</td></tr>", example)]
    total = float(re.search(r"<strong>(-?[\d.]+)</strong></td></tr>", example)[1])
    assert math.isclose(sum(points), total, abs_tol=0.05)
    assert f"risk {probability_of(total):.1%}" in example
    assert ("accepted" in example) == (total > card.cut_off)
