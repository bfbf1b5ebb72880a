"Overrides of officers and decisions of a shadow, in euros that can be counted."

import json
from pathlib import Path

import numpy as np
import pytest

from rumos_bank.ground.errors import ParameterError, StoreError
from rumos_bank.ground.settings import (
    AuditSettings,
    DataSettings,
    LedgerSettings,
    Prices,
    Settings,
    StoreSettings,
)
from rumos_bank.monitoring import overrides
from rumos_bank.monitoring.overrides import LEAST, Overrides, describe_overrides, tabulate_overrides
from rumos_bank.monitoring.shadow import check_shadow, describe_shadow, judge_shadow
from rumos_bank.serving.case_parts import Shared, make_ids, make_part
from rumos_bank.serving.cases import decide_appeal, record_appeal, record_override, record_second_look
from rumos_bank.serving.decision_log import CaseFolder, DecisionLog

ACCEPT, REFUSE, PAID, DEFAULTED = 0, 1, 0, 1
REASON = "known to the branch for years"
ACCEPTED, REFUSED = "accepted instead of refused", "refused instead of accepted"


@pytest.fixture
def settings(tmp_path) -> Settings:
    costs = Prices(false_positive=10, false_negative=100)  # of different powers of ten: a mix-up shows
    return Settings(
        store=StoreSettings(path=tmp_path / "store"),
        ledger=LedgerSettings(folder=tmp_path / "keys"),
        data=DataSettings(cache=str(tmp_path / "cache")),
        audit=AuditSettings(),
        costs=costs,
    )


class Record:
    "A decision log that is written by hand."

    def __init__(self, settings: Settings):
        self.log, self.folder, self.settings = DecisionLog(settings), settings.audit_path, settings

    def decide(
        self, prediction: int, probability: float, defaulted: int | None = None, refer: bool = False
    ) -> str:
        answer = {"prediction": prediction, "probability": probability, "refer": refer, "model_version": 1}
        made = self.log.append(
            {"kind": "decision", "caller": "", "input": {}, "answer": answer, "model": {"version": 1}}
        )
        if defaulted is not None:
            self.log.append({"kind": "outcome", "decision": made, "defaulted": defaulted})
        return made

    def overrule(self, decision: str, prediction: int, officer: str = "A.") -> None:
        record_override(self.settings, self.log, decision, prediction, officer, REASON)

    def shadow(self, decision: str, prediction: int, probability: float, version: int = 2) -> None:
        answer = {"prediction": prediction, "probability": probability}
        facts = {"decision": decision, "answer": answer, "model": {"version": version}, "microseconds": 50}
        self.log.append({"kind": "shadow", **facts})

    def write(self, day: str, *entries: dict) -> None:
        "Entries of another day, in a file of their own; `{n}` stands for the id of the n-th."
        name, lines = f"{day}-{len(list(self.folder.glob('*'))):08x}", b""
        for entry in entries:
            line = {"id": f"{name}-{len(lines):x}", "time": f"{day[:4]}-{day[4:6]}-{day[6:]}T12:00:00+00:00"}
            lines += json.dumps(line | entry, separators=(",", ":")).encode() + b"\n"
        (self.folder / f"{name}.jsonl").write_bytes(lines)


@pytest.fixture
def record(settings) -> Record:
    return Record(settings)


# Overrides

LATER = "29991231"  # when the outcomes of all days are due


def judge_overrides(settings: Settings, first: str = "", last: str = "") -> Overrides:
    return overrides.judge_overrides(settings, first, last, today=LATER)


def test_an_outcome_that_is_not_due_is_not_judged(record, settings):
    "On the old code both were judged at once; `rumos watch` waits for the same day."
    answer = {"prediction": REFUSE, "probability": 0.5, "refer": False, "model_version": 1}
    record.folder.mkdir(parents=True)
    record.write(
        "20051001", {"kind": "decision", "caller": "", "input": {}, "answer": answer, "model": {"version": 1}}
    )
    (path,) = record.folder.glob("20051001*")
    old = json.loads(path.read_text())["id"]
    record.log.append({"kind": "outcome", "decision": old, "defaulted": DEFAULTED})
    for each in (old, record.decide(REFUSE, 0.5, PAID), record.decide(REFUSE, 0.5)):
        record.overrule(each, ACCEPT)
    record.overrule(record.decide(ACCEPT, 0.1, PAID), REFUSE)  # shows no outcome, ever
    days = [
        (overrides.judge_overrides(settings, today=day), day) for day in ("20051129", "20051130", "", LATER)
    ]
    assert [(judged.total.judged, judged.early, judged.aside) for judged, _ in days] == [
        (0, 3, 0),
        (1, 2, 0),
        (1, 2, 0),
        (2, 0, 1),
    ]
    assert days[2][0].total.difference == 100
    said = "2 outcomes are not due yet ([cases] outcome_days after the decision)."
    assert said in describe_overrides(days[2][0]) and said not in describe_overrides(days[3][0])
    with pytest.raises(ParameterError, match="YYYYMMDD"):
        overrides.judge_overrides(settings, today="tomorrow")


@pytest.mark.parametrize(
    ("officer", "outcome", "officer_lost", "model_lost"),
    [(ACCEPT, PAID, 0, 10), (ACCEPT, DEFAULTED, 100, 0)],
)
def test_a_realised_override_costs_what_the_officer_lost_less_what_the_model_would_have(
    record, settings, officer, outcome, officer_lost, model_lost
):
    record.overrule(record.decide(1 - officer, 0.5, outcome), officer)
    total = judge_overrides(settings).total
    assert (total.overrides, total.judged, total.expected) == (1, 1, 0)
    assert (total.officer, total.model, total.difference) == (
        officer_lost,
        model_lost,
        officer_lost - model_lost,
    )


@pytest.mark.parametrize("outcome", [PAID, DEFAULTED])
def test_an_outcome_of_a_client_refused_in_the_end_is_set_aside(record, settings, outcome):
    "A credit that was not given is not repaid: whatever a file says about it is no price of the officer's decision."
    record.overrule(record.decide(ACCEPT, 0.05, outcome), REFUSE)
    judged = judge_overrides(settings)
    assert (judged.total.overrides, judged.total.judged, judged.aside) == (1, 0, 1)
    assert judged.total.expected == pytest.approx(0.95 * 10 - 0.05 * 100)
    said = "1 outcome of a refused client is set aside: they had no credit to repay."
    assert said in describe_overrides(judged)


def test_second_looks_and_appeals_are_officers_decisions_by_kind(record, settings):
    record.overrule(record.decide(REFUSE, 0.5, PAID), ACCEPT)  # 10 saved
    looked = [record.decide(REFUSE, 0.3, DEFAULTED, refer=True), record.decide(REFUSE, 0.3, refer=True)]
    for decision, prediction in zip(looked, (ACCEPT, REFUSE)):  # 100 lost; agreed
        record_second_look(settings, record.log, decision, prediction, "B.", REASON)
    appealed = record.decide(REFUSE, 0.4, PAID)
    record_appeal(settings, record.log, appealed, "A.", REASON)
    decide_appeal(settings, record.log, appealed, ACCEPT, "C.", REASON)  # 10 saved
    judged = judge_overrides(settings)
    assert {name: (each.overrides, each.difference) for name, each in judged.kinds.items()} == {
        "override": (1, -10),
        "second look": (1, 100),
        "appeal decided": (1, -10),
    }
    assert (judged.total.overrides, judged.total.difference, judged.agreed, judged.withdrawn) == (3, 80, 1, 0)
    assert {row[0] for row in tabulate_overrides(judged)} >= {"override", "second look", "appeal decided"}
    assert any("1 second looks and answers to appeals" in each for each in describe_overrides(judged))


def test_cases_of_a_file_are_judged_as_columns(record, settings):
    "Two of a file of three clients; one by an appeal after an override, so the appeal counts."
    segment, rows = "20051001-0a1b2c3d", np.arange(3)
    shared = Shared(
        segment, "2005-10-01T09:00:00+00:00", "", "file", {"version": 1}, 0.25, settings.costs.model_dump()
    )
    part = make_part(shared, rows, {}, np.array([0.4, 0.1, 0.3]), np.zeros(3, bool))
    CaseFolder(record.log, shared).write(0, *part)
    ids = make_ids(segment, 0, 3)
    record.overrule(ids[0], ACCEPT, "A.")
    record.overrule(ids[1], REFUSE, "A.")
    record_appeal(settings, record.log, ids[1], "A.", REASON)
    decide_appeal(settings, record.log, ids[1], ACCEPT, "B.", REASON)
    record.log.append({"kind": "outcome", "decision": ids[0], "defaulted": DEFAULTED})
    judged = judge_overrides(settings, "20051001", "20051001")
    assert (judged.total.overrides, judged.total.difference, judged.agreed) == (1, 100, 1)


@pytest.mark.parametrize(
    ("officer", "expected"), [(ACCEPT, 0.3 * 100 - 0.7 * 10), (REFUSE, 0.7 * 10 - 0.3 * 100)]
)
def test_without_an_outcome_only_the_expectation_is_given_and_separately(record, settings, officer, expected):
    record.overrule(record.decide(1 - officer, 0.3), officer)
    total = judge_overrides(settings).total
    assert (total.overrides, total.judged, total.officer, total.model) == (1, 0, 0, 0)
    assert total.expected == pytest.approx(expected)
    assert any("cannot be judged" in sentence for sentence in describe_overrides(judge_overrides(settings)))


def test_nothing_is_counted_twice_between_officers_and_directions(record, settings):
    record.overrule(record.decide(REFUSE, 0.5, PAID), ACCEPT, "A.")
    record.overrule(record.decide(REFUSE, 0.5, DEFAULTED), ACCEPT, "B.")
    record.overrule(record.decide(ACCEPT, 0.05), REFUSE, "B.")
    judged = judge_overrides(settings)
    assert {name: (each.difference, each.overrides) for name, each in judged.officers.items()} == {
        "A.": (-10, 1),
        "B.": (100, 2),
    }
    assert {name: (each.difference, each.judged) for name, each in judged.directions.items()} == {
        ACCEPTED: (90, 2),
        REFUSED: (0, 0),
    }
    assert judged.total.difference == 90
    rows = {row[0]: row for row in tabulate_overrides(judged)}
    assert rows["B."][1:6] == ("2", "1", "100", "0", "+100") and rows[REFUSED][2:6] == ("0", "–", "–", "–")
    assert json.loads(json.dumps(judged.to_dict()))["total"]["officer"] == 100


def test_the_last_override_in_time_counts_wherever_it_was_made(record, settings):
    decision = record.decide(REFUSE, 0.5, PAID)
    record.overrule(decision, ACCEPT, "A.")
    facts = {
        "kind": "override",
        "decision": decision,
        "prediction": REFUSE,
        "model_prediction": 1,
        "reason": "",
    }
    later = {**facts, "officer": "Z.", "time": "2999-01-01T00:00:00+00:00"}
    record.write(decision[:8], later, {**facts, "prediction": ACCEPT, "officer": "Y."})
    judged = judge_overrides(settings)
    assert (judged.total.overrides, judged.withdrawn) == (0, 1), "Z. returned to the model's decision"
    sentences = describe_overrides(judged)
    assert sentences[0].startswith("No override that differs") and sentences[1].startswith("1 returned to")


def test_the_days_are_those_of_the_decision(record, settings):
    first = {
        "kind": "decision",
        "caller": "",
        "input": {},
        "answer": {"prediction": REFUSE, "probability": 0.5, "refer": False, "model_version": 1},
        "model": {},
    }
    old = Path(record.folder)
    old.mkdir(parents=True)
    record.write("20051001", first)
    (path,) = old.glob("20051001*")
    decision = json.loads(path.read_text())["id"]
    record.overrule(decision, ACCEPT)  # today
    assert judge_overrides(settings, "20051001", "20051001").total.overrides == 1
    assert judge_overrides(settings, "20051002").total.overrides == 0
    assert judge_overrides(settings, last="20050930").total.overrides == 0
    path.unlink()
    judged = judge_overrides(settings)
    assert (judged.total.overrides, judged.lost) == (0, 1)


def test_an_interval_is_given_when_enough_are_judged_and_holds_the_difference(record, settings):
    for number in range(LEAST - 1):
        record.overrule(record.decide(REFUSE, 0.5, int(number % 10 == 0)), ACCEPT)
    assert judge_overrides(settings).total.interval is None
    record.overrule(record.decide(REFUSE, 0.5, PAID), ACCEPT)
    total = judge_overrides(settings).total
    assert total.difference == 3 * 100 - 27 * 10
    low, high = total.interval
    assert low < total.difference < high and low >= -300


def test_no_override_is_a_sentence_and_a_day_is_eight_digits(record, settings):
    record.decide(REFUSE, 0.5)
    assert describe_overrides(judge_overrides(settings)) == ["No officer overrode the model in these days."]
    for day in ("2005-10-01", "200510", "today", "２００５１００１"):
        with pytest.raises(ParameterError, match="YYYYMMDD"):
            judge_overrides(settings, day)


# Shadow


def test_changed_decisions_and_expected_euros_by_whose_probabilities(record, settings):
    "Four clients: agreed twice, and one changed decision each way. A false positive is 10 euros, a false negative 100."
    asked = [(ACCEPT, 0.02, ACCEPT, 0.04), (REFUSE, 0.5, REFUSE, 0.6), (ACCEPT, 0.08, REFUSE, 0.4)]
    for first, p, second, q in [*asked, (REFUSE, 0.2, ACCEPT, 0.01)]:
        record.shadow(record.decide(first, p), second, q)
    record.decide(ACCEPT, 0.01)  # not answered again
    report = judge_shadow(settings, 2)
    assert (report.decisions, report.scored, report.to_refuse, report.to_accept) == (5, 4, 1, 1)
    assert report.max_difference == pytest.approx(0.32) and report.microseconds == 50
    assert report.expected["champion"]["champion"] == pytest.approx((2 + 5 + 8 + 8) / 4)
    assert report.expected["champion"]["challenger"] == pytest.approx((2 + 5 + 9.2 + 20) / 4)
    assert report.expected["challenger"]["champion"] == pytest.approx((4 + 4 + 40 + 9.9) / 4)
    assert report.expected["challenger"]["challenger"] == pytest.approx((4 + 4 + 6 + 1) / 4)
    assert (report.outcomes, report.interval, report.unseen_changes) == (0, None, 2)
    assert "No outcome is known yet" in describe_shadow(report)[-1]


def test_realised_euros_are_of_known_outcomes_and_the_unseen_changes_are_counted(record, settings):
    record.shadow(record.decide(ACCEPT, 0.08, DEFAULTED), REFUSE, 0.4)  # 100 saved
    record.shadow(record.decide(ACCEPT, 0.08, PAID), REFUSE, 0.4)  # 10 lost
    record.shadow(record.decide(ACCEPT, 0.08, PAID), ACCEPT, 0.05)
    record.shadow(record.decide(REFUSE, 0.3), ACCEPT, 0.05)
    report = judge_shadow(settings, 2)
    assert report.outcomes == 3 and report.realised == {"champion": 100, "challenger": 10}
    assert report.unseen_changes == 1 and report.interval is None
    for _ in range(30):
        record.shadow(record.decide(ACCEPT, 0.08, PAID), REFUSE, 0.4)
    report = judge_shadow(settings, 2)
    low, high = report.interval
    assert low < report.realised["challenger"] - report.realised["champion"] < high
    stored = json.loads(json.dumps(report.to_dict()))
    assert stored["realised"] == {"champion": 100, "challenger": 310}, "what the gate stores"


def test_the_gate_takes_realised_euros_where_they_are_known_else_the_mean_of_both_models(record, settings):
    for _ in range(LEAST):
        record.shadow(record.decide(ACCEPT, 0.08), REFUSE, 0.4)
    (check,) = check_shadow(settings, 2)
    by_champion, by_challenger = 0.08 * 100 - 0.92 * 10, 0.4 * 100 - 0.6 * 10
    assert check.found == pytest.approx((by_champion + by_challenger) / 2) and check.verdict == "pass"
    for _ in range(LEAST):
        record.shadow(record.decide(ACCEPT, 0.08, PAID), REFUSE, 0.4)
    (check,) = check_shadow(settings, 2)
    assert (check.found, check.verdict) == (-10, "warn") and "30 clients whose outcome" in check.text
    for _ in range(LEAST):
        record.shadow(record.decide(ACCEPT, 0.08, DEFAULTED), REFUSE, 0.4)
    (check,) = check_shadow(settings, 2)
    assert (check.found, check.verdict) == ((100 - 10) / 2, "pass")


def test_only_this_version_counts_and_a_decision_counts_once(record, settings):
    decision = record.decide(ACCEPT, 0.1)
    record.shadow(decision, REFUSE, 0.9, version=3)
    record.shadow(decision, ACCEPT, 0.2)
    record.shadow(decision, ACCEPT, 0.2)
    assert judge_shadow(settings, 2).to_refuse == 0 and judge_shadow(settings, 2).scored == 1
    assert judge_shadow(settings, 3).to_refuse == 1
    with pytest.raises(
        StoreError, match=r"version 4 answered none of the 1 decisions.*RUMOS_SHADOW_VERSION=4"
    ):
        judge_shadow(settings, 4)


def test_the_days_of_a_shadow_are_those_of_the_decision(record, settings):
    record.folder.mkdir(parents=True)
    answer = {"caller": "", "input": {}, "answer": {"prediction": ACCEPT, "probability": 0.1}}
    record.write("20051001", {"kind": "decision", **answer, "model": {"version": 1}})
    (path,) = record.folder.glob("20051001*")
    record.shadow(json.loads(path.read_text())["id"], REFUSE, 0.9)  # after midnight
    record.shadow(record.decide(ACCEPT, 0.1), ACCEPT, 0.1)
    assert judge_shadow(settings, 2, "20051001", "20051001").to_refuse == 1
    assert judge_shadow(settings, 2, "20051002").to_refuse == 0
