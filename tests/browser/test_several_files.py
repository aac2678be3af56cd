"""Slides of several files through the page in Chromium: one row, one upload, one image."""

import os
import re
import shutil
import time
import zlib
from hashlib import sha256
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Page, Route, expect

from shared.slides.packing import Member, pack
from tests.browser.conftest import PATIENCE_MS, Open, Watched
from tests.browser.test_uploading import (
    MB,
    PHONE,
    images_of,
    opened_session,
    row_of,
    slow_line,
    tus,
    wait_until_stored,
)
from tests.running import RunningStack
from tests.slides.dicom import write_dicom
from tests.slides.hamamatsu import write_vms
from tests.slides.mirax import write_mirax

pytestmark = [pytest.mark.browser, pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]
expect.set_options(timeout=PATIENCE_MS)

DROP_AT = {"x": 180, "y": 300}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder as a scanner leaves it: a MIRAX and a Hamamatsu slide, two levels of a DICOM one, and litter."""
    folder = tmp_path / "scans"
    write_mirax(folder / "S26-0611 A1.mrxs")
    (folder / "S26-0611 A1" / ".DS_Store").write_bytes(b"litter")
    write_vms(folder / "S26-0612 B2.vms")
    (folder / "dicom").mkdir()
    for name, size in (("1", (1024, 768)), ("2", (512, 384))):
        write_dicom(folder / "dicom" / name, *size)
        level = pydicom.dcmread(folder / "dicom" / name)
        level.StudyInstanceUID, level.SeriesInstanceUID = "1.2.826.0.1.6", "1.2.826.0.1.7"
        level.save_as(folder / "dicom" / name, enforce_file_format=True)
    return folder


def drop(page: Page, *paths: Path) -> None:
    """Lets files and folders go over the page, as from a file manager."""
    chromium = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        chromium.send("Input.dispatchDragEvent", {"type": kind, **DROP_AT, "data": data})


def as_sent(main: Path) -> str:
    """The SHA-256 of the zip that is sent of a MIRAX slide."""
    files = [main, *(file for file in main.with_suffix("").iterdir() if not file.name.startswith("."))]
    held = {file.relative_to(main.parent).as_posix(): file.read_bytes() for file in files}
    zipped = pack(Member(name, len(data), zlib.crc32(data)) for name, data in held.items())
    return sha256(b"".join(p if isinstance(p, bytes) else held[p.member] for p in zipped.segments)).hexdigest()


def test_a_dropped_folder_makes_one_image_of_each_slide(
    open_page: Open, mill: RunningStack, scans: Path, behind: Watched
) -> None:
    page = open_page()
    session = opened_session(page, "Dropped folder")

    drop(page, scans)

    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(3)
    expect(page.get_by_test_id("image-row")).to_have_count(3)
    images = {image["name"]: image for image in images_of(mill, session)}
    assert sorted(images) == ["1", "S26-0611 A1.mrxs", "S26-0612 B2.vms"]
    assert images["S26-0611 A1.mrxs"]["sha256"] == as_sent(scans / "S26-0611 A1.mrxs")
    assert (images["1"]["width"], images["1"]["base"]) == (1024, "copied")
    assert len(tus(behind.requests, "POST")) == 3
    assert page.get_by_test_id("toast").count() == 0


def test_the_command_line_sends_the_same_bytes(open_page: Open, mill: RunningStack, scans: Path) -> None:
    page = open_page()
    session = opened_session(page, "Both ways")
    page.get_by_test_id("folder-input").set_input_files(scans)
    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(3)

    sent = mill.upload(scans, session="Both ways")

    assert all(image["state"] == "ready" for image in sent.values())
    digests = [(image["name"], image["sha256"]) for image in images_of(mill, session)]
    assert len(digests) == 6
    assert len(set(digests)) == 3


def test_a_slide_that_lacks_a_file_says_which_until_it_comes_whole(
    open_page: Open, mill: RunningStack, scans: Path, behind: Watched
) -> None:
    hidden = (scans / "S26-0611 A1" / "Data0001.dat").rename(scans.with_name("Data0001.dat"))
    page = open_page(viewport=PHONE, has_touch=True)
    session = opened_session(page, "Lacking")

    page.get_by_test_id("folder-input").set_input_files(scans)
    row = row_of(page, "S26-0611 A1.mrxs")
    expect(row).to_have_attribute("data-state", "failed")
    expect(row.get_by_test_id("failure")).to_contain_text("S26-0611 A1.mrxs lacks S26-0611 A1/Data0001.dat.")
    expect(row.get_by_test_id("retry-upload")).to_have_count(0)
    assert page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth") == 0
    expect(row_of(page, "S26-0612 B2.vms")).to_have_attribute("data-state", "ready")
    assert sorted(image["name"] for image in images_of(mill, session)) == ["1", "S26-0612 B2.vms"]

    hidden.rename(scans / "S26-0611 A1" / "Data0001.dat")
    drop(page, scans / "S26-0611 A1.mrxs", scans / "S26-0611 A1")

    expect(row).to_have_count(1)
    expect(row).to_have_attribute("data-state", "ready")
    assert len(tus(behind.requests, "POST")) == 3


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A MIRAX slide of 20 MB."""
    main = tmp_path / "large" / "S26-0613 C1.mrxs"
    write_mirax(main)
    (main.with_suffix("") / "Spare.dat").write_bytes(os.urandom(20 * MB))
    return main


def test_after_a_reload_a_slide_of_several_files_goes_on_from_where_it_was(
    open_page: Open, mill: RunningStack, large: Path, behind: Watched
) -> None:
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    session = opened_session(page, "Reloaded slide")
    slow_line(page, 5 * MB)
    drop(page, large.parent)
    wait_until_stored(page, mill, session, 4 * MB)
    slow_line(page, MB // 10)

    page.reload()
    expect(page.get_by_test_id("interrupted")).to_contain_text("1 upload was interrupted.")
    sent_before = len(tus(behind.requests, "PATCH"))
    slow_line(page, -1)
    drop(page, large.parent)

    expect(row_of(page, large.name)).to_have_attribute("data-state", "ready")
    (image,) = images_of(mill, session)
    assert image["sha256"] == as_sent(large)
    assert int(tus(behind.requests, "PATCH")[sent_before].headers["upload-offset"]) >= 4 * MB
    assert len(tus(behind.requests, "POST")) == 1


def test_a_file_that_changes_on_the_way_ends_its_slide(
    open_page: Open, mill: RunningStack, large: Path, behind: Watched
) -> None:
    page = open_page()
    session = opened_session(page, "Changed slide")
    slow_line(page, 5 * MB)
    drop(page, large.parent)
    wait_until_stored(page, mill, session, 4 * MB)
    later = time.time() + 60
    os.utime(large.with_suffix("") / "Spare.dat", (later, later))
    slow_line(page, -1)

    row = row_of(page, large.name)
    expect(row).to_have_attribute("data-state", "failed")
    expect(row.get_by_test_id("failure")).to_contain_text(re.compile("Spare.dat can no longer be read from disk"))
    drop(page, large.parent)

    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(1)
    assert as_sent(large) in [image["sha256"] for image in images_of(mill, session)]


def test_a_slide_that_is_paused_while_it_is_read_waits_before_it_is_sent(
    open_page: Open, mill: RunningStack, large: Path, behind: Watched
) -> None:
    other = large.with_name("S26-0614 D1.mrxs")
    shutil.copy(large, other)
    shutil.copytree(large.with_suffix(""), other.with_suffix(""))
    page = open_page()
    session = opened_session(page, "Paused slides")
    held: list[Route] = []
    page.route("**/assets/packed-file-*.js", lambda route: held.append(route))
    drop(page, large.parent)
    expect(page.locator("[data-testid=image-row][data-state=reading]")).to_have_count(2)

    page.get_by_test_id("pause-all").click()
    expect(page.locator("[data-testid=image-row][data-state=paused]")).to_have_count(2)
    with page.expect_response("**/assets/sender-*.js"):
        for route in held:
            route.continue_()
    expect(page.locator("[data-testid=image-row][data-state=paused]")).to_have_count(2)
    assert tus(behind.requests, "POST") == []
    page.get_by_test_id("resume-all").click()

    expect(page.locator("[data-testid=image-row][data-state=ready]")).to_have_count(2)
    assert {image["sha256"] for image in images_of(mill, session)} == {as_sent(large), as_sent(other)}
    assert len(tus(behind.requests, "POST")) == 2
