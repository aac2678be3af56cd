"""A running stack, a slide in it, and Chromium signed in to its page."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, StorageState, sync_playwright

from tests.running import RunningStack, few_ticks, running_stack
from tests.slides.aperio import write_svs

CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
# Where the pictures of the documents go; they show a slide as large as the demo's.
PICTURES = os.environ.get("SLIDEMILL_SCREENSHOTS")
SIZE = (20_000, 15_000) if PICTURES else (6_000, 5_000)
# Distinct colours and deviation of the brightness (0 to 255) of what the viewer has drawn.
DRAWN = """window.drawn = () => {
    const canvas = [...document.querySelectorAll('[data-testid="viewer"] canvas')]
        .sort((a, b) => b.width * b.height - a.width * a.height)[0];
    if (canvas === undefined || canvas.width === 0) return {colours: 0, deviation: 0};
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0);
    const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    let sum = 0, squares = 0;
    for (let at = 0; at < data.length; at += 4) {
        colours.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
        const light = data[at + 3] === 0 ? 255 : (data[at] + data[at + 1] + data[at + 2]) / 3;
        sum += light;
        squares += light * light;
    }
    const pixels = data.length / 4;
    return {colours: colours.size, deviation: Math.sqrt(squares / pixels - (sum / pixels) ** 2)};
}"""


def picture(page: Page, name: str) -> None:
    """Keeps what the page shows at the moment, if somebody asked for pictures; a `.jpg` is compressed as such."""
    if PICTURES:
        kind: dict[str, Any] = {"type": "jpeg", "quality": 85} if name.endswith(".jpg") else {}
        page.screenshot(path=Path(PICTURES) / name, **kind)


def sign_in_link(mill: RunningStack) -> str:
    """A fresh one-time link, as an operator gets it."""
    return str(mill.run("signin")["url"])


@pytest.fixture(scope="package")
def mill() -> Iterator[RunningStack]:
    with few_ticks(), running_stack() as running:
        yield running


@pytest.fixture(scope="package")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scanner's file with label, macro image and resolution."""
    path = tmp_path_factory.mktemp("slides") / "S26-0417 A1.svs"
    write_svs(path, *SIZE)
    return path


@dataclass(frozen=True)
class Case:
    """A session with one slide that is ready."""

    session: str
    title: str
    image: str


@pytest.fixture(scope="package")
def case(mill: RunningStack, slide: Path) -> Case:
    title = "Case S26-0417"
    image = mill.upload(slide, session=title)[slide.name]
    assert image["state"] == "ready", image["failure"]
    return Case(image["session"], title, image["id"])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@dataclass
class Watched:
    """What pages did behind the scenes."""

    origin: str
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.requests.append(request))
        context.on("console", self._note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location['url']}")

    def foreign(self) -> list[str]:
        """Addresses asked for outside the page's own origin."""
        own = re.compile(re.escape(self.origin) + "(/|$)|(blob|data):")
        return [request.url for request in self.requests if not own.match(request.url)]


Open = Callable[..., Page]


@pytest.fixture
def behind(mill: RunningStack) -> Iterator[Watched]:
    """Every test ends with the proof that nothing left the origin and nothing was complained about."""
    watched = Watched(mill.url)
    yield watched
    assert watched.requests
    assert watched.foreign() == []
    assert watched.complaints == []


@pytest.fixture
def stranger(browser: Browser, mill: RunningStack, behind: Watched) -> Iterator[Open]:
    """Opens a new browser profile that has never signed in; takes the options of a context."""
    contexts: list[BrowserContext] = []

    def opened(**options: Any) -> Page:
        context = browser.new_context(base_url=mill.url, viewport=options.pop("viewport", None) or _DESK, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        context.add_init_script(DRAWN)
        behind.watch(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


_DESK: Any = {"width": 1280, "height": 800}


@pytest.fixture(scope="package")
def signed_in(browser: Browser, mill: RunningStack) -> StorageState:
    """The cookies of a browser that has opened a sign-in link."""
    context = browser.new_context(base_url=mill.url)
    page = context.new_page()
    page.goto(sign_in_link(mill))
    page.get_by_test_id("create-session").wait_for()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(stranger: Open, signed_in: StorageState) -> Open:
    """Opens a new browser profile that is signed in; takes the options of a context."""
    return lambda **options: stranger(storage_state=signed_in, **options)
