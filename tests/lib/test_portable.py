"The portable form: the same bits as the model, and nothing but numbers that make a tree."

import copy
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import Costs
from rumos_bank.model import portable
from rumos_bank.model.decision import make_decision
from rumos_bank.model.explain import explain, make_reference
from rumos_bank.model.families import FAMILIES, find_family, make_model
from rumos_bank.model.portable import (
    PortableDecision,
    _as_arrays,
    count_differences,
    make_portable,
    make_total,
    read_portable,
)
from rumos_bank.model.search import refit_on_resamples

PROTECTED = ("SEX", "MARRIAGE", "AGE")
TREES = ("HistGradientBoosting", "LightGBM", "Scorecard", "Decision_tree", "Random_forest")
SMALLER = {"Random_forest": {"n_estimators": 30}}
COLUMNS = list(CLIENT_COLUMNS)


def fit(name: str, trial: int, clients: pd.DataFrame, protected: tuple[str, ...] = PROTECTED, **more):
    "A family's decision after one of its trials."
    family = find_family(name)
    chosen = {**family.trials[trial % len(family.trials)], **more}
    model = make_model(family, chosen, 42, protected)
    model.set_params(
        **{f"{model.steps[-1][0]}__{key}": value for key, value in SMALLER.get(name, {}).items()}
    )
    return make_decision(model, 0.25, Costs(), protected).fit(clients, clients[TARGET])


def write(decision) -> bytes:
    return json.dumps(make_portable(decision, {"family": "some"})).encode()


def read(decision) -> PortableDecision:
    _, read_back = read_portable(write(decision))
    return read_back


@pytest.fixture(scope="module")
def twins() -> pd.DataFrame:
    return make_synthetic_clients(2000, seed=21)


@pytest.fixture(scope="module")
def asked() -> pd.DataFrame:
    return make_synthetic_clients(1500, seed=22)


# the same bits


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("trial", [0, 7])
def test_the_same_bits_as_the_model(name, trial, twins, asked):
    decision = fit(name, trial, twins)
    form = read(decision)
    expected = decision.predict_proba(asked)[:, 1]
    assert count_differences(decision, form, asked) == 0
    rows = asked[COLUMNS]
    for kind in (int, float):
        one_by_one = [form.probability(row) for row in rows.astype(kind).itertuples(index=False)]
        np.testing.assert_array_equal(one_by_one, expected)
    assert np.isfinite(expected).all() and len(np.unique(expected)) > 5


@pytest.mark.parametrize("protected", [(), ("SEX",), ("SEX", "EDUCATION", "MARRIAGE", "AGE")], ids=len)
@pytest.mark.parametrize("name", ["LightGBM", "Decision_tree"])
def test_the_same_bits_whatever_is_protected(name, protected, twins, asked):
    if name == "LightGBM" and "EDUCATION" in protected:
        decision = fit(name, 1, twins, protected, n_estimators=20)
    else:
        decision = fit(name, 1, twins, protected)
    assert count_differences(decision, read(decision), asked) == 0


@pytest.mark.parametrize("client", [EXAMPLE_CLIENT, LATE_CLIENT], ids=["example", "late"])
def test_a_protected_field_may_be_any_number(client, twins):
    form = read(fit("HistGradientBoosting", 0, twins))
    answers = {
        form.probability(tuple({**client, "SEX": sex, "AGE": age}.values()))
        for sex in (1, 2, 0, -5, math.nan)
        for age in (18, 120, math.inf)
    }
    assert len(answers) == 1


@pytest.mark.real
@pytest.mark.parametrize("name", ["HistGradientBoosting", "LightGBM"])
def test_the_same_bits_on_all_real_clients(name, real):
    few = {"LightGBM": {"n_estimators": 100}, "HistGradientBoosting": {"max_iter": 100}}[name]
    decision = fit(name, 0, real.clients.iloc[::5], **few)
    assert len(real.clients) == 30_000
    assert count_differences(decision, read(decision), real.clients) == 0


def test_a_family_without_trees_has_no_scorer_and_is_read_all_the_same(twins):
    form, scorer = read_portable(write(fit("logistic_reg", 0, twins)))
    assert scorer is None and form["decision"]["threshold"] == 0.25
    assert set(TREES) < set(FAMILIES)


# walked and compiled

WIDE = 6  # columns of the matrix that random trees ask


@st.composite
def trees(draw, most: int = 40) -> dict[str, list]:
    "A random tree: leaves are turned into questions one by one."
    number = st.floats(-5, 5, allow_nan=False)
    tree: dict[str, list] = {
        "column": [0],
        "cut": [0.0],
        "left": [-1],
        "right": [-1],
        "value": [draw(number)],
    }
    for _ in range(draw(st.integers(0, most // 2))):
        leaf = draw(st.sampled_from([node for node, left in enumerate(tree["left"]) if left < 0]))
        tree["column"][leaf], tree["cut"][leaf] = draw(st.integers(0, WIDE - 1)), draw(number)
        tree["left"][leaf], tree["right"][leaf] = len(tree["left"]), len(tree["left"]) + 1
        for _ in range(2):
            for name, value in (
                ("column", 0),
                ("cut", 0.0),
                ("left", -1),
                ("right", -1),
                ("value", draw(number)),
            ):
                tree[name].append(value)
    return tree


def scorer_of(grown: list[dict], **more) -> dict:
    return {"trees": grown, "start": 0.0, "end": "logistic", "single": False, **more}


@settings(max_examples=60, deadline=None)
@given(st.lists(trees(), min_size=1, max_size=4), st.data())
def test_walked_and_compiled_give_the_same_bits(grown, data):
    compiled = portable._compile(grown, 0.5, WIDE)
    cuts = sorted({cut for tree in grown for cut in tree["cut"]})
    edge = st.sampled_from([*cuts, *(math.nextafter(cut, 9) for cut in cuts)]) | st.floats(-9, 9)
    for _ in range(5):
        row = data.draw(st.tuples(*[edge] * WIDE))
        assert (
            compiled(row)
            == portable._walk(grown, 0.5, row)
            == make_total(scorer_of(grown, start=0.5), WIDE)(row)
        )


def make_chain(questions: int) -> dict[str, list]:
    "A chain of questions: is it at most 0, 1, 2, …?"
    nodes = 2 * questions + 1
    inner = [node % 2 == 0 and node < 2 * questions for node in range(nodes)]
    return {
        "column": [0] * nodes,
        "cut": [node / 2 for node in range(nodes)],
        "left": [node + 1 if asks else -1 for node, asks in enumerate(inner)],
        "right": [node + 2 if asks else -1 for node, asks in enumerate(inner)],
        "value": [float(node // 2) / 1000 for node in range(nodes)],
    }


@pytest.mark.parametrize("questions", [1, 59, 60, 61, 62, 150, 300, 5_000, 40_000])
def test_a_tree_of_any_depth_is_asked(questions):
    total = make_total(scorer_of([make_chain(questions)]), 1)
    for answer in {0, 1, questions // 2, questions}:
        assert total([answer]) == min(answer, questions) / 1000
    assert total([10**9]) == questions / 1000


def test_many_small_trees_are_walked_above_the_limit():
    grown = [make_chain(1)] * (portable._MOST_NODES // 3 + 1)
    assert make_total(scorer_of(grown), 1)([1]) == pytest.approx(len(grown) / 1000)


# what is no tree


@pytest.fixture(scope="module")
def form(twins) -> dict:
    decision = fit("LightGBM", 0, twins, n_estimators=4)
    refits = refit_on_resamples(decision, twins, 2)
    decision.reference_ = make_reference(decision, twins, decision.predict_proba(twins)[:, 1], refits)
    assert len(decision.reference_["survival"]["margin"]) > 1
    return json.loads(write(decision))


def changeable(decision, clients: pd.DataFrame) -> dict[str, int]:
    "A refused client who has a change."
    refused = clients.loc[decision.predict_proba(clients)[:, 1] >= decision.threshold, COLUMNS]
    return next(each for each in refused.to_dict("records") if explain(decision, each).changes)


def refuse(form: dict, *words: str) -> None:
    "Reading this form is refused, with the reason."
    with pytest.raises(
        StoreError, match=r"the portable form cannot be used: .*run the pipeline again"
    ) as caught:
        read_portable(json.dumps(form).encode())
    for word in words:
        assert word in str(caught.value)
    assert caught.value.__cause__ is None


def with_tree(form: dict, **lists) -> dict:
    changed = copy.deepcopy(form)
    changed["scorer"]["trees"][1] |= lists
    return changed


MARKER = Path(tempfile.mkdtemp()) / "was-run"
MAKE = f"__import__('pathlib').Path({str(MARKER)!r}).touch()"
EXPRESSIONS = [MAKE, f"0.5) or {MAKE} or (0.5", f"1\n {MAKE}", "1e3", "nan", "x0"]  # in a number's place


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("place", ["column", "cut", "left", "right", "value"])
@pytest.mark.parametrize("node", [0, -1], ids=["question", "leaf"])
def test_an_expression_in_a_numbers_place_is_never_run(place, node, expression, form):
    changed = copy.deepcopy(form)
    changed["scorer"]["trees"][0][place][node] = expression
    refuse(changed, "node")
    assert not MARKER.exists()


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("place", ["start", "end", "single"])
def test_an_expression_beside_the_trees_is_never_run(place, expression, form):
    refuse({**form, "scorer": {**form["scorer"], place: expression}})
    assert not MARKER.exists()


@pytest.mark.parametrize("place", ["cut", "value"])
@pytest.mark.parametrize(
    "number", [math.nan, math.inf, -math.inf, 10**400, 1e308, True, None, [1.0], {"a": 1}]
)
def test_what_is_no_finite_number_is_refused(place, number, form):
    if (place, number) == ("cut", 1e308):
        return  # a question to which every client answers yes
    tree = form["scorer"]["trees"][1]
    refuse(with_tree(form, **{place: [number, *tree[place][1:]]}))


@pytest.mark.parametrize("start", [math.nan, math.inf, "0.1", None, 701, True])
def test_a_start_is_a_number_too(start, form):
    refuse({**form, "scorer": {**form["scorer"], "start": start}})


TREE = {"column": [0, 0, 0], "cut": [1, 0, 0], "left": [1, -1, -1], "right": [2, -1, -1], "value": [0, 1, 2]}


@pytest.mark.parametrize(
    "change",
    [
        {"left": [0, -1, -1]},  # itself
        {"right": [0, -1, -1]},
        {"left": [1, 0, -1]},  # back
        {"left": [3, -1, -1]},  # outside
        {"right": [99, -1, -1]},
        {"right": [-1, -1, -1]},
        {"left": [2, -1, -1]},  # both sides to one node
        {"column": [-1, 0, 0]},
        {"column": [10**6, 0, 0]},
        {"column": [0.0, 0, 0]},
        {"column": [True, 0, 0]},
        {"left": [1.0, -1, -1]},
        {"value": [0, 1]},
        {"value": []},
        {name: [] for name in TREE},
        {"more": [0, 0, 0]},
        {"left": "123"},
        {"left": {"0": 1, "1": -1, "2": -1}},
        {"left": None},
    ],
    ids=repr,
)
def test_lists_that_make_no_tree_are_refused(change, form):
    assert read_portable(json.dumps(with_tree(form, **TREE)).encode())[1]
    refuse(with_tree(form, **TREE | change))


def test_nodes_that_share_their_children_cannot_grow_without_end(form):
    questions = 60  # would be 2⁶⁰ leaves, written out
    web = {
        "column": [0] * (2 * questions + 2),
        "cut": [1.0] * (2 * questions + 2),
        "left": [2 * (node // 2) + 2 for node in range(2 * questions)] + [-1, -1],
        "right": [2 * (node // 2) + 3 for node in range(2 * questions)] + [-1, -1],
        "value": [0.0] * (2 * questions + 2),
    }
    refuse(with_tree(form, **web), "two questions point to the same node")


def test_the_least_and_the_most_that_leaves_add_up_to(form):
    deep = [{**TREE, "value": [0, -350, 350]}] * 2
    _, scorer = read_portable(json.dumps({**form, "scorer": scorer_of(deep)}).encode())
    assert scorer.probability(tuple(EXAMPLE_CLIENT.values())) in (
        1 / (1 + math.exp(700)),
        1 / (1 + math.exp(-700)),
    )
    refuse({**form, "scorer": scorer_of(deep, start=0.5)}, "add up to", "700")
    shares = {**TREE, "value": [0.5, 0, 1]}
    assert read_portable(json.dumps({**form, "scorer": scorer_of([shares], end="mean")}).encode())[1]
    refuse({**form, "scorer": scorer_of([{**TREE, "value": [0.5, -0.1, 1]}], end="mean")})
    refuse({**form, "scorer": scorer_of([{**TREE, "value": [0.5, 0, 1.1]}], end="mean")})


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"format": "1"},
        {"format": None},
        {"columns": []},
        {"columns": None},
        {"protected": ["SEX"]},
        {"protected": ["NOBODY"]},
        {"protected": ["PAY_0"]},
        {"protected": [["SEX"]]},
        {"protected": "SEX"},
        {"about": []},
        {"about": {}},
        {"decision": {}},
        {"decision": None},
        {"scorer": {}},
        {"scorer": []},
        {"scorer": 0},
        {"scorer": "none"},
        {"reference": {"typical": [[1], [1, 2]]}},
        {"reference": {}},
        {"reference": []},
    ],
    ids=repr,
)
def test_another_format_other_columns_or_missing_parts_are_refused(change, form):
    refuse({**form, **change})


@pytest.mark.parametrize("end", ["softmax", None, 1])
def test_an_unknown_end_is_refused(end, form):
    refuse({**form, "scorer": {**form["scorer"], "end": end}})


def test_columns_in_another_order_are_refused(form):
    refuse({**form, "columns": form["columns"][::-1]}, "columns are not those")


@pytest.mark.parametrize("name", ["threshold", "false_positive", "false_negative", "refer_margin"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 1e10, "a quarter", [], True])
def test_what_a_decision_is_made_by_is_within_its_range(name, value, form):
    refuse({**form, "decision": {**form["decision"], name: value}}, name)
    refuse({**form, "scorer": None, "decision": {**form["decision"], name: value}}, name)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b"[" * 100_000], ids=lambda t: t[:4]
)
def test_what_is_no_form_is_refused(text):
    with pytest.raises(StoreError, match="the portable form cannot be used"):
        read_portable(text)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_form_cut_anywhere_is_refused(data, form):
    text = json.dumps(form).encode()
    with pytest.raises(StoreError):
        read_portable(text[: data.draw(st.integers(0, len(text) - 1))])


def places(value, path=()):
    "Every place of a form that a change can be made at, what it is about left out."
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        if path or key != "about":
            yield from places(below, (*path, key))


JUNK = st.sampled_from([None, True, "", "0", [], {}, -1, 0, 1, 10**30, 0.5, 1e300, math.nan, math.inf])


@pytest.mark.parametrize("table", ["typical", "cells", "leaves", "survival"])
def test_a_reference_without_one_of_its_keys_is_refused(table, form):
    reference = form["reference"]
    refuse({**form, "reference": {name: of for name, of in reference.items() if name != table}}, table)
    for key in reference[table]:
        missing = {name: of for name, of in reference[table].items() if name != key}
        refuse({**form, "reference": {**reference, table: missing}}, key)


@pytest.mark.parametrize(
    "table, key, value, expected",
    [
        ("leaves", "left", 0, "points outside of the tree or back"),  # a walk without an end
        ("leaves", "column", 10**6, "points outside of the tree"),
        ("leaves", "clients", None, "cannot be in a reference"),
        ("cells", "clients", 0, "cannot be in a reference"),
        ("cells", "defaults", 10**6, "cannot be in a reference"),
        ("cells", "score", math.nan, "rising scores"),
        ("cells", "score", 0.9, "rising scores"),
        ("survival", "margin", 0.9, "must rise"),
        ("survival", "margin", -0.1, "must rise"),
        ("survival", "survives", 1.01, "must rise"),
        ("survival", "survives", math.nan, "must rise"),
        ("survival", "survives", True, "must rise"),
        ("survival", "changes", 0, "at least one change"),
        ("survival", "changes", 9.5, "at least one change"),
    ],
)
def test_a_reference_that_no_reason_can_be_given_with_is_refused(table, key, value, expected, form):
    changed = copy.deepcopy(form)
    changed["reference"][table][key][0] = value
    refuse(changed, expected)


def test_a_table_of_survivals_is_as_long_as_its_margins_or_empty(twins, form):
    changed = copy.deepcopy(form)
    changed["reference"]["survival"]["changes"].pop()
    refuse(changed, "a count and a share for every margin")
    for name in changed["reference"]["survival"]:
        changed["reference"]["survival"][name] = []
    empty = read_portable(json.dumps(changed).encode())[1]
    changes = explain(empty, changeable(empty, twins)).changes
    assert changes and {change.survives for change in changes} == {None}


def test_a_form_from_before_survivals_is_refused_by_its_number(form):
    refuse({**form, "format": 1}, "format 1 instead of 2")


def test_both_forms_give_the_same_survivals(twins, form):
    decision = fit("LightGBM", 0, twins, n_estimators=4)
    decision.reference_ = _as_arrays(form["reference"])
    client = changeable(decision, twins)
    ours, theirs = (explain(each, client) for each in (decision, read_portable(json.dumps(form).encode())[1]))
    assert ours == theirs and ours.changes and None not in {change.survives for change in ours.changes}


def test_a_decision_without_a_reference_is_read(form):
    assert read_portable(json.dumps({**form, "reference": None}).encode())[1].reference_ is None


@pytest.mark.parametrize("part", ["reference", "decision", "scorer"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_form_changed_anywhere_is_refused_or_decides_by_numbers(part, data, form):
    path = data.draw(st.sampled_from([each for each in places(form) if each[:1] == (part,)]))
    changed = copy.deepcopy(form)
    target = changed
    for key in path[:-1]:
        target = target[key]
    if data.draw(st.booleans()):
        target[path[-1]] = data.draw(JUNK)
    else:
        del target[path[-1]]
    try:
        _, scorer = read_portable(json.dumps(changed).encode())
    except StoreError:
        return
    for client in (
        EXAMPLE_CLIENT,
        LATE_CLIENT,
    ):  # another tree of numbers, or none: that is what digests are for
        assert scorer is None or 0 <= scorer.probability(tuple(client.values())) <= 1
        if part == "reference" and scorer.reference_ is not None:
            assert len(explain(scorer, client).texts()) >= 3
