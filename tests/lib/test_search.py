"The search: honest folds, the best probabilities win, and the cost that is promised was not chosen on its clients."

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulated import judge_twins
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from rumos_bank.data.contract import ID, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.ground.errors import ParameterError, RumosError
from rumos_bank.ground.settings import PACKAGED, Costs, read_settings
from rumos_bank.model import search as searching
from rumos_bank.model.evaluate import calibration_error, measure
from rumos_bank.model.families import FAMILIES, Family, take_columns
from rumos_bank.model.features import feature_matrix
from rumos_bank.model.search import (
    Profile,
    choose_rule,
    cost_by_fold,
    count_fits,
    cross_validate,
    make_folds,
    refit_on_resamples,
    search,
    tuned_cost_by_fold,
)

COSTS = Costs(false_positive=10, false_negative=10_000)  # powers of ten apart, so that a mix-up shows
SETTINGS = read_settings(PACKAGED, environ={"RUMOS_SPLIT_FOLDS": "3"})
TINY, PAIR = Profile("tiny", 0, 1), Profile("pair", 0, 2)


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return make_synthetic_clients(900, seed=2)


class Spy(TransformerMixin, BaseEstimator):
    "Passes columns on, and remembers whom it saw."

    made: list["Spy"] = []  # noqa: RUF012  # emptied by each test

    def __init__(self, names):
        self.names, self.learned, self.changed = names, [], []
        self.made.append(self)

    def fit(self, X, y=None):
        self.learned.append(X)
        return self

    def transform(self, X):
        self.changed.append(X)
        return X


class Fails(BaseEstimator):
    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), np.nan)


def make_family(model, prepare=take_columns, trials=({},)) -> Family:
    return Family("made", "made up", prepare, model, trials)


def nearest(seed, names):
    return KNeighborsClassifier(n_neighbors=1)


def as_folds(*folds: list[tuple[int, float]]) -> pd.DataFrame:
    "Folds of (defaulted, probability)."
    rows = [(number, *client) for number, clients in enumerate(folds) for client in clients]
    return pd.DataFrame(rows, columns=["fold", "defaulted", "probability"])


def test_folds_are_stratified(train):
    y = train[TARGET].to_numpy()
    folds = make_folds(y, 7, seed=1)
    assert set(folds) == set(range(7))
    for kind in (0, 1):
        counts = np.bincount(folds[y == kind])
        assert counts.max() - counts.min() <= 1


def test_folds_follow_from_clients_and_seed(train):
    y = train[TARGET].to_numpy()
    np.testing.assert_array_equal(make_folds(y, 3, seed=1), make_folds(y, 3, seed=1))
    assert (make_folds(y, 3, seed=1) != make_folds(y, 3, seed=2)).any()


def test_folds_are_the_same_for_every_family(train):
    expected = make_folds(train[TARGET].to_numpy(), 3, SETTINGS.split.seed)
    for name in ("Decision_tree", "logistic_reg"):
        found = search(name, train, SETTINGS, TINY)
        np.testing.assert_array_equal(found.folds["fold"], expected)
        np.testing.assert_array_equal(found.folds["ID"], train[ID])
        np.testing.assert_array_equal(found.folds["defaulted"], train[TARGET])


def test_too_few_defaulters_for_the_folds(train):
    few = pd.concat([train[train[TARGET] == 0], train[train[TARGET] == 1].head(2)])
    with pytest.raises(ParameterError, match="3 folds need 3 clients of each class, got 2"):
        search("Decision_tree", few, SETTINGS, TINY)


def test_a_model_that_learns_by_heart_gains_nothing(train):
    coin = np.random.default_rng(0).integers(0, 2, len(train))
    noise = train.assign(**{TARGET: coin})
    X = feature_matrix(noise, SETTINGS.model.protected)
    by_heart = nearest(0, ()).fit(X, coin).predict_proba(X)[:, 1]
    assert (by_heart == coin).mean() > 0.99  # the same clients again: everything is known
    _, probability, _ = cross_validate(make_family(nearest), [{}], noise, SETTINGS)
    assert abs((probability[0] == coin).mean() - 0.5) < 0.1


def test_preparation_learns_inside_the_folds_once_for_all_trials(train, monkeypatch):
    monkeypatch.setattr(Spy, "made", [])
    folds, _, _ = cross_validate(make_family(nearest, Spy), [{}, {}], train, SETTINGS)
    X = feature_matrix(train, SETTINGS.model.protected)
    assert len(Spy.made) == 3
    for number, spy in enumerate(Spy.made):
        (learned,), (again, judged) = spy.learned, spy.changed
        np.testing.assert_array_equal(learned, X[folds != number])
        np.testing.assert_array_equal(again, X[folds != number])
        np.testing.assert_array_equal(judged, X[folds == number])


def test_the_search_prepares_inside_the_folds_too(train, monkeypatch):
    monkeypatch.setattr(Spy, "made", [])
    monkeypatch.setitem(FAMILIES, "made", make_family(nearest, Spy))
    search("made", train, SETTINGS, TINY)
    sizes = sorted(len(rows) for spy in Spy.made for rows in spy.learned)
    assert sizes == [600, 600, 600, 900]  # the folds, then the winner on everybody


def test_the_lowest_log_loss_wins_not_the_lowest_cost(train, monkeypatch):
    y = train[TARGET].to_numpy()
    timid = np.where(y == 1, 0.26, 0.24)  # every decision right, every probability far off
    honest = np.where(y == 1, 0.9, 0.02)
    honest[np.flatnonzero(y == 0)[:30]] = 0.3  # thirty good payers are refused
    folds = make_folds(y, 3, 0)
    judged = folds, np.array([timid, honest]), np.array([1.0, 10.0])
    monkeypatch.setattr(searching, "cross_validate", lambda *_: judged)
    found = search("Decision_tree", train, SETTINGS, PAIR)
    assert found.trials["cost_per_client"].round(6).tolist() == [0, round(30 * 1000 / 900, 6)]
    assert found.trials["log_loss"].argmin() == 1
    assert found.parameters == FAMILIES["Decision_tree"].trials[1]
    np.testing.assert_array_equal(found.folds["probability"], honest)
    assert found.search_seconds == 11
    assert found.decision.model_.steps[-1][1].get_params()["min_samples_leaf"] == 200


class Slow(Spy):
    "A preparation that keeps the processor busy."

    def fit(self, X, y=None):
        start = time.thread_time()
        while time.thread_time() - start < 0.1:
            pass
        return super().fit(X, y)


class Counts(KNeighborsClassifier):
    "Remembers how many threads its libraries may use."

    threads: set[int] = set()  # noqa: RUF012  # emptied by each test

    def fit(self, X, y):
        self.threads |= {each["num_threads"] for each in threadpool_info()}
        return super().fit(X, y)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_seconds_count_the_preparation_and_one_thread(train, monkeypatch, jobs):
    monkeypatch.setattr(Slow, "made", [])
    monkeypatch.setattr(Counts, "threads", set())
    family = make_family(lambda seed, names: Counts(1), Slow, ({}, {}))
    monkeypatch.setitem(FAMILIES, "made", family)
    with threadpool_limits(2):
        found = search("made", train, SETTINGS, PAIR, jobs)
    assert Counts.threads == {1}
    assert found.search_seconds == pytest.approx(found.trials["seconds"].sum())
    assert found.search_seconds > 0.3 and (found.trials["seconds"] > 0.15).all() and found.fit_seconds > 0.1


def test_the_log_loss_of_a_trial_is_the_one_that_is_measured(train, monkeypatch):
    monkeypatch.setitem(FAMILIES, "made", make_family(nearest))  # predicts 0 or 1, and is wrong at times
    found = search("made", train, SETTINGS, TINY)
    measured = measure(found.folds["defaulted"], found.folds["probability"], 0.25, COSTS)
    assert found.trials["log_loss"][0] == measured["log_loss"]


def test_what_a_threshold_costs_fold_by_fold():
    folds = as_folds([(0, 0.3), (1, 0.9)], [(0, 0.1), (1, 0.2), (1, 0.3), (0, 0.0)])
    assert cost_by_fold(folds, 0.25, COSTS).tolist() == [10 / 2, 10_000 / 4]


def test_the_tuned_cost_of_a_fold_is_at_the_threshold_of_the_others():
    # tuned on itself each fold costs nothing; the first is judged at .3, the second at .6
    folds = as_folds([(0, 0.5), (1, 0.7)], [(0, 0.2), (1, 0.4)])
    assert tuned_cost_by_fold(folds, COSTS).tolist() == [10 / 2, 10_000 / 2]


def test_a_folds_own_outcomes_never_reach_its_threshold(monkeypatch):
    seen, choose = [], searching.choose_threshold

    def spy(defaulted, probability, costs):
        seen.append(sorted(probability))
        return choose(defaulted, probability, costs)

    monkeypatch.setattr(searching, "choose_threshold", spy)
    tuned_cost_by_fold(as_folds([(0, 0.1), (1, 0.2)], [(0, 0.3), (1, 0.4)], [(0, 0.5), (1, 0.6)]), COSTS)
    assert seen == [[0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4]]


def test_the_rule_changes_just_above_the_limit():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0, 0.5, 2000)
    outcome = (rng.uniform(size=2000) < probability).astype(int)
    folds = pd.DataFrame({"fold": np.arange(2000) % 4, "defaulted": outcome, "probability": probability})
    error = calibration_error(outcome, probability)
    bayes, tuned = (choose_rule(folds, COSTS, limit) for limit in (error, np.nextafter(error, 0)))
    assert (bayes.name, bayes.threshold) == ("bayes", COSTS.bayes_threshold)
    assert (tuned.name, tuned.threshold) == ("tuned", tuned.tuned_threshold)
    assert tuned.threshold != bayes.threshold
    np.testing.assert_array_equal(bayes.cv_costs, cost_by_fold(folds, COSTS.bayes_threshold, COSTS))
    np.testing.assert_array_equal(tuned.cv_costs, tuned_cost_by_fold(folds, COSTS))
    for rule in (bayes, tuned):  # both are always reported
        assert rule.calibration_error == error
        assert (rule.bayes_cost, rule.tuned_cost) == (bayes.cv_cost, tuned.cv_cost)


def test_the_spread_is_the_one_of_few_folds():
    rule = choose_rule(as_folds([(0, 0.9), (1, 0.9)], [(0, 0.0), (1, 0.9)]), COSTS, 1.0)
    assert rule.cv_costs.tolist() == [5, 0]
    assert rule.cv_cost == 2.5 and rule.cv_sd == pytest.approx(np.sqrt(12.5))


def test_the_decision_is_the_winner_fitted_on_everybody(train):
    found = search("Decision_tree", train, SETTINGS, PAIR)
    assert found.decision.threshold == found.rule.threshold
    assert found.decision.protected == SETTINGS.model.protected
    assert found.seed == SETTINGS.split.seed
    again = found.decision.model.fit(feature_matrix(train, SETTINGS.model.protected), train[TARGET])
    np.testing.assert_array_equal(
        again.predict_proba(feature_matrix(train, SETTINGS.model.protected)),
        found.decision.predict_proba(train),
    )


@pytest.mark.parametrize("name", ["Decision_tree", "Random_forest", "logistic_reg"])
def test_jobs_change_nothing_but_time(name, train):
    one, two = (search(name, train, SETTINGS, TINY, jobs=jobs) for jobs in (1, 2))
    pd.testing.assert_frame_equal(one.folds, two.folds, check_exact=True)
    pd.testing.assert_frame_equal(
        one.trials.drop(columns="seconds"), two.trials.drop(columns="seconds"), check_exact=True
    )
    np.testing.assert_array_equal(one.decision.predict_proba(train), two.decision.predict_proba(train))


def test_another_seed_is_another_search(train):
    other = read_settings(PACKAGED, environ={"RUMOS_SPLIT_FOLDS": "3", "RUMOS_SPLIT_SEED": "7"})
    first, second = (search("Decision_tree", train, each, TINY) for each in (SETTINGS, other))
    assert not first.folds.equals(second.folds) and second.seed == 7


@pytest.mark.parametrize(
    "profile, fits",
    [
        (TINY, 3 * 1 + 1),
        (PAIR, 3 * 2 + 1),
        (Profile("all", 0, 0), 3 * 6 + 1),
        (Profile("re", 0, 1, 2), 3 + 1 + 2),
    ],
)
def test_every_fit_is_counted(profile, fits, train):
    ticks = []
    search("Decision_tree", train, SETTINGS, profile, tick=lambda: ticks.append(1))
    assert len(ticks) == count_fits("Decision_tree", profile, SETTINGS) == fits


def test_refits_are_the_specification_on_resamples_and_timed_apart(train):
    found = search("Decision_tree", train, SETTINGS, Profile("re", 0, 1, refits=3))
    plain = search("Decision_tree", train, SETTINGS, TINY)
    assert len(found.refits) == 3 and plain.refits == ()
    y = train[TARGET].to_numpy()
    for draw, refit in enumerate(found.refits):
        drawn = np.random.default_rng([found.seed, draw]).integers(0, len(y), len(y))
        by_hand = clone(plain.decision).fit(train.iloc[drawn], y[drawn])
        assert (refit.predict_proba(train) == by_hand.predict_proba(train)).all()
        assert refit.get_params(deep=False).keys() == plain.decision.get_params(deep=False).keys()
        assert refit.threshold == found.decision.threshold and refit.protected == found.decision.protected
    assert (found.decision.predict_proba(train) == plain.decision.predict_proba(train)).all()
    assert found.search_seconds == pytest.approx(found.trials["seconds"].sum())


def test_more_refits_begin_with_the_same_ones(train):
    decision = search("Decision_tree", train, SETTINGS, TINY).decision
    few, many = (refit_on_resamples(decision, train, draws, seed=3) for draws in (1, 2))
    assert (few[0].predict_proba(train) == many[0].predict_proba(train)).all()
    assert (many[0].predict_proba(train) != many[1].predict_proba(train)).any()
    assert refit_on_resamples(decision, train, 0) == [] and decision.reference_ is None


def test_a_rare_class_is_in_every_resample(train):
    rare = pd.concat([train[train[TARGET] == 0].head(30), train[train[TARGET] == 1].head(1)])
    decision = search("Decision_tree", train, SETTINGS, TINY).decision
    assert all(len(refit.classes_) == 2 for refit in refit_on_resamples(decision, rare, 12))


@pytest.mark.parametrize("draws, label", [(-1, None), (2, 0), (2, 1)])
def test_refits_need_both_classes(draws, label, train):
    decision = search("Decision_tree", train, SETTINGS, TINY).decision
    clients = train if label is None else train[train[TARGET] == label]
    with pytest.raises(ParameterError, match="clients of both classes"):
        refit_on_resamples(decision, clients, draws)


def test_probabilities_that_are_no_numbers_stop_the_search(train, monkeypatch):
    broken = replace(make_family(lambda seed, names, depth: Fails()), trials=({"depth": 3},))
    monkeypatch.setitem(FAMILIES, "made", broken)
    with pytest.raises(RumosError, match=r"made with {'depth': 3} gave probabilities that are no numbers"):
        search("made", train, SETTINGS, TINY)


def test_an_unknown_family_is_refused(train):
    with pytest.raises(ParameterError, match="unknown family"):
        search("XGBoost", train, SETTINGS)


# leaks


@pytest.fixture(scope="module")
def judged():
    return judge_twins(3000, seed=5)


def test_rank_auc_agrees_with_scikit_learn(judged):
    clients, defaulted, _ = judged
    columns = feature_matrix(clients)
    expected = [roc_auc_score(defaulted, column) for column in columns.T]
    assert searching._rank_auc(columns, defaulted) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("copy", [lambda d: 1 + d, lambda d: 2 - d])
def test_a_copy_of_the_label_is_found_whichever_way_it_points(judged, copy):
    clients, defaulted, probability = judged
    leaks = searching.find_leaks(clients.assign(SEX=copy(defaulted)), defaulted, probability, 0.81, 0.77)
    assert [leak.split(" alone")[0] for leak in leaks] == ["SEX"] and "1.000, above 0.77" in leaks[0]


def test_honest_models_raise_no_alarm_and_perfect_ones_do(judged):
    clients, defaulted, probability = judged
    assert searching.find_leaks(clients, defaulted, probability, 0.81, 0.77) == []
    perfect = searching.find_leaks(clients, defaulted, 0.2 + 0.6 * defaulted, 0.81, 0.77)
    assert len(perfect) == 1 and perfect[0].startswith("the model has an AUC of 1.000, above 0.81")
    auc = roc_auc_score(defaulted, probability)
    assert searching.find_leaks(clients, defaulted, probability, auc + 1e-9, 0.77) == []
    assert len(searching.find_leaks(clients, defaulted, probability, auc - 1e-9, 0.77)) == 1


def test_impossible_limits_are_refused(judged):
    for limits, name in (((0.4, 0.77), "max_auc"), ((0.81, 77), "max_single_auc")):
        with pytest.raises(ParameterError, match=f"{name} must be between 0.5 and 1"):
            searching.find_leaks(*judged, *limits)
