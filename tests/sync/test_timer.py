"""Ticks come on the clock's own multiples, once each, and never in a burst."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sync.timer import LOOK_AGAIN, due_tick, keep_ticking
from shared.bus import Message
from shared.bus.envelope import decode, expired
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.clock import ManualClock
from shared.errors import Unavailable
from shared.events import SyncTick

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@given(
    now=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),
    interval=st.integers(1, 86400),
)
def test_the_due_tick_is_the_latest_multiple_of_the_interval(now: datetime, interval: int) -> None:
    due = due_tick(now, interval)

    assert due <= now < due + timedelta(seconds=interval)
    assert 0 == due.timestamp() % interval


class JumpyClock(ManualClock):
    """A clock that, at chosen sleeps, is late by something else than was asked for, or set; after the last it stops."""

    def __init__(
        self,
        start: datetime,
        sleeps: int,
        jumps: dict[int, float] | None = None,
        sets: dict[int, float] | None = None,
    ) -> None:
        super().__init__(start)
        self.asked: list[float] = []
        self._sleeps = sleeps
        self._jumps = jumps or {}
        self._sets = sets or {}

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        if len(self.asked) >= self._sleeps:
            raise asyncio.CancelledError
        self.advance(self._jumps.get(len(self.asked), seconds))
        self.set(self._sets.get(len(self.asked), 0.0))


async def run(bus: MemoryBus, clock: JumpyClock, *, interval: int = 300, databases: Sequence[str] = ("a",)) -> None:
    with suppress(asyncio.CancelledError):
        await keep_ticking(bus, databases=databases, interval=interval, clock=clock)


def ticks(bus: MemoryBus) -> list[SyncTick]:
    found = [decode(stored.headers, stored.body) for stored in bus.broker["slidemill.sync.express"].ready]
    assert all(isinstance(event, SyncTick) for event in found)
    return [event for event in found if isinstance(event, SyncTick)]


def minutes(bus: MemoryBus) -> list[float]:
    return [(tick.due - NINE).total_seconds() / 60 for tick in ticks(bus)]


async def test_ticks_come_on_the_multiples_and_the_one_due_now_at_once() -> None:
    bus = MemoryBus()

    await run(bus, JumpyClock(NINE + timedelta(seconds=130), sleeps=200))

    assert [0, 5, 10, 15] == minutes(bus)


async def test_each_database_gets_its_own_tick() -> None:
    bus = MemoryBus()

    await run(bus, JumpyClock(NINE, sleeps=2), databases=("b", "a"))

    assert ["a", "b"] == [tick.database for tick in ticks(bus)]


async def test_a_tick_expires_when_the_next_is_due() -> None:
    bus = MemoryBus()

    await run(bus, JumpyClock(NINE, sleeps=2))

    (stored,) = bus.broker["slidemill.sync.express"].ready
    assert not expired(stored.headers, NINE + timedelta(seconds=299))
    assert expired(stored.headers, NINE + timedelta(seconds=300))


async def test_after_a_pause_only_the_newest_tick_is_published() -> None:
    bus = MemoryBus()

    await run(bus, JumpyClock(NINE, sleeps=5, jumps={2: 3600.0 + 60}))

    assert [0, 60] == minutes(bus)


async def test_a_clock_that_is_set_back_does_not_silence_the_timer() -> None:
    bus = MemoryBus()

    await run(bus, JumpyClock(NINE, sleeps=200, sets={2: -86400.0}))

    assert [0, -1440, -1435, -1430, -1425] == minutes(bus)[:5]


@pytest.mark.parametrize("by", [3600.0, -3600.0])
async def test_ticks_say_since_when_the_clock_was_not_set(by: float) -> None:
    """A pause is none of that, and neither is a correction that leaves no tick out."""
    bus = MemoryBus()

    await run(bus, JumpyClock(NINE, sleeps=300, jumps={2: 3600.0}, sets={70: 250.0, 140: by}))

    said = [tick.since for tick in ticks(bus)]
    at = next(n for n, since in enumerate(said) if since is not None)
    assert {300} == {tick.interval for tick in ticks(bus)}
    assert at > 2
    assert {ticks(bus)[at].due} == set(said[at:])


async def test_the_timer_never_sleeps_long_so_that_a_jump_is_noticed() -> None:
    clock = JumpyClock(NINE, sleeps=100)

    await run(MemoryBus(), clock)

    assert max(clock.asked) <= LOOK_AGAIN


async def test_two_timers_publish_the_same_ticks() -> None:
    """So the consumer, which knows a tick by its due time, does each once."""
    first, second = MemoryBus(), MemoryBus()

    await run(first, JumpyClock(NINE + timedelta(seconds=1), sleeps=150))
    await run(second, JumpyClock(NINE + timedelta(seconds=7.5), sleeps=150))

    assert [tick.id for tick in ticks(first)] == [tick.id for tick in ticks(second)]


@pytest.mark.parametrize(("deaf", "expected"), [(3, [0, 5]), (80, [5, 10])])
async def test_without_a_broker_the_timer_goes_on_trying_with_the_newest_tick(deaf: int, expected: list[float]) -> None:
    class Deaf(MemoryBus):
        calls = 0

        async def publish(self, messages: Sequence[Message]) -> None:
            Deaf.calls += 1
            if Deaf.calls <= deaf:
                raise Unavailable("The broker can't be reached.")
            await super().publish(messages)

    bus = Deaf(MemoryBroker())

    await run(bus, JumpyClock(NINE, sleeps=190))

    assert expected == minutes(bus)[:2]
