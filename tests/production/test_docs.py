"The documentation: every block runs as pasted, every command exists, every link leads somewhere, and the site needs no network."

import ast
import configparser
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from lacking import skip_without
from pages import (
    LISTED,
    PAGES,
    ROOT,
    RUN,
    find_anchors,
    find_blocks,
    find_broken_links,
    find_calls,
    find_fault,
    find_links,
    find_named_calls,
    find_whole_calls,
)
from pasting import make_bank, paste, write_script
from stores import Place

from rumos_bank.ground.settings import read_settings
from rumos_bank.operations.cli import app

sys.path.append(str(ROOT / "docs"))

COMMAND = typer.main.get_command(app)
(TARGETS,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
NEEDED = ("sphinx", "furo", "myst_nb", "latex2mathml")
CHAPTERS = sorted((ROOT / "nbs" / "lib").glob("*/*.ipynb"))
LARGEST_README = 10_240  # bytes
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)

NOT_RUN = {  # first line of a block → why no test pastes it; its commands and options are checked all the same
    "make run PROFILE=quick": "takes minutes and then serves until Ctrl-C; tests/pipeline and tests/service do both",
    "rumos run --profile quick --families Extra_trees,Decision_tree": "needs the family that the reader adds",
    'rumos reprice --why "margins of the new tariff"': "needs other prices; tests/model/test_repricing.py has them",
    'rumos finding close 12 "the stress page of the dossier shows it, with a limit"': "needs the number that a bank's own ledger gave; tests/lib/test_dossier.py does all of it",
    "rumos run --prefer simple": "takes minutes; tests/model/test_promotion.py and test_gates.py hold the rule",
    "papermill nbs/experiments/synthetic.ipynb twin-out.ipynb -p data clients.csv -p write True": "replaces the package's own description",
    "rumos predict portfolio.parquet decided.parquet --engine dask": "starts a cluster; tests/batch/test_dask.py does",
    "RUMOS_SHADOW_VERSION=2 rumos serve api": "serves until Ctrl-C; tests/service/test_shadow.py does",
    "RUMOS_STORE_PATH=/srv/rumos/mlruns rumos ledger verify": "names a folder of another machine",
    "export BANK_NAME=bank.example REGISTRY=ghcr.io/owner/repository TAG=v1.2.3": "needs Docker",
    "bank exec -T database sh -c 'PGPASSWORD=\"$(cat /run/secrets/database_password)\" pg_dump -U mlflow -d mlflow -Fc' > mlflow.dump": "needs Docker",
    "bank up -d --wait database": "needs Docker",
    "export BANK_UID=$(id -u) BANK_GID=$(id -g)   # if your user is not number 1000": "needs Docker",
    "cosign verify ghcr.io/owner/repository/service:v1.2.3 \\": "needs a registry",
}


def fault_of(call: list[str], whole: bool = True) -> str:
    return find_fault(call, COMMAND, set(TARGETS.split()), whole)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def reference() -> Path:
    "The pages that are made from the library."
    from generate import write_reference

    write_reference(ROOT / "docs" / "reference")
    return ROOT / "docs" / "reference"


# What is pasted


@pytest.fixture(scope="session")
def bank(tmp_path_factory) -> Place:
    "A small bank with a champion and a challenger, made once; each page gets a copy."
    return make_bank(tmp_path_factory.mktemp("bank"))


PASTED = [page for page in PAGES if write_script(read(page))[1]]


@pytest.mark.parametrize("page", PASTED, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs_as_pasted_into_a_fresh_shell(page, bank, tmp_path):
    assert not (faults := paste(page, bank, tmp_path)), "\n".join(faults)


def test_a_block_that_fails_is_found(bank, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\ntrue\nls nowhere\n```\n\n```python\nprint(1)\nimport nowhere\n```\n")
    faults = paste(page, bank, tmp_path)
    assert any("ls nowhere" in fault for fault in faults[:-1]) and "No module named 'nowhere'" in faults[-1]
    assert len(faults) == 3


def test_each_block_that_is_not_run_is_listed_with_its_reason():
    first = {block.splitlines()[0] for page in PAGES for block in find_blocks(read(page), LISTED)}
    assert first == set(NOT_RUN) and all(NOT_RUN.values())
    languages = {
        language for page in PAGES for language in re.findall(r"^ *```(\S+)$", read(page), re.MULTILINE)
    }
    assert languages <= {RUN, LISTED, "python", "ini", "{toctree}"}


@each_page
def test_settings_that_are_shown_are_allowed(page, tmp_path):
    for block in find_blocks(read(page), "ini"):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read([ROOT / "settings.ini"])
        parser.read_string(block)
        with (tmp_path / "settings.ini").open("w") as file:
            parser.write(file)
        assert read_settings(tmp_path / "settings.ini", environ={})


@each_page
def test_every_command_exists_with_its_options(page):
    text = read(page)
    calls = [(call, True) for call in find_whole_calls(text)]
    calls += [(call, False) for call in find_named_calls(text)]
    faults = [f"{' '.join(call)}: {fault}" for call, whole in calls if (fault := fault_of(call, whole))]
    assert not faults


def test_commands_are_found_and_wrong_ones_are_named():
    texts = [read(page) for page in PAGES]
    assert len([call for text in texts for call in find_whole_calls(text) + find_named_calls(text)]) > 100
    assert list(find_calls("A=1 make run  # once")) == [["make", "run"]]
    assert list(find_calls("rumos gc && rumos history | tail")) == [["rumos", "gc"], ["rumos", "history"]]
    assert fault_of(["rumos", "burn"]) == "no command burn"
    assert fault_of(["rumos", "keys", "burn"]) == "no command burn"
    assert fault_of(["make", "money"]) == "no target money"
    assert "--often" in fault_of(["rumos", "watch", "--often"], whole=False)
    assert "MissingParameter" in fault_of(["rumos", "gate"])
    assert not fault_of(["rumos", "gate"], whole=False)


@each_page
def test_examples_need_no_version_or_date_that_a_new_store_lacks(page):
    for call in find_whole_calls(read(page)) + find_named_calls(read(page)):
        if call[:2] in (["rumos", name] for name in ("gate", "approve", "reject", "rollback", "shadow")):
            assert not [word for word in call[2:3] if word.isdigit() and int(word) > 2], call
        assert not [word for word in call if re.fullmatch(r"\d{8}|\d{4}-\d\d-\d\d", word)], call


# What is promised


def test_the_front_page_is_short_and_no_word_of_ours_stands_on_its_first_screen():
    page = (ROOT / "README.md").read_bytes()
    assert len(page) <= LARGEST_README
    screen = page.decode().partition("## Ask the champion")[0].lower()
    assert not re.findall(r"\b(?:ledger|gate|shadow|canary|dossier|challenger|replay)s?\b", screen)


def test_each_quoted_message_is_one_of_the_library():
    strings = [
        node.value
        for path in (ROOT / "rumos_bank").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    messages = re.findall(r"^\*\*`([^`]+)`\*\* —", read(ROOT / "docs/troubleshooting.md"), re.MULTILINE)
    foreign = {"make: *** No rule to make target", "rumos: command not found"}
    ours = [message for message in messages if message not in foreign]
    assert len(ours) >= 20 and foreign < set(messages)
    unknown = [
        message
        for message in ours
        if not all(
            any(part.strip() in string for string in strings) for part in message.split("…") if part.strip()
        )
    ]
    assert not unknown


def test_a_stranger_finds_five_rules_in_two_hops():
    page = ROOT / "docs" / "architecture.md"
    assert "docs/architecture.md" in find_links(read(ROOT / "README.md")), "the first hop"
    rows = re.findall(r"^\| ([\w ]+) \| [^|]+ \| \[[^]]+\]\((\S+)\) \| `(\w+)` \|$", read(page), re.MULTILINE)
    assert [rule for rule, *_ in rows] == ["threshold", "choice", "ledger line", "gate", "referral"]
    for rule, target, name in rows:
        chapter = (page.parent / target).read_text(encoding="utf-8")
        assert re.search(rf"def {name}\(", chapter), f"{rule}: {target} defines no {name}"


def test_a_decision_is_short_dated_and_in_the_index():
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    index = read(ROOT / "docs" / "decisions" / "index.md")
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = read(page)
        (day,) = re.findall(r"^Date: (\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
        assert "**Context.**" in text and "**Decision.**" in text and "**Price.**" in text
        assert f"]({page.name}) | {day} |" in index and index.count(f"\n{page.stem}\n") == 1
        assert len(text.splitlines()) < 30


# Where links lead


@each_page
def test_every_link_leads_somewhere(page):
    assert not find_broken_links(page)


def test_a_link_to_nowhere_or_into_the_built_site_is_found(tmp_path):
    made = f"{ROOT}/docs/reference/commands.md"
    (tmp_path / "one.md").write_text(
        f"# One\n[a](two.md) [b](#one) [c](#three) ![d](one.md#one) `[e](four.md)` [f]({made})\n"
    )
    assert find_broken_links(tmp_path / "one.md") == ["two.md", "#three", made]


def test_the_reference_lists_settings_chapters_and_public_names(reference):
    import rumos_bank

    listed = read(reference / "settings.md")
    for section, given in read_settings(environ={}).model_dump().items():
        if isinstance(given, dict):
            assert all(f"`RUMOS_{section}_{key}`".upper() in listed for key in given), section
    assert all(f"| {chapter.stem[:2]} | [" in read(reference / "chapters.md") for chapter in CHAPTERS)
    assert {name.lower() for name in rumos_bank.__all__} <= set(
        re.findall(r"\.md#(\w+)\)", read(reference / "public.md"))
    )
    assert not [page.name for page in reference.glob("*.md") if find_broken_links(page)]


def test_every_public_name_has_an_entry(reference):
    for chapter in CHAPTERS:
        module = f"{chapter.parent.name}.{chapter.stem[3:]}"
        tree = ast.parse((ROOT / "rumos_bank" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        (names,) = (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        assert {name.lower() for name in names} <= find_anchors(reference / f"{module}.md"), module


# The site


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    "Built as `make docs` builds it: a warning is an error."
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        skip_without(f"NO SITE: {', '.join(missing)} not installed. Lock the docs group: make lock")
    folder = tmp_path_factory.mktemp("docs")
    (specification,) = re.findall(
        r"-m (sphinx .*) \. _site$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    options = specification.replace("_proc/docs", str(folder / "trees")).split()
    command = [sys.executable, "-m", *options, ".", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


OUTSIDE = re.compile(
    r"<(?:script|link|img|iframe|source|video|object)\b[^>]*\b(?:src|href|data)=[\"'](?:https?:)?//[^\"']*|"
    r"(?:url\(|@import )[\"']?(?:https?:)?//[^\"')]*"
)


def test_the_site_loads_no_script_style_font_or_picture_from_another_server(site):
    pages = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > 120
    loaded = {
        (path.name, found) for path in pages for found in OUTSIDE.findall(path.read_text(encoding="utf-8"))
    }
    assert not loaded
    assert OUTSIDE.search('<script defer src="https://cdn.example/x.js">') and OUTSIDE.search(
        "url(//fonts.example/a)"
    )


def test_every_chapter_and_experiment_has_its_page_with_outputs(site):
    for notebook in [*CHAPTERS, *(ROOT / "nbs" / "experiments").glob("*.ipynb")]:
        assert (site / notebook.relative_to(ROOT)).with_suffix(".html").is_file()
    cost = (site / "nbs/lib/model/20_cost.html").read_text(encoding="utf-8")
    assert "<h1>20 Cost" in cost and "4000.0" in cost and "<math" in cost and "#| export" not in cost


async def search_site(site: Path, executable: str) -> tuple[list[str], list[str]]:
    "Return the titles that a search finds, and every address that the browser asked for."
    from playwright.async_api import async_playwright

    asked: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable)
        page = await browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        await page.goto((site / "index.html").as_uri())
        await page.wait_for_url("**/docs/index.html")
        await page.locator("input[name=q]").first.fill("calibration")
        await page.locator("input[name=q]").first.press("Enter")
        await page.wait_for_selector("ul.search li a")
        found = await page.locator("ul.search li a").all_inner_texts()
        await browser.close()
    return found, asked


def test_the_site_works_from_a_file_and_its_search_finds(site):
    from browsing import find_chromium
    from loops import run_alone

    if (executable := find_chromium()) is None:
        skip_without(
            "NO BROWSER: the search of the site was not tried. Install one with: make browser", by_root=True
        )
    found, asked = run_alone(search_site(site, executable))
    assert any("calibration" in title.lower() or re.match(r"\d\d ", title) for title in found)
    assert not [address for address in asked if not address.startswith(("file:", "data:"))]
