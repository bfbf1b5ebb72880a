"Letters to clients: the final decision in two languages, nothing internal, templates of the bank, and a PDF that says the same."

import io
import re
import sys
from dataclasses import fields, replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pypdf
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as checks
from hypothesis import strategies as st

from rumos_bank.data.contract import CLIENT_COLUMNS, EXAMPLE_CLIENT
from rumos_bank.governance.events import Decided
from rumos_bank.ground.errors import DataError, PackageError, ParameterError, SettingsError
from rumos_bank.ground.settings import (
    PACKAGED,
    DataSettings,
    LedgerSettings,
    Settings,
    StoreSettings,
    read_settings,
)
from rumos_bank.model.explain import Change, Explanation, Others, Reason
from rumos_bank.serving import letters
from rumos_bank.serving.decision_log import DecisionLog
from rumos_bank.serving.letters import (
    NAMES,
    LetterFacts,
    check_letters,
    copy_templates,
    find_facts,
    make_facts,
    save_letter,
    write_letter,
    write_letter_pdf,
)
from rumos_bank.serving.words import LANGUAGES

BANK = {
    "RUMOS_LETTERS_BANK": "Banco Exemplo",
    "RUMOS_LETTERS_ADDRESS": "Rua 1, Lisboa",
    "RUMOS_LETTERS_CONTACT": "review@bank.example",
    "RUMOS_LETTERS_DATA_PROTECTION": "dpo@bank.example",
    "RUMOS_LETTERS_AUTHORITY": "CNPD",
}
PROTECTED = ("SEX", "MARRIAGE", "AGE")
CLIENT = {name: value for name, value in EXAMPLE_CLIENT.items() if name not in PROTECTED} | {"PAY_0": 2}
FACTS = LetterFacts(
    "20261129-1f",
    date(2026, 11, 29),
    refused=True,
    by_person=False,
    model_refused=True,
    values=CLIENT,
    reasons=("latest repayment status", "bills and use of the limit"),
    changes=((1, {"PAY_0": 0}), (0, {"PAY_AMT1": 2516})),
    reference="C-1024",
)
ACCEPTED = replace(FACTS, refused=False, model_refused=False, reasons=(), changes=())
KINDS = {
    "model": FACTS,
    "no reasons": replace(FACTS, reasons=(), changes=()),
    "confirmed": replace(FACTS, by_person=True, person_reasons=("uma / one",)),
    "overruled": replace(FACTS, by_person=True, model_refused=False, reasons=(), changes=()),
    "accepted": ACCEPTED,
    "rescued": replace(FACTS, refused=False, by_person=True),
    "specimen": replace(FACTS, synthetic=True),
}
each_language = pytest.mark.parametrize("language", LANGUAGES)
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return read_settings(PACKAGED, environ=BANK)


@pytest.fixture
def own(tmp_path) -> tuple[Path, Settings]:
    "The templates in a folder of the bank, for editing."
    folder = tmp_path / "letters"
    copy_templates(folder)
    return folder, read_settings(PACKAGED, environ=BANK | {"RUMOS_LETTERS_FOLDER": str(folder)})


class Shown(HTMLParser):
    "What a browser shows of a page, without blanks, and the tags that it meets."

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.hidden = "", [], 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))
        self.hidden += tag == "head"
        self.text += " " * (tag == "br")

    def handle_endtag(self, tag):
        self.hidden -= tag == "head"
        self.text += " " * (tag in {"p", "li", "th", "td", "h1", "h2"})

    def handle_data(self, data):
        if not self.hidden:
            self.text += data


def squeeze(text: str) -> str:
    return re.sub(r"[\s•]", "", text)


def read_pdf(pdf: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(pdf))


def text_of(facts: LetterFacts, language: str, settings: Settings) -> str:
    return re.sub(r"\s+", " ", Shown(write_letter(facts, language, settings)).text)


# What it says


@pytest.mark.parametrize(
    "language, expected",
    [
        (
            "en",
            (
                "29 November 2026 Case 20261129-1f Reference C-1024",
                "Your application for credit has been refused",
                "A statistical model made this decision, without a person.",
                "Last payment: two months late 30 % of the limit is used",
                "had the last payment been on time or had the amount paid been NT$ 2,516 in September",
                "Credit limit NT$ 30,000 our records of your account Education university your application",
                "September two months late NT$ 8,864 NT$ 1,500",
                "The model does not use: sex, marital status, age.",
                "a person reviews the decision. You can contest it and give your point of view. Write to review@bank.example",
                "dpo@bank.example",
                "CNPD",
            ),
        ),
        (
            "pt",
            (
                "29 de novembro de 2026 Processo 20261129-1f Referência C-1024",
                "O seu pedido de crédito foi recusado",
                "Esta decisão foi tomada por um modelo estatístico, sem intervenção de uma pessoa.",
                "Último pagamento: dois meses de atraso Usa 30 % do limite",
                "se o último pagamento tivesse chegado a tempo ou se o valor pago tivesse sido NT$ 2 516 em setembro",
                "Limite de crédito NT$ 30 000 os nossos registos da sua conta Escolaridade universidade o seu pedido",
                "Setembro dois meses de atraso NT$ 8 864 NT$ 1 500",
                "O modelo não utiliza: sexo, estado civil, idade.",
                "a decisão é revista por uma pessoa. Pode contestá-la e apresentar o seu ponto de vista. Escreva para review@",
                "dpo@bank.example",
                "CNPD",
            ),
        ),
    ],
)
def test_a_refused_client_learns_decision_reasons_changes_data_and_rights(language, expected, settings):
    text = text_of(FACTS, language, settings)
    places = [text.find(each) for each in expected]
    assert -1 not in places, expected[places.index(-1)]
    assert places == sorted(places)


@each_kind
@each_language
def test_the_final_decision_and_who_made_it(kind, language, settings):
    facts, text = KINDS[kind], text_of(KINDS[kind], language, settings)
    refused = {"en": "has been refused", "pt": "foi recusado"}[language]
    accepted = {"en": "has been accepted", "pt": "foi aceite"}[language]
    assert (refused in text, accepted in text) == (facts.refused, not facts.refused)
    by_model = {"en": "model made this decision", "pt": "por um modelo estatístico, sem"}[language]
    by_person = {"en": "A person at the bank made", "pt": "por uma pessoa do banco"}[language]
    assert (by_model in text, by_person in text) == (not facts.by_person, facts.by_person)
    against = {"en": "differently from the model", "pt": "diferente do modelo"}[language]
    assert (against in text) == (facts.role == "against")
    assert "review@bank.example" in text and "CNPD" in text


@each_language
def test_after_an_overruling_the_models_reasons_are_not_given_as_the_persons(language, settings):
    refused = replace(FACTS, by_person=True, model_refused=False, reasons=FACTS.reasons)
    rescued = replace(FACTS, refused=False, by_person=True)
    for facts in (refused, rescued):
        text = text_of(facts, language, settings)
        for word in (
            "Last payment:",
            "Último pagamento:",
            "of the limit is used",
            "do limite",
            "been on time",
            "a tempo",
        ):
            assert word not in text
    ask = {"en": "We state them in writing if you ask", "pt": "Comunicamo-las por escrito, se as pedir"}[
        language
    ]
    assert ask in text_of(refused, language, settings)
    told = text_of(replace(refused, person_reasons=("Rendimento por confirmar",)), language, settings)
    assert "Rendimento por confirmar" in told and ask not in told


@each_language
def test_an_accepted_client_gets_a_short_letter(language, settings):
    accepted, refused = (write_letter(facts, language, settings) for facts in (ACCEPTED, FACTS))
    assert len(squeeze(Shown(accepted).text)) < 0.6 * len(squeeze(Shown(refused).text))
    assert "<table" not in accepted and "<table" in refused


@each_kind
def test_no_word_of_the_other_language(kind, settings):
    facts = replace(KINDS[kind], person_reasons=())
    words = [
        set(re.findall(r"[^\W\d]{2,}", text_of(facts, language, settings).lower())) for language in LANGUAGES
    ]
    names = {"banco", "exemplo", "rua", "lisboa", "review", "bank", "example", "dpo", "cnpd", "nt"}
    assert words[0] & words[1] <= names | {"no", "real"} and min(map(len, words)) > 50


@each_language
def test_advice_about_debts_is_for_the_refused_and_only_where_it_is_set(language, settings):
    advised = read_settings(PACKAGED, environ=BANK | {"RUMOS_LETTERS_DEBT_ADVICE": "advice.example"})
    assert "advice.example" in text_of(FACTS, language, advised)
    assert "advice.example" not in text_of(ACCEPTED, language, advised)
    assert {"en": "advice", "pt": "Aconselhamento"}[language] not in text_of(FACTS, language, settings)


@each_language
def test_a_model_of_synthetic_clients_writes_specimens(language, settings):
    word = {"en": "Specimen", "pt": "Exemplar"}[language]
    assert word in text_of(KINDS["specimen"], language, settings)
    assert word not in text_of(FACTS, language, settings)


# Nothing internal


PROBABILITY, THRESHOLD, IF_TYPICAL, POINTS = 0.73154, 0.28719, 0.15935, 41.97531


class Champion:
    "A champion whose inner numbers would be noticed in a letter."

    version, family, about = 7, "LightGBM", {"twin": False}
    seen = tuple(name for name in CLIENT_COLUMNS if name not in PROTECTED)
    refused = True

    def read_client(self, values):
        assert not set(values) & set(PROTECTED)
        return [values.get(name, 0) for name in CLIENT_COLUMNS]

    def explain(self, values):
        others = Others(501, 377, 0.75250, 0.71312, 0.78841)
        reasons = (Reason("latest repayment status", POINTS, IF_TYPICAL, 0.3),)
        changes = tuple(Change(n, 0, {"PAY_0": 0}, IF_TYPICAL, 0.61803) for n in (1, 2, 3))
        groups = (("latest repayment status", POINTS),)
        ours = (reasons, changes) if self.refused else ((), ())
        return Explanation(PROBABILITY, THRESHOLD, self.refused, 0.11847, groups, *ours, others, others)


CASE = {"case": "20261129-1f", "version": 7, "decided_on": date(2026, 11, 29)}


@each_language
def test_no_inner_number_reaches_a_letter(language, settings):
    facts = make_facts(Champion(), EXAMPLE_CLIENT | {"PAY_0": 2}, **CASE, refused=True)
    page = write_letter(facts, language, settings)
    text = Shown(page).text + "".join(
        each.extract_text() for each in read_pdf(write_letter_pdf(facts, language, settings)).pages
    )
    for number in (PROBABILITY, THRESHOLD, IF_TYPICAL, 0.11847, 0.75250, 0.71312, 0.78841, 0.61803):
        for digits in (
            f"{100 * number:.1f}",
            f"{100 * number:.0f} %",
            f"{100 * number:.0f}%",
            f"{number:.3f}",
        ):
            assert digits not in text and digits.replace(".", ",") not in text
    assert "42" not in text and "501" not in text and "377" not in text
    assert "€" not in text and "LightGBM" not in text and "1000" not in text and "3000" not in text
    assert not re.search(r"version|threshold|points", text.lower())
    names = {each.name for each in fields(LetterFacts)} | NAMES.keys()
    assert not [name for name in names if re.search("probab|thresh|cost|margin", name)]


# From a case


def test_facts_come_from_the_version_that_decided():
    facts = make_facts(
        Champion(),
        EXAMPLE_CLIENT,
        **CASE,
        refused=True,
        reference="C-1",
        person_reasons=["x"],
        by_person=True,
    )
    assert facts.reasons == ("latest repayment status",) and facts.role == "confirmed"
    assert facts.changes == ((1, {"PAY_0": 0}), (2, {"PAY_0": 0})), "at most two, the easiest first"
    assert set(facts.values) == set(Champion.seen) and facts.person_reasons == ("x",)
    with pytest.raises(ParameterError, match="was decided by version 6, and version 7 was given"):
        make_facts(Champion(), EXAMPLE_CLIENT, **CASE | {"version": 6}, refused=True)


@pytest.mark.parametrize("gone", [None, {}])
def test_an_erased_case_has_no_letter(gone):
    with pytest.raises(DataError, match="case 20261129-1f was erased: its values are gone"):
        make_facts(Champion(), gone, **CASE, refused=True)


def test_a_record_that_the_version_contradicts_has_no_letter():
    with pytest.raises(
        DataError, match="version 7 refuses these values, but the record says that it accepts them"
    ):
        make_facts(Champion(), EXAMPLE_CLIENT, **CASE, refused=False)
    accepting = Champion()
    accepting.refused = False
    with pytest.raises(
        DataError, match="version 7 accepts these values, but the record says that it refuses them"
    ):
        make_facts(accepting, EXAMPLE_CLIENT, **CASE, refused=True)
    assert make_facts(accepting, EXAMPLE_CLIENT, **CASE, refused=True, by_person=True).role == "against"
    with pytest.raises(DataError, match="by_person must be true"):
        replace(FACTS, refused=False)


# Hostile values


@each_language
@checks(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reference=st.text("<>&\"'/= {}%#abc\u202e\u00e7", max_size=64))
@example(reference="<script>alert(1)</script>")
@example(reference='"><img src=x onerror=alert(1)>')
@example(reference="{{ 7 * 7 }}{% raw %}")
@example(reference="</p></body></html>")
def test_a_hostile_reference_is_text(language, reference, settings):
    usual = [tag for tag, _ in Shown(write_letter(FACTS, language, settings)).tags]
    page = Shown(write_letter(replace(FACTS, reference=reference or "-"), language, settings))
    assert [tag for tag, _ in page.tags] == usual
    assert (reference or "-") in page.text


def test_typst_in_a_reference_is_text(settings):
    hostile = '#panic("x") *b* $1$ @a <b> \\'
    text = (
        read_pdf(write_letter_pdf(replace(FACTS, reference=hostile), "en", settings)).pages[0].extract_text()
    )
    assert squeeze(hostile) in squeeze(text)


def test_a_reference_that_a_template_marks_as_safe_brings_no_script(own):
    folder, settings = own
    template = folder / "en.html"
    template.write_text(template.read_text().replace("{{ reference }}", "{{ reference | safe }}"))
    assert "C-1024" in write_letter(FACTS, "en", settings)
    for hostile in (
        "<script>alert(1)</script>",
        "<b onclick='x'>",
        '<a href="javascript:x">y</a>',
        "<img src=http://x/y>",
    ):
        with pytest.raises(SettingsError, match=r"en\.html: <"):
            write_letter(replace(FACTS, reference=hostile), "en", settings)


# Templates of the bank


def test_the_templates_are_copied_and_never_replaced(tmp_path):
    copied = copy_templates(tmp_path / "new" / "letters")
    assert [path.name for path in copied] == ["en.html", "letter.css", "letter.typ", "pt.html"]
    for path in copied:
        path.write_text("mine")
    copied[0].unlink()
    with pytest.raises(
        ParameterError, match=r"has letter\.css, letter\.typ, pt\.html already, and nothing is replaced"
    ):
        copy_templates(tmp_path / "new" / "letters")
    assert not copied[0].exists() and copied[1].read_text() == "mine"


def test_an_own_template_is_used_and_the_others_stay_packaged(own, settings):
    folder, ours = own
    template = folder / "pt.html"
    template.write_text(
        template.read_text(encoding="utf-8").replace("Os seus direitos", "Direitos do cliente"),
        encoding="utf-8",
    )
    (folder / "en.html").unlink()
    assert "Direitos do cliente" in write_letter(FACTS, "pt", ours)
    assert "Direitos do cliente" in read_pdf(write_letter_pdf(FACTS, "pt", ours)).pages[0].extract_text()
    assert write_letter(FACTS, "en", ours) == write_letter(FACTS, "en", settings)
    assert check_letters(ours) == check_letters(settings)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("<p>{{ address }}</p>", "<p>{{ adress }}</p>", "line @: a letter has no adress; it has address, authority,"),
        ("{{ case }}", "{{ threshold }}", "line @: a letter has no threshold"),
        ("<p>{{ address }}</p>", "<p>{{ address </p>", "line @: "),
        ("{% if refused and debt_advice %}", "{% if %}", "line @: "),
        ("fact.source", "fact.origin", "line @: 'dict object' has no attribute 'origin'"),
        ("{{ date }}", "{{ date | shout }}", "line @: No filter named 'shout'"),
        ("{{ case }}", "{{ case.__class__.__mro__ }}", "line @: access to attribute '__class__'"),
        ("{{ case }}", "{{ 1 / 0 }}", "line @: division by zero"),
        ("{{ case }}", "{% for i in range(10000000) %}{% endfor %}", "line @: Range too big"),
        ('{% include "letter.css" %}', '{% include "lettre.css" %}', "it includes lettre.css, and there is no such file"),
        ('{% include "letter.css" %}', '{% include "../../../settings.ini" %}', "it includes ../../../settings.ini"),
        ("<h2>Why</h2>", "<h2>Why", "<p> stands in <h2>, which holds words only"),
        ("<h2>Why</h2>", "<h2>Why</h3>", "</h3> stands where </h2> is expected"),
        ("<h2>Why</h2>", "Why", "“Why” stands outside of a paragraph, in <body>"),
        ("<h2>Why</h2>", "<blink>Why</blink>", "<blink> cannot stand in a letter; these can: a, b, body"),
        ("<h2>Why</h2>", '<h2 style="color: red">Why</h2>', "<h2> has style; a letter allows alt, charset, class"),
        ("<style>", "<style>@import 'https://x/y.css';", "<style> has @import: a letter loads nothing"),
        ("<th>Value</th>", "", "<table> needs rows of one length"),
        ('lang="en"', 'lang="pt"', 'the page is to be one <html lang="en">'),
        ("</title>", "</title>\n<script src='x'></script>", "<script> cannot stand in a letter"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_template_is_named_with_its_file_and_line(own, old, new, said):
    folder, settings = own
    template = folder / "en.html"
    text = template.read_text(encoding="utf-8")
    assert old in text
    line = text[: text.index(old)].count("\n") + 1
    template.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        write_letter(FACTS, "en", settings)
    assert str(raised.value).startswith(str(template)) and said.replace("line @", f"line {line}") in str(
        raised.value
    )


def test_an_unknown_name_is_found_in_a_branch_that_this_client_does_not_meet(own):
    folder, settings = own
    template = folder / "pt.html"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("<p>Os dados são:", "<p>{{ score }}: os dados são:"), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"pt\.html, line \d+: a letter has no score"):
        write_letter(FACTS, "pt", settings)


def test_a_wrong_attribute_is_found_by_the_check_before_a_client_meets_it(own):
    folder, settings = own
    template = folder / "pt.html"
    text = template.read_text(encoding="utf-8")
    template.write_text(
        text.replace("<p>Os dados são:", "<p>{{ facts[0].nome }}: os dados são:"), encoding="utf-8"
    )
    assert write_letter(FACTS, "pt", settings)
    with pytest.raises(SettingsError, match=r"pt\.html, line \d+: 'dict object' has no attribute 'nome'"):
        check_letters(settings)


def test_a_template_that_is_not_utf8_or_not_there_is_named(own, tmp_path):
    folder, settings = own
    (folder / "en.html").write_bytes("<p>é</p>".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"en\.html: it is not UTF-8"):
        write_letter(FACTS, "en", settings)
    nowhere = read_settings(PACKAGED, environ=BANK | {"RUMOS_LETTERS_FOLDER": str(tmp_path / "nowhere")})
    with pytest.raises(SettingsError, match=r"\[letters\] folder: .*nowhere is no folder"):
        write_letter(FACTS, "en", nowhere)


def test_a_letterhead_may_hold_a_picture(own):
    folder, settings = own
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    template = folder / "en.html"
    text = template.read_text()
    picture = f'<p><img src="data:image/png;base64,{dot}" alt="Banco Exemplo"></p>'
    template.write_text(text.replace("<header>", f"<header>{picture}"))
    assert dot in write_letter(FACTS, "en", settings)
    (image,) = read_pdf(write_letter_pdf(FACTS, "en", settings)).pages[0].images
    assert image.image.size == (1, 1)
    template.write_text(text.replace("<header>", f"<header>{picture.replace('alt', 'class')}"))
    with pytest.raises(SettingsError, match="<img> has no alt"):
        write_letter(FACTS, "en", settings)


@pytest.mark.parametrize("name", BANK)
def test_a_bank_that_cannot_be_reached_writes_no_letter(name, settings):
    key = name.removeprefix("RUMOS_LETTERS_").lower()
    with pytest.raises(SettingsError, match=rf"\[letters\] {key}: empty, and every letter names it"):
        write_letter(
            FACTS, "en", read_settings(PACKAGED, environ={each: BANK[each] for each in BANK if each != name})
        )


def test_another_language_is_refused(settings):
    with pytest.raises(ParameterError, match=r"language must be one of en, pt, got '\.\./en'"):
        write_letter(FACTS, "../en", settings)


# The page and the PDF


@each_kind
@each_language
def test_the_pdf_says_what_the_page_says_on_one_sheet(kind, language, settings):
    pdf = read_pdf(write_letter_pdf(KINDS[kind], language, settings))
    text = "".join(page.extract_text() for page in pdf.pages)
    assert squeeze(text) == squeeze(Shown(write_letter(KINDS[kind], language, settings)).text)
    assert len(pdf.pages) == 1


@each_language
def test_a_letter_with_all_that_it_can_hold_fits_on_one_sheet(language):
    long = dict.fromkeys(BANK, "a word or two " * 7) | {"RUMOS_LETTERS_DEBT_ADVICE": "a word or two " * 7}
    everything = read_settings(PACKAGED, environ=long)
    groups = (
        "latest repayment status",
        "history of late payments",
        "bills and use of the limit",
        "size of the payments",
    )
    change = {f"PAY_AMT{n}": 123_456 for n in (1, 2, 3)}
    facts = replace(FACTS, values=CLIENT | {"PAY_0": 9}, reasons=groups, changes=((3, change), (2, change)))
    facts = replace(facts, by_person=True, person_reasons=("a reason " * 9,), reference="r" * 64)
    assert len(read_pdf(write_letter_pdf(facts, language, everything)).pages) == 1


@each_language
def test_the_same_facts_give_the_same_bytes_and_no_time_but_the_day_of_the_decision(language, settings):
    first, second = (write_letter_pdf(FACTS, language, settings) for _ in range(2))
    assert first == second
    assert write_letter(FACTS, language, settings) == write_letter(FACTS, language, settings)
    about = read_pdf(first).metadata
    assert about["/CreationDate"][:10] == about["/ModDate"][:10] == "D:20261129"
    assert write_letter_pdf(replace(FACTS, case="20261129-20"), language, settings) != first


@each_language
def test_the_pdf_is_tagged_titled_and_in_its_language_with_its_fonts_inside(language, settings):
    pdf = read_pdf(write_letter_pdf(FACTS, language, settings))
    root = pdf.trailer["/Root"]
    assert root["/Lang"] == language and root["/MarkInfo"]["/Marked"]
    assert (
        root["/ViewerPreferences"]["/DisplayDocTitle"] and b"<pdfuaid:part>1<" in root["/Metadata"].get_data()
    )
    assert pdf.metadata.title.startswith("Banco Exemplo: ")
    for font in pdf.pages[0]["/Resources"]["/Font"].values():
        (inner,) = font.get_object()["/DescendantFonts"]
        assert {"/FontFile2", "/FontFile3"} & inner.get_object()["/FontDescriptor"].keys()
    tags: set[str] = set()

    def walk(node):
        node = node.get_object()
        if isinstance(node, list):
            list(map(walk, node))
        elif isinstance(node, dict):
            tags.add(node.get("/S"))
            walk(node.get("/K", []))

    walk(root["/StructTreeRoot"]["/K"])
    assert {"/H1", "/H2", "/P", "/L", "/LI", "/Table", "/TR", "/TH", "/TD"} <= tags


@each_kind
def test_a_page_loads_nothing_and_runs_nothing(kind, settings):
    for language in LANGUAGES:
        page = write_letter(KINDS[kind], language, settings)
        tags = Shown(page).tags
        assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in tags}
        assert not [name for _, attrs in tags for name, _ in attrs if name.startswith("on") or name == "src"]
        assert "url(" not in page and "@import" not in page and "@page" in page


def test_a_character_without_a_font_is_refused_by_name(settings):
    with pytest.raises(SettingsError, match=r"cannot be set as PDF with .*letter\.typ: .*陳"):
        write_letter_pdf(replace(FACTS, reference="陳"), "en", settings)
    assert "陳" in write_letter(replace(FACTS, reference="陳"), "en", settings)


@pytest.mark.parametrize("suffix", [".html", ".pdf", ".PDF"])
def test_a_letter_is_saved_in_the_form_of_its_suffix(suffix, settings, tmp_path):
    path = save_letter(FACTS, "pt", settings, tmp_path / f"letter{suffix}")
    assert path.read_bytes().startswith({".html": b"<!doctype html>"}.get(suffix, b"%PDF-"))
    with pytest.raises(ParameterError, match=r"a letter is written as \.html or \.pdf"):
        save_letter(FACTS, "pt", settings, tmp_path / "letter.docx")


def test_a_page_without_its_packages_names_them(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(PackageError, match=r'run pip install "rumos_bank\[letters\]"'):
        write_letter(FACTS, "en", settings)


def test_the_packaged_templates_name_every_value_and_no_other(settings):
    for language in LANGUAGES:
        text = (letters.PACKAGED_LETTERS / f"{language}.html").read_text(encoding="utf-8")
        assert not [name for name in NAMES if not re.search(rf"\b{name}\b", text)]
    assert check_letters(settings) == 18


@pytest.mark.parametrize("name", ["BANK", "ADDRESS"])
def test_a_line_break_in_the_banks_name_is_refused(name):
    with pytest.raises(SettingsError, match=rf"(?i)\[letters\] {name}"):
        read_settings(PACKAGED, environ=BANK | {f"RUMOS_LETTERS_{name}": "Banco\nExemplo"})


def test_a_letter_never_names_another_client(tmp_path, monkeypatch):
    settings = Settings(
        store=StoreSettings(path=tmp_path / "store"),
        ledger=LedgerSettings(folder=tmp_path / "keys"),
        data=DataSettings(cache=str(tmp_path / "cache")),
    )
    log = DecisionLog(settings)
    answer = {"prediction": 1, "probability": 0.4, "threshold": 0.25, "refer": False, "model_version": 7}
    made = Decided(caller="test", input=EXAMPLE_CLIENT, answer=answer, model={"version": 7, "digest": "0"})
    id_ = log.append(made.to_dict() | log.describe(["4711-A"], "desk")[0])
    log.close()
    monkeypatch.setattr("rumos_bank.serving.letters.load_promoted", lambda *_: Champion())
    assert find_facts(settings, id_, " 4711-A ").reference == "4711-A"
    assert find_facts(settings, id_).reference == ""
    with pytest.raises(DataError, match="is about another client than '4712-B'"):
        find_facts(settings, id_, "4712-B")
    with pytest.raises(DataError, match="1 to 64 printable"):
        find_facts(settings, id_, "4711\nA")
