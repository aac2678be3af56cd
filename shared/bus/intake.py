"""What a consumer has been given and not yet begun, and who may take of it when."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.bus import Delivery
from shared.bus.topology import LANES
from shared.clock import Clock
from shared.events import Lane


class Intake:
    """Deliveries by lane, handed out to slots; `stopping` is set once no more are."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._waiting: dict[Lane, deque[tuple[float, Delivery]]] = {lane: deque() for lane in LANES}
        self._changed = asyncio.Condition()
        self._holds = 0
        self._alone = False

    async def put(self, delivery: Delivery) -> None:
        """Keeps a delivery until a slot takes it, or gives it back at once if nobody will."""
        if self.stopping.is_set():
            await delivery.requeue()
            return
        async with self._changed:
            self._waiting[delivery.lane].append((time.monotonic(), delivery))
            self._changed.notify_all()

    async def next(self, slot: int, *, alone: bool = False) -> Delivery | None:
        """The next delivery for this slot, None when stopping. The first slot serves express first, so that small
        slides never starve.

        While somebody holds the intake nobody gets one, and while a slot is `alone` the others get none.
        """
        order: tuple[Lane, ...] = ("express", "bulk") if slot == 0 else ("bulk", "express")
        async with self._changed:
            while not self.stopping.is_set():
                if not self._holds and self._alone == alone:
                    for lane in order:
                        if self._waiting[lane]:
                            return self._waiting[lane].popleft()[1]
                await self._changed.wait()
        return None

    def drain(self) -> list[Delivery]:
        """Everything that waits at this moment, which is then the caller's."""
        drained = [delivery for waiting in self._waiting.values() for _, delivery in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        return drained

    def overdue(self, seconds: float) -> list[Delivery]:
        """Everything that has waited for longer, which is then the caller's."""
        late = []
        for waiting in self._waiting.values():
            while waiting and time.monotonic() - waiting[0][0] > seconds:
                late.append(waiting.popleft()[1])
        return late

    @property
    def is_alone(self) -> bool:
        """Whether a slot has the intake for itself."""
        return self._alone

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Has the intake for one slot alone; `next` then says so too."""
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            await self._notify()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hands nothing out meanwhile; any number may hold at once."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            await self._notify()

    async def stop(self) -> None:
        """Hands nothing out any more, and gives back what waits."""
        self.stopping.set()
        await self._notify()
        for delivery in self.drain():
            await delivery.requeue()

    async def pause(self, clock: Clock, seconds: float) -> None:
        """Sleeps, but not past a stop."""
        tasks = [asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
