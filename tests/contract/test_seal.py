import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from shared.blobs import Blobs
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.memory import MemoryBlobs
from shared.blobs.relay import relay
from shared.blobs.seal import announced, seal
from shared.bus import Bus, Message
from shared.clock import ManualClock
from shared.errors import Unavailable
from shared.events import Event, FileComplete, ImageFailed
from shared.removal import hide_image
from shared.store import Store
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version, VersionId
from shared.store.memory import MemoryStore
from shared.store.mongo import MongoStore
from tests.contract.conftest import Real
from tests.crashing import Crash, Fuse, Fused

CHUNK = 1000
DATA = bytes(range(256)) * 10
MD5, SHA256 = hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()
START = datetime(2026, 3, 4, tzinfo=UTC)
STALE = timedelta(seconds=20)


class Told:
    """A bus that only listens."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken = False

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.broken and messages:
            raise Unavailable("The broker is away.")
        self.events += [message.event for message in messages]


@dataclass
class House:
    """A database with its clock and its bus."""

    store: Store
    blobs: Blobs
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    bus: Told = field(default_factory=Told)
    fuse: Fuse = field(default_factory=Fuse)

    async def upload(self, *, data: bytes = DATA, without: Sequence[int] = (), **fields: Any) -> Upload:
        """An upload whose chunks are stored but for `without`, with its version."""
        id, image = uuid.uuid4().hex, uuid.uuid4().hex
        upload = Upload(
            id=id,
            session="s",
            image=image,
            version=1,
            owner="o",
            name="slide.svs",
            total=len(DATA),
            chunk=CHUNK,
            created=START,
            updated=START,
            **fields,
        )
        await self.store.uploads.insert(upload)
        await self.blobs.create(id, name=upload.name, chunk=CHUNK, refs=(f"{image}:1",))
        for n in range(-(-len(data) // CHUNK)):
            if n not in without:
                await self.blobs.put_chunk(id, n, data[n * CHUNK : (n + 1) * CHUNK])
        version = Version(
            id=VersionId(image=image, n=1), session="s", file=id, name=upload.name, created=START, updated=START
        )
        await self.store.versions.insert(version)
        self.clock.advance(1)
        return upload

    async def seal(self, upload: Upload) -> FileComplete | None:
        store, blobs = cast(Store, Fused(self.store, self.fuse)), cast(Blobs, Fused(self.blobs, self.fuse))
        return await seal(upload.id, store=store, blobs=blobs, database="main", clock=self.clock)

    async def relay(self) -> list[Event]:
        """What the relay has published."""
        store, blobs = cast(Store, Fused(self.store, self.fuse)), cast(Blobs, Fused(self.blobs, self.fuse))
        before = len(self.bus.events)
        await relay(store, blobs, cast(Bus, self.bus), database="main", clock=self.clock, stale=STALE)
        return self.bus.events[before:]

    async def state(self, upload: Upload) -> Upload:
        found = await self.store.uploads.get(upload.id)
        assert found is not None
        return found

    async def version(self, upload: Upload) -> Version:
        found = await self.store.versions.get(VersionId(image=upload.image, n=1))
        assert found is not None
        return found


@pytest.fixture
async def house(real: Real | None, tmp_path: Path) -> House:
    if real is None:
        return House(MemoryStore(), MemoryBlobs(tmp_path))
    store, blobs = MongoStore(*real), GridFSBlobs(*real, tmp_path, 2**30)
    await store.prepare()
    await blobs.prepare()
    return House(store, blobs)


async def assert_sealed(house: House, upload: Upload, event: Event | None) -> None:
    version, state = await house.version(upload), await house.state(upload)
    assert isinstance(event, FileComplete)
    assert event.model_dump(exclude={"time"}) == {
        "database": "main",
        "cause": None,
        "image": upload.image,
        "version": 1,
        "file": upload.id,
        "session": "s",
        "name": "slide.svs",
        "length": len(DATA),
        "md5": MD5,
        "sha256": SHA256,
    }
    assert event.time == version.stages.upload.ended
    assert (version.state, version.length, version.md5, version.sha256) == ("dicing", len(DATA), MD5, SHA256)
    assert (version.stages.upload.done, version.stages.upload.total) == (len(DATA), len(DATA))
    assert (state.state, state.stored, state.md5, state.sha256) == ("complete", len(DATA), MD5, SHA256)
    info = await house.blobs.info(upload.id)
    assert info is not None
    assert (info.complete, info.length, info.md5, info.sha256) == (True, len(DATA), MD5, SHA256)


async def test_a_whole_file_is_sealed(house: House) -> None:
    upload = await house.upload(claimed_md5=MD5.upper(), claimed_sha256=SHA256)

    event = await house.seal(upload)

    await assert_sealed(house, upload, event)


async def test_the_same_fact_is_returned_until_it_is_announced(house: House) -> None:
    upload = await house.upload()
    event = await house.seal(upload)
    house.clock.advance(3600)

    assert await house.seal(upload) == event

    await announced(upload.id, house.store)

    assert await house.seal(upload) is None


@pytest.mark.parametrize("without", [[0], [1], [2], [0, 1, 2]])
async def test_a_file_with_a_missing_chunk_goes_on_being_received(house: House, without: list[int]) -> None:
    upload = await house.upload(without=without)

    assert await house.seal(upload) is None
    assert await house.state(upload) == upload
    assert (await house.version(upload)).state == "uploading"

    for n in without:
        await house.blobs.put_chunk(upload.id, n, DATA[n * CHUNK : (n + 1) * CHUNK])

    await assert_sealed(house, upload, await house.seal(upload))


async def test_a_file_whose_last_chunk_is_short_goes_on_being_received(house: House) -> None:
    upload = await house.upload(data=DATA[:-1])

    assert await house.seal(upload) is None
    assert await house.state(upload) == upload


async def test_a_file_may_be_said_to_be_of_any_length(house: House) -> None:
    upload = await house.upload()
    await house.store.uploads.update(upload.id, set={"total": 10**17})

    assert await house.seal(upload) is None
    assert (await house.state(upload)).state == "receiving"


async def test_digests_that_the_gateway_has_made_are_not_made_again(house: House) -> None:
    upload = await house.upload(md5="5" * 32, sha256="6" * 64)

    event = await house.seal(upload)

    assert event is not None
    assert (event.md5, event.sha256) == ("5" * 32, "6" * 64)


@pytest.mark.parametrize("hashed", [{}, {"md5": MD5, "sha256": SHA256}])
@pytest.mark.parametrize(
    ("claimed", "values"),
    [({"claimed_md5": "0" * 32}, ("0" * 32, MD5)), ({"claimed_sha256": "f" * 64}, ("f" * 64, SHA256))],
)
async def test_other_digests_than_claimed_fail_with_both_values(
    house: House, claimed: dict[str, Any], values: tuple[str, str], hashed: dict[str, Any]
) -> None:
    upload = await house.upload(**claimed, **hashed)

    assert await house.seal(upload) is None

    version = await house.version(upload)
    assert version.state == "failed"
    assert version.failure is not None
    assert version.failure.stage == "upload"
    assert all(value in version.failure.reason for value in ("slide.svs", *values))
    assert (await house.state(upload)).state == "failed"
    assert await house.blobs.info(upload.id) is None
    assert await house.blobs.chunks(upload.id) == []

    told = await house.relay()

    assert [type(event) for event in told] == [ImageFailed]
    assert await house.relay() == []
    assert await house.seal(upload) is None


@pytest.mark.parametrize("ended", ["failed", "expired"])
async def test_an_upload_that_ended_otherwise_is_left_alone(house: House, ended: str) -> None:
    upload = await house.upload(state=ended, announced=True)

    assert await house.seal(upload) is None
    assert await house.state(upload) == upload
    assert await house.relay() == []


async def test_what_was_never_there(house: House) -> None:
    assert await seal("x", store=house.store, blobs=house.blobs, database="main", clock=house.clock) is None


async def test_an_image_deleted_meanwhile_is_not_announced(house: House) -> None:
    upload = await house.upload()
    await house.store.versions.take(VersionId(image=upload.image, n=1))

    assert await house.seal(upload) is None
    assert await house.relay() == []
    assert (await house.state(upload)).announced


async def test_many_at_once_come_to_one_end(house: House) -> None:
    upload = await house.upload()

    events = await asyncio.gather(*(house.seal(upload) for _ in range(6)))

    await assert_sealed(house, upload, events[0])
    assert set(events) == {events[0]}


async def crashed_at_every_step(house: House, make: Callable[[], Any], finish: Callable[[Upload], Any]) -> int:
    """Kills `seal` before and after each of its steps in turn and finishes what it left; returns how many there are."""
    step = 0
    while True:
        step += 1
        upload = await make()
        house.fuse = Fuse(at=step)
        try:
            await house.seal(upload)
        except Crash:
            house.fuse = Fuse()
            await finish(upload)
        else:
            return step - 1


async def test_sealing_again_after_a_crash_at_any_step_comes_to_the_same_end(house: House) -> None:
    async def finish(upload: Upload) -> None:
        await assert_sealed(house, upload, await house.seal(upload))

    assert await crashed_at_every_step(house, house.upload, finish) > 12


async def test_the_relay_finishes_whatever_a_crash_at_any_step_left(house: House) -> None:
    async def finish(upload: Upload) -> None:
        told = await house.relay()
        if not told and (await house.state(upload)).state == "receiving":
            # Still the client's to go on with, or the gateway's to look at.
            await house.seal(upload)
            told = await house.relay()
        if not told:
            assert (await house.state(upload)).state == "verifying"
            house.clock.advance(STALE.total_seconds() + 1)
            told = await house.relay()
        assert len(told) == 1
        await assert_sealed(house, upload, told[0])
        assert (await house.state(upload)).announced
        assert await house.relay() == []

    assert await crashed_at_every_step(house, house.upload, finish) > 12


async def test_a_shared_file_is_sealed_whatever_a_crash_at_any_step_left(house: House) -> None:
    original = await house.upload()
    await house.seal(original)

    async def offered() -> Upload:
        upload = original.model_copy(
            update={
                "id": uuid.uuid4().hex,
                "image": uuid.uuid4().hex,
                "file": original.id,
                "stored": len(DATA),
                "state": "verifying",
                "md5": MD5,
                "sha256": SHA256,
                "created": house.clock.now(),
                "updated": house.clock.now(),
            }
        )
        await house.store.uploads.insert(upload)
        house.clock.advance(STALE.total_seconds() + 1)
        return upload

    async def finish(upload: Upload) -> None:
        told = await house.relay()
        version, state = await house.version(upload), await house.state(upload)
        assert [event.correlation for event in told if event.correlation == upload.image] == [upload.image]
        assert (version.state, version.file, version.sha256) == ("dicing", original.id, SHA256)
        assert (state.state, state.announced) == ("complete", True)
        assert await house.blobs.release(original.id, [f"{original.image}:1"]) is False

    assert await crashed_at_every_step(house, offered, finish) > 8


async def test_a_mismatch_is_told_once_whatever_a_crash_at_any_step_left(house: House) -> None:
    async def finish(upload: Upload) -> None:
        await house.seal(upload)
        told = await house.relay()
        assert [type(event) for event in told] == [ImageFailed]
        assert await house.blobs.info(upload.id) is None
        assert await house.blobs.chunks(upload.id) == []
        assert await house.relay() == []

    assert await crashed_at_every_step(house, lambda: house.upload(claimed_md5="0" * 32), finish) > 12


async def test_one_relay_takes_over_a_verification_once_it_is_stale(house: House) -> None:
    upload = await house.upload(state="verifying", stored=len(DATA))
    await house.store.uploads.update(upload.id, set={"updated": house.clock.now()})
    house.clock.advance(STALE.total_seconds() - 1)

    assert await house.relay() == []

    house.clock.advance(2)
    reads: list[str] = []
    stream = house.blobs.stream

    def noted(file: str, *span: int) -> AsyncIterator[bytes]:
        reads.append(file)
        return stream(file, *span)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.blobs, "stream", noted)
        await asyncio.gather(*(house.relay() for _ in range(3)))

    assert reads == [upload.id]
    assert len({event.id for event in house.bus.events}) == 1
    await assert_sealed(house, upload, house.bus.events[0])


async def test_a_verification_that_is_dated_ahead_since_the_clock_was_set_back_is_taken_over(house: House) -> None:
    upload = await house.upload(state="verifying", stored=len(DATA))
    await house.store.uploads.update(upload.id, set={"updated": house.clock.now()})
    house.clock.advance(-3 * 3600)

    await house.relay()

    await assert_sealed(house, upload, house.bus.events[0])


async def test_a_long_verification_says_that_it_is_under_way(house: House) -> None:
    upload = await house.upload()

    class Slow:
        """Files whose every piece takes eight seconds."""

        def __getattr__(self, name: str) -> Any:
            return getattr(house.blobs, name)

        async def stream(self, *span: Any) -> Any:
            async for piece in house.blobs.stream(*span):
                house.clock.advance(8)
                yield piece
                told = await house.relay()
                assert told == []

    slow = cast(Blobs, Slow())
    event = await seal(upload.id, store=house.store, blobs=slow, database="main", clock=house.clock)

    await assert_sealed(house, upload, event)


async def test_an_upload_that_has_lost_a_chunk_fails_and_holds_nobody_up(house: House) -> None:
    lost = await house.upload(without=[1], state="verifying")
    house.clock.advance(1)
    whole = await house.upload(state="verifying")
    house.clock.advance(STALE.total_seconds() + 1)

    told = await house.relay()

    assert {type(event) for event in told if event.correlation == whole.image} == {FileComplete}
    version = await house.version(lost)
    assert version.failure is not None
    assert (version.state, (await house.state(lost)).state) == ("failed", "failed")
    assert "hole" in version.failure.reason
    assert await house.blobs.info(lost.id) is None


async def test_an_upload_that_is_deleted_while_it_is_verified_is_no_failure(house: House) -> None:
    upload = await house.upload(state="verifying")
    await hide_image(house.store, upload.image, house.clock)
    await house.store.uploads.update(upload.id, set={"state": "verifying"})
    blobs, stream = house.blobs, house.blobs.stream

    async def deleted_meanwhile(file: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        await house.store.uploads.update(upload.id, set={"state": "expired"})
        await blobs.release(file, [f"{upload.image}:1"])
        async for piece in stream(file, offset, length):
            yield piece

    house.blobs.stream = deleted_meanwhile  # type: ignore[method-assign]

    assert await house.seal(upload) is None
    assert (await house.state(upload)).state == "expired"
    assert await house.store.versions.count({}) == 0
    assert await house.relay() == []


async def test_what_the_broker_did_not_confirm_is_told_later(house: House) -> None:
    upload = await house.upload()
    event = await house.seal(upload)
    house.bus.broken = True

    with pytest.raises(Unavailable):
        await house.relay()
    assert not (await house.state(upload)).announced

    house.bus.broken = False

    assert await house.relay() == [event]
    assert await house.relay() == []
