"What was used is recorded, and a stored model holds nothing but types that we listed."

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from skops.io.exceptions import UntrustedTypesFoundException

from rumos_bank.data.contract import TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.integrity import (
    REVISION,
    TRUSTED_TYPES,
    digest_file,
    digest_folder,
    digest_value,
    git_state,
    library_digest,
    load_trusted,
    lock_digest,
    notebook_digest,
    require_trusted,
    types_to_trust,
)
from rumos_bank.ground.errors import StoreError
from rumos_bank.ground.settings import Costs
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import FAMILIES, make_model

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing
SMALLER = {"SVC": {"n_components": 20}, "LightGBM": {"n_estimators": 20}, "Scorecard": {"n_estimators": 20}}


class Stranger(BaseEstimator):
    "A type that is on no list."


@pytest.fixture(scope="module")
def twins() -> pd.DataFrame:
    return make_synthetic_clients(600, seed=8)


@pytest.fixture(scope="module")
def decisions(twins):
    "Every family's decision, fitted."
    found = {}
    for name, family in FAMILIES.items():
        trial = {**family.trials[0], **SMALLER.get(name, {})}
        model = make_model(family, trial, 42, ("SEX", "MARRIAGE", "AGE"))
        decision = make_decision(model, 0.25, Costs(), ("SEX", "MARRIAGE", "AGE"))
        found[name] = decision.fit(twins, twins[TARGET])
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_survives_its_file_bit_by_bit(name, decisions, twins, tmp_path):
    decision = decisions[name]
    assert set(types_to_trust(decision)) <= TRUSTED_TYPES
    skops.io.dump(decision, tmp_path / "model.skops")
    read = skops.io.load(tmp_path / "model.skops", trusted=sorted(TRUSTED_TYPES))
    np.testing.assert_array_equal(read.predict_proba(twins), decision.predict_proba(twins))
    np.testing.assert_array_equal(read.predict(twins), decision.predict(twins))
    assert (read.threshold, read.false_positive, read.false_negative) == (0.25, 1000, 3000)
    assert read.protected == ("SEX", "MARRIAGE", "AGE")


def test_the_list_holds_nothing_that_no_family_needs(decisions):
    needed = {each for decision in decisions.values() for each in types_to_trust(decision)}
    of_splines = {  # one of them, by scipy's version
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines._BSpline",
    }
    assert len(needed & of_splines) == 1 and needed | of_splines == TRUSTED_TYPES


def test_a_model_with_a_type_from_elsewhere_is_neither_stored_nor_read(twins, tmp_path):
    stranger = make_decision(Stranger(), 0.25, Costs())
    with pytest.raises(StoreError, match=r"not on the list in rumos_bank\.governance\.integrity: .*Stranger"):
        types_to_trust(stranger)
    skops.io.dump(stranger, tmp_path / "model.skops")
    with pytest.raises(UntrustedTypesFoundException, match="Stranger"):
        skops.io.load(tmp_path / "model.skops", trusted=sorted(TRUSTED_TYPES))


@pytest.mark.parametrize(
    "missing", [ModuleNotFoundError("No module named 'old'"), AttributeError("no '_New'")]
)
def test_a_model_of_other_library_versions_gives_the_remedy(monkeypatch, decisions, missing):
    def lack(*_, **__):
        raise missing

    content = skops.io.dumps(decisions["Decision_tree"])
    monkeypatch.setattr(skops.io, "loads", lack)
    with pytest.raises(StoreError, match=r"other versions of the libraries .* run the pipeline again"):
        load_trusted(content)


def test_all_types_from_elsewhere_are_named():
    with pytest.raises(StoreError, match=r"builtins\.eval, os\.system$"):
        require_trusted(["os.system", "sklearn.tree._tree.Tree", "builtins.eval"])
    assert require_trusted(["sklearn.tree._tree.Tree", "collections.OrderedDict"]) == [
        "collections.OrderedDict",
        "sklearn.tree._tree.Tree",
    ]
    assert require_trusted([]) == []


def test_the_list_cannot_be_changed():
    with pytest.raises(AttributeError):
        TRUSTED_TYPES.add("os.system")


def test_a_file_has_the_digest_that_everybody_computes(tmp_path):
    (tmp_path / "empty").touch()
    assert digest_file(tmp_path / "empty") == EMPTY


def test_a_folder_names_the_file_that_differs(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "deep" / "a").write_bytes(b"1")
    before = digest_folder(tmp_path)
    assert list(before) == ["b", "deep/a"] and before["b"] == EMPTY
    (tmp_path / "deep" / "a").write_bytes(b"2")
    after = digest_folder(tmp_path)
    assert [name for name in after if after[name] != before[name]] == ["deep/a"]


@pytest.mark.parametrize("other", [{"a": 1}, {"a": 1, "b": [1, 2]}, {"a": 1, "b": [2, 1], "c": None}])
def test_a_values_digest_sees_every_part_but_not_the_order_of_keys(other):
    assert digest_value({"a": 1, "b": [2, 1]}) == digest_value({"b": [2, 1], "a": 1}) != digest_value(other)


def test_a_notebooks_digest_sees_cells_and_no_outputs(tmp_path):
    def write(name, source, outputs):
        cell = {"cell_type": "code", "source": source, "outputs": outputs, "execution_count": len(outputs)}
        (tmp_path / name).write_text(json.dumps({"cells": [cell], "metadata": {"name": name}}))
        return notebook_digest(tmp_path / name)

    fresh = write("fresh.ipynb", ["a = 1\n", "a"], [])
    assert write("run.ipynb", "a = 1\na", [{"data": 1}]) == fresh
    assert write("other.ipynb", "a = 2\na", []) != fresh


def test_the_lock_file_goes_before_what_is_installed(tmp_path):
    installed = lock_digest(tmp_path)
    (tmp_path / "requirements.lock").write_bytes(b"")
    assert len(installed) == 64 and lock_digest(tmp_path) == EMPTY != installed


def test_the_librarys_digest_leaves_out_what_python_compiles():
    assert library_digest() == library_digest() and len(library_digest()) == 64


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    def git(*words):
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    assert git_state(tmp_path) == ("", False)
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    commit, dirty = git_state(tmp_path)
    assert len(commit) == 40 and dirty is False
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path) == (commit, True)


def test_without_git_there_is_no_commit_unless_the_image_names_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == ("", False)
    commit = "0123456789" * 4
    for written, known in {
        "unknown": ("", False),
        commit[:10]: ("", False),
        commit: (commit, False),
        f"{commit}-dirty": (commit, True),
    }.items():
        (tmp_path / REVISION).write_text(f"{written}\n")
        assert git_state(tmp_path) == known
