"Hostile models: none is loaded, the error names what was expected and found, and nothing in them is run."

import copy
import functools
import io
import json
import math
import operator
import os
import pickle
import re
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from stores import Place, learn_from, settings_for

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.governance.gates import failed
from rumos_bank.governance.integrity import digest_folder
from rumos_bank.governance.ledger import LEDGER, keep_head
from rumos_bank.governance.tracking import DATABASE, Store, find_model_files, read_model
from rumos_bank.ground.errors import StoreError
from rumos_bank.model.portable import FORMAT, PORTABLE, SKOPS
from rumos_bank.operations.experiments import find_whole
from rumos_bank.serving.champion import Champion, Follower

FILES = (  # what MLflow and we keep of a model
    "MLmodel",
    "conda.yaml",
    "input_example.json",
    SKOPS,
    PORTABLE,
    "python_env.yaml",
    "requirements.txt",
    "serving_input_example.json",
)


class Bomb:
    "A pickle of it makes a file when it is loaded."

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path) -> Path:
    "What a model's code would make."
    marker = tmp_path / "was-run"
    assert pickle.loads(pickle.dumps(Bomb(marker))) == 0 and marker.exists()  # the bomb is real
    marker.unlink()
    return marker


@pytest.fixture
def unopened(promoted_template, tmp_path) -> Place:
    "A store with a champion, as a service finds it: MLflow has not opened it."
    path = tmp_path / "store"
    shutil.copytree(promoted_template.store.path, path)
    settings = settings_for(path)
    shutil.copytree(promoted_template.settings.ledger_path, settings.ledger_path)
    return replace(promoted_template, store=Store(settings), settings=settings)


def change_bit(path: Path) -> None:
    "One bit in the middle of a file."
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def make_schema(content: bytes, change: Callable[[dict], object]) -> bytes:
    "A skops file with its description changed."
    read, made = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(made, "w") as written:
        for name in read.namelist():
            part = read.read(name)
            if name == "schema.json":
                schema = json.loads(part)
                change(schema)
                part = json.dumps(schema).encode()
            written.writestr(name, part)
    return made.getvalue()


def of_type(module: str, name: str) -> Callable[[dict], None]:
    return lambda schema: schema.update({"__module__": module, "__class__": name})


def strangers(place: Place, marker: Path) -> dict[str, bytes]:
    "What may lie in the skops file's place, well made."
    own = (place.model / SKOPS).read_bytes()
    other = learn_from(place.found, place.data.train.iloc[::2]).decision
    return {
        "pickle": pickle.dumps(Bomb(marker)),
        "os.system as a function": skops.io.dumps(FunctionTransformer(func=os.system)),
        "os.system as the type": make_schema(own, of_type("os", "system")),
        "builtins.eval as the type": make_schema(own, of_type("builtins", "eval")),
        "os.system with its words": skops.io.dumps(functools.partial(os.system, f"touch '{marker}'")),
        "a method": skops.io.dumps(FunctionTransformer(func=Bomb(marker).__reduce__)),
        "a caller of methods": skops.io.dumps(FunctionTransformer(func=operator.methodcaller("__reduce__"))),
        "a subclass of our own": make_schema(own, of_type("stores", "DecisionModel")),
        "another estimator": skops.io.dumps(LogisticRegression()),
        "no estimator": skops.io.dumps({"threshold": 0.25}),
        "another model": skops.io.dumps(other),
        "no zip": b"not a zip at all",
        "empty": b"",
    }


STRANGERS = (
    "pickle",
    "os.system as a function",
    "os.system as the type",
    "builtins.eval as the type",
    "os.system with its words",
    "a method",
    "a caller of methods",
    "a subclass of our own",
    "another estimator",
    "no estimator",
    "no zip",
    "empty",
)


def refuse(place: Place, *expected: str) -> str:
    "Neither a start nor a swap believes this store."
    with pytest.raises(StoreError) as caught:
        Champion.load(place.settings)
    follower = Follower(place.settings)
    assert follower.champion is None and follower.alarm == str(caught.value)
    for words in expected:
        assert re.search(words, str(caught.value)), str(caught.value)
    return str(caught.value)


DIFFERS = r"expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"


# the ledger knows what the files were


@pytest.mark.parametrize("file", FILES)
def test_one_bit_in_any_file(file, unopened):
    assert sorted(unopened.line.event.files) == sorted(FILES)
    change_bit(unopened.model / file)
    message = refuse(unopened, f"^{file} of the model is not what was recorded", DIFFERS)
    assert unopened.line.event.files[file] in message


@pytest.mark.parametrize("file", FILES)
def test_any_file_cut_or_empty_or_missing(file, unopened):
    path = unopened.model / file
    content = path.read_bytes()
    for kept in (content[:-1], content[: len(content) // 2], b""):
        path.write_bytes(kept)
        refuse(
            unopened, f"^{file} of the model is not what was recorded", DIFFERS, rf"\({len(kept):,} bytes\)"
        )
    path.unlink()
    refuse(unopened, f"^{file} of the model cannot be read", "expected sha256 [0-9a-f]{64}")
    path.write_bytes(content)
    assert Champion.load(unopened.settings).version == 1


@pytest.mark.parametrize("name", (*STRANGERS, "another model"))
def test_something_else_in_the_skops_files_place(name, unopened, marker):
    (unopened.model / SKOPS).write_bytes(strangers(unopened, marker)[name])
    refuse(unopened, DIFFERS)
    assert not marker.exists()


def test_a_pickle_in_the_plain_forms_place(unopened, marker):
    (unopened.model / PORTABLE).write_bytes(pickle.dumps(Bomb(marker)))
    refuse(unopened, f"^{PORTABLE} of the model is not what was recorded", DIFFERS)
    assert not marker.exists()


def test_files_of_another_promoted_model(promoted):
    promoted.promote(
        promoted.log(learn_from(promoted.found, promoted.data.train.iloc[::2]), key="other", profile="full")
    )
    models = promoted.model.parents[1].iterdir()
    other = next(path / "artifacts" for path in models if path / "artifacts" != promoted.model)
    for name in (PORTABLE, SKOPS):
        whole = (promoted.model / name).read_bytes()
        shutil.copy(other / name, promoted.model / name)
        refuse(promoted, DIFFERS)
        (promoted.model / name).write_bytes(whole)
    assert Champion.load(promoted.settings)


def test_an_mlmodel_that_names_code_and_trusts_everything(unopened, marker):
    (unopened.model / "wolf.py").write_text(f"open({str(marker)!r}, 'w')\n")
    text = (unopened.model / "MLmodel").read_text()
    forged = re.sub(r"loader_module: .*", "loader_module: wolf\n    code: .", text)
    forged = forged.replace("skops_trusted_types:", "skops_trusted_types:\n    - os.system")
    assert forged != text
    (unopened.model / "MLmodel").write_text(forged)
    refuse(unopened, "^MLmodel of the model is not what was recorded", DIFFERS)
    unopened.forge_digests()
    champion = Champion.load(unopened.settings)  # as MLflow is not asked, nothing that it names is looked at
    assert champion.model.predict_proba(unopened.data.test).shape == (150, 2)
    assert not marker.exists()


def test_a_file_beside_the_others_is_not_looked_at(unopened, marker):
    (unopened.model / "extra.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    assert Champion.load(unopened.settings).model and not marker.exists()


@pytest.mark.parametrize("file", [PORTABLE, SKOPS])
def test_a_link_out_of_the_folder(file, unopened, tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    (unopened.model / file).unlink()
    (unopened.model / file).symlink_to(tmp_path / "outside")
    message = refuse(unopened, DIFFERS)
    assert "secret" not in message


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_read_forever(make, unopened):
    (unopened.model / SKOPS).unlink()
    make(unopened.model / SKOPS)
    refuse(unopened, "model.skops of the model cannot be read", "expected sha256")


def test_a_model_folder_that_is_a_link_elsewhere(unopened, tmp_path):
    shutil.move(unopened.model, tmp_path / "moved")
    change_bit(tmp_path / "moved" / PORTABLE)
    unopened.model.symlink_to(tmp_path / "moved")
    refuse(unopened, DIFFERS)


# an attacker who can write the ledger too meets the allow-list and the reader of the portable form


@pytest.mark.parametrize("name", STRANGERS)
def test_with_forged_digests_the_list_of_types_still_holds(name, unopened, marker):
    (unopened.model / SKOPS).write_bytes(strangers(unopened, marker)[name])
    unopened.forge_digests()
    champion = Champion.load(unopened.settings)  # one client is decided from the plain form
    assert champion.decide(EXAMPLE_CLIENT).prediction in (0, 1)
    with pytest.raises(StoreError, match=r"not on the list|no skops file|expected a DecisionModel"):
        champion.decide(unopened.data.test)
    assert not marker.exists()


@pytest.mark.parametrize("name", STRANGERS)
def test_without_a_plain_form_such_a_model_does_not_start(name, unopened, marker):
    form = json.loads((unopened.model / PORTABLE).read_text())
    (unopened.model / PORTABLE).write_text(json.dumps(form | {"scorer": None}))
    (unopened.model / SKOPS).write_bytes(strangers(unopened, marker)[name])
    unopened.forge_digests()
    refuse(unopened, "not on the list|no skops file|expected a DecisionModel")
    assert not marker.exists()


def tree_with(form: dict, **lists: list) -> dict:
    changed = copy.deepcopy(form)
    changed["scorer"]["trees"][0] |= lists
    return changed


def plain_forms(form: dict, marker: Path) -> dict[str, bytes]:
    "What may lie in the plain form's place."
    tree, run = form["scorer"]["trees"][0], f"__import__('os').system('touch {marker}')"
    web = [2 * (node // 2) + 2 for node in range(80)]
    zeros = [0] * 82
    forms = {
        "code in a cut": tree_with(form, cut=[run, *tree["cut"][1:]]),
        "code in a value": tree_with(form, value=[*tree["value"][:-1], f"0) or {run} or (0"]),
        "code in a column": tree_with(form, column=[f"0 if {run} else x0", *tree["column"][1:]]),
        "code as the start": {**form, "scorer": {**form["scorer"], "start": run}},
        "code as the threshold": {**form, "decision": {**form["decision"], "threshold": run}},
        "a tree in a circle": tree_with(form, left=[0, *tree["left"][1:]]),
        "a tree that grows without end": tree_with(
            form,
            column=zeros,
            cut=zeros,
            value=zeros,
            left=[*web, -1, -1],
            right=[node + 1 for node in web] + [-1, -1],
        ),
        "everybody is accepted": {**form, "decision": {**form["decision"], "threshold": float("nan")}},
        "infinite": tree_with(form, value=[float("inf")] * len(tree["value"])),
        "another format": {**form, "format": FORMAT + 1},
        "deep": {},
    }
    written = {name: json.dumps(changed).encode() for name, changed in forms.items()}
    return written | {"deep": b'{"format":' * 100_000, "pickle": pickle.dumps(Bomb(marker)), "empty": b""}


PLAIN_FORMS = (
    "code in a cut",
    "code in a value",
    "code in a column",
    "code as the start",
    "code as the threshold",
    "a tree in a circle",
    "a tree that grows without end",
    "everybody is accepted",
    "infinite",
    "another format",
    "deep",
    "pickle",
    "empty",
)


@pytest.mark.parametrize("forged", [False, True], ids=["digests kept", "digests forged"])
@pytest.mark.parametrize("name", PLAIN_FORMS)
def test_something_else_in_the_plain_forms_place(name, forged, unopened, marker):
    form = json.loads((unopened.model / PORTABLE).read_text())
    (unopened.model / PORTABLE).write_bytes(plain_forms(form, marker)[name])
    if forged:
        unopened.forge_digests()
    refuse(unopened, "the portable form cannot be used" if forged else DIFFERS)
    assert not marker.exists()


def test_a_huge_form_of_trees_is_walked(unopened):
    form = json.loads((unopened.model / PORTABLE).read_text())
    tree = form["scorer"]["trees"][0]
    (unopened.model / PORTABLE).write_text(
        json.dumps({**form, "scorer": {**form["scorer"], "trees": [tree] * (60_000 // len(tree["left"]))}})
    )
    unopened.forge_digests()
    champion = Champion.load(unopened.settings)
    assert champion.decide(EXAMPLE_CLIENT).probability == pytest.approx(
        champion.model.predict_proba([list(EXAMPLE_CLIENT.values())])[0, 1]
    )


# the ledger and the alias


NOT_STATED = "no line of .* states what the files"
LINES = {
    "a file above the folder": (lambda line: line["files"].update({"../../x": "0" * 64}), "lies outside"),
    "a file deep above": (lambda line: line["files"].update({"a/../../x": "0" * 64}), "lies outside"),
    "a file elsewhere": (lambda line: line["files"].update({"/etc/passwd": "0" * 64}), "lies outside"),
    "a file with no name": (lambda line: line["files"].update({"": "0" * 64}), "cannot be read"),
    "a name that no file has": (lambda line: line["files"].update({"a\0b": "0" * 64}), "cannot be read"),
    "a digest of nothing": (
        lambda line: line["files"].update({PORTABLE: None}),
        "line 1 is not understood .* the field 'files', which must be str, got None",
    ),
    "a folder above": (lambda line: line.update(folder="../elsewhere"), "lies outside"),
    "a folder elsewhere": (lambda line: line.update(folder="/etc"), "lies outside"),
    "a folder that is gone": (lambda line: line.update(folder="artifacts/nothing"), "cannot be read"),
    "no folder": (lambda line: line.pop("folder"), "the event 'intent' lacks the field 'folder'"),
    "no files": (lambda line: line.update(files={}), NOT_STATED),
    "a list of files": (
        lambda line: line.update(files=list(line["files"])),
        r"line 1 is not understood .* the field 'files', which must be Mapping, got \[",
    ),
    "no portable form": (lambda line: line["files"].pop(PORTABLE), NOT_STATED),
    "no skops file": (lambda line: line["files"].pop(SKOPS), NOT_STATED),
    "no account": (lambda line: line.pop("who"), "the field 'who' of a line must be str, got None"),
    "another version": (lambda line: line.update(version=2), NOT_STATED),
    "a version in words": (lambda line: line.update(version="1"), "'version', which must be int, got '1'"),
    "an event of an earlier version": (
        lambda line: line.update(event="crowned"),
        "another version of rumos_bank made this store; .* run the pipeline again .`rumos run`.",
    ),
    "no event": (lambda line: line.pop("event"), "line 1 is not understood .the event None is unknown"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_forged_line(name, unopened):
    change, expected = LINES[name]
    unopened.forge(change)
    refuse(unopened, expected)


def test_an_edited_line(unopened):
    ledger = unopened.store.path / LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(unopened.line.event.files[PORTABLE].encode(), b"0" * 64))
    refuse(unopened, "line 1 is not signed with the key .*; the ledger was changed by hand")


@pytest.mark.parametrize("text", [b"[]\n", b"null\n", b"\xff\n", b"{}\n", b"{\n"])
def test_a_ledger_of_something_else(text, unopened):
    (unopened.store.path / LEDGER).write_bytes(text)
    refuse(unopened, "the ledger was changed by hand")


def test_no_ledger_no_champion(unopened):
    keep_head(unopened.settings)
    (unopened.store.path / LEDGER).unlink()
    refuse(unopened, "line 1 is missing; 2 were written, .* its end was cut off, or the store was removed")


def test_an_alias_moved_by_hand(promoted):
    client = promoted.store.client
    source = client.search_model_versions(
        f"name = 'Random_forest_twin' AND run_id = '{promoted.runs['cheapest']}'"
    )[0]
    copied = client.copy_model_version(f"models:/Random_forest_twin/{source.version}", "rumos_lending")
    client.set_registered_model_alias("rumos_lending", "champion", copied.version)
    refuse(promoted, f"version {copied.version} bears the alias champion, but no line", "moved by hand")
    client.set_registered_model_alias("rumos_lending", "champion", "1")
    assert Champion.load(promoted.settings).version == 1


def test_an_alias_that_is_no_version(unopened):
    with sqlite3.connect(unopened.store.path / DATABASE) as database:
        database.execute("UPDATE registered_model_aliases SET version = '../1' WHERE name = 'rumos_lending'")
    database.close()
    refuse(unopened, "bears the alias champion, but no line")


# a hostile model is not promoted either


@pytest.mark.parametrize("file", FILES)
def test_a_challenger_that_was_changed_since_is_not_promoted(file, promoted):
    change_bit(find_model_files(promoted.store, promoted.runs["cheapest"]) / file)
    before = promoted.events
    with pytest.raises(StoreError, match=f"{file} of the model is not what was recorded: {DIFFERS}"):
        promoted.promote("cheapest")
    assert promoted.champion_run == "first" and promoted.events == before


def relabel(place: Place, run: str, change: Callable[[dict], object]) -> None:
    "Change a challenger's portable form, and its recorded digests with it."
    folder = find_model_files(place.store, place.runs[run])
    form = json.loads((folder / PORTABLE).read_text())
    change(form)
    (folder / PORTABLE).write_text(json.dumps(form))
    place.store.client.set_tag(place.runs[run], "rumos.files", json.dumps(digest_folder(folder)))


def last_bit(form: dict) -> None:
    "Every leaf one bit higher."
    for tree in form["scorer"]["trees"]:
        tree["value"] = [math.nextafter(value, 0.5) for value in tree["value"]]


@pytest.mark.parametrize(
    "change, expected",
    [
        (last_bit, r"give \d+ of \d+ clients different probabilities"),
        (lambda form: form["decision"].update(threshold=0.9), "decides by"),
        (lambda form: form["decision"].update(false_negative=1.0), "decides by"),
        (lambda form: form["decision"].update(refer_margin=5.0), "decides by"),
        (lambda form: form.update(format=FORMAT + 1), "cannot be used"),
    ],
    ids=["one bit", "threshold", "cost", "refer", "format"],
)
def test_a_portable_form_that_decides_otherwise_is_not_promoted(change, expected, promoted):
    relabel(promoted, "cheapest", change)
    verdict = promoted.promote("cheapest")
    assert [check.name for check in failed(verdict.checks)].count("files") == 1 and re.search(
        expected, verdict.reason
    )
    assert promoted.champion_run == "first" and promoted.events[2:] == [("refused", "cheapest")]


def test_a_challenger_with_a_type_from_elsewhere_is_not_promoted(promoted, marker):
    folder = find_model_files(promoted.store, promoted.runs["cheapest"])
    (folder / SKOPS).write_bytes(strangers(promoted, marker)["os.system as a function"])
    relabel(promoted, "cheapest", lambda form: None)
    with pytest.raises(StoreError, match="not on the list"):
        promoted.promote("cheapest")
    assert promoted.champion_run == "first" and not marker.exists()


def test_a_search_whose_model_was_changed_is_made_again(promoted):
    assert find_whole(promoted.store, "cheapest") == promoted.runs["cheapest"]
    again = promoted.log(promoted.found, key="cheapest")
    assert find_whole(promoted.store, "cheapest") == again
    change_bit(find_model_files(promoted.store, again) / SKOPS)
    assert find_whole(promoted.store, "cheapest") == promoted.runs["cheapest"]  # the older one is whole
    (find_model_files(promoted.store, promoted.runs["cheapest"]) / PORTABLE).write_bytes(b"")
    assert find_whole(promoted.store, "cheapest") == "" == find_whole(promoted.store, "unknown")
    with pytest.raises(StoreError, match=DIFFERS):
        read_model(promoted.store, again)
