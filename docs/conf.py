"How Sphinx builds the site: notebooks as committed, pages made from the library, nothing from another server."

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import latex2mathml.converter

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT)]

from generate import write_reference  # noqa: E402

import rumos_bank  # noqa: E402

project, release = "rumos_bank", rumos_bank.__version__
copyright = "the rumos_bank authors, MIT License"
extensions = ["myst_nb"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "nbs/lib/*/*.ipynb",
    "nbs/experiments/*.ipynb",
    "reports/record/*.md",
    "findings/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = ["**/.ipynb_checkpoints", "**/_*", "**/.*"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

nb_execution_mode = "off"  # what is shown is what is committed; nbval tests that it is so
nb_execution_cache_path = str(ROOT / "_proc" / "jupyter_cache")
nb_ipywidgets_js: dict[
    str, dict[str, str]
] = {}  # else each page with a widget would load scripts from another server
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_merge_streams = True

html_theme = "furo"
html_title = "rumos_bank"
html_logo = html_favicon = "../nbs/images/logo.svg"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#087a80", "color-brand-content": "#087a80"},
    "dark_css_variables": {"color-brand-primary": "#4fd1d6", "color-brand-content": "#4fd1d6"},
}
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = html_show_sphinx = False
html_math_renderer = "mathml"
pygments_style, pygments_dark_style = "default", "github-dark"


def prepare_notebook(app: Any, name: str, source: list[str]) -> None:
    "Remove nbdev's marks, put the chapter's number into its title, and tag exported cells for the line at their left."
    if not (ROOT / f"{name}.ipynb").is_file():
        return
    chapter = json.loads(source[0])
    kept = []
    for cell in chapter["cells"]:
        lines = "".join(cell["source"]).splitlines()
        marks = {line for line in lines if line.startswith("#|")}
        if any("default_exp" in mark for mark in marks):
            continue
        if marks:
            cell["metadata"].setdefault("tags", []).extend(
                ["exported"] * any("export" in mark for mark in marks)
            )
            cell["source"] = "\n".join(line for line in lines if line not in marks).strip()
        kept.append(cell)
    title = kept[0]["source"] = "".join(kept[0]["source"])
    if name.startswith("nbs/lib/"):
        kept[0]["source"] = title.replace("# ", f"# {name.rsplit('/', 1)[1][:2]} ", 1)
    source[0] = json.dumps(chapter | {"cells": kept})


def visit_math(self: Any, node: Any) -> None:
    "A formula as MathML, which browsers draw by themselves."
    import docutils.nodes

    display = "inline" if isinstance(node, docutils.nodes.math) else "block"
    self.body.append(latex2mathml.converter.convert(node.astext(), display=display))
    raise docutils.nodes.SkipNode


def write_first_page(app: Any, error: Exception | None) -> None:
    "Write the page that opens first, and remove what myst-nb left beside the site."
    shutil.rmtree(Path(app.outdir).parent / "jupyter_execute", ignore_errors=True)
    if not error:
        page = '<!doctype html><meta charset="utf-8"><title>rumos_bank</title>'
        page += '<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">rumos_bank</a>\n'
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Any) -> None:
    "Called by Sphinx."
    app.connect("config-inited", lambda *_: write_reference(ROOT / "docs" / "reference"))
    app.connect("source-read", prepare_notebook)
    app.connect("build-finished", write_first_page)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math, None)
    )
