"""How files of a folder are read and stored: by nobody else, in turns, at a pace, and within what there is room for."""

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.sync.copying import PIECE
from services.sync.importing import ImportHandler
from services.sync.room import Bounds
from services.upload.app import make_gateway
from services.upload.relay import Relay
from shared.blobs.memory import MemoryBlobs
from shared.bus.memory import MemoryDeadLetters, MemoryJournal
from shared.events import Event, FileComplete, ImportFile
from shared.store.memory import MemoryStore
from tests.sync.conftest import House, watch_folder
from tests.sync.watching import OWNER, STORE, Watch, slide

CONTENT = slide("a", 5 * PIECE + 1000)
LARGE = len(CONTENT)


class Told:
    """A port that awaits `after` whenever `name` was called."""

    def __init__(self, port: Any, name: str, after: Callable[[], Awaitable[None]]) -> None:
        self._port = port
        self._name = name
        self._after = after

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if name != self._name:
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await value(*args, **kwargs)
            await self._after()
            return result

        return call


class Reads:
    """Counts the bytes that are read of files; each piece takes some time of the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
        self.bytes = 0
        self.seconds = 0.0
        real = os.pread

        def pread(fd: int, length: int, offset: int) -> bytes:
            data = real(fd, length, offset)
            self.bytes += len(data)
            clock.advance(self.seconds)
            return data

        monkeypatch.setattr(os, "pread", pread)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, house: House) -> Reads:
    return Reads(monkeypatch, house.clock)


async def _import_events(watch: Watch) -> list[Event]:
    """The imports that one tick asks for."""
    await watch.deliver(watch.due())
    waiting = await watch.second_looks()
    while not all(isinstance(event, ImportFile) for event in waiting):
        event = waiting.pop(0)
        waiting += await watch.handlers[type(event)](event, **watch._ports)
    return waiting


async def test_no_gateway_ends_what_its_import_has_not_looked_at_for_the_last_time(
    house: House, tmp_path: Path
) -> None:
    """Every chunk is stored and nothing has happened for a while, as a gateway sees it; then the file changes."""
    chunks = 0
    folder: Watch
    gateway = make_gateway(
        store=house.store,
        blobs=house.blobs,
        tiles=house.tiles,
        bus=house.bus,
        letters=MemoryDeadLetters(house.broker),
        journal=MemoryJournal(house.broker),
        clock=house.clock,
        database="slidemill",
        public_url="http://127.0.0.1",
    )
    relay = Relay(gateway, house.bus, "slidemill")

    async def look() -> None:
        nonlocal chunks
        chunks += 1
        for seconds in (0, 15, 60, 300):
            house.clock.advance(seconds)
            await relay.look()
        if chunks == 3:
            folder.put("a.svs", slide("changed", 3 * PIECE))

    folder = await watch_folder(house, tmp_path, Told(house.blobs, "put_chunk", look))
    folder.put("a.svs", slide("a", 3 * PIECE - 500))
    report = await folder.tick()

    assert (0, {"changing": 1}) == (report.imported, report.skipped)
    assert not [event for event in house.broker.journal if isinstance(event, FileComplete)]
    await folder.tick()
    image = (await folder.images())["a.svs"]
    version = await folder.version(image)
    assert ("ready", slide("changed", 3 * PIECE)) == (
        version.state,
        await house.blobs.read(version.file, 0, 10**8),
    )


async def test_an_import_of_hours_is_done_in_turns_of_minutes(watch: Watch, reads: Reads) -> None:
    watch.put("a.svs", CONTENT)
    waiting = await _import_events(watch)
    reads.seconds = 120
    turns = []

    while waiting:
        before = watch.clock.now()
        waiting = await watch.handlers[ImportFile](waiting[0], **watch._ports)
        turns.append(watch.clock.now() - before)
    await watch.process()

    assert max(turns) < timedelta(minutes=15)
    assert len(turns) > 3
    # Its digest, its bytes, and now and then how it begins: nothing again because a turn was over.
    assert reads.bytes < 2 * LARGE + PIECE
    version = await watch.version((await watch.images())["a.svs"])
    assert CONTENT == await watch._ports["blobs"].read(version.file, 0, 10**8)


async def test_whoever_goes_on_with_an_interrupted_import_reads_of_the_file_what_is_not_stored(
    house: House, tmp_path: Path, reads: Reads
) -> None:
    class Died(BaseException):
        pass

    class Dying(MemoryBlobs):
        ill = True

        async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
            if self.ill and n == 3:
                raise Died
            return await super().put_chunk(file, n, data)

    blobs = Dying(tmp_path / "scratch")
    watch = await watch_folder(house, tmp_path, blobs)
    watch.put("a.svs", CONTENT)
    (event,) = await _import_events(watch)
    with pytest.raises(Died):
        await watch.handlers[ImportFile](event, **watch._ports)
    there = await blobs.chunks((await house.store.uploads.find({}))[0].id)
    blobs.ill, reads.bytes = False, 0

    await ImportHandler(house.bus, house.clock)(event, **watch._ports)  # type: ignore[arg-type]

    assert there
    assert reads.bytes == LARGE - sum(chunk.length for chunk in there) + 512
    version = await watch.version((await watch.images())["a.svs"])
    assert ("dicing", CONTENT) == (version.state, await blobs.read(version.file, 0, 10**8))


async def test_workers_that_take_turns_with_one_file_come_to_its_end(watch: Watch, house: House, reads: Reads) -> None:
    watch.put("a.svs", CONTENT)
    waiting = await _import_events(watch)
    reads.seconds = 200
    workers = [ImportHandler(house.bus, house.clock) for _ in range(2)]

    for turn in range(40):
        if waiting:
            waiting = await workers[turn % 2](waiting[0], **watch._ports)  # type: ignore[arg-type]

    assert [] == waiting
    assert CONTENT[:100] == await house.blobs.read((await house.store.uploads.find({}))[0].id, 0, 100)


async def test_imports_read_no_faster_than_they_may(watch: Watch, house: House) -> None:
    watch.handlers[ImportFile] = ImportHandler(house.bus, house.clock, bytes_per_second=2**20)
    watch.put("a.svs", CONTENT)
    waiting = await _import_events(watch)
    before = watch.clock.now()

    await watch.deliver(*waiting)

    # But for the piece that is read at once.
    assert (watch.clock.now() - before).total_seconds() >= (2 * LARGE - PIECE) / 2**20
    assert 1 == len(await watch.images())


async def test_a_file_for_which_the_account_has_no_room_waits_until_it_has(watch: Watch, house: House) -> None:
    watch.put("a.svs", slide("a", 564))
    watch.put("b.svs", slide("b", 664))
    watch.handlers[ImportFile] = ImportHandler(house.bus, house.clock, bounds=Bounds(account=1000))

    report = await watch.tick()

    assert (1, 1, {"account-full": 1}) == (report.imported, report.failed, report.skipped)
    assert [
        "b.svs is not taken in. 600 of the 1,000 bytes that the store's owner may have are taken: "
        "delete images that are not needed, or ask the operator for more room."
    ] == [example.detail for example in report.examples]
    assert {"a.svs"} == set(await watch.images())
    assert 600 == await house.store.uploads.total({"owner": OWNER}, "total")
    watch.handlers[ImportFile] = ImportHandler(house.bus, house.clock, bounds=Bounds(account=1300))
    assert 1 == (await watch.tick(seconds=600)).imported


async def test_a_file_for_which_the_database_has_no_room_waits_and_is_not_read_again(
    house: House, tmp_path: Path, reads: Reads
) -> None:
    class Filling(MemoryStore):
        free = 5 * LARGE - 1

        async def free_bytes(self) -> int | None:
            return self.free

    store = Filling()
    watch = await watch_folder(house, tmp_path, house.blobs, store)
    watch.handlers[ImportFile] = ImportHandler(house.bus, house.clock, bounds=Bounds(reserve=4 * LARGE))
    watch.put("a.svs", CONTENT)

    report = await watch.tick()

    assert (0, {"no-room": 1}) == (report.imported, report.skipped)
    assert {} == await watch.images()
    store.free += 1
    assert 1 == (await watch.tick(seconds=600)).imported
    assert reads.bytes == 2 * LARGE + 512


async def test_an_import_that_stopped_with_its_store_is_given_up_after_a_day_and_gone_on_with_later(
    watch: Watch, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.put("a.svs", CONTENT)
    (event,) = await _import_events(watch)
    monkeypatch.setattr("services.sync.turns.TURN", timedelta(0))
    while not await house.store.uploads.find({"state": "importing"}):
        (event,) = await watch.handlers[ImportFile](event, **watch._ports)
    await house.store.stores.update(STORE, set={"state": "paused"})
    assert [] == await watch.handlers[ImportFile](event, **watch._ports)

    await watch.deliver(watch.due(seconds=25 * 3600))

    image = (await watch.images())["a.svs"]
    failure = (await watch.version(image)).failure
    assert failure is not None
    assert "Have its folder watched again: the next tick goes on with the slide." == failure.remedy
    assert [] == await house.blobs.chunks((await house.store.uploads.find({}))[0].id)
    await house.store.stores.update(STORE, set={"state": "active"})
    for _ in range(3):
        await watch.tick()
    after = (await watch.images())["a.svs"]
    assert (image.id, 2, "ready") == (after.id, after.latest, (await watch.version(after)).state)
