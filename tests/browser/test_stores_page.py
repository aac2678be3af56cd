"""The page for folder stores in Chromium: a store is added, looked at, paused and removed, and its slides appear."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PATIENCE_MS, Open, Watched
from tests.browser.test_page import PHONE, brightness, row_of, sideways

pytestmark = [pytest.mark.browser, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]
expect.set_options(timeout=PATIENCE_MS)


def store_of(page: Page, name: str) -> Locator:
    return page.get_by_test_id("store-row").filter(has_text=name)


def add(page: Page, name: str, root: Path) -> Locator:
    """Fills in the form and sends it by Enter."""
    page.get_by_test_id("add-store").click()
    expect(page.get_by_test_id("store-name")).to_be_focused()
    page.keyboard.type(name)
    page.get_by_test_id("store-root").fill(str(root))
    page.keyboard.press("Enter")
    row = store_of(page, name)
    expect(row).to_contain_text(str(root))
    return row


def remove(page: Page, row: Locator) -> None:
    row.get_by_test_id("more").click()
    row.get_by_test_id("remove-store").click()
    page.get_by_test_id("confirm-yes").click()
    expect(row).to_have_count(0)


def test_a_folder_becomes_a_store_and_its_slides_appear(open_page: Open, slide: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scanner"
    (folder / "Case 31").mkdir(parents=True)
    shutil.copy(slide, folder / "Case 31" / "S26-0031 A1.svs")
    (folder / "Case 31" / "S26-0031 A2.svs.part").write_bytes(b"II*\0")
    page = open_page()
    page.goto("/")
    page.get_by_role("link", name="Stores").click()
    row = add(page, "Scanner 1", folder)

    row.get_by_test_id("look-now").click()
    expect(row.get_by_test_id("store-report")).to_contain_text("1 imported")
    expect(row).to_contain_text("temporary by name")
    row.get_by_test_id("show-reports").click()
    expect(row.get_by_test_id("store-reports")).to_contain_text("S26-0031 A2.svs.part")
    page.reload()
    page.get_by_test_id("show-ticks").click()
    expect(page.get_by_test_id("ticks")).to_contain_text("1 imported")

    page.get_by_role("link", name="slidemill").click()
    page.get_by_test_id("session-row").filter(has_text="Case 31").click()
    expect(row_of(page, "S26-0031 A1.svs")).to_have_attribute("data-state", "ready")

    (folder / "Case 31" / "S26-0031 A1.svs").unlink()
    page.goto("/stores")
    row.get_by_test_id("look-now").click()
    expect(row.get_by_test_id("store-report").first).to_contain_text("1 vanished")
    page.goto("/")
    page.get_by_test_id("session-row").filter(has_text="Case 31").click()
    expect(row_of(page, "S26-0031 A1.svs").get_by_test_id("vanished")).to_contain_text("from the store Scanner 1")
    page.goto("/stores")
    remove(page, row)


def test_a_store_is_paused_and_goes_on(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    page.goto("/stores")
    row = add(page, "Frozen sections", tmp_path)

    row.get_by_test_id("more").click()
    row.get_by_test_id("pause-store").click()
    expect(row).to_have_attribute("data-state", "paused")
    expect(row.get_by_test_id("look-now")).to_be_disabled()
    row.get_by_test_id("more").click()
    row.get_by_test_id("resume-store").click()
    expect(row).to_have_attribute("data-state", "active")
    expect(row.get_by_test_id("look-now")).to_be_enabled()
    remove(page, row)


def test_what_the_gateway_refuses_is_told_beside_the_fields(open_page: Open, tmp_path: Path, behind: Watched) -> None:
    page = open_page(viewport=PHONE, has_touch=True, color_scheme="dark")
    page.goto("/stores")
    row = add(page, "Twice", tmp_path)
    page.get_by_test_id("add-store").click()
    page.get_by_test_id("store-name").fill("Twice as well")
    page.get_by_test_id("store-root").fill(str(tmp_path / "below"))
    page.get_by_test_id("store-submit").click()

    expect(page.get_by_test_id("store-form").get_by_test_id("failure")).to_contain_text("Twice watches")
    assert sideways(page) == 0
    assert brightness(page.screenshot()) < 70
    page.get_by_role("button", name="Cancel").click()
    remove(page, row)
    assert all("/api/v1/stores" in complaint for complaint in behind.complaints)
    behind.complaints.clear()
