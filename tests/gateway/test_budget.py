"""Bytes in memory are bounded, and nobody waits for ever."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.upload.body import Body
from services.upload.budget import Budget
from services.upload.digests import Running
from services.upload.feed import Feed, cut
from services.upload.holding import Holding
from services.upload.storing import Stored, Storing
from shared.blobs.memory import MemoryBlobs
from shared.store.documents.uploads import Upload


async def test_bytes_are_given_out_in_the_order_of_asking() -> None:
    budget = Budget(10)
    await budget.take(8)
    order = []

    async def ask(count: int) -> None:
        await budget.take(count)
        order.append(count)

    large, small = asyncio.create_task(ask(9)), asyncio.create_task(ask(2))
    await asyncio.sleep(0)
    assert order == []
    budget.give(8)
    await large
    assert order == [9]
    budget.give(9)
    await small

    assert order == [9, 2]
    assert budget.free == 8


async def test_one_who_gives_up_waiting_holds_nobody_up() -> None:
    budget = Budget(10)
    await budget.take(5)
    large = asyncio.create_task(budget.take(10))
    small = asyncio.create_task(budget.take(5))
    await asyncio.sleep(0)

    large.cancel()
    async with asyncio.timeout(5):
        await small

    assert budget.free == 0


async def test_more_than_there_is_can_not_be_had() -> None:
    with pytest.raises(ValueError, match="never"):
        await Budget(10).take(11)


class Sent(Body):
    """A body that has arrived."""

    def __init__(self, data: bytes) -> None:
        self._pieces = [data[at : at + 700] for at in range(0, len(data), 700)]

    async def piece(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


async def test_requests_that_fill_the_budget_together_do_not_wait_for_each_other(tmp_path: Path) -> None:
    budget = Budget(4000)
    blobs = MemoryBlobs(tmp_path)
    storing = Storing(blobs, Holding(blobs), Running(), budget.give)
    now = datetime(2026, 1, 2, tzinfo=UTC)
    data = bytes(9500)

    async def nothing() -> None:
        pass

    async def send(n: int) -> None:
        upload = Upload(
            id=f"{n:032x}",
            session="s",
            image="i",
            version=1,
            owner="o",
            name="a.svs",
            total=len(data),
            chunk=1000,
            created=now,
            updated=now,
        )
        await blobs.create(upload.id, name="a.svs", chunk=1000, refs=())
        feed = Feed(cut(Sent(data), 0, len(data), 1000, budget), budget)
        await storing.whole_chunks(upload, feed, Stored(), nothing)

    async with asyncio.timeout(20):
        await asyncio.gather(*(send(n) for n in range(8)))

    assert budget.free == 4000
    assert [len(await blobs.chunks(f"{n:032x}")) for n in range(8)] == [10] * 8
