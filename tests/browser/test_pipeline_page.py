"""The pages for operators in Chromium, in front of a whole stack: pipeline, dead letters, timelines, other tabs."""

import asyncio
import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from deploy.local.layout import DATABASE
from shared.clock import SystemClock
from shared.http.identity import fingerprint
from shared.mongo import connect
from shared.store.documents.accounts import Account, SignIn
from shared.store.mongo import MongoStore
from tests.browser.conftest import PATIENCE_MS, Case, Open, Watched, picture
from tests.browser.test_page import PHONE, brightness, row_of, sideways
from tests.running import RunningStack, eventually

pytestmark = [pytest.mark.browser, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]
expect.set_options(timeout=PATIENCE_MS)

TORN = "its first directory holds no tiles. Export it as a tiled pyramid."


def letter(case: Case, *, cause: str, detail: str, name: str, image: str | None = None) -> dict[str, Any]:
    """A dead letter of the dicer as `dead export` writes them, about the case's slide unless told otherwise."""
    event = {
        "database": DATABASE,
        "time": "2026-11-25T03:00:00Z",
        "image": image or case.image,
        "version": 1,
        "file": secrets.token_hex(16),
        "session": case.session,
        "name": name,
        "length": 7,
        "md5": "0" * 32,
        "sha256": "0" * 64,
    }
    headers = {
        "ce-type": "slidemill.file-complete.v1",
        "ce-subject": event["image"],
        "x-slidemill-cause": cause,
        "x-slidemill-detail": detail,
        "x-slidemill-first-death": "2026-11-25T03:00:01.000Z",
        "x-slidemill-death": "2026-11-25T03:12:11.000Z",
    }
    return {"id": "", "stage": "dicer", "headers": headers, "event": event, "text": None, "base64": None}


def bury(mill: RunningStack, folder: Path, *letters: dict[str, Any]) -> None:
    """Puts letters among the dead, as an operator who brings them from elsewhere."""
    file = folder / "letters.jsonl"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in letters))
    mill.run("dead", "import", str(file))


def group_of(page: Page, text: str) -> Locator:
    return page.get_by_test_id("dead-group").filter(has_text=text)


def confirm(page: Page, reason: str) -> None:
    """Gives the reason and presses Enter, as a person at a keyboard does."""
    page.get_by_test_id("confirm-reason").fill(reason)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("confirm")).not_to_be_visible()


@pytest.fixture
def torn(mill: RunningStack, case: Case, slide: Path, tmp_path: Path) -> dict[str, Any]:
    """A slide that was cut short: it failed, and its message is among the dead."""
    path = tmp_path / f"S26-0417 {secrets.token_hex(2)} torn.svs"
    whole = slide.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    image = mill.upload(path, session=case.title)[path.name]
    assert image["state"] == "failed"
    return image


def test_dead_letters_are_found_understood_and_sent_again(
    open_page: Open, mill: RunningStack, case: Case, tmp_path: Path
) -> None:
    names = [f"S26-{n:04} A.svs" for n in range(3)]
    details = [f"{name} is no slide that slidemill can read: {TORN}" for name in names]
    bury(
        mill,
        tmp_path,
        *(letter(case, cause="reject", detail=d, name=n) for n, d in zip(names, details, strict=True)),
        letter(case, cause="retries", detail="ZeroDivisionError: division by zero", name="B.svs"),
    )
    page = open_page()
    page.goto("/")
    page.get_by_role("link", name="Pipeline").click()
    expect(page.get_by_test_id("pipeline-dicer")).to_contain_text("1 alive")
    expect(page.get_by_test_id("pipeline-pyramid")).to_contain_text("1 alive")
    expect(page.get_by_test_id("pipeline-ready")).to_contain_text(re.compile(r"[1-9]\d* ?slide"))
    expect(page.get_by_test_id("pipeline-summary")).to_contain_text("dead letters for you to look at")
    group = group_of(page, TORN)
    expect(group).to_contain_text("The slide can't be processed")
    expect(group.locator(".count")).to_have_text("3")
    group.locator("summary").click()
    expect(group.get_by_test_id("dead-message")).to_contain_text(f'"session": "{case.session}"')
    group.locator("summary").click()
    picture(page, "pipeline.png")

    group.get_by_test_id("dead-retry").click()
    confirm(page, "the scanner exports pyramids now")
    expect(page.get_by_test_id("toast")).to_contain_text("3 letters are sent again")
    expect(group).to_have_count(0)
    expect(group_of(page, "ZeroDivisionError")).to_be_visible()
    # The slide that the letters are about is whole: there is nothing to do, and so nothing dies again.
    eventually(lambda: len(mill.run("dead", "list")["items"]) == 1, 30, "the letters are not worked off")
    mill.run("dead", "discard", "--all", "--reason", "the test is over")
    expect(page.get_by_test_id("no-dead-letters")).to_be_visible()


def test_nothing_is_thrown_away_without_a_reason(
    open_page: Open, mill: RunningStack, case: Case, tmp_path: Path
) -> None:
    bury(mill, tmp_path, letter(case, cause="unserved", detail="The database x is not served here.", name="C.svs"))
    page = open_page()
    page.clock.install()
    page.goto("/pipeline")
    group = group_of(page, "not served here")

    group.get_by_test_id("dead-discard").click()
    page.get_by_test_id("confirm-yes").click()
    expect(page.get_by_test_id("confirm")).to_be_visible()
    page.keyboard.press("Escape")
    expect(group).to_be_visible()
    group.get_by_test_id("dead-discard").click()
    confirm(page, "a test")
    expect(page.get_by_test_id("toast")).to_contain_text("1 letter is thrown away")
    page.clock.fast_forward("00:20")
    expect(page.get_by_test_id("toast")).to_have_count(0)

    expect(group).to_have_count(0)
    assert mill.run("dead", "list")["items"] == []


def test_a_failed_slide_tells_its_past_and_is_tried_again(
    open_page: Open, mill: RunningStack, case: Case, torn: dict[str, Any]
) -> None:
    page = open_page()
    page.goto(f"/sessions/{case.session}")
    expect(row_of(page, torn["name"]).get_by_test_id("failure").get_by_role("button")).to_contain_text("Try again")
    row_of(page, torn["name"]).get_by_test_id("more").click()
    row_of(page, torn["name"]).get_by_test_id("open-timeline").click()
    happenings = page.get_by_test_id("happening")
    failure = page.locator('[data-kind="failure"]')
    expect(failure).to_contain_text("was cut short")
    expect(failure).to_contain_text("follows from “Arrived whole”")
    expect(page.locator("body")).to_contain_text("the whole of the broker's journal")
    titles = happenings.locator("strong").all_inner_texts()
    assert titles[:3] == ["Its first bytes were stored", "Arrived whole", "Cutting began"]

    page.get_by_test_id("retry-image").click()
    confirm(page, "copied once more")
    by_hand = happenings.filter(has_text="Sent again by hand")
    expect(by_hand).to_contain_text("copied once more")
    expect(by_hand).to_contain_text("by admin (page)")
    # It is as torn as before: the failure that was overcome is known to the journal, the new one to the database.
    expect(page.get_by_test_id("retry-image")).to_be_visible()
    page.reload()
    expect(failure).to_have_count(2)
    expect(failure.first).to_contain_text("told by the journal alone")
    mill.run("dead", "discard", "--all", "--reason", "the test is over")


def test_a_page_that_loses_the_gateway_says_so_and_keeps_what_it_knows(
    open_page: Open, case: Case, behind: Watched
) -> None:
    page = open_page()
    page.goto("/pipeline")
    ready = page.get_by_test_id("pipeline-ready").locator(".stage-number")
    expect(ready).not_to_have_text("–")
    known = ready.inner_text()

    page.context.set_offline(True)
    expect(page.get_by_test_id("pipeline-summary")).to_contain_text("Not up to date")
    assert ready.inner_text() == known
    page.context.set_offline(False)
    expect(page.get_by_test_id("pipeline-summary")).not_to_contain_text("Not up to date")
    assert all("ERR_INTERNET_DISCONNECTED" in complaint for complaint in behind.complaints)
    behind.complaints.clear()


@pytest.mark.parametrize("where", ["pipeline", "timeline"])
def test_a_phone_and_a_dark_room_will_do(
    open_page: Open, mill: RunningStack, case: Case, tmp_path: Path, where: str
) -> None:
    bury(mill, tmp_path, letter(case, cause="reject", detail=f"S26-0001 A.svs: {TORN}", name="S26-0001 A.svs"))
    seen = {}
    for scheme in ("light", "dark"):
        page = open_page(viewport=PHONE, has_touch=True, color_scheme=scheme)
        page.goto("/pipeline" if where == "pipeline" else f"/images/{case.image}/timeline")
        waited = group_of(page, TORN) if where == "pipeline" else page.get_by_text("Ready", exact=True).last
        expect(waited).to_be_visible()
        assert sideways(page) == 0
        seen[scheme] = brightness(page.screenshot())
    mill.run("dead", "discard", "--all", "--reason", "the test is over")

    assert seen["light"] > 200
    assert seen["dark"] < 70


async def _sign_in_code(mongodb: str) -> str:
    """A one-time code for an account that is no administrator's."""
    client = connect(mongodb)
    store, code, now = MongoStore(client, DATABASE), secrets.token_urlsafe(16), SystemClock().now()
    account = Account(id=secrets.token_hex(16), name=f"anna-{code[:4]}", created=now)
    await store.accounts.insert(account)
    await store.signins.insert(SignIn(id=fingerprint(code), account=account.id, expires=now + timedelta(minutes=5)))
    client.close()
    return code


def test_others_than_administrators_see_nothing_of_it(stranger: Open, mill: RunningStack, case: Case) -> None:
    # Playwright has a loop of its own in this thread.
    with ThreadPoolExecutor(1) as thread:
        code = thread.submit(asyncio.run, _sign_in_code(mill.mongodb)).result()
    page = stranger()
    page.goto(f"{mill.url}/signin/{code}")
    expect(page.get_by_test_id("create-session")).to_be_visible()

    expect(page.get_by_role("link", name="Pipeline")).to_have_count(0)
    for address in ("/pipeline", "/stores", f"/images/{case.image}/timeline"):
        page.goto(address)
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_other_tabs_see_at_once_what_is_deleted(open_page: Open, mill: RunningStack, slide: Path) -> None:
    session = mill.upload(slide, session="Two tabs")[slide.name]["session"]
    here, there = open_page(), open_page()
    for page in (here, there):
        page.goto(f"/sessions/{session}")
        expect(row_of(page, slide.name)).to_be_visible()

    row_of(here, slide.name).get_by_test_id("more").click()
    row_of(here, slide.name).get_by_test_id("delete-image").click()
    here.get_by_test_id("confirm-yes").click()
    expect(row_of(here, slide.name)).to_have_count(0)
    expect(row_of(there, slide.name)).to_have_count(0)

    here.get_by_test_id("more").click()
    here.get_by_test_id("delete-session").click()
    here.get_by_test_id("confirm-yes").click()
    expect(here.get_by_test_id("create-session")).to_be_visible()
    expect(there.get_by_role("heading", name="There is no such session")).to_be_visible()
