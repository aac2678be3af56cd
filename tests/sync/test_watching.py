"""What becomes of files in a watched folder, as somebody sees it who looks at the images and the reports."""

import asyncio
import os
import socket
import uuid
from pathlib import Path
from typing import cast

import pytest

from services.sync.handler import Failures
from services.sync.settling import announce
from shared.blobs.gridfs import GridFSBlobs
from shared.errors import RetryLater
from shared.events import Event, FileComplete, ImageFailed, ImportFile, ScanStore
from shared.mongo import connect
from shared.store import Store
from shared.store.documents.uploads import Wish
from shared.store.mongo import MongoStore
from tests.crashing import Crash, Fuse, Fused
from tests.sync.conftest import House
from tests.sync.watching import STABLE, STORE, Watch, slide, touch


async def test_one_tick_takes_in_what_was_copied_before(watch: Watch, house: House) -> None:
    watch.put("12/a.svs", slide("a"))
    watch.put("b.svs", slide("b"))

    first = await watch.tick()
    second = await watch.tick()

    assert ("done", 2, 2, 2, {}) == (first.state, first.seen, first.new, first.imported, first.skipped)
    assert (2, 0, 0, {}) == (second.seen, second.new, second.imported, second.skipped)
    assert first.bytes == len(slide("a")) + len(slide("b"))
    images = await watch.images()
    assert {"12/a.svs", "b.svs"} == set(images)
    titles = {session.id: session.title for session in await house.store.sessions.find({})}
    assert {"12/a.svs": "12", "b.svs": "scanner"} == {path: titles[image.session] for path, image in images.items()}
    version = await watch.version(images["12/a.svs"])
    assert slide("a") == await house.blobs.read(version.file, 0, 10_000)
    assert 2 == sum(isinstance(event, FileComplete) for event in house.broker.journal)


async def test_what_a_store_wishes_of_its_tiles_is_wished_of_each_image(watch: Watch) -> None:
    await watch.store.stores.update(STORE, set={"quality": 92, "subsampling": "444"})
    watch.put("a.svs", slide("a"))

    await watch.tick()

    version = await watch.version((await watch.images())["a.svs"])
    assert version.wish == Wish(quality=92, subsampling="444")


async def test_a_file_that_still_grows_waits_and_holds_no_other_up(watch: Watch) -> None:
    watch.put("b.svs", slide("b"))
    watch.put("a.svs", slide("a", 600))

    growing = await watch.tick(meanwhile=lambda: watch.put("a.svs", slide("a", 601)))

    assert ("done", 1, {"unstable": 1}) == (growing.state, growing.imported, growing.skipped)
    growing = await watch.tick(
        seconds=2,
        meanwhile=lambda: watch.put("a.svs", slide("a", 602)),
    )
    assert (0, {"unstable": 1}) == (growing.imported, growing.skipped)
    assert 1 == (await watch.tick()).imported


async def test_what_goes_between_the_two_looks_is_left_to_the_next_tick(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("b"))

    def meanwhile() -> None:
        (watch.root / "a.svs").unlink()
        (watch.root / "b.svs").unlink()
        os.mkfifo(watch.root / "b.svs")

    assert ("done", 0) == ((report := await watch.tick(meanwhile=meanwhile)).state, report.imported)
    assert (0, {"special": 1}) == ((report := await watch.tick()).seen, report.skipped)


async def test_the_second_look_comes_no_sooner_than_files_must_look_the_same(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    tick = watch.due()
    (scan,) = await watch.handlers[type(tick)](tick, **watch._ports)
    assert [] == await watch.handlers[ScanStore](scan, **watch._ports)
    watch.clock.advance(4.9)

    assert 0 == await announce(watch.store, watch.bus, database="slidemill", stable=STABLE, clock=watch.clock)
    await watch.deliver(scan)

    assert ("scanning", 0) == ((report := await watch.report(tick)).state, report.imported)
    await watch.deliver(*await watch.second_looks())
    assert ("done", 1) == ((report := await watch.report(tick)).state, report.imported)


async def test_a_second_look_whose_message_is_lost_is_announced_again_after_a_minute(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.deliver(tick := watch.due())
    (lost,) = await watch.second_looks()
    watch.clock.advance(50)
    assert [] == await watch.second_looks()
    watch.clock.advance(5)

    (again,) = await watch.second_looks()

    assert lost == again
    await watch.deliver(again)
    assert ("done", 1) == ((report := await watch.report(tick)).state, report.imported)


async def test_of_two_services_one_announces_a_second_look(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.deliver(watch.due())
    watch.clock.advance(6)

    async def one() -> int:
        return await announce(watch.store, watch.bus, database="slidemill", stable=STABLE, clock=watch.clock)

    assert 1 == sum(await asyncio.gather(one(), one(), one()))


async def test_a_changed_file_is_a_new_version_of_its_image(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    before = (await watch.images())["a.svs"]
    watch.put("a.svs", slide("a", 700))

    report = await watch.tick()

    after = (await watch.images())["a.svs"]
    assert (1, 1) == (report.changed, report.imported)
    assert (before.id, 2) == (after.id, after.latest)
    assert before.session == (await watch.version(after)).session
    assert (await watch.version(after, 1)).sha256 != (await watch.version(after)).sha256


async def test_a_touched_file_is_read_but_no_new_version(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    touch(watch.root / "a.svs")

    report = await watch.tick()

    assert (0, 0) == (report.changed, report.imported)
    assert 1 == (await watch.images())["a.svs"].latest


async def test_a_moved_file_keeps_its_image_and_takes_the_new_name(watch: Watch) -> None:
    watch.put("12/a.svs", slide("a"))
    await watch.tick()
    before = (await watch.images())["12/a.svs"]
    (watch.root / "done").mkdir()
    (watch.root / "12/a.svs").rename(watch.root / "done/b.svs")
    (watch.root / "12").rmdir()

    report = await watch.tick()

    assert (0, 1, 0) == (report.vanished, report.moved, report.imported)
    (after,) = (await watch.images()).values()
    assert (before.id, "b.svs", "store:scanner/done/b.svs", 1) == (after.id, after.name, after.source, after.latest)
    assert after.source_vanished is None
    assert await watch.entry("12/a.svs") is None


async def test_a_vanished_file_is_marked_and_unmarked_when_it_is_back(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    (watch.root / "a.svs").rename(watch.root.parent / "a.svs")

    gone = await watch.tick()

    assert 1 == gone.vanished
    assert watch.clock.now() == (await watch.images())["a.svs"].source_vanished
    (watch.root.parent / "a.svs").rename(watch.root / "a.svs")
    back = await watch.tick()
    assert (1, 0) == (back.back, back.vanished)
    image = (await watch.images())["a.svs"]
    assert (None, 1) == (image.source_vanished, image.latest)


async def test_nothing_vanishes_when_the_folder_itself_is_not_there(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    watch.root.rename(watch.root.parent / "elsewhere")

    report = await watch.tick()

    assert ("done", 0) == (report.state, report.vanished)
    assert f"{watch.root} can't be read: No such file or directory." == report.note
    assert (await watch.images())["a.svs"].source_vanished is None


async def filled(watch: Watch, *, files: int = 12) -> None:
    for n in range(files):
        watch.put(f"{n % 3}/{n}.svs", slide(str(n)))
    assert files == (await watch.tick()).imported


async def resume(watch: Watch) -> None:
    """What the gateway writes when somebody has paused and resumed the store."""
    await watch.store.stores.update(STORE, set={"state": "active", "found": None})


async def test_nothing_vanishes_from_a_share_that_is_not_mounted_until_somebody_says_so(watch: Watch) -> None:
    await filled(watch)
    away = watch.root.rename(watch.root.parent / "share")
    watch.root.mkdir()

    for _ in range(3):
        report = await watch.tick()
        assert ("done", 0) == (report.state, report.vanished)
        assert report.note is not None
        assert f"{watch.root} is empty, and held 10 files or more: see that it is mounted." in report.note
    assert all(image.source_vanished is None for image in (await watch.images()).values())
    watch.root.rmdir()
    away.rename(watch.root)
    assert (12, 0, None) == ((report := await watch.tick()).seen, report.new, report.note)

    for folder in watch.root.iterdir():
        folder.rename(watch.root.parent / folder.name)
    assert (await watch.tick()).note is not None
    await resume(watch)
    assert [12, 0] == [(await watch.tick()).vanished, (await watch.tick()).vanished]


async def test_a_few_files_may_all_be_taken_away(watch: Watch) -> None:
    await filled(watch, files=3)
    for folder in watch.root.iterdir():
        folder.rename(watch.root.parent / folder.name)

    assert (3, None) == ((report := await watch.tick()).vanished, report.note)


async def test_what_was_a_mount_and_is_none_any_more_is_not_looked_at(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = True
    monkeypatch.setattr(os.path, "ismount", lambda path: mounted and path == str(watch.root))
    await filled(watch, files=3)
    mounted = False
    (watch.root / "0/0.svs").unlink()

    report = await watch.tick()

    assert ("done", 0) == (report.state, report.vanished)
    assert report.note is not None
    assert f"Nothing is mounted at {watch.root} any more: mount it." in report.note
    await resume(watch)
    assert 1 == (await watch.tick()).vanished


async def test_no_reason_hides_the_others_among_the_examples(watch: Watch) -> None:
    for n in range(40):
        watch.put(f"{n:02}/.cache/a", b"x")
    watch.put("99/late.svs.part", b"x")

    report = await watch.tick()

    assert {"hidden": 40, "temporary": 1} == report.skipped
    assert "99/late.svs.part" in [example.path for example in report.examples]


async def test_a_copy_is_not_imported_until_it_is_the_only_one_left(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("a"))

    report = await watch.tick()

    assert (1, {"duplicate": 1}) == (report.imported, report.skipped)
    assert "b.svs is a copy of a.svs." in [example.detail for example in report.examples]
    (before,) = (await watch.images()).values()
    (watch.root / "a.svs").unlink()
    last = await watch.tick()
    assert (0, 1, 0, {}) == (last.vanished, last.moved, last.imported, last.skipped)
    (after,) = (await watch.images()).values()
    assert (before.id, "b.svs", None) == (after.id, after.name, after.source_vanished)


async def test_a_copy_becomes_an_image_when_the_original_is_replaced(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("a"))
    await watch.tick()
    watch.put("a.svs", slide("new"))

    await watch.tick()
    await watch.tick()

    images = await watch.images()
    assert {"a.svs": 2, "b.svs": 1} == {path: image.latest for path, image in images.items()}


async def test_hostile_entries_are_named_and_stop_nothing(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "outside.svs").write_bytes(slide("secret"))
    (watch.root / "link.svs").symlink_to(tmp_path / "outside.svs")
    (watch.root / "loop").symlink_to(watch.root)
    os.mkfifo(watch.root / "pipe.svs")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(watch.root, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket.svs")
        os.close(here)
    (watch.root / "empty.svs").touch()
    (watch.root / os.fsdecode(b"\xff.svs")).write_bytes(slide("name"))
    for name in ("a.tmp", "b.svs.part", "c.svs.crdownload", "~$d.svs", ".e.svs", "f.svs.filepart"):
        watch.put(name, slide(name))
    for folder in (".snapshots", "@eaDir", "$RECYCLE.BIN"):
        watch.put(f"{folder}/a.svs", slide(folder))
    watch.put("good.svs", slide("good"))

    report = await watch.tick()

    assert {"good.svs"} == set(await watch.images())
    assert {"link": 2, "special": 2, "empty": 1, "name": 1, "temporary": 6, "hidden": 3} == report.skipped
    assert "done" == report.state


async def test_a_file_that_can_not_be_read_is_set_aside_and_tried_again_later(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("b"))
    real = os.pread
    broken = True

    def pread(fd: int, length: int, offset: int) -> bytes:
        if broken and os.readlink(f"/proc/self/fd/{fd}").endswith("a.svs"):
            raise OSError(5, "Input/output error")
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)

    report = await watch.tick()

    assert (1, 1, {"unreadable": 1}) == (report.imported, report.failed, report.skipped)
    assert ["a.svs can't be read: Input/output error."] == [example.detail for example in report.examples]
    broken = False
    assert (0, {"unreadable": 1}) == ((early := await watch.tick(seconds=60)).imported, early.skipped)
    assert 1 == (await watch.tick(seconds=600)).imported
    assert {"a.svs", "b.svs"} == set(await watch.images())


async def test_a_file_that_changes_while_it_is_read_is_taken_in_whole_later(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.put("a.svs", slide("a"))
    real, written = os.pread, list[bool]()

    def pread(fd: int, length: int, offset: int) -> bytes:
        if not written:
            written.append(True)
            watch.put("a.svs", slide("a", 900))
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", pread)

    assert {"changing": 1} == (await watch.tick()).skipped
    assert {} == await watch.images()
    await watch.tick()
    assert slide("a", 900) == await _content(watch, "a.svs")


async def test_what_opens_as_no_slide_is_a_failed_image_once(watch: Watch, house: House) -> None:
    watch.put("notes.svs", b"Dear colleague, " * 40)

    report = await watch.tick()
    await watch.tick()

    assert (0, 1) == (report.imported, report.failed)
    image = (await watch.images())["notes.svs"]
    version = await watch.version(image)
    assert ("failed", 1) == (version.state, image.latest)
    assert version.failure is not None
    assert "notes.svs" in version.failure.reason
    assert 1 == sum(isinstance(event, ImageFailed) for event in house.broker.journal)


async def test_globs_say_what_is_taken(watch: Watch, house: House) -> None:
    await house.store.stores.update(STORE, set={"include": ["*.svs"], "exclude": ["old/*"], "session": "All"})
    for path in ("a.SVS", "b.txt", "old/c.svs", "new/d.svs"):
        watch.put(path, slide(path))

    report = await watch.tick()

    assert {"a.SVS", "new/d.svs"} == set(await watch.images())
    assert {"excluded": 2} == report.skipped
    assert ["All"] == [session.title for session in await house.store.sessions.find({})]


async def test_bytes_that_the_owner_has_already_are_not_stored_again(watch: Watch, house: House) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    first = (await watch.images())["a.svs"]
    watch.put("a.svs", slide("b"))
    await watch.tick()
    watch.put("c.svs", slide("a"))

    await watch.tick()

    again = await watch.version((await watch.images())["c.svs"])
    assert (await watch.version(first, 1)).file == again.file


async def test_an_image_that_somebody_deleted_does_not_come_again(watch: Watch, house: House) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    await house.store.images.delete({})

    await watch.tick()

    assert {} == await watch.images()


async def test_messages_that_come_twice_change_nothing(watch: Watch, house: House) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("a"))
    watch.put("c.svs", b"no slide at all" * 50)

    report = await watch.tick(twice=True)

    assert (3, 1, 1, {"duplicate": 1}) == (report.seen, report.imported, report.failed, report.skipped)
    assert 2 == len(await watch.images())
    assert 2 == await house.store.versions.count({})


async def test_a_run_waits_for_the_one_that_is_going_on_and_a_third_is_missed(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    await watch.deliver(first := watch.due())
    watch.put("b.svs", slide("b"))

    await watch.deliver(second := watch.due(1))
    await watch.deliver(third := watch.due(1))

    waiting, missed = await watch.report(second), await watch.report(third)
    assert ("waiting", "missed") == (waiting.state, missed.state)
    begun = f"{first.due:%Y-%m-%d %H:%M:%S} UTC was still going on"
    assert f"The run of {begun}: this one begins when that has ended." == waiting.note
    assert missed.note is not None
    assert begun in missed.note
    assert f"that of {second.due:%Y-%m-%d %H:%M:%S} UTC comes after it" in missed.note
    for _ in range(2):
        await watch.deliver(*await watch.second_looks())
    done = [await watch.report(first), await watch.report(second)]
    assert [("done", 1, None), ("done", 1, None)] == [(run.state, run.imported, run.note) for run in done]


async def test_a_run_that_waits_begins_when_the_store_is_resumed_or_ends_where_it_is_not(
    watch: Watch, house: House
) -> None:
    watch.put("a.svs", slide("a"))
    await watch.deliver(first := watch.due())
    await watch.deliver(second := watch.due(1))
    await house.store.stores.update(STORE, set={"state": "paused"})

    await watch.deliver(*await watch.second_looks())

    for tick in (first, second):
        assert ("done", "The store was paused or removed meanwhile.") == (
            (run := await watch.report(tick)).state,
            run.note,
        )


async def test_a_paused_store_is_left_alone_and_a_removed_one_forgotten(watch: Watch, house: House) -> None:
    watch.put("a.svs", slide("a"))
    await watch.tick()
    await house.store.stores.update(STORE, set={"state": "paused"})
    await watch.deliver(watch.due())
    assert 1 == await house.store.reports.count({})

    await house.store.stores.update(STORE, set={"state": "removed", "name": None})
    await watch.deliver(watch.due())

    assert 0 == await house.store.entries.count({})
    assert 1 == await house.store.images.count({})


async def test_a_hundred_reports_are_kept(watch: Watch, house: House) -> None:
    for _ in range(103):
        last = await watch.tick()

    assert 100 == await house.store.reports.count({})
    assert last.id == (await house.store.reports.find({"store": STORE}, sort="order", limit=1))[0].id


async def test_a_run_takes_in_no_more_than_its_share_and_says_what_is_left(watch: Watch) -> None:
    watch.handlers[ScanStore]._imports = 2
    for name in "abc":
        watch.put(f"{name}.svs", slide(name))

    report = await watch.tick()

    assert (2, "1 more files are due: the next runs take them in.") == (report.imported, report.note)
    assert 1 == (await watch.tick()).imported


async def test_a_long_scan_goes_on_in_turns(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        watch.put(f"{name}/1.svs", slide(name))
    monkeypatch.setattr("services.sync.comparing.MOST_FOLDERS", 1)
    scan = watch.handlers[ScanStore]
    turns = 0

    async def slow(event: ScanStore, **ports: object) -> list[object]:
        nonlocal turns
        turns += 1
        watch.clock.advance(1)
        real = watch.clock.now
        monkeypatch.setattr(watch.clock, "now", lambda: (watch.clock.advance(200), real())[1])
        try:
            return list(await scan(event, **ports))
        finally:
            monkeypatch.setattr(watch.clock, "now", real)

    watch.handlers[ScanStore] = slow

    report = await watch.tick()

    assert turns > 1
    assert (3, 3) == (report.seen, report.new)


@pytest.mark.parametrize("at", range(1, 360, 5))
async def test_whoever_dies_anywhere_is_followed_by_one_who_ends_it(house: House, tmp_path: Path, at: int) -> None:
    """Two ticks in which a worker dies at one step; its message comes again to another."""
    root = tmp_path / "slides"
    root.mkdir()
    fuse = Fuse()
    ports = {"blobs": Fused(house.blobs, fuse), "tiles": house.tiles}
    watch = Watch(root, house.store, {"blobs": house.blobs, "tiles": house.tiles}, house.bus, house.clock)
    dying = Watch(root, cast(Store, Fused(house.store, fuse)), ports, Fused(house.bus, fuse), house.clock)
    await watch.add()
    watch.put("a.svs", slide("a"))
    watch.put("old/b.svs", slide("b"))
    await watch.tick()
    ids = {path: image.id for path, image in (await watch.images()).items()}
    watch.put("a.svs", slide("a", 700))
    watch.put("c.svs", slide("c"))
    (watch.root / "old/b.svs").rename(watch.root / "b.svs")

    fuse.at, fuse.steps = at, 0
    tick = watch.due()
    waiting: list[Event] = [tick]
    while waiting:
        event = waiting.pop(0)
        try:
            answer = await dying.handlers[type(event)](event, **dying._ports)
        except Crash:
            answer = await watch.handlers[type(event)](event, **watch._ports)
        waiting.extend(answer)
        if not waiting:
            waiting.extend(await watch.second_looks())
    await watch.process()

    report = await watch.report(tick)
    assert ("done", 3, 2, 0) == (report.state, report.seen, report.new, report.vanished)
    assert (1, 1, 2) == (report.changed, report.moved, report.imported)
    images = await watch.images()
    assert {"a.svs": 2, "b.svs": 1, "c.svs": 1} == {path: image.latest for path, image in images.items()}
    assert {ids["a.svs"], ids["old/b.svs"]} == {images["a.svs"].id, images["b.svs"].id}
    assert slide("a", 700) == await _content(watch, "a.svs")


async def _content(watch: Watch, path: str) -> bytes:
    version = await watch.version((await watch.images())[path])
    content: bytes = await watch._ports["blobs"].read(version.file, 0, 10**8)
    return content


@pytest.mark.broker
async def test_on_mongodb_files_come_change_move_vanish_and_come_back(
    mongod: str, house: House, tmp_path: Path
) -> None:
    root = tmp_path / "slides"
    root.mkdir()
    name = f"t{uuid.uuid4().hex[:12]}"
    client = connect(mongod)
    try:
        store, blobs = MongoStore(client, name), GridFSBlobs(client, name, tmp_path / "scratch", 10**9)
        await store.prepare()
        await blobs.prepare()
        watch = Watch(root, store, {"blobs": blobs, "tiles": house.tiles}, house.bus, house.clock)
        await watch.add()
        watch.put("12/a.svs", slide("a", 9 * 2**20))
        watch.put("12/copy.svs", slide("a", 9 * 2**20))
        watch.put("b.svs", slide("b"))
        watch.put("notes.svs", b"no slide " * 100)

        report = await watch.tick()

        assert (2, 1, {"duplicate": 1}) == (report.imported, report.failed, report.skipped)
        assert slide("a", 9 * 2**20) == await _content(watch, "12/a.svs")
        before = await watch.images()
        watch.put("b.svs", slide("b", 700))
        (root / "12/a.svs").rename(root / "a.svs")
        (root / "12/copy.svs").unlink()
        assert 1 == (await watch.tick(twice=True)).moved
        after = await watch.images()
        assert (before["12/a.svs"].id, 1) == (after["a.svs"].id, after["a.svs"].latest)
        assert (before["b.svs"].id, 2) == (after["b.svs"].id, after["b.svs"].latest)
        (root / "a.svs").rename(tmp_path / "a.svs")
        assert 1 == (await watch.tick()).vanished
        assert (await watch.images())["a.svs"].source_vanished is not None
        (tmp_path / "a.svs").rename(root / "a.svs")
        assert 1 == (await watch.tick()).back
        assert (await watch.images())["a.svs"].source_vanished is None
    finally:
        await client.drop_database(name)
        client.close()


async def test_two_workers_that_import_the_same_content_at_once_make_one_image(watch: Watch, house: House) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("a"))
    await watch.deliver(watch.due())
    (scan,) = await watch.second_looks()
    imports = await watch.handlers[ScanStore](scan, **watch._ports)

    async def work(event: ImportFile) -> None:
        while True:
            try:
                await watch.handlers[ImportFile](event, **watch._ports)
                return
            except RetryLater:
                await asyncio.sleep(0)

    await asyncio.gather(*(work(event) for event in [*imports, *reversed(imports)]))
    await watch.process()
    await watch.tick()

    assert 1 == await house.store.images.count({})
    assert {("imported",): 1, ("duplicate",): 1} == await house.store.entries.tally({}, ["state"])


async def test_a_file_whose_import_failed_for_good_does_not_keep_its_run_from_ending(watch: Watch) -> None:
    watch.put("a.svs", slide("a"))
    watch.put("b.svs", slide("b"))
    await watch.deliver(watch.due())
    (scan,) = await watch.second_looks()
    first, second = await watch.handlers[ScanStore](scan, **watch._ports)

    await Failures(watch.clock)(first, "It went wrong.", "Look at the log.", store=watch.store)
    await watch.deliver(second)

    report = await watch.store.reports.get(first.run)
    assert report is not None
    assert ("done", 1, 1, {"unreadable": 1}) == (report.state, report.imported, report.failed, report.skipped)
    assert "It went wrong." in [example.detail for example in report.examples]
