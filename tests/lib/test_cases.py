"Cases: one reference for one client, one answer to one appeal, and lists that lose and repeat nothing."

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from stores import champion_of, settings_for

from rumos_bank.data.contract import EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Decided
from rumos_bank.ground.errors import DataError, ParameterError
from rumos_bank.ground.settings import Costs, Settings
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.serving import cases
from rumos_bank.serving.cases import (
    Query,
    decide_appeal,
    find_by_reference,
    find_case,
    list_cases,
    record_appeal,
    record_override,
    record_second_look,
)
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record

WHY = "the employer guarantees the loan"


@cache
def champion_of_clients() -> Champion:
    "A small tree that learned from synthetic clients."
    clients, family, protected = (
        make_synthetic_clients(800, seed=3),
        find_family("Decision_tree"),
        ("SEX", "AGE"),
    )
    model = make_model(family, family.trials[0], 1, protected)
    return champion_of(make_decision(model, 0.25, Costs(), protected).fit(clients, clients[TARGET]))


@pytest.fixture
def place(tmp_path) -> Settings:
    return settings_for(tmp_path / "store")


@pytest.fixture
def log(place):
    with closing(DecisionLog(place)) as log:
        yield log


def refuse(log: DecisionLog, refer: bool = False) -> str:
    "The id of a refused client."
    answer = {"prediction": 1, "probability": 0.4, "refer": refer, "model_version": 1}
    entry = Decided(caller="test", input=LATE_CLIENT, answer=answer, model={"version": 1})
    return log.append(entry.to_dict())


# references


@pytest.mark.parametrize(
    "references", ["abc", ["a", "b"], ["a"] * 31, (f"G{at}" for at in range(29)), {"a": 1}, ["a", 4711]]
)
def test_a_table_has_one_reference_for_each_client_or_none(log, references):
    clients = make_synthetic_clients(30, seed=1)
    with pytest.raises((ParameterError, DataError)):
        decide_and_record(champion_of_clients(), clients, "test", log, references)
    assert not list(log.folder.glob("*.jsonl")) and not list(log.folder.glob("*/part-*"))


@pytest.mark.parametrize(
    "make",
    [
        lambda names: iter(names),
        pd.Series,
        lambda names: np.array(names, object),
        lambda names: pd.array(names, dtype="string"),
        list,
    ],
)
def test_each_client_of_a_table_is_found_by_its_own_reference(place, log, make: Callable):
    names = [f"R{at}" if at % 3 else None for at in range(30)]
    clients = make_synthetic_clients(30, seed=1)
    ids = decide_and_record(champion_of_clients(), clients, "test", log, make(names))["decision_id"].tolist()
    for at, name in enumerate(names):
        if name:
            assert find_by_reference(place, name) == [ids[at]]


# what persons decide


@pytest.mark.parametrize("wrong", [True, False, 1.0, "1", 2, -1, None])
def test_a_decision_is_0_or_1_and_nothing_like_it(place, log, wrong):
    case = refuse(log)
    with pytest.raises(ParameterError, match="prediction must be 0"):
        record_override(place, log, case, wrong, "A. Officer", WHY)
    assert find_case(place, case).events == ()


def test_a_whole_number_of_numpy_is_one(place, log):
    case = refuse(log)
    record_override(place, log, case, np.int64(0), "A. Officer", WHY)
    assert find_case(place, case).final.prediction == 0


@pytest.mark.parametrize("name", ["", " ", "\u200b", "A.\u200bOfficer", "A\x00B", "x" * 101, "...", "\u202e"])
def test_a_name_can_be_read(place, log, name):
    with pytest.raises(ParameterError, match="officer's name"):
        record_override(place, log, refuse(log), 0, name, WHY)


@pytest.mark.parametrize("other", ["A.Officer", "a officer", "Ａ．Ｏｆｆｉｃｅｒ", " A. OFFICER "])
def test_who_decided_answers_no_appeal_however_the_name_is_spelled(place, log, other):
    case = refuse(log)
    record_override(place, log, case, 1, "A. Officer", WHY)
    record_appeal(place, log, case, "B. Officer", "the client shows another payslip")
    with pytest.raises(ParameterError, match="another officer answers"):
        decide_appeal(place, log, case, 0, other, "the new payslip was checked")
    assert list_cases(place).cases[0].due == find_case(place, case).appeal_due != ""


RACE = """
import sys
from pathlib import Path
from rumos_bank.ground.errors import RumosError
from rumos_bank.serving import cases
from rumos_bank.serving.decision_log import DecisionLog
sys.path.insert(0, sys.argv[4])
from stores import settings_for
place, case, officer = settings_for(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
log = DecisionLog(place)
sys.stdin.readline()
done = 0
for work in (
    lambda: cases.record_appeal(place, log, case, officer, "the client shows another payslip"),
    lambda: cases.decide_appeal(place, log, case, int(officer[0] == "B"), officer, "the new payslip was checked"),
):
    try:
        work()
        done += 1
    except RumosError:
        pass
print(done)
"""


def test_of_two_officers_at_once_one_takes_the_appeal_and_one_answers_it(place, log):
    case = refuse(log)
    shared = str(Path(__file__).parents[1] / "shared")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(place.store_path), case, officer, shared],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for officer in ("B. Officer", "C. Officer")
    ]
    for each in racers:
        each.stdin.write("\n")
        each.stdin.flush()
    for each in racers:
        each.communicate(timeout=60)
    kinds = [each["kind"] for each in find_case(place, case).events]
    assert kinds[:2] == ["appeal", "appeal decided"] and kinds.count("appeal") == kinds.count(
        "appeal decided"
    )
    assert not list_cases(place, Query(waiting=True)).cases and not find_case(place, case).waiting


def test_only_a_referred_client_gets_a_second_look(place, log):
    with pytest.raises(ParameterError, match="did not refer"):
        record_second_look(place, log, refuse(log), 0, "A. Officer", WHY)
    case = refuse(log, refer=True)
    assert [each.waiting for each in list_cases(place, Query(waiting=True)).cases] == ["second look"]
    record_second_look(place, log, case, 1, "A. Officer", WHY)
    assert list_cases(place, Query(waiting=True)).cases == ()


# lists


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    "Cases of two tables and of single clients, some of them decided by persons; and all of them in a list."
    place = settings_for(tmp_path_factory.mktemp("many") / "store")
    champion = champion_of_clients()
    with closing(DecisionLog(place)) as log:
        for number in range(3):
            decide_and_record(champion, make_synthetic_clients(40, seed=number), "table", log)
            decide_and_record(champion, [EXAMPLE_CLIENT, LATE_CLIENT] * 10, "list", log)
        for at, each in enumerate(list_cases(place, limit=1000).cases[::7]):
            record_override(place, log, each.id, at % 2, f"{'AB'[at % 2]}. Officer", WHY)
    return place, list_cases(place, limit=1000).cases


@given(
    st.sampled_from(["", "table", "list", "nobody"]),
    st.sampled_from(["", "accept", "refuse"]),
    st.sampled_from(["", "A. Officer", "B. Officer"]),
    st.integers(1, 70),
)
@effort(max_examples=40, deadline=None)
def test_pages_lose_and_repeat_nothing(many, caller, decision, officer, limit):
    place, every = many
    query, seen, after = Query(caller=caller, decision=decision, officer=officer), [], ""
    while True:
        page = list_cases(place, query, limit, after)
        seen += page.cases
        if not (after := page.after):
            break
    wanted = [
        each
        for each in every
        if caller in ("", each.caller)
        and decision in ("", ("accept", "refuse")[each.refused])
        and officer in ("", each.officer)
    ]
    assert seen == wanted and len(every) == 180


def test_what_can_be_asked(many):
    place, every = many
    day = every[0].time[:10].replace("-", "")
    assert len(list_cases(place, Query(first=day, last="99991231"), 1000).cases) == len(every)
    for wrong in ({"interface": "cli"}, {"first": "20261201", "last": "20261130"}, {"decision": "yes"}):
        with pytest.raises(ParameterError):
            Query(**wrong)


def test_a_file_that_was_begun_while_another_looked_is_not_forgotten(place, log, monkeypatch):
    "The list of files of the one who looks is older than the index."
    refuse(log)
    known = cases.list_days

    def look_before(folder: Path) -> list[Path]:
        found = known(folder)
        monkeypatch.setattr(cases, "list_days", known)
        with closing(DecisionLog(place)) as other:
            look_before.id = refuse(other)
        list_cases(place)
        return found

    monkeypatch.setattr(cases, "list_days", look_before)
    assert {each.id for each in list_cases(place).cases} >= {look_before.id}
