"""Slides of several files in a folder: each is one image, of all its files or of none."""

import io
import os
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from services.sync.copying import PIECE
from shared.events import Event, FileComplete
from shared.store import Store
from tests.crashing import Crash, Fuse, Fused
from tests.sync.conftest import House
from tests.sync.watching import STORE, Watch, dicom, mirax, slide, touch


class Opened:
    """Counts how often files are opened to be read, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        real = os.open

        def opened(path: str, flags: int, *args: int, **kwargs: int) -> int:
            if not flags & os.O_DIRECTORY and not str(path).startswith("/"):
                self.names.append(str(path))
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", opened)


def put(watch: Watch, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        watch.put(path, content)


async def stored(watch: Watch, path: str, n: int | None = None) -> dict[str, bytes]:
    """What is in the zip that the slide at this path has become."""
    version = await watch.version((await watch.images())[path], n)
    assert version.length is not None
    data = await watch._ports["blobs"].read(version.file, 0, version.length)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


async def test_a_mirax_slide_is_one_image_of_all_its_files(watch: Watch, house: House) -> None:
    put(watch, {f"12/{path}": content for path, content in mirax("Präparat.mrxs", "a").items()})
    (watch.root / "12/Präparat/more").mkdir()
    watch.put("12/Präparat/more/notes.txt", b"more")
    watch.put("12/b.svs", slide("b"))

    report = await watch.tick()

    assert ("done", 2, 2, 2, {}) == (report.state, report.seen, report.new, report.imported, report.skipped)
    assert {"12/Präparat.mrxs", "12/b.svs"} == set(await watch.images())
    assert {**mirax("Präparat.mrxs", "a"), "Präparat/more/notes.txt": b"more"} == await stored(
        watch, "12/Präparat.mrxs"
    )
    image = (await watch.images())["12/Präparat.mrxs"]
    entry = await watch.entry("12/Präparat.mrxs")
    assert entry is not None
    assert ("Präparat.mrxs", report.bytes - len(slide("b"))) == (image.name, entry.size)
    assert 2 == sum(isinstance(event, FileComplete) for event in house.broker.journal)


async def test_a_vms_slide_takes_the_files_that_its_index_names_and_no_others(watch: Watch, house: House) -> None:
    index = b"[Virtual Microscope Specimen]\nImageFile=a.jpg\nImageFile(1,0)=b.jpg\nMapFile=map.jpg\n"
    jpeg = {name: b"\xff\xd8\xff" + name.encode() for name in ("a.jpg", "b.jpg", "map.jpg", "photo.jpg")}
    put(watch, {"a.vms": index, **jpeg})
    await house.store.stores.update(STORE, set={"include": ["*.vms", "photo*"]})

    report = await watch.tick()

    assert (2, 2, {}) == (report.seen, report.imported, report.skipped)
    assert {"a.vms", "photo.jpg"} == set(await watch.images())
    del jpeg["photo.jpg"]
    assert {"a.vms": index, **jpeg} == await stored(watch, "a.vms")


async def test_a_dicom_series_of_one_folder_is_one_image(watch: Watch) -> None:
    levels = {f"{n}.dcm": dicom("1.2.3", f"level {n}") for n in (1, 2)}
    put(watch, {f"12/{name}": content for name, content in levels.items()})
    put(
        watch,
        {"12/other": dicom("1.2.4", "other"), "13/9.dcm": dicom("1.2.3", "elsewhere"), "12/notes": b"no slide" * 90},
    )

    report = await watch.tick()

    assert (4, 3, 1) == (report.seen, report.imported, report.failed)
    assert {"12/1.dcm", "12/other", "13/9.dcm", "12/notes"} == set(await watch.images())
    assert levels == await stored(watch, "12/1.dcm")


async def test_a_series_that_gets_a_further_file_stays_the_same_image(watch: Watch) -> None:
    put(watch, {"2.dcm": dicom("1.2.3", "two"), "3.dcm": dicom("1.2.3", "three")})
    await watch.tick()
    before = (await watch.images())["2.dcm"]

    watch.put("1.dcm", dicom("1.2.3", "one"))
    report = await watch.tick()

    assert (1, 1, 0) == (report.changed, report.imported, report.vanished)
    after = (await watch.images())["2.dcm"]
    assert (before.id, 2) == (after.id, after.latest)
    assert {"1.dcm", "2.dcm", "3.dcm"} == set(await stored(watch, "2.dcm"))


@pytest.mark.parametrize("late", ["a.mrxs", "a/Slidedat.ini", "a/Data0001.dat"])
async def test_a_slide_that_lacks_a_file_waits_and_says_which(watch: Watch, late: str) -> None:
    files = mirax("a.mrxs", "a")
    last = files.pop(late)
    put(watch, files)

    report = await watch.tick()
    again = await watch.tick()

    assert (0, 0, {"incomplete": 1}) == (report.imported, report.failed, report.skipped)
    assert (0, 0, {"incomplete": 1}) == (again.imported, again.failed, again.skipped)
    said = "a holds a part of a slide, which lacks its .mrxs file." if late == "a.mrxs" else f"a.mrxs lacks {late}."
    assert [f"{said} Copy the slide from the scanner again, with every file that belongs to it."] == [
        example.detail for example in report.examples
    ]
    assert {} == await watch.images()
    watch.put(late, last)
    assert (1, {}) == ((whole := await watch.tick()).imported, whole.skipped)
    assert mirax("a.mrxs", "a") == await stored(watch, "a.mrxs")


@pytest.mark.parametrize("late", ["a/Data0001.dat", "a/Data0002.dat", "a.mrxs"])
async def test_a_slide_is_taken_in_once_none_of_its_files_changes_any_more(watch: Watch, late: str) -> None:
    put(watch, mirax("a.mrxs", "a"))

    report = await watch.tick(meanwhile=lambda: watch.put(late, slide("late")))

    assert (0, {"unstable": 1}) == (report.imported, report.skipped)
    assert 1 == (await watch.tick()).imported
    assert {**mirax("a.mrxs", "a"), late: slide("late")} == await stored(watch, "a.mrxs")


async def test_any_changed_file_makes_a_new_version_and_a_missing_one_leaves_the_old(watch: Watch) -> None:
    put(watch, mirax("a.mrxs", "a"))
    await watch.tick()
    before = (await watch.images())["a.mrxs"]

    watch.put("a/Data0001.dat", slide("another"))
    changed = await watch.tick()
    (watch.root / "a/Data0000.dat").unlink()
    lacking = await watch.tick()

    assert (1, 1) == (changed.changed, changed.imported)
    assert (0, 0, {"incomplete": 1}) == (lacking.imported, lacking.vanished, lacking.skipped)
    image = (await watch.images())["a.mrxs"]
    assert (before.id, 2, 2, None) == (image.id, image.latest, image.current, image.source_vanished)
    assert slide("another") == (await stored(watch, "a.mrxs"))["a/Data0001.dat"]
    assert slide("a 1") == (await stored(watch, "a.mrxs", 1))["a/Data0001.dat"]


async def test_a_slide_that_is_moved_with_all_its_files_keeps_its_image(watch: Watch) -> None:
    put(watch, {f"12/{path}": content for path, content in mirax("a.mrxs", "a").items()})
    await watch.tick()
    before = (await watch.images())["12/a.mrxs"]
    (watch.root / "12").rename(watch.root / "13")

    report = await watch.tick()

    assert (1, 0) == (report.moved, report.imported)
    (after,) = (await watch.images()).values()
    assert (before.id, "store:scanner/13/a.mrxs", None) == (after.id, after.source, after.source_vanished)


async def test_a_slide_vanishes_as_one_and_comes_back_as_one(watch: Watch) -> None:
    put(watch, {f"12/{path}": content for path, content in mirax("a.mrxs", "a").items()})
    await watch.tick()
    (watch.root / "12").rename(watch.root.parent / "12")

    gone = await watch.tick()
    (watch.root.parent / "12").rename(watch.root / "12")
    back = await watch.tick()

    assert (1, 1, 0) == (gone.vanished, back.back, back.imported)
    assert None is (await watch.images())["12/a.mrxs"].source_vanished


async def test_what_has_not_changed_is_not_read_again(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    put(
        watch, {**mirax("a.mrxs", "a"), "1.dcm": dicom("1.2.3", "1"), "2.dcm": dicom("1.2.3", "2"), "notes": b"x" * 600}
    )
    await watch.tick()
    opened = Opened(monkeypatch)

    await watch.tick()
    assert [] == opened.names
    touch(watch.root / "a/Data0001.dat")
    await watch.tick()
    # Its CRC first, and the whole for the digest: it is the same.
    assert 2 == opened.names.count("Data0001.dat")
    assert 1 == opened.names.count("Data0000.dat")
    assert not {"1.dcm", "2.dcm", "notes"} & set(opened.names)


async def test_the_folder_of_a_slide_that_can_not_be_read_stops_no_other(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(watch, mirax("a.mrxs", "a"))
    watch.put("b.svs", slide("b"))
    real = os.open

    def opened(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if path == "a":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", opened)

    report = await watch.tick()

    assert (1, {"unreadable": 1}) == (report.imported, report.skipped)
    assert ["The folder a can't be read: Permission denied."] == [example.detail for example in report.examples]


async def test_links_are_no_part_of_a_slide(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    files = mirax("a.mrxs", "a")
    del files["a/Data0001.dat"]
    put(watch, files)
    (watch.root / "a/Data0001.dat").symlink_to(tmp_path / "secret")

    assert {"incomplete": 1} == (await watch.tick()).skipped


@pytest.mark.parametrize("at", range(1, 160, 6))
async def test_whoever_dies_over_a_slide_of_several_files_is_followed_by_one_who_ends_it(
    house: House, tmp_path: Path, at: int
) -> None:
    root, fuse = tmp_path / "slides", Fuse()
    root.mkdir()
    ports = {"blobs": Fused(house.blobs, fuse), "tiles": house.tiles}
    watch = Watch(root, house.store, {"blobs": house.blobs, "tiles": house.tiles}, house.bus, house.clock)
    dying = Watch(root, cast(Store, Fused(house.store, fuse)), ports, Fused(house.bus, fuse), house.clock)
    await watch.add()
    put(watch, mirax("a.mrxs", "a"))
    await watch.tick()
    watch.put("a/Data0001.dat", slide("another"))
    put(watch, {"1.dcm": dicom("1.2.3", "1"), "2.dcm": dicom("1.2.3", "2")})

    fuse.at, fuse.steps = at, 0
    waiting: list[Event] = [watch.due()]
    for _ in range(2):
        while waiting:
            event = waiting.pop(0)
            try:
                waiting += await dying.handlers[type(event)](event, **dying._ports)
            except Crash:
                waiting += await watch.handlers[type(event)](event, **watch._ports)
        waiting += await watch.second_looks()
    await watch.process()

    report = (await house.store.reports.find({"store": STORE}, sort="order", limit=1))[0]
    assert ("done", 2, 1, 1, 2) == (report.state, report.seen, report.new, report.changed, report.imported)
    assert {"a.mrxs": 2, "1.dcm": 1} == {path: image.latest for path, image in (await watch.images()).items()}
    assert {**mirax("a.mrxs", "a"), "a/Data0001.dat": slide("another")} == await stored(watch, "a.mrxs")
    assert {"1.dcm", "2.dcm"} == set(await stored(watch, "1.dcm"))


async def test_a_large_slide_of_several_files_is_taken_in_in_turns(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = mirax("a.mrxs", "a", data=3)
    files["a/Data0001.dat"] = bytes(2 * PIECE + 100)
    put(watch, files)
    await watch.deliver(watch.due())
    waiting = await watch.second_looks()
    real, read = os.pread, 0

    def pread(fd: int, length: int, offset: int) -> bytes:
        nonlocal read
        watch.clock.advance(100)
        data = real(fd, length, offset)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", pread)
    turns = []

    while waiting:
        before = watch.clock.now()
        event = waiting.pop(0)
        waiting += await watch.handlers[type(event)](event, **watch._ports)
        turns.append(watch.clock.now() - before)
    await watch.process()

    assert files == await stored(watch, "a.mrxs")
    assert len(turns) > 4
    # A piece of the zip holds many a small file, and each takes its time here.
    assert max(turns) < timedelta(minutes=30)
    # For the CRCs, for the digest, and to be stored; nothing again because a turn was over.
    assert read < 3 * sum(map(len, files.values())) + PIECE
