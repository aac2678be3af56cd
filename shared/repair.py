"""Puts versions that stand still back on their way: a message was lost, and the database knows what is wanting.

Every gateway does this every few seconds and the sync tick as a last resort; several at once announce a version once.
"""

from datetime import timedelta

import structlog

from shared.bus import Bus, Message
from shared.clock import SKEW, Clock
from shared.errors import Unavailable
from shared.events import StageName
from shared.stages.facts import announcement
from shared.stages.failing import fail
from shared.stages.states import STAGE_OF_STATE, WORKING
from shared.store import Greater, In, Less, Store, Where
from shared.store.documents.versions import Version

MOST_REISSUES = 5
BACK_OFF = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
STAGE_IN_WORDS: dict[StageName, str] = {
    "dice": "cutting its tiles",
    "fold": "building its smaller levels",
    "finish": "making its thumbnail",
}

log = structlog.get_logger()


def patience(reissues: int, since: timedelta) -> timedelta:
    """How long a version may stand still, after this many re-issues, before something is done about it. Pure."""
    return since if reissues == 0 else max(since, BACK_OFF[min(reissues, len(BACK_OFF)) - 1])


async def reissue(store: Store, bus: Bus, *, database: str, since: timedelta, limit: int, clock: Clock) -> int:
    """Announces again what has stood still for `since`, later for its `patience`, while its stage's queue is empty.

    At most `limit` versions; returns how many. Raises `Unavailable`, having given back what it could not announce.
    """
    await _redate(store, limit, clock)
    announced = 0
    # One search for each count, so that versions with a long wait ahead of them never hide those that are due.
    for count in range(MOST_REISSUES):
        where = {"reissues": count}
        for version in await _idle(store, bus, where, patience(count, since), limit - announced, clock):
            event = announcement(version, database)
            claimed = await _claim(store, version, clock) if event is not None else None
            if event is None or claimed is None:
                continue
            try:
                await bus.publish_to(STAGE_OF_STATE[version.state], "bulk", [Message(event)])
            except Unavailable:
                await _give_back(store, claimed, version)
                raise
            announced += 1
    return announced


async def give_up(store: Store, bus: Bus, *, database: str, limit: int, clock: Clock) -> int:
    """Fails the versions that came no further in spite of every re-issue. At most `limit`; returns how many."""
    failed = 0
    where = {"reissues": Greater(MOST_REISSUES - 1)}
    for version in await _idle(store, bus, where, BACK_OFF[-1], limit, clock):
        if await _claim(store, version, clock) is None:
            continue
        stage = next(name for name, state in WORKING.items() if state == version.state)
        events = await fail(
            store,
            version.id,
            stage,
            f"The slide stood still while {STAGE_IN_WORDS[stage]}, though started again {MOST_REISSUES} times.",
            f"Ask the operator to look at the log of the {STAGE_OF_STATE[version.state]} service and replay the image.",
            database=database,
            clock=clock,
        )
        await bus.publish([Message(event) for event in events])
        failed += 1
    return failed


async def _idle(store: Store, bus: Bus, where: Where, still: timedelta, limit: int, clock: Clock) -> list[Version]:
    """Versions that nothing has touched for `still` and whose stage has nothing queued that might be for them."""
    if limit <= 0:
        return []
    working = {"state": In(tuple(STAGE_OF_STATE)), "updated": Less(clock.now() - still)}
    versions = await store.versions.find({**working, **where}, sort="updated", limit=limit)
    empty = set()
    for stage in sorted({STAGE_OF_STATE[version.state] for version in versions}):
        try:
            if await bus.depth(stage) == 0:
                empty.add(stage)
        except Unavailable as error:
            # Such as a stage none of whose workers ever ran here: that must not keep the other stages from repair.
            log.warning("queue not known to be empty", stage=stage, error=str(error))
    return [version for version in versions if STAGE_OF_STATE[version.state] in empty]


async def _redate(store: Store, limit: int, clock: Clock) -> None:
    """Dates now what was touched before the clock was set back, or it would wait until the clock is there again."""
    ahead = {"state": In(tuple(STAGE_OF_STATE)), "updated": Greater(clock.now() + SKEW)}
    for version in await store.versions.find(ahead, sort="updated", limit=limit):
        seen = {"state": version.state, "updated": version.updated}
        await store.versions.update(version.id, when=seen, set={"updated": clock.now()})


async def _claim(store: Store, version: Version, clock: Clock) -> Version | None:
    """Counts the re-issue; of several repairers, or if a worker has just moved the version on, one gets it or none."""
    seen = {"state": version.state, "reissues": version.reissues, "updated": version.updated}
    return await store.versions.update(version.id, when=seen, set={"updated": clock.now()}, inc={"reissues": 1})


async def _give_back(store: Store, claimed: Version, version: Version) -> None:
    seen = {"state": claimed.state, "reissues": claimed.reissues, "updated": claimed.updated}
    await store.versions.update(version.id, when=seen, set={"updated": version.updated}, inc={"reissues": -1})
