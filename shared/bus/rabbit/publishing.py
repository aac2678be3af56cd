"""Publishing with proof, and looking at queues, on one connection."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from shared.bus import topology as table
from shared.bus.envelope import CONTENT_TYPE
from shared.bus.link import Link
from shared.bus.rabbit.connecting import ENDED, check_claim, connect, furnish, kept_if_made, watch
from shared.errors import Unavailable

CONFIRM_SECONDS = 20.0
MOST_UNCONFIRMED = 256
# Far more than a message of a long batch needs.
SECONDS_PER_MESSAGE = 0.01


@dataclass(frozen=True)
class Outgoing:
    """A message and where it goes."""

    exchange: str
    key: str
    headers: Mapping[str, Any]
    body: bytes

    def message(self, id: str) -> aio_pika.Message:
        """The message, as the client takes it."""
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
class Publishing:
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


async def open_publishing(url: str, prefix: str, claim: str | None) -> Publishing:
    """Connects and declares what is published to, once the prefix is known to belong to `claim`.

    Raises `Unavailable`, `ForeignPrefix` or `TopologyMismatch`.
    """
    connection = await connect(url, f"{prefix} publishing")
    async with kept_if_made(connection):
        if claim is not None:
            await check_claim(connection, prefix, claim)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchanges = await furnish(channel, table.exchanges(prefix), table.shared_queues(prefix))
        broken = asyncio.Event()
        await watch(connection, channel, broken)
        return Publishing(connection, broken, exchanges)


class Publisher:
    """Publishes over a link with proof: every message mandatory, confirmed one by one, many on their way at a time."""

    def __init__(self, link: Link[Publishing]) -> None:
        self._link = link
        # At most one message of an id is on its way at a time: the client tells returned ones apart by id.
        self._on_the_way: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(MOST_UNCONFIRMED)

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Returns once the broker has confirmed every one; else raises `Unavailable`, naming one that failed."""
        if not outgoing:
            return
        publishing = await self._link.soon(CONFIRM_SECONDS)
        seconds = CONFIRM_SECONDS + SECONDS_PER_MESSAGE * len(outgoing)
        # A task for each: whatever the client does to a caller when the connection breaks, it does to these.
        outcomes = await asyncio.gather(
            *(self.publish_one(publishing, one, seconds) for one in outgoing), return_exceptions=True
        )
        failed = [(one, error) for one, error in zip(outgoing, outcomes, strict=True) if error is not None]
        if failed:
            one, error = failed[0]
            if not isinstance(error, ENDED):
                raise error
            raise _unpublished(one, error, len(failed), len(outgoing)) from error

    async def publish_one(self, publishing: Publishing, one: Outgoing, seconds: float) -> None:
        """Returns once the broker has confirmed it; raises what the client does where it has not."""
        name = str(one.headers.get("ce-id", ""))
        alone = self._on_the_way.setdefault(name, asyncio.Lock())
        async with asyncio.timeout(seconds), self._room, alone:
            exchange = publishing.exchanges[one.exchange]
            await exchange.publish(one.message(name), one.key, mandatory=True)


def _unpublished(one: Outgoing, error: BaseException, failed: int, all: int) -> Unavailable:
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
