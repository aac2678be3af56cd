"""Blocks that are cut at once share the memory that their tiles may take."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.dicer.folding import HELD_BYTES, LARGE_PIXELS, Turns
from shared.errors import Postponed


async def entered(turns: Turns, size: int, leave: asyncio.Event) -> None:
    async with turns.held(size):
        await leave.wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_as_many_blocks_are_held_as_there_is_room_for() -> None:
    turns, leave = Turns(2), asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        for _ in range(8):
            await stack.enter_async_context(turns.held(HELD_BYTES // 8))
        ninth = asyncio.create_task(entered(turns, 1, leave))
        await settle()
        assert turns.size == HELD_BYTES
    await settle()
    assert turns.size == 1
    leave.set()
    await ninth
    assert turns.size == 0


async def test_a_block_that_waits_for_room_is_not_overtaken() -> None:
    turns, leave = Turns(2), asyncio.Event()
    async with asyncio.timeout(10):
        async with turns.held(HELD_BYTES // 2):
            large = asyncio.create_task(entered(turns, HELD_BYTES, leave))
            small = asyncio.create_task(entered(turns, 1, leave))
            await settle()
            assert turns.size == HELD_BYTES // 2
        await settle()
        assert turns.size == HELD_BYTES
        leave.set()
        await asyncio.gather(large, small)
    assert turns.size == 0


async def test_a_block_larger_than_all_room_is_held_alone() -> None:
    turns = Turns(2)
    async with asyncio.timeout(10), turns.held(2 * HELD_BYTES):
        assert turns.size == 2 * HELD_BYTES


async def test_a_block_that_fails_or_is_cancelled_gives_its_room_back() -> None:
    turns, leave = Turns(2), asyncio.Event()
    held = asyncio.create_task(entered(turns, HELD_BYTES, leave))
    waiting = asyncio.create_task(entered(turns, HELD_BYTES, leave))
    await settle()
    waiting.cancel()
    held.cancel()
    await asyncio.wait([held, waiting])
    async with asyncio.timeout(10), turns.held(HELD_BYTES):
        assert turns.size == HELD_BYTES


async def test_large_pictures_are_read_one_at_a_time_and_one_waits() -> None:
    turns, leave, done = Turns(2), asyncio.Event(), []

    async def read(pixels: int) -> None:
        async with turns.picture(pixels):
            done.append(pixels)
            await leave.wait()

    first, second = asyncio.create_task(read(20_000_000)), asyncio.create_task(read(30_000_000))
    small = asyncio.create_task(read(LARGE_PIXELS))
    async with asyncio.timeout(5):
        while len(done) < 2:
            await asyncio.sleep(0)
    assert sorted(done) == [LARGE_PIXELS, 20_000_000]
    with pytest.raises(Postponed):
        await read(40_000_000)
    leave.set()
    async with asyncio.timeout(5):
        await asyncio.gather(first, second, small)
    assert done[-1] == 30_000_000


async def test_who_waited_too_long_for_a_large_picture_comes_again() -> None:
    turns = Turns(2)
    async with turns.picture(20_000_000):
        with pytest.raises(Postponed):
            async with turns.picture(30_000_000, patience=0):
                pass
    async with turns.picture(30_000_000, patience=0):
        pass
