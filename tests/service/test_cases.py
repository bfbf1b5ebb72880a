"Cases over HTTP: a client's reference, who may see which case, lists in pages, what officers state, and kill -9 in between."

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from loops import run_alone
from processes import wait_until
from services import Service, serve, settings_of

import rumos_bank.api.app as app_module
from rumos_bank.api.app import make_app
from rumos_bank.api.schemas import CaseAnswer, describe_case
from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.events import Decided
from rumos_bank.ground.keys import add_key
from rumos_bank.serving.cases import Case, find_by_reference, find_case
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record

SAID = {"officer": "A. Officer", "reason": "the employer guarantees the loan"}
WRONG = {
    "empty": "",
    "blank": "  ",
    "a line": "4711\nA",
    "NUL": "4711\0",
    "65 characters": "7" * 65,
    "a number": 4711,
    "true": True,
    "a list": ["4711-A"],
}


@pytest.fixture(scope="module")
def bank(promoted, tmp_path_factory) -> Iterator[SimpleNamespace]:
    "A service with keys of two branches, an auditor and an officer, and a file of 450 clients on record."
    place = promoted.copy_to(tmp_path_factory.mktemp("cases") / "store")
    settings = settings_of(place.store.path)
    scopes = {"branch-7": ["read", "score"], "branch-8": ["read", "score"], "auditor": ["audit"]}
    keys = {name: add_key(settings, name, own) for name, own in scopes.items()}
    keys["officer"] = add_key(settings, "officer", ["override"])
    keys["clerk"] = add_key(settings, "clerk", ["read", "override"])
    clients = make_synthetic_clients(450, seed=3)[list(CLIENT_COLUMNS)]
    references = [f"file-{row % 150}" for row in range(450)]
    champion, log = Champion.load(settings), DecisionLog(settings)
    decided = decide_and_record(champion, clients, "branch-8", log, references, interface="file")
    with serve(
        place.store.path, tmp_path_factory.mktemp("bank"), RUMOS_API_REQUESTS_PER_SECOND="1e6"
    ) as started:
        yield SimpleNamespace(
            service=started, keys=keys, settings=settings, log=log, file=list(decided["decision_id"])
        )
    log.close()


def as_(bank: SimpleNamespace, name: str) -> Service:
    bank.service.key = bank.keys[name]
    return bank.service


def decide(bank: SimpleNamespace, name: str = "branch-7", client: dict = LATE_CLIENT, **more: object) -> str:
    return as_(bank, name).post("/decisions", client | more).json["id"]


def ids(service: Service, query: str = "") -> list[str]:
    return [case["id"] for case in service.get(f"/cases?{query}").json["cases"]]


def walk(service: Service, query: str) -> list[str]:
    "The ids of every page."
    found, after = [], ""
    while True:
        page = service.get(f"/cases?{query}" + (f"&after={after}" if after else "")).json
        found += [case["id"] for case in page["cases"]]
        after = page["after"]
        if not after:
            return found


# A reference


def test_a_client_is_found_by_the_reference_in_any_way_of_writing_it(bank):
    service = as_(bank, "branch-7")
    first = service.post("/default_prediction", EXAMPLE_CLIENT | {"client_ref": " José 1 "})
    several = [
        LATE_CLIENT | {"client_ref": "José 1"},
        EXAMPLE_CLIENT,
        EXAMPLE_CLIENT | {"client_ref": 'a "b" \\'},
    ]
    second, _, third = service.post("/decisions", several).json
    wanted = [second["id"], first.headers["x-decision-id"]]
    decomposed, composed, quoted = (quote(each) for each in ("Jose\u0301 1", "José 1", 'a "b" \\'))
    assert ids(service, f"client_ref={decomposed}") == wanted
    assert ids(service, f"client_ref={composed}&decision=refuse") == wanted[:1]
    assert ids(service, f"client_ref={quoted}") == [third["id"]]
    assert ids(service, "client_ref=Jos") == []


def test_a_reference_changes_no_answer_and_is_no_value_of_the_client(bank):
    service = as_(bank, "branch-7")
    plain, named = (
        service.post("/decisions", LATE_CLIENT | more).json for more in ({}, {"client_ref": "4711-B"})
    )
    assert plain | {"id": ""} == named | {"id": ""}
    cases = [service.get(f"/decisions/{each['id']}").json for each in (plain, named)]
    assert cases[0]["input"] == cases[1]["input"]
    assert "reference" not in cases[0] and len(cases[1]["reference"]) == 16
    assert service.post("/decisions", LATE_CLIENT | {"client_ref": None}).status == 200
    bare = {name: value for name, value in LATE_CLIENT.items() if name != "AGE"}
    assert service.post("/decisions", bare | {"client_ref": None}).status == 200
    assert service.post("/default_prediction", bare | {"client_ref": "4711-B"}).status == 422


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_reference_is_refused_and_not_repeated(bank, what):
    service = as_(bank, "branch-7")
    for path, body in (("/default_prediction", LATE_CLIENT), ("/decisions", LATE_CLIENT)):
        answer = service.post(path, body | {"client_ref": WRONG[what]})
        assert answer.status == 422 and [fault["field"] for fault in answer.json["errors"]] == ["client_ref"]
        assert "4711" not in answer.body.decode() and "77777" not in answer.body.decode()
    answer = service.post("/decisions", [EXAMPLE_CLIENT, LATE_CLIENT | {"client_ref": WRONG[what]}])
    assert answer.json["errors"][0]["pointer"].startswith("#/1/client_ref")


@pytest.mark.parametrize(
    "twice",
    ['"client_ref": "a", "client_ref": "b"', r'"client_ref": "a", "client_ref": "\"\u0022"', r'"AGE": 25, "client_ref": "\u0022"'],
)  # fmt: skip
def test_a_key_that_stands_twice_is_not_hidden_by_quotation_marks_in_a_reference(bank, twice):
    answer = as_(bank, "branch-7").post("/decisions", json.dumps(LATE_CLIENT)[:-1] + f", {twice}}}")
    assert answer.status == 422 and "more than once" in answer.json["detail"]


def test_a_reference_is_nowhere_in_the_clear(bank):
    service, secret = as_(bank, "branch-7"), "Zz-31415926-person"
    decided = decide(bank, client_ref=secret)
    service.post("/decisions", LATE_CLIENT | {"client_ref": secret, "AGE": 17})
    service.post("/decisions", LATE_CLIENT | {"client_ref": secret, secret[:3]: 1})
    service.post("/decisions", json.dumps(LATE_CLIENT | {"client_ref": secret})[:-1])
    answers = [
        service.get(f"/decisions/{decided}").body,
        service.get(f"/cases?client_ref={secret}").body,
        service.get(f"/cases?client_ref={secret}&limit=0").body,
        service.get(f"/cases?client_ref={secret}&after={bank.file[0]}").body,
        as_(bank, "auditor").get("/metrics").body,
        service.get(f"/decisions/{decided}").body,
    ]
    written = [path.read_bytes() for path in (service.log, *service.store.rglob("*")) if path.is_file()]
    assert ids(service, f"client_ref={secret}") == [decided]
    assert not [content for content in (*answers, *written) if b"31415926" in content]


def test_without_the_key_of_references_nothing_is_decided_for_a_client_who_bears_one(store, tmp_path):
    settings = settings_of(store)
    log = DecisionLog(settings)
    log.describe(["4711-A"], "api")  # makes key and note
    (settings.ledger_path / "references.key").unlink()
    with serve(store, tmp_path) as service:
        answer = service.post("/decisions", LATE_CLIENT | {"client_ref": "4711-A"})
        assert answer.status == 503 and "nothing was decided" in answer.json["detail"]
        assert "4711" not in service.log.read_text() and service.events("unreferenced")
        assert service.post("/decisions", LATE_CLIENT).status == 200
        assert service.get("/cases?client_ref=4711-A").status == 503


# Who may see which case


def test_a_caller_sees_its_own_cases_and_an_auditor_all(bank):
    seven, eight = (
        decide(bank, "branch-7", client_ref="shared"),
        decide(bank, "branch-8", client_ref="shared"),
    )
    for name, own, other in (("branch-7", seven, eight), ("branch-8", eight, seven)):
        service = as_(bank, name)
        assert service.get(f"/decisions/{own}").json["caller"] == name
        refused, unknown = (service.get(f"/decisions/{each}") for each in (other, "20051001-1a2b3c4d-0"))
        assert (refused.status, refused.json | {"request_id": ""}) == (404, unknown.json | {"request_id": ""})
        assert ids(service, "client_ref=shared") == [own]
        everything = walk(service, "limit=200")
        assert own in everything and other not in everything
        assert service.get(f"/cases?after={other}").status == 422
    auditor = as_(bank, "auditor")
    assert ids(auditor, "client_ref=shared") == [eight, seven]
    assert auditor.get(f"/decisions/{seven}").status == auditor.get(f"/decisions/{eight}").status == 200
    assert {seven, eight, *bank.file} <= set(walk(auditor, "limit=200"))


def test_the_cases_of_a_file_belong_to_no_key_also_not_to_one_of_the_same_name(bank):
    service = as_(bank, "branch-8")  # the file's caller has this name too
    assert service.get(f"/decisions/{bank.file[7]}").status == 404
    assert ids(service, "interface=file") == ids(service, "client_ref=file-7") == []
    assert ids(service, "caller=branch-7") == []
    assert service.get(f"/cases?after={bank.file[7]}").status == 422
    case = as_(bank, "auditor").get(f"/decisions/{bank.file[7]}").json
    assert (case["interface"], case["row"], case["caller"]) == ("file", 8, "branch-8")


def test_an_override_key_states_about_every_case_and_reads_none(bank):
    own, of_file = decide(bank), bank.file[11]
    officer = as_(bank, "officer")
    for decided in (own, of_file):
        statement = SAID | {"decision": decided, "prediction": 1}
        assert officer.post("/overrides", statement).status == 201
        assert officer.get(f"/decisions/{decided}").status == 403
    assert as_(bank, "clerk").get(f"/decisions/{own}").status == 404
    events = as_(bank, "auditor").get(f"/decisions/{of_file}").json["events"]
    assert [event["caller"] for event in events] == ["officer"]


@pytest.mark.parametrize("path", ["/overrides", "/second_looks", "/appeals", "/appeals/decisions"])
def test_a_statement_needs_its_scope(bank, path):
    for name in ("branch-7", "auditor"):
        answer = as_(bank, name).post(path, SAID | {"decision": bank.file[0]})
        assert answer.status == 403 and 'scope="override"' in answer.headers["www-authenticate"]


# Lists


def test_pages_hold_every_case_once_the_newest_first_also_those_of_a_file(bank):
    mine = [decide(bank) for _ in range(5)]
    auditor = as_(bank, "auditor")
    every = walk(auditor, "limit=200")
    assert len(every) == len(set(every)) and every[:5] == mine[::-1]
    assert [each for each in every if each in set(bank.file)] == bank.file[::-1]
    assert every == walk(auditor, "limit=61")
    assert walk(auditor, "interface=file&limit=200") == bank.file[::-1]
    page = auditor.get("/cases?limit=3").json
    assert len(page["cases"]) == 3 and page["after"] == page["cases"][-1]["id"]
    assert len(auditor.get("/cases").json["cases"]) == 50


def test_a_list_is_narrowed_by_each_parameter(bank):
    service = as_(bank, "auditor")
    refused = walk(service, "interface=file&limit=200&decision=refuse")
    accepted = walk(service, "interface=file&limit=200&decision=accept")
    assert refused and accepted and sorted(refused + accepted) == sorted(bank.file)
    assert ids(service, "version=2") == [] != ids(service, "version=3")
    day = bank.file[0][:8]
    assert len(walk(service, f"first={day}&limit=200&interface=file")) == 450
    assert ids(service, "last=20051001") == ids(service, "first=20991231") == []
    of_client = walk(service, "client_ref=file-7&limit=1")
    assert of_client == [bank.file[each] for each in (307, 157, 7)]
    for narrowing in ("last=20051001", "version=2", "caller=x", "interface=api", "officer=x", "waiting=true"):
        assert ids(service, f"client_ref=file-7&{narrowing}") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("client=4711-A", "client"),
        ("limit=201", "limit"),
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("first=2005-10-01", "first"),
        ("last=20051301", "last"),
        ("version=-1", "version"),
        ("interface=telephone", "interface"),
        ("decision=1", "decision"),
        ("waiting=yes", "waiting"),
        ("officer=", "officer"),
        ("client_ref=", "client_ref"),
        ("client_ref=a%0Ab", "client_ref"),
        ("after=x", "after"),
        ("caller=a&caller=b", "caller"),
    ],
)
def test_an_unknown_or_impossible_parameter_is_refused(bank, query, field):
    answer = as_(bank, "auditor").get(f"/cases?{query}")
    assert answer.status == 422 and answer.headers["content-type"] == "application/problem+json"
    assert [fault["field"] for fault in answer.json["errors"]] == [field]


# What officers state


def test_an_appeal_is_answered_by_another_officer_and_the_list_says_so(bank):
    decided, officer = decide(bank), as_(bank, "officer")
    by_a, by_b = (SAID | {"decision": decided, "officer": f"{each}. Officer"} for each in "AB")
    assert officer.post("/overrides", by_a | {"prediction": 1}).json["prediction"] == 1
    answer = officer.post("/appeals/decisions", by_b | {"prediction": 0})
    assert answer.status == 409 and "no appeal against" in answer.json["detail"]
    appeal = officer.post("/appeals", by_a).json
    assert appeal["waiting"] == "appeal" and appeal["due"] > bank.file[0][:8] and appeal["prediction"] == 1
    assert officer.post("/appeals", by_a).status == 409
    answer = officer.post("/overrides", by_b | {"prediction": 0})
    assert answer.status == 409 and "decide about the appeal" in answer.json["detail"]
    assert decided in ids(as_(bank, "auditor"), "waiting=true")
    assert bank.service.get(f"/decisions/{decided}").json["due"] == appeal["due"]
    officer = as_(bank, "officer")
    answer = officer.post("/appeals/decisions", by_a | {"prediction": 0, "officer": " a.  OFFICER"})
    assert answer.status == 409 and "another officer answers an appeal" in answer.json["detail"]
    assert officer.post("/appeals/decisions", by_b | {"prediction": 0}).json["waiting"] == ""
    auditor = as_(bank, "auditor")
    case = auditor.get(f"/decisions/{decided}").json
    assert (case["prediction"], case["answer"]["prediction"], case["waiting"], "due" in case) == (
        0,
        1,
        "",
        False,
    )
    assert (case["final"]["by"], case["final"]["how"]) == ("B. Officer", "appeal decided")
    assert [event["kind"] for event in case["events"]] == ["override", "appeal", "appeal decided"]
    assert case["events"][2]["appeal"] == appeal["id"]
    (listed,) = [each for each in auditor.get("/cases").json["cases"] if each["id"] == decided]
    assert (listed["prediction"], listed["model_prediction"], listed["how"]) == (0, 1, "appeal decided")
    assert decided in ids(auditor, "decision=accept&officer=B.%20Officer")
    assert decided not in ids(auditor, "decision=refuse&limit=200")
    CaseAnswer.model_validate(case, strict=True, extra="forbid")


def test_an_accepted_client_has_nothing_to_appeal_against(bank):
    decided = decide(bank, client=EXAMPLE_CLIENT)
    answer = as_(bank, "officer").post("/appeals", SAID | {"decision": decided})
    assert answer.status == 409 and "nothing to appeal" in answer.json["detail"]


def test_a_second_look_is_for_clients_whom_the_model_referred(bank):
    champion = Champion.load(bank.settings)
    answer = champion.decide(LATE_CLIENT).to_dict() | {"refer": True}
    model = {"version": 3, "digest": champion.digest}
    seen = {name: LATE_CLIENT[name] for name in champion.seen}
    entry = Decided(
        caller="desk", interface="desk", officer="C. Officer", input=seen, answer=answer, model=model
    )
    referred, plain = bank.log.append(entry.to_dict()), decide(bank)
    auditor = as_(bank, "auditor")
    assert auditor.get(f"/decisions/{referred}").json["waiting"] == "second look"
    assert referred in ids(auditor, "waiting=true&officer=C.%20Officer")
    officer = as_(bank, "officer")
    statement = SAID | {"prediction": 1}
    answer = officer.post("/second_looks", statement | {"decision": plain})
    assert answer.status == 409 and "the model did not refer" in answer.json["detail"]
    assert officer.post("/second_looks", statement | {"decision": referred}).json["waiting"] == ""
    assert referred not in ids(as_(bank, "auditor"), "waiting=true&officer=C.%20Officer")


def test_of_appeals_at_the_same_moment_one_is_recorded(bank):
    decided, officer = decide(bank), as_(bank, "officer")
    with ThreadPoolExecutor(8) as threads:
        sent = threads.map(lambda _: officer.post("/appeals", SAID | {"decision": decided}).status, range(8))
        assert sorted(sent) == [201] + [409] * 7


@pytest.mark.parametrize("path", ["/second_looks", "/appeals", "/appeals/decisions"])
def test_a_statement_about_nothing_or_without_own_words_is_refused(bank, path):
    officer = as_(bank, "officer")
    body = SAID | ({} if path == "/appeals" else {"prediction": 0})
    assert officer.post(path, body | {"decision": "20051001-1a2b3c4d-0"}).status == 404
    answer = officer.post(path, body | {"decision": bank.file[0], "reason": "ok", "officer": " "})
    assert answer.status == 422
    assert {fault["field"] for fault in answer.json["errors"]} == {"officer", "reason"}


# The record behind it


def test_an_erased_case_says_so():
    entry = {"id": "20051001-1a2b3c4d-0", "time": "2005-10-01T09:00:00+00:00", "kind": "decision"}
    entry |= {
        "caller": "x",
        "interface": "api",
        "model": {"version": 1},
        "answer": {"prediction": 1, "refer": False},
    }
    shown = describe_case(Case(entry))
    assert shown["erased"] is True and "input" not in shown and "reference" not in shown
    clear = entry | {"input": {"PAY_0": 2}, "reference": "ab" * 12, "reference_text": "4711-A"}
    shown = describe_case(Case(clear))
    assert shown["erased"] is False and "4711-A" not in json.dumps(shown)


def count_listed(settings) -> int:
    found = list((settings.cache_path / "cases").glob("*.sqlite"))
    if not found:
        return 0
    with closing(sqlite3.connect(found[0])) as index:
        return index.execute("select count(*) from cases").fetchone()[0]


def test_the_index_is_caught_up_without_a_look_up(store, tmp_path):
    settings = settings_of(store)
    log = DecisionLog(settings)
    for _ in range(3):
        decide_and_record(Champion.load(settings), EXAMPLE_CLIENT, "x", log)
    log.close()
    with serve(store, tmp_path) as service:
        wait_until(lambda: count_listed(settings) == 3, 10, "what was there before the start")
        service.post("/decisions", [EXAMPLE_CLIENT] * 4)
        wait_until(lambda: count_listed(settings) == 7, 20, "what was decided since")


def ask(app, *paths: str) -> list[tuple[str, int, float]]:
    "GET requests at the same moment: path, status, seconds."

    async def get(path: str) -> tuple[str, int, float]:
        sent, start = [], time.monotonic()

        async def send(message: dict) -> None:
            sent.append(message)

        name, _, query = path.partition("?")
        scope = {"type": "http", "method": "GET", "path": name, "query_string": query.encode()}
        await app(scope | {"headers": [(b"host", b"localhost")]}, None, send)
        return path, sent[0]["status"], time.monotonic() - start

    async def get_all() -> list[tuple[str, int, float]]:
        return await asyncio.gather(*map(get, paths))

    return run_alone(get_all())


def test_a_slow_look_up_keeps_no_other_request_waiting(store, monkeypatch):
    app = make_app(settings_of(store), lambda event, **facts: None)
    monkeypatch.setattr(app_module, "list_cases", lambda *given: time.sleep(0.5) or app_module.Page((), ""))
    slow, quick = ask(app, "/cases", "/champion")
    assert slow[1:2] == quick[1:2] == (200,) and quick[2] < 0.3 < slow[2]


def test_a_record_that_cannot_be_read_is_no_failure_of_the_request(store):
    settings, logged = settings_of(store), []
    log = DecisionLog(settings)
    decided = decide_and_record(Champion.load(settings), EXAMPLE_CLIENT, "x", log).id
    log.close()
    settings.cache_path.mkdir(exist_ok=True)
    (settings.cache_path / "cases").write_text("no folder")
    app = make_app(settings, lambda event, **facts: logged.append(event))
    assert [each[1] for each in ask(app, "/cases", f"/decisions/{decided}")] == [503, 503]
    assert logged.count("unread") == 2 and "failure" not in logged


def test_after_a_kill_every_answered_case_is_found_with_its_reference(store, tmp_path):
    answered: list[tuple[str, str]] = []
    with serve(store, tmp_path) as service:

        def send(thread: int) -> None:
            for number in range(10_000):
                reference = f"{thread}-{number}"
                body = LATE_CLIENT | {"client_ref": reference}
                try:
                    several = service.post(
                        "/decisions", [body, EXAMPLE_CLIENT | {"client_ref": reference}]
                    ).json
                except (OSError, HTTPException):  # killed meanwhile
                    return
                answered.extend((each["id"], reference) for each in several)

        threads = [threading.Thread(target=send, args=(each,)) for each in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 200, 60, "answers")
        service.kill()
        for thread in threads:
            thread.join(timeout=60)
    settings = settings_of(store)
    with serve(store, tmp_path) as again:
        for id_, reference in answered[-60:]:
            assert id_ in ids(again, f"client_ref={reference}")
            assert again.get(f"/decisions/{id_}").json["final"]["by"] == "model"
    hidden = {each: set(find_by_reference(settings, each)) for each in {pair[1] for pair in answered}}
    assert all(id_ in hidden[reference] for id_, reference in answered) and len(answered) > 200
    assert not find_case(settings, answered[0][0]).erased


def test_after_a_kill_a_statement_that_was_answered_counts(store, tmp_path):
    with serve(store, tmp_path) as service:
        decided = service.post("/decisions", LATE_CLIENT | {"client_ref": "4711-A"}).json["id"]
        service.post("/overrides", SAID | {"decision": decided, "prediction": 0})
        service.kill()
    with serve(store, tmp_path) as again:
        case = again.get(f"/decisions/{decided}").json
        assert case["prediction"] == 0 and case["final"]["by"] == "A. Officer"
        assert ids(again, "client_ref=4711-A&decision=accept") == [decided]
