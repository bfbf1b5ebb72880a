"Events: each kind is described once, comes back from JSON as it was, and no other module spells a name or a field."

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rumos_bank
from rumos_bank.governance import events
from rumos_bank.governance.events import (
    EVENTS,
    Decided,
    Event,
    LedgerEvent,
    Line,
    LogEntry,
    OutcomeKnown,
    Promoted,
    read_entry,
    read_event,
    read_line,
)
from rumos_bank.ground.errors import StoreError

LIBRARY = Path(str(rumos_bank.__file__)).parent
MODULES = {
    ".".join(path.relative_to(LIBRARY).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(LIBRARY.rglob("*.py"))
    if path.name != "_modidx.py"
}
FIELDS = {each.name for kind in EVENTS.values() for each in fields(kind)}


# the table


@pytest.mark.parametrize("name", EVENTS)
def test_each_kind_is_described_once(name):
    kind = EVENTS[name]
    assert kind.name == name and kind.writer and issubclass(kind, LedgerEvent | LogEntry)
    assert kind.__doc__ and kind.__doc__.endswith(".") and kind.__doc__ != Event.__doc__
    frame = {each.name for each in fields(Line)} if issubclass(kind, LedgerEvent) else {"id", "time", "kind"}
    assert not frame & {each.name for each in fields(kind)}, "these names are the line's own"


def test_each_field_has_a_meaning():
    text = Path(str(events.__file__)).read_text(encoding="utf-8").splitlines()
    kinds = {kind.__name__ for each in EVENTS.values() for kind in each.__mro__}
    silent = [
        line.target.id
        for node in MODULES["governance.events"].body
        if isinstance(node, ast.ClassDef) and node.name in kinds
        for line in node.body
        if isinstance(line, ast.AnnAssign) and "  # " not in text[line.lineno - 1]
    ]
    assert not silent


def test_an_event_cannot_be_changed():
    event = OutcomeKnown(decision="a", defaulted=1)
    with pytest.raises(FrozenInstanceError):
        event.defaulted = 0


# JSON

st.register_type_strategy(Mapping, lambda kind: st.dictionaries(st.text(), st.text()))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
any_event = st.sampled_from(list(EVENTS.values())).flatmap(st.builds)


@given(any_event)
def test_any_event_comes_back_from_json(event):
    facts = json.loads(json.dumps(event.to_dict()))
    if isinstance(event, LedgerEvent):
        assert read_event(LedgerEvent, event.name, facts) == event
    else:
        assert read_entry(type(event), {"id": "x", "time": "y"} | facts) == event


def test_a_line_keeps_its_frame():
    event = Promoted(version=2, run="r", family="SVC", reason="cheaper", intent=1, replaces=None)
    line = Line(2, event, "2026-05-01T12:00:00+00:00", "maker", "0" * 64, "1" * 128)
    assert read_line(json.loads(json.dumps(line.to_dict()))) == line
    for name in ("number", "when", "who", "before", "signature"):
        with pytest.raises(StoreError, match=f"the field '{name}' of a line must be"):
            read_line(line.to_dict() | {name: None})


def test_an_entry_of_another_kind_is_refused():
    outcome = OutcomeKnown(decision="a", defaulted=1).to_dict()
    with pytest.raises(StoreError, match="the event 'outcome' is unknown; known are decision"):
        read_entry(Decided, outcome)
    with pytest.raises(StoreError, match="has the field 'defaulted', which must be int, got 'yes'"):
        read_entry(OutcomeKnown, outcome | {"defaulted": "yes"})


# names and fields are spelled in one module

ALSO_WORDS = {  # names that mean something else too: there they are found only where an event is matched or built
    *("refused", "rejected", "promoted", "approved", "accepted"),  # columns, groups, states of a pipeline
    *("decision", "batch", "override", "outcome", "shadow"),  # parts of a page, scopes of a key, a gate
    *("appeal", "letter"),  # commands
}
OTHER_TABLES = {  # by the name of what is indexed: no line of the ledger and no entry of the log
    *(
        "model_record",
        "read_model_record",
        "specification",
        "describe_search",
        "tags",
        "tags_of",
        "parameters",
    ),
    *("about", "form", "loads", "manifest", "champion", "facts", "each", "json", "model_version"),
    *("folds", "tested", "job", "table", "board", "set_index", "cells", "answers", "decided", "sums", "row"),
    *(
        "answer",
        "fault",
        "said",
        "model",
    ),  # what an answer holds is described by `Decision`, a model by its version and digest
}
READERS = ("governance.events", "governance.ledger", "governance.registry", "serving.decision_log")
REPLAYS = "serving.replay"  # compares entries of the log field by field, and calls a broken one impossible


def is_text(node: ast.AST, words: set[str]) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in words


def find_names(tree: ast.AST) -> Iterator[str]:
    "Names of events: any that has no other meaning, and all where an event is matched or built."
    words = set(EVENTS)
    for node in ast.walk(tree):
        if is_text(node, words - ALSO_WORDS):
            yield ast.unparse(node)
        elif isinstance(node, ast.Compare):
            left = ast.unparse(node.left)
            sides = [node.left, *node.comparators]
            texts = [each for side in sides for each in ast.walk(side) if is_text(each, words & ALSO_WORDS)]
            if texts and any(word in left for word in ("event", "kind", "state", ".name")):
                yield ast.unparse(node)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            if any(key and is_text(key, {"event", "kind"}) and is_text(value, words) for key, value in pairs):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("append_event", "read_log")):
            given = [*node.args, *(each.value for each in node.keywords)]
            if any(is_text(each, words) for each in given):
                yield ast.unparse(node)


def name_receiver(node: ast.AST) -> str:
    "The last name of what is indexed."
    if isinstance(node, ast.Subscript):
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else name_receiver(node.value)
    if isinstance(node, ast.Call):
        return name_receiver(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def find_fields(tree: ast.AST) -> Iterator[str]:
    "Fields of events that are read by a text, as `line['run']`, `line.get('run')` or `getattr(line, 'run')`."
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and is_text(node.slice, FIELDS):
            receiver = node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".get") and node.args:
            receiver = node.func.value if is_text(node.args[0], FIELDS) else None
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            receiver = node.args[0] if is_text(node.args[1], FIELDS) else None
        else:
            continue
        if receiver is not None and name_receiver(receiver) not in OTHER_TABLES:
            yield ast.unparse(node)


def reads_events(tree: ast.AST) -> bool:
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return any(f"rumos_bank.{reader}" in names for reader in READERS)


@pytest.mark.parametrize("module", [module for module in MODULES if module != "governance.events"])
def test_no_other_module_spells_a_name_or_a_field(module):
    tree = MODULES[module]
    assert list(find_names(tree)) == []
    if reads_events(tree) and module != REPLAYS:
        assert list(find_fields(tree)) == []


@pytest.mark.parametrize(
    "text",
    [
        'x = "rolled back"',
        'if line.event.name == "promoted": pass',
        'if entry["kind"] != "decision": pass',
        'found = verdict.state in ("refused", "rejected")',
        'entry = {"kind": "outcome", "decision": key}',
        'append_event(settings, "accepted", facts)',
        'read_log(folder, kind="shadow")',
    ],
)
def test_a_name_would_be_found(text):
    assert list(find_names(ast.parse(text)))


@pytest.mark.parametrize(
    "text", ['line["replaces"]', 'event.get("run")', 'lines[-1]["files"]', 'getattr(line, "gates", ())']
)
def test_a_field_would_be_found(text):
    assert list(find_fields(ast.parse(text)))
    assert not list(find_fields(ast.parse("model_record['family'], tags_of(run)['profile'], row['ID']")))
