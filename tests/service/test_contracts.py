"The bank's own contracts and ours, asked over HTTP of a started service."

import json
import re
import subprocess
import sys

import pytest
from services import EXAMPLE, ROOT, serve, settings_of, variables_of

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.serving.champion import Champion

PROTECTED = ("SEX", "MARRIAGE", "AGE", "EDUCATION")


@pytest.fixture(scope="module")
def champion(promoted) -> Champion:
    return Champion.load(settings_of(promoted.store.path))


# As the bank knows them


def test_default_prediction(service):
    accepted, refused = (
        service.post("/default_prediction", client) for client in (EXAMPLE_CLIENT, LATE_CLIENT)
    )
    assert (accepted.status, accepted.body) == (200, b'{"prediction":0}')
    assert (refused.status, refused.body) == (200, b'{"prediction":1}')


def test_model_params(service):
    given = service.get("/model_params").json
    assert given["max_leaf_nodes"] == "8" and all(isinstance(value, str) for value in given.values())


def test_model_metrics(service):
    given = service.get("/model_metrics").json
    assert {"accuracy", "min_cost", "recall", "roc_auc"} <= given.keys()
    assert all(isinstance(value, int | float) for value in given.values())


# Decisions


def test_every_client_is_decided_as_by_the_library_to_the_last_bit(service, champion):
    synthetic = make_synthetic_clients(1000, seed=7)
    clients = json.loads(synthetic[list(CLIENT_COLUMNS)].to_json(orient="records"))
    known = service.post("/decisions", clients).json
    expected = champion.decide(clients)
    assert len({answer["prediction"] for answer in known}) == 2
    assert [{k: v for k, v in answer.items() if k != "id"} for answer in known] == [
        decision.to_dict() for decision in expected
    ]


def test_a_client_gives_a_decision_and_a_list_gives_a_list(service):
    one, several = (service.post("/decisions", body).json for body in (EXAMPLE_CLIENT, [EXAMPLE_CLIENT]))
    assert isinstance(one, dict) and isinstance(several, list) and one["id"] != several[0]["id"]


def test_a_protected_field_may_be_left_out_and_changes_nothing(service):
    bare = {name: value for name, value in EXAMPLE_CLIENT.items() if name not in PROTECTED}
    others = [EXAMPLE_CLIENT | {"SEX": 2, "AGE": 70}, EXAMPLE_CLIENT, bare]
    assert len({answer["probability"] for answer in service.post("/decisions", others).json}) == 1
    assert service.post("/default_prediction", bare).status == 422, "the old contract asks for all 23"


def count_decisions(service) -> list[str]:
    return re.findall(r"^rumos_decisions_total.*$", service.get("/metrics").body.decode(), re.MULTILINE)


def test_one_fault_and_no_client_is_decided(service):
    before = count_decisions(service)
    answer = service.post("/decisions", [EXAMPLE_CLIENT, EXAMPLE_CLIENT | {"AGE": 17}])
    assert answer.status == 422 and answer.json["errors"] == [
        {
            "detail": "AGE must be a whole number between 18 and 120 years, got 17",
            "pointer": "#/1/AGE",
            "field": "AGE",
            "value": 17,
            "allowed": "a whole number between 18 and 120 years",
        }
    ]
    assert count_decisions(service) == before != []


def test_an_explanation_is_that_of_the_library(service, champion):
    known = service.post("/decisions?explain=true", LATE_CLIENT).json["explanation"]
    assert known == json.loads(json.dumps(champion.explain(LATE_CLIENT).to_dict()))
    assert known["refused"] and known["reasons"] and known["texts"][0].startswith("Refused")
    assert "explanation" not in service.post("/decisions", LATE_CLIENT).json
    assert "explanation" not in service.post("/decisions?explain=false", LATE_CLIENT).json


def test_more_are_decided_than_explained(service):
    assert service.post("/decisions?explain=true", [EXAMPLE_CLIENT] * 20).status == 200
    assert service.post("/decisions?explain=true", [EXAMPLE_CLIENT] * 21).status == 422
    assert service.post("/decisions?explain=yes", EXAMPLE_CLIENT).status == 422


def test_what_was_asked_and_answered_is_found_by_the_id(service, champion):
    answer = service.post("/default_prediction", LATE_CLIENT)
    entry = service.get(f"/decisions/{answer.headers['x-decision-id']}").json
    assert entry["input"] == {name: LATE_CLIENT[name] for name in champion.seen}
    assert entry["answer"] == champion.decide(LATE_CLIENT).to_dict()
    assert entry["model"] == {"version": 3, "digest": champion.digest} and entry["caller"] == "loopback"
    assert answer.headers["x-model-version"] == "3"


@pytest.mark.parametrize(
    "name", ["20261124-00000000-0", "x", "..%2F..%2Fledger.jsonl", "%00", "%ff", "a" * 5000]
)
def test_a_decision_that_was_not_made_is_not_found(service, name):
    assert service.get(f"/decisions/{name}").status == 404


# About the champion and the service


def test_champion_names_who_decides_and_why(service, champion):
    known = service.get("/champion").json
    assert (known["version"], known["digest"], known["family"]) == (
        3,
        champion.digest,
        "HistGradientBoosting",
    )
    assert known["about"]["twin"] is True and set(known["protected"]) == set(PROTECTED)
    assert known["costs"] == {"false_positive": 1000, "false_negative": 3000}


def test_health(service):
    assert service.get("/health/live").json == {"status": "live"}
    assert service.get("/health/ready").json == {"status": "ready", "model_version": 3}


def test_metrics_count_by_route(service):
    service.get("/nowhere/1"), service.get("/nowhere/2"), service.get("/decisions/x")
    known = service.get("/metrics").body.decode()
    counted = re.findall(r'^rumos_requests_total\{method="GET",route="([^"]+)",status="404"\}', known, re.M)
    assert sorted(counted) == ["/decisions/{decision_id}", "none"]
    assert "rumos_champion_version 3.0" in known and "rumos_champion_alarm 0.0" in known


def test_the_log_holds_no_client(service):
    service.post("/default_prediction", EXAMPLE_CLIENT | {"LIMIT_BAL": 31_415}, X_Request_Id="pi")
    service.post("/default_prediction", EXAMPLE_CLIENT | {"LIMIT_BAL": 31_415_926}, X_Request_Id="too-much")
    service.get("/health/live")  # a line is written when its answer has left
    lines = [event for event in service.events("request") if event["request_id"] in ("pi", "too-much")]
    assert [line["status"] for line in lines] == [200, 422]
    assert lines[0].keys() == {"time", "event", "request_id", "caller", "method", "route", "status", "ms"}
    assert "31415" not in service.log.read_text()


# Documentation


def test_the_docs_need_no_other_server(service):
    page = service.get("/docs")
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(sources) == 3 and all(source.startswith("/docs/") for source in sources)
    assert not re.search(rb"https?://", page.body)
    for source in sources:
        assert service.get(source).status == 200 and len(service.get(source).body) > 500
    assert service.get("/docs/other.js").status == 404 and service.get("/docs/..%2Fx").status == 404


def test_the_description_holds_what_an_engineer_needs(service):
    known = service.get("/openapi.json").json
    client = known["components"]["schemas"]["Client"]
    assert list(client["properties"]) == [*CLIENT_COLUMNS, "client_ref"]
    assert client["required"] == list(CLIENT_COLUMNS) and client["additionalProperties"] is False
    assert client["properties"].pop("client_ref")["anyOf"][0]["maxLength"] == 64
    for field in client["properties"].values():
        assert field["description"] and field["examples"] and field["minimum"] < field["maximum"]
    assert "5 = unknown" in client["properties"]["EDUCATION"]["description"]
    assert not {"HTTPValidationError", "ValidationError"} & known["components"]["schemas"].keys()
    for operations in known["paths"].values():
        for operation in operations.values():
            assert operation["summary"] and (operation.get("description") or "")
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    assert answer["content"] == {
                        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                    }


# Starting


def test_readiness_is_reported_in_one_line(service):
    assert service.ready == f"API ready on http://127.0.0.1:{service.port} (docs at /docs)\n"


def test_the_service_loads_nothing_heavy(promoted):
    script = (
        "import sys; from rumos_bank.api.app import make_app; from rumos_bank.ground.settings import read_settings\n"
        "service = make_app(read_settings()).state.api\n"
        f"client = {EXAMPLE}\n"
        "service.champion.score(tuple(client.values())); service.champion.explain(client)\n"
        "assert service.champion.version == 3\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    variables = variables_of(promoted.store.path, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "rumos_bank" in loaded, done.stderr
    assert not {"mlflow", "pandas", "matplotlib", "sklearn", "lightgbm", "scipy", "pandera"} & loaded


def test_before_the_first_pipeline_run(tmp_path):
    with serve(tmp_path / "store", tmp_path) as service:
        assert service.get("/health/live").status == 200
        for answer in (
            service.get("/health/ready"),
            service.get("/champion"),
            service.post("/default_prediction", EXAMPLE_CLIENT),
            service.post("/decisions", [EXAMPLE_CLIENT]),
        ):
            assert answer.status == 503 and "rumos run" in answer.json["detail"]
            assert answer.headers["content-type"] == "application/problem+json"
