"""Pictures of the desk over the bank's own store, and its times and memory: `make screens` writes both to reports/record/screens.

It is no test. Run it after a full pipeline run, then check the pictures by eye."""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "shared"))

from browsing import PHONE, Opened, find_barriers, find_chromium, serve_desk
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rumos_bank.desk.state import PRESETS
from rumos_bank.desk.uploads import write_template
from rumos_bank.ground.settings import Settings, read_settings

FOLDER = Path(__file__).parents[2] / "reports" / "record" / "screens"
SCREENS = {
    "desktop": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "device_scale_factor": 2, "locale": "pt-PT"},
}
WAIT = """() => new Promise((done) => { const part = document.querySelector('.card.answer'), began = performance.now();
  new MutationObserver((_, watch) => { watch.disconnect(); requestAnimationFrame(() => done(performance.now() - began)); })
    .observe(part, { subtree: true, childList: true, characterData: true });
  const choice = document.querySelectorAll('.choice select')[1];
  choice.selectedIndex = choice.selectedIndex === 1 ? 4 : 1; choice.dispatchEvent(new Event('change', { bubbles: true })); })"""


def keep(page: Page, name: str, whole: bool = True) -> int:
    "A picture, and how many barriers axe finds on what it shows."
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(400)
    page.screenshot(path=FOLDER / f"{name}.png", full_page=whole)
    return len(find_barriers(page))


def walk(opened: Opened, screen: str) -> int:
    "Both answers; on the desktop the file, an error and the model as well."
    page, phone = opened.page, screen == "phone"
    barriers = keep(page, f"{screen}-accept", not phone)
    page.locator(".presets button").nth(1).click()
    page.locator(".card.answer .verdict.bad").wait_for()
    barriers += keep(page, f"{screen}-refuse", not phone)
    if screen == "desktop":
        page.get_by_label("Credit limit").fill("12abc")
        page.locator(".amount.invalid").wait_for()
        barriers += keep(page, "error")
        page.get_by_role("button", name="The model").click()
        page.locator(".model .tiles").wait_for()
        barriers += keep(page, "model")
    return barriers


def decide_file(opened: Opened, settings: Settings, folder: Path) -> tuple[int, dict[str, float]]:
    "Thirty thousand clients, one of them impossible: seconds to the preview and to the results."
    from rumos_bank.serving.champion import Champion

    seen, page = Champion.load(settings).seen, opened.page
    file = folder / "clients.csv"
    file.write_bytes(
        write_template(seen, list(PRESETS.values()) * 10_000).replace(b"1,240000", b"1,a lot", 1)
    )
    page.get_by_role("button", name="A file of clients").click()
    began = time.monotonic()
    with page.expect_file_chooser() as chooser:
        page.locator(".drop").click()
    chooser.value.set_files(file)
    page.locator(".t .wrong").wait_for()
    read = time.monotonic()
    page.get_by_role("button", name="Decide 29,999 clients").click()
    page.locator(".dt-container").wait_for(timeout=60_000)
    expect(page.locator(".dt-info")).to_contain_text("29,999")
    took = {"read": round(read - began, 1), "decided": round(time.monotonic() - read, 1)}
    return keep(page, "file-result"), took


def measure(browser: Browser, settings: Settings, folder: Path) -> dict[str, object]:
    "All measurements of the desk."
    began = time.monotonic()
    with serve_desk(settings, folder) as served:
        first = Opened(browser, served.address)
        cold, memory = time.monotonic() - began, served.kernels()[first.kernel].memory_full_info()
        times = [first.page.evaluate(WAIT) for _ in range(20)]
        first.close()
        warm, barriers = [], 0
        for screen, options in SCREENS.items():
            time.sleep(4)  # the next kernel is heated meanwhile
            opened = Opened(browser, served.address, **options)
            warm.append(opened.seconds)
            barriers += walk(opened, screen)
            opened.close()
        time.sleep(4)
        opened = Opened(browser, served.address)
        found, seconds = decide_file(opened, settings, folder)
        opened.close()
    return {
        "seconds_cold": round(cold, 1),  # from starting the server to a page that answers
        "seconds_warm": round(statistics.median(warm), 1),
        "milliseconds_to_answer": round(statistics.median(times)),
        "megabytes_per_user": {"rss": round(memory.rss / 1e6), "own": round(memory.uss / 1e6)},
        "seconds_of_30000_clients": seconds,
        "barriers_serious_or_worse": barriers + found,
    }


def main() -> None:
    settings, chromium = read_settings(), find_chromium()
    if chromium is None:
        sys.exit("no browser: make browser")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium)
        audit = settings.audit.model_copy(
            update={"folder": Path(folder) / "decisions"}
        )  # not the bank's own log
        measured = measure(browser, settings.model_copy(update={"audit": audit}), Path(folder))
        browser.close()
    (FOLDER / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
