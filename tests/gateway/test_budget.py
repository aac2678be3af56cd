"""Bytes in memory are bounded, and nobody waits for ever."""

import asyncio

import pytest

from services.upload.budget import Budget


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
