"The reference pages, made from the library: every module's public names, the commands, and the HTTP API."

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CHAPTERS = {path.stem[3:]: path for path in sorted((ROOT / "nbs/lib").glob("*.ipynb"))}


def write_reference(folder: Path) -> None:
    "All pages into this folder; a page that did not change keeps its time."
    pages = {f"{module}.md": describe_module(module) for module in CHAPTERS}
    pages |= {"commands.md": describe_commands(), "http.md": describe_http(), "record.md": describe_record()}
    pages |= {"events.md": describe_events()}
    folder.mkdir(exist_ok=True)
    for stale in {path.name for path in folder.glob("*.md")} - set(pages):
        (folder / stale).unlink()
    for name, text in pages.items():
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")


def make_table(columns: list[str], rows: list[list[str]]) -> str:
    "Markdown; a bar in a cell would end it."
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# The record


def describe_record() -> str:
    "The committed road, and the tables that were measured beside it."
    import json

    import pandas as pd

    from rumos_bank.operations.report import format_board

    record = ROOT / "reports" / "record"
    facts = json.loads((record / "record.json").read_text(encoding="utf-8"))
    board = format_board(pd.read_csv(record / "leaderboard.csv"))
    told = "\n".join(f"- {sentence}" for sentence in facts["summary"])
    made = f"Pipeline run `{facts['pipeline_run']}`, commit `{facts['commit'][:10]}`, Python {facts['python']}, {facts['cores']} cores."
    tables = "\n".join(f"../../reports/record/{path.name[:-3]}" for path in sorted(record.glob("*.md")))
    others = f"\n\n## Measured beside it\n\n```{{toctree}}\n{tables}\n```" if tables else ""
    return f"# The record\n\n{told}\n\n{make_table(list(board.columns), board.to_numpy().tolist())}\n\n{made}{others}\n"


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


def describe_module(name: str) -> str:
    "One module: its subtitle, and each public name with signature and comments."
    text = (ROOT / "rumos_bank" / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    (names,) = (ast.literal_eval(node.value) for node in tree.body if _assigned(node) == "__all__")
    comments = _read_comments(text)
    shown = [
        _describe_name(name, node, text, comments)
        for node in tree.body
        for name in _names_of(node)
        if name in names
    ]
    chapter = f"[{CHAPTERS[name].stem}](../../nbs/lib/{CHAPTERS[name].name})"
    return (
        "\n\n".join([f"# rumos_bank.{name}", f"{ast.get_docstring(tree)}. Why it is so: {chapter}.", *shown])
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
    "A heading, what it does, and the lines that say how it is called."
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
    "Every command of `rumos` with its arguments and options."
    import typer

    from rumos_bank.operations.cli import app

    parts = [
        _describe_command(words, command) for words, command in walk_commands(typer.main.get_command(app))
    ]
    head = "# rumos: the commands\n\nThe same is said by `--help` after any of them. Exit code 2 is an error that a sentence explains."
    return "\n\n".join([head, *parts]) + "\n"


def walk_commands(command: Any, words: tuple[str, ...] = ("rumos",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    "Each command that does something, with the words that call it."
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
    "The service's own OpenAPI description, as a page."
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
    head = f"# The HTTP API\n\n{api['info']['description'].strip()}\n\nA running service has the same at `/docs`."
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
