"The reference pages, made from the library: public names, commands, settings, chapters, benchmarks and the HTTP API."

import ast
import configparser
import importlib
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = {  # in the order of imports → what each is for
    "ground": "errors, settings, files, statistics, templates, keys",
    "data": "what a client is, and where clients come from",
    "model": "features, families, search, one decision with its reasons",
    "validation": "the judge, slices, stress, grades: how good a model is before anyone decides about it",
    "governance": "tracking, the ledger, gates, promotion",
    "serving": "the champion, the record of its decisions, batches, replay",
    "monitoring": "drift, outcomes, overrides, a challenger in the shadow",
    "documents": "what supervisors are given: governance of the model, typesetting",
    "api": "the champion over HTTP",
    "desk": "the officer's page",
    "operations": "the pipeline, its reports, reproduction, backup, the command line",
}
CHAPTERS = {  # module, such as model.search → its notebook
    f"{path.parent.name}.{path.stem[3:]}": path
    for path in sorted((ROOT / "nbs/lib").glob("*/*.ipynb"), key=lambda path: path.stem)
}


def write_reference(folder: Path) -> None:
    "Write all pages into this folder; a page that did not change keeps its time."
    pages = {f"{module}.md": describe_module(module) for module in CHAPTERS}
    pages |= {
        "public.md": describe_public_names(),
        "commands.md": describe_commands(),
        "settings.md": describe_settings(),
        "chapters.md": describe_chapters(),
        "http.md": describe_http(),
        "events.md": describe_events(),
        "record.md": describe_record(),
        "benchmarks.md": describe_benchmarks(),
    }
    folder.mkdir(exist_ok=True)
    for stale in {path.name for path in folder.glob("*.md")} - set(pages):
        (folder / stale).unlink()
    for name, text in pages.items():
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")


def make_table(columns: list[str], rows: list[list[str]]) -> str:
    "Return a Markdown table; a bar in a cell is escaped."
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# The record


def describe_record() -> str:
    "Return the committed pipeline run, and the tables that were measured beside it."
    import pandas as pd

    from rumos_bank.operations.report import format_board

    record = ROOT / "reports" / "record"
    facts = json.loads((record / "record.json").read_text(encoding="utf-8"))
    board = format_board(pd.read_csv(record / "leaderboard.csv"))
    sentences = "\n".join(f"- {sentence}" for sentence in facts["summary"])
    made = f"Pipeline run `{facts['pipeline_run']}`, commit `{facts['commit'][:10]}`, Python {facts['python']}, {facts['cores']} cores."
    tables = "\n".join(f"../../reports/record/{path.name[:-3]}" for path in sorted(record.glob("*.md")))
    others = f"\n\n## Measured beside it\n\n```{{toctree}}\n{tables}\n```" if tables else ""
    return f"# The record\n\n{sentences}\n\n{make_table(list(board.columns), board.to_numpy().tolist())}\n\n{made}{others}\n"


def describe_benchmarks() -> str:
    "Return the ratios that have an aim, and the first three of each benchmark."
    record = ROOT / "reports" / "record"
    measured = json.loads((record / "benchmarks.json").read_text(encoding="utf-8"))
    rows = []
    for script, one in measured.items():
        for place, each in enumerate(one["whole"]):
            if each["aim"] is not None or place < 3:
                ratio = f"{each['ours'] / each['theirs']:.3g}"
                aim = "" if each["aim"] is None else f"≤ {each['aim']:.3g}"
                rows.append(
                    [script, each["what"], each["beside"], ratio, aim, f"{each['ours']:,.4g} {each['unit']}"]
                )
    columns = ["benchmark", "measured", "beside", "ratio", "aim", "ours"]
    machines = "; ".join(sorted({one["machine"] for one in measured.values()}))
    return (
        "# Benchmarks\n\nEach is measured beside an alternative on one machine and given as a ratio, because an absolute time "
        "means little on another machine. Less is better. `make bench` measures, `make record` puts on record.\n\n"
        f"{make_table(columns, rows)}\n\n![Resident memory of a large batch stays flat](../../reports/record/batch_memory.png)\n\n"
        f"{machines}. [All ratios](../../reports/record/benchmarks.md).\n"
    )


# Settings and chapters


def describe_settings() -> str:
    "Return every setting with its shipped value, its variable and the comment above it in settings.ini."
    text = (ROOT / "settings.ini").read_text(encoding="utf-8")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    notes: dict[tuple[str, str], str] = {}
    section, comment = "", []
    for line in text.splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section, comment = match[1], []
        elif line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif match := re.match(r"(\w+) *=", line):
            notes[section, match[1]], comment = " ".join(comment), []
    parts = [
        "# Settings\n\n[settings.ini](../../settings.ini) is the one file that a bank edits. A variable goes before its line: "
        "`RUMOS_COSTS_FALSE_POSITIVE=800` replaces `false_positive` of `[costs]` for one command. An unknown name or an "
        "impossible value stops the command with a sentence that states what is allowed."
    ]
    for name in parser.sections():
        rows = [
            [
                f"`{key}`",
                f"`{' '.join(value.split())}`" if value else "",
                notes[name, key],
                f"`RUMOS_{name}_{key}`".upper(),
            ]
            for key, value in parser[name].items()
        ]
        parts.append(f"## {name}\n\n{make_table(['setting', 'shipped', 'meaning', 'variable'], rows)}")
    return "\n\n".join(parts) + "\n"


def read_titles(path: Path) -> tuple[str, str]:
    "Return a notebook's title and its subtitle."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown").splitlines()
    subtitle = next((line for line in lines if line.startswith("> ")), "")
    return lines[0].lstrip("# "), subtitle.removeprefix("> ")


def describe_chapters() -> str:
    "Return the notebooks by package: number, title, subtitle."
    parts = [
        "# Chapters\n\nOne notebook is one module of the library. Its folder is its package, and its number is its place in the order "
        "of imports: a chapter imports from lower numbers only. A line at the left marks the cells that are exported into "
        "the library; the others explain and prove them. Outputs are shown as they were committed."
    ]
    for package, purpose in PACKAGES.items():
        paths = [path for module, path in CHAPTERS.items() if module.startswith(f"{package}.")]
        parts.append(_list_notebooks(f"{package}: {purpose}", paths, lambda path: path.stem[:2]))
    experiments = sorted((ROOT / "nbs/experiments").glob("*.ipynb"))
    parts.append(
        _list_notebooks("experiments: what a pipeline run executes", experiments, lambda path: path.stem)
    )
    return "\n\n".join(parts) + "\n"


def _list_notebooks(heading: str, paths: list[Path], name: Any) -> str:
    "A table of notebooks, and their place in the site's tree."
    rows, leaves = [], []
    for path in paths:
        title, subtitle = read_titles(path)
        place = f"../../{path.relative_to(ROOT).as_posix()}"
        rows.append([name(path), f"[{title}]({place})", subtitle])
        leaves.append(place.removesuffix(".ipynb"))
    tree = "```{toctree}\n:hidden:\n\n" + "\n".join(leaves) + "\n```"
    return f"## {heading}\n\n{make_table(['', 'chapter', 'what it is about'], rows)}\n\n{tree}"


# The events


def describe_events() -> str:
    "Every kind of line of the ledger and of entry in the decision log: from the table, with the comments on its fields."
    import dataclasses
    import inspect

    from rumos_bank.governance import events

    tree = ast.parse(text := Path(str(inspect.getsourcefile(events))).read_text(encoding="utf-8"))
    comments = _read_comments(text)
    written = {
        (node.name, _assigned(line)): [ast.unparse(line.annotation), comments.get(line.lineno, "")]
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
    }

    def describe(kind: type[events.Event]) -> str:
        rows = []
        for each in dataclasses.fields(kind):
            own = next(base.__name__ for base in kind.__mro__ if (base.__name__, each.name) in written)
            rows.append([f"`{each.name}`", *written[own, each.name]])
        head = f"### {kind.name}\n\n{kind.__doc__} Written by: {kind.writer}. Class: `{kind.__name__}`."
        return f"{head}\n\n{make_table(['field', 'type', 'meaning'], rows)}"

    parts = [
        "# Events\n\nAll kinds of lines and entries, with their fields. Why it is so: [37_events](../../nbs/lib/governance/37_events.ipynb)."
    ]
    for base, title in (
        (events.LedgerEvent, "Lines of the ledger"),
        (events.LogEntry, "Entries of the decision log"),
    ):
        kinds = [kind for kind in events.EVENTS.values() if issubclass(kind, base)]
        parts += [f"## {title}", *map(describe, kinds)]
    return "\n\n".join(parts) + "\n"


# The library


def describe_public_names() -> str:
    "Return the names that `from rumos_bank import …` offers, each with its module and first line."
    import rumos_bank

    rows = []
    for name in rumos_bank.__all__:
        value = getattr(rumos_bank, name)
        module = _find_module(name)
        first = (
            (value.__doc__ or "").strip().splitlines()[0]
            if callable(value)
            else "What a client is: one entry a field"
        )
        rows.append([f"[{name}]({module}.md#{name.lower()})", first])
    return (
        "# rumos_bank\n\nThese names are public: `from rumos_bank import Champion`. Each is loaded when it is first asked for. The modules "
        f"are internal: their names may change in any release.\n\n{make_table(['name', 'what it is'], rows)}\n"
    )


def _find_module(name: str) -> str:
    "The module that defines a public name, such as serving.champion."
    import rumos_bank

    for module in CHAPTERS:
        held = importlib.import_module(f"rumos_bank.{module}")
        if name in getattr(held, "__all__", []) and getattr(held, name) is getattr(rumos_bank, name):
            return module
    raise LookupError(f"no module exports {name}")


def describe_module(name: str) -> str:
    "Return one module: its subtitle, and each public name with signature and comments."
    text = (ROOT / "rumos_bank" / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    (names,) = (ast.literal_eval(node.value) for node in tree.body if _assigned(node) == "__all__")
    comments = _read_comments(text)
    shown = [
        _describe_name(name, node, text, comments)
        for node in tree.body
        for name in _names_of(node)
        if name in names
    ]
    chapter = f"[{read_titles(CHAPTERS[name])[0]}](../../{CHAPTERS[name].relative_to(ROOT).as_posix()})"
    return (
        "\n\n".join(
            [
                f"# rumos_bank.{name}",
                f"{(ast.get_docstring(tree) or '').rstrip('.')}. The chapter {chapter} explains it.",
                *shown,
            ]
        )
        + "\n"
    )


def _assigned(node: ast.stmt) -> str:
    "The name that an assignment gives, or several with commas."
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return ast.unparse(target).strip("()") if isinstance(target, ast.Name | ast.Tuple) else ""


def _names_of(node: ast.stmt) -> list[str]:
    return (_assigned(node) or getattr(node, "name", "")).split(", ")


def _read_comments(text: str) -> dict[int, str]:
    "Line number → the comment on it."
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {each.start[0]: each.string.lstrip("# ") for each in tokens if each.type == tokenize.COMMENT}


def _describe_name(name: str, node: ast.stmt, text: str, comments: dict[int, str]) -> str:
    "A heading, what it does, and the lines that show how it is called."
    doc = ""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        doc = ast.get_docstring(node) or ""
        kind = {"ClassDef": "class"}.get(type(node).__name__, "def")
        lines = _class_lines(node, text) if kind == "class" else _head_lines(node, text)
    else:
        source = (ast.get_source_segment(text, node) or "").splitlines()
        lines = source if len(source) <= 6 else [*source[:5], "    ..."]
        if comment := comments.get(node.end_lineno or 0):
            lines[-1] += f"  # {comment}"
    return f"## {name}\n\n{doc}\n\n```python\n" + "\n".join(lines) + "\n```"


def _head_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> list[str]:
    "The signature as it is written, comments with it."
    return text.splitlines()[node.lineno - 1 : _body_line(node) - 1]


def _body_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return node.body[0].lineno


def _class_lines(node: ast.ClassDef, text: str) -> list[str]:
    "Decorators, bases, fields, and the signatures of public methods."
    source = text.splitlines()
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    lines = source[first - 1 : _body_line(node) - 1]
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            if not part.name.startswith("_") or part.name == "__init__":
                doc = ast.get_docstring(part)
                lines += [
                    "",
                    *_head_lines(part, text),
                    *([f'        "{doc.splitlines()[0]}"'] if doc else []),
                ]
        elif not (_assigned(part) or "_").startswith("_"):
            lines += source[part.lineno - 1 : part.end_lineno]
    return lines


# The commands


def describe_commands() -> str:
    "Return every target of make, and every command of `rumos` with its arguments and options."
    import typer

    from rumos_bank.operations.cli import app

    parts = [
        _describe_command(words, command) for words, command in walk_commands(typer.main.get_command(app))
    ]
    targets = re.findall(
        r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    head = (
        "# Commands\n\n`make` sets up, checks and publishes. `rumos` does the bank's work; `--help` after any command shows "
        "the same text. Exit code 2 is an error that a sentence explains."
    )
    table = make_table(["command", "what it does"], [[f"`make {name}`", text] for name, text in targets])
    return "\n\n".join([head, f"## make\n\n{table}", *parts]) + "\n"


def walk_commands(command: Any, words: tuple[str, ...] = ("rumos",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    "Yield each command that does something, with the words that call it."
    for name, each in getattr(command, "commands", {}).items():
        yield from walk_commands(each, (*words, name))
    if not getattr(command, "commands", None):
        yield words, command


def _describe_command(words: tuple[str, ...], command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join([*words, *(each.metavar or each.name.upper() for each in arguments)])
    rows = []
    for each in command.params:
        shown = ", ".join(each.opts) if each not in arguments else each.metavar or each.name.upper()
        default = "" if each.default in (None, "", False, 0) or each.required else str(each.default)
        rows.append([f"`{shown}`", each.help or "", default])
    table = "\n\n" + make_table(["", "meaning", "default"], rows) if rows else ""
    return f"## {' '.join(words)}\n\n```sh\n{usage}\n```\n\n{command.help}{table}"


# The HTTP API


def describe_http() -> str:
    "Return the service's own OpenAPI description as a page."
    import tempfile

    from rumos_bank.api.app import make_app
    from rumos_bank.ground.settings import read_settings

    settings = read_settings()
    with tempfile.TemporaryDirectory() as empty:
        store = settings.store.model_copy(update={"path": Path(empty)})
        api = make_app(settings.model_copy(update={"store": store}), notify=lambda *_, **__: None).openapi()
    parts = [
        _describe_operation(path, method, each)
        for path, methods in api["paths"].items()
        for method, each in methods.items()
    ]
    shapes = [_describe_shape(name, each) for name, each in sorted(api["components"]["schemas"].items())]
    head = f"# The HTTP API\n\n{api['info']['description'].strip()}\n\nA running service shows the same at `/docs`. Requests to paste: [the API by example](../api.md)."
    return "\n\n".join([head, *parts, "## Shapes", *shapes]) + "\n"


def _link(schema: dict[str, Any]) -> str:
    "A schema in a few words."
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for key, between in (("anyOf", " or "), ("oneOf", " or ")):
        if key in schema:
            return between.join(map(_link, schema[key]))
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_link(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _describe_operation(path: str, method: str, each: dict[str, Any]) -> str:
    summary = each.get("description") or each["summary"]
    lines = [f"## {method.upper()} {path}", summary]
    if each.get("parameters"):
        rows = [[f"`{one['name']}`", one["in"], one.get("description", "")] for one in each["parameters"]]
        lines.append(make_table(["parameter", "in", "meaning"], rows))
    if "requestBody" in each:
        lines.append("Body: " + _link(each["requestBody"]["content"]["application/json"]["schema"]) + ".")
    rows = []
    for status, answer in each["responses"].items():
        schemas = [one["schema"] for one in answer.get("content", {}).values() if "schema" in one]
        rows.append([status, answer["description"], ", ".join(map(_link, schemas))])
    lines.append(make_table(["status", "when", "body"], rows))
    return "\n\n".join(lines)


def _describe_shape(name: str, schema: dict[str, Any]) -> str:
    rows = []
    for field, each in schema.get("properties", {}).items():
        bounds = [
            f"{word} {each[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in each
        ]
        kind = " ".join([_link(each), *bounds])
        need = "yes" if field in schema.get("required", []) else ""
        rows.append([f"`{field}`", kind, need, " ".join(str(each.get("description", "")).split())])
    table = make_table(["field", "type", "required", "meaning"], rows) if rows else _link(schema)
    return "\n\n".join([f"### {name}", schema.get("description", ""), table])
