"The pages, taken apart: commands, links and blocks of code."

import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MADE = ROOT / "docs" / "reference"  # the pages that `make docs` makes: they exist in the built site only
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
RUN, LISTED = "sh", "shell"  # blocks for a terminal that a test runs, and those that it cannot run
BLOCK = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
BETWEEN = {"|", "||", "&&", ";", "&"}


def find_blocks(text: str, *languages: str) -> list[str]:
    "Return the fenced blocks of these languages."
    return [textwrap.dedent(code) for _, language, code in BLOCK.findall(text) if language in languages]


def find_calls(line: str) -> Iterator[list[str]]:
    "Yield each call of `rumos` or `make` in a line for a shell, as words, without the variables before it."
    is_typed = "`" not in line and re.search(
        r"\b(rumos|make)\b", line
    )  # a quoted message may hold an apostrophe
    words = shlex.split(line, comments=True) if is_typed else []
    call: list[str] = []
    for word in [*words, ";"]:
        if word in BETWEEN:
            if call and call[0] in ("rumos", "make"):
                yield call
            call = []
        elif call or not re.fullmatch(r"\w+=.*", word, re.DOTALL):
            call.append(word)


def find_whole_calls(text: str) -> list[list[str]]:
    "Return the calls in blocks for a shell: to be typed as they are."
    return [
        call
        for block in find_blocks(text, RUN, LISTED)
        for line in block.replace("\\\n", " ").splitlines()
        for call in find_calls(line)
    ]


def find_named_calls(text: str) -> list[list[str]]:
    "Return the calls in the middle of a sentence, where arguments may be left out."
    spans = SPAN.findall(BLOCK.sub("", text))
    return [call for span in spans for call in find_calls(span.replace("\\|", "|"))]


def find_links(text: str) -> list[str]:
    "Return the targets of links and pictures inside the project."
    prose = SPAN.sub("", BLOCK.sub("", text))
    found = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"(?:src|href)=\"([^\"]+)\"", prose)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@cache
def find_anchors(path: Path) -> set[str]:
    "Return what can follow # in a link to this page or notebook."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(
            "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"
        )
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def find_broken_links(page: Path) -> list[str]:
    "Return a page's links to a file or a heading that does not exist in a clone."
    broken = []
    for target in find_links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        in_site_only = path.is_relative_to(MADE) and not page.is_relative_to(MADE)
        if in_site_only or not path.exists() or (anchor and anchor not in find_anchors(path)):
            broken.append(target)
    return broken


def find_fault(call: list[str], command: Any, targets: set[str], whole: bool) -> str:
    "Return why this call would be refused before it begins; empty if it would not."
    if call[0] == "make":
        asked = [word for word in call[1:] if "=" not in word and not word.startswith("-")]
        return ", ".join(f"no target {word}" for word in asked if word not in targets)
    words = call[1:]
    while words and getattr(command, "commands", None):
        if words[0] not in command.commands:
            return "" if words[0] in ("--help", "--version") else f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    if getattr(command, "commands", None):
        return ""
    try:
        command.make_context(call[1] if call[1:] else "rumos", words)
    except Exception as error:
        is_sentence = not whole and type(error).__name__ == "MissingParameter"
        return "" if is_sentence else f"{type(error).__name__}: {error}"
    return ""
