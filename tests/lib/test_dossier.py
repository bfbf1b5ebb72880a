"The auditors' page: from executed cells only, and never with an empty section."

import json

import pytest

from rumos_bank.dossier import SECTIONS, collect_blocks, tell_approval, write_dossier
from rumos_bank.errors import RoadError

FACTS = dict.fromkeys(
    ("road", "profile", "source", "fingerprint", "commit", "dirty", "library", "lock", "python", "cores"), "x"
) | {"twin": False}
EVENTS = [
    {"number": 1, "event": "intent", "files": {"model.skops": "a" * 64}},
    {"number": 2, "event": "crowned", "intent": 1, "version": 1, "family": "SVC", "when": "now", "who": "me"}
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
    keys = [section.key for section in SECTIONS if section.key not in ("approval", "reproduce")]
    write_notebook(tmp_path / "audit.ipynb", *((key, [output(text_markdown=f"about {key}")]) for key in keys))
    return tmp_path


def test_every_section_says_where_it_is_from(folder):
    page = write_dossier(folder, ["audit"], FACTS, EVENTS).read_text()
    for section in SECTIONS:
        assert f'<section id="{section.key}">' in page and f'href="#{section.key}"' in page
    assert page.count('from <a href="audit.html">') == len(SECTIONS) - 2
    assert "secret()" not in page and "a" * 64 in page
    assert "&lt;b&gt;cheap" in page and "TWIN" not in page


def test_twins_are_said(folder):
    assert "TWIN" in write_dossier(folder, ["audit"], FACTS | {"twin": True}, EVENTS).read_text()


@pytest.mark.parametrize("missing", [section.key for section in SECTIONS if section.key != "reproduce"])
def test_an_empty_section_fails(folder, missing):
    cells = json.loads((folder / "audit.ipynb").read_text())["cells"]
    kept = [cell for cell in cells if cell["metadata"]["tags"] != [f"dossier-{missing}"]]
    (folder / "audit.ipynb").write_text(json.dumps({"cells": kept}))
    title = next(section.title for section in SECTIONS if section.key == missing)
    with pytest.raises(RoadError, match=f"'{title}' would be empty.*dossier-{missing}"):
        write_dossier(folder, ["audit"], FACTS, [] if missing == "approval" else EVENTS)
    assert not (folder / "dossier.html").exists()


def test_a_cell_without_output_does_not_fill_a_section(folder):
    write_notebook(folder / "compare.ipynb", ("data", []), ("rule", [output(text_plain="")]))
    assert collect_blocks(folder / "compare.ipynb", "data") == []


def test_a_failed_cell_has_no_place(folder):
    failed = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    write_notebook(folder / "compare.ipynb", ("data", [failed]))
    with pytest.raises(RoadError, match="ValueError: no"):
        write_dossier(folder, ["audit", "compare"], FACTS, EVENTS)


def test_pictures_have_alternative_texts(folder):
    picture = output(image_png="aGk=") | {"metadata": {"image/png": {"alt": 'a "curve"'}}}
    write_notebook(folder / "compare.ipynb", ("data", [picture, output(image_png="aGk=")]))
    first, second = collect_blocks(folder / "compare.ipynb", "data", "The data")
    assert 'alt="a &quot;curve&quot;"' in first and 'alt="The data"' in second


def test_nobody_crowned_is_no_approval():
    assert tell_approval([]) == [] == tell_approval(EVENTS[:1])
