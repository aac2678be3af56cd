"""Copies that take long to make go on without those who wait for them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shared.blobs.making import Makings
from shared.blobs.scratch import Scratch
from shared.errors import Postponed, Reject

SOON = 0.05


class Slow:
    """Something that is made once `gate` is open."""

    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self.gate.wait()
        self.done.set()


async def insist(made: Callable[[], Awaitable[None]]) -> None:
    """Comes again until it is no longer put off."""
    while True:
        try:
            return await made()
        except Postponed:
            await asyncio.sleep(0)


async def test_who_waits_for_long_is_told_to_come_again_and_the_making_goes_on() -> None:
    makings, slow = Makings(places=1, patience=SOON), Slow()
    async with asyncio.timeout(10):
        for _ in range(2):
            with pytest.raises(Postponed, match="slide is still being fetched"):
                await makings.made("slide", slow)
        slow.gate.set()
        await slow.done.wait()

    assert slow.begun == 1


async def test_where_long_ones_take_all_places_others_are_put_off_at_once_and_not_queued() -> None:
    makings, slow, other = Makings(places=1, patience=SOON), Slow(), Slow()
    other.gate.set()
    async with asyncio.timeout(10):
        for making in (slow, other):
            with pytest.raises(Postponed):
                await makings.made(str(id(making)), making)
        assert other.begun == 0
        slow.gate.set()
        await slow.done.wait()
        await insist(lambda: makings.made(str(id(other)), other))

    assert other.begun == 1


async def test_short_ones_are_waited_for_in_turn() -> None:
    makings = Makings(places=1, patience=10)

    async def short() -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(*(makings.made(str(n), short) for n in range(50)))


async def test_what_came_of_it_is_said_to_the_next_who_asks() -> None:
    makings, gate, begun = Makings(places=1, patience=SOON), asyncio.Event(), 0

    async def broken() -> None:
        nonlocal begun
        begun += 1
        await gate.wait()
        raise Reject("It is torn.", "Scan it again.")

    async with asyncio.timeout(10):
        with pytest.raises(Postponed):
            await makings.made("slide", broken)
        gate.set()
        for _ in range(2):
            with pytest.raises(Reject, match="torn"):
                await insist(lambda: makings.made("slide", broken))

    # The second of them tried anew.
    assert begun == 2


async def test_a_folder_that_takes_long_to_fill_is_whole_for_who_comes_again(tmp_path: Path) -> None:
    scratch, slow = Scratch(tmp_path, 1000, patience=SOON), Slow()

    async def fill(folder: Path) -> None:
        await slow()
        (folder / "a").write_bytes(b"12")

    async with asyncio.timeout(10):
        with pytest.raises(Postponed):
            await scratch.tree("t", 2, fill).__aenter__()
        slow.gate.set()

        async def look() -> None:
            async with scratch.tree("t", 2, fill) as folder:
                assert (folder / "a").read_bytes() == b"12"

        await insist(look)

    assert slow.begun == 1
