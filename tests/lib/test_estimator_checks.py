"`DecisionModel` under scikit-learn's own estimator checks, and the checks that cannot hold, each with its reason."

import inspect

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT
from rumos_bank.model.decision import DecisionModel

WIDTH = "clients have 23 fields; the check fits tables of other widths (`Widened` passes it)"
CLASSES = "the classes are 0 (paid) and 1 (defaulted), because costs belong to them; the check has others"
WORDS = "the input is refused with a ParameterError, but in other words than the check expects"
OBJECTS = (
    "numbers stored as objects are refused: text that looks like a number is the sign of a file read wrongly"
)
PADDED = "`Widened` adds fields to the check's table, so the counts differ"

NEVER = {  # checks that fail whatever the table's width
    "check_classifier_data_not_an_array": CLASSES,
    "check_classifier_not_supporting_multiclass": WORDS,
    "check_classifiers_classes": CLASSES,
    "check_classifiers_regression_target": WORDS,
    "check_complex_data": WORDS,
    "check_dtype_object": OBJECTS,
    "check_estimators_dtypes": CLASSES,
    "check_estimators_empty_data_messages": WORDS,
    "check_fit2d_1feature": WORDS,
    "check_fit2d_1sample": WORDS,
}
OTHER_WIDTH = (
    "check_classifiers_one_label",
    "check_classifiers_train",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_requires_y_none",
    "check_supervised_y_2d",
)


class Widened(DecisionModel):
    "A decision that fills a narrow table of numbers up to 23 fields, so that the checks reach what lies behind the width."

    def fit(self, X, y=None):
        return super().fit(widen(X), y)

    def predict_proba(self, X):
        return super().predict_proba(widen(X))


def widen(table):
    "The same clients with the example client's values in front; a table that is no matrix of numbers as it is."
    if hasattr(table, "toarray"):
        return table
    matrix = np.asarray(table)
    if matrix.ndim != 2 or matrix.dtype.kind not in "iuf" or not 1 <= matrix.shape[1] < len(CLIENT_COLUMNS):
        return table
    rows = np.tile(np.array(list(EXAMPLE_CLIENT.values()), float), (len(matrix), 1))
    rows[:, -matrix.shape[1] :] = matrix
    return rows


def make(kind: type[DecisionModel]) -> DecisionModel:
    return kind(DecisionTreeClassifier(random_state=0))


def cannot_hold(estimator: DecisionModel) -> dict[str, str]:
    "The checks that fail for this estimator, with the reason."
    if isinstance(estimator, Widened):
        return NEVER | {"check_n_features_in": PADDED, "check_n_features_in_after_fitting": PADDED}
    return NEVER | dict.fromkeys(OTHER_WIDTH, WIDTH)


@parametrize_with_checks(
    [make(DecisionModel), make(Widened)], expected_failed_checks=cannot_hold, xfail_strict=True
)
def test_scikit_learn_agrees(estimator, check):
    "Strict: a listed check that passes is a failure too."
    check(estimator)


@pytest.mark.parametrize("kind", [DecisionModel, Widened])
def test_what_is_listed_is_a_check_of_scikit_learn(kind):
    known = {
        inspect.unwrap(getattr(check, "func", check)).__name__
        for _, check in estimator_checks_generator(make(kind))
    }
    assert set(cannot_hold(make(kind))) <= known
    assert len(known - set(cannot_hold(make(kind)))) > 15
