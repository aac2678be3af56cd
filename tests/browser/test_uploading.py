"""Uploads through the page in Chromium: many, paused, broken off, refused and deleted, in front of a whole stack."""

import hashlib
import json
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.conftest import PATIENCE_MS, Case, Open, Watched
from tests.running import RunningStack

pytestmark = [pytest.mark.browser, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]
expect.set_options(timeout=PATIENCE_MS)

MB = 1_000_000
PHONE: Any = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain picture of 12 MB that is quickly processed."""
    path = tmp_path_factory.mktemp("large") / "S26-0503 A1.tiff"
    Image.effect_noise((2000, 2000), 60).convert("RGB").save(path)
    return path


def opened_session(page: Page, title: str) -> str:
    """Makes a session on the page; returns its id."""
    page.goto("/")
    page.get_by_test_id("session-title-input").fill(title)
    page.get_by_test_id("create-session").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    return page.url.rpartition("/")[2]


def row_of(page: Page, name: str) -> Locator:
    return page.get_by_test_id("image-row").filter(has_text=name)


def slow_line(page: Page, bytes_per_second: int) -> None:
    """Lets the page send no faster than that from its beginning on; Chromium heeds the first limit of a page."""
    chromium = page.context.new_cdp_session(page)
    chromium.send("Network.enable")
    chromium.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second},
    )


def images_of(mill: RunningStack, session: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(mill.get(f"/sessions/{session}/images"))["items"]
    return items


def by_name(image: dict[str, Any]) -> str:
    return str(image["name"])


def stored(mill: RunningStack, session: str) -> int:
    """Bytes that the gateway has of a session's only image."""
    return sum(image["stages"]["upload"]["done"] for image in images_of(mill, session))


def wait_until_stored(page: Page, mill: RunningStack, session: str, least: int) -> None:
    """Waits until the gateway has so many bytes of the session's only image."""
    for _ in range(PATIENCE_MS // 50):
        if stored(mill, session) >= least:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"The gateway has only {stored(mill, session)} bytes.")


def tus(requests: Sequence[Request], method: str) -> list[Request]:
    return [request for request in requests if "/api/v1/tus/" in request.url and request.method == method]


def expect_whole(page: Page, mill: RunningStack, session: str, file: Path) -> None:
    """Waits until the file is ready, and proves that it is there once, byte by byte."""
    expect(row_of(page, file.name)).to_have_attribute("data-state", "ready")
    (image,) = images_of(mill, session)
    assert image["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def only_about(behind: Watched, words: str) -> None:
    """Chromium notes each error answer in the console: there are none but those that the test made."""
    assert all(words in complaint for complaint in behind.complaints), behind.complaints
    behind.complaints.clear()


def test_a_folder_of_many_files_goes_up_whole(
    open_page: Open, mill: RunningStack, tmp_path: Path, behind: Watched
) -> None:
    folder = tmp_path / "run 12"
    for n in range(12):
        file = folder / f"case {n % 3}" / f"slide {n // 3}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + n, 30), (200, 120, 150)).save(file)
    (folder / "case 0" / "Thumbs.db").write_bytes(b"litter")
    (folder / "case 1" / "scan.txt").write_text("Scanned on a Monday.")
    (folder / "case 2" / "scan.txt").write_text("Scanned on a Tuesday.")
    (folder / "plan.pdf").write_bytes(b"%PDF-1.4")
    page = open_page(viewport=PHONE, has_touch=True)
    session = opened_session(page, "Run 12")
    slow_line(page, 4000)

    page.get_by_test_id("folder-input").set_input_files(folder)
    expect(page.get_by_test_id("batch")).to_contain_text("of 12 files")
    left_out = page.get_by_test_id("left-out")
    expect(left_out).to_contain_text("3 files were left out, being no slides: scan.txt, plan.pdf")
    left_out.locator("summary").click()
    expect(left_out.get_by_text("run 12/case 2/scan.txt")).to_be_visible()
    left_out.get_by_role("button", name="Dismiss what was left out").click()
    expect(left_out).to_have_count(0)
    expect(page.get_by_text(re.compile(r"\d+ more files waiting"))).to_be_visible()
    page.get_by_test_id("pause-all").click()
    expect(page.get_by_test_id("batch")).to_contain_text("paused")
    assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") == 0
    slow_line(page, -1)
    page.get_by_test_id("resume-all").click()

    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(12)
    expect(page.get_by_test_id("batch")).to_have_count(0)
    sent = {(image["folder"], image["name"]) for image in images_of(mill, session)}
    assert sent == {(f"run 12/case {n % 3}", f"slide {n // 3}.png") for n in range(12)}
    # A creation that the pause broke off is repeated with its key.
    assert len({request.headers["idempotency-key"] for request in tus(behind.requests, "POST")}) == 12
    page.reload()
    folders = row_of(page, "slide 2.png").get_by_test_id("image-folder")
    expect(folders).to_have_count(3)
    assert sorted(folders.evaluate_all("all => all.map(({title}) => title)")) == [f"run 12/case {n}" for n in range(3)]
    expect(page.get_by_role("link", name="Open run 12/case 1/slide 2.png")).to_be_visible()


def test_a_folder_without_slides_makes_no_session(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Nothing to see.")
    page = open_page()
    page.goto("/")

    page.get_by_test_id("folder-input").set_input_files(tmp_path)

    expect(page.get_by_test_id("toast")).to_contain_text("There is no slide in it, only notes.txt.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sessions")


LONG = "Institut_Kantonsspital_2026-11-25_S26-0417-A1-HE-Scanner3-Objective40x-Rescan-final-v3.png"


def test_a_long_name_takes_two_lines_of_a_phone_and_keeps_its_end(open_page: Open, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (200, 120, 150)).save(tmp_path / LONG)
    page = open_page(viewport=PHONE, has_touch=True)
    opened_session(page, "Long names")
    page.get_by_test_id("file-input").set_input_files(tmp_path / LONG)
    expect(row_of(page, LONG)).to_have_attribute("data-state", "ready")

    link = row_of(page, LONG).get_by_role("link", name=LONG, exact=True)
    start, end = link.get_by_text("Institut_Kantonsspital", exact=False).last, link.get_by_text("final-v3.png").last
    heights = [part.bounding_box() for part in (start, end)]
    row = link.locator("xpath=ancestor::p").bounding_box()
    assert row is not None
    assert row["height"] < 2.5 * min(box["height"] for box in heights if box)
    assert end.evaluate("end => end.scrollWidth - end.clientWidth") <= 0
    link.click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_accessible_name(LONG)
    assert heading.evaluate("heading => heading.scrollWidth - heading.clientWidth") <= 0


def test_files_are_said_to_be_looked_through_until_they_are_on_the_list(
    open_page: Open, large: Path, behind: Watched
) -> None:
    page = open_page()
    opened_session(page, "Looked through")
    held: list[Route] = []
    page.route("**/assets/sender-*.js", lambda route: held.append(route))

    page.get_by_test_id("file-input").set_input_files(large)
    expect(page.get_by_test_id("looking")).to_have_text("Looking through the files…")
    held[0].continue_()

    expect(page.get_by_test_id("image-row")).to_have_count(1)
    expect(page.get_by_test_id("looking")).to_be_empty()
    expect(row_of(page, large.name)).to_have_attribute("data-state", "ready")


CLICK_AT_ONCE = """testid => new MutationObserver((_, observer) => {
    const button = document.querySelector(`[data-testid=${testid}]`);
    if (button === null) return;
    observer.disconnect();
    button.click();
}).observe(document.body, {subtree: true, childList: true})"""


def test_files_that_are_paused_the_moment_they_appear_go_on_afterwards(
    open_page: Open, large: Path, behind: Watched, tmp_path: Path
) -> None:
    other = tmp_path / "S26-0503 B1.tiff"
    other.write_bytes(large.read_bytes())
    page = open_page()
    opened_session(page, "Paused at once")
    slow_line(page, MB)
    page.evaluate(CLICK_AT_ONCE, "pause-all")

    page.get_by_test_id("file-input").set_input_files([large, other])
    expect(page.locator("[data-testid=image-row][data-state=paused]")).to_have_count(2)
    slow_line(page, -1)
    page.get_by_test_id("resume-all").click()

    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(2)


def test_an_upload_pauses_and_goes_on(open_page: Open, mill: RunningStack, large: Path, behind: Watched) -> None:
    page = open_page()
    session = opened_session(page, "Paused")
    slow_line(page, 5 * MB // 2)
    page.get_by_test_id("file-input").set_input_files(large)
    wait_until_stored(page, mill, session, 4 * MB)
    slow_line(page, MB // 10)
    other_tab = page.context.new_page()
    other_tab.goto(f"/sessions/{session}")
    expect(row_of(other_tab, large.name)).to_have_attribute("data-state", "uploading")
    expect(other_tab.get_by_test_id("interrupted")).to_have_count(0)
    other_tab.close()

    row_of(page, large.name).get_by_test_id("pause-upload").click()
    expect(row_of(page, large.name)).to_have_attribute("data-state", "paused")
    expect(row_of(page, large.name)).to_contain_text(re.compile(r"Paused, [\d.]+\sMB of 12.0\sMB"))
    sent_before = len(tus(behind.requests, "PATCH"))
    slow_line(page, -1)
    row_of(page, large.name).get_by_test_id("resume-upload").click()

    expect_whole(page, mill, session, large)
    following = tus(behind.requests, "PATCH")[sent_before:]
    assert int(following[0].headers["upload-offset"]) >= 4 * MB
    assert len(tus(behind.requests, "POST")) == 1


def test_after_a_reload_the_same_drop_goes_on_from_where_it_was(
    open_page: Open, mill: RunningStack, large: Path, tmp_path: Path, behind: Watched
) -> None:
    small = tmp_path / "first.png"
    Image.new("RGB", (40, 30), (200, 120, 150)).save(small)
    other = tmp_path / "S26-0503 B1.tiff"
    other.symlink_to(large)
    drop = [small, large, other]
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    session = opened_session(page, "Reloaded")
    slow_line(page, 5 * MB)
    page.get_by_test_id("file-input").set_input_files(drop)
    expect(row_of(page, small.name)).to_have_attribute("data-state", re.compile("dicing|folding|finishing|ready"))
    wait_until_stored(page, mill, session, 4 * MB)
    slow_line(page, MB // 10)

    page.reload()
    expect(page.get_by_test_id("interrupted")).to_contain_text("2 uploads were interrupted.")
    expect(page.locator("[data-testid=image-row][data-state=interrupted]").first).to_contain_text(
        re.compile(r"Interrupted at \d+\s%")
    )
    sent_before = len(tus(behind.requests, "PATCH"))
    slow_line(page, -1)
    page.get_by_test_id("file-input").set_input_files(drop)

    expect(page.get_by_test_id("toast")).to_contain_text("1 file left out")
    expect(page.get_by_test_id("interrupted")).to_have_count(0)
    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(len(drop))
    expected = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in drop}
    assert [(image["name"], image["sha256"]) for image in sorted(images_of(mill, session), key=by_name)] == sorted(
        expected.items()
    )
    following = tus(behind.requests, "PATCH")[sent_before:]
    assert max(int(request.headers["upload-offset"]) for request in following[:2]) >= 4 * MB
    page.reload()
    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(len(drop))
    expect(page.get_by_test_id("interrupted")).to_have_count(0)


def test_a_killed_gateway_costs_time_and_not_the_upload(
    open_page: Open, mill: RunningStack, large: Path, behind: Watched
) -> None:
    page = open_page()
    session = opened_session(page, "Killed")
    gateway = mill.pid("upload")
    slow_line(page, 5 * MB // 2)
    page.get_by_test_id("file-input").set_input_files(large)
    wait_until_stored(page, mill, session, 4 * MB)
    slow_line(page, MB // 10)
    sent_before = len(tus(behind.requests, "PATCH"))

    os.kill(gateway, signal.SIGKILL)
    expect(row_of(page, large.name)).to_contain_text("Trying again; nothing is lost.")
    slow_line(page, -1)

    expect_whole(page, mill, session, large)
    following = tus(behind.requests, "PATCH")[sent_before:]
    assert int(following[0].headers["upload-offset"]) >= 4 * MB
    assert len(tus(behind.requests, "POST")) == 1
    only_about(behind, mill.url)


@pytest.mark.parametrize("status", [413, 507])
def test_a_refusal_says_why_and_the_file_can_be_sent_again(
    open_page: Open, mill: RunningStack, large: Path, behind: Watched, status: int
) -> None:
    page = open_page()
    session = opened_session(page, f"Refused with {status}")
    problem = {"title": "Refused", "status": status, "detail": "There is no room.", "remedy": "Ask for more room."}

    def refuse(route: Route) -> None:
        route.fulfill(status=status, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/api/v1/tus/", refuse)
    page.get_by_test_id("file-input").set_input_files(large)
    row = row_of(page, large.name)
    expect(row).to_have_attribute("data-state", "failed")
    expect(row.get_by_test_id("failure")).to_have_text("There is no room. Ask for more room.")

    page.unroute("**/api/v1/tus/")
    row.get_by_test_id("retry-upload").click()

    expect_whole(page, mill, session, large)
    only_about(behind, "/api/v1/tus/")


def test_a_cancelled_upload_leaves_nothing(open_page: Open, mill: RunningStack, large: Path, behind: Watched) -> None:
    page = open_page()
    session = opened_session(page, "Cancelled")
    slow_line(page, 5 * MB // 2)
    page.get_by_test_id("file-input").set_input_files(large)
    wait_until_stored(page, mill, session, 4 * MB)
    slow_line(page, MB // 10)

    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        row_of(page, large.name).get_by_test_id("cancel-upload").click()
    assert deleted.value.status == 204

    expect(page.get_by_test_id("empty")).to_be_visible()
    assert images_of(mill, session) == []
    page.reload()
    expect(page.get_by_test_id("empty")).to_be_visible()


def test_a_slide_and_a_session_are_deleted_after_a_question(
    open_page: Open, mill: RunningStack, slide: Path, tmp_path: Path
) -> None:
    kept, gone = tmp_path / "kept.svs", tmp_path / "gone.svs"
    for file in (kept, gone):
        file.symlink_to(slide)
    title = "Deleted"
    session = mill.upload(kept, gone, session=title)[kept.name]["session"]
    page = open_page()
    page.goto(f"/sessions/{session}")
    row = row_of(page, gone.name)
    row.get_by_test_id("more").click()
    row.get_by_test_id("delete-image").click()
    expect(page.get_by_test_id("confirm")).to_contain_text(gone.name)

    page.keyboard.press("Escape")
    expect(page.get_by_test_id("confirm")).to_be_hidden()
    expect(row).to_be_visible()
    row.get_by_test_id("more").click()
    row.get_by_test_id("delete-image").click()
    page.get_by_test_id("confirm-yes").click()
    expect(row).to_have_count(0)
    page.reload()
    expect(row_of(page, kept.name)).to_be_visible()
    assert [image["name"] for image in images_of(mill, session)] == [kept.name]

    page.get_by_role("button", name=f"More about {title}").click()
    page.get_by_test_id("delete-session").click()
    expect(page.get_by_test_id("confirm")).to_contain_text("1 slide")
    page.get_by_test_id("confirm-yes").click()
    expect(page.get_by_test_id("create-session")).to_be_visible()
    expect(page.get_by_test_id("session-row").filter(has_text=title)).to_have_count(0)
    assert mill.request("GET", f"/sessions/{session}")[0] == 404


def test_the_original_is_downloaded_under_its_name(open_page: Open, case: Case, slide: Path) -> None:
    page = open_page()
    page.goto(f"/images/{case.image}")

    with page.expect_download() as download:
        page.get_by_test_id("download-original").click()

    assert download.value.suggested_filename == slide.name
    assert download.value.path().read_bytes() == slide.read_bytes()
