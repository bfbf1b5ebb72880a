"Who reigns: only the cheaper by more than a tie, in the right order of worth, and never nobody after somebody."

import shutil
import sqlite3
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from crashes import Crash, crash_at
from stores import TINY, Data, Place, make_data, settings_for, with_folds, with_refusals

from rumos_bank.data.contract import TARGET, fingerprint
from rumos_bank.governance import ledger, promotion
from rumos_bank.governance import promotion_state as reign
from rumos_bank.governance.ledger import LEDGER, allowed_versions, append_event, read_ledger, verify_ledger
from rumos_bank.governance.promotion import Verdict, choose_champion
from rumos_bank.governance.promotion_state import CHAMPION, Reign, lock_promotions, mend, read_champion
from rumos_bank.governance.tracking import (
    DATABASE,
    Store,
    find_model_files,
    load_decision,
    read_artifact,
    register_winner,
)
from rumos_bank.ground.errors import StoreError
from rumos_bank.model.families import find_family
from rumos_bank.model.search import cost_by_fold, cross_validate, search
from rumos_bank.serving.champion import Champion


def board(*rows: tuple[str, float, float]) -> pd.DataFrame:
    "A leaderboard of (family, cost per client, seconds)."
    frame = pd.DataFrame(rows, columns=["family", "cv_cost", "seconds"])
    return frame.assign(run_id="run of " + frame["family"])


# the rule among families


@pytest.mark.parametrize(
    "rows, won",
    [
        ([("a", 400.0, 900), ("b", 401.1, 1)], "a"),  # 0.275 % dearer is no tie
        ([("a", 400.0, 900), ("b", 400.9, 1)], "b"),  # 0.225 % is one, and the faster wins
        ([("a", 400.0, 100), ("b", 400.9, 70)], "b"),  # 2⁷ against 2⁶
        ([("b", 400.0, 80), ("a", 400.9, 70)], "b"),  # both 2⁶: the cheaper
        ([("b", 400.0, 80), ("a", 400.0, 70)], "a"),  # both the same: the name
        ([("a", 400.0, 0.0), ("b", 400.0, 1e-4)], "a"),  # too fast to tell
        ([("a", 400.0, 8), ("b", 400.9, 4), ("c", 401.8, 1)], "b"),  # tied with the best, not with each other
        ([("a", 0.0, 8), ("b", 1.0, 1)], "a"),
    ],
)
def test_the_cheapest_then_the_fastest_then_the_name(rows, won):
    for order in (rows, rows[::-1]):
        choice = choose_champion(board(*order), tie=0.0025)
        assert (choice.family, choice.run_id) == (won, f"run of {won}")


def test_the_reason_tells_what_decided():
    alone = choose_champion(board(("a", 400.0, 9), ("b", 500.0, 1)), tie=0.0025)
    assert "a costs least in cross-validation: 400.0 € per client; no other is within 0.25%" in alone.reason
    tied = choose_champion(board(("a", 400.0, 90), ("b", 400.5, 1), ("c", 500.0, 1)), tie=0.0025)
    assert "tied" in tied.reason and "a 400.0 € (90 s)" in tied.reason and "b wins" in tied.reason
    assert "c " not in tied.reason


# the crown


def test_on_an_empty_store_nobody_reigns(place):
    assert read_champion(place.store) is None
    mend(place.store)
    assert read_champion(place.store) is None and place.events == []


def test_the_first_is_crowned(place):
    verdict = place.crown("first")
    assert (verdict.crowned, verdict.version, verdict.family) == (True, 1, "Decision_tree")
    assert place.reigns == "first"
    assert place.events == [("intent", "first"), ("crowned", "first")]
    intent, crowned = read_ledger(place.settings)
    assert [check["verdict"] for check in intent["gates"] if check["name"] in ("standing", "saving")] == [
        "pass"
    ] * 2
    assert crowned["intent"] == intent["number"] and crowned["version"] == intent["version"] == 1
    assert intent["fingerprint"] == place.data.lending.fingerprint and intent["twin"] is True
    assert {"MLmodel", "model.skops"} <= intent["files"].keys()
    check_order(place)


def test_the_same_run_again_changes_nothing(reigned):
    before = reigned.events
    verdict = reigned.crown("first")
    assert not verdict.crowned and verdict.version == 1 and "champion already" in verdict.reason
    assert reigned.events == before and versions(reigned) == [1]


def test_the_same_recipe_in_another_run_changes_nothing(reigned):
    again = reigned.log(with_refusals(reigned.found, 0), key="first")
    before = reigned.events
    verdict = reigned.crown(again)
    assert not verdict.crowned and "same as the champion" in verdict.reason
    assert reigned.reigns == "first" and reigned.events == before and versions(reigned) == [1]


def saving(verdict: Verdict) -> float:
    "Euros per client that the challenger saves, as the gates found."
    return next(check.figure for check in verdict.checks if check.name == "saving")


@pytest.mark.parametrize("name, cost", [("dearer", 501.7), ("tied", 496.7)])
def test_dearer_or_tied_is_refused_with_a_reason_and_a_line(reigned, name, cost):
    verdict = reigned.crown(name)
    assert (verdict.state, verdict.version, verdict.family) == ("refused", 1, "Decision_tree")
    assert saving(verdict) == pytest.approx(500 - cost, abs=0.05)
    assert reigned.reigns == "first" and verdict.candidate == 2
    assert reigned.events[2:] == [("refused", name)]
    last = read_ledger(reigned.settings)[-1]
    assert (last["reason"], last["version"], last["replaces"]) == (verdict.reason, 2, 1)
    assert [check.to_dict() for check in verdict.checks] == last["gates"]
    check_order(reigned)


def test_what_was_refused_is_not_judged_again_until_something_changes(reigned):
    first = reigned.crown("dearer")
    before = read_ledger(reigned.settings)
    again = reigned.crown("dearer")
    assert (again.state, again.reason, again.candidate) == ("refused", first.reason, 2)
    assert read_ledger(reigned.settings) == before
    reigned.settings = settings_for(reigned.store.path, RUMOS_GATES_MAX_FLIPS="0.5")  # another rule
    assert not reigned.crown("dearer").crowned
    assert len(read_ledger(reigned.settings)) == len(before) + 1


def test_cheaper_by_more_than_a_tie_replaces(reigned):
    verdict = reigned.crown("cheaper")
    assert (verdict.crowned, verdict.version) == (True, 2)
    assert saving(verdict) == pytest.approx(500 - 493.3, abs=0.05)
    assert reigned.reigns == "cheaper"
    assert reigned.events[2:] == [("intent", "cheaper"), ("crowned", "cheaper")]
    assert read_ledger(reigned.settings)[-1]["event"] == "retired"
    check_order(reigned)


def test_every_reign_stays_in_the_registry_and_can_be_loaded(reigned):
    for name in ("cheaper", "cheapest", "first"):
        reigned.crown(name)
    kept = reigned.store.client.search_model_versions("name = 'rumos_lending'")
    assert {int(version.version): version.run_id for version in kept} == {
        1: reigned.runs["first"],
        2: reigned.runs["cheaper"],
        3: reigned.runs["cheapest"],
    }
    for version in kept:
        assert load_decision(reigned.store, version.run_id).predict(reigned.data.test).shape == (150,)
    assert reigned.reigns == "cheapest"
    check_order(reigned)


# what goes before money

STANDINGS = [
    (twin, profile) for twin in (True, False) for profile in ("quick", "full")
]  # the higher the later


@pytest.mark.parametrize("champion", STANDINGS)
@pytest.mark.parametrize("challenger", STANDINGS)
def test_real_goes_before_twins_and_full_before_quick(challenger, champion):
    ours, theirs = ({"twin": twin, "profile": profile} for twin, profile in (challenger, champion))
    check = promotion._check_standing(ours, Reign(1, "old", "SVC", theirs))
    may = STANDINGS.index(challenger) >= STANDINGS.index(champion)
    assert check.verdict == ("pass" if may else "fail")
    assert ("does not outrank" in check.text) is not may


def test_a_quick_look_at_real_clients_replaces_a_cheap_full_search_on_twins_and_stays(reigned):
    dear = reigned.log(with_refusals(reigned.found, 400), key="dear", twin=False, profile="quick")
    verdict = reigned.crown(dear)
    assert verdict.crowned and "(quick search, real data) outranks" in verdict.reason
    refused = reigned.crown("cheapest")
    assert not refused.crowned and "(full search, twins) does not outrank" in refused.reason
    assert reigned.reigns == dear and [event for event, _ in reigned.events][-1] == "refused"


# the same folds, today


def forbid_fitting(monkeypatch):
    def never(*_, **__):
        raise AssertionError("what is stored must be used")

    monkeypatch.setattr(promotion, "cross_validate", never)


def test_at_changed_costs_each_is_judged_by_what_is_stored_at_its_own_threshold(place, monkeypatch):
    defaulted = place.found.folds["defaulted"].to_numpy()
    chance = np.where(defaulted == 1, 0.9, 0.1)
    chance[np.flatnonzero(defaulted == 1)[:30]] = chance[np.flatnonzero(defaulted == 0)[:60]] = 0.4
    strict, lax = (place.log(with_folds(place.found, chance, cut), key=str(cut)) for cut in (0.3, 0.5))
    # the lax one accepts thirty defaulters, the strict one refuses sixty good payers
    forbid_fitting(monkeypatch)
    place.settings = settings_for(place.store.path, RUMOS_COSTS_FALSE_NEGATIVE="1000")
    assert place.crown(lax).crowned
    refused = place.crown(strict)
    assert not refused.crowned and saving(refused) == pytest.approx(50 - 100)
    place.settings = settings_for(place.store.path, RUMOS_COSTS_FALSE_NEGATIVE="10000")
    crowned = place.crown(strict)
    assert crowned.crowned and saving(crowned) == pytest.approx(500 - 100)


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
    return Data(replace(data.lending, clients=clients, fingerprint=fingerprint(clients)), train, data.test)


@pytest.mark.parametrize("change", [with_one_amount_more, lambda data: make_data(seed=2)])
def test_on_changed_data_the_champions_recipe_is_run_again(change, reigned, monkeypatch):
    asked = spy_on_fitting(monkeypatch)
    reigned.data = change(reigned.data)
    found = search("Decision_tree", reigned.data.train, reigned.settings, TINY)
    perfect = reigned.log(with_refusals(found, 0), key="perfect")
    verdict = reigned.crown(perfect)
    recipe = dict(reigned.found.parameters)
    assert asked == [("Decision_tree", [recipe], 600, 3)]  # the champion's alone
    tree, train = find_family("Decision_tree"), reigned.data.train
    folds, probability, _ = cross_validate(tree, [recipe], train, reigned.settings)
    judged = pd.DataFrame({"fold": folds, "defaulted": train[TARGET], "probability": probability[0]})
    cost = cost_by_fold(judged, 0.5, reigned.settings.costs).mean()  # at its own threshold
    assert cost != cost_by_fold(judged, 0.25, reigned.settings.costs).mean()
    assert verdict.crowned and saving(verdict) == pytest.approx(cost)


def test_the_champions_recipe_is_run_again_with_its_own_seed_and_protected_fields(reigned, monkeypatch):
    asked = []

    def spy(family, trials, train, settings, **more):
        asked.append((settings.model.protected, settings.split.seed, more))
        return cross_validate(family, trials, train, settings, **more)

    monkeypatch.setattr(promotion, "cross_validate", spy)
    own, seed = reigned.settings.model.protected, reigned.settings.split.seed
    reigned.settings = settings_for(
        reigned.store.path, RUMOS_SPLIT_SEED=str(seed + 1), RUMOS_MODEL_PROTECTED="SEX, EDUCATION"
    )
    reigned.crown("dearer")
    assert own != reigned.settings.model.protected and asked == [(own, seed + 1, {"seed": seed})] * 2


def test_on_changed_folds_both_recipes_are_run_again(reigned, monkeypatch):
    asked = spy_on_fitting(monkeypatch)
    reigned.settings = settings_for(reigned.store.path, RUMOS_SPLIT_FOLDS="4")
    assert not reigned.crown(
        "cheaper"
    ).crowned  # what is stored is of other folds, and the recipes are the same
    assert [(trials, folds) for _, trials, _, folds in asked] == [([dict(reigned.found.parameters)], 4)] * 2


# a crash between any two steps


STEPS = [  # what crown does one after the other; the call of that name
    ("register_winner", 1),
    ("copy_model_version", 1),
    ("set_model_version_tag", 1),
    ("append_event", 1),  # the intent
    ("_write_head", 1),
    ("set_registered_model_alias", 1),  # the champion
    ("_mirror", 1),
    ("delete_registered_model_alias", 1),  # the mirror of the old family
    ("set_registered_model_alias", 2),  # the mirror of the new one
    ("append_event", 2),  # crowned
    ("_write_head", 2),
    ("append_event", 3),  # retired
    ("_write_head", 3),
]


def find_owner(name: str, place: Place) -> object:
    "The module that calls a function of this name, or MLflow's client."
    modules = (reign, promotion, ledger)
    return next((module for module in modules if hasattr(module, name)), place.store.client)


def versions(place: Place) -> list[int]:
    found = place.store.client.search_model_versions("name = 'rumos_lending'")
    return sorted(int(version.version) for version in found)


def check_order(place: Place) -> None:
    "The ledger, the alias and its mirror say the same."
    reign = read_champion(place.store)
    crowned = [event for event in read_ledger(place.settings) if event["event"] == "crowned"]
    assert (crowned[-1]["version"], crowned[-1]["run"]) == (reign.version, reign.run_id)
    retired = [event["version"] for event in read_ledger(place.settings) if event["event"] == "retired"]
    assert retired == [event["replaces"] for event in crowned if event["replaces"]]
    assert allowed_versions(read_ledger(place.settings)) == {reign.version}
    assert verify_ledger(place.settings).head == len(read_ledger(place.settings))
    models = place.store.client.search_registered_models()
    assert {model.name for model in models if CHAMPION in model.aliases} == {"rumos_lending", reign.family}
    mirror = place.store.client.get_model_version_by_alias(reign.family, CHAMPION)
    assert mirror.run_id == reign.run_id


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name, call", STEPS)
def test_a_crash_leaves_the_old_or_the_new_champion_and_can_be_mended(reigned, monkeypatch, name, call, when):
    owner = find_owner(name, reigned)
    with monkeypatch.context() as broken:
        crash_at(broken, owner, name, call, when)
        # a Random_forest by name: the mirror changes family
        with pytest.raises(Crash):
            reigned.crown("cheapest")
    reigned.store = Store(reigned.settings)  # a new process
    assert reigned.reigns in ("first", "cheapest")
    intended = ("intent", "cheapest") in reigned.events
    mend(reigned.store)
    assert reigned.reigns == ("cheapest" if intended else "first")  # forward from the intent on, else back
    check_order(reigned)
    told = reigned.events
    mend(reigned.store)
    assert reigned.events == told  # mending again tells nothing new
    reigned.crown("cheapest")
    assert reigned.reigns == "cheapest" and versions(reigned) == [1, 2]
    assert reigned.events[2:] == [("intent", "cheapest"), ("crowned", "cheapest")]
    check_order(reigned)


@pytest.mark.parametrize(
    "name, call, when", [("append_event", 1, "after"), ("set_registered_model_alias", 1, "after")]
)
def test_a_crash_in_the_first_crowning_is_finished_too(place, monkeypatch, name, call, when):
    owner = find_owner(name, place)
    with monkeypatch.context() as broken, pytest.raises(Crash):
        crash_at(broken, owner, name, call, when)
        place.crown("first")
    mend(place.store)
    assert place.reigns == "first" and place.events == [("intent", "first"), ("crowned", "first")]
    check_order(place)


def test_a_torn_line_of_the_ledger_is_written_again(reigned):
    register_winner(reigned.store, reigned.runs["cheapest"])
    facts = {"version": 2, "run": reigned.runs["cheapest"], "family": "Random_forest", "reason": "cheaper"}
    append_event(reigned.settings, "intent", facts)
    with (reigned.store.path / LEDGER).open("ab") as opened:
        opened.write(b'{"number": 4, "event": "crow')
    mend(reigned.store)
    assert reigned.events[2:] == [("intent", "cheapest"), ("crowned", "cheapest")]
    check_order(reigned)


def test_the_next_crowning_mends_first(reigned, monkeypatch):
    with monkeypatch.context() as broken, pytest.raises(Crash):
        crash_at(broken, reign, "append_event", 1, "after")
        reigned.crown("cheaper")
    assert reigned.reigns == "first"
    assert not reigned.crown("dearer").crowned  # dearer than the one that was meant to reign
    assert reigned.events[2:] == [("intent", "cheaper"), ("crowned", "cheaper"), ("refused", "dearer")]
    check_order(reigned)


def test_a_mirror_moved_by_hand_is_put_back(reigned):
    client = reigned.store.client
    client.delete_registered_model_alias("Decision_tree", CHAMPION)
    client.set_registered_model_alias("Random_forest", CHAMPION, "1")
    mend(reigned.store)
    check_order(reigned)


def test_a_model_that_is_not_ours_keeps_its_alias(reigned):
    client = reigned.store.client
    client.create_registered_model("churn")
    client.create_model_version("churn", "file:///somewhere")
    client.set_registered_model_alias("churn", CHAMPION, "1")
    reigned.crown("cheapest")
    assert str(client.get_model_version_by_alias("churn", CHAMPION).version) == "1"


def test_nobody_is_crowned_on_a_ledger_changed_by_hand(reigned):
    ledger = reigned.store.path / LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(b'"twin": true', b'"twin": false'))
    with pytest.raises(StoreError, match="changed by hand"):
        reigned.crown("cheapest")
    alias = reigned.store.client.get_model_version_by_alias("rumos_lending", CHAMPION)
    assert alias.run_id == reigned.runs["first"]


# one at a time


def test_a_promotion_waits_for_another(reigned):
    done = threading.Event()

    def second():
        reigned.crown("cheapest")
        done.set()

    with lock_promotions(reigned.store):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not done.wait(1)
        assert reigned.reigns == "first"
    waiting.join(timeout=30)
    assert done.is_set() and reigned.reigns == "cheapest"


def test_a_promotion_that_waits_too_long_says_so(reigned, monkeypatch):
    import filelock

    class Impatient(filelock.FileLock):
        def __init__(self, path, timeout):
            super().__init__(path, timeout=0.05)

    with lock_promotions(reigned.store):
        monkeypatch.setattr(filelock, "FileLock", Impatient)
        with pytest.raises(StoreError, match=r"another promotion holds .*promotion.lock: wait"):
            mend(reigned.store)


# a champion that is gone


def write_sql(place: Place, statement: str) -> None:
    "Change the database behind MLflow's back."
    with sqlite3.connect(place.store.path / DATABASE) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


LOSSES = {  # what is gone: how it goes, and what the ledger tells of it
    "artifacts": (
        lambda place: shutil.rmtree(place.store.path / "artifacts" / place.runs["first"]),
        "lacks card.json",
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
        "no alias champion points to version 1, the last one crowned",
    ),
    "registered model": (
        lambda place: place.store.client.delete_registered_model("rumos_lending"),
        "no alias champion points to version 1, the last one crowned",
    ),
}


@pytest.mark.parametrize("gone", LOSSES)
def test_a_lost_champion_does_not_stop_the_next(reigned, gone):
    lose, told = LOSSES[gone]
    lose(reigned)
    before = reigned.events
    mend(reigned.store)  # nothing to finish, and nobody to mirror
    assert reigned.events == before
    verdict = reigned.crown("dearer")  # it would have been refused
    assert verdict.crowned and verdict.reason.startswith("the champion was lost: ") and told in verdict.reason
    assert reigned.reigns == "dearer"
    assert reigned.events[2:] == [("intent", "dearer"), ("crowned", "dearer")]
    told = [event["reason"] for event in read_ledger(reigned.settings)[2:] if "reason" in event]
    assert told == [verdict.reason] * 2
    check_order(reigned)
    assert not reigned.crown("dearer").crowned  # found now, and the same


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("file", ["model.skops", "plain.json", "card.json"])
def test_a_champion_whose_files_were_cut_or_changed_does_not_reign_for_the_road(file, reigned):
    run = reigned.runs["first"]
    if file == "card.json":  # a threshold that makes it as dear as nobody
        card = read_artifact(reigned.store, run, file)
        card.write_text(card.read_text().replace('"threshold": 0.5', '"threshold": 1.0'))
    else:
        cut(find_model_files(reigned.store, run) / file)
    again = reigned.log(with_refusals(reigned.found, 300), key="first")  # the road makes it again
    verdict = reigned.crown(again)
    assert verdict.crowned and f"{file} of version 1 is not what was crowned" in verdict.reason
    assert Champion.load(reigned.settings).version == verdict.version == 2


def test_a_version_that_another_run_was_put_under_does_not_reign(reigned):
    write_sql(
        reigned,
        f"UPDATE model_versions SET run_id = '{reigned.runs['dearer']}' WHERE name = 'rumos_lending'",
    )
    verdict = reigned.crown("cheaper")
    assert verdict.crowned and f"run {reigned.runs['first']} was crowned" in verdict.reason


def test_a_champion_whose_probabilities_were_changed_is_judged_by_its_recipe(reigned, monkeypatch):
    folds = read_artifact(reigned.store, reigned.runs["first"], "folds.parquet")
    pd.read_parquet(folds).assign(probability=0.1).to_parquet(folds)
    asked = spy_on_fitting(monkeypatch)
    reigned.crown("dearer")
    assert asked == [("Decision_tree", [dict(reigned.found.parameters)], 600, 3)]


def test_a_line_from_before_card_and_folds_were_recorded_is_still_believed(reigned):
    reigned.forge(lambda line: line.pop("records"))
    assert reigned.crown("dearer").state == "refused" and reigned.reigns == "first"


def test_a_deleted_version_of_the_same_run_is_crowned_again(reigned):
    reigned.store.client.delete_model_version("rumos_lending", "1")
    verdict = reigned.crown("first")
    assert (verdict.crowned, verdict.version) == (True, 2)
    assert reigned.reigns == "first"
    check_order(reigned)


@pytest.mark.parametrize("call", ["get_model_version_by_alias", "get_run", "get_logged_model"])
def test_a_store_that_does_not_answer_has_lost_nothing(reigned, monkeypatch, call):
    from mlflow.exceptions import MlflowException

    def locked(*_):
        raise MlflowException("database is locked")

    before = reigned.events
    with monkeypatch.context() as busy, pytest.raises(MlflowException, match="locked"):
        busy.setattr(reigned.store.client, call, locked)
        reigned.crown("dearer")
    assert reigned.reigns == "first" and reigned.events == before


def test_a_champion_whose_probabilities_are_gone_is_judged_by_its_recipe(reigned, monkeypatch):
    read_artifact(reigned.store, reigned.runs["first"], "folds.parquet").unlink()
    asked = spy_on_fitting(monkeypatch)
    verdict = reigned.crown("dearer")
    assert asked == [("Decision_tree", [dict(reigned.found.parameters)], 600, 3)]
    cost = cost_by_fold(reigned.found.folds, 0.5, reigned.settings.costs).mean()  # what an honest tree costs
    assert saving(verdict) == pytest.approx(cost - 501.67, abs=0.01)


def test_a_challenger_without_a_model_is_no_champion_and_leaves_nothing(reigned):
    shutil.rmtree(find_model_files(reigned.store, reigned.runs["cheapest"]))
    before = reigned.events
    with pytest.raises(StoreError, match=r"lacks model.skops: .* run its family again"):
        reigned.crown("cheapest")
    assert reigned.reigns == "first" and versions(reigned) == [1] and reigned.events == before
