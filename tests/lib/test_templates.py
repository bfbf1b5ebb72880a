"Templates escape every value, refuse what is missing, and compile."

import html
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, TemplateNotFound, UndefinedError
from markupsafe import Markup

from rumos_bank.ground.templates import make_environment, render

TEMPLATES = {
    "text.html": "<p>{{ value }}</p>",
    "attribute.html": '<p title="{{ value }}">text</p>',
    "list.html": "<ul>{% for value in values %}<li>{{ value }}</li>{% endfor %}</ul>",
    "page.html": '<main>{% include "text.html" %}{{ part }}</main>',
    "script.html": "<script>const value = {{ value | tojson }};</script>",
    "lines.html": "{% if value %}\n  {{ value }}\n{% endif %}\n",
}


@pytest.fixture(scope="module", autouse=True)
def templates():
    "A few templates in place of the packaged ones."
    environment = make_environment()
    packaged, environment.loader = environment.loader, DictLoader(TEMPLATES)
    yield
    environment.loader = packaged
    environment.cache.clear()


class Reader(HTMLParser):
    "What a browser makes of a page: its tags with their attributes, and its text."

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


HOSTILE = st.one_of(
    st.text(),
    st.text("<>&\"'/= \nscriptonload"),
    st.sampled_from(["<script>alert(1)</script>", '" onmouseover="x', "</p><b>", "{{ 7 * 7 }}", "{% raw %}"]),
)


@given(HOSTILE)
def test_a_value_never_becomes_a_tag(value):
    page = render("text.html", value=value)
    assert page == f"<p>{html.escape(value).replace('&#x27;', '&#39;').replace('&quot;', '&#34;')}</p>"
    assert [tag for tag, _ in Reader(page).tags] == ["p"]


@given(HOSTILE)
def test_a_value_never_leaves_its_attribute(value):
    ((tag, attributes),) = Reader(render("attribute.html", value=value)).tags
    assert tag == "p" and [name for name, _ in attributes] == ["title"]


@given(st.lists(HOSTILE, max_size=5))
def test_values_in_a_loop_are_escaped_too(values):
    assert [tag for tag, _ in Reader(render("list.html", values=values)).tags] == [
        "ul",
        *["li"] * len(values),
    ]


@given(HOSTILE)
def test_a_value_in_a_script_stays_a_value(value):
    page = render("script.html", value=value)
    assert page.count("<") == 2 and page.endswith(";</script>")


@given(HOSTILE)
def test_a_rendered_part_is_not_escaped_twice(value):
    part = render("text.html", value=value)
    assert isinstance(part, Markup)
    assert render("page.html", value=value, part=part) == f"<main>{part}{part}</main>"


def test_numbers_and_lines_are_written_as_they_are():
    assert render("text.html", value=0.25) == "<p>0.25</p>"
    assert render("lines.html", value="x") == "  x\n"  # a statement's line leaves no blank one


def test_a_missing_value_or_template_is_an_error():
    with pytest.raises(UndefinedError, match="'value' is undefined"):
        render("text.html")
    with pytest.raises(TemplateNotFound, match=r"nowhere\.html"):
        render("nowhere.html")


def test_a_value_is_not_taken_for_a_template():
    assert render("text.html", value="{{ 7 * 7 }}") == "<p>{{ 7 * 7 }}</p>"


def test_every_packaged_template_compiles():
    packaged = make_environment.__wrapped__()
    for name in packaged.list_templates():
        packaged.get_template(name)
    assert packaged.autoescape is True


def test_the_module_loads_no_jinja_before_it_is_used():
    code = "import sys, rumos_bank.ground.templates; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
