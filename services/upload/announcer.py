"""Tells the bus what happened without making anybody wait for the broker; the relay tells what this misses."""

import asyncio
from collections.abc import Sequence

import structlog

from shared.blobs.seal import announced
from shared.bus import Bus, Message
from shared.errors import Unavailable
from shared.events import Event
from shared.store import Store

PUBLISH_SECONDS = 15.0
log = structlog.get_logger()


class Announcer:
    """Publishes in the background."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._under_way: set[asyncio.Task[None]] = set()

    def soon(self, events: Sequence[Event], upload: str | None = None) -> None:
        """Publishes facts; `upload` is marked as announced once the broker has confirmed them."""
        if events:
            task = asyncio.create_task(self._publish(events, upload))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _publish(self, events: Sequence[Event], upload: str | None) -> None:
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._bus.publish([Message(event) for event in events])
                if upload is not None:
                    await announced(upload, self._store)
        except (Unavailable, TimeoutError) as error:
            log.warning("left to the relay", upload=upload, events=[event.type for event in events], error=str(error))
        except Exception:
            log.exception("publishing failed", upload=upload)

    async def close(self, seconds: float = 5.0) -> None:
        """Gives what is under way a moment to end."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        for task in self._under_way:
            task.cancel()
