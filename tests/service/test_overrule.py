"An officer overrides a decision over HTTP: with a name and a reason, on record beside the decision, and with a key for it."

import json

import pytest
from loops import run_alone
from services import serve, settings_of

from rumos_bank.api.app import make_app
from rumos_bank.data.contract import EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.ground.keys import KeyRing, add_key
from rumos_bank.serving.decision_log import DecisionLog

GIVEN = {"prediction": 0, "officer": "A. Officer", "reason": "the employer guarantees the loan"}


@pytest.fixture(scope="module")
def decided(service) -> str:
    "The id of a decision to refuse."
    return service.post("/decisions", LATE_CLIENT).json["id"]


def test_an_override_is_on_record_beside_the_decision_which_stays(service, decided):
    before = service.get(f"/decisions/{decided}").json
    answer = service.post("/overrides", GIVEN | {"decision": decided})
    own = answer.json["id"]
    assert answer.status == 201
    assert answer.json == {"id": own, "decision": decided, "prediction": 0, "waiting": ""}
    case = service.get(f"/decisions/{decided}").json
    assert case["events"][-1] | {"time": 0} == {
        "id": own,
        "time": 0,
        "kind": "override",
        "decision": decided,
        "model_prediction": 1,
        **GIVEN,
        "caller": "loopback",
    }
    final = {
        "prediction": 0,
        "by": "A. Officer",
        "how": "override",
        "entry": own,
        "time": case["events"][-1]["time"],
    }
    assert (
        before["final"]["by"] == "model" and before["prediction"] == 1 and case["answer"]["prediction"] == 1
    )
    assert case == before | {"prediction": 0, "final": final, "events": case["events"]}
    assert service.get(f"/decisions/{own}").json == case, "the id of an event finds its case"


def test_an_unknown_decision_is_not_found(service, decided):
    for unknown in ("20051001-1a2b3c4d-0", "x", "", decided + "0", "../ledger.jsonl"):
        answer = service.post("/overrides", GIVEN | {"decision": unknown})
        assert answer.status == 404 and answer.json["detail"] == "there is no decision under this id"


def test_what_is_no_decision_cannot_be_overruled(service, decided):
    own = service.post("/overrides", GIVEN | {"decision": decided}).json["id"]
    answer = service.post("/overrides", GIVEN | {"decision": own})
    assert answer.status == 422 and "of the kind override" in answer.json["detail"]


@pytest.mark.parametrize("field", ["officer", "reason"])
@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\x1c", "\u3000", None, 7])
def test_a_blank_is_no_name_and_no_reason(service, decided, field, blank):
    answer = service.post("/overrides", GIVEN | {"decision": decided, field: blank})
    assert answer.status == 422
    assert [fault["field"] for fault in answer.json["errors"]] == [field]


def test_a_reason_may_be_written_in_any_script(service, decided):
    own = {"officer": "陳", "reason": "擔保人\n« el empleador garantía » 🙂"}
    assert service.post("/overrides", GIVEN | own | {"decision": decided}).status == 201
    event = service.get(f"/decisions/{decided}").json["events"][-1]
    assert event["officer"] == "陳" and event["reason"] == "擔保人 « el empleador garantía » 🙂"


@pytest.mark.parametrize("reason", ["ok", "because because because of because", "a b c", "x" * 40])
def test_a_reason_is_in_own_words(service, decided, reason):
    answer = service.post("/overrides", GIVEN | {"decision": decided, "reason": reason})
    assert answer.status == 422 and [fault["field"] for fault in answer.json["errors"]] == ["reason"]
    assert answer.json["detail"].startswith("a reason has at least 3 different words and 15 letters")


@pytest.mark.parametrize("prediction", [2, -1, "0", True, 0.5, None])
def test_a_decision_is_zero_or_one(service, decided, prediction):
    answer = service.post("/overrides", GIVEN | {"decision": decided, "prediction": prediction})
    assert answer.status == 422
    assert answer.json["errors"][0]["allowed"] == "0 (accept) or 1 (refuse)"


def test_faults_are_named_all_at_once_and_nothing_is_taken_twice_or_unasked(service, decided):
    answer = service.post("/overrides", {"decision": decided, "prediction": 3, "why": "x"})
    assert sorted(fault["field"] for fault in answer.json["errors"]) == [
        "officer",
        "prediction",
        "reason",
        "why",
    ]
    twice = '{"prediction": 1, ' + json.dumps(GIVEN | {"decision": decided})[1:]
    answer = service.post("/overrides", twice)
    assert answer.status == 422 and answer.json["detail"] == "prediction is given more than once"
    assert service.post("/overrides", "[]").status == 422 and service.post("/overrides", "{").status == 400


def test_who_may_ask_may_not_overrule(store):
    settings = settings_of(store)
    keys = {scope: add_key(settings, f"{scope}r", [scope]) for scope in ("score", "override")}
    keys["usual"] = add_key(settings, "usual")
    ring = KeyRing(settings)
    allowed = {name: ring.find(token.encode()).scopes for name, token in keys.items()}
    assert allowed == {"score": ("score",), "override": ("override",), "usual": ("read", "score")}


def test_the_scope_is_required(store, tmp_path):
    settings = settings_of(store)
    keys = {scope: add_key(settings, f"{scope}r", [scope]) for scope in ("score", "override", "read")}
    with serve(store, tmp_path) as service:
        service.key = keys["score"]
        decided = service.post("/decisions", EXAMPLE_CLIENT).json["id"]
        for scope in ("score", "read"):
            service.key = keys[scope]
            answer = service.post("/overrides", GIVEN | {"decision": decided})
            assert answer.status == 403 and 'scope="override"' in answer.headers["www-authenticate"]
        service.key = keys["override"]
        answer = service.post("/overrides", GIVEN | {"decision": decided, "prediction": 1})
        assert answer.status == 201 and service.post("/decisions", EXAMPLE_CLIENT).status == 403
    entry = DecisionLog(settings).find(answer.json["id"])
    assert (entry["caller"], entry["model_prediction"], entry["prediction"]) == ("overrider", 0, 1)


def test_what_cannot_be_written_was_not_decided(store):
    settings = settings_of(store)
    decided = DecisionLog(settings).append(
        {"kind": "decision", "caller": "", "input": {}, "answer": {"prediction": 1}, "model": {}}
    )
    app = make_app(settings)
    service = app.state.api

    def fail(_: object) -> None:
        raise OSError("the disk is full")

    async def receive() -> dict:
        return {"type": "http.request", "body": json.dumps(GIVEN | {"decision": decided}).encode()}

    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    service.log.append_many = fail
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/overrides", "query_string": b"", "headers": headers}
    run_alone(app(scope, receive, send))
    assert sent[0]["status"] == 503 and b"nothing was decided" in sent[1]["body"]
    assert service.metrics.unrecorded._value.get() == 1
