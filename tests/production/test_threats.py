"Each answer of the threat model exists: the chapter it links to, and the test it names."

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/threat-model.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINKS = re.findall(r"\[([^\]]+)\]\((\.\./[^)#]+)\)", TEXT)


def test_every_answer_leads_to_a_chapter_or_to_a_test_of_that_name():
    assert len(LINKS) > 50
    wrong = []
    for words, target in LINKS:
        file = (PAGE.parent / target).resolve()
        if not file.is_file():
            wrong.append(f"{target} does not exist")
        elif file.suffix == ".py":
            name = f"def test_{words.replace(' ', '_')}("
            if name not in file.read_text(encoding="utf-8"):
                wrong.append(f"{target} has no {name[4:-1]}")
        elif words.replace(" ", "_") != file.stem[3:]:
            wrong.append(f"{target} is not the chapter of {words}")
    assert not wrong


def test_all_twenty_threats_are_answered_by_something_that_can_be_tried():
    rows = dict(re.findall(r"^\| ((?:ML|API)\d+) .*?\|.*?\|(.*)\|$", TEXT, re.MULTILINE))
    assert list(rows) == [f"ML{number:02}" for number in range(1, 11)] + [
        f"API{number}" for number in range(1, 11)
    ]
    assert not [threat for threat, answer in rows.items() if "](../tests/" not in answer]


def test_what_is_open_is_stated():
    assert (
        TEXT.count("open, see below") == 2 and TEXT.partition("## What remains open")[2].count("\n- **") >= 3
    )
