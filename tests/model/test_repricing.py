"A change of prices: the champion follows in a version of its own, with the same probabilities, and no ranking mixes prices."

from dataclasses import replace

import numpy as np
import pytest
from stores import Data, Place, make_data, settings_for

from rumos_bank.governance.events import Intent, Proposed, select
from rumos_bank.governance.ledger import read_ledger
from rumos_bank.governance.promotion import UNCHANGED
from rumos_bank.governance.promotion_state import read_champion, roll_back
from rumos_bank.governance.repricing import reprice
from rumos_bank.governance.tracking import (
    find_searches,
    is_priced,
    load_decision,
    read_board,
    read_folds,
    read_model_record,
    read_tested,
    tags_of,
)
from rumos_bank.ground.errors import NoChampionError, ParameterError, StoreError
from rumos_bank.model.search import PROFILES, SearchResult, choose_rule
from rumos_bank.monitoring.metrics import make_watch_reference
from rumos_bank.operations import pipeline
from rumos_bank.operations.experiments import RunData, count_looks
from rumos_bank.operations.pipeline import QUIET, PipelineRun
from rumos_bank.serving.champion import Champion

NEW = {"RUMOS_COSTS_FALSE_POSITIVE": "1200", "RUMOS_MODEL_TUNE_ABOVE_CALIBRATION_ERROR": "0.9"}


@pytest.fixture
def honest(place: Place) -> Place:
    "A champion that was honestly searched, at 1,000 €; the settings name 1,200 € now."
    old = settings_for(place.store.path, **{**NEW, "RUMOS_COSTS_FALSE_POSITIVE": "1000"})
    place = replace(place, settings=old)
    place.runs = {**place.runs, "honest": place.log(at_prices(place.found, old), key="honest")}
    assert place.promote("honest").promoted
    return replace(place, settings=settings_for(place.store.path, **NEW))


def at_prices(found: SearchResult, settings) -> SearchResult:
    "What the search gives at these prices: another rule, the same probabilities."
    rule = choose_rule(found.folds, settings.costs, settings.model.tune_above_calibration_error)
    decision = found.decision.__class__(**found.decision.get_params(deep=False))
    for name, learned in vars(found.decision).items():
        setattr(decision, name, learned)
    decision.set_params(threshold=rule.threshold, **settings.costs.model_dump())
    return replace(found, rule=rule, decision=decision)


def parts_of(data: Data) -> dict:
    return {"train": data.train, "test": data.test}


def moved(place: Place, **more):
    return reprice(place.today, place.data.dataset, parts_of(place.data), make_watch_reference, **more)


def test_the_champion_follows_the_prices_with_the_same_probabilities(honest: Place):
    before, looks = read_champion(honest.store), count_looks(honest.store, honest.data.dataset, "full")
    verdict = moved(honest, why="margins of June")
    current = read_champion(honest.store)
    assert verdict.promoted and (before.version, current.version) == (1, 2)
    old, new = (load_decision(honest.store, each.run_id) for each in (before, current))
    assert new.threshold == 1200 / 4200 and old.threshold == 0.25
    assert np.array_equal(old.predict_proba(honest.data.test), new.predict_proba(honest.data.test))
    for read in (read_folds, read_tested):
        assert read(honest.store, current.run_id).equals(read(honest.store, before.run_id))
    assert is_priced(current.model_record, honest.settings) and current.model_record["repriced_from"] == 1
    assert tags_of(honest.store.client.get_run(current.run_id))["kind"] == "repriced"
    assert count_looks(honest.store, honest.data.dataset, "full") == looks, "no test client was looked at"
    served = Champion.load(honest.settings)
    assert (served.version, served.threshold) == (2, 1200 / 4200)
    reason = select(read_ledger(honest.settings), Intent)[-1].event.reason
    assert (
        reason.startswith("re-priced from version 1: false positive 1,200 €") and "margins of June" in reason
    )


def test_the_typical_accepted_client_is_made_anew(honest: Place):
    moved(honest)
    new = load_decision(honest.store, read_champion(honest.store).run_id)
    folds = read_folds(honest.store, read_champion(honest.store).run_id)
    accepted = honest.data.train[folds["probability"].to_numpy() < 1200 / 4200]
    median = int(accepted["LIMIT_BAL"].quantile(0.5, interpolation="lower"))
    assert new.reference_["typical"]["LIMIT_BAL"] == median and new.reference_["watch"]["counts"]


def test_it_is_logged_once_and_a_rollback_brings_the_old_prices_back(honest: Place):
    moved(honest)
    roll_back(honest.store, reason="the new tariff was withdrawn")
    assert read_champion(honest.store).version == 1
    moved(honest)
    assert len(find_searches(honest.store, kind="repriced")) == 1


def test_prices_that_are_the_champions_and_other_clients_are_refused(honest: Place):
    same = replace(honest, settings=settings_for(honest.store.path))
    with pytest.raises(ParameterError, match="version 1 decides at today's prices already"):
        moved(same)
    with pytest.raises(StoreError, match="its clients are not today's"):
        moved(replace(honest, data=make_data(seed=9)))


def test_without_a_champion_there_is_nothing_to_reprice(place: Place):
    with pytest.raises(NoChampionError, match="there is no champion yet"):
        moved(replace(place, settings=settings_for(place.store.path, **NEW)))


def test_two_people_decide_about_prices_too(honest: Place):
    two = settings_for(honest.store.path, **NEW, RUMOS_LEDGER_TWO_PEOPLE="true")
    verdict = moved(replace(honest, settings=two))
    assert verdict.state == Proposed.name and read_champion(honest.store).version == 1


def test_the_same_model_searched_at_the_new_prices_changes_nothing(honest: Place):
    moved(honest)
    again = honest.log(at_prices(honest.found, honest.settings), key="again")
    verdict = honest.promote(again)
    assert verdict.state == UNCHANGED and "the same model at the same prices" in verdict.reason


def run_of(place: Place, *runs: str) -> PipelineRun:
    "A pipeline run whose searches are finished."
    data = RunData(place.data.dataset, place.data.train, place.data.test)
    made = PipelineRun("run", place.store.path, place.settings, data, PROFILES["full"], QUIET)
    made.board = read_board(place.store, runs)
    return made


def test_a_pipeline_run_at_new_prices_ends_with_a_champion_at_new_prices(honest: Place):
    "The recipe of docs/how-to.md, which once ended in `refused`."
    again = honest.log(at_prices(honest.found, honest.settings), key="searched at 1,200 €")
    run = run_of(honest, again)
    pipeline._promote(run, honest.today)
    assert run.verdict.promoted and run.repriced is run.verdict and run.choice.run_id == again
    assert read_champion(honest.store).run_id == again
    assert "The prices changed to false positive 1,200 €" in run._describe_prices()


def test_where_no_search_is_the_champions_it_is_repriced_from_the_store(honest: Place):
    run = run_of(honest, honest.runs["dearer"])
    pipeline._promote(run, honest.today)
    current = read_champion(honest.store)
    assert run.repriced.promoted and current.version == 2 and current.model_record["repriced_from"] == 1
    assert not run.verdict.promoted, "a dearer model is compared with the champion at its new limit"
    once = run_of(honest, honest.runs["dearer"])
    pipeline._promote(once, honest.today)
    assert once.repriced is None, "the prices are the champion's by now"
    assert read_model_record(honest.store, current.run_id)["costs"]["false_positive"] == 1200
