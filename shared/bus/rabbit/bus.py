"""The bus itself: publishing with proof, and consuming.

One connection publishes and one consumes, since a broker that is short of disk or memory blocks publishers only. Both
are made again whenever they, or anything on them, break, and then everything of the table in `topology` that this
process relies on is declared again: a broker that lost its disk is furnished anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError

from shared.bus import Delivery, Gauge, Message, StageQueues
from shared.bus import topology as table
from shared.bus.envelope import ATTEMPT, CONTENT_TYPE, copied, dead, encode, is_replay, received
from shared.bus.link import Link, outcome
from shared.bus.rabbit.connecting import (
    ANSWER_SECONDS,
    ENDED,
    SET_UP_SECONDS,
    answered,
    check_claim,
    connect,
    furnish,
    kept_if_made,
    watch,
)
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.events import Lane

CONFIRM_SECONDS = 20.0
MOST_UNCONFIRMED = 256
# Far more than a message of a long batch needs.
SECONDS_PER_MESSAGE = 0.01

log = structlog.get_logger()


class RabbitBus:
    """See `shared.bus.Bus`. Every name on the broker begins with `prefix`."""

    def __init__(self, url: str, prefix: str, *, clock: Clock | None = None) -> None:
        self._url = url
        self._prefix = prefix
        self._claim: str | None = None
        self._clock = clock or SystemClock()
        self._consumers: dict[tuple[str, Lane], _Consumer] = {}
        self._publishing = Link(f"{prefix} publishing", self._open_publishing, SET_UP_SECONDS)
        self._consuming = Link(f"{prefix} consuming", self._open_consuming, SET_UP_SECONDS)
        # At most one message of an id is on its way at a time: the client tells returned ones apart by id.
        self._on_the_way: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(MOST_UNCONFIRMED)

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
            outgoing.append(_Outgoing(table.events_exchange(self._prefix), key, headers, body))
        await self._publish(outgoing)

    async def publish_to(self, stage: str, lane: Lane, messages: Sequence[Message]) -> None:
        """See `Bus.publish_to`."""
        queue = table.stage_queue(self._prefix, stage, lane)
        exchange = table.stages_exchange(self._prefix)
        await self._publish([_Outgoing(exchange, queue, *encode(message)) for message in messages])

    async def retry(self, stage: str, delivery: Delivery, attempt: int) -> None:
        """See `Bus.retry`."""
        await self._delay(stage, delivery, {ATTEMPT: attempt}, attempt)

    async def defer(self, stage: str, delivery: Delivery, *, soon: bool = False) -> None:
        """See `Bus.defer`."""
        await self._delay(stage, delivery, {}, table.POSTPONEMENT if soon else table.DEFERRAL)

    async def _delay(self, stage: str, delivery: Delivery, headers: Mapping[str, Any], delay: int) -> None:
        queue = table.stage_queue(self._prefix, stage, delivery.lane)
        exchange = table.delay_name(self._prefix, delay)
        await self._publish([_Outgoing(exchange, queue, {**copied(delivery.headers), **headers}, delivery.body)])

    async def dead_letter(self, stage: str, delivery: Delivery, cause: str, detail: str) -> None:
        """See `Bus.dead_letter`."""
        headers = dead(delivery.headers, stage=stage, cause=cause, detail=detail, now=self._clock.now())
        await self._publish([_Outgoing(table.dead_exchange(self._prefix), stage, headers, delivery.body)])

    async def consume(self, stage: str, lane: Lane, prefetch: int, take: Callable[[Delivery], Awaitable[None]]) -> None:
        """See `Bus.consume`. Raises `Unavailable` if the broker can't be reached at the start."""
        consumer = _Consumer(stage, lane, prefetch, take)
        self._consumers[stage, lane] = consumer
        await self._consuming.open()
        consuming = await self._consuming.soon(SET_UP_SECONDS)
        if (stage, lane) not in consuming.registered:
            await answered("The broker could not be prepared for consuming", consuming.register(consumer))

    async def stop_consuming(self) -> None:
        """See `Bus.stop_consuming`."""
        self._consumers.clear()
        with suppress(Unavailable):
            await self._consuming.now().stop()

    async def put(self, exchange: str, key: str, headers: Mapping[str, Any], body: bytes) -> None:
        """Publishes a message as it is, with the proof that every other one gets: for tools that move messages."""
        await self._publish([_Outgoing(exchange, key, headers, body)])

    async def depth(self, stage: str) -> int:
        """See `Bus.depth`."""
        names = [
            *(table.stage_queue(self._prefix, stage, lane) for lane in table.LANES),
            *(table.delay_name(self._prefix, attempt) for attempt in range(1, len(table.DELAYS) + 1)),
        ]
        publishing = await self._publishing.soon(ANSWER_SECONDS)
        return sum(await answered("The queues' depth is unknown", publishing.depths(names)))

    async def gauge(self) -> Gauge:
        """See `Bus.gauge`."""
        publishing = await self._publishing.soon(ANSWER_SECONDS)
        return await answered("What waits in the queues is unknown", self._gauge(publishing))

    async def _gauge(self, publishing: "_Publishing") -> Gauge:
        delays = [table.delay_name(self._prefix, attempt) for attempt in range(1, len(table.DELAYS) + 1)]
        delayed = await publishing.depths(delays)
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
        if self._consumers and self._consumers.keys() != self._consuming.now().registered.keys():
            raise Unavailable("Not every consumer is registered yet.")

    async def close(self) -> None:
        """See `Bus.close`."""
        await self._consuming.close()
        await self._publishing.close()

    async def _publish(self, outgoing: "Sequence[_Outgoing]") -> None:
        if not outgoing:
            return
        publishing = await self._publishing.soon(CONFIRM_SECONDS)
        seconds = CONFIRM_SECONDS + SECONDS_PER_MESSAGE * len(outgoing)
        # A task for each: whatever the client does to a caller when the connection breaks, it does to these.
        outcomes = await asyncio.gather(
            *(self._confirm(publishing, one, seconds) for one in outgoing), return_exceptions=True
        )
        failed = [(one, error) for one, error in zip(outgoing, outcomes, strict=True) if error is not None]
        if failed:
            one, error = failed[0]
            if not isinstance(error, ENDED):
                raise error
            raise _unpublished(one, error, len(failed), len(outgoing)) from error

    async def _confirm(self, publishing: "_Publishing", one: "_Outgoing", seconds: float) -> None:
        name = str(one.headers.get("ce-id", ""))
        alone = self._on_the_way.setdefault(name, asyncio.Lock())
        async with asyncio.timeout(seconds), self._room, alone:
            exchange = publishing.exchanges[one.exchange]
            await exchange.publish(one.message(name), one.key, mandatory=True)

    async def _open_publishing(self) -> "_Publishing":
        connection = await connect(self._url, f"{self._prefix} publishing")
        async with kept_if_made(connection):
            if self._claim is not None:
                await check_claim(connection, self._prefix, self._claim)
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchanges = await furnish(channel, table.exchanges(self._prefix), table.shared_queues(self._prefix))
            broken = asyncio.Event()
            await watch(connection, channel, broken)
            return _Publishing(connection, broken, exchanges)

    async def _open_consuming(self) -> "_Consuming":
        connection = await connect(self._url, f"{self._prefix} consuming")
        async with kept_if_made(connection):
            consuming = _Consuming(connection, asyncio.Event(), self._prefix, {})
            for consumer in list(self._consumers.values()):
                await consuming.register(consumer)
            return consuming


@dataclass(frozen=True)
class _Outgoing:
    """A message and where it goes."""

    exchange: str
    key: str
    headers: Mapping[str, Any]
    body: bytes

    def message(self, id: str) -> aio_pika.Message:
        return aio_pika.Message(
            self.body,
            headers=dict(self.headers),
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=id or None,
            correlation_id=self.headers.get("ce-correlationid"),
            type=self.headers.get("ce-type"),
        )


@dataclass(frozen=True)
class _Publishing:
    """A connection for publishing and looking."""

    connection: AbstractConnection
    broken: asyncio.Event
    exchanges: Mapping[str, AbstractExchange]

    async def check(self) -> None:
        """Raises `Unavailable` while the broker blocks publishers."""
        transport = self.connection.transport
        if transport is None or self.broken.is_set():
            raise Unavailable("The connection to the broker is broken.")
        try:
            # Returns at once unless the broker has blocked the connection.
            async with asyncio.timeout(0.5):
                await transport.connection.ready()
        except TimeoutError:
            raise Unavailable(
                "The broker takes no messages: it is short of memory or of disk space. Free some on its host."
            ) from None

    async def depths(self, names: Iterable[str]) -> list[int]:
        """How many messages are ready in each of these queues."""
        return [messages for messages, _ in await self.look(names)]

    async def look(self, names: Iterable[str]) -> list[tuple[int, int]]:
        """Messages ready, and consumers, of each of these queues."""
        # A queue that is missing ends the channel that asks for it, so this one is for asking only.
        channel = await self.connection.channel(publisher_confirms=False)
        try:
            looked = [await channel.declare_queue(name, passive=True) for name in names]
        finally:
            await channel.close()
        told = [queue.declaration_result for queue in looked]
        return [(result.message_count or 0, result.consumer_count or 0) for result in told]

    async def close(self) -> None:
        """See `Session.close`."""
        await self.connection.close()


@dataclass(frozen=True)
class _Consumer:
    stage: str
    lane: Lane
    prefetch: int
    take: Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True)
class _Consuming:
    """A connection with its consumers: queue and consumer tag of each."""

    connection: AbstractConnection
    broken: asyncio.Event
    prefix: str
    registered: dict[tuple[str, Lane], tuple[AbstractQueue, str]]

    async def register(self, consumer: _Consumer) -> None:
        """Declares the stage's queues and lets one of them call the consumer."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=consumer.prefetch)
        await furnish(channel, table.exchanges(self.prefix), table.stage_queues(self.prefix, consumer.stage))
        await watch(self.connection, channel, self.broken)
        queue = await channel.get_queue(table.stage_queue(self.prefix, consumer.stage, consumer.lane), ensure=False)
        tag = await queue.consume(partial(_deliver, consumer))
        self.registered[consumer.stage, consumer.lane] = (queue, tag)

    async def stop(self) -> None:
        """Cancels the consumers; what they hold stays theirs. A broken connection delivers nothing more anyway."""
        for queue, tag in self.registered.values():
            error = await outcome(queue.cancel(tag), ANSWER_SECONDS)
            if isinstance(error, BaseException):
                log.info("consumer had gone already", queue=queue.name, error=str(error))
        self.registered.clear()

    async def close(self) -> None:
        """See `Session.close`."""
        await self.connection.close()


class _RabbitDelivery:
    """See `shared.bus.Delivery`."""

    def __init__(self, message: AbstractIncomingMessage, lane: Lane) -> None:
        self.body = message.body
        self.headers: Mapping[str, Any] = received(message.headers, f"{message.exchange}:{message.routing_key}")
        self.lane = lane
        self.redelivered = bool(message.redelivered)
        self._message = message

    async def ack(self) -> None:
        """See `Delivery.ack`."""
        await self._settle("ack", self._message.ack())

    async def requeue(self) -> None:
        """See `Delivery.requeue`."""
        await self._settle("requeue", self._message.nack(requeue=True))

    async def _settle(self, what: str, settling: Awaitable[None]) -> None:
        error = await outcome(settling, ANSWER_SECONDS)
        if isinstance(error, ENDED):
            log.info(f"{what} came too late, the message comes again", id=self._message.message_id, error=str(error))
        elif isinstance(error, BaseException):
            raise error


async def _deliver(consumer: _Consumer, message: AbstractIncomingMessage) -> None:
    await consumer.take(_RabbitDelivery(message, consumer.lane))


def _unpublished(one: _Outgoing, error: BaseException, failed: int, all: int) -> Unavailable:
    what = f"{one.headers.get('ce-type', 'A message')} to {one.exchange}:{one.key}"
    if isinstance(error, PublishError):
        why = "no queue takes it; start the service that consumes it, or run ./slidemill topology apply"
    elif isinstance(error, DeliveryError):
        why = "the broker refused it; its queue may be full"
    elif isinstance(error, TimeoutError):
        why = "the broker did not confirm it in time"
    else:
        why = f"the connection broke before it was confirmed ({type(error).__name__}: {str(error)[:200]})"
    return Unavailable(f"{what} is not published: {why}. {failed} of {all} messages failed.")
