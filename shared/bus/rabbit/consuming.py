"""Consuming by lane, on one connection."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue

from shared.bus import Delivery
from shared.bus import topology as table
from shared.bus.envelope import received
from shared.bus.link import outcome
from shared.bus.rabbit.connecting import ANSWER_SECONDS, ENDED, connect, furnish, kept_if_made, watch
from shared.events import Lane

log = structlog.get_logger()


@dataclass(frozen=True)
class Subscription:
    """One queue of a stage that this process consumes, and what is called for each delivery."""

    stage: str
    lane: Lane
    prefetch: int
    take: Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True)
class Consuming:
    """A connection with its consumers: queue and consumer tag of each."""

    connection: AbstractConnection
    broken: asyncio.Event
    prefix: str
    registered: dict[tuple[str, Lane], tuple[AbstractQueue, str]]

    async def register(self, subscription: Subscription) -> None:
        """Declares the stage's queues and lets one of them call the subscription."""
        channel = await self.connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=subscription.prefetch)
        await furnish(channel, table.exchanges(self.prefix), table.stage_queues(self.prefix, subscription.stage))
        await watch(self.connection, channel, self.broken)
        queue = await channel.get_queue(
            table.stage_queue(self.prefix, subscription.stage, subscription.lane), ensure=False
        )
        tag = await queue.consume(partial(_deliver, subscription))
        self.registered[subscription.stage, subscription.lane] = (queue, tag)

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


async def open_consuming(url: str, prefix: str, subscriptions: Iterable[Subscription]) -> Consuming:
    """Connects, and subscribes to what is wanted by then. Raises `Unavailable` or `TopologyMismatch`."""
    connection = await connect(url, f"{prefix} consuming")
    async with kept_if_made(connection):
        consuming = Consuming(connection, asyncio.Event(), prefix, {})
        for subscription in list(subscriptions):
            await consuming.register(subscription)
        return consuming


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


async def _deliver(subscription: Subscription, message: AbstractIncomingMessage) -> None:
    await subscription.take(_RabbitDelivery(message, subscription.lane))
