"Keys, scopes, rates, hosts, headers, and what may be opened to a network."

import asyncio
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
from loops import run_alone
from services import SERVE, find_free_port, serve, settings_of, variables_of

from rumos_bank.api.app import make_app
from rumos_bank.api.schemas import Refusal
from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.ground.errors import ParameterError, SettingsError, StoreError
from rumos_bank.ground.keys import KEYS, KeyRing, add_key, list_keys, revoke_key
from rumos_bank.ground.settings import Settings

READS = ("/champion", "/model_params", "/model_metrics", "/metrics", "/decisions/x", "/cases", "/nowhere")
OPEN = ("/health/live", "/health/ready", "/docs", "/openapi.json", "/docs/swagger-ui.css")


@pytest.fixture
def guarded(store, tmp_path):
    "A service with a key for each scope, and one without a rate to speak of."
    settings = settings_of(store)
    keys = {scope: add_key(settings, f"{scope}r", [scope]) for scope in ("read", "score", "audit")}
    with serve(store, tmp_path, RUMOS_API_REQUESTS_PER_SECOND="5") as service:
        yield service, keys


def test_without_a_key_only_health_and_docs_are_open(guarded):
    service, _ = guarded
    for path in READS:
        answer = service.get(path)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert service.post("/default_prediction", EXAMPLE_CLIENT).status == 401
    assert [service.get(path).status for path in OPEN] == [200] * len(OPEN)


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", "Bearer ", "Bearer rumos_x", "Basic {key}", "{key}", "Bearer {key}x", "Bearer \xff"],
)
def test_what_is_no_key_opens_nothing(guarded, sent):
    service, keys = guarded
    assert service.get("/champion", Authorization=sent.format(key=keys["read"])).status == 401


def test_a_scope_allows_its_own_and_no_more(guarded):
    service, keys = guarded
    service.key = keys["read"]
    assert service.get("/champion").status == 200
    answer = service.post("/default_prediction", EXAMPLE_CLIENT)
    assert answer.status == 403 and 'scope="score"' in answer.headers["www-authenticate"]
    service.key = keys["score"]
    answer = service.post("/default_prediction", EXAMPLE_CLIENT)
    assert answer.status == 200 and service.get("/champion").status == 403
    service.key = keys["audit"]
    assert service.get(f"/decisions/{answer.headers['x-decision-id']}").json["caller"] == "scorer"
    assert service.get("/champion").status == 200 and service.post("/decisions", EXAMPLE_CLIENT).status == 403


def test_a_flood_from_one_key_is_slowed_and_others_are_not(guarded):
    service, keys = guarded
    service.key = keys["score"]
    statuses = [service.post("/default_prediction", EXAMPLE_CLIENT) for _ in range(12)]
    refused = [answer for answer in statuses if answer.status == 429]
    assert {answer.status for answer in statuses} == {200, 429} and len(refused) >= 4
    assert refused[0].headers["retry-after"] == "1" and "5 requests per second" in refused[0].json["detail"]
    slowed = [line for line in service.events("request") if line["status"] == 429]
    assert {line["caller"] for line in slowed} == {"scorer"}, "whom an operator has to talk to"
    service.key = keys["read"]
    assert service.get("/champion").status == 200


def test_a_revoked_key_is_refused_while_the_service_runs_and_a_new_one_works(guarded):
    service, keys = guarded
    service.key = keys["read"]
    assert service.get("/champion").status == 200
    revoke_key(settings_of(service.store), "readr")
    revoke_key(settings_of(service.store), "scorer")
    revoke_key(settings_of(service.store), "auditr")
    end = time.monotonic() + 5
    while service.get("/champion").status != 401:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert service.get("/metrics").status == 401, "with all keys revoked the service stays closed"
    service.key = add_key(settings_of(service.store), "fresh", ["read"])
    while service.get("/champion").status != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_revoked_key_does_not_wait_for_a_slow_or_broken_store(store, wrong):
    settings = settings_of(store)
    settings = settings.model_copy(update={"api": settings.api.model_copy(update={"refresh_seconds": 0.1})})
    add_key(settings, "reader", ["read"])
    app = make_app(settings, lambda event, **facts: None)
    service = app.state.api

    def refresh() -> bool:
        if wrong:
            raise ConnectionError("of an unexpected kind")
        time.sleep(1)
        return False

    async def revoke() -> float:
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0.2)  # it asks for the champion
            revoke_key(settings, "reader")
            began = time.monotonic()
            while service.ring.in_force and time.monotonic() < began + 5:
                await asyncio.sleep(0.02)
            return time.monotonic() - began

    service.follower.refresh = refresh
    assert run_alone(revoke()) < 0.6


def test_hosts_that_are_not_ours_are_refused(service):
    for host in ("rebound.example", "127.0.0.1.rebound.example", "", "localhost.rebound.example:80", "[::1"):
        assert service.get("/health/live", Host=host).status == 400
    for host in ("localhost", "LOCALHOST:5001", "127.0.0.1:1"):
        assert service.get("/health/live", Host=host).status == 200


@pytest.mark.parametrize(
    "path", ["/health/live", "/champion", "/nowhere", "/default_prediction", "/docs", "/docs/swagger-ui.css"]
)
def test_every_answer_bears_the_headers_of_security(service, path):
    headers = service.get(path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer" and headers["x-request-id"]
    assert ("content-security-policy" in headers) != path.startswith("/docs/")
    assert headers["cache-control"] == ("max-age=86400" if path.startswith("/docs/") else "no-store")
    assert "server" not in headers and "access-control-allow-origin" not in headers


def test_other_sites_may_call_only_where_the_bank_allows_it(service, store, tmp_path):
    ask = {"Origin": "https://desk.example", "Access_Control_Request_Method": "POST"}
    assert "access-control-allow-origin" not in service.ask("OPTIONS", "/decisions", **ask).headers
    with serve(store, tmp_path, RUMOS_API_CORS_ORIGINS="https://desk.example") as other:
        asked = other.ask("OPTIONS", "/decisions", **ask)
        assert asked.headers["access-control-allow-origin"] == "https://desk.example"
        ask["Origin"] = "https://elsewhere.example"
        assert "access-control-allow-origin" not in other.ask("OPTIONS", "/decisions", **ask).headers


# Keys


def test_a_token_is_nowhere_in_the_store(store):
    settings = settings_of(store)
    token = add_key(settings, "branch-7")
    for path in store.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()
    assert (store / KEYS).stat().st_mode & 0o777 == 0o600
    assert KeyRing(settings).find(token.encode()).name == "branch-7"


def test_a_key_is_neither_logged_nor_recorded_nor_counted_wherever_a_caller_puts_it(guarded):
    service, keys = guarded
    bad, token = f"rumos_{'x' * 43}", keys["score"]
    for sent in (token, bad):
        for header in ("Authorization", "X_Api_Key", "Cookie", "X_Request_Id", "User_Agent", "Traceparent"):
            for value in (sent, f"Bearer {sent}"):
                service.ask("POST", f"/default_prediction?key={sent}", EXAMPLE_CLIENT, **{header: value})
        service.get(f"/decisions/{sent}", Authorization=f"Bearer {keys['read']}")
        service.get(f"/{sent}")
        service.send(f"GET / {sent}\r\nAuthorization: {sent}\r\n\r\n".encode())
        service.post("/default_prediction", EXAMPLE_CLIENT | {sent: sent}, Authorization=f"Bearer {token}")
    service.post("/default_prediction", EXAMPLE_CLIENT, Authorization=f"Bearer {token}")
    known = service.get("/metrics", Authorization=f"Bearer {keys['read']}").body
    written = [path.read_bytes() for path in (service.log, *service.store.rglob("*")) if path.is_file()]
    assert service.events() and b"rumos_requests" in known
    assert any(b'"scorer"' in content for content in written), "the decision is on record, by the key's name"
    for secret in (*keys.values(), bad):
        assert not [content for content in (known, *written) if secret.encode() in content]


def test_tokens_differ_and_names_are_never_given_twice(tmp_path):
    settings = settings_of(tmp_path)
    tokens = {add_key(settings, f"key-{number}", ["score"]) for number in range(20)}
    assert len(tokens) == 20 and len({key.digest for key in list_keys(settings)}) == 20
    revoke_key(settings, "key-3")
    for attempt in ("key-3", "key-4"):
        with pytest.raises(ParameterError, match="already"):
            add_key(settings, attempt)
    with pytest.raises(ParameterError, match="no key in force"):
        revoke_key(settings, "key-3")


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "a\n", "../x"])
def test_a_name_is_plain(tmp_path, name):
    with pytest.raises(ParameterError, match="letters"):
        add_key(settings_of(tmp_path), name)


@pytest.mark.parametrize("content", ["{", "[1]", '[{"name": "x"}]', "null"])
def test_a_damaged_file_of_keys_opens_nothing(tmp_path, content):
    settings = settings_of(tmp_path)
    add_key(settings, "branch-7")
    ring = KeyRing(settings)
    (tmp_path / KEYS).write_text(content)
    with pytest.raises(StoreError, match="cannot be read as a file of keys"):
        ring.refresh()
    assert ring.needed and [key.name for key in ring.in_force.values()] == ["branch-7"]
    (tmp_path / KEYS).unlink()
    ring.refresh()
    assert ring.needed and not ring.in_force, "a file that was removed opens nothing"


def test_keys_that_cannot_be_changed_are_reported(tmp_path, monkeypatch):
    from filelock import FileLock

    settings = settings_of(tmp_path / "store")
    add_key(settings, "branch-7")
    monkeypatch.setattr("rumos_bank.ground.keys._PATIENCE", 0.05)
    with FileLock(settings.store_path / "keys.lock"):
        for change in (add_key, revoke_key):
            with pytest.raises(
                StoreError, match=r"another process is changing .*keys\.json: try again when it is done"
            ):
                change(settings, "branch-8")
    assert [key.name for key in list_keys(settings)] == ["branch-7"]
    (tmp_path / "a file").touch()
    with pytest.raises(StoreError, match=r"keys\.json cannot be written \(.+\): see that its folder"):
        add_key(settings_of(tmp_path / "a file" / "store"), "branch-7")


# What is opened to a network


def is_exposed(settings: Settings) -> bool:
    return settings.is_open(settings.api.host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "api.bank.example", ""])
def test_another_address_is_exposed(tmp_path, host):
    assert is_exposed(settings_of(tmp_path, RUMOS_API_HOST=host))
    assert not is_exposed(settings_of(tmp_path, RUMOS_API_HOST=host, RUMOS_BEHIND_LOOPBACK="1"))
    assert is_exposed(settings_of(tmp_path, RUMOS_API_HOST=host, RUMOS_BEHIND_LOOPBACK="0"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_loopback_is_not(tmp_path, host):
    assert not is_exposed(settings_of(tmp_path, RUMOS_API_HOST=host))


def test_an_exposed_service_needs_keys_and_a_champion_of_real_data(store):
    settings = settings_of(store, RUMOS_API_HOST="0.0.0.0")
    with pytest.raises(SettingsError, match="without keys: run `rumos keys add`"):
        make_app(settings)
    add_key(settings, "branch-7")
    with pytest.raises(SettingsError, match="synthetic clients only"):
        make_app(settings)
    revoke_key(settings, "branch-7")
    with pytest.raises(SettingsError, match="without keys"):
        make_app(settings)
    make_app(settings.model_copy(update={"behind_loopback": True}))


def test_a_twin_that_is_promoted_later_is_not_served_to_a_network(tmp_path, promoted):
    settings = settings_of(tmp_path, RUMOS_API_HOST="0.0.0.0")
    add_key(settings, "branch-7")
    service = make_app(settings).state.api
    service.follower.champion = make_app(settings_of(promoted.store.path)).state.api.follower.champion
    with pytest.raises(Refusal, match="synthetic clients only"):
        service.champion


def test_a_taken_port_names_the_setting_to_change(store):
    with closing(socket.socket()) as taken:
        port = find_free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        variables = variables_of(store, RUMOS_PORTS_API=str(port))
        done = subprocess.run([sys.executable, "-c", SERVE], env=variables, capture_output=True, text=True)
    assert done.returncode and f"port {port} is taken" in done.stderr and "RUMOS_PORTS_API" in done.stderr
