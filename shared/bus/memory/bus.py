"""The bus itself: one connection to the broker."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from shared.bus import Delivery, Gauge, Message, StageQueues
from shared.bus import topology as table
from shared.bus.envelope import ATTEMPT, copied, dead, decode, encode, is_replay
from shared.bus.memory.broker import PREFIX, MemoryBroker, Stored, Subscription
from shared.errors import Unavailable
from shared.events import Lane


class MemoryBus:
    """One connection to a `MemoryBroker`; without one it makes its own. See `shared.bus.Bus`."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self._subscriptions: list[tuple[str, Subscription]] = []
        self._closed = False

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`."""
        self._check_open()
        for message in messages:
            headers, body = encode(message)
            event = type(message.event)
            replay = is_replay(headers)
            key = table.route(message.event, replay=replay)
            stored = Stored(headers, body, f"{table.events_exchange(PREFIX)}:{key}")
            if key.startswith("fact."):
                self.broker.journal.append(decode(headers, body))
            lane = getattr(message.event, "lane", None)
            for queue in table.queues_for(PREFIX, event, replay=replay, lane=lane):
                self.broker.put(queue, stored)

    async def publish_to(self, stage: str, lane: Lane, messages: Sequence[Message]) -> None:
        """See `Bus.publish_to`."""
        self._check_open()
        queue = table.stage_queue(PREFIX, stage, lane)
        for message in messages:
            headers, body = encode(message)
            self.broker.put(queue, Stored(headers, body, f"{table.stages_exchange(PREFIX)}:{queue}"))

    async def retry(self, stage: str, delivery: Delivery, attempt: int) -> None:
        """See `Bus.retry`."""
        self._delay(stage, delivery, {ATTEMPT: attempt}, attempt)

    async def defer(self, stage: str, delivery: Delivery, *, soon: bool = False) -> None:
        """See `Bus.defer`."""
        self._delay(stage, delivery, {}, table.POSTPONEMENT if soon else table.DEFERRAL)

    def _delay(self, stage: str, delivery: Delivery, headers: Mapping[str, Any], delay: int) -> None:
        self._check_open()
        queue = table.stage_queue(PREFIX, stage, delivery.lane)
        routing = f"{table.stages_exchange(PREFIX)}:{queue}"
        stored = Stored({**copied(delivery.headers), **headers}, delivery.body, routing)
        self.broker.delay(queue, table.delay_seconds(delay), stored)

    async def dead_letter(self, stage: str, delivery: Delivery, cause: str, detail: str) -> None:
        """See `Bus.dead_letter`."""
        self._check_open()
        headers = dead(delivery.headers, stage=stage, cause=cause, detail=detail, now=self.broker.clock.now())
        self.broker.dead[stage].append(Stored(headers, delivery.body, f"{table.dead_exchange(PREFIX)}:{stage}"))

    async def consume(self, stage: str, lane: Lane, prefetch: int, take: Callable[[Delivery], Awaitable[None]]) -> None:
        """See `Bus.consume`."""
        self._check_open()
        queue = table.stage_queue(PREFIX, stage, lane)
        subscription = Subscription(lane, prefetch, take)
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
        lanes = (self.broker[table.stage_queue(PREFIX, stage, lane)] for lane in table.LANES)
        return sum(len(queue.ready) for queue in lanes) + len(self.broker.delayed)

    async def gauge(self) -> Gauge:
        """See `Bus.gauge`. Nobody here tells one delay from another: all count as the first."""
        self._check_open()

        def of(stage: str) -> StageQueues:
            express, bulk = (self.broker[table.stage_queue(PREFIX, stage, lane)] for lane in table.LANES)
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
