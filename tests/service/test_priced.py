"""Prices that depend on the client: each has a threshold of their own, and every interface gives the same answer, to the last bit.

The tests of all interfaces run once more, on a champion of such prices."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from processes import RUMOS
from services import serve, settings_of
from stores import TINY, Place, make_data, settings_for
from test_all_interfaces import (  # noqa: F401  # fixtures, and tests that run here on another champion
    champion,
    clients,
    environment_of,
    expected,
    places_of,
    test_one_client_on_the_command_line,
    test_plain_mlflow_answers_the_same,
    test_the_api_answers_the_same,
    test_the_desk_answers_the_same_for_a_file,
    test_the_desk_answers_the_same_for_one_client,
    test_the_library_answers_the_same_for_dicts_and_for_frames,
)

from rumos_bank.data.contract import CLIENT_COLUMNS, LATE_CLIENT
from rumos_bank.desk.state import open_desk
from rumos_bank.desk.views import show_costs
from rumos_bank.governance.tracking import open_store
from rumos_bank.ground.settings import Costs, Prices
from rumos_bank.model.cost import find_costs, recover_costs
from rumos_bank.model.search import search
from rumos_bank.monitoring.overrides import judge_overrides
from rumos_bank.serving.case_parts import list_parts, read_decisions
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record
from rumos_bank.serving.person import erase_person
from rumos_bank.serving.replay import replay

PRICES = {
    "RUMOS_COSTS_FALSE_POSITIVE": "0.005 * limit + 100",
    "RUMOS_COSTS_FALSE_NEGATIVE": "0.05 * bill + 300",
}


@pytest.fixture(scope="module")
def promoted(tmp_path_factory) -> Place:
    "A champion that was searched, judged and promoted at prices by the client."
    settings = settings_for(tmp_path_factory.mktemp("priced") / "store", **PRICES)
    place = Place(open_store(settings), settings, make_data(seed=1), None)
    place.promote(place.log(search("LightGBM", place.data.train, settings, TINY)))
    return place


@pytest.fixture(scope="module")
def service(promoted, tmp_path_factory):
    place = promoted.copy_to(tmp_path_factory.mktemp("asked") / "store")
    with serve(place.store.path, tmp_path_factory.mktemp("service")) as started:
        yield started


# ruff: noqa: F811  # a fixture's name as a parameter


def test_each_client_is_decided_at_the_own_bayes_threshold(champion, clients, expected):
    positive = 0.005 * clients["LIMIT_BAL"] + 100
    negative = 0.05 * clients["BILL_AMT1"].clip(lower=0) + 300
    assert expected["threshold"].to_numpy() == pytest.approx(positive / (positive + negative))
    assert (expected["prediction"] == (expected["probability"] >= expected["threshold"])).all()
    cheaper = expected["expected_cost_refuse"] <= expected["expected_cost_accept"] * (1 + 1e-12)
    assert (expected["prediction"] == cheaper).mean() > 0.999  # a tie may go to either side
    assert expected["threshold"].std() > 0.1 and champion.threshold is None
    assert champion.prices.model_dump() == {
        "false_positive": "0.005 * limit + 100.0",
        "false_negative": "0.05 * bill + 300.0",
    }


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_cases_of_a_file_keep_what_was_at_stake_and_outlive_an_erasure(
    promoted, clients, expected, tmp_path, ending
):
    place = promoted.copy_to(tmp_path / "store")
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    named = clients.head(300).assign(reference=[f"C-{n}" for n in range(300)])
    named.to_csv(source, index=False) if ending == ".csv" else named.to_parquet(source, index=False)
    done = subprocess.run(
        [*RUMOS, "predict", str(source), str(target), "--reference-column", "reference"],
        env=environment_of(place.store.path, tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    here = settings_of(place.store.path, **places_of(tmp_path))
    answers = (
        pd.read_csv(target, float_precision="round_trip") if ending == ".csv" else pd.read_parquet(target)
    )
    assert answers["threshold"].tolist() == expected["threshold"][:300].tolist()
    (segment,) = {case.rpartition("-")[0] for case in answers["decision_id"]}
    (part,) = list_parts(here.audit_path / segment)
    assert read_decisions(part)[0].tolist() == (expected["prediction"][:300] == 1).tolist()
    log, case = DecisionLog(here), answers["decision_id"][7]
    before = log.find(case)["answer"]
    assert before["threshold"] == expected["threshold"][7] and replay(here, case).outcome == "identical"
    erase_person(here, "C-7", "asked for by the client in person")
    assert log.find(case)["answer"] == before and "input" not in log.find(case)


def test_an_override_is_counted_at_the_prices_of_its_case(promoted, tmp_path):
    place = promoted.copy_to(tmp_path / "store")
    settings = settings_for(place.store.path, **PRICES)
    champion, log = Champion.load(settings), DecisionLog(settings)
    made = decide_and_record(champion, LATE_CLIENT | {"BILL_AMT1": 50_000}, "test", log)
    answer = log.find(made.id)["answer"]
    names = "probability", "expected_cost_accept", "expected_cost_refuse", "threshold"
    at_stake = recover_costs(*(answer[name] for name in names))
    assert (at_stake.false_positive, at_stake.false_negative) == pytest.approx((250, 2800))
    record_override(settings, log, made.id, 0, "A. Officer", "the salary was seen on paper today")
    p = answer["probability"]
    assert judge_overrides(settings).total.expected == pytest.approx(p * 2800 - (1 - p) * 250)


def test_the_desk_shows_this_clients_limit_and_costs(promoted, tmp_path):
    desk = open_desk(settings_of(promoted.store.path, **places_of(tmp_path)))
    for bill, false_negative in ((8_000, 700), (100_000, 5_300)):
        desk.fill({name: int(value) for name, value in LATE_CLIENT.items()} | {"BILL_AMT1": bill})
        assert desk.what_if == Costs(250, false_negative)
        assert desk.decision.threshold == 250 / (250 + false_negative)
        assert f"{100 * desk.decision.threshold:.0f}%" in show_costs(desk).replace(" %", "%").replace(
            "\u00a0", ""
        )


def test_the_api_names_the_prices(service):
    about = service.get("/champion").json
    assert about["costs"] == {
        "false_positive": "0.005 * limit + 100.0",
        "false_negative": "0.05 * bill + 300.0",
    }
    assert about["threshold"] is None


def test_one_client_and_many_get_the_same_bits():
    rng = np.random.default_rng(0)
    rows = rng.integers(-500_000, 1_000_000, (2000, len(CLIENT_COLUMNS)))
    rows[:, 0] = rng.integers(1_000, 1_000_000, 2000)
    prices = Prices(false_positive="0.0061 * limit", false_negative="0.0333 * bill + 12.7")
    many = find_costs(prices, rows)
    for row, positive, negative in zip(rows.tolist(), many.false_positive, many.false_negative, strict=True):
        one = prices.of(row[0], row[11])
        assert (one.false_positive, one.false_negative) == (positive, negative)
        assert one.bayes_threshold == Costs(positive, negative).bayes_threshold
    assert json.loads(prices.model_dump_json()) == prices.model_dump()
