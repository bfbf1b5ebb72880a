"Who may promote a model, how it is taken back, and what the ledger shows about it afterwards."

import re
import shutil
import time

import pytest
from crashes import Crash, crash_at
from stores import Place, intent_of, settings_for, with_refusals

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.governance import promotion
from rumos_bank.governance import promotion_state as state
from rumos_bank.governance.events import AliasRestored, Retired, RolledBack
from rumos_bank.governance.history import (
    clean,
    describe_event,
    find_champion_at,
    find_periods,
    make_inventory,
    plan_cleaning,
)
from rumos_bank.governance.ledger import CHAMPION, read_ledger, verify_ledger
from rumos_bank.governance.promotion import approve, find_gates, note_data, reject
from rumos_bank.governance.promotion_state import repair, roll_back
from rumos_bank.governance.tracking import read_artifact
from rumos_bank.ground.errors import ParameterError, StoreError
from rumos_bank.operations.dossier import describe_gates
from rumos_bank.serving.champion import Champion, Follower

WHY = "its refusals are easier to explain to the clients who ask"


@pytest.fixture
def thrice(promoted) -> Place:
    "Three champions, one after the other: versions 1, 2 and 3."
    for name in ("cheaper", "cheapest"):
        promoted.promote(name)
    return promoted


def events(place: Place) -> list[str]:
    return [line.event.name for line in read_ledger(place.settings)]


def as_user(monkeypatch, name: str) -> None:
    monkeypatch.setattr(promotion, "find_user", lambda: name)
    monkeypatch.setattr("rumos_bank.governance.ledger.find_user", lambda: name)


# two people


@pytest.fixture
def two_people(promoted) -> Place:
    promoted.settings = settings_for(promoted.store.path, RUMOS_LEDGER_TWO_PEOPLE="true")
    return promoted


def test_with_two_people_the_pipeline_only_proposes_and_another_person_approves(two_people, monkeypatch):
    as_user(monkeypatch, "maker")
    verdict = two_people.promote("cheaper")
    assert (verdict.state, verdict.candidate, two_people.champion_run) == ("proposed", 2, "first")
    waiting = two_people.promote("cheaper")
    assert waiting.state == "unchanged" and "waits for approval" in waiting.reason
    with pytest.raises(ParameterError, match="maker proposed version 2: another person must approve it"):
        approve(two_people.today, 2)
    assert two_people.champion_run == "first" and events(two_people)[2:] == ["proposed"]
    as_user(monkeypatch, "checker")
    intent = approve(two_people.today, 2)
    assert (intent.approved_by, two_people.champion_run) == ("checker", "cheaper")
    assert events(two_people)[2:] == ["proposed", "approved", "intent", "promoted", "retired"]
    accounts = {line.event.name: line.who for line in read_ledger(two_people.settings)[2:]}
    assert (accounts["proposed"], accounts["approved"]) == ("maker", "checker")


def test_another_name_in_the_environment_is_not_another_person(two_people, monkeypatch):
    two_people.promote("cheaper")
    monkeypatch.setenv("LOGNAME", "bob")
    with pytest.raises(ParameterError, match="another person must approve it"):
        approve(two_people.today, 2)


def test_what_was_rejected_cannot_be_approved(two_people):
    two_people.promote("cheaper")
    with pytest.raises(ParameterError, match="needs a reason in own words"):
        reject(two_people.today, 2, "  ")
    reject(two_people.today, 2, WHY)
    with pytest.raises(ParameterError, match="version 2 waits for nothing: it was rejected"):
        approve(two_people.today, 2)
    assert two_people.champion_run == "first"
    assert read_ledger(two_people.settings)[-1].event.reason == WHY


def test_a_proposal_against_an_earlier_champion_is_worth_nothing(promoted):
    promoted.promote("cheaper", only_propose=True)
    promoted.promote("cheapest")
    with pytest.raises(ParameterError, match="judged against version 1, which is no longer the champion"):
        approve(promoted.store, 2)
    assert promoted.champion_run == "cheapest"


def test_files_changed_after_the_proposal_are_found_before_the_promotion(promoted):
    verdict = promoted.promote("cheaper", only_propose=True)
    line = find_gates(read_ledger(promoted.settings), verdict.candidate)
    model = promoted.store.path / line.event.folder / "model.skops"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    with pytest.raises(StoreError, match=r"model.skops of version 2 is not what was recorded"):
        approve(promoted.store, verdict.candidate)
    assert promoted.champion_run == "first"


def test_a_version_deleted_after_the_proposal_is_not_approved_and_can_be_proposed_again(
    promoted, monkeypatch
):
    promoted.promote("cheaper", only_propose=True)
    promoted.store.client.delete_model_version("rumos_lending", "2")
    before, run = events(promoted), promoted.runs["cheaper"]
    with pytest.raises(StoreError, match=f"version 2 was deleted from the registry.*`rumos propose {run}`"):
        approve(promoted.store, 2)
    assert events(promoted) == before and promoted.champion_run == "first"
    again = promoted.promote("cheaper", only_propose=True)
    assert (again.state, again.candidate) == ("proposed", 3)
    with monkeypatch.context() as late, pytest.raises(StoreError, match="version 3 was deleted"):
        late.setattr(promotion, "require_kept", lambda *_: None)  # it goes in the middle of the approval
        promoted.store.client.delete_model_version("rumos_lending", "3")
        approve(promoted.store, 3)
    assert events(promoted)[-1] == "abandoned" and promoted.champion_run == "first"


def test_a_model_record_changed_after_the_proposal_is_found_before_the_promotion(promoted):
    promoted.promote("cheaper", only_propose=True)
    model_record = read_artifact(promoted.store, promoted.runs["cheaper"], "model_record.json")
    model_record.write_text(model_record.read_text() + " ")
    with pytest.raises(StoreError, match=r"model_record.json of version 2 is not what was recorded"):
        approve(promoted.store, 2)
    assert promoted.champion_run == "first"


def test_approving_what_was_never_proposed_gives_the_remedy(promoted):
    with pytest.raises(ParameterError, match=r"version 7 waits for nothing: it is unknown.*rumos propose"):
        approve(promoted.store, 7)


# overruling


def test_a_failed_gate_is_overruled_only_with_a_reason_in_own_words(promoted):
    refused = promoted.promote("dearer")
    with pytest.raises(ParameterError, match=r"version 2 failed saving .*--overrule"):
        approve(promoted.store, refused.candidate)
    for words in (" ", "ok", "yes yes yes"):
        with pytest.raises(ParameterError):
            approve(promoted.store, refused.candidate, overrule=words)
    assert promoted.champion_run == "first" and "overruled" not in events(promoted)
    approve(promoted.store, refused.candidate, overrule=WHY)
    assert promoted.champion_run == "dearer"
    assert events(promoted)[2:] == ["refused", "overruled", "approved", "intent", "promoted", "retired"]
    line = find_gates(read_ledger(promoted.settings), 2)
    overruled = line.event.overruled
    assert overruled.checks == ("saving",) and overruled.reason == WHY
    assert "1 fail, overruled by" in make_inventory(promoted.settings)[0]["gates"]


def test_the_same_words_do_not_overrule_twice(promoted):
    approve(promoted.store, promoted.promote("dearer").candidate, overrule=WHY)
    dearest = promoted.log(with_refusals(promoted.found, 310), key="dearest")
    refused = promoted.promote(dearest)
    for again in (WHY, WHY.upper() + " !"):
        with pytest.raises(ParameterError):
            approve(promoted.store, refused.candidate, overrule=again)
    assert promoted.champion_run == "dearer"


# a person's rejection


def after_a_rollback(place: Place) -> str:
    place.promote("cheaper")
    roll_back(place.store, reason=WHY)
    return f"version 2 was rolled back from by .*: {WHY}; `rumos propose .*` puts it forward again"


def after_two_rollbacks(place: Place) -> str:
    place.promote("cheaper")
    place.promote("cheapest")
    roll_back(place.store)
    roll_back(place.store)
    return "version 2 was rolled back from"


def after_a_rejection(place: Place) -> str:
    place.promote("cheaper", only_propose=True)
    reject(place.store, 2, WHY)
    return f"version 2 was rejected by .*: {WHY}"


@pytest.mark.parametrize("reject_version", [after_a_rollback, after_two_rollbacks, after_a_rejection])
def test_the_next_pipeline_run_does_not_undo_what_a_person_decided(reject_version, promoted):
    expected = reject_version(promoted)
    before = events(promoted)
    again = promoted.log(
        with_refusals(promoted.found, 296), key="cheaper"
    )  # the same specification, run again
    for run in ("cheaper", again):
        verdict = promoted.promote(run)
        assert (verdict.state, verdict.candidate, promoted.champion_run) == ("rejected", 2, "first")
        assert re.search(expected, verdict.reason)
    assert events(promoted) == before
    assert promoted.promote("cheaper", only_propose=True).state == "proposed"  # a person names it
    approve(promoted.store, 2)
    assert promoted.champion_run == "cheaper"


def test_a_rejection_is_about_these_data_and_rules(promoted):
    after_a_rollback(promoted)
    promoted.settings = settings_for(promoted.store.path, RUMOS_GATES_MAX_REFIT_CHANGES="0.5")
    assert promoted.promote("cheaper").promoted
    assert promoted.promote("first").state == "refused"  # no person rejected it


# rolling back


def test_a_rollback_goes_to_the_one_before_and_then_to_the_one_before_that(thrice):
    begun = time.monotonic()
    line = roll_back(thrice.store, reason=WHY)
    assert time.monotonic() - begun < 5
    assert line.event == RolledBack(**vars(line.event) | {"version": 2, "replaces": 3, "reason": WHY})
    assert thrice.champion_run == "cheaper" and Champion.load(thrice.settings).version == 2
    roll_back(thrice.store)
    assert thrice.champion_run == "first"
    with pytest.raises(StoreError, match="there is no earlier champion"):
        roll_back(thrice.store)
    assert isinstance(read_ledger(thrice.settings)[-1].event, Retired) and verify_ledger(thrice.settings)


def test_a_rollback_from_a_version_that_was_champion_twice(promoted):
    promoted.promote("cheaper")
    roll_back(promoted.store, 1)
    roll_back(promoted.store, 2)  # 1, 2
    promoted.promote("first", only_propose=True)
    approve(promoted.store, 1, overrule=WHY)  # 1, 2, 1
    promoted.promote("cheapest")  # 1, 2, 1, 3
    went = [roll_back(promoted.store).event.version for _ in range(3)]
    assert went == [1, 2, 1]


def test_an_overruled_gate_is_still_shown_when_the_version_comes_back(promoted):
    approve(promoted.store, promoted.promote("dearer").candidate, overrule=WHY)
    promoted.promote("cheapest")
    roll_back(promoted.store)
    line = find_gates(read_ledger(promoted.settings), 2)
    intent = line.event
    assert intent.done == "rolled back" and intent.overruled.reason == WHY and intent.approved_by == ""
    assert "1 fail, overruled by" in make_inventory(promoted.settings)[0]["gates"]
    assert "Overruled by" in describe_gates(read_ledger(promoted.settings), 2)


def test_a_rollback_to_a_named_version_and_forward_again(thrice):
    roll_back(thrice.store, 1)
    assert thrice.champion_run == "first"
    roll_back(thrice.store, 3)
    assert thrice.champion_run == "cheapest"
    mirror = thrice.store.client.get_model_version_by_alias("Random_forest_twin", CHAMPION)
    assert mirror.run_id == thrice.runs["cheapest"]


@pytest.mark.parametrize(
    "version, expected",
    [(3, "version 3 is the champion already"), (9, "version 9 was never champion; these were: 1, 2, 3")],
)
def test_a_rollback_to_nowhere_is_a_sentence(thrice, version, expected):
    with pytest.raises(ParameterError, match=expected):
        roll_back(thrice.store, version)
    assert thrice.champion_run == "cheapest"


def test_a_refused_version_is_no_target_of_a_rollback(promoted):
    refused = promoted.promote("dearer")
    with pytest.raises(ParameterError, match="version 2 was never champion"):
        roll_back(promoted.store, refused.candidate)


def test_no_rollback_goes_to_changed_files(thrice):
    line = find_gates(read_ledger(thrice.settings), 2)
    portable = thrice.store.path / line.event.folder / "portable.json"
    portable.write_bytes(portable.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(StoreError, match=r"portable.json of the model is not what was recorded"):
        roll_back(thrice.store)
    assert thrice.champion_run == "cheapest"
    roll_back(thrice.store, 1)
    assert thrice.champion_run == "first"


def test_a_running_reader_follows_a_rollback(thrice):
    follower = Follower(thrice.settings)
    assert follower.champion.version == 3
    roll_back(thrice.store)
    assert follower.refresh() and follower.champion.version == 2 and not follower.alarm


@pytest.mark.parametrize("step", range(1, 4))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_in_a_rollback_is_finished_forward(thrice, monkeypatch, step, when):
    with monkeypatch.context() as broken, pytest.raises(Crash):
        crash_at(broken, state, "append_event", step, when)
        roll_back(thrice.store)
    begun = (step, when) != (1, "before")
    assert thrice.champion_run in ("cheaper", "cheapest")
    repair(thrice.store)
    assert thrice.champion_run == ("cheaper" if begun else "cheapest")
    if begun:
        assert events(thrice)[-3:] == ["intent", "rolled back", "retired"]


@pytest.mark.parametrize("step", range(1, 4))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_in_an_approval_is_finished_or_approved_again_with_the_same_words(
    promoted, monkeypatch, step, when
):
    version = promoted.promote("dearer").candidate
    with monkeypatch.context() as broken, pytest.raises(Crash):
        crash_at(broken, promotion, "append_event", step, when, state)  # overruled, approved, intent
        approve(promoted.store, version, overrule=WHY)
    repair(promoted.store)
    begun = (step, when) == (3, "after")
    assert promoted.champion_run == ("dearer" if begun else "first")
    if not begun:
        approve(promoted.store, version, overrule=WHY)
    assert (
        promoted.champion_run == "dearer"
        and find_gates(read_ledger(promoted.settings), version).event.overruled
    )
    assert events(promoted)[-3:] == ["intent", "promoted", "retired"]


# an alias that a hand moved, an intent without its version


def test_an_alias_moved_by_hand_is_refused_by_readers_and_put_back_by_the_next_command(thrice):
    thrice.store.client.set_registered_model_alias("rumos_lending", CHAMPION, "1")
    with pytest.raises(
        StoreError,
        match=r"version 1 bears the alias champion, but no line .* promoted it: the alias was moved by hand",
    ):
        Champion.load(thrice.settings)
    repair(thrice.store)
    assert read_ledger(thrice.settings)[-1].event == AliasRestored(version=3, found="1")
    assert thrice.champion_run == "cheapest" and Champion.load(thrice.settings).version == 3
    before = events(thrice)
    repair(thrice.store)
    assert events(thrice) == before


def test_an_alias_that_points_to_nothing_is_put_back(promoted):
    promoted.store.client.delete_registered_model_alias("rumos_lending", CHAMPION)
    repair(promoted.store)
    assert promoted.champion_run == "first" and events(promoted)[-1] == "alias restored"


def test_an_intent_whose_version_was_deleted_is_abandoned(promoted, monkeypatch):
    def power_off(*_):
        raise Crash

    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(state, "finish_changes", power_off)
        state.put_in_production(promoted.store, intent_of(2, "r"))
    repair(promoted.store)
    assert events(promoted)[2:] == ["intent", "abandoned"] and promoted.champion_run == "first"
    assert promoted.promote("cheaper").promoted


# what the ledger shows afterwards


def test_who_was_champion_is_right_across_a_promotion_a_refusal_and_a_rollback(promoted, monkeypatch):
    moments = iter(f"2027-05-{day:02}T12:00:00+00:00" for day in range(1, 29))

    class Days:
        @staticmethod
        def now(_):
            return Days

        @staticmethod
        def isoformat(timespec):
            return next(moments)

    monkeypatch.setattr("rumos_bank.governance.ledger.datetime", Days)
    promoted.promote("cheaper")  # three lines: intent, promoted, retired
    promoted.promote("dearer")  # one: refused
    promoted.promote("cheapest")  # three
    roll_back(promoted.store)  # three
    ledger = read_ledger(promoted.settings)
    days = {day: find_champion_at(ledger, f"2027-05-{day:02}").version for day in range(1, 12)}
    assert days == {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 4, 7: 4, 8: 4, 9: 2, 10: 2, 11: 2}
    assert find_champion_at(ledger, "2027-05-02T11:59").version == 1
    assert find_champion_at(ledger, "2020-01-01") is None
    with pytest.raises(ParameterError, match="'May' is no date"):
        find_champion_at(ledger, "May")
    assert [(each.version, each.how, bool(each.ended)) for each in find_periods(ledger)] == [
        (1, "promoted", True),
        (2, "promoted", True),
        (4, "promoted", True),
        (2, "rolled back", False),
    ]


def test_the_inventory_holds_every_version_that_was_champion_and_no_other(thrice):
    thrice.promote("dearer")
    roll_back(thrice.store)
    inventory = make_inventory(thrice.settings)
    assert [(each["version"], each["state"], len(each["periods"])) for each in inventory] == [
        (2, "champion", 2),
        (3, "retired", 1),
        (1, "retired", 1),
    ]
    assert {each["files"] for each in inventory} == {"as promoted"}
    assert all(each["evidence"]["fingerprint"] == thrice.data.dataset.fingerprint for each in inventory)
    shutil.rmtree(thrice.store.path / find_gates(read_ledger(thrice.settings), 3).event.folder)
    assert "cannot be read" in make_inventory(thrice.settings)[1]["files"]


def test_every_event_is_a_sentence(thrice):
    note_data(thrice.store, thrice.data.dataset)
    thrice.promote("dearer")
    roll_back(thrice.store)
    lines = [describe_event(line) for line in read_ledger(thrice.settings)]
    assert "data changed: 750 synthetic clients, fingerprint" in "\n".join(lines)
    assert (
        lines[1].endswith(read_ledger(thrice.settings)[1].event.reason)
        and "promoted version 1 (Decision_tree)" in lines[1]
    )


def test_data_are_noted_when_they_change_and_only_then(place):
    for _ in range(2):
        note_data(place.store, place.data.dataset)
    assert events(place) == ["data changed"]


# cleaning up


def test_cleaning_removes_what_is_not_needed_and_never_a_version_that_was_champion(thrice):
    newest = thrice.log(with_refusals(thrice.found, 350), key="newest")  # the next pipeline run finds it
    refused = thrice.promote("dearer")
    waiting = thrice.promote("tied", only_propose=True)
    planned = {removal.run_id for removal in plan_cleaning(thrice.store)}
    assert planned == {thrice.runs["dearer"]}
    assert thrice.store.client.get_model_version(
        "rumos_lending", str(refused.candidate)
    )  # nothing is gone yet
    assert {removal.run_id for removal in clean(thrice.store)} == planned
    assert plan_cleaning(thrice.store) == []
    left = {version.run_id for version in thrice.store.client.search_model_versions("name = 'rumos_lending'")}
    assert left == {thrice.runs[name] for name in ("first", "cheaper", "cheapest", "tied")}
    assert not (thrice.store.path / "artifacts" / thrice.runs["dearer"]).exists()
    assert (thrice.store.path / "artifacts" / newest).exists() and waiting.candidate
    assert {each["files"] for each in make_inventory(thrice.settings)} == {"as promoted"}
    roll_back(thrice.store, 1)
    assert Champion.load(thrice.settings).decide(EXAMPLE_CLIENT).model_version == 1
