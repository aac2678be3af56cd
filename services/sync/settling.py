"""Looks again, within the same run, at what its scan found new or changed: what stands still by then is taken in.

Between the two looks nobody holds the run's message: the report says when the second one is due, and every sync service
looks every second for those that are. Dying anywhere costs the time until another one looks.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from typing import NoReturn

import structlog

from services.sync.comparing import MOST_FILES
from services.sync.core.looks import Look, Unit
from services.sync.core.rules import Rules
from services.sync.core.steps import step, unchanged
from services.sync.units import gather
from services.sync.walking import look_at, look_into
from shared.bus import Bus, Environment, Message
from shared.clock import SKEW, Clock
from shared.errors import Unavailable
from shared.events import ScanStore
from shared.store import Change, Greater, Less, Store
from shared.store.documents.entries import Entry
from shared.store.documents.folders import FolderStore, Report

PAUSE_SECONDS = 1.0
# A second look that nobody has begun, or got on with, for so long is announced anew: its message may be lost.
ANNOUNCED = timedelta(minutes=1)

log = structlog.get_logger()


async def keep_looking(
    environments: Mapping[str, Environment], bus: Bus, clock: Clock, *, stable: timedelta
) -> NoReturn:
    """Announces second looks as they fall due, until it is cancelled. `stable` is how long files must look the same."""
    while True:
        for database, environment in environments.items():
            try:
                await announce(environment.store, bus, database=database, stable=stable, clock=clock)
            except Unavailable as error:
                log.warning("second looks are not announced yet", database=database, error=str(error))
        await clock.sleep(PAUSE_SECONDS)


async def announce(store: Store, bus: Bus, *, database: str, stable: timedelta, clock: Clock) -> int:
    """Announces the second looks that are due; returns how many. Of several that try, one announces each."""
    now, announced = clock.now(), 0
    past = now - timedelta(milliseconds=1)
    # What is dated further ahead was written before a clock was set back.
    waiting = [*await store.reports.find({"again": Less(now)})]
    waiting += await store.reports.find({"again": Greater(now + stable + SKEW)})
    for report in waiting:
        if report.again is None or report.again < report.updated <= now < report.updated + ANNOUNCED:
            continue
        mine = {"state": "scanning", "again": report.again, "updated": report.updated}
        if await store.reports.update(report.id, when=mine, set={"again": min(report.again, past), "updated": now}):
            scan = ScanStore(database=database, time=report.due, store=report.store, run=report.id)
            await bus.publish([Message(scan)])
            announced += 1
    return announced


async def wait_for_them(store: Store, run: str, stable: timedelta, clock: Clock) -> None:
    """Notes when the run goes on: once everything that it found has had the time to change."""
    now = clock.now()
    await store.reports.update(
        run, when={"state": "scanning", "again": None}, set={"again": now + stable, "updated": now}
    )


async def unsettled(store: Store, report: Report) -> bool:
    """Whether the run has found files new or changed."""
    return await store.entries.count(_found(report), limit=1) > 0


def _found(report: Report) -> dict[str, object]:
    since = Greater(report.started - timedelta(milliseconds=1))
    return {"_id.store": report.store, "state": "waiting", "vanished": None, "looked": since}


async def look_again(
    store: Store, watched: FolderStore, report: Report, rules: Rules, clock: Clock, stable: timedelta, turn: timedelta
) -> bool:
    """Looks at each of these files by name; False if it is to be gone on with, because it has taken a `turn`.

    What has gone, or is no file any more, is left to the next scan.
    """
    until = clock.now() + turn
    async for page in _pages(store, report):
        looks, units = dict[str, Look](), dict[str, Unit]()
        for folder, entries in groupby(page, key=lambda entry: entry.folder):
            found = list(entries)
            if any(entry.members or entry.series for entry in found):
                # Another file of a slide may have come besides.
                with suppress(OSError):
                    listing = await asyncio.to_thread(look_into, watched.root, folder, rules)
                    units |= await gather(store, watched.id, watched.root, listing, rules)
                    looks |= listing.files
            else:
                names = [entry.name for entry in found]
                looks |= await asyncio.to_thread(look_at, watched.root, folder, names, rules)
        now = clock.now()
        changes = []
        for entry in page:
            look = looks.get(entry.id.path)
            unit = units.get(entry.id.path, Unit(series=entry.series))
            taken = step(entry, look, unit, now=now, stable=stable, run=report.id) if look is not None else None
            if taken is not None:
                changes.append(Change(entry.id, unchanged(entry), taken.set))
        await store.entries.amend(*changes)
        await store.reports.update(report.id, set={"updated": now})
        if now > until:
            return False
    return True


async def _pages(store: Store, report: Report) -> AsyncIterator[list[Entry]]:
    """The files that the run has found new or changed, many at a time."""
    after = None
    while page := await store.entries.find(_found(report), after=after, limit=MOST_FILES):
        yield page
        after = (page[-1].id, page[-1].id)
