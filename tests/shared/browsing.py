"What the tests in a browser are made of: a served desk, an opened page, axe, a relay, screenshots."

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
from processes import find_free_port, kill_group, wait_until
from stores import settings_for

from rumos_bank.desk.widgets import voila_command, voila_environment
from rumos_bank.ground.settings import Settings

DESKTOP, PHONE = {"width": 1280, "height": 1000}, {"width": 390, "height": 844}


def settings_in(folder: Path, **more: str) -> Settings:
    "Settings whose every place lies in this folder; files of at most one megabyte."
    places = {"RUMOS_DATA_CACHE": str(folder / "cache"), "RUMOS_AUDIT_FOLDER": str(folder / "decisions")}
    ours = places | {"RUMOS_DATA_SOURCES": "twin", "RUMOS_DESK_MAX_UPLOAD": "1"}
    return settings_for(folder / "store", **ours, **more)


@cache
def find_chromium() -> str | None:
    "Debian's Chromium, or else the one that Playwright has downloaded; asked before its event loop runs."
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if installed := shutil.which("chromium"):
        return installed
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


@dataclass
class Served:
    "A Voila server of the desk."

    address: str
    process: subprocess.Popen
    log: Path

    def kernels(self) -> dict[str, psutil.Process]:
        "The kernels that live, by their number."
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = " ".join(child.cmdline())
                if "kernel-" in words and child.status() != psutil.STATUS_ZOMBIE:
                    found[words.split("kernel-")[1].split(".json")[0]] = child
        return found


@contextlib.contextmanager
def serve_desk(settings: Settings, folder: Path, reports: Path | None = None) -> Iterator[Served]:
    "`rumos serve dashboard` as a process, until the block ends."
    ports = settings.ports.model_copy(update={"dashboard": find_free_port()})
    changed: dict = {"ports": ports}
    if reports:
        changed["store"] = settings.store.model_copy(update={"reports": reports})
    settings = settings.model_copy(update=changed)
    ours = {f"RUMOS_DESK_{name.upper()}": str(value) for name, value in settings.desk.model_dump().items()}
    ours |= {"RUMOS_DATA_SOURCES": "twin", "RUMOS_DATA_CACHE": settings.data.cache}
    environment = {**os.environ, **ours, **voila_environment(settings)}
    log = folder / "voila.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            voila_command(settings), env=environment, stdout=output, stderr=output, start_new_session=True
        )
    address = f"http://127.0.0.1:{ports.dashboard}{settings.desk.base_url}"
    try:
        wait_until(lambda: "is filled" in log.read_text(errors="replace"), 60, log)
        yield Served(address, process, log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            kill_group(process)


class Opened:
    "A page of the desk, ready to be used; it keeps what went wrong and what was asked of other servers."

    def __init__(self, browser, address: str, **scan) -> None:
        scan = {"locale": "en-GB", "viewport": DESKTOP} | scan
        self.context = browser.new_context(**scan)
        self.page = self.context.new_page()
        self.outside, self.errors = [], []
        host = address.split("/")[2]
        local = ("data:", "blob:")
        self.page.on(
            "request",
            lambda sent: (
                None
                if sent.url.startswith(local) or sent.url.split("/")[2] == host
                else self.outside.append(sent.url)
            ),
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        began = time.monotonic()
        self.page.goto(address, wait_until="commit")
        self.page.wait_for_selector("body[data-ready=yes]", timeout=30_000)
        self.page.locator(".card.answer .verdict").wait_for()
        self.seconds = time.monotonic() - began

    @property
    def kernel(self) -> str:
        return str(self.page.evaluate("window.jupyterapp.widgetManager.kernel.id"))

    def reset(self) -> None:
        from playwright.sync_api import expect

        page = self.page
        page.get_by_role("button", name="EN", exact=True).click()
        page.get_by_role("button", name="One client").click()
        # The reference goes with the client: when it is gone, the form was filled anew, and no late answer undoes a test.
        reference = page.get_by_label("Client reference")
        reference.fill("the one before")
        page.get_by_role("button", name="A safe client").click()
        expect(reference).to_have_value("")
        page.locator(".card.answer .verdict.good").wait_for()

    def close(self) -> None:
        self.page.goto("about:blank")  # so that the page releases its kernel
        self.context.close()


def read_axe() -> str:
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def find_barriers(page) -> list[str]:
    "What axe-core finds, serious or worse, in one line each."
    if not page.evaluate("!!window.axe"):
        page.evaluate(read_axe())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:150]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def keep_screen(page, path: Path) -> None:
    "A picture of the whole page for people to look at."
    page.wait_for_timeout(300)  # the bars have grown
    page.screenshot(path=path, full_page=True)


@contextlib.contextmanager
def relay(port: int) -> Iterator[int]:
    "A reverse proxy that hands on every byte, WebSockets too; yields its own port."
    service = socket.create_server(("127.0.0.1", 0))

    def hand_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                target.sendall(some)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = service.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=hand_on, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield int(service.getsockname()[1])
    service.close()
