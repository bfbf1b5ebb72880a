"The auditors' page: from executed cells only, and never with an empty section."

import html
import json
import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from stores import lines_from, settings_for

from rumos_bank.documents import typeset
from rumos_bank.documents.duties import TEXTS
from rumos_bank.documents.oversight import find_open_points, find_warnings, list_monitoring
from rumos_bank.governance.events import DataChanged
from rumos_bank.governance.findings import close_finding, raise_finding
from rumos_bank.governance.ledger import append_event, read_ledger, rotate_key, verify_file
from rumos_bank.ground.errors import PackageError, ParameterError, PipelineError, StoreError
from rumos_bank.operations import dossier
from rumos_bank.operations.dossier import PDF, QUESTIONS, SECTIONS, collect_blocks

KNOWN = ("gates", "approval", "reproduce", "oversight", "duties")  # not from notebooks
FACTS = dict.fromkeys(
    [
        "pipeline_run",
        "profile",
        "source",
        "fingerprint",
        "commit",
        "dirty",
        "library",
        "lock",
        "python",
        "cores",
        "chosen_run",
    ],
    "x",
) | {"twin": False}


def describe_approval(events: list[dict], version: int) -> list[str]:
    return dossier.describe_approval(lines_from(events), version)


def describe_gates(events: list[dict], version: int) -> list[str]:
    return dossier.describe_gates(lines_from(events), version)


def write_dossier(folder: Path, notebooks: list[str], facts: dict, events: list[dict], version: int) -> Path:
    settings = settings_for(folder / "store")
    return dossier.write_dossier(folder, notebooks, facts, lines_from(events), version, settings)


EVENTS = [
    {"number": 1, "event": "intent", "version": 1, "files": {"model.skops": "a" * 64}},
    {
        "number": 2,
        "event": "promoted",
        "intent": 1,
        "version": 1,
        "family": "SVC",
        "when": "2026-11-30T12:00:00+00:00",
        "who": "me",
    }
    | {"reason": "<b>cheap</b>", "run": "r"},
]


def output(**data: str) -> dict:
    return {
        "output_type": "display_data",
        "data": {kind.replace("_", "/"): text for kind, text in data.items()},
    }


def write_notebook(path, *cells: tuple[str, list]) -> None:
    made = [
        {
            "cell_type": "code",
            "metadata": {"tags": [f"dossier-{key}"]},
            "source": ["secret()"],
            "outputs": outputs,
        }
        for key, outputs in cells
    ]
    path.write_text(json.dumps({"cells": made}))


@pytest.fixture
def folder(tmp_path):
    keys = [section.key for section in SECTIONS if section.key not in KNOWN]
    keys += [f"question-{number}" for number in range(1, len(QUESTIONS) + 1)]
    write_notebook(tmp_path / "audit.ipynb", *((key, [output(text_markdown=f"about {key}")]) for key in keys))
    return tmp_path


def test_every_section_names_its_source(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS, version=1).read_text()
    for section in SECTIONS:
        assert f'<section id="{section.key}">' in page and f'href="#{section.key}"' in page
    assert page.count("Source: notebook audit") == len(SECTIONS) - len(KNOWN)
    assert "secret()" not in page and "a" * 64 in page
    assert "&lt;b&gt;cheap" in page and "TWIN" not in page


def test_a_page_about_synthetic_clients_states_it(folder):
    assert "TWIN" in write_dossier(folder, ["audit"], FACTS | {"twin": True}, EVENTS, version=1).read_text()


@pytest.mark.parametrize(
    "missing",
    [section.key for section in SECTIONS if section.key not in ("gates", "reproduce", "oversight", "duties")],
)
def test_an_empty_section_fails(folder, missing):
    cells = json.loads((folder / "audit.ipynb").read_text())["cells"]
    kept = [cell for cell in cells if cell["metadata"]["tags"] != [f"dossier-{missing}"]]
    (folder / "audit.ipynb").write_text(json.dumps({"cells": kept}))
    title = next(section.title for section in SECTIONS if section.key == missing)
    with pytest.raises(PipelineError, match=f"'{title}' would be empty.*dossier-{missing}"):
        write_dossier(folder, ["audit"], FACTS, [] if missing == "approval" else EVENTS, version=1)
    assert not (folder / "dossier.html").exists()


def test_a_cell_without_output_does_not_fill_a_section(folder):
    write_notebook(folder / "compare.ipynb", ("data", []), ("rule", [output(text_plain="")]))
    assert collect_blocks(folder / "compare.ipynb", "data") == []


def test_a_failed_cell_has_no_place(folder):
    failed = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    write_notebook(folder / "compare.ipynb", ("data", [failed]))
    with pytest.raises(PipelineError, match="ValueError: no"):
        write_dossier(folder, ["audit", "compare"], FACTS, EVENTS, version=1)


def test_pictures_have_alternative_texts(folder):
    picture = output(image_png="aGk=") | {"metadata": {"image/png": {"alt": 'a "curve"'}}}
    write_notebook(folder / "compare.ipynb", ("data", [picture, output(image_png="aGk=")]))
    first, second = collect_blocks(folder / "compare.ipynb", "data", "The data")
    assert 'alt="a &#34;curve&#34;"' in first and 'alt="The data"' in second


def test_a_version_that_the_ledger_does_not_know_has_no_approval():
    assert describe_approval([], 1) == "" == describe_approval(EVENTS, 2)


CHECKS = [
    {"name": "saving", "found": 12.8, "limit": 1, "verdict": "pass", "text": "saves <b>12.8</b> €"},
    {"name": "fairness", "found": None, "limit": 0.02, "verdict": "warn", "text": "nothing to compare"},
    {"name": "refit", "found": 0.5, "limit": 0, "verdict": "fail", "text": "half of them change"},
]


def with_gates(**facts: object) -> list[dict]:
    return [EVENTS[0] | facts, EVENTS[1]]


def test_gates_are_shown_in_words_and_colour(folder):
    page = write_dossier(folder, ["audit"], FACTS, with_gates(gates=CHECKS), version=1).read_text()
    for verdict in ("pass", "warn", "fail"):
        assert f'<td class="{verdict}">{verdict}</td>' in page and f".{verdict} {{ color: " in page
    assert (
        "saves &lt;b&gt;12.8" in page
        and "<td>12.8</td><td>1</td>" in page
        and "<td>–</td><td>0.02</td>" in page
    )
    assert 'class="overruled"' not in page


def test_an_overruled_gate_is_red_and_names_who_and_why():
    signed = {"who": "A. <b>", "reason": "one < two", "checks": ["refit"]}
    warning, table = describe_gates(with_gates(gates=CHECKS, overruled=signed), 1).split("\n", 1)
    assert (
        warning == '<p class="overruled">Overruled by A. &lt;b&gt;: refit. Reason given: “one &lt; two”</p>'
    )
    assert '<td class="fail">fail, overruled</td>' in table and table.count("overruled") == 1


def test_a_champion_from_before_the_gates_is_marked(folder):
    assert describe_gates([], 1) == "" == describe_gates(EVENTS, 2)
    shown = describe_gates(EVENTS, 1)
    assert "holds verdicts of gates" in shown
    assert shown in write_dossier(folder, ["audit"], FACTS, EVENTS, version=1).read_text()


def test_the_gates_shown_are_those_of_the_last_promotion():
    earlier = [line | {"number": line["number"] + 2} for line in with_gates(gates=CHECKS[:1])]
    earlier[1]["intent"] = 3
    table = describe_gates([*with_gates(gates=CHECKS), *earlier], 1)
    assert "saving" in table and "refit" not in table


SENTENCES = {
    "proposed": "proposed it, and it waits for approval (`rumos approve 2`); version 1 is the champion.",
    "refused": "The gates refused it; version 1 is the champion.",
    "rejected": "A. &lt;b&gt; rejected it; version 1 is the champion.",
}


@pytest.mark.parametrize("event", SENTENCES)
def test_a_version_that_is_not_the_champion_is_not_described_as_the_champion(event):
    line = {"number": 3, "event": event, "version": 2, "who": "A. <b>", "gates": CHECKS[2:], "files": {}}
    events = [*with_gates(gates=CHECKS), line | {"event": "refused"}, line | {"number": 4}]
    assert SENTENCES[event] in describe_approval(events, 2)
    table = describe_gates(events, 2)
    assert "refit" in table and "saving" not in table
    assert "there is no champion" in describe_approval([line], 2)


def test_a_rollback_names_its_author():
    events = [
        *EVENTS,
        EVENTS[0] | {"number": 3},
        EVENTS[1] | {"number": 4, "event": "rolled back", "intent": 3},
    ]
    assert "me rolled back to it" in describe_approval(events, 1)
    assert "It passed the gates" in describe_approval(EVENTS, 1)
    approved = [EVENTS[0] | {"approved_by": "an officer"}, EVENTS[1]]
    assert "an officer approved it" in describe_approval(approved, 1)


# the page as a supervisor reads it


def faults_of(page: str) -> list[str]:
    "Names of the code and cells that were cut, in the words of a page; what is marked as code is not meant."
    body = page[page.index("<body") :]
    body = re.sub(r"<(code|pre)[^>]*>.*?</\1>|<svg.*?</svg>", " ", body, flags=re.DOTALL)
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", body, flags=re.DOTALL)
    words = html.unescape(re.sub(r"<[^>]+>", " ", body))
    names = re.findall(r"(?<![\w/.-])[A-Za-z]+\d*(?:_[A-Za-z0-9]+)+(?![\w/]|\.\w)", words)
    cut = [cell for cell in cells if cell.rstrip().endswith("...")]
    return names + cut + re.findall("\N{PILCROW SIGN}|\\{'", words)


def test_the_check_of_faults_finds_faults():
    page = "<body><td>ece_by_chance_95</td><td>refused: 16...</td><td>{'depth': 4}</td><code>max_depth</code></body>"
    assert faults_of(page) == ["ece_by_chance_95", "refused: 16...", "{'"]


def test_names_of_the_code_and_counting_indexes_are_left_out(folder):
    table = (
        '<table border="1" class="dataframe"><thead><tr><th></th><th>family</th></tr></thead><tbody>'
        "<tr><th>0</th><td>Random_forest</td></tr><tr><th>1</th><td>logistic_reg</td></tr></tbody></table>"
    )
    said = "## Known limits\n\n#### Of PAY_0\n\nWhat `PAY_0` holds, and LIMIT_BAL."
    write_notebook(
        folder / "compare.ipynb",
        ("limits", [output(text_markdown=said)]),
        ("data", [output(text_html=table)]),
    )
    page = write_dossier(folder, ["audit", "compare"], FACTS, EVENTS, version=1).read_text()
    assert faults_of(page) == [] and "<th>0</th>" not in page
    assert "<td>random forest" in page.lower() and "<code>PAY_0</code>" in page and "credit limit" in page
    limits = page[page.index('<section id="limits">') :].split("</section>")[0]
    assert limits.count("Known limits") == 1, "a heading that repeats the section's title is left out"
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


def test_it_begins_with_a_summary_and_answers_the_six_questions(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS, version=1).read_text()
    summary = page[page.index('<section id="summary">') : page.index('<section id="contents"')]
    for number, question in enumerate(QUESTIONS, start=1):
        assert question in summary and f"bout question-{number}" in summary
    assert "Open points" in summary and "<code>owner</code>" in summary
    assert "<h2>1. What it is for</h2>" in page


def test_a_question_without_an_answer_fails(folder):
    cells = json.loads((folder / "audit.ipynb").read_text())["cells"]
    kept = [cell for cell in cells if cell["metadata"]["tags"] != ["dossier-question-4"]]
    (folder / "audit.ipynb").write_text(json.dumps({"cells": kept}))
    with pytest.raises(PipelineError, match=r"4\. What matters most.*dossier-question-4"):
        write_dossier(folder, ["audit"], FACTS, EVENTS, version=1)


def test_what_is_not_covered_is_said_so(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS, version=1).read_text()
    keys = {section.key for section in SECTIONS}
    uncovered = sum(not set(duty.keys) & keys for duties in TEXTS.values() for duty in duties)
    assert uncovered > 5 and page.count("<strong>not covered</strong>") == uncovered


# governance


def test_a_warning_names_who_accepted_it():
    warning = CHECKS[1]
    by_pipeline = [
        EVENTS[0] | {"gates": [warning], "who": "robot", "when": "2026-11-30"},
        EVENTS[1] | {"who": "robot"},
    ]
    (found,) = find_warnings(lines_from(by_pipeline), 1)
    assert found.who == "robot" and "nobody had to read it" in found.how
    by_person = [by_pipeline[0] | {"approved_by": "A. Officer"}, by_pipeline[1]]
    (found,) = find_warnings(lines_from(by_person), 1)
    assert found.who == "A. Officer" and "approved" in found.how
    assert find_warnings(lines_from(by_pipeline[:1]), 1)[0].who == "", "it was not promoted"


def test_open_points_disappear_when_they_are_settled(tmp_path):
    bare = settings_for(tmp_path / "store")
    named = settings_for(
        tmp_path / "store",
        RUMOS_INVENTORY_OWNER="head of cards",
        RUMOS_INVENTORY_VALIDATOR="model validation",
        RUMOS_INVENTORY_MONITOR="risk control",
        RUMOS_INVENTORY_TIER="2",
        RUMOS_INVENTORY_REVIEW_MONTHS="12",
        RUMOS_LEDGER_TWO_PEOPLE="true",
    )
    assert len(find_open_points(bare, [], 1, "full", is_twin=False)) == 2
    assert find_open_points(named, [], 1, "full", is_twin=False) == []


def test_the_plan_of_monitoring_follows_the_settings(tmp_path):
    settings = settings_for(tmp_path / "store", RUMOS_WATCH_DAYS="3", RUMOS_CASES_OUTCOME_DAYS="77")
    told = str(list_monitoring(settings))
    assert "a window of 3 days" in told and "judged 77 days after" in told


def test_findings_are_raised_closed_and_shown(folder):
    settings = settings_for(folder / "store")
    settings.store_path.mkdir()
    raise_finding(
        settings, "nobody asks why the newest bill is higher", "high", "model team", "2020-01-31", 1
    )
    line = raise_finding(settings, "the source of the labels is unknown", "low", "data team", "2999-01-31")
    close_finding(settings, line.number, "the bank named the source in writing")
    with pytest.raises(ParameterError, match="open are: 1"):
        close_finding(settings, 9, "there is no such finding to be closed")
    events = [*lines_from(EVENTS), *read_ledger(settings)]
    page = dossier.write_dossier(folder, ["audit"], FACTS, events, 1, settings).read_text()
    assert "nobody asks why" in page and "open, past its day" in page and "closed by" in page
    assert "1 findings of reviews are open" in page


# signature and PDF


@pytest.fixture
def signed(folder):
    settings = settings_for(folder / "store")
    settings.store_path.mkdir()
    append_event(settings, DataChanged(fingerprint="0" * 64, twin=True, clients=1))
    dossier.write_dossier(folder, ["audit"], FACTS, lines_from(EVENTS), 1, settings)
    return settings


@pytest.mark.parametrize("name", ["dossier.html", PDF])
def test_a_changed_byte_is_found(signed, folder, name):
    page = folder / name
    assert verify_file(signed, page).file == name
    rotate_key(signed)
    assert verify_file(signed, page).who, "the key of before is still trusted"
    page.write_bytes(page.read_bytes()[:-2] + b"  ")
    with pytest.raises(StoreError, match="was changed after it was signed"):
        verify_file(signed, page)


def test_another_key_and_a_forged_time_are_found(signed, folder, tmp_path):
    page = folder / "dossier.html"
    other = settings_for(tmp_path / "elsewhere")
    other.store_path.mkdir()
    append_event(other, DataChanged(fingerprint="0" * 64, twin=True, clients=1))
    with pytest.raises(StoreError, match="none of this ledger's"):
        verify_file(other, page)
    beside = folder / "dossier.html.sig"
    facts = json.loads(beside.read_text())
    beside.write_text(json.dumps(facts | {"when": "2020-01-01T00:00:00+00:00"}))
    with pytest.raises(StoreError, match="was changed after it was signed"):
        verify_file(signed, page)
    beside.unlink()
    with pytest.raises(StoreError, match="is not signed"):
        verify_file(signed, page)


def test_without_a_key_the_page_says_that_it_is_not_signed(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS, version=1)
    assert "This file is not signed" in page.read_text() and not (folder / "dossier.html.sig").exists()


def test_without_typst_there_is_the_page_alone(folder, monkeypatch):
    def lack(*_: object, **__: object) -> None:
        raise PackageError("no typst")

    monkeypatch.setattr(dossier, "write_pdf", lack)
    write_dossier(folder, ["audit"], FACTS, EVENTS, version=1)
    assert not (folder / PDF).exists()


def test_the_pdf_is_of_the_same_blocks(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS, version=1).read_text()
    blocks = typeset.read_blocks(page)
    assert sum(block.kind == "h2" for block in blocks) == len(SECTIONS) + 2
    pdf = (folder / PDF).read_bytes()
    assert pdf.startswith(b"%PDF") and b"/StructTreeRoot" in pdf
    assert typeset.write_pdf(page, "T", date(2026, 1, 1)) == typeset.write_pdf(page, "T", date(2026, 1, 1))
