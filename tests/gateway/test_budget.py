"""Bytes in memory are bounded, and nobody waits for ever."""

import asyncio
import datetime
from contextlib import aclosing
from pathlib import Path

import pytest

from services.upload.body import Feed, cut
from services.upload.budget import Budget
from services.upload.digests import Running
from services.upload.storing import Stored, Storing
from shared.blobs.memory import MemoryBlobs
from shared.store.documents import Upload


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


class Bytes:
    """Ten bytes, one at a time, as a slow line brings them."""

    left = 10

    async def piece(self) -> bytes:
        await asyncio.sleep(0)
        self.left -= 1
        return b"x" if self.left >= 0 else b""


async def test_senders_whose_blocks_are_stored_leave_each_other_room(tmp_path: Path) -> None:
    budget = Budget(4)
    blobs = MemoryBlobs(tmp_path)
    storing = Storing(blobs, Running(), budget.give)
    now = datetime.datetime.now(datetime.UTC)

    async def nothing() -> None:
        pass

    async def send(id: str) -> None:
        upload = Upload(
            id=id, session="", image="", version=1, owner="", name="", total=10, chunk=1, created=now, updated=now
        )
        async with aclosing(Feed(cut(Bytes(), 0, 10, 1, budget), budget)) as feed:
            await storing.whole_chunks(upload, feed, Stored(), nothing)

    async with asyncio.timeout(10):
        await asyncio.gather(*(send(str(n)) for n in range(4)))

    assert [len(await blobs.chunks(str(n))) for n in range(4)] == [10] * 4
    assert budget.free == 4
