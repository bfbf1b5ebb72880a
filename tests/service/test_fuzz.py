"Unforeseen requests, made from the description of the service itself."

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from rumos_bank.data.contract import FIELDS

CODES = [field.name for field in FIELDS if field.unit != "TWD"] + ["prediction"]
PATIENT = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


def is_stricter_than_described(case) -> bool:
    """JSON Schema has no word for `1, but not 1.0`, for a list that is shorter if something else is asked for, for
    printable characters, a day of the calendar, own words, or an id that was given out."""
    clients = case.body if isinstance(case.body, list) else [case.body]
    explained = len(clients) > 20 and str((case.query or {}).get("explain")).lower() == "true"
    bodies = [client for client in clients if isinstance(client, dict)]
    codes = [client.get(name) for client in bodies for name in CODES]
    texts = any(client.get(name) for client in bodies for name in ("client_ref", "reason"))
    asked = {"client_ref", "first", "last", "after"} & set(case.query or {})
    return explained or texts or bool(asked) or any(isinstance(code, float) for code in codes)


def test_no_request_is_a_failure_of_ours(service):
    described = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
    operations = [found.ok() for found in described.get_all_operations()]
    statuses = []

    def ask(case) -> None:
        answer = case.call()
        left_out = [positive_data_acceptance] if is_stricter_than_described(case) else []
        case.validate_response(answer, excluded_checks=left_out)
        statuses.append(answer.status_code)

    for operation in operations:
        can_be_wrong = operation.method == "post"  # nothing can be wrong with a path alone
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 1 + can_be_wrong]:
            PATIENT(given(case=operation.as_strategy(generation_mode=mode))(ask))()
    assert len(operations) == 14 and len(statuses) > 150
    assert max(statuses) < 500 and {200, 404, 422} <= set(statuses)
