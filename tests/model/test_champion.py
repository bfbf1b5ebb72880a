"""The one path that all interfaces share: the same bits from each, a cache for when the store is unreachable, a swap that no
caller notices, and no heavy import on the way."""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import clean_environment, find_free_port
from stores import Place, champion_of, learn_from, move_alias, put_in_charge, settings_for, with_refusals

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT, LATE_CLIENT, TARGET
from rumos_bank.data.synthetic import make_synthetic_clients
from rumos_bank.governance.ledger import LEDGER, accept_ledger, find_public_key
from rumos_bank.governance.registry import UnreachableError, glance
from rumos_bank.governance.tracking import ARTIFACTS, DATABASE, import_mlflow
from rumos_bank.ground.errors import DataError, NoChampionError, ParameterError, StoreError
from rumos_bank.ground.settings import Costs, Settings
from rumos_bank.model.decision import make_decision
from rumos_bank.model.families import find_family, make_model
from rumos_bank.model.portable import PORTABLE, SKOPS
from rumos_bank.operations.reproduce import find_run
from rumos_bank.serving import champion as module
from rumos_bank.serving.champion import Champion, Decision, Follower

ROOT = Path(__file__).parents[2]
PROTECTED = ("SEX", "MARRIAGE", "AGE", "EDUCATION")
SEEN = [name for name in CLIENT_COLUMNS if name not in PROTECTED]


@pytest.fixture(scope="session")
def asked() -> pd.DataFrame:
    "Clients that no model has seen."
    return make_synthetic_clients(400, seed=77)


@pytest.fixture(scope="session")
def three_template(promoted_template, tmp_path_factory) -> Place:
    "A store in which three models with different answers were promoted, one after the other."
    place = promoted_template.copy_to(tmp_path_factory.mktemp("three") / "store")
    for payers, part in ((290, slice(200, None)), (280, slice(50, None))):
        found = learn_from(place.found, place.data.train.iloc[part])
        assert place.promote(place.log(with_refusals(found, payers), key=str(payers))).promoted
    return place


@pytest.fixture
def three(three_template, tmp_path) -> Place:
    return three_template.copy_to(tmp_path / "store")


# the same bits from every interface


def through_dicts(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame([champion.decide(client) for client in clients[SEEN].to_dict("records")])


def through_a_list(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(champion.decide(clients.to_dict("records")))


def through_a_tuple_of_floats(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(champion.decide(tuple(clients[SEEN].astype(float).to_dict("records"))))


def through_a_frame(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return champion.decide(clients)


def through_an_odd_frame(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    "Another index, more columns, no protected ones, in another order, as floats."
    odd = clients[SEEN[::-1]].astype(float).assign(note="x", more=np.nan)
    odd.index = pd.MultiIndex.from_arrays([["a"] * len(odd), range(len(odd))[::-1]])
    decided = champion.decide(odd)
    assert decided.index.equals(odd.index)
    return decided


def through_a_frame_with_one_label(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return champion.decide(clients.set_axis([7] * len(clients)))


def through_arrow(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    import pyarrow as pa

    decided = champion.decide(pa.Table.from_pandas(clients))
    assert isinstance(decided, pa.Table)
    return decided.to_pandas()


def through_columns(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(champion.score_columns([clients[name].to_numpy() for name in CLIENT_COLUMNS]))


def through_score(champion: Champion, clients: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [champion.score(row) for row in clients[list(CLIENT_COLUMNS)].itertuples(index=False)]
    )


SERVICES: list[Callable[[Champion, pd.DataFrame], pd.DataFrame]] = [  # a new interface is one more function
    through_a_list,
    through_a_tuple_of_floats,
    through_a_frame,
    through_an_odd_frame,
    through_a_frame_with_one_label,
    through_arrow,
    through_columns,
    through_score,
]


def make_tree_champion(name: str, threshold: float = 0.25) -> Champion:
    clients, family = make_synthetic_clients(1500, seed=4), find_family(name)
    model = make_model(family, family.trials[0], 42, PROTECTED)
    return champion_of(
        make_decision(model, threshold, Costs(), PROTECTED, 50).fit(clients, clients[TARGET]), version=9
    )


@pytest.fixture(scope="module", params=["HistGradientBoosting", "LightGBM", "Decision_tree"])
def champion(request) -> Champion:
    return make_tree_champion(request.param)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)
def test_the_same_bits_from_every_interface(service, champion, asked):
    expected, decided = through_dicts(champion, asked), service(champion, asked)
    assert list(decided) == list(Decision._fields)
    pd.testing.assert_frame_equal(decided.reset_index(drop=True), expected, check_exact=True)
    assert 0 < expected["prediction"].sum() < len(expected)


def test_mlflow_itself_predicts_the_same_and_leaves_the_files_as_they_were(promoted, asked):
    before = through_dicts(Champion.load(promoted.settings), asked)
    import_mlflow().set_tracking_uri(promoted.store.uri)
    served = import_mlflow().pyfunc.load_model("models:/rumos_lending@champion")
    answers = served.predict(asked[list(CLIENT_COLUMNS)])
    np.testing.assert_array_equal(answers, before["prediction"])
    np.testing.assert_array_equal(served.predict(asked[SEEN]), before["prediction"])
    after = through_a_frame(Champion.load(promoted.settings), asked)
    pd.testing.assert_frame_equal(after.reset_index(drop=True), before, check_exact=True)


def test_a_decision_adds_up(champion, asked):
    for decision in champion.decide(asked.to_dict("records")):
        assert (
            type(decision.prediction) is int
            and type(decision.probability) is float
            and type(decision.refer) is bool
        )
        assert decision.prediction == (decision.probability >= decision.threshold)
        assert decision.expected_cost_accept == decision.probability * 3000
        assert decision.expected_cost_refuse == (1 - decision.probability) * 1000
        assert decision.refer == (abs(decision.probability - decision.threshold) * 4000 <= 50)
        assert json.loads(json.dumps(decision.to_dict())) == decision._asdict()
        assert decision.model_version == 9


def test_a_person_is_asked_around_a_tuned_threshold_by_every_interface(asked):
    champion = make_tree_champion("LightGBM", threshold=0.4)
    expected = through_dicts(champion, asked)
    near = expected["probability"].between(0.3875, 0.4125)  # 50 € of 4,000 € to both sides
    assert near.any() and expected["refer"].tolist() == near.tolist()
    assert champion.model.refer(asked).tolist() == near.tolist()
    for service in SERVICES:
        assert service(champion, asked)["refer"].tolist() == near.tolist()


def test_no_clients_give_no_decisions(champion, asked):
    assert champion.decide([]) == [] == champion.decide(())
    none = champion.decide(asked.iloc[:0])
    assert none.shape == (0, 7) and list(none) == list(Decision._fields)


@pytest.mark.parametrize(
    "odd", ["abc", 5, None, np.zeros((1, 23)), pd.Series(EXAMPLE_CLIENT), {1, 2}], ids=type
)
def test_what_is_no_client_is_refused_in_a_sentence(odd, champion):
    with pytest.raises(
        ParameterError, match="clients must be a dict, a list of dicts, a DataFrame or an Arrow"
    ):
        champion.decide(odd)


def test_what_breaks_the_contract_is_refused_at_every_interface(champion, asked):
    bad = asked.head(3).assign(PAY_0=[0, 12, 0])
    for wrong in (bad, bad.to_dict("records"), bad.to_dict("records")[1]):
        with pytest.raises(DataError, match=r"PAY_0 must be one of the codes -2 to 9, got 12"):
            champion.decide(wrong)
    with pytest.raises(DataError, match="PAY_3: there must be a column of this name"):
        champion.decide(asked.drop(columns="PAY_3"))
    with pytest.raises(DataError, match="PAY_3: there must be a field of this name"):
        champion.decide({name: value for name, value in EXAMPLE_CLIENT.items() if name != "PAY_3"})
    with pytest.raises(DataError, match="client 1 of the list must be a dict, got list"):
        champion.decide([EXAMPLE_CLIENT, [1, 2]])
    with pytest.raises(DataError, match=r"occurs once, but there are several of PAY_0"):
        champion.decide(pd.concat([asked, asked[["PAY_0"]]], axis=1))


def test_a_protected_field_is_not_even_checked(champion):
    odd = EXAMPLE_CLIENT | {"SEX": "?", "AGE": None, "MARRIAGE": float("nan")}
    assert champion.decide(odd) == champion.decide(EXAMPLE_CLIENT)
    assert champion.decide(pd.DataFrame([odd]))["probability"].tolist() == [champion.decide(odd).probability]


def test_a_family_without_a_portable_form_decides_from_its_file(asked):
    champion = make_tree_champion("logistic_reg")
    assert champion.decision is champion.model
    one, many = through_dicts(champion, asked), champion.decide(asked).reset_index(drop=True)
    np.testing.assert_allclose(one["probability"], many["probability"], rtol=1e-12)
    assert one["prediction"].equals(many["prediction"]) and champion.decide([]) == []


# loading


def test_the_champion_knows_who_promoted_it_and_why(promoted):
    champion = Champion.load(promoted.settings)
    assert (champion.version, champion.family, champion.cached) == (1, "Decision_tree", "")
    line = promoted.line
    facts = {
        "run": line.event.run,
        "promoted": line.when,
        "promoted_by": line.who,
        "reason": line.event.reason,
    }
    assert facts.items() <= champion.about.items() and {"metrics", "parameters"} <= champion.about.keys()
    assert champion.explain(LATE_CLIENT).probability == champion.decide(LATE_CLIENT).probability
    assert champion.reference["typical"]


def test_a_champion_that_was_deleted_is_named(promoted):
    promoted.store.client.delete_model_version("rumos_lending", "1")
    for ask in (lambda: Champion.load(promoted.settings), lambda: find_run(promoted.store, "champion")):
        with pytest.raises(
            NoChampionError, match=f"version 1 was .* `rumos propose {promoted.runs['first']}`"
        ):
            ask()


def test_before_the_first_pipeline_run_there_is_no_champion(place, tmp_path):
    for settings in (place.settings, settings_for(tmp_path / "nothing")):
        with pytest.raises(NoChampionError, match=r"no champion yet .*run `rumos run`"):
            Champion.load(settings)
        follower = Follower(settings)
        assert follower.champion is None and "no champion yet" in follower.alarm
    assert not (tmp_path / "nothing").exists()


def test_a_store_can_be_served_that_may_not_be_changed(promoted):
    before = {path: path.stat().st_mtime_ns for path in promoted.store.path.rglob("*")}
    Champion.load(promoted.settings).decide(EXAMPLE_CLIENT)
    assert {path: path.stat().st_mtime_ns for path in promoted.store.path.rglob("*")} == before


HEAVY = ("pandas", "sklearn", "scipy", "mlflow", "matplotlib", "lightgbm", "pyarrow", "requests", "skops")
LIGHT = f"""
import sys
from rumos_bank.serving.decision_log import decide_and_record
from rumos_bank.serving.champion import Champion, Follower
from rumos_bank.data.contract import EXAMPLE_CLIENT, LATE_CLIENT

champion = Champion.load()
champion.decide(EXAMPLE_CLIENT), champion.decide([EXAMPLE_CLIENT, LATE_CLIENT]), champion.explain(LATE_CLIENT).texts()
decide_and_record(champion, EXAMPLE_CLIENT, "test"), decide_and_record(champion, [LATE_CLIENT], "test")
print(sorted(set({HEAVY}) & {{name.partition(".")[0] for name in sys.modules}}), champion.family)
"""


def test_nothing_heavy_is_imported_for_a_champion_of_trees(promoted):
    ours = {
        "PYTHONPATH": str(ROOT),
        "RUMOS_STORE_PATH": str(promoted.store.path),
        "RUMOS_DATA_CACHE": str(promoted.settings.cache_path),
        "RUMOS_LEDGER_FOLDER": str(promoted.settings.ledger_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", LIGHT],
        env=clean_environment() | ours,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[] Decision_tree\n", done.stdout + done.stderr


# from an MLflow server


@pytest.fixture(scope="module")
def served(three_template, tmp_path_factory) -> Iterator[tuple[Place, subprocess.Popen, Settings]]:
    "A store behind a real MLflow server."
    place = three_template.copy_to(tmp_path_factory.mktemp("served") / "store")
    port = find_free_port()
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", place.store.uri]
    words += ["--artifacts-destination", str(place.store.path / ARTIFACTS)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (place.store.path.parent / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, *words], env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        )
    settings = settings_for(place.store.path, RUMOS_STORE_SERVER=f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + 120
        while not is_up(settings):
            assert time.monotonic() < end and server.poll() is None, "the MLflow server does not start"
            time.sleep(0.1)
        yield place, server, settings
    finally:
        stop(server)


def is_up(settings: Settings) -> bool:
    try:
        return urllib.request.urlopen(f"{settings.store.server}/health", timeout=2).status == 200
    except OSError:
        return False


def stop(server: subprocess.Popen) -> None:
    "The server with its workers, which it started in a group of its own."
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_from_a_server_and_without_it(served, asked):
    place, server, settings = served
    local = Champion.load(place.settings)
    loaded = Champion.load(settings)
    assert (loaded.version, loaded.digest, loaded.cached) == (3, local.digest, "")
    pd.testing.assert_frame_equal(loaded.decide(asked), local.decide(asked), check_exact=True)
    follower = Follower(settings)
    assert follower.champion.version == 3 and follower.alarm == ""
    missing = place.store.path / place.line.event.folder / SKOPS  # of version 3
    put_in_charge(place.settings, 2)
    assert follower.refresh() and (follower.champion.version, follower.alarm) == (2, "")
    with pytest.raises(NoChampionError, match=f"no version of other in {settings.store.server}"):
        Champion.load(
            settings_for(
                place.store.path,
                RUMOS_STORE_SERVER=settings.store.server,
                RUMOS_STORE_REGISTERED_MODEL="other",
            )
        )
    whole = missing.read_bytes()
    missing.unlink()
    put_in_charge(place.settings, 3)
    assert not follower.refresh() and "model.skops of the model cannot be read" in follower.alarm
    missing.write_bytes(whole[:-1])
    assert not follower.refresh() and "model.skops of the model is not what was recorded" in follower.alarm
    assert follower.champion.version == 2
    missing.write_bytes(whole)
    assert follower.refresh() and (follower.champion.version, follower.alarm) == (3, "")
    stop(server)
    assert not follower.refresh() and follower.champion.version == 3
    assert "does not answer" in follower.unreachable and "`rumos serve mlflow`" in follower.unreachable
    assert follower.alarm == "", "nothing was refused"
    cached = Champion.load(settings)
    assert (cached.version, cached.digest) == (3, local.digest) and cached.cached == follower.unreachable
    pd.testing.assert_frame_equal(cached.decide(asked), local.decide(asked), check_exact=True)
    started = Follower(settings)
    assert started.champion.version == 3 and started.unreachable == started.champion.cached == cached.cached
    assert started.alarm == ""


class Fake(http.server.BaseHTTPRequestHandler):
    "The responses of an MLflow server about the alias and the files, without MLflow."

    def do_GET(self):
        asked = urllib.parse.urlsplit(self.path)
        name = asked.path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/")
        self.server.asked.append(name)
        if self.server.answer:
            return self.notify(*self.server.answer)
        if asked.path.endswith("/registered-models/alias"):
            return self.notify(
                200, json.dumps({"model_version": {"version": str(self.server.version)}}).encode()
            )
        path = self.server.root / ARTIFACTS / name
        return self.notify(200, path.read_bytes()) if path.is_file() else self.notify(404, b"")

    def notify(self, status: int, content: bytes):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def fake(three) -> Iterator[tuple[Place, http.server.ThreadingHTTPServer, Settings]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    server.root, server.version, server.answer, server.asked = three.store.path, 3, None, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield (
        three,
        server,
        settings_for(three.store.path, RUMOS_STORE_SERVER=f"http://127.0.0.1:{server.server_port}"),
    )
    if thread.is_alive():
        close(server)
    thread.join()


def close(server: http.server.ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


def cache_of(settings: Settings) -> Path:
    (cache,) = (settings.cache_path / "champions").iterdir()
    return cache


def kept(settings: Settings, name: str) -> Path:
    "A file of the champion in the cache."
    (folder,) = [path for path in cache_of(settings).iterdir() if path.is_dir()]
    return folder / name


def test_files_that_are_there_are_not_fetched_again(fake):
    _, server, settings = fake
    Champion.load(settings)
    assert len(server.asked) > 5
    server.asked.clear()
    assert Champion.load(settings).version == 3
    assert server.asked == ["/api/2.0/mlflow/registered-models/alias"]


@pytest.mark.parametrize("name", [PORTABLE, SKOPS, "MLmodel"])
def test_a_cache_that_was_changed_is_refused_and_put_right(name, fake):
    _, server, settings = fake
    Champion.load(settings)
    whole = kept(settings, name).read_bytes()
    kept(settings, name).write_bytes(whole[:-1] + b"?")
    assert Champion.load(settings).cached == ""  # fetched again
    assert kept(settings, name).read_bytes() == whole
    kept(settings, name).write_bytes(b"")
    close(server)
    with pytest.raises(StoreError, match=rf"{name} of the model is not what was recorded: expected sha256"):
        Champion.load(settings)
    kept(settings, name).unlink()
    with pytest.raises(StoreError, match=f"{name} of the model cannot be read"):
        Champion.load(settings)


def forge_cache(settings: Settings, change: Callable[[dict], object]) -> None:
    "Change what the cache holds as promoted."
    current = cache_of(settings) / "current.json"
    line = json.loads(current.read_bytes())
    change(line)
    current.write_text(json.dumps(line))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.update(version=7),
        lambda line: line["files"].update({PORTABLE: "0" * 64}),
        lambda line: line.update(reason="because"),
        lambda line: line.pop("files"),
        lambda line: line.clear(),
        lambda line: line["files"].update({"../../x": "0" * 64}),
    ],
)
def test_a_cache_that_the_ledger_does_not_know_is_refused(change, fake):
    _, server, settings = fake
    Champion.load(settings)
    forge_cache(settings, change)
    close(server)
    with pytest.raises(StoreError, match="names a champion that was never promoted in this store"):
        Champion.load(settings)
    follower = Follower(settings)
    assert follower.champion is None and "never promoted" in follower.alarm


def test_without_a_ledger_the_line_that_was_kept_counts(fake):
    place, server, settings = fake
    Champion.load(settings)
    close(server)
    (place.store.path / LEDGER).rename(place.store.path / "unreachable")
    assert Champion.load(settings).version == 3
    forge_cache(settings, lambda line: line["files"].update({PORTABLE: "0" * 64}))
    with pytest.raises(StoreError, match=r"cannot be read|not what was recorded"):
        Champion.load(settings)


def test_without_a_cache_a_server_that_is_unreachable_is_a_sentence(fake):
    place, server, settings = fake
    close(server)
    with pytest.raises(
        UnreachableError, match=r"MLflow server .* does not answer .*`rumos serve mlflow`.*RUMOS_STORE_SERVER"
    ):
        Champion.load(settings)
    Champion.load(place.settings)  # fills the local store's cache
    with pytest.raises(UnreachableError):  # which is another one
        Champion.load(settings)


def test_a_database_that_breaks_while_it_is_asked_is_unreachable(monkeypatch, tmp_path):
    psycopg = pytest.importorskip("psycopg")
    queries = []

    class Breaking(contextlib.AbstractContextManager):
        def __exit__(self, *_):
            return None

        def execute(self, query, *_):
            queries.append(query)
            if "statement_timeout" not in query:
                raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: Breaking())
    settings = settings_for(tmp_path, RUMOS_STORE_DATABASE="postgresql+psycopg://mlflow@db/mlflow")
    with pytest.raises(UnreachableError, match=r"does not answer: canceling statement.*RUMOS_STORE_DATABASE"):
        glance(settings)
    assert queries[0] == "SET statement_timeout = 10000"


@pytest.mark.parametrize(
    "answer, message",
    [
        ((500, b"oops"), "answers 500"),
        ((503, b""), "answers 503"),
        ((403, b""), "answers 403"),
        ((200, b"<html>login</html>"), "does not answer like an MLflow server"),
        ((200, b"[]"), "does not answer like an MLflow server"),
        ((200, b'{"model_version": null}'), "does not answer like an MLflow server"),
    ],
)
def test_a_server_that_answers_nonsense_is_unreachable(answer, message, fake):
    _, server, settings = fake
    server.answer = answer
    with pytest.raises(UnreachableError, match=message):
        Champion.load(settings)
    server.answer = None
    Champion.load(settings)
    server.answer = answer
    assert message in Champion.load(settings).cached


def test_a_server_that_names_another_version_is_not_trusted(fake):
    _, server, settings = fake
    for version in (4, "1/../3", None, "x"):
        server.version = version
        with pytest.raises(
            StoreError,
            match=r"bears the alias champion, but no line of .* promoted it: the alias was moved by hand",
        ):
            Champion.load(settings)


@pytest.mark.parametrize("broken", ["file", "text", "no dict"])
def test_a_broken_cache_is_no_reason_not_to_start(broken, three):
    cache = three.settings.cache_path
    if broken == "file":
        cache.write_text("no folder")
        assert Champion.load(three.settings).version == 3 and cache.is_file()
        return
    Champion.load(three.settings)
    (cache_of(three.settings) / "current.json").write_bytes(b"\xff{" if broken == "text" else b"[1]")
    assert Champion.load(three.settings).version == 3
    assert json.loads((cache_of(three.settings) / "current.json").read_bytes())["version"] == 3


def test_only_the_newest_is_kept_for_its_owner_only(three):
    for version in (1, 2, 3):
        put_in_charge(three.settings, version)
        Champion.load(three.settings)
        assert sorted(path.suffix for path in cache_of(three.settings).iterdir()) == ["", ".json"]
    assert cache_of(three.settings).stat().st_mode & 0o777 == 0o700


def test_a_database_that_cannot_be_read_is_unreachable_and_the_cached_champion_holds_why(three):
    Champion.load(three.settings)
    (three.store.path / DATABASE).write_bytes(b"no database at all" * 100)
    cached = Champion.load(three.settings)
    assert cached.version == 3 and "restore it from a backup" in cached.cached


# following the alias


def test_a_new_champion_is_followed(promoted):
    follower = Follower(promoted.settings)
    first = follower.champion
    assert first.version == 1 and follower.alarm == "" and not follower.refresh()
    assert follower.champion is first
    found = learn_from(promoted.found, promoted.data.train.iloc[300:])
    assert promoted.promote(promoted.log(with_refusals(found, 200), key="new")).promoted
    assert follower.refresh() and follower.champion.version == 2
    assert first.version == 1  # a caller that still holds it holds it whole
    assert not follower.refresh()


def test_a_refusal_in_the_ledger_changes_nothing(promoted):
    follower = Follower(promoted.settings)
    mark = glance(promoted.settings)
    promoted.promote("dearer")
    assert glance(promoted.settings) != mark
    assert not follower.refresh() and (follower.champion.version, follower.alarm) == (1, "")


def test_no_champion_and_then_the_first(place):
    follower = Follower(place.settings)
    assert follower.champion is None and "no champion yet" in follower.alarm
    place.promote("first")
    assert follower.refresh() and (follower.champion.version, follower.alarm) == (1, "")


def test_a_bad_challenger_leaves_the_old_one_and_sets_an_alarm(three):
    path = three.model / PORTABLE
    put_in_charge(three.settings, 2)
    follower = Follower(three.settings)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    put_in_charge(three.settings, 3)
    for _ in range(2):
        assert not follower.refresh() and follower.champion.version == 2
        assert "portable.json of the model is not what was recorded" in follower.alarm
    put_in_charge(three.settings, 2)
    assert not follower.refresh() and (follower.champion.version, follower.alarm) == (2, "")
    path.write_bytes(whole)
    put_in_charge(three.settings, 3)
    assert follower.refresh() and (follower.champion.version, follower.alarm) == (3, "")


def test_whatever_fails_in_the_new_one_the_old_one_goes_on(three, monkeypatch):
    put_in_charge(three.settings, 2)
    follower = Follower(three.settings)
    put_in_charge(three.settings, 3)
    with monkeypatch.context() as broken:
        broken.setattr(Champion, "score", lambda *_: {}["a defect"])
        assert not follower.refresh() and follower.champion.version == 2
        assert follower.alarm == "KeyError('a defect')"
    assert follower.refresh() and (follower.champion.version, follower.alarm) == (3, "")


def test_a_store_that_is_unreachable_and_comes_back(three):
    follower = Follower(three.settings)
    database = three.store.path / DATABASE
    whole = database.read_bytes()
    database.write_bytes(b"no database at all" * 100)
    for _ in range(2):
        assert not follower.refresh() and follower.champion.version == 3
        assert "restore it from a backup" in follower.unreachable and follower.alarm == ""
    database.write_bytes(whole)
    assert not follower.refresh()
    assert (follower.champion.version, follower.alarm, follower.unreachable) == (3, "", "")


def test_a_champion_that_was_refused_before_the_store_became_unreachable_is_still_an_alarm(three):
    put_in_charge(three.settings, 2)
    follower = Follower(three.settings)
    path, database = three.model / PORTABLE, three.store.path / DATABASE
    path.write_bytes(path.read_bytes()[:-1])
    put_in_charge(three.settings, 3)
    follower.refresh()
    refused, whole = follower.alarm, database.read_bytes()
    database.write_bytes(b"no database at all" * 100)
    assert not follower.refresh() and follower.alarm == refused and follower.unreachable
    database.write_bytes(whole)
    assert not follower.refresh() and (follower.alarm, follower.unreachable) == (refused, "")


def test_a_running_service_without_a_head_refuses_a_ledger_that_was_cut(three, tmp_path):
    ours = three.settings
    options = {
        "RUMOS_LEDGER_PUBLIC_KEY": find_public_key(ours),
        "RUMOS_LEDGER_FOLDER": str(tmp_path / "none"),
    }
    service, path = settings_for(three.store.path, **options), three.store.path / LEDGER
    early = path.read_bytes()
    put_in_charge(ours, 2)
    follower = Follower(service)
    path.write_bytes(early)  # the rollback is cut off, and version 3 put in charge again
    move_alias(ours, 3)
    for _ in range(2):
        assert not follower.refresh() and follower.champion.version == 2
        assert "its end was cut off" in follower.alarm
    accept_ledger(ours, "restored from the backup of Monday")
    assert follower.refresh() and (follower.champion.version, follower.alarm) == (3, "")


def test_a_start_from_the_cache_becomes_a_whole_one(three):
    Champion.load(three.settings)
    database = three.store.path / DATABASE
    whole = database.read_bytes()
    database.write_bytes(b"no database at all" * 100)
    follower = Follower(three.settings)
    assert follower.champion.version == 3 and follower.champion.cached == follower.unreachable != ""
    assert follower.alarm == ""
    database.write_bytes(whole)
    assert not follower.refresh() and (follower.champion.cached, follower.unreachable) == ("", "")


def test_a_store_that_becomes_unreachable_while_it_is_asked_brings_no_old_champion(three, monkeypatch):
    put_in_charge(three.settings, 2)
    follower = Follower(three.settings)
    put_in_charge(three.settings, 3)

    def unreachable(settings):
        raise UnreachableError("unreachable")

    with monkeypatch.context() as broken:
        broken.setattr(module, "find_promotion", unreachable)
        assert not follower.refresh() and (follower.champion.version, follower.unreachable) == (
            2,
            "unreachable",
        )
        assert follower.champion.cached == ""
        started = Follower(three.settings)
        assert started.champion.cached == "unreachable"
    for each in (follower, started):
        assert each.refresh() and (each.champion.version, each.champion.cached, each.unreachable) == (
            3,
            "",
            "",
        )


def test_a_caller_during_a_swap_is_answered_by_one_whole_champion(three):
    clients = make_synthetic_clients(40, seed=8)[SEEN].to_dict("records")
    own = {}
    for version in (1, 2, 3):
        put_in_charge(three.settings, version)
        own[version] = Champion.load(three.settings).decide(clients)
    assert len({tuple(each.probability for each in decisions) for decisions in own.values()}) == 3
    follower, answers, done = Follower(three.settings), [], threading.Event()

    def ask() -> None:
        while not done.wait(0.001):  # threads that spin would share one interpreter with the swap
            answers.append(follower.champion.decide(clients))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in (1, 2, 3) * 3:
            put_in_charge(three.settings, version)
            before = len(answers)
            assert follower.refresh() and follower.champion.version == version
            end = time.monotonic() + 10
            while len(answers) < before + 8 and time.monotonic() < end:
                time.sleep(0.001)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert {decisions[0].model_version for decisions in answers} == {1, 2, 3}
    assert all(decisions == own[decisions[0].model_version] for decisions in answers)
