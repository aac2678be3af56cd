"""A tick: looks after the house, begins the runs of stores, and says in `ticks` what it did."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from services.sync.core.waits import LONGEST_WAIT
from services.sync.expiry import expire
from services.sync.missed import forget_what_is_to_come, mark_missed
from services.sync.runs import begin, end, finish, forget, waiting
from shared.blobs import Blobs
from shared.blobs.relay import relay
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events import Event, ImportFile, ScanStore, SyncTick
from shared.removal import sweep
from shared.repair import give_up, reissue
from shared.store import Less, Store
from shared.store.documents.entries import EntryId
from shared.store.documents.ticks import Tick
from shared.superseded import remove_superseded
from shared.tiles import Tiles

STALE = timedelta(minutes=1)
MOST_PER_TICK = 100
TICKS_KEPT = timedelta(days=30)


class TickHandler:
    """Answers `sync-tick`. It publishes by itself, through the same ports as the gateways' relay does."""

    def __init__(self, bus: Bus, clock: Clock, grace: timedelta) -> None:
        """`grace` is how long versions stay that a newer one has replaced: open pages may still show them."""
        self._bus = bus
        self._clock = clock
        self._grace = grace

    async def __call__(self, event: SyncTick, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Does the tick once, however often and by however many it is delivered; returns the scans to do."""
        id = event.due.isoformat()
        started = self._clock.now()
        await forget_what_is_to_come(store, self._clock)
        new = Tick.at(event.due, store=event.store, interval=event.interval, started=started)
        await store.ticks.insert(new)
        tick = await store.ticks.get(id) or new
        if tick.done:
            return list(await waiting(store, tick, database=event.database))
        scans = await begin(store, tick, event.due, database=event.database, clock=self._clock)
        missed = await mark_missed(store, event, self._clock)
        report = await self._keep_house(event.database, store, blobs, tiles)
        report["missed"] = missed
        ended = self._clock.now()
        report["seconds"] = round((ended - started).total_seconds(), 3)
        done = {"done": True, "missed": False, "started": started, "ended": ended, "report": report}
        await store.ticks.update(id, when={"done": False}, set=done)
        return scans

    async def _keep_house(self, database: str, store: Store, blobs: Blobs, tiles: Tiles) -> dict[str, Any]:
        """Does every step, whatever becomes of the others; raises `Unavailable` at the end if one could not be done."""
        bus, clock = self._bus, self._clock
        steps: dict[str, Callable[[], Awaitable[int]]] = {
            "relayed": lambda: relay(store, blobs, bus, database=database, clock=clock, stale=STALE),
            # Giving up comes first: what is announced again fills the queues that it wants to see empty.
            "failed": lambda: give_up(store, bus, database=database, limit=MOST_PER_TICK, clock=clock),
            "reissued": lambda: reissue(store, bus, database=database, since=STALE, limit=MOST_PER_TICK, clock=clock),
            "expired": lambda: expire(store, blobs, bus, database=database, limit=MOST_PER_TICK, clock=clock),
            "superseded": lambda: remove_superseded(
                store, blobs, tiles, grace=self._grace, limit=MOST_PER_TICK, clock=clock
            ),
            "swept": lambda: sweep(store, blobs, tiles, limit=MOST_PER_TICK, clock=clock),
        }
        report: dict[str, Any] = {}
        unavailable: Unavailable | None = None
        for name, step in steps.items():
            try:
                report[name] = await step()
            except Unavailable as error:
                unavailable = unavailable or error
        if unavailable is not None:
            raise unavailable
        await forget(store, limit=MOST_PER_TICK)
        await store.ticks.delete({"started": Less(clock.now() - TICKS_KEPT)})
        return report


async def tick_failed(event: SyncTick, reason: str, remedy: str, *, store: Store) -> list[Event]:
    """Notes on the tick why it came to nothing; whoever waits for it reads it there."""
    await store.ticks.update(
        event.due.isoformat(),
        when={"done": False},
        set={"done": True, "missed": False, "report": {"error": reason, "remedy": remedy}},
    )
    return []


class Failures:
    """Records that a message of this service came to nothing, where those who wait for it look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(
        self, event: SyncTick | ScanStore | ImportFile, reason: str, remedy: str, *, store: Store
    ) -> list[Event]:
        """On the tick, the run or the file that it was about; a run goes on without a file that failed."""
        match event:
            case SyncTick():
                return await tick_failed(event, reason, remedy, store=store)
            case ScanStore():
                return await end(store, event.run, f"{reason} {remedy}", self._clock, database=event.database)
            case ImportFile():
                later = {
                    "asked": None,
                    "claim": None,
                    "reason": "unreadable",
                    "detail": reason,
                    "next_try": self._clock.now() + LONGEST_WAIT,
                    "done_by": event.run,
                    "outcome": "failed",
                }
                id = EntryId(store=event.store, path=event.path)
                await store.entries.update(id, when={"asked": event.run}, set=later)
                return await finish(store, event.run, self._clock, database=event.database)
