"""The broker: its queues, and who consumes them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.bus import Delivery
from shared.bus import topology as table
from shared.bus.envelope import received
from shared.clock import Clock, SystemClock
from shared.events import Event, Lane

PREFIX = "slidemill"


@dataclass
class Stored:
    """One message in a queue. `routing` is the exchange and key that it was published to."""

    headers: Mapping[str, Any]
    body: bytes
    routing: str
    redelivered: bool = False


@dataclass(eq=False)
class Subscription:
    """One consumer of one queue."""

    lane: Lane
    prefetch: int
    take: Callable[[Delivery], Awaitable[None]]
    held: set["MemoryDelivery"] = field(default_factory=set)


@dataclass
class _Queue:
    ready: deque[Stored] = field(default_factory=deque)
    subscriptions: list[Subscription] = field(default_factory=list)


class MemoryBroker:
    """What outlives a connection: the queues, `journal` (every fact, in order) and the dead letters of each stage."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.journal: list[Event] = []
        self.dead: dict[str, list[Stored]] = {stage: [] for stage in table.STAGES}
        self.delayed: list[Stored] = []
        self._queues = {
            table.stage_queue(PREFIX, stage, lane): _Queue() for stage in table.STAGES for lane in table.LANES
        }
        self._tasks: set[asyncio.Future[None]] = set()

    def __getitem__(self, name: str) -> _Queue:
        return self._queues[name]

    def put(self, queue: str, stored: Stored, *, first: bool = False) -> None:
        """Stores a message and offers it to a consumer; at the front if it was there before."""
        (self[queue].ready.appendleft if first else self[queue].ready.append)(stored)
        self.offer(queue)

    def offer(self, name: str) -> None:
        """Delivers what is ready to the consumers that have room, the least busy first."""
        queue = self[name]
        while queue.ready:
            free = [one for one in queue.subscriptions if len(one.held) < one.prefetch]
            if not free:
                return
            consumer = min(free, key=lambda one: len(one.held))
            delivery = MemoryDelivery(self, name, consumer, queue.ready.popleft())
            consumer.held.add(delivery)
            self._keep(consumer.take(delivery))

    def delay(self, queue: str, seconds: float, stored: Stored) -> None:
        """Puts the message into the queue once the clock has moved on."""
        self.delayed.append(stored)

        async def come_back() -> None:
            await self.clock.sleep(seconds)
            self.delayed.remove(stored)
            self.put(queue, stored)

        self._keep(come_back())

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class MemoryDelivery:
    """A message in a consumer's hands."""

    def __init__(self, broker: MemoryBroker, queue: str, subscription: Subscription, stored: Stored) -> None:
        self.body = stored.body
        self.headers: Mapping[str, Any] = received(stored.headers, stored.routing)
        self.lane = subscription.lane
        self.redelivered = stored.redelivered
        self._stored = stored
        self._broker = broker
        self._queue = queue
        self._subscription = subscription

    async def ack(self) -> None:
        """See `Delivery.ack`."""
        self._let_go()
        self._broker.offer(self._queue)

    async def requeue(self) -> None:
        """See `Delivery.requeue`."""
        self.give_back()

    def give_back(self) -> None:
        """Back to the front of its queue, unless it was settled before."""
        if self._let_go():
            self._broker.put(self._queue, replace(self._stored, redelivered=True), first=True)

    def _let_go(self) -> bool:
        held = self in self._subscription.held
        self._subscription.held.discard(self)
        return held
