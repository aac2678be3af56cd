"""The page in Chromium, in front of a whole stack: sign in, upload, watch, look."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PATIENCE_MS, Case, Open, Watched, picture, sign_in_link
from tests.running import RunningStack

STAGES = ("stage-upload", "stage-dice", "stage-fold", "stage-finish")
PHONE: Any = {"width": 360, "height": 740}

pytestmark = [pytest.mark.browser, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]
expect.set_options(timeout=PATIENCE_MS)

# Notes every state that every stage of a row is ever in, however short.
WATCH_STAGES = """() => {
    const seen = {};
    window.seenStages = seen;
    const look = () => {
        for (const stage of document.querySelectorAll('[data-testid^="stage-"]')) {
            const states = (seen[stage.dataset.testid] ??= []);
            if (!states.includes(stage.dataset.state)) states.push(stage.dataset.state);
        }
    };
    new MutationObserver(look).observe(
        document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ['data-state']});
}"""


def drawn(page: Page) -> Mapping[str, float]:
    """Distinct colours and deviation of the brightness (0 to 255) of what the viewer shows."""
    return dict(page.evaluate("() => window.drawn()"))


def expect_a_slide(page: Page) -> None:
    """Waits until the viewer shows tissue: thousands of colours, light and dark."""
    tissue = "() => { const {colours, deviation} = window.drawn(); return colours > 5000 && deviation > 10; }"
    page.wait_for_function(tissue, timeout=PATIENCE_MS)


def expect_settled(page: Page) -> None:
    """Waits until two looks half a second apart find the same picture: tiles are drawn and nothing moves."""
    page.wait_for_load_state("networkidle")
    same = """() => {
        const before = window.drawnBefore;
        window.drawnBefore = JSON.stringify(window.drawn());
        return before === window.drawnBefore;
    }"""
    page.wait_for_function(same, polling=500, timeout=PATIENCE_MS)


def sideways(page: Page) -> int:
    """How many pixels the page scrolls sideways."""
    return int(page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth"))


def loaded(image: Locator) -> None:
    """Waits until an <img> shows its picture."""
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 50


def brightness(screenshot: bytes) -> float:
    """Mean brightness of a PNG, 0 to 255."""
    return float(ImageStat.Stat(Image.open(io.BytesIO(screenshot)).convert("L")).mean[0])


def row_of(page: Page, name: str) -> Locator:
    return page.get_by_test_id("image-row").filter(has_text=name)


def test_without_a_cookie_the_page_only_says_how_to_sign_in(stranger: Open, case: Case, behind: Watched) -> None:
    page = stranger()
    for address in ("/", f"/sessions/{case.session}", f"/images/{case.image}"):
        with page.expect_response("**/api/v1/me") as asked:
            page.goto(address)
        assert asked.value.status == 401
        expect(page.get_by_test_id("sign-in")).to_contain_text("./slidemill signin")
        expect(page.locator("body")).not_to_contain_text("S26-0417")

    # Chromium itself notes each 401 in the console.
    assert {complaint.rpartition("/api/")[2] for complaint in behind.complaints} == {"v1/me"}
    behind.complaints.clear()


def test_a_sign_in_link_works_once(stranger: Open, mill: RunningStack, behind: Watched) -> None:
    link = sign_in_link(mill)
    first, second = stranger(), stranger()

    first.goto(link)
    expect(first.get_by_test_id("create-session")).to_be_visible()
    (cookie,) = first.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

    answer = second.goto(link)
    assert answer is not None
    assert answer.status == 410
    expect(second.locator("body")).to_contain_text("was used before")
    assert second.context.cookies() == []
    second.goto("/")
    expect(second.get_by_test_id("sign-in")).to_be_visible()
    assert all("/signin/" in complaint or "/api/v1/me" in complaint for complaint in behind.complaints)
    behind.complaints.clear()


def test_a_slide_goes_from_the_file_chooser_to_the_viewer(open_page: Open, slide: Path, behind: Watched) -> None:
    page = open_page()
    page.goto("/")
    page.get_by_test_id("session-title-input").fill("Tuesday's run")
    page.get_by_test_id("create-session").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tuesday's run")
    page.evaluate(WATCH_STAGES)

    page.get_by_test_id("file-input").set_input_files(slide)
    row = row_of(page, slide.name)
    expect(row).to_have_attribute("data-state", "ready")
    seen: Mapping[str, list[str]] = page.evaluate("() => window.seenStages")

    assert set(seen) == set(STAGES)
    assert [states[-1] for states in seen.values()] == ["done"] * 4
    assert seen["stage-upload"][-2:] == ["active", "done"]
    assert all(states[0] == "pending" for name, states in seen.items() if name != "stage-upload")
    assert any(request.resource_type == "eventsource" for request in behind.requests)

    page.reload()
    loaded(row.get_by_role("img"))
    expect(row.get_by_test_id("stage-upload")).to_have_count(0)
    row.get_by_test_id("open-viewer").click()
    expect_a_slide(page)
    expect(page.get_by_test_id("scale-bar")).to_have_text(re.compile(r"^\d+ (µm|mm)$"))
    for kind in ("label", "macro"):
        loaded(page.get_by_test_id("details").get_by_test_id(f"associated-{kind}").get_by_role("img"))
    expect(page.get_by_test_id("details")).to_contain_text("0.499 µm/px")


def test_keys_zoom_in_and_the_scale_follows(open_page: Open, case: Case) -> None:
    page = open_page()
    page.goto(f"/images/{case.image}")
    expect_a_slide(page)
    expect_settled(page)
    whole, scale = drawn(page), page.get_by_test_id("scale-bar").inner_text()

    for _ in range(5):
        page.keyboard.press("+")
    expect(page.get_by_test_id("scale-bar")).not_to_have_text(scale)
    expect_settled(page)
    expect_a_slide(page)
    assert drawn(page) != whole
    picture(page, "viewer.jpg")

    page.keyboard.press("0")
    expect(page.get_by_test_id("scale-bar")).to_have_text(scale)


def test_tiles_that_were_lost_come_again_and_a_slide_that_is_deleted_is_no_longer_shown(
    open_page: Open, mill: RunningStack, slide: Path, behind: Watched
) -> None:
    image = mill.upload(slide, session="Looked at")[slide.name]
    page = open_page()
    page.goto(f"/images/{image['id']}")
    expect_a_slide(page)
    lost = page.get_by_text("Parts of the slide did not come. Trying again.")

    page.route("**/image_files/**", lambda route: route.abort())
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(lost).to_be_visible()
    page.unroute("**/image_files/**")
    expect(lost).to_have_count(0)

    mill.request("DELETE", f"/images/{image['id']}")
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such slide")

    assert all("ailed to load" in complaint for complaint in behind.complaints), behind.complaints
    behind.complaints.clear()


def test_a_text_file_is_refused_in_words_and_holds_nothing_up(
    open_page: Open, case: Case, slide: Path, tmp_path: Path, behind: Watched
) -> None:
    other = tmp_path / "S26-0417 A2.svs"
    other.symlink_to(slide)
    notes = tmp_path / "x.svs"
    notes.write_bytes(b"Slides of Tuesday: see the list.\n" * 90)
    page = open_page()
    page.goto(f"/sessions/{case.session}")
    expect(row_of(page, slide.name)).to_be_visible()

    page.get_by_test_id("file-input").set_input_files([notes, other])
    failure = row_of(page, notes.name).get_by_test_id("failure")
    expect(failure).to_contain_text("x.svs")
    reason, remedy = failure.locator("strong").inner_text(), failure.inner_text()
    assert re.search(r"text|no image", reason, re.IGNORECASE), reason
    assert len(remedy) > len(reason) + 10, remedy
    expect(row_of(page, notes.name)).to_have_attribute("data-state", "failed")
    expect(row_of(page, other.name).get_by_test_id("stage-dice")).to_have_attribute(
        "data-state", re.compile("active|done")
    )
    picture(page, "session.png")
    expect(row_of(page, other.name)).to_have_attribute("data-state", "ready")

    assert all("/api/v1/tus/" in complaint for complaint in behind.complaints)
    behind.complaints.clear()


@pytest.mark.parametrize("where", ["sessions", "session", "viewer"])
def test_nothing_scrolls_sideways_on_a_phone(open_page: Open, case: Case, where: str) -> None:
    page = open_page(viewport=PHONE, has_touch=True)
    match where:
        case "sessions":
            page.goto("/")
            expect(page.get_by_test_id("session-row").filter(has_text=case.title)).to_be_visible()
        case "session":
            page.goto(f"/sessions/{case.session}")
            expect(page.get_by_test_id("open-viewer").first).to_be_visible()
        case _:
            page.goto(f"/images/{case.image}")
            expect_a_slide(page)
            page.get_by_test_id("toggle-details").click()
            expect(page.get_by_test_id("associated-label")).to_be_visible()

    assert sideways(page) == 0


@pytest.mark.parametrize("where", ["sessions", "session", "viewer"])
def test_dark_mode_is_dark(open_page: Open, case: Case, where: str) -> None:
    address = {"sessions": "/", "session": f"/sessions/{case.session}", "viewer": f"/images/{case.image}"}[where]
    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    for page in (light, dark):
        page.goto(address)
        if where == "viewer":
            expect_a_slide(page)
        else:
            expect(page.get_by_text(case.title).first).to_be_visible()

    assert brightness(dark.screenshot()) < brightness(light.screenshot()) - 15
