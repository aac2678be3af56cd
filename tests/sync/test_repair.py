"""What stands still is put back on its way, patiently, once, and not for ever."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from shared.bus import Message
from shared.bus.memory import MemoryBus
from shared.errors import Unavailable
from shared.events import BaseDiced, FileComplete, ImageFailed, Lane, PyramidBuilt
from shared.repair import MOST_REISSUES, give_up, patience, reissue
from shared.store.documents.versions import VersionId
from tests.sync.conftest import House, image_id

SINCE = timedelta(minutes=1)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


async def repair(house: House, *, since: timedelta = SINCE, limit: int = 100) -> int:
    return await reissue(house.store, house.bus, database="slidemill", since=since, limit=limit, clock=house.clock)


async def end(house: House, *, limit: int = 100) -> int:
    return await give_up(house.store, house.bus, database="slidemill", limit=limit, clock=house.clock)


@pytest.mark.parametrize(
    ("reissues", "expected"),
    [(0, MINUTE), (1, 10 * MINUTE), (2, HOUR), (3, 6 * HOUR), (4, 6 * HOUR), (5, 6 * HOUR)],
)
def test_patience_grows_with_every_reissue(reissues: int, expected: timedelta) -> None:
    assert expected == patience(reissues, SINCE)


def test_patience_is_never_less_than_what_the_caller_asks_for() -> None:
    assert HOUR == patience(1, HOUR)


@pytest.mark.parametrize(
    ("state", "stage", "event"),
    [("dicing", "dicer", FileComplete), ("folding", "pyramid", BaseDiced), ("finishing", "pyramid", PyramidBuilt)],
)
async def test_the_stage_that_stands_still_gets_its_fact_again_behind_everything_else(
    house: House, state: str, stage: str, event: type
) -> None:
    id = await house.put_version(state=state, still=2 * MINUTE)

    assert 1 == await repair(house)

    (announced,) = house.queued(stage, "bulk")
    assert isinstance(announced, event)
    assert (id.image, id.n, "slidemill") == (announced.image, announced.version, announced.database)  # type: ignore[attr-defined]
    assert [] == house.queued(stage, "express")
    assert [] == house.broker.journal


async def test_what_was_touched_a_moment_ago_is_left_alone(house: House) -> None:
    await house.put_version(still=59 * timedelta(seconds=1))

    assert 0 == await repair(house)
    assert [] == house.queued("dicer", "bulk")


@pytest.mark.parametrize("state", ["uploading", "ready", "failed"])
async def test_only_working_states_stand_still(house: House, state: str) -> None:
    await house.put_version(state=state, still=20 * HOUR)

    assert 0 == await repair(house)
    assert 0 == await end(house)


async def test_a_stage_with_something_queued_is_left_to_itself(house: House) -> None:
    await house.put_version(1, state="dicing", still=2 * MINUTE)
    await house.put_version(2, state="folding", still=2 * MINUTE)
    assert 1 == await repair(house, limit=1)

    await house.put_version(3, state="dicing", still=2 * MINUTE)

    assert 1 == await repair(house)
    assert [image_id(1)] == [event.correlation for event in house.queued("dicer", "bulk")]
    assert [image_id(2)] == [event.correlation for event in house.queued("pyramid", "bulk")]


async def test_back_off_follows_the_clock(house: House) -> None:
    """Announced after 1 min, then 10 min, 1 h, 6 h and 6 h of standing still; then it fails."""
    await house.put_version()
    waits = []
    announced = 0
    since = house.clock.now()
    while (await house.version()).state == "dicing":
        house.clock.advance(60)
        announced_now = await repair(house)
        ended = await end(house)
        if announced_now or ended:
            waits.append(house.clock.now() - since)
            since = house.clock.now()
            announced += announced_now
            house.broker["slidemill.dicer.bulk"].ready.clear()

    expected = [MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR]
    assert [wait + MINUTE for wait in expected] == waits
    assert MOST_REISSUES == announced


async def test_a_clock_that_is_set_back_costs_what_stands_still_no_more_than_its_patience(house: House) -> None:
    """Touched at a time that is hours ahead by now, it waits from now on, not until the clock is there again."""
    await house.put_version()
    house.clock.advance(-8 * 3600)

    assert 0 == await repair(house)
    house.clock.advance(61)

    assert 1 == await repair(house)
    assert 1 == (await house.version()).reissues


async def test_a_version_that_came_no_further_fails_in_words_and_says_so_once(house: House) -> None:
    await house.put_version(state="folding", reissues=MOST_REISSUES, still=7 * HOUR)

    assert 1 == await end(house)
    assert 0 == await end(house)

    version = await house.version()
    assert "failed" == version.state
    assert version.failure is not None
    assert "fold" == version.failure.stage
    assert "building its smaller levels" in version.failure.reason
    assert "pyramid" in version.failure.remedy
    (fact,) = house.broker.journal
    assert isinstance(fact, ImageFailed)
    assert version.failure.reason == fact.reason


async def test_nothing_fails_while_its_stage_has_something_queued(house: House) -> None:
    await house.put_version(1, still=2 * MINUTE)
    await repair(house)
    await house.put_version(2, reissues=MOST_REISSUES, still=7 * HOUR)

    assert 0 == await end(house)
    assert "dicing" == (await house.version(2)).state


async def test_several_repairers_at_once_announce_a_version_once(house: House) -> None:
    for number in range(1, 6):
        await house.put_version(number, still=2 * MINUTE)

    counts = await asyncio.gather(*(repair(house) for _ in range(4)))

    assert 5 == sum(counts)
    assert {image_id(number) for number in range(1, 6)} == {e.correlation for e in house.queued("dicer", "bulk")}
    assert 5 == len(house.queued("dicer", "bulk"))


async def test_the_limit_bounds_one_call_and_the_oldest_come_first(house: House) -> None:
    for number in range(1, 6):
        await house.put_version(number, still=(number + 1) * MINUTE)

    assert 2 == await repair(house, limit=2)

    assert [image_id(5), image_id(4)] == [event.correlation for event in house.queued("dicer", "bulk")]


async def test_those_with_a_long_wait_ahead_do_not_hide_those_that_are_due(house: House) -> None:
    for number in range(1, 4):
        await house.put_version(number, reissues=3, still=5 * HOUR)
    await house.put_version(4, still=2 * MINUTE)

    assert 1 == await repair(house, limit=2)
    assert [image_id(4)] == [event.correlation for event in house.queued("dicer", "bulk")]


class Deaf(MemoryBus):
    """A broker that answers questions and takes nothing."""

    async def publish_to(self, stage: str, lane: Lane, messages: Sequence[Message]) -> None:
        raise Unavailable("The broker takes no messages.")


async def test_a_broker_that_takes_nothing_costs_no_reissue_and_no_waiting(house: House) -> None:
    await house.put_version(still=2 * MINUTE)
    before = await house.version()
    working, house.bus = house.bus, Deaf(house.broker)

    with pytest.raises(Unavailable):
        await repair(house)

    assert before == await house.version()
    house.bus = working
    assert 1 == await repair(house)


async def test_progress_meanwhile_wins_over_the_repair(house: House) -> None:
    """A worker that finishes a block between the look and the claim keeps the version from being announced."""
    id = await house.put_version(still=2 * MINUTE)

    class Slow(MemoryBus):
        async def depth(self, stage: str) -> int:
            await house.store.versions.update(VersionId(image=id.image, n=1), set={"updated": house.clock.now()})
            return await super().depth(stage)

    house.bus = Slow(house.broker)

    assert 0 == await repair(house)
    assert [] == house.queued("dicer", "bulk")


async def test_a_stage_whose_queue_is_unknown_does_not_keep_the_others_from_repair(house: House) -> None:
    """Such as before the first dicer ever ran on this broker."""
    await house.put_version(1, state="dicing", still=2 * MINUTE)
    await house.put_version(2, state="folding", still=2 * MINUTE)

    class NoDicer(MemoryBus):
        async def depth(self, stage: str) -> int:
            if stage == "dicer":
                raise Unavailable("There is no queue of that name.")
            return await super().depth(stage)

    house.bus = NoDicer(house.broker)

    assert 1 == await repair(house)
    assert [image_id(2)] == [event.correlation for event in house.queued("pyramid", "bulk")]
    assert 0 == (await house.version(1)).reissues
