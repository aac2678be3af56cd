"""Due times that nobody saw to are marked, once a later tick is done: each happens once or is missed.

Nothing is missed that was never due: before the first tick of a deployment, while the interval was another one, and
where the clock was set over it.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from services.sync.runs import STILL
from shared.clock import SKEW, Clock
from shared.events import SyncTick
from shared.store import Change, Greater, In, Less, Store
from shared.store.documents.ticks import Tick, newest_first

# Of more only the newest get a document each; the tick that found them has their number.
MOST_MARKED = 100

log = structlog.get_logger()


class Missed(NamedTuple):
    """How many due times were missed, and the newest of them, at most `MOST_MARKED`, in order."""

    number: int
    newest: list[datetime]


def between(last: datetime, due: datetime, interval: int, since: datetime | None) -> Missed:
    """The due times after that of the last tick that was done and before this one's, not before `since`. Pure.

    `interval` is in seconds, and both ticks are of a timer with that one.
    """
    number = (int((due - last).total_seconds()) - 1) // interval
    if since is not None:
        number = min(number, int((due - since).total_seconds()) // interval)
    number = max(number, 0)
    newest = [due - timedelta(seconds=interval * n) for n in range(min(number, MOST_MARKED), 0, -1)]
    return Missed(number, newest)


async def mark_missed(store: Store, event: SyncTick, clock: Clock) -> int:
    """Marks what was due before this tick of a timer's and was not done; returns how many were never begun.

    Harmless when repeated, and at the same time. A tick that is done after all is missed no longer.
    """
    now = clock.now()
    if event.interval is None:
        return 0
    earlier = Greater(newest_first(event.due))
    undone = {"done": False, "missed": False}
    begun = await store.ticks.find({**undone, "order": earlier, "interval": Greater(0)}, limit=MOST_MARKED)
    # Somebody's own tick: its message is lost, or whoever had it is dead.
    begun += await store.ticks.find({**undone, "interval": None, "started": Less(now - STILL)}, limit=MOST_MARKED)
    await store.ticks.amend(*(Change(tick.id, undone, {"missed": True}) for tick in begun))
    handled = {"done": True, "missed": False, "order": earlier, "interval": Greater(0)}
    last = await store.ticks.find(handled, sort="order", limit=1)
    if not last or last[0].interval != event.interval:
        return 0
    missed = between(last[0].due, event.due, event.interval, event.since)
    ticks = (Tick.at(due, started=due, interval=event.interval, missed=True) for due in missed.newest)
    await store.ticks.insert(*ticks)
    if missed.number:
        first = event.due - timedelta(seconds=event.interval * missed.number)
        latest = missed.newest[-1].isoformat()
        log.warning("ticks missed", database=event.database, n=missed.number, first=first.isoformat(), last=latest)
    return missed.number


async def forget_what_is_to_come(store: Store, clock: Clock) -> None:
    """Ticks dated far ahead were done before a clock was set back: when they are due once more, they are done anew."""
    ahead = Greater(clock.now() + SKEW)
    await store.ticks.delete({"started": ahead})
    await store.reports.delete({"started": ahead, "state": In(("done", "missed"))})
