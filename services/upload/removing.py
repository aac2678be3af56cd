"""Deletes what its owner no longer wants: hidden before the answer, removed in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from shared.blobs import Blobs
from shared.clock import Clock
from shared.errors import Unavailable
from shared.removal import hide_image, hide_session, remove, sweep
from shared.store import Store
from shared.tiles import Tiles

# What is small is gone before the answer, what is large does not hold it up.
ANSWER_SECONDS = 1.0
AT_ONCE = 2
MOST_SWEPT = 20
log = structlog.get_logger()


@dataclass
class Removing:
    """Removes a few things at once; what it can't do now, or leaves when it is closed, a later sweep does."""

    store: Store
    blobs: Blobs
    tiles: Tiles
    clock: Clock
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)
    _sweeping: "asyncio.Task[None] | None" = None

    async def image(self, image: str) -> None:
        """Deletes an image, or an upload that has none yet."""
        await hide_image(self.store, image, self.clock)
        await self._soon(image)

    async def session(self, session: str) -> None:
        """Deletes a session and all its images."""
        await hide_session(self.store, session, self.clock)
        await self._soon(session)

    def sweep(self) -> None:
        """Goes on, in the background, with what is due, unless it is at that already."""
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = self._start(self._sweep)

    async def _soon(self, id: str) -> None:
        async def work() -> None:
            await remove(id, store=self.store, blobs=self.blobs, tiles=self.tiles, clock=self.clock)

        await asyncio.wait([self._start(work)], timeout=ANSWER_SECONDS)

    async def _sweep(self) -> None:
        await sweep(self.store, self.blobs, self.tiles, limit=MOST_SWEPT, clock=self.clock)

    def _start(self, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._see_to(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _see_to(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._slots:
                await work()
        except Unavailable as error:
            log.warning("left to the next sweep", error=str(error))
        except Exception:
            log.exception("removing failed")

    async def settled(self) -> None:
        """Returns once nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    async def close(self) -> None:
        """Ends what is under way where it is."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
