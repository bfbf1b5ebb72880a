"Which version is champion: only a cheaper one, in the right order of standing, and always one after the first."

import shutil
import sqlite3
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from crashes import Crash, crash_at
from stores import TINY, Data, Place, intent_of, make_data, settings_for, with_folds, with_refusals

from rumos_bank.data.contract import TARGET, fingerprint
from rumos_bank.governance import ledger, promotion
from rumos_bank.governance import promotion_state as state
from rumos_bank.governance.events import Intent, Promoted, Refused, Retired, select
from rumos_bank.governance.ledger import LEDGER, allowed_versions, append_event, read_ledger, verify_ledger
from rumos_bank.governance.promotion import Verdict, choose_champion
from rumos_bank.governance.promotion_state import (
    CHAMPION,
    ChampionVersion,
    lock_promotions,
    read_champion,
    repair,
)
from rumos_bank.governance.tracking import (
    DATABASE,
    Store,
    find_model_files,
    load_decision,
    read_artifact,
    register_winner,
)
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.statistics import compare_by_folds
from rumos_bank.model.families import find_family
from rumos_bank.model.search import cost_by_fold, cross_validate, search
from rumos_bank.serving.champion import Champion


def board(**costs: tuple[float, ...]) -> pd.DataFrame:
    "A leaderboard of families with the cost per client in each fold."
    rows = [(family, float(np.mean(each or 0)), each, f"run of {family}") for family, each in costs.items()]
    return pd.DataFrame(rows, columns=["family", "cv_cost", "cv_costs", "run_id"])


# the rule among families

BOOSTING = (400.0, 402.0, 398.0, 400.0)
CLOSE = (399.0, 404.0, 397.0, 402.0)  # 0.5 € more: −1, 2, −1 and 2
DEAR = (410.0, 413.0, 407.0, 411.0)  # 10.25 € more, between 9 and 11


@pytest.mark.parametrize(
    "costs, cheapest, simple",
    [
        ({"LightGBM": BOOSTING, "Scorecard": CLOSE, "Decision_tree": DEAR}, "LightGBM", "Scorecard"),
        ({"LightGBM": BOOSTING, "Scorecard": DEAR, "Decision_tree": CLOSE}, "LightGBM", "Decision_tree"),
        ({"LightGBM": BOOSTING, "Scorecard": DEAR}, "LightGBM", "LightGBM"),  # clearly dearer
        ({"Scorecard": BOOSTING, "LightGBM": CLOSE}, "Scorecard", "Scorecard"),
        ({"LightGBM": BOOSTING, "Scorecard": BOOSTING}, "Scorecard", "Scorecard"),  # equal: the simpler
        ({"SVC": BOOSTING}, "SVC", "SVC"),
        ({"LightGBM": BOOSTING, "own_family": CLOSE}, "LightGBM", "LightGBM"),  # not in the order: the last
        ({"b": BOOSTING, "a": BOOSTING}, "a", "a"),  # neither is: the name
    ],
)
def test_the_cheapest_or_the_simplest_that_cannot_be_told_from_it(costs, cheapest, simple):
    for order in (costs, dict(reversed(costs.items()))):
        choices = [choose_champion(board(**order), prefer) for prefer in ("cheapest", "simple")]
        assert [choice.family for choice in choices] == [cheapest, simple]
        assert [choice.run_id for choice in choices] == [f"run of {cheapest}", f"run of {simple}"]


def test_the_reason_states_who_cannot_be_told_apart_and_how_often_that_is_wrong():
    costs = {"LightGBM": BOOSTING, "Scorecard": CLOSE, "Decision_tree": DEAR}
    cheapest, simple = (choose_champion(board(**costs), prefer).reason for prefer in ("cheapest", "simple"))
    reach = compare_by_folds(CLOSE, BOOSTING, 1 / 3)
    interval = f"(+0.5 €, {reach.low:+.1f} to {reach.high:+.1f})"
    assert "LightGBM costs least in cross-validation: 400.0 € per client" in cheapest
    assert (
        f"the folds cannot tell Scorecard {interval} from it" in cheapest and "Decision_tree" not in cheapest
    )
    assert "called dearer in up to 1 of 10 cases" in cheapest
    assert "Scorecard is the simplest family whose cost cannot be told from the cheapest's" in simple
    assert f"more than LightGBM {interval}" in simple
    clear = choose_champion(board(LightGBM=BOOSTING, Scorecard=DEAR)).reason
    assert "the folds tell every other family from it" in clear


def test_searches_of_an_earlier_version_cannot_be_compared():
    with pytest.raises(StoreError, match="the searches of SVC were logged without their costs by fold"):
        choose_champion(board(LightGBM=BOOSTING, SVC=()))


# promoting


def test_on_an_empty_store_there_is_no_champion(place):
    assert read_champion(place.store) is None
    repair(place.store)
    assert read_champion(place.store) is None and place.events == []


def test_the_first_is_promoted(place):
    verdict = place.promote("first")
    assert (verdict.promoted, verdict.version, verdict.family) == (True, 1, "Decision_tree")
    assert place.champion_run == "first"
    assert place.events == [("intent", "first"), ("promoted", "first")]
    begun, done = read_ledger(place.settings)
    intent, promoted = begun.event, done.event
    standing, saved = (check for check in intent.gates if check.name in ("standing", "saving"))
    assert standing.verdict == "pass" and saved.verdict != "fail"  # a rehearsal: the forest may be as cheap
    assert "it saves 250.0 € per client against the cheaper policy without a model" in saved.text
    assert promoted.intent == begun.number and promoted.version == intent.version == 1
    assert intent.fingerprint == place.data.dataset.fingerprint and intent.twin is True
    assert {"MLmodel", "model.skops"} <= intent.files.keys()
    check_order(place)


def test_the_same_run_again_changes_nothing(promoted):
    before = promoted.events
    verdict = promoted.promote("first")
    assert not verdict.promoted and verdict.version == 1 and "champion already" in verdict.reason
    assert promoted.events == before and versions(promoted) == [1]


def test_the_same_specification_in_another_run_changes_nothing(promoted):
    again = promoted.log(with_refusals(promoted.found, 0), key="first")
    before = promoted.events
    verdict = promoted.promote(again)
    assert not verdict.promoted and "same as the champion" in verdict.reason
    assert promoted.champion_run == "first" and promoted.events == before and versions(promoted) == [1]


def saving(verdict: Verdict) -> float:
    "Euros per client that the challenger saves, as the gates found."
    return next(check.found for check in verdict.checks if check.name == "saving")


@pytest.mark.parametrize("name, cost", [("dearer", 501.7), ("tied", 500)])
def test_dearer_or_tied_is_refused_with_a_reason_and_a_line(promoted, name, cost):
    verdict = promoted.promote(name)
    assert (verdict.state, verdict.version, verdict.family) == ("refused", 1, "Decision_tree")
    assert saving(verdict) == pytest.approx(500 - cost, abs=0.05)
    assert promoted.champion_run == "first" and verdict.candidate == 2
    assert promoted.events[2:] == [("refused", name)]
    last = read_ledger(promoted.settings)[-1].event
    assert isinstance(last, Refused) and (last.reason, last.version, last.replaces) == (verdict.reason, 2, 1)
    assert tuple(verdict.checks) == last.gates
    check_order(promoted)


ANOTHER_RULE = [
    {"RUMOS_GATES_MAX_REFIT_CHANGES": "0.5"},
    {"RUMOS_STRESS_MAX_TURNED": "0.9"},
    {"RUMOS_GRADES_BOUNDS": "0.2", "RUMOS_GRADES_NAMES": "good, poor"},
]


def test_what_was_refused_is_not_judged_again_until_something_changes(promoted):
    first = promoted.promote("dearer")
    before = read_ledger(promoted.settings)
    again = promoted.promote("dearer")
    assert (again.state, again.reason, again.candidate) == ("refused", first.reason, 2)
    assert read_ledger(promoted.settings) == before
    for number, rule in enumerate(ANOTHER_RULE, 1):
        promoted.settings = settings_for(promoted.store.path, **rule)
        assert not promoted.promote("dearer").promoted
        assert len(read_ledger(promoted.settings)) == len(before) + number


def test_cheaper_by_more_than_a_tie_replaces(promoted):
    verdict = promoted.promote("cheaper")
    assert (verdict.promoted, verdict.version) == (True, 2)
    assert saving(verdict) == pytest.approx(500 - 493.3, abs=0.05)
    assert promoted.champion_run == "cheaper"
    assert promoted.events[2:] == [("intent", "cheaper"), ("promoted", "cheaper")]
    assert isinstance(read_ledger(promoted.settings)[-1].event, Retired)
    check_order(promoted)


def test_every_champion_stays_in_the_registry_and_can_be_loaded(promoted):
    for name in ("cheaper", "cheapest", "first"):
        promoted.promote(name)
    kept = promoted.store.client.search_model_versions("name = 'rumos_lending'")
    assert {int(version.version): version.run_id for version in kept} == {
        1: promoted.runs["first"],
        2: promoted.runs["cheaper"],
        3: promoted.runs["cheapest"],
    }
    for version in kept:
        assert load_decision(promoted.store, version.run_id).predict(promoted.data.test).shape == (150,)
    assert promoted.champion_run == "cheapest"
    check_order(promoted)


# what goes before money

STANDINGS = [
    (twin, profile) for twin in (True, False) for profile in ("quick", "full")
]  # the higher the later


@pytest.mark.parametrize("champion", STANDINGS)
@pytest.mark.parametrize("challenger", STANDINGS)
def test_real_goes_before_twins_and_full_before_quick(challenger, champion):
    ours, theirs = ({"twin": twin, "profile": profile} for twin, profile in (challenger, champion))
    check = promotion._check_standing(ours, ChampionVersion(1, "old", "SVC", theirs))
    may = STANDINGS.index(challenger) >= STANDINGS.index(champion)
    assert check.verdict == ("pass" if may else "fail")
    assert ("does not outrank" in check.text) is not may


def test_a_quick_search_on_real_clients_replaces_a_cheap_full_search_on_twins_and_stays(promoted):
    dear = promoted.log(with_refusals(promoted.found, 400), key="dear", twin=False, profile="quick")
    verdict = promoted.promote(dear)
    assert verdict.promoted and "(quick search, real data) outranks" in verdict.reason
    refused = promoted.promote("cheapest")
    assert not refused.promoted and "(full search, twins) does not outrank" in refused.reason
    assert promoted.champion_run == dear and [event for event, _ in promoted.events][-1] == "refused"


# the same folds, today


def forbid_fitting(monkeypatch):
    def never(*_, **__):
        raise AssertionError("what is stored must be used")

    monkeypatch.setattr(promotion, "cross_validate", never)


def test_at_changed_costs_each_is_judged_by_what_is_stored_at_its_own_threshold(place, monkeypatch):
    defaulted = place.found.folds["defaulted"].to_numpy()
    probability = np.where(defaulted == 1, 0.9, 0.1)
    probability[np.flatnonzero(defaulted == 1)[:30]] = probability[np.flatnonzero(defaulted == 0)[:60]] = 0.4
    strict, lax = (place.log(with_folds(place.found, probability, cut), key=str(cut)) for cut in (0.3, 0.5))
    # the lax one accepts thirty defaulters, the strict one refuses sixty good payers
    forbid_fitting(monkeypatch)
    place.settings = settings_for(place.store.path, RUMOS_COSTS_FALSE_NEGATIVE="1000")
    assert place.promote(lax).promoted
    refused = place.promote(strict)
    assert not refused.promoted and saving(refused) == pytest.approx(50 - 100)
    place.settings = settings_for(place.store.path, RUMOS_COSTS_FALSE_NEGATIVE="10000")
    promoted = place.promote(strict)
    assert promoted.promoted and saving(promoted) == pytest.approx(500 - 100)


def spy_on_fitting(monkeypatch) -> list[tuple]:
    asked = []

    def spy(family, trials, train, settings, **more):
        asked.append((family.name, trials, len(train), settings.split.folds))
        return cross_validate(family, trials, train, settings, **more)

    monkeypatch.setattr(promotion, "cross_validate", spy)
    return asked


def with_one_amount_more(data: Data) -> Data:
    train = data.train.copy()
    train.iloc[0, train.columns.get_loc("PAY_AMT1")] += 1
    clients = pd.concat([train, data.test])
    return Data(replace(data.dataset, clients=clients, fingerprint=fingerprint(clients)), train, data.test)


@pytest.mark.parametrize("change", [with_one_amount_more, lambda data: make_data(seed=2)])
def test_on_changed_data_the_champions_specification_is_fitted_again(change, promoted, monkeypatch):
    asked = spy_on_fitting(monkeypatch)
    promoted.data = change(promoted.data)
    found = search("Decision_tree", promoted.data.train, promoted.settings, TINY)
    perfect = promoted.log(with_refusals(found, 0), key="perfect")
    verdict = promoted.promote(perfect)
    specification = dict(promoted.found.parameters)
    assert asked == [("Decision_tree", [specification], 600, 3)]  # the champion's alone
    tree, train = find_family("Decision_tree"), promoted.data.train
    folds, probability, _ = cross_validate(tree, [specification], train, promoted.settings)
    judged = pd.DataFrame({"fold": folds, "defaulted": train[TARGET], "probability": probability[0]})
    cost = cost_by_fold(judged, 0.5, promoted.settings.costs).mean()  # at its own threshold
    assert cost != cost_by_fold(judged, 0.25, promoted.settings.costs).mean()
    assert verdict.promoted and saving(verdict) == pytest.approx(cost)


def test_the_champions_specification_is_fitted_again_with_its_own_seed_and_protected_fields(
    promoted, monkeypatch
):
    asked = []

    def spy(family, trials, train, settings, **more):
        asked.append((settings.model.protected, settings.split.seed, more))
        return cross_validate(family, trials, train, settings, **more)

    monkeypatch.setattr(promotion, "cross_validate", spy)
    own, seed = promoted.settings.model.protected, promoted.settings.split.seed
    promoted.settings = settings_for(
        promoted.store.path, RUMOS_SPLIT_SEED=str(seed + 1), RUMOS_MODEL_PROTECTED="SEX, EDUCATION"
    )
    promoted.promote("dearer")
    assert own != promoted.settings.model.protected and asked == [(own, seed + 1, {"seed": seed})] * 2


def test_on_changed_folds_both_specifications_are_fitted_again(promoted, monkeypatch):
    asked = spy_on_fitting(monkeypatch)
    promoted.settings = settings_for(promoted.store.path, RUMOS_SPLIT_FOLDS="4")
    assert not promoted.promote(
        "cheaper"
    ).promoted  # what is stored is of other folds, and the specifications are the same
    assert [(trials, folds) for _, trials, _, folds in asked] == [([dict(promoted.found.parameters)], 4)] * 2


# a crash between any two steps


STEPS = [  # what a promotion does one after the other; the call of that name
    ("register_winner", 1),
    ("copy_model_version", 1),
    ("set_model_version_tag", 1),
    ("append_event", 1),  # the intent
    ("_write_head", 1),
    ("set_registered_model_alias", 1),  # the champion
    ("_mirror", 1),
    ("delete_registered_model_alias", 1),  # the mirror of the old family
    ("set_registered_model_alias", 2),  # the mirror of the new one
    ("append_event", 2),  # promoted
    ("_write_head", 2),
    ("append_event", 3),  # retired
    ("_write_head", 3),
]


def find_owner(name: str, place: Place) -> object:
    "The module that calls a function of this name, or MLflow's client."
    modules = (state, promotion, ledger)
    return next((module for module in modules if hasattr(module, name)), place.store.client)


def versions(place: Place) -> list[int]:
    found = place.store.client.search_model_versions("name = 'rumos_lending'")
    return sorted(int(version.version) for version in found)


def check_order(place: Place) -> None:
    "The ledger, the alias and its mirror agree."
    current = read_champion(place.store)
    promoted = [line.event for line in select(read_ledger(place.settings), Promoted)]
    assert (promoted[-1].version, promoted[-1].run) == (current.version, current.run_id)
    retired = [line.event.version for line in select(read_ledger(place.settings), Retired)]
    assert retired == [event.replaces for event in promoted if event.replaces]
    assert allowed_versions(read_ledger(place.settings)) == {current.version}
    assert verify_ledger(place.settings).head == len(read_ledger(place.settings))
    models = place.store.client.search_registered_models()
    own = f"{current.family}_twin"  # these clients are synthetic
    assert {model.name for model in models if CHAMPION in model.aliases} == {"rumos_lending", own}
    mirror = place.store.client.get_model_version_by_alias(own, CHAMPION)
    assert mirror.run_id == current.run_id


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name, call", STEPS)
def test_a_crash_leaves_the_old_or_the_new_champion_and_can_be_repaired(
    promoted, monkeypatch, name, call, when
):
    owner = find_owner(name, promoted)
    with monkeypatch.context() as broken:
        crash_at(broken, owner, name, call, when)
        # a Random_forest by name: the mirror changes family
        with pytest.raises(Crash):
            promoted.promote("cheapest")
    promoted.store = Store(promoted.settings)  # a new process
    assert promoted.champion_run in ("first", "cheapest")
    intended = ("intent", "cheapest") in promoted.events
    repair(promoted.store)
    assert promoted.champion_run == (
        "cheapest" if intended else "first"
    )  # forward from the intent on, else back
    check_order(promoted)
    before = promoted.events
    repair(promoted.store)
    assert promoted.events == before  # repairing again records nothing new
    promoted.promote("cheapest")
    assert promoted.champion_run == "cheapest" and versions(promoted) == [1, 2]
    assert promoted.events[2:] == [("intent", "cheapest"), ("promoted", "cheapest")]
    check_order(promoted)


@pytest.mark.parametrize(
    "name, call, when", [("append_event", 1, "after"), ("set_registered_model_alias", 1, "after")]
)
def test_a_crash_in_the_first_promotion_is_finished_too(place, monkeypatch, name, call, when):
    owner = find_owner(name, place)
    with monkeypatch.context() as broken, pytest.raises(Crash):
        crash_at(broken, owner, name, call, when)
        place.promote("first")
    repair(place.store)
    assert place.champion_run == "first" and place.events == [("intent", "first"), ("promoted", "first")]
    check_order(place)


def test_a_torn_line_of_the_ledger_is_written_again(promoted):
    register_winner(promoted.store, promoted.runs["cheapest"])
    append_event(
        promoted.settings, intent_of(2, promoted.runs["cheapest"], family="Random_forest", replaces=1)
    )
    with (promoted.store.path / LEDGER).open("ab") as opened:
        opened.write(b'{"number": 4, "event": "promo')
    repair(promoted.store)
    assert promoted.events[2:] == [("intent", "cheapest"), ("promoted", "cheapest")]
    check_order(promoted)


def test_the_next_promotion_repairs_first(promoted, monkeypatch):
    with monkeypatch.context() as broken, pytest.raises(Crash):
        crash_at(broken, state, "append_event", 1, "after")
        promoted.promote("cheaper")
    assert promoted.champion_run == "first"
    assert not promoted.promote("dearer").promoted  # dearer than the intended champion
    assert promoted.events[2:] == [("intent", "cheaper"), ("promoted", "cheaper"), ("refused", "dearer")]
    check_order(promoted)


def test_a_mirror_moved_by_hand_is_put_back(promoted):
    client = promoted.store.client
    client.delete_registered_model_alias("Decision_tree_twin", CHAMPION)
    client.set_registered_model_alias("Random_forest_twin", CHAMPION, "1")
    repair(promoted.store)
    check_order(promoted)


def test_a_model_that_is_not_ours_keeps_its_alias(promoted):
    client = promoted.store.client
    client.create_registered_model("churn")
    client.create_model_version("churn", "file:///somewhere")
    client.set_registered_model_alias("churn", CHAMPION, "1")
    promoted.promote("cheapest")
    assert str(client.get_model_version_by_alias("churn", CHAMPION).version) == "1"


def test_no_version_is_promoted_on_a_ledger_changed_by_hand(promoted):
    ledger = promoted.store.path / LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(b'"twin": true', b'"twin": false'))
    with pytest.raises(StoreError, match="changed by hand"):
        promoted.promote("cheapest")
    alias = promoted.store.client.get_model_version_by_alias("rumos_lending", CHAMPION)
    assert alias.run_id == promoted.runs["first"]


# one at a time


def test_a_promotion_waits_for_another(promoted):
    done = threading.Event()

    def second():
        promoted.promote("cheapest")
        done.set()

    with lock_promotions(promoted.store):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not done.wait(1)
        assert promoted.champion_run == "first"
    waiting.join(timeout=30)
    assert done.is_set() and promoted.champion_run == "cheapest"


def test_a_promotion_that_waits_too_long_gives_up(promoted, monkeypatch):
    import filelock

    class Impatient(filelock.FileLock):
        def __init__(self, path, timeout):
            super().__init__(path, timeout=0.05)

    with lock_promotions(promoted.store):
        monkeypatch.setattr(filelock, "FileLock", Impatient)
        with pytest.raises(StoreError, match=r"another promotion holds .*promotion.lock: wait"):
            repair(promoted.store)


# a champion that is gone


def write_sql(place: Place, statement: str) -> None:
    "Change the database behind MLflow's back."
    with sqlite3.connect(place.store.path / DATABASE) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


LOSSES = {  # what is gone: how it goes, and what the ledger states about it
    "artifacts": (
        lambda place: shutil.rmtree(place.store.path / "artifacts" / place.runs["first"]),
        "lacks model_record.json",
    ),
    "model": (
        lambda place: shutil.rmtree(find_model_files(place.store, place.runs["first"])),
        "lacks model.skops",
    ),
    "run": (
        lambda place: write_sql(
            place, "UPDATE model_versions SET run_id = 'gone' WHERE name = 'rumos_lending'"
        ),
        "Run with id=gone not found",
    ),
    "version": (
        lambda place: place.store.client.delete_model_version("rumos_lending", "1"),
        "no alias champion points to version 1, the last one promoted",
    ),
    "registered model": (
        lambda place: place.store.client.delete_registered_model("rumos_lending"),
        "no alias champion points to version 1, the last one promoted",
    ),
}


@pytest.mark.parametrize("gone", LOSSES)
def test_a_lost_champion_does_not_stop_the_next(promoted, gone):
    lose, expected = LOSSES[gone]
    lose(promoted)
    before = promoted.events
    repair(promoted.store)  # nothing to finish, and nothing to mirror
    assert promoted.events == before
    verdict = promoted.promote("dearer")  # it would have been refused
    assert (
        verdict.promoted
        and verdict.reason.startswith("the champion was lost: ")
        and expected in verdict.reason
    )
    assert promoted.champion_run == "dearer"
    assert promoted.events[2:] == [("intent", "dearer"), ("promoted", "dearer")]
    reasons = [line.event.reason for line in select(read_ledger(promoted.settings)[2:], Intent, Promoted)]
    assert reasons == [verdict.reason] * 2
    check_order(promoted)
    assert not promoted.promote("dearer").promoted  # found now, and the same


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("file", ["model.skops", "portable.json", "model_record.json"])
def test_a_champion_whose_files_were_cut_or_changed_is_none_for_the_pipeline(file, promoted):
    run = promoted.runs["first"]
    if file == "model_record.json":  # a threshold that makes it as dear as no model
        model_record = read_artifact(promoted.store, run, file)
        model_record.write_text(model_record.read_text().replace('"threshold": 0.5', '"threshold": 1.0'))
    else:
        cut(find_model_files(promoted.store, run) / file)
    again = promoted.log(with_refusals(promoted.found, 300), key="first")  # the pipeline makes it again
    verdict = promoted.promote(again)
    assert verdict.promoted and f"{file} of version 1 is not what was promoted" in verdict.reason
    assert Champion.load(promoted.settings).version == verdict.version == 2


def test_a_version_that_another_run_was_put_under_is_no_champion(promoted):
    write_sql(
        promoted,
        f"UPDATE model_versions SET run_id = '{promoted.runs['dearer']}' WHERE name = 'rumos_lending'",
    )
    verdict = promoted.promote("cheaper")
    assert verdict.promoted and f"run {promoted.runs['first']} was promoted" in verdict.reason


def test_a_champion_whose_probabilities_were_changed_is_judged_by_its_specification(promoted, monkeypatch):
    folds = read_artifact(promoted.store, promoted.runs["first"], "folds.parquet")
    pd.read_parquet(folds).assign(probability=0.1).to_parquet(folds)
    asked = spy_on_fitting(monkeypatch)
    promoted.promote("dearer")
    assert asked == [("Decision_tree", [dict(promoted.found.parameters)], 600, 3)]


def test_a_deleted_version_of_the_same_run_is_promoted_again(promoted):
    promoted.store.client.delete_model_version("rumos_lending", "1")
    verdict = promoted.promote("first")
    assert (verdict.promoted, verdict.version) == (True, 2)
    assert promoted.champion_run == "first"
    check_order(promoted)


@pytest.mark.parametrize("call", ["get_model_version_by_alias", "get_run", "get_logged_model"])
def test_a_store_that_does_not_answer_has_lost_nothing(promoted, monkeypatch, call):
    from mlflow.exceptions import MlflowException

    def locked(*_):
        raise MlflowException("database is locked")

    before = promoted.events
    with monkeypatch.context() as busy, pytest.raises(MlflowException, match="locked"):
        busy.setattr(promoted.store.client, call, locked)
        promoted.promote("dearer")
    assert promoted.champion_run == "first" and promoted.events == before


def test_a_champion_whose_probabilities_are_gone_is_judged_by_its_specification(promoted, monkeypatch):
    read_artifact(promoted.store, promoted.runs["first"], "folds.parquet").unlink()
    asked = spy_on_fitting(monkeypatch)
    verdict = promoted.promote("dearer")
    assert asked == [("Decision_tree", [dict(promoted.found.parameters)], 600, 3)]
    cost = cost_by_fold(
        promoted.found.folds, 0.5, promoted.settings.costs
    ).mean()  # what an honest tree costs
    assert saving(verdict) == pytest.approx(cost - 501.67, abs=0.01)


def test_a_challenger_without_a_model_is_no_champion_and_leaves_nothing(promoted):
    shutil.rmtree(find_model_files(promoted.store, promoted.runs["cheapest"]))
    before = promoted.events
    with pytest.raises(StoreError, match=r"lacks model.skops: .* run its family again"):
        promoted.promote("cheapest")
    assert promoted.champion_run == "first" and versions(promoted) == [1] and promoted.events == before
