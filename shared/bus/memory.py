"""A broker in memory with the lanes, delays and dead letters of the real one, for tests of whole pipelines.

Its topology is always applied: no message is unroutable. Time is an injected clock's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.bus import Delivery, Gauge, Message, StageQueues
from shared.bus import topology as table
from shared.bus.envelope import ATTEMPT, copied, dead, decode, encode, is_replay, received
from shared.bus.journal import Entry
from shared.bus.letters import HeldLetter, Letter
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.events import Event, Lane

_PREFIX = "slidemill"


@dataclass
class Stored:
    """One message in a queue. `routing` is the exchange and key that it was published to."""

    headers: Mapping[str, Any]
    body: bytes
    routing: str
    redelivered: bool = False


@dataclass(eq=False)
class _Subscription:
    """One consumer of one queue."""

    lane: Lane
    prefetch: int
    take: Callable[[Delivery], Awaitable[None]]
    held: set["MemoryDelivery"] = field(default_factory=set)


@dataclass
class _Queue:
    ready: deque[Stored] = field(default_factory=deque)
    subscriptions: list[_Subscription] = field(default_factory=list)


class MemoryBroker:
    """What outlives a connection: the queues, `journal` (every fact, in order) and the dead letters of each stage."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.journal: list[Event] = []
        self.dead: dict[str, list[Stored]] = {stage: [] for stage in table.STAGES}
        self.delayed: list[Stored] = []
        self._queues = {
            table.stage_queue(_PREFIX, stage, lane): _Queue() for stage in table.STAGES for lane in table.LANES
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

    def __init__(self, broker: MemoryBroker, queue: str, subscription: _Subscription, stored: Stored) -> None:
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


class MemoryBus:
    """One connection to a `MemoryBroker`; without one it makes its own. See `shared.bus.Bus`."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self._subscriptions: list[tuple[str, _Subscription]] = []
        self._closed = False

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`."""
        self._check_open()
        for message in messages:
            headers, body = encode(message)
            event = type(message.event)
            replay = is_replay(headers)
            key = table.route(message.event, replay=replay)
            stored = Stored(headers, body, f"{table.events_exchange(_PREFIX)}:{key}")
            if key.startswith("fact."):
                self.broker.journal.append(decode(headers, body))
            lane = getattr(message.event, "lane", None)
            for queue in table.queues_for(_PREFIX, event, replay=replay, lane=lane):
                self.broker.put(queue, stored)

    async def publish_to(self, stage: str, lane: Lane, messages: Sequence[Message]) -> None:
        """See `Bus.publish_to`."""
        self._check_open()
        queue = table.stage_queue(_PREFIX, stage, lane)
        for message in messages:
            headers, body = encode(message)
            self.broker.put(queue, Stored(headers, body, f"{table.stages_exchange(_PREFIX)}:{queue}"))

    async def retry(self, stage: str, delivery: Delivery, attempt: int) -> None:
        """See `Bus.retry`."""
        self._delay(stage, delivery, {ATTEMPT: attempt}, attempt)

    async def defer(self, stage: str, delivery: Delivery, *, soon: bool = False) -> None:
        """See `Bus.defer`."""
        self._delay(stage, delivery, {}, table.POSTPONEMENT if soon else table.DEFERRAL)

    def _delay(self, stage: str, delivery: Delivery, headers: Mapping[str, Any], delay: int) -> None:
        self._check_open()
        queue = table.stage_queue(_PREFIX, stage, delivery.lane)
        routing = f"{table.stages_exchange(_PREFIX)}:{queue}"
        stored = Stored({**copied(delivery.headers), **headers}, delivery.body, routing)
        self.broker.delay(queue, table.delay_seconds(delay), stored)

    async def dead_letter(self, stage: str, delivery: Delivery, cause: str, detail: str) -> None:
        """See `Bus.dead_letter`."""
        self._check_open()
        headers = dead(delivery.headers, stage=stage, cause=cause, detail=detail, now=self.broker.clock.now())
        self.broker.dead[stage].append(Stored(headers, delivery.body, f"{table.dead_exchange(_PREFIX)}:{stage}"))

    async def consume(self, stage: str, lane: Lane, prefetch: int, take: Callable[[Delivery], Awaitable[None]]) -> None:
        """See `Bus.consume`."""
        self._check_open()
        queue = table.stage_queue(_PREFIX, stage, lane)
        subscription = _Subscription(lane, prefetch, take)
        self._subscriptions.append((queue, subscription))
        self.broker[queue].subscriptions.append(subscription)
        self.broker.offer(queue)

    async def stop_consuming(self) -> None:
        """See `Bus.stop_consuming`."""
        for queue, subscription in self._subscriptions:
            if subscription in self.broker[queue].subscriptions:
                self.broker[queue].subscriptions.remove(subscription)

    async def depth(self, stage: str) -> int:
        """See `Bus.depth`."""
        self._check_open()
        lanes = (self.broker[table.stage_queue(_PREFIX, stage, lane)] for lane in table.LANES)
        return sum(len(queue.ready) for queue in lanes) + len(self.broker.delayed)

    async def gauge(self) -> Gauge:
        """See `Bus.gauge`. Nobody here tells one delay from another: all count as the first."""
        self._check_open()

        def of(stage: str) -> StageQueues:
            express, bulk = (self.broker[table.stage_queue(_PREFIX, stage, lane)] for lane in table.LANES)
            dead = len(self.broker.dead[stage])
            return StageQueues(len(express.ready), len(bulk.ready), dead, len(express.subscriptions))

        delayed = {name: 0 for name in table.DELAYS}
        return Gauge({stage: of(stage) for stage in table.STAGES}, {**delayed, "10s": len(self.broker.delayed)})

    async def ready(self) -> None:
        """See `Bus.ready`."""
        self._check_open()

    async def close(self) -> None:
        """See `Bus.close`. What is still held goes back to its queue, as when a consumer dies."""
        await self.stop_consuming()
        self._closed = True
        for _, subscription in self._subscriptions:
            for delivery in list(subscription.held):
                delivery.give_back()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The connection to the broker is closed.")


class MemoryDeadLetters:
    """The dead letters of a `MemoryBroker`. See `shared.bus.letters.DeadLetters`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def each(self, stage: str) -> AsyncGenerator[HeldLetter, None]:
        """See `DeadLetters.each`."""
        for stored in list(self._broker.dead[stage]):
            yield _MemoryLetter(self._broker.dead[stage], stored, Letter.read(stage, stored.headers, stored.body))

    async def send(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """See `DeadLetters.send`."""
        queue = table.stage_queue(_PREFIX, stage, "bulk")
        self._broker.put(queue, Stored(headers, body, f"{table.stages_exchange(_PREFIX)}:{queue}"))

    async def bury(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """See `DeadLetters.bury`."""
        self._broker.dead[stage].append(Stored(headers, body, f"{table.dead_exchange(_PREFIX)}:{stage}"))


class MemoryJournal:
    """The journal of a `MemoryBroker`. See `shared.bus.journal.Journal`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def read(self, since: datetime | None = None) -> AsyncGenerator[Entry, None]:
        """See `Journal.read`."""
        for offset, event in enumerate(list(self._broker.journal)):
            yield Entry(offset, encode(Message(event))[0], event)


@dataclass(frozen=True)
class _MemoryLetter:
    """See `shared.bus.letters.HeldLetter`."""

    queue: list[Stored]
    stored: Stored
    letter: Letter

    async def remove(self) -> None:
        """See `HeldLetter.remove`."""
        self.queue[:] = [other for other in self.queue if other is not self.stored]
