"""A backlog that waits its turn is left alone by every tick, however long it waits; a lost one is put back once."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from shared.bus import Message
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.clock import ManualClock
from shared.repair import give_up, reissue
from shared.stages.facts import announcement
from shared.store import Store
from shared.store.documents.versions import Version, VersionId
from shared.store.memory import MemoryStore
from shared.store.mongo import MongoStore
from tests.contract.conftest import Real

NOW = datetime(2026, 3, 4, tzinfo=UTC)
QUEUED, PER_TICK, TICKS = 10_000, 100, 5
DAY = timedelta(days=1)
BULK = "slidemill.dicer.bulk"
# Seconds for all the ticks together, on a loaded machine; each looks at `PER_TICK` versions and no more.
BOUND = 20


def version(number: int) -> Version:
    """One that has arrived and waits to be cut."""
    ended = {"started": NOW - DAY, "ended": NOW - DAY}
    fields = {"session": "s", "file": f"{number:032x}", "name": "a.png", "length": 8, "md5": "m", "sha256": "s"}
    id = VersionId(image=f"{number:032x}", n=1)
    state = {"state": "dicing", "stages": {"upload": ended}, "created": NOW, "updated": NOW}
    return Version.model_validate({"_id": id, **fields, **state})


@pytest.fixture
async def store(real: Real | None) -> Store:
    if real is None:
        return MemoryStore()
    stored = MongoStore(*real)
    await stored.prepare()
    return stored


async def test_ten_thousand_queued_images_are_not_doubled_by_ticks(store: Store) -> None:
    clock = ManualClock(NOW)
    broker = MemoryBroker(clock)
    bus = MemoryBus(broker)
    versions = [version(number) for number in range(QUEUED)]
    await store.versions.insert(*versions)
    facts = [announcement(one, "main") for one in versions]
    await bus.publish_to("dicer", "bulk", [Message(fact) for fact in facts if fact is not None])

    async def tick() -> int:
        clock.advance(6 * 3600)
        failed = await give_up(store, bus, database="main", limit=PER_TICK, clock=clock)
        minute = timedelta(minutes=1)
        return failed + await reissue(store, bus, database="main", since=minute, limit=PER_TICK, clock=clock)

    since = time.monotonic()
    assert [await tick() for _ in range(TICKS)] == [0] * TICKS
    assert time.monotonic() - since < BOUND
    assert len(broker[BULK].ready) == QUEUED
    assert await store.versions.count({"reissues": 0, "updated": NOW}) == QUEUED

    # The broker loses its disk: what is put back is put back once, so many a tick, each time the queue has run empty.
    put_back: set[str] = set()
    broker[BULK].ready.clear()
    for n in (1, 2):
        assert await tick() == PER_TICK
        assert await tick() == 0
        put_back |= {str(stored.headers["ce-id"]) for stored in broker[BULK].ready}
        assert len(put_back) == n * PER_TICK
        broker[BULK].ready.clear()
