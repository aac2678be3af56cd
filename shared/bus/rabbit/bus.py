"""The bus itself, over two connections.

One publishes and one consumes, since a broker that is short of disk or memory blocks publishers only. Both are made
again whenever they, or anything on them, break, and then everything of the table in `topology` that this process
relies on is declared again: a broker that lost its disk is furnished anew.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aio_pika.exceptions import ChannelNotFoundEntity

from shared.bus import Delivery, Gauge, Message, StageQueues
from shared.bus import topology as table
from shared.bus.envelope import ATTEMPT, copied, dead, encode, is_replay
from shared.bus.link import Link
from shared.bus.rabbit.connecting import ANSWER_SECONDS, SET_UP_SECONDS, answered
from shared.bus.rabbit.consuming import Consuming, Subscription, open_consuming
from shared.bus.rabbit.publishing import Outgoing, Publisher, Publishing, open_publishing
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.events import Lane


class RabbitBus:
    """See `shared.bus.Bus`. Every name on the broker begins with `prefix`."""

    def __init__(self, url: str, prefix: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._prefix = prefix
        self._claim: str | None = None
        self._clock = clock or SystemClock()
        self._subscriptions: dict[tuple[str, Lane], Subscription] = {}
        self._publishing = Link(f"{prefix} publishing", self._open_publishing, SET_UP_SECONDS)
        self._consuming = Link(f"{prefix} consuming", self._open_consuming, SET_UP_SECONDS)
        self._publisher = Publisher(self._publishing)

    async def connect(self, claim: str | None = None) -> None:
        """Connects for publishing, and stays connected until `close`; does nothing when it is.

        With `claim`, the id that a deployment keeps in its database, it takes a prefix that nobody has, and refuses
        one of another deployment. Raises `Unavailable`, `ForeignPrefix` or `TopologyMismatch`.
        """
        self._claim = claim
        await self._publishing.open()

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Bus.publish`."""
        outgoing = []
        for message in messages:
            headers, body = encode(message)
            key = table.route(message.event, replay=is_replay(headers))
            outgoing.append(Outgoing(table.events_exchange(self._prefix), key, headers, body))
        await self._publisher.publish(outgoing)

    async def publish_to(self, stage: str, lane: Lane, messages: Sequence[Message]) -> None:
        """See `Bus.publish_to`."""
        queue = table.stage_queue(self._prefix, stage, lane)
        exchange = table.stages_exchange(self._prefix)
        await self._publisher.publish([Outgoing(exchange, queue, *encode(message)) for message in messages])

    async def retry(self, stage: str, delivery: Delivery, attempt: int) -> None:
        """See `Bus.retry`."""
        await self._delay(stage, delivery, {ATTEMPT: attempt}, attempt)

    async def defer(self, stage: str, delivery: Delivery, *, soon: bool = False) -> None:
        """See `Bus.defer`."""
        await self._delay(stage, delivery, {}, table.POSTPONEMENT if soon else table.DEFERRAL)

    async def _delay(self, stage: str, delivery: Delivery, headers: Mapping[str, Any], delay: int) -> None:
        queue = table.stage_queue(self._prefix, stage, delivery.lane)
        exchange = table.delay_name(self._prefix, delay)
        await self._publisher.publish(
            [Outgoing(exchange, queue, {**copied(delivery.headers), **headers}, delivery.body)]
        )

    async def dead_letter(self, stage: str, delivery: Delivery, cause: str, detail: str) -> None:
        """See `Bus.dead_letter`."""
        headers = dead(delivery.headers, stage=stage, cause=cause, detail=detail, now=self._clock.now())
        await self._publisher.publish([Outgoing(table.dead_exchange(self._prefix), stage, headers, delivery.body)])

    async def consume(self, stage: str, lane: Lane, prefetch: int, take: Callable[[Delivery], Awaitable[None]]) -> None:
        """See `Bus.consume`. Raises `Unavailable` if the broker can't be reached at the start."""
        subscription = Subscription(stage, lane, prefetch, take)
        self._subscriptions[stage, lane] = subscription
        await self._consuming.open()
        consuming = await self._consuming.soon(SET_UP_SECONDS)
        if (stage, lane) not in consuming.registered:
            await answered("The broker could not be prepared for consuming", consuming.register(subscription))

    async def stop_consuming(self) -> None:
        """See `Bus.stop_consuming`."""
        self._subscriptions.clear()
        with suppress(Unavailable):
            await self._consuming.now().stop()

    async def put(self, exchange: str, key: str, headers: Mapping[str, Any], body: bytes) -> None:
        """Publishes a message as it is, with the proof that every other one gets: for tools that move messages."""
        await self._publisher.publish([Outgoing(exchange, key, headers, body)])

    async def depth(self, stage: str) -> int:
        """See `Bus.depth`."""
        names = [
            *(table.stage_queue(self._prefix, stage, lane) for lane in table.LANES),
            *table.delay_names(self._prefix),
        ]
        publishing = await self._publishing.soon(ANSWER_SECONDS)
        return sum(await answered("The queues' depth is unknown", publishing.depths(names)))

    async def gauge(self) -> Gauge:
        """See `Bus.gauge`."""
        publishing = await self._publishing.soon(ANSWER_SECONDS)
        return await answered("What waits in the queues is unknown", self._gauge(publishing))

    async def _gauge(self, publishing: Publishing) -> Gauge:
        delayed = await publishing.depths(table.delay_names(self._prefix))
        stages: dict[str, StageQueues | None] = {}
        for stage in table.STAGES:
            lanes = [table.stage_queue(self._prefix, stage, lane) for lane in table.LANES]
            try:
                looked = await publishing.look([*lanes, table.dead_queue(self._prefix, stage)])
            except ChannelNotFoundEntity:
                stages[stage] = None
                continue
            express, bulk, dead = (messages for messages, _ in looked)
            stages[stage] = StageQueues(express, bulk, dead, workers=looked[0][1])
        return Gauge(stages, dict(zip(table.DELAYS, delayed, strict=True)))

    async def ready(self) -> None:
        """See `Bus.ready`."""
        await self._publishing.now().check()
        if self._subscriptions and self._subscriptions.keys() != self._consuming.now().registered.keys():
            raise Unavailable("Not every consumer is registered yet.")

    async def close(self) -> None:
        """See `Bus.close`."""
        await self._consuming.close()
        await self._publishing.close()

    async def _open_publishing(self) -> Publishing:
        return await open_publishing(self._url, self._prefix, self._claim)

    async def _open_consuming(self) -> Consuming:
        return await open_consuming(self._url, self._prefix, self._subscriptions.values())
