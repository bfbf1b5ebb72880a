"The auditors' page: from executed cells only, and never with an empty section."

import json
from pathlib import Path

import pytest
from stores import lines_from

from rumos_bank.ground.errors import PipelineError
from rumos_bank.operations import dossier
from rumos_bank.operations.dossier import SECTIONS, collect_blocks

KNOWN = ("gates", "approval", "reproduce")  # not from notebooks
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
    return dossier.write_dossier(folder, notebooks, facts, lines_from(events), version)


EVENTS = [
    {"number": 1, "event": "intent", "version": 1, "files": {"model.skops": "a" * 64}},
    {"number": 2, "event": "promoted", "intent": 1, "version": 1, "family": "SVC", "when": "now", "who": "me"}
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
    write_notebook(tmp_path / "audit.ipynb", *((key, [output(text_markdown=f"about {key}")]) for key in keys))
    return tmp_path


def test_every_section_names_its_source(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS, version=1).read_text()
    for section in SECTIONS:
        assert f'<section id="{section.key}">' in page and f'href="#{section.key}"' in page
    assert page.count('from <a href="audit.html">') == len(SECTIONS) - len(KNOWN)
    assert "secret()" not in page and "a" * 64 in page
    assert "&lt;b&gt;cheap" in page and "TWIN" not in page


def test_a_page_about_synthetic_clients_states_it(folder):
    assert "TWIN" in write_dossier(folder, ["audit"], FACTS | {"twin": True}, EVENTS, version=1).read_text()


@pytest.mark.parametrize(
    "missing", [section.key for section in SECTIONS if section.key not in ("gates", "reproduce")]
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
