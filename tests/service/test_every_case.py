"One client through each of the six interfaces: found, explained, replayed, overridden, answered, written to, exported, erased, verified."

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from processes import ROOT, RUMOS
from services import serve, settings_of, variables_of

from rumos_bank.data.contract import LATE_CLIENT
from rumos_bank.desk.state import open_desk
from rumos_bank.ground.errors import DataError
from rumos_bank.ground.settings import Settings
from rumos_bank.monitoring.outcomes import add_outcomes, read_outcomes
from rumos_bank.serving.audit import seal_record, verify_record
from rumos_bank.serving.batch import predict_file
from rumos_bank.serving.cases import find_by_reference, find_case, list_cases, record_override
from rumos_bank.serving.champion import Champion
from rumos_bank.serving.decision_log import INTERFACES, DecisionLog, decide_and_record
from rumos_bank.serving.letters import find_facts, record_letter, write_letter, write_letter_pdf
from rumos_bank.serving.person import erase_person, export_person
from rumos_bank.serving.replay import replay, view_case

REFERENCE = "Konto 4711-Ä"
BANK = {
    "RUMOS_LETTERS_BANK": "Banco Exemplo",
    "RUMOS_LETTERS_ADDRESS": "Rua do Exemplo 1, Lisboa",
    "RUMOS_LETTERS_CONTACT": "revisao@banco.example",
    "RUMOS_LETTERS_DATA_PROTECTION": "epd@banco.example",
    "RUMOS_LETTERS_AUTHORITY": "CNPD, www.cnpd.pt",
}


def write_clients(path: Path) -> Path:
    "The client between two others."
    rows = [{"account": name, **LATE_CLIENT} for name in ("first", REFERENCE, "last")]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def ask_library(settings: Settings, folder: Path) -> str:
    with closing(DecisionLog(settings)) as log:
        return decide_and_record(Champion.load(settings), LATE_CLIENT, "test", log, references=REFERENCE).id


def ask_command_line(settings: Settings, folder: Path) -> str:
    environment = variables_of(settings.store_path, PYTHONPATH=str(ROOT), PATH="/usr/bin:/bin")
    words = ["predict", "--json", json.dumps(LATE_CLIENT | {"client_ref": REFERENCE})]
    return json.loads(subprocess.check_output([*RUMOS, *words], env=environment, text=True))["id"]


def ask_api(settings: Settings, folder: Path) -> str:
    with serve(settings.store_path, folder) as service:
        return service.post("/decisions", LATE_CLIENT | {"client_ref": REFERENCE}).json["id"]


def ask_desk(settings: Settings, folder: Path) -> str:
    desk = open_desk(settings)
    desk.fill(LATE_CLIENT, REFERENCE)
    return desk.record().id


def ask_file(settings: Settings, folder: Path) -> str:
    source = write_clients(folder / "clients.csv")
    done = predict_file(source, folder / "out.csv", settings, references="account")
    return str(pd.read_csv(done.output)["decision_id"][1])


def ask_upload(settings: Settings, folder: Path) -> str:
    desk = open_desk(settings)
    desk.take_file("clients.csv", write_clients(folder / "clients.csv").read_bytes())
    desk.choose_references("account")
    return str(desk.decide_file().answers["decision_id"].iloc[1])


WAYS: dict[str, Callable[[Settings, Path], str]] = {
    "library": ask_library,
    "command line": ask_command_line,
    "api": ask_api,
    "desk": ask_desk,
    "file": ask_file,
    "upload": ask_upload,
}


def test_no_interface_is_forgotten():
    assert tuple(WAYS) == INTERFACES


@pytest.mark.parametrize("interface", WAYS)
def test_one_client_from_the_decision_to_the_erasure(interface, store, tmp_path):
    settings = settings_of(store, **BANK)
    case_id = WAYS[interface](settings, tmp_path)
    # found
    assert find_by_reference(settings, f" {REFERENCE} ") == [case_id] and not find_by_reference(settings, "x")
    case = find_case(settings, case_id)
    assert case.made.interface == interface and (case.final.prediction, case.final.by) == (1, "model")
    assert {
        name: case.made.input[name] for name in Champion.load(settings).seen
    }.items() <= LATE_CLIENT.items()
    assert case_id in [each.id for each in list_cases(settings).cases]
    # explained and replayed
    view = view_case(settings, case_id)
    assert view.reasons[0].startswith("Refused") and len(view.reasons) > 2
    assert replay(settings, case_id).outcome == view.replayed.outcome == "identical"
    # overridden: the final decision changes, the model's stays beside it
    with closing(DecisionLog(settings)) as log:
        record_override(settings, log, case_id, 0, "A. Officer", "the employer guarantees the loan")
        final = find_case(settings, case_id).final
        assert (final.prediction, final.by, final.how) == (0, "A. Officer", "override")
        assert find_case(settings, case_id).made.answer["prediction"] == 1
        # answered: what became of the client
        (tmp_path / "outcomes.csv").write_text(f"decision,defaulted\n{case_id},1\n")
        assert add_outcomes(settings, tmp_path / "outcomes.csv").added == 1
        assert read_outcomes(settings) == {case_id: 1}
        # written to
        facts = find_facts(settings, case_id, REFERENCE)
        letter = write_letter(facts, "pt", settings)
        assert case_id in letter and REFERENCE in letter and not facts.refused and facts.by_person
        assert write_letter_pdf(facts, "en", settings).startswith(b"%PDF")
        record_letter(log, facts, "pt", letter.encode(), "test")
    assert [each["kind"] for each in find_case(settings, case_id).events] == ["override", "outcome", "letter"]
    # exported
    held = json.dumps(export_person(settings, REFERENCE), ensure_ascii=False)
    assert case_id in held and "the employer guarantees the loan" in held
    # verified, erased, and still verifiable
    seal_record(settings)
    assert verify_record(settings).faults == ()
    erase_person(settings, REFERENCE, "the client asked for it in writing")
    erased = find_case(settings, case_id)
    assert erased.erased and erased.final == final and find_by_reference(settings, REFERENCE) == []
    assert verify_record(settings).faults == ()
    assert replay(settings, case_id).outcome == "erased"
    with pytest.raises(DataError, match="erased"):
        find_facts(settings, case_id)
    left = b"".join(path.read_bytes() for path in settings.audit_path.rglob("*") if path.is_file())
    assert REFERENCE.encode() not in left and b"guarantees" not in left
