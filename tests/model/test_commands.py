"The commands of approvers and auditors, as they are typed."

import errno
import json

import pytest
from stores import LENIENT, Place, put_in_charge
from typer.testing import CliRunner

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.governance.ledger import LEDGER, read_ledger
from rumos_bank.governance.promotion_state import read_champion
from rumos_bank.ground.keys import KeyRing
from rumos_bank.monitoring.shadow import check_shadow
from rumos_bank.operations import cli, experiments
from rumos_bank.operations.cli import app
from rumos_bank.serving import audit
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import DecisionLog, decide_and_record, list_days, read_log

WHY = "its refusals are easier to explain to the clients who ask"


@pytest.fixture
def typed(promoted, monkeypatch):
    "A command on a store with a champion and a refused challenger; its output and its exit code."
    promoted.promote("dearer")
    ours = {
        "RUMOS_STORE_PATH": promoted.store.path,
        "RUMOS_LEDGER_FOLDER": promoted.settings.ledger_path,
        "RUMOS_DATA_CACHE": promoted.settings.cache_path,
        "RUMOS_STORE_REPORTS": f"{promoted.store.path}-reports",
        "RUMOS_SPLIT_FOLDS": "3",
        **LENIENT,
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, str(value))

    def run(*words: str) -> tuple[str, int]:
        done = CliRunner().invoke(app, words)
        if done.exception and not isinstance(done.exception, SystemExit):
            return f"{type(done.exception).__name__}: {done.exception}", 2
        return done.stdout, done.exit_code

    return run


def test_gates_are_shown_with_every_check(typed):
    shown, code = typed("gate", "2")
    assert code == 0 and "Version 2 (Decision_tree) refused" in shown
    assert "✗ fail  saving" in shown and "✓ pass  known clients" in shown
    assert "was never judged by the gates" in typed("gate", "9")[0]


def test_a_refused_version_is_approved_only_with_a_reason_and_rolled_back(typed, promoted: Place):
    assert "it can become champion only with --overrule" in typed("approve", "2")[0]
    shown, code = typed("approve", "2", "--overrule", WHY)
    assert code == 0 and "Overruled: saving" in shown and read_champion(promoted.store).version == 2
    assert "OVERRULED saving by" in typed("gate", "2")[0]
    shown, code = typed("rollback", "--why", WHY)
    assert code == 0 and "Version 1 (Decision_tree) is the champion again, in place of version 2" in shown
    assert read_champion(promoted.store).version == 1


def test_a_refused_version_can_be_rejected_for_good(typed):
    assert typed("reject", "2", WHY) == ("Version 2 is rejected.\n", 0)
    assert "waits for nothing" in typed("approve", "2", "--overrule", WHY)[0]


def test_the_leaderboard_says_what_it_ranks_and_never_mixes(typed, promoted: Place, monkeypatch):
    shown, code = typed("leaderboard")
    assert code == 0 and "SYNTHETIC clients (TWIN)" in shown and "false positive 1,000" in shown
    monkeypatch.setenv("RUMOS_COSTS_FALSE_POSITIVE", "800")
    shown, code = typed("leaderboard")
    assert code == 2 and "no finished search of synthetic clients at today's prices" in shown
    assert "false positive 1,000" in typed("leaderboard", "--all")[0]
    promoted.log(promoted.found, key="as if real", twin=False)
    monkeypatch.delenv("RUMOS_COSTS_FALSE_POSITIVE")
    shown, code = typed("leaderboard")
    assert (
        code == 0
        and "real clients" in shown
        and "SYNTHETIC" not in shown
        and "1 more with synthetic" in shown
    )
    assert "SYNTHETIC" in typed("leaderboard", "--synthetic")[0]
    both = typed("leaderboard", "--all")[0]
    assert both.count("Newest finished searches") == 2


def test_other_clients_than_the_champions_cannot_reprice_it(typed, monkeypatch):
    monkeypatch.setenv("RUMOS_COSTS_FALSE_POSITIVE", "800")
    shown, code = typed("reprice", "--why", WHY)
    assert code == 2 and "its clients are not today's" in shown


def test_history_is_in_order_and_the_champion_of_a_time_is_found(typed, promoted: Place):
    put_in_charge(promoted.settings, 1)
    shown, code = typed("history")
    lines = shown.splitlines()
    assert code == 0 and len(lines) == len(read_ledger(promoted.settings))
    assert [line.split()[0] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    assert "was version 1: Decision_tree" in typed("champion", "--at", "2999-01-01")[0]
    assert "there was no champion yet" in typed("champion", "--at", "2001-01-01")[0]
    assert "version 1: Decision_tree" in typed("champion")[0]
    assert "Versions that were champion" in typed("inventory")[0]


def test_the_ledger_is_verified_and_its_first_bad_line_named(typed, promoted: Place):
    shown, code = typed("ledger", "verify")
    assert code == 0 and shown.startswith("3 lines, each signed and in its place")
    assert typed("ledger", "key")[0].strip() in shown
    new = typed("ledger", "rotate")[0].strip()
    assert typed("ledger", "key")[0].strip() == new and "4 lines" in typed("ledger", "verify")[0]
    path = promoted.store.path / LEDGER
    path.write_bytes(path.read_bytes().replace(b'"Decision_tree"', b'"Random_forest"', 1))
    shown, code = typed("ledger", "verify")
    assert code != 0 and "line 1 is not signed" in shown


def test_a_ledger_that_was_put_back_is_accepted_with_a_reason(typed, promoted: Place):
    path = promoted.store.path / LEDGER
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert "line 3 is missing" in typed("history")[0]
    assert typed("ledger", "accept", "restored from the backup of Monday") == ("recorded in line 3\n", 0)
    assert "restored from the backup of Monday" in typed("history")[0]


def test_cleaning_shows_first_what_it_would_remove(typed, promoted: Place):
    shown, _ = typed("gc")
    assert promoted.runs["dearer"] in shown and "would be removed" in shown
    assert typed("gc", "--yes")[0].rstrip().endswith("removed")
    assert typed("gc")[0].startswith("0 searches")


def test_decisions_are_replayed_watched_and_judged(typed, promoted: Place, tmp_path):
    log = DecisionLog(promoted.settings)
    known = decide_and_record(Champion.load(promoted.settings), [EXAMPLE_CLIENT] * 3, "test", log)
    shown, code = typed("replay", known[0].id)
    assert code == 0 and "1 identical" in shown
    shown, code = typed("replay", "--first", "20200101")
    assert code == 0 and "3 identical" in shown
    shown, code = typed("watch", "--report")
    assert code == 0 and "3 clients decided" in shown and "NOT JUDGED" in shown and "page: " in shown
    outcomes = tmp_path / "outcomes.csv"
    outcomes.write_text(f"decision,defaulted\n{known[0].id},1\nunknown,0\n")
    shown, code = typed("outcomes", "add", str(outcomes))
    assert code == 1 and "unknown" in shown
    assert typed("overrides")[1] == 0 and "No officer overrode the model" in typed("overrides")[0]
    assert "name a version" in typed("shadow")[0]
    assert "version 2 answered none of the 3 decisions of these days" in typed("shadow", "2")[0]


def test_a_shadow_counts_at_the_gates(typed, promoted: Place):
    log = DecisionLog(promoted.settings)
    known = decide_and_record(Champion.load(promoted.settings), [EXAMPLE_CLIENT] * 4, "test", log)
    refused = next(line.event for line in read_ledger(promoted.settings) if line.event.name == "refused")
    model = {"version": refused.version, "digest": "0" * 64}
    for one in known:  # the champion accepts; the challenger would have refused, and believes it is right
        answer = one.decision.to_dict() | {"prediction": 1, "probability": 0.9}
        entry = {"kind": "shadow", "decision": one.id, "answer": answer, "model": model, "microseconds": 30}
        log.append(entry)
    (check,) = check_shadow(promoted.settings, refused.version)
    p = known[0].decision.probability
    by_champion, by_challenger = 3000 * p - 1000 * (1 - p), 3000 * 0.9 - 1000 * 0.1
    assert by_champion < 0, "each model finds its own decisions the cheapest"
    assert check.found == pytest.approx((by_champion + by_challenger) / 2) and check.verdict == "pass"
    assert "by the mean of both models' probabilities that saves" in check.text
    assert (
        "in the shadow, on 4 of 4 requests" in check.text
        and "refused 4 that the champion accepted" in check.text
    )
    assert check_shadow(promoted.settings, 77) == []
    known = len(read_ledger(promoted.settings))
    for _ in range(
        2
    ):  # refused already, but the shadow's check is new; then the same question has the same answer
        put = promoted.promote(
            "dearer", shadow_checks=lambda version: check_shadow(promoted.settings, version)
        )
        assert put.state == "refused" and put.checks[-1].name == "shadow"
        assert len(read_ledger(promoted.settings)) == known + 1


def test_a_watch_over_enough_clients_is_a_table(typed, promoted: Place):
    log = DecisionLog(promoted.settings)
    clients = promoted.data.test.head(120).to_dict("records") * 2
    champion = Champion.load(promoted.settings)
    decide_and_record(champion, [{name: row[name] for name in champion.seen} for row in clients], "test", log)
    shown, code = typed("watch", "--report")
    assert "240 clients decided" in shown and "LIMIT_BAL" in shown and "page: " in shown
    assert "catches: of windows with as many clients" in shown
    assert code == 0 and "QUIET" in shown and "ALARM" not in shown
    moved = [{**{name: row[name] for name in champion.seen}, "LIMIT_BAL": 1_000} for row in clients]
    decide_and_record(champion, moved, "test", log)
    shown, code = typed("watch")
    assert (
        code == 1 and "480 clients decided" in shown and "ALARM" in shown and "Ask where this field" in shown
    )


def test_one_decision_is_json_and_its_id_is_on_record(typed, promoted: Place):
    shown, code = typed("predict", "--json", json.dumps(EXAMPLE_CLIENT))
    known = json.loads(shown)
    assert code == 0 and known["model_version"] == 1
    (entry,) = read_log(promoted.settings.audit_path)
    assert entry["id"] == known["id"] and entry["answer"]["probability"] == known["probability"]


def test_a_search_is_proposed_and_approved(typed, promoted: Place, monkeypatch):
    data = promoted.data
    monkeypatch.setattr(experiments, "load_run_data", lambda *_, **__: data)
    assert "nothing to propose" in typed("propose", promoted.runs["dearer"])[0], "it was refused before"
    shown, code = typed("propose", promoted.runs["cheaper"], "--why", WHY)
    assert code == 0 and "Version 3 is proposed. Next: `rumos approve 3`" in shown and "pass  saving" in shown
    assert read_champion(promoted.store).version == 1
    event = read_ledger(promoted.settings)[-1].event
    assert (event.name, event.version, event.run) == ("proposed", 3, promoted.runs["cheaper"])
    assert typed("approve", "3")[1] == 0 and read_champion(promoted.store).version == 3


def test_a_key_is_shown_once_listed_without_itself_and_revoked(typed, promoted: Place):
    assert "there are no keys" in typed("keys", "list")[0]
    shown, code = typed("keys", "add", "back-office", "--scopes", "score,override")
    token = shown.splitlines()[0]
    assert code == 0 and KeyRing(promoted.settings).find(token.encode()).scopes == ("override", "score")
    listed = typed("keys", "list")[0]
    assert "back-office" in listed and "override,score" in listed and token not in listed
    assert "revoked" not in listed
    assert typed("keys", "revoke", "back-office") == ("back-office is revoked\n", 0)
    assert "revoked" in typed("keys", "list")[0] and KeyRing(promoted.settings).find(token.encode()) is None
    assert "back-office" in typed("keys", "revoke", "back-office")[0]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("(sqlite3) database or disk is full\n[SQL]"),
    ],
)
def test_a_full_disk_is_a_sentence_and_another_failure_is_not(monkeypatch, capsys, error):
    def fail(raised):
        def app():
            raise raised

        monkeypatch.setattr(cli, "app", app)

    fail(error)
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err.startswith(
        "rumos: a disk is full: free some space and give the same command again"
    )
    fail(RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main()


def test_the_record_is_sealed_and_verified(typed, promoted: Place):
    log = DecisionLog(promoted.settings)
    known = decide_and_record(Champion.load(promoted.settings), [EXAMPLE_CLIENT] * 3, "test", log)
    shown, code = typed("audit", "verify")
    assert (
        code == 0 and "3 lines, 3 cases, 0 erased; never sealed" in shown and "all as it was written" in shown
    )
    lines = len(read_ledger(promoted.settings))
    shown, code = typed("audit", "seal")
    assert code == 0 and shown == (
        f"line {lines + 1} of the ledger: record sealed: 1 files and folders since the seal before\n"
    )
    assert typed("audit", "seal") == ("nothing grew since the last seal\n", 0)
    assert "sealed up to " in typed("audit", "verify")[0]
    (path,) = list_days(promoted.settings.audit_path)
    path.write_bytes(path.read_bytes().replace(b'"PAY_0":0', b'"PAY_0":1', 1))
    shown, code = typed("audit", "verify")
    assert code == 1 and "1 FAULTS" in shown
    assert f"FAULT {path.name}, line 1: does not hold the values that were written" in shown
    assert typed("replay", known[1].id)[1] == 0


def test_retention_is_shown_and_nothing_is_taken(typed, promoted: Place, monkeypatch):
    assert typed("audit", "retention") == ("[audit] keep_days is 0: nothing is ever removed\n", 0)
    monkeypatch.setenv("RUMOS_AUDIT_KEEP_DAYS", "30")
    assert "30 days are kept, 30 at least: nothing would be removed today" in typed("audit", "retention")[0]
    for day in ("20260101", "20260401"):
        promoted.settings.audit_path.mkdir(exist_ok=True)
        (promoted.settings.audit_path / f"{day}-0a1b2c3d.jsonl").write_bytes(b'{"kind":"decision"}\n')
    shown, code = typed("audit", "retention")
    assert code == 0 and "1 files and folders of 20260101 to 20260101 would be removed, 1 cases" in shown
    assert len(list_days(promoted.settings.audit_path)) == 2
    monkeypatch.setenv("RUMOS_AUDIT_KEEP_DAYS", "29")
    assert "the bank keeps at least 30 days" in typed("audit", "retention")[0]


def test_a_change_of_keys_seals_first(typed, promoted: Place):
    log = DecisionLog(promoted.settings)
    decide_and_record(Champion.load(promoted.settings), EXAMPLE_CLIENT, "test", log)
    assert typed("ledger", "rotate")[1] == 0
    assert [line.event.name for line in read_ledger(promoted.settings)][-2:] == [
        "record sealed",
        "keys changed",
    ]
    assert typed("audit", "verify")[1] == 0


def test_a_batch_seals_the_record_once_a_day(typed, promoted: Place, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "_LOOKED", {})
    names = list(EXAMPLE_CLIENT)
    (tmp_path / "in.csv").write_text(
        ",".join(names) + "\n" + ",".join(str(EXAMPLE_CLIENT[name]) for name in names) + "\n"
    )
    for out in ("one.csv", "two.csv"):
        assert typed("predict", str(tmp_path / "in.csv"), str(tmp_path / out))[1] == 0
    names = [line.event.name for line in read_ledger(promoted.settings)]
    assert names.count("record sealed") == 1 and names[-1] == "record sealed"
    shown, code = typed("audit", "verify")
    assert code == 0 and "2 cases" in shown and "note" not in shown


def test_what_is_held_about_a_client_is_exported_and_erased(typed, promoted: Place, tmp_path):
    log = DecisionLog(promoted.settings)
    model = Champion.load(promoted.settings)
    known = decide_and_record(model, [EXAMPLE_CLIENT] * 2, "test", log, ["4711-A", "4712-B"])
    shown, code = typed("person", "export", "4711-A")
    assert code == 0 and [case["id"] for case in json.loads(shown)["cases"]] == [known[0].id]
    for name, part in (("client.json", known[0].id), ("client.html", "What is held about 4711-A")):
        shown, code = typed("person", "export", "4711-A", "--out", str(tmp_path / name))
        assert (shown, code) == (f"1 cases: {tmp_path / name}\n", 0)
        assert part in (tmp_path / name).read_text() and (tmp_path / name).stat().st_mode & 0o77 == 0
    assert "must end in .json or .html" in typed("person", "export", "4711-A", "--out", "x.txt")[0]
    assert typed("person", "export", "4799-Z")[1] == 1
    shown, code = typed("person", "erase", "4711-A", "--why", WHY)  # nobody answers the question
    assert code == 1 and "Erase what 1 cases hold" in shown
    assert typed("person", "export", "4711-A")[1] == 0
    assert "nothing is on record" in typed("person", "erase", "4799-Z", "--why", WHY)[0]
    shown, code = typed("person", "erase", "4711-A", "--why", "please", "--yes")
    assert code == 2 and "in your own words why this client's data are erased" in shown
    shown, code = typed("person", "erase", "4711-A", "--why", WHY, "--yes")
    assert code == 0 and shown.startswith("erased: 1 lines and 0 files of parts; line ")
    assert typed("person", "export", "4711-A")[1] == 1 and typed("person", "export", "4712-B")[1] == 0
    assert typed("audit", "verify")[1] == 0
    shown, code = typed("replay", known[0].id)
    assert code == 0 and "1 erased" in shown
    assert typed("person", "finish") == ("every erasure is complete\n", 0)
    assert f"person erased: {WHY}" in typed("history")[0]
