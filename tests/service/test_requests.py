"Requests that must not be sent: each is refused with a sentence, none is a failure of ours."

import gzip
import json
import socket

import pytest
from services import EXAMPLE

from rumos_bank.data.contract import EXAMPLE_CLIENT


def with_value(name: str, text: str) -> bytes:
    "The example with this text in the place of a field's value."
    assert f'"{name}": {EXAMPLE_CLIENT[name]}' in EXAMPLE
    return EXAMPLE.replace(f'"{name}": {EXAMPLE_CLIENT[name]}', f'"{name}": {text}', 1).encode()


PORTABLE = EXAMPLE.encode()
BODIES = {  # what → (body, status)
    "NaN": (with_value("LIMIT_BAL", "NaN"), 422),
    "Infinity": (with_value("BILL_AMT1", "Infinity"), 422),
    "-Infinity": (with_value("AGE", "-Infinity"), 422),
    "1e999": (with_value("BILL_AMT1", "1e999"), 422),
    "1e400 for a code": (with_value("SEX", "1e400"), 422),
    "1e-320": (with_value("LIMIT_BAL", "1e-320"), 422),
    "a fraction": (with_value("LIMIT_BAL", "30000.5"), 422),
    "a tiny fraction": (with_value("LIMIT_BAL", "9999999.001"), 422),
    "400 digits": (with_value("AGE", "9" * 400), 422),
    "5,000 digits": (with_value("AGE", "9" * 5000), 400),
    "5,000 digits of an amount": (with_value("LIMIT_BAL", "9" * 5000), 400),
    "beyond 64 bits": (with_value("PAY_AMT1", str(2**64)), 422),
    "true": (with_value("SEX", "true"), 422),
    "true for an amount": (with_value("LIMIT_BAL", "true"), 422),
    "text": (with_value("AGE", '"25"'), 422),
    "1.0 for a code": (with_value("SEX", "1.0"), 422),
    "25.0 years": (with_value("AGE", "25.0"), 422),
    "null": (with_value("PAY_0", "null"), 422),
    "a list": (with_value("PAY_0", "[0]"), 422),
    "an object": (with_value("PAY_0", '{"value": 0}'), 422),
    "an unknown field": (with_value("AGE", '25, "INCOME": 1'), 422),
    "a date": (with_value("AGE", '"1990-01-01"'), 422),
    "lone surrogate as value": (with_value("AGE", r'"\ud800"'), 400),
    "lone surrogate as key": (with_value("AGE", r'25, "\ud800": 1'), 400),
    "NUL in a key": (with_value("AGE", r'25, "A\u0000": 1'), 422),
    "NUL after the body": (PORTABLE + b"\0", 400),
    "NUL before the body": (b"\0" + PORTABLE, 400),
    "duplicate key": (with_value("AGE", '25, "AGE": 26'), 422),
    "duplicate key, same value": (with_value("AGE", '25, "AGE": 25'), 422),
    "duplicate key, escaped": (with_value("AGE", r'25, "\u0041GE": 25'), 422),
    "BOM": (b"\xef\xbb\xbf" + PORTABLE, 400),
    "UTF-16": (EXAMPLE.encode("utf-16"), 400),
    "UTF-32": (EXAMPLE.encode("utf-32-le"), 400),
    "no UTF-8": (PORTABLE.replace(b'"AGE"', b'"\xff\xfe"'), 400),
    "overlong UTF-8": (PORTABLE.replace(b'"AGE"', b'"\xc0\x80"'), 400),
    "100,000 brackets": (b"[" * 100_000, 400),
    "100,000 closed brackets": (b"[" * 100_000 + b"]" * 100_000, 400),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
    "deep in a field": (with_value("AGE", "[" * 5000 + "]" * 5000), 400),
    "80,000 fields": (json.dumps({f"k{number}": 1 for number in range(60_000)}).encode(), 422),
    "empty": (b"", 400),
    "spaces": (b"   ", 400),
    "null alone": (b"null", 422),
    "a number alone": (b"1", 422),
    "a text alone": (b'"client"', 422),
    "an empty object": (b"{}", 422),
    "an empty list": (b"[]", 422),
    "a list of lists": (b"[[]]", 422),
    "two bodies": (PORTABLE + PORTABLE, 400),
    "a trailing comma": (PORTABLE[:-1] + b",}", 400),
    "a comment": (b"/* */" + PORTABLE, 400),
    "single quotes": (PORTABLE.replace(b'"', b"'"), 400),
    "hexadecimal": (with_value("AGE", "0x19"), 400),
    "leading zero": (with_value("AGE", "025"), 400),
    "plus": (with_value("AGE", "+25"), 400),
    "2 MB": (b" " * 2_000_000 + PORTABLE, 413),
}


@pytest.mark.parametrize("path", ["/default_prediction", "/decisions", "/decisions?explain=true"])
@pytest.mark.parametrize("what", BODIES)
def test_a_hostile_body_is_refused(service, path, what):
    body, status = BODIES[what]
    answer = service.post(path, body)
    problem = answer.json
    assert (answer.status, problem["status"]) == (status, status), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"] and problem["request_id"] == answer.headers["x-request-id"]
    assert len(answer.body) < 20_000


def test_what_looks_odd_but_is_right_is_decided(service):
    for body in (
        with_value("LIMIT_BAL", "3e4"),
        with_value("LIMIT_BAL", "30000.0"),
        with_value("BILL_AMT1", "-0.0"),
        with_value("PAY_0", "-0"),
        PORTABLE.replace(b'"AGE"', rb'"\u0041GE"'),
        b"\r\n\t " + PORTABLE + b"\n",
        json.dumps(dict(reversed(EXAMPLE_CLIENT.items()))).encode(),
    ):
        assert service.post("/default_prediction", body).body == b'{"prediction":0}'


def test_a_list_is_no_client_of_the_old_contract(service):
    assert service.post("/default_prediction", [EXAMPLE_CLIENT]).status == 422


def test_more_clients_than_allowed_are_refused(service):
    assert service.post("/decisions", [EXAMPLE_CLIENT] * 1001).status == 422


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/vnd.api+json", 415),
        ("application/jsonx", 415),
        ("", 415),
    ],
)
def test_content_types(service, kind, status):
    assert service.post("/default_prediction", EXAMPLE, Content_Type=kind).status == status


def test_a_compressed_body_is_refused(service):
    assert service.post("/default_prediction", gzip.compress(PORTABLE), Content_Encoding="gzip").status == 415


# Below HTTP's surface

HEAD = b"POST /default_prediction HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("what", "raw", "statuses"),
    [
        ("both lengths", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        ("two lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", {400}),
        ("negative length", b"Content-Length: -5\r\n\r\n", {400}),
        ("no number", b"Content-Length: five\r\n\r\n", {400}),
        ("bad chunk", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
        ("no body", b"\r\n", {400}),
        ("chunked, too long", b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 20, {413}),
        ("no colon", b"broken header\r\n\r\n", {400}),
        ("latin-1 request id", b"X-Request-Id: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}", {400, 422}),
        ("long request id", b"X-Request-Id: " + b"a" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}", {400, 422, 431}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_hostile_framing_is_refused(service, what, raw, statuses):
    assert service.send(HEAD + raw) in statuses
    assert service.get("/health/live").status == 200


def test_a_chunked_body_is_read(service):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (PORTABLE[:100], PORTABLE[100:]))
    assert service.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n") == 200


def test_a_client_that_hangs_up_harms_no_other(service):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n{")
    assert service.get("/health/live").status == 200


def test_a_harmless_request_id_is_kept_and_another_is_replaced(service):
    assert service.get("/health/live", X_Request_Id="Abc_1-2").headers["x-request-id"] == "Abc_1-2"
    for odd in ("a b", "<script>", "a" * 65, "é"):
        assert len(service.get("/health/live", X_Request_Id=odd).headers["x-request-id"]) == 32


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_another_method_is_answered_with_those_allowed(service, method):
    answer = service.ask(method, "/default_prediction")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_nothing_of_all_this_was_a_failure(service):
    assert not service.events("failure")
    assert not [event for event in service.events("request") if event["status"] >= 500]
