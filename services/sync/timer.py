"""Publishes a sync tick every interval, aligned to the clock. Any number of timers may run: a tick is its due time.

A process of its own: `python -m services.sync.timer`.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import structlog
from aiohttp import web

from shared.bus import Bus, Message
from shared.bus.envelope import expiring
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.events import SyncTick
from shared.http.health import add_health, served
from shared.service.connecting import broker, environments
from shared.service.running import run, until
from shared.settings import Settings

# How long the timer sleeps at most: a machine that slept, or a clock that was set, is noticed within this many seconds.
LOOK_AGAIN = 5.0

log = structlog.get_logger()


def due_tick(now: datetime, interval: int) -> datetime:
    """The latest multiple of `interval` seconds since 1970 that is not after `now`. Pure."""
    return datetime.fromtimestamp(int(now.timestamp()) // interval * interval, UTC)


async def keep_ticking(bus: Bus, *, databases: Iterable[str], interval: int, clock: Clock) -> NoReturn:
    """Publishes each tick once per database until it is cancelled; after a pause only the newest, never a burst.

    A tick expires when the next one is due, so that those nobody took do not pile up. Once the clock was set by so
    much that due times were left out or come again, each tick says since when it has run: none of those was missed.
    While the broker can't be reached it tries again every few seconds, with whichever tick is then due.
    """
    names = sorted(databases)
    published: datetime | None = None
    since: datetime | None = None
    before, elapsed_before = clock.now(), clock.elapsed()
    while True:
        now, elapsed = clock.now(), clock.elapsed()
        due = due_tick(now, interval)
        set_by = (now - before).total_seconds() - (elapsed - elapsed_before)
        if abs(set_by) >= interval:
            since = due
            log.warning("the clock was set", seconds=round(set_by, 1), due=due.isoformat())
        before, elapsed_before = now, elapsed
        if due != published:
            headers = expiring(due + timedelta(seconds=interval))
            ticks = [
                Message(SyncTick(database=name, time=due, due=due, interval=interval, since=since), headers)
                for name in names
            ]
            try:
                await bus.publish(ticks)
                published = due
                log.info("tick published", due=due.isoformat())
            except Unavailable as error:
                log.warning("tick not published yet", due=due.isoformat(), error=str(error))
        wait = (due + timedelta(seconds=interval) - clock.now()).total_seconds()
        await clock.sleep(max(0.0, min(wait, LOOK_AGAIN)))


async def timer(settings: Settings, stop: asyncio.Event) -> None:
    """Ticks for every served database until told to stop."""
    async with environments(settings, stop) as databases:
        store = databases[settings.database].store
        async with broker(settings, store, stop) as bus:
            app = web.Application()
            add_health(app, [bus.ready, store.ping])
            async with served(app, settings.http_host, settings.http_port):
                ticking = keep_ticking(bus, databases=databases, interval=settings.sync_interval, clock=SystemClock())
                await until(stop, ticking)


if __name__ == "__main__":
    run(Settings(), timer)
