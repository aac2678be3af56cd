"""A tick keeps the house, once, and says what it did."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from services.sync.handler import TICKS_KEPT, TickHandler, tick_failed
from shared.blobs import StoredChunk
from shared.blobs.memory import MemoryBlobs
from shared.blobs.seal import IDLE
from shared.bus import Message
from shared.bus.memory import MemoryBus
from shared.errors import Unavailable
from shared.events import FileComplete, ImageFailed, SyncTick
from shared.repair import MOST_REISSUES
from shared.store.documents.ticks import Tick
from tests.sync.conftest import NOW, House, image_id

HOUR = timedelta(hours=1)
NOTHING = dict.fromkeys(("relayed", "reissued", "expired", "failed", "superseded", "swept", "missed"), 0)
WHOLE = (b"12345678", b"12345678", b"1234")


def tick(minutes: int = 0) -> SyncTick:
    due = NOW + timedelta(minutes=minutes)
    return SyncTick(database="slidemill", time=due, due=due)


async def handle(house: House, event: SyncTick) -> Tick:
    handler = TickHandler(house.bus, house.clock, HOUR)
    assert [] == await handler(event, store=house.store, blobs=house.blobs, tiles=house.tiles)
    found = await house.store.ticks.get(event.due.isoformat())
    assert found is not None
    return found


async def test_a_tick_with_nothing_to_do_is_done_and_says_so(house: House) -> None:
    done = await handle(house, tick())

    assert done.done
    assert {**NOTHING, "seconds": 0.0} == done.report
    assert (NOW, NOW) == (done.started, done.ended)


async def test_a_tick_does_all_its_repairs_and_counts_them(house: House) -> None:
    await house.put_version(1, state="finishing", still=timedelta(minutes=2))
    await house.put_version(2, state="folding", still=7 * HOUR, reissues=MOST_REISSUES)
    await house.put_upload(3, idle=25 * HOUR)
    whole = await house.put_upload(4, idle=timedelta(minutes=2), chunks=WHOLE)
    await house.store.uploads.update(whole, set={"state": "verifying"})

    done = await handle(house, tick())

    counted = {"relayed": 1, "reissued": 1, "expired": 1, "failed": 1, "seconds": 0.0}
    assert {**NOTHING, **counted} == done.report
    states = [(await house.version(number)).state for number in range(1, 5)]
    assert ["finishing", "failed", "failed", "dicing"] == states


async def test_a_tick_that_is_done_is_ignored_when_it_comes_again(house: House) -> None:
    first = await handle(house, tick())
    await house.put_version(1, still=timedelta(minutes=2))
    house.clock.advance(30)

    again = await handle(house, tick())

    assert first == again
    assert [] == house.queued("dicer", "bulk")


async def test_the_next_tick_sees_to_what_the_last_one_did_not_know(house: House) -> None:
    await handle(house, tick())
    await house.put_version(1, still=timedelta(minutes=2))

    assert 1 == (await handle(house, tick(5))).report["reissued"]


async def test_a_tick_that_was_interrupted_is_done_by_the_next_delivery(house: House) -> None:
    whole = await house.put_upload(idle=timedelta(minutes=2), chunks=WHOLE)
    await house.store.uploads.update(whole, set={"state": "verifying"})
    working, house.bus = house.bus, MemoryBus(house.broker)
    await house.bus.close()
    with pytest.raises(Unavailable):
        await handle(house, tick())
    waiting = await house.store.ticks.get(tick().due.isoformat())
    house.bus = working
    house.clock.advance(2)

    done = await handle(house, tick())

    assert waiting is not None
    assert not waiting.done
    assert done.done
    assert 1 == done.report["relayed"]


async def test_old_ticks_go(house: House) -> None:
    await handle(house, tick())
    house.clock.advance(TICKS_KEPT.total_seconds() + 1)

    await handle(house, tick(5))

    assert [tick(5).due.isoformat()] == [kept.id for kept in await house.store.ticks.find({})]


async def test_whoever_waits_for_a_tick_that_failed_is_told_why(house: House) -> None:
    await house.store.ticks.insert(Tick(id=tick().due.isoformat(), started=NOW))

    assert [] == await tick_failed(tick(), "It went wrong.", "Look at the log.", store=house.store)

    failed = await house.store.ticks.get(tick().due.isoformat())
    assert failed is not None
    assert failed.done
    assert {"error": "It went wrong.", "remedy": "Look at the log."} == failed.report


async def test_an_upload_idle_for_a_day_fails_with_what_had_arrived_and_its_bytes_go(house: House) -> None:
    id = await house.put_upload(idle=IDLE + timedelta(seconds=1))

    await handle(house, tick())

    upload, version = await house.store.uploads.get(id), await house.version()
    assert upload is not None
    assert ("expired", True) == (upload.state, upload.announced)
    assert version.failure is not None
    assert ("failed", "upload", "Send the file again.") == (
        version.state,
        version.failure.stage,
        version.failure.remedy,
    )
    assert "8 of 20 bytes had arrived" in version.failure.reason
    assert await house.blobs.info(id) is None
    assert [] == await house.blobs.chunks(id)
    (fact,) = house.broker.journal
    assert isinstance(fact, ImageFailed)
    assert id == fact.image


async def test_an_upload_that_still_has_time_goes_on(house: House) -> None:
    id = await house.put_upload(idle=IDLE)

    assert 0 == (await handle(house, tick())).report["expired"]

    upload = await house.store.uploads.get(id)
    assert upload is not None
    assert "receiving" == upload.state
    assert 1 == len(await house.blobs.chunks(id))


async def test_an_idle_upload_whose_bytes_are_all_there_is_completed_instead(house: House) -> None:
    """Its gateway died after the last byte, and nobody asked again."""
    await house.put_upload(idle=30 * HOUR, chunks=WHOLE)

    first = await handle(house, tick())
    second = await handle(house, tick(5))

    assert (0, 1) == (first.report["expired"], second.report["relayed"])
    version = await house.version()
    assert ("dicing", hashlib.sha256(b"".join(WHOLE)).hexdigest()) == (version.state, version.sha256)
    (event,) = house.queued("dicer", "express")
    assert isinstance(event, FileComplete)


async def test_an_expiry_that_was_interrupted_is_finished_by_the_next_tick(house: House) -> None:
    id = await house.put_upload(idle=IDLE + HOUR)
    await house.store.uploads.update(id, set={"state": "expired", "updated": house.clock.now()})

    await handle(house, tick())

    assert "failed" == (await house.version()).state
    assert await house.blobs.info(id) is None


async def test_one_tick_expires_no_more_than_its_share_and_the_next_goes_on(house: House) -> None:
    for number in range(1, 104):
        await house.put_upload(number, idle=IDLE + number * timedelta(seconds=1))

    first = await handle(house, tick())
    second = await handle(house, tick(5))

    assert (100, 3) == (first.report["expired"], second.report["expired"])
    assert {("failed",): 103} == await house.store.versions.tally({}, ["state"])


async def test_expired_once_is_not_failed_again_later(house: House) -> None:
    await house.put_upload(idle=IDLE + HOUR)
    await handle(house, tick())
    house.clock.advance(600)

    await handle(house, tick(5))

    assert 1 == len(house.broker.journal)
    assert image_id(1) == house.broker.journal[0].correlation


async def test_a_chunk_that_comes_in_at_the_last_moment_keeps_the_upload_alive(house: House, tmp_path: Path) -> None:
    id = await house.put_upload(idle=IDLE + HOUR)

    class Busy(MemoryBlobs):
        async def chunks(self, file: str) -> list[StoredChunk]:
            await house.store.uploads.update(id, set={"updated": house.clock.now()}, inc={"stored": 8})
            return []

    house.blobs = Busy(tmp_path)

    assert 0 == (await handle(house, tick())).report["expired"]

    upload = await house.store.uploads.get(id)
    assert upload is not None
    assert "receiving" == upload.state
    assert "uploading" == (await house.version()).state


async def test_what_one_step_lacks_does_not_keep_the_others_from_their_work(house: House) -> None:
    """The relay can't publish, the expiry can; the tick is not done, since something is left to do."""
    whole = await house.put_upload(1, idle=timedelta(minutes=2), chunks=WHOLE)
    await house.store.uploads.update(whole, set={"state": "verifying"})
    await house.put_upload(2, idle=IDLE + HOUR)

    class NoDicer(MemoryBus):
        async def publish(self, messages: Sequence[Message]) -> None:
            if any(isinstance(message.event, FileComplete) for message in messages):
                raise Unavailable("No queue takes this message.")
            await super().publish(messages)

    house.bus = NoDicer(house.broker)

    with pytest.raises(Unavailable):
        await handle(house, tick())

    waiting = await house.store.ticks.get(tick().due.isoformat())
    assert waiting is not None
    assert not waiting.done
    assert "failed" == (await house.version(2)).state
