"""A tick: looks after the house, and says in `ticks` what it did."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from services.sync.expiry import expire
from shared.blobs import Blobs
from shared.blobs.seal import relay
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Unavailable
from shared.events import Event, SyncTick
from shared.removal import sweep
from shared.repair import give_up, reissue
from shared.store import Less, Store
from shared.store.documents import Tick
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
        """Does the tick once, however often and by however many it is delivered; returns nothing to publish."""
        id = event.due.isoformat()
        started = self._clock.now()
        await store.ticks.insert(Tick(id=id, started=started))
        tick = await store.ticks.get(id)
        if tick is not None and tick.done:
            return []
        report = await self._keep_house(event.database, store, blobs, tiles)
        ended = self._clock.now()
        report["seconds"] = round((ended - started).total_seconds(), 3)
        await store.ticks.update(
            id, when={"done": False}, set={"done": True, "started": started, "ended": ended, "report": report}
        )
        return []

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
        await store.ticks.delete({"started": Less(clock.now() - TICKS_KEPT)})
        return report


async def tick_failed(event: SyncTick, reason: str, remedy: str, *, store: Store) -> list[Event]:
    """Notes on the tick why it came to nothing; whoever waits for it reads it there."""
    await store.ticks.update(
        event.due.isoformat(),
        when={"done": False},
        set={"done": True, "report": {"error": reason, "remedy": remedy}},
    )
    return []
