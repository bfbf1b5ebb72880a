"""Pictures of letters to clients, in both languages: `make screens` writes them to reports/record/screens.

It is no test. Check the pictures by eye: the PDF as Typst sets it, and the page as a browser shows it."""

import io
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "shared"))

from browsing import find_chromium
from PIL import Image
from playwright.sync_api import sync_playwright

from rumos_bank.data.contract import EXAMPLE_CLIENT
from rumos_bank.ground.settings import PACKAGED, Settings, read_settings
from rumos_bank.serving.letters import LetterFacts, _set_letter, write_letter

FOLDER = Path(__file__).parents[2] / "reports" / "record" / "screens"
A4 = {"width": 794, "height": 1123}  # pixels
FACTS = LetterFacts(
    "20261129-1f",
    date(2026, 11, 29),
    refused=True,
    by_person=False,
    model_refused=True,
    values={name: value for name, value in EXAMPLE_CLIENT.items() if name not in ("SEX", "MARRIAGE", "AGE")}
    | {"LIMIT_BAL": 90_000, "PAY_0": 2, "PAY_2": 2, "BILL_AMT1": 81_240, "BILL_AMT2": 79_100, "BILL_AMT3": 80_150},
    reasons=("latest repayment status", "history of late payments", "bills and use of the limit", "size of the payments"),
    changes=((1, {"PAY_0": 0}), (0, {"PAY_AMT1": 19_775, "PAY_AMT2": 20_038})),
    reference="C-1024",
)  # fmt: skip
OVERRULED = replace(FACTS, by_person=True, refused=False)


def name_bank(language: str) -> Settings:
    "An example bank, in the letter's language."
    english = language == "en"
    words = {
        "BANK": "Banco Exemplo",
        "ADDRESS": "Rua do Exemplo 1, 1000-001 Lisboa",
        "CONTACT": "review@banco.example or to the address above" if english else "revisao@banco.example ou para o endereço acima",
        "DATA_PROTECTION": "dpo@banco.example" if english else "epd@banco.example",
        "AUTHORITY": "Comissão Nacional de Proteção de Dados, www.cnpd.pt",
    }  # fmt: skip
    return read_settings(PACKAGED, environ={f"RUMOS_LETTERS_{key}": value for key, value in words.items()})


def keep(picture: bytes, name: str) -> None:
    "A small file: text needs no more than a few greys."
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(32)
    image.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    for language in ("en", "pt"):
        for name, facts in (("letter", FACTS), ("letter-overruled", OVERRULED)):
            keep(
                _set_letter(facts, language, name_bank(language), format="png", ppi=110), f"{name}-{language}"
            )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium())
        for language in ("en", "pt"):
            page = browser.new_page(viewport=A4)
            page.set_content(write_letter(FACTS, language, name_bank(language)))
            keep(page.screenshot(full_page=True), f"letter-page-{language}")
        browser.close()
