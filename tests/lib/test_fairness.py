"Fairness after deployment: groups of the clients who were really decided, joined by id, and nothing kept."

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rumos_bank.ground.errors import DataError
from rumos_bank.ground.settings import DataSettings, LedgerSettings, Settings, StoreSettings
from rumos_bank.ground.statistics import wilson_interval
from rumos_bank.monitoring.fairness import describe_fairness, judge_fairness, tabulate_fairness
from rumos_bank.serving.case_parts import Shared, make_ids, make_part
from rumos_bank.serving.cases import record_override
from rumos_bank.serving.decision_log import CaseFolder, DecisionLog

SEGMENT = "20051001-0a1b2c3d"


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(
        store=StoreSettings(path=tmp_path / "store"),
        ledger=LedgerSettings(folder=tmp_path / "keys"),
        data=DataSettings(cache=str(tmp_path / "cache")),
    )


def decide(
    settings: Settings, probability: np.ndarray, refer: np.ndarray, segment: str = SEGMENT
) -> list[str]:
    "Put the cases of a file on record; their ids."
    shared = Shared(segment, "", "", "file", {"version": 1}, 0.25, settings.costs.model_dump())
    part = make_part(shared, np.arange(len(probability)), {}, probability, refer)
    CaseFolder(DecisionLog(settings), shared).write(0, *part)
    return make_ids(segment, 0, len(probability))


def write(path: Path, ids: list[str], **columns) -> Path:
    pd.DataFrame({"decision_id": ids, **columns}).to_csv(path, index=False)
    return path


@pytest.fixture
def decided(settings) -> tuple[list[str], np.ndarray]:
    "100 clients, every fifth refused; an officer accepts the first of them; all the accepted have an outcome."
    n = np.arange(100)
    ids = decide(settings, np.where(n % 5 == 0, 0.4, 0.1), n % 10 == 1)
    log = DecisionLog(settings)
    record_override(settings, log, ids[0], 0, "A. Officer", "known to the branch for years")
    accepted = [each for place, each in enumerate(ids) if place % 5 or not place]
    log.append_many(
        [
            {"kind": "outcome", "decision": each, "defaulted": int(place < 8)}
            for place, each in enumerate(accepted)
        ]
    )
    log.close()
    return ids, n


def test_the_shares_of_each_group_by_hand(settings, decided, tmp_path):
    "60 women (places 0 to 59) and 40 men: 12 and 8 refused by the model, one woman less in the end."
    ids, n = decided
    found = judge_fairness(settings, write(tmp_path / "g.csv", ids, SEX=np.where(n < 60, 2, 1)))
    women, men = sorted(found.groups, key=lambda each: -each.clients)
    assert (women.group, men.group, found.clients, found.unknown) == ("female", "male", 100, 0)
    assert (women.model_refused, women.refused, women.referred) == (12 / 60, 11 / 60, 6 / 60)
    assert (men.model_refused, men.refused, men.referred) == (8 / 40, 8 / 40, 4 / 40)
    assert (women.due, women.known, men.due, men.known) == (49, 49, 32, 32)
    assert (women.defaulted, men.defaulted) == (8 / 49, 0)
    assert np.allclose((women.low, women.high), wilson_interval(8 / 49, 49))
    assert np.allclose((women.refused_low, women.refused_high), wilson_interval(11 / 60, 60))
    assert (women.small, men.small) == (False, True)
    assert any("fewer than 50 clients" in each and "SEX male" in each for each in describe_fairness(found))
    assert tabulate_fairness(found)[1][1:4] == ("female", "60", "18.3%")


def test_refused_shares_are_those_of_fairlearn(settings, decided, tmp_path):
    from fairlearn.metrics import MetricFrame, selection_rate

    ids, n = decided
    age = 20 + n % 50
    found = judge_fairness(settings, write(tmp_path / "g.csv", ids, AGE=age, region=n % 3), ["AGE", "region"])
    refused = ((n % 5 == 0) & (n > 0)).astype(int)
    for column, groups in (
        ("AGE", np.array(["under 30", "30–39", "40–49", "50–59", "60 and more"])[age // 10 - 2]),
        ("region", (n % 3).astype(str)),
    ):
        frame = MetricFrame(metrics=selection_rate, y_true=refused, y_pred=refused, sensitive_features=groups)
        ours = {each.group: each.refused for each in found.groups if each.column == column}
        assert ours == pytest.approx(frame.by_group.to_dict())
    assert next(each.group for each in found.groups if each.column == "AGE") == "under 30"


def test_outcomes_that_are_not_due_or_mostly_missing_give_no_rate(settings, tmp_path):
    ids = decide(settings, np.full(60, 0.1), np.zeros(60, bool))
    log = DecisionLog(settings)
    log.append_many([{"kind": "outcome", "decision": each, "defaulted": 1} for each in ids[:50]])
    found = judge_fairness(settings, write(tmp_path / "g.csv", ids, SEX=1))
    assert [(each.due, each.known, each.defaulted) for each in found.groups] == [(60, 50, None)]
    today = log.append({"kind": "example"})[:9] + "ffffffff"
    log.close()
    young = decide(settings, np.full(60, 0.1), np.zeros(60, bool), today)
    found = judge_fairness(settings, write(tmp_path / "g.csv", young, SEX=1))
    assert [(each.clients, each.due, each.defaulted) for each in found.groups] == [(60, 0, None)]


def test_lines_that_name_no_case_or_one_again_are_counted(settings, decided, tmp_path):
    ids, _ = decided
    lines = [*ids[:60], ids[0], "4711", f"{SEGMENT}-fff"]
    found = judge_fairness(settings, write(tmp_path / "g.csv", lines, SEX=[1] * 59 + [""] + [2] * 3))
    assert (found.clients, found.repeated, found.unknown) == (60, 1, 2)
    assert {each.group: each.clients for each in found.groups} == {"male": 59, "not given": 1}


def test_nothing_of_the_file_is_kept(settings, decided, tmp_path):
    ids, _ = decided
    path = write(tmp_path / "g.csv", ids, region="a-region-of-its-own")
    judge_fairness(settings, path, ["region"])
    kept = [each for each in tmp_path.rglob("*") if each.is_file() and each != path]
    assert kept and not any(b"a-region-of-its-own" in each.read_bytes() for each in kept)


def test_a_file_without_groups_or_with_a_column_that_is_none_is_refused(settings, decided, tmp_path):
    ids, _ = decided
    path = write(tmp_path / "g.csv", ids, account=ids)
    with pytest.raises(DataError, match="none of the columns SEX, MARRIAGE and AGE"):
        judge_fairness(settings, path)
    with pytest.raises(DataError, match="more than 50 different values"):
        judge_fairness(settings, path, ["account"])
    with pytest.raises(DataError, match="lacks columns that a comparison of groups needs: region"):
        judge_fairness(settings, path, ["region"])
