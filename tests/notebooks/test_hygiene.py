"The house rules that a machine can hold: order of modules, outside packages, chapters, quiet imports, and nothing of this machine."

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pytest
from processes import clean_environment

ROOT = Path(__file__).parents[2]
LONGEST_CELL = 45  # lines of an exported cell; 30 is the aim
LEAST_PROSE = 0.3  # of a chapter's cells
WHOLE_CLASSES = {  # one idea each, written whole rather than as a chain of base classes
    "data.columnar": 70,
    "data.columns": 71,
    "data.databases": 70,
    "ground.settings": 50,
    "operations.pipeline": 62,
    "model.decision": 100,
    "model.portable": 53,
    "model.scorecard": 82,
    "documents.oversight": 47,  # the plan of monitoring, a table
    "documents.duties": 73,  # a table of a law
    "serving.case_parts": 55,
    "serving.batch": 52,
    "serving.champion": 147,
    "serving.cases": 75,
    "serving.decision_log": 78,
    "monitoring.fairness": 47,
    "monitoring.metrics": 48,
    "monitoring.monitor": 79,
    "desk.state": 192,
    "documents.typeset": 100,
    "desk.widgets": 74,
}


@dataclass(frozen=True)
class Notebook:
    "A notebook as the rules see it."

    path: Path

    @cached_property
    def cells(self) -> list[dict]:
        read = json.loads(self.path.read_text(encoding="utf-8"))["cells"]
        return [cell | {"text": "".join(cell["source"])} for cell in read]

    @cached_property
    def code(self) -> list[dict]:
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    @cached_property
    def exported(self) -> list[str]:
        return [cell["text"] for cell in self.code if cell["text"].startswith("#| export")]

    @cached_property
    def trees(self) -> list[ast.Module]:
        "The code cells, parsed; lines for the shell or for IPython are left out."
        return [ast.parse(re.sub(r"^[%!].*$", "", cell["text"], flags=re.MULTILINE)) for cell in self.code]

    def walk(self) -> Iterator[ast.AST]:
        return (node for tree in self.trees for node in ast.walk(tree))


def find_notebooks(folder: str) -> list[Notebook]:
    paths = sorted((ROOT / "nbs").glob(f"{folder}/*.ipynb"))
    return [Notebook(path) for path in paths if ".ipynb_checkpoints" not in path.parts]


LIBRARY, EXPERIMENTS, ALL = find_notebooks("lib/*"), find_notebooks("experiments"), find_notebooks("**")
PACKAGES = (
    "ground",
    "data",
    "model",
    "validation",
    "governance",
    "serving",
    "monitoring",
    "documents",
    "api",
    "desk",
    "operations",
)
LARGEST = 12  # modules of a package
MODULES = {  # by their names inside the library, such as model.search
    f"{path.parent.name}.{path.stem}": ast.parse(path.read_text())
    for path in sorted((ROOT / "rumos_bank").glob("*/[a-z]*.py"))
}
NUMBERS = {
    f"{notebook.path.parent.name}.{notebook.path.stem[3:]}": int(notebook.path.stem[:2])
    for notebook in LIBRARY
}


def module_of(notebook: "Notebook") -> str:
    return f"{notebook.path.parent.name}.{notebook.path.stem[3:]}"


def name_of(value: object) -> str:
    return value.path.stem if isinstance(value, Notebook) else str(value)


each_chapter = pytest.mark.parametrize("notebook", LIBRARY, ids=name_of)
each_experiment = pytest.mark.parametrize("notebook", EXPERIMENTS, ids=name_of)
each_notebook = pytest.mark.parametrize("notebook", ALL, ids=name_of)


def test_the_rules_find_the_notebooks():
    assert len(LIBRARY) >= 18 and len(EXPERIMENTS) >= 4 and len(ALL) > len(LIBRARY) + len(EXPERIMENTS)
    assert len(set(NUMBERS.values())) == len(LIBRARY)


# The order of modules, and outside packages


def imported_names(node: ast.AST) -> list[str]:
    "The full names that an import statement asks for."
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        if node.module == "rumos_bank":
            return [f"rumos_bank.{alias.name}" for alias in node.names]
        parts = str(node.module).split(".")
        if parts[0] == "rumos_bank" and len(parts) == 2:  # from a package: its modules
            return [f"{node.module}.{alias.name}" for alias in node.names]
        return [str(node.module)]
    return []


@each_chapter
def test_a_chapter_imports_from_lower_numbers_only(notebook):
    own = NUMBERS[module_of(notebook)]
    used = {
        name.removeprefix("rumos_bank.")
        for node in notebook.walk()
        for name in imported_names(node)
        if name.startswith("rumos_bank.")
    }
    upward = {module: NUMBERS[module] for module in used if module in NUMBERS and NUMBERS[module] >= own}
    assert not upward, f"{notebook.path.stem} may import from numbers below {own} only"


def test_packages_come_in_one_order_and_none_is_too_large():
    "A package imports from those before it: its numbers are all larger than theirs."
    numbers = {
        package: [n for name, n in NUMBERS.items() if name.startswith(f"{package}.")] for package in PACKAGES
    }
    assert sum(map(len, numbers.values())) == len(NUMBERS), "a notebook lies in no known package"
    assert all(max(before) < min(after) for before, after in pairwise(numbers.values()))
    assert all(len(modules) <= LARGEST for modules in numbers.values())


OUTSIDE = {  # an outside package and the modules that speak to it
    "mlflow": {"governance.tracking"},
    "matplotlib": {"model.plots"},
    "pooch": {"data.sources"},
    "papermill": {"operations.pipeline"},
    "fastapi": {"api.app"},
    "ipywidgets": {"desk.widgets"},
    "distributed": {"serving.cluster"},
    "cryptography": {"governance.ledger"},
    "typer": {"operations.cli"},
    "typst": {"documents.typeset", "serving.letters"},
}


def speaking(tree: ast.AST) -> Iterator[ast.AST]:
    "All nodes but those under `if TYPE_CHECKING`: an annotation imports nothing."
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from speaking(node)


@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_outside_package_is_used_by_its_own_modules_only(outside):
    users = {
        module
        for module, tree in MODULES.items()
        for node in speaking(tree)
        if any(name.split(".")[0] == outside for name in imported_names(node))
    }
    assert users <= OUTSIDE[outside]


def test_exported_imports_are_all_absolute():
    "nbdev makes imports of one line relative and leaves those of several lines; `make sync` makes all absolute."
    relative = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert not relative, "nbdev-export alone leaves some imports relative: run make sync"


def test_only_settings_reads_our_variables():
    readers = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call | ast.Subscript)
        and re.match(r"os\.(environ|getenv)\b.*RUMOS_", ast.unparse(node))
    }
    assert readers <= {"ground.settings"}


# Chapters


@each_chapter
def test_a_chapter_begins_with_its_module_title_and_subtitle(notebook):
    module = module_of(notebook)
    first, second = notebook.cells[0], notebook.cells[1]
    assert first["text"].strip() == f"#| default_exp {module}"
    assert second["cell_type"] == "markdown"
    assert re.match(r"# \S.*\n\n> \S", second["text"]), "a title, and below it a subtitle: > what it is about"


@each_chapter
def test_exported_cells_are_short(notebook):
    longest = max(
        (text for text in notebook.exported if not is_import_cell(text)), key=lambda text: text.count("\n")
    )
    lines = longest.count("\n") + 1
    allowed = WHOLE_CLASSES.get(module_of(notebook), LONGEST_CELL)
    assert lines <= allowed, f"an exported cell has {lines} lines, it begins {longest[10:90]!r}"


def is_import_cell(text: str) -> bool:
    return all(
        isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Assign) for node in ast.parse(text).body
    )


@each_chapter
def test_a_chapter_explains_and_shows_something(notebook):
    prose = sum(cell["cell_type"] == "markdown" for cell in notebook.cells)
    assert prose / len(notebook.cells) >= LEAST_PROSE, f"{prose} of {len(notebook.cells)} cells are prose"
    assert any(cell["outputs"] for cell in notebook.code), "no cell shows what it gives"


@each_notebook
def test_no_star_imports_and_no_relative_paths(notebook):
    stars = [
        node for node in notebook.walk() if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    texts = [
        node.value
        for node in notebook.walk()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not stars
    assert not [text for text in texts if re.match(r"\.\.?/", text)]


@each_notebook
def test_cells_that_are_not_run_are_not_tested(notebook):
    unmarked = [
        cell["text"]
        for cell in notebook.code
        if re.search(r"^#\|\s*eval:\s*false", cell["text"], re.MULTILINE)
        and "nbval-skip" not in cell["metadata"].get("tags", [])
    ]
    assert not unmarked, "a cell with #| eval: false bears the tag nbval-skip too"


def is_public(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def commented_lines(text: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}


SPEAKS_FOR_ITSELF = {"run_id", "family"}
OUR_CLASSES = {  # so does an argument that is an object of ours
    node.name for tree in MODULES.values() for node in tree.body if isinstance(node, ast.ClassDef)
}


@pytest.mark.parametrize(
    "notebook", [notebook for notebook in LIBRARY if notebook.path.parent.name in PACKAGES[:4]], ids=name_of
)
def test_what_is_public_is_documented(notebook):
    wanting = []
    for text in notebook.exported:
        comments = commented_lines(text)
        for node in filter(is_public, ast.parse(text).body):
            if not ast.get_docstring(node):
                wanting.append(f"{node.name} has no docstring")
            if isinstance(node, ast.FunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                wanting += [
                    f"{node.name}: {each.arg} has no comment"
                    for each in given
                    if each.arg not in SPEAKS_FOR_ITSELF
                    and ast.unparse(each.annotation or each).strip("'") not in OUR_CLASSES
                    and each.end_lineno not in comments
                ]
    assert not wanting


# Importing

HEAVY = {"mlflow", "lightgbm", "matplotlib", "papermill", "pooch", "pandera", "nbconvert", "requests"}
WATCHED_IMPORT = """
import json, os, sys
opened = []
def watch(event, given):
    if event == "open" and isinstance(given[0], str):
        writes = isinstance(given[1], str) and set(given[1]) & set("wax+")
        opened.append([os.path.abspath(given[0]), bool(writes)])
    elif event in ("socket.connect", "subprocess.Popen"):
        opened.append([event, True])
sys.addaudithook(watch)
import importlib, logging
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({"loaded": sorted(sys.modules), "opened": opened, "handlers": len(logging.root.handlers)}))
"""


def import_watched(folder: Path, *modules: str) -> dict:
    "What importing loads and opens, in a process of its own that stands in an empty folder."
    ours = clean_environment()
    environment = ours | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", WATCHED_IMPORT, *modules]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    loaded = import_watched(tmp_path, "rumos_bank")["loaded"]
    assert "rumos_bank" in loaded and not {"numpy", "pandas", "sklearn", "pydantic", *HEAVY} & set(loaded)


def test_importing_a_module_only_defines_names(tmp_path):
    seen = import_watched(tmp_path, *(f"rumos_bank.{module}" for module in NUMBERS))
    written = [path for path, writes in seen["opened"] if writes]
    ours = (str(ROOT / "rumos_bank"), str(ROOT / "nbs"), str(ROOT / "settings.ini"))
    read = [
        path for path, _ in seen["opened"] if path.startswith(ours) and not path.endswith((".py", ".pyc"))
    ]
    assert not written and not read and not list(tmp_path.iterdir()) and seen["handlers"] == 0
    loaded = HEAVY & set(seen["loaded"])  # pandas is not among them: scikit-learn brings it along
    assert not loaded, "heavy imports stand inside of functions"


@pytest.mark.parametrize("module", NUMBERS)
def test_a_module_asks_for_pandas_only_when_it_is_called(module):
    assert not [node for node in MODULES[module].body if "pandas" in imported_names(node)]


# Experiments


def tagged_parameters(notebook: Notebook) -> list[dict]:
    return [cell for cell in notebook.cells if "parameters" in cell["metadata"].get("tags", [])]


@each_experiment
def test_an_experiment_defines_no_functions(notebook):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    assert not [node.name for node in notebook.walk() if isinstance(node, kinds)]


@each_experiment
def test_an_experiment_has_one_cell_of_literal_parameters(notebook):
    (cell,) = tagged_parameters(notebook)
    assert cell is notebook.code[0]
    for statement in notebook.trees[0].body:
        assert isinstance(statement, ast.AnnAssign), f"annotate it: {ast.unparse(statement)}"
        ast.literal_eval(statement.value)


@each_experiment
def test_the_parameters_are_those_that_the_library_describes(notebook):
    import rumos_bank.operations.experiments as experiments

    (kind,) = re.findall(r"read_parameters\((\w+), globals\(\)\)", notebook.code[1]["text"])
    described = {name: field.default for name, field in getattr(experiments, kind).model_fields.items()}
    written = {line.target.id: ast.literal_eval(line.value) for line in notebook.trees[0].body}
    assert {name: tuple(v) if isinstance(v, list) else v for name, v in written.items()} == described


def test_each_notebook_is_tested_in_exactly_one_way():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "pytest --nbval nbs/lib\n" in makefile and "pytest --nbval-lax $(NOTEBOOKS)\n" in makefile
    (lax,) = re.findall(r"^NOTEBOOKS := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    strict = [notebook.path.relative_to(ROOT).as_posix() for notebook in LIBRARY]
    listed = sorted([*strict, *lax.replace("\\", " ").split()])
    assert listed == sorted(notebook.path.relative_to(ROOT).as_posix() for notebook in ALL), (
        "repair NOTEBOOKS in the Makefile"
    )


# What must not be there


@each_notebook
def test_outputs_reveal_nothing_of_the_machine(notebook):
    places = r"(?<![\w.])/(?:home|root|tmp|Users|private|var/folders)/|[A-Z]:\\\\Users"
    shown = json.dumps([cell["outputs"] for cell in notebook.code], ensure_ascii=False)
    assert not re.findall(places + r".{0,40}", shown)


def list_committed() -> list[Path]:
    "What git holds, or would hold after `git add`."
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


SECRETS = (  # what tokens of others look like, our own keys, and words that are documented as secret
    r"AKIA[0-9A-Z]{16}",
    r"\bgh[pousr]_[0-9A-Za-z]{36}\b",
    r"sk-[\w-]{20,}",
    r"xox[abp]-\w+",
    r"BEGIN [A-Z ]*PRIVATE KEY",
    r"rumos_[\w-]{43}\b",
    r"(?i)\b(?:api_?key|password|passwd|secret|token)\w*[\"']?\s*[=:]\s*[\"'](?![^\"']*[{<$])[^\"'\s]{8,}[\"']",
    r"(?i)\b[a-z]+://[^\s:/@\"'{}<>]+:[^\s:/@\"'{}<>$]+@",
)


def find_secrets(text: str) -> list[str]:
    text = text.replace('\\"', '"')  # a cell in its notebook
    return [found for pattern in SECRETS for found in re.findall(pattern, text)]


def test_no_notebook_keeps_the_state_of_widgets():
    "Its ids are others at each run, and nothing here reads them."
    kept = [
        path
        for path in (ROOT / "nbs").rglob("*.ipynb")
        if "widgets" in json.loads(path.read_text())["metadata"]
    ]
    kept = [path.name for path in kept if ".ipynb_checkpoints" not in path.parts]
    assert not kept, f"run make sync, which removes what Jupyter saved: {', '.join(kept)}"


def test_no_file_holds_a_secret():
    "Notebooks with their outputs too. A scanner by entropy would take every digest in the lock for one."
    held = {
        path.relative_to(ROOT).as_posix(): found
        for path in list_committed()
        if b"\0" not in (content := path.read_bytes())
        and (found := find_secrets(content.decode("utf-8", "replace")))
    }
    assert not held


@pytest.mark.parametrize(
    "parts",
    [
        ("AKIA", "A1" * 8),
        ("ghp", "_" + "a" * 36),
        ("-----BEGIN EC PRIVATE ", "KEY-----"),
        ("rumos", "_" + "aB-_" * 10 + "xyz"),
        ("pass", 'word = "correct-horse"'),
        ("api", '_key = \\"0123456789\\"'),
        ("postgresql://bank:", "hunter2@db/mlflow"),
    ],
)
def test_a_secret_would_be_found(parts):
    assert find_secrets("".join(parts))


def test_no_file_names_a_package_registry():
    hosts = ["pypi" + ".org", "files." + "pythonhosted", "registry." + "npmjs", "deb." + "debian"]
    pattern = re.compile("|".join(map(re.escape, hosts)).encode())
    assert not [path.name for path in list_committed() if pattern.search(path.read_bytes())]


def test_the_data_set_is_not_in_git():
    tables = {".csv", ".gz", ".xls", ".xlsx", ".zip", ".parquet", ".arff"}
    kept = [path for path in list_committed() if path.suffix in tables and path.stat().st_size > 100_000]
    assert not kept
    assert (ROOT / "rumos_bank/assets/synthetic.json").stat().st_size < 64 * 1024
