"""Coming to a broker: connections, what is declared on them, whose prefix it is, and errors in slidemill's words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    AMQPError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ProbableAuthenticationError,
)
from aiormq.abc import AbstractChannel as Underlay

from shared.bus import topology as table
from shared.bus.link import outcome
from shared.errors import SlidemillError, Unavailable

# RabbitMQ 4.0 now and then takes five seconds to welcome a client, though it has nothing else to do.
CONNECT_SECONDS = 12.0
SET_UP_SECONDS = 20.0
ANSWER_SECONDS = 5.0
# RabbitMQ ends a connection that was silent for two of these, so does our side after three.
HEARTBEAT_SECONDS = 10

# The client raises RuntimeError for a channel that has gone.
BROKEN = (AMQPError, OSError, RuntimeError, TimeoutError)
ENDED = (*BROKEN, asyncio.CancelledError)

T = TypeVar("T")


class TopologyMismatch(SlidemillError):
    """The broker has something under one of our names, but not as the table says."""


class ForeignPrefix(SlidemillError):
    """The prefix belongs to another deployment."""


async def apply(url: str, prefix: str, claim: str) -> None:
    """Makes every exchange, queue and binding that is missing, and claims the prefix for the deployment of this id.

    Harmless when repeated. Raises `Unavailable`, or `TopologyMismatch` if something there is not as the table says.
    """
    connection = await connect(url, f"{prefix} topology")
    try:
        async with asyncio.timeout(SET_UP_SECONDS * 2):
            channel = await connection.channel()
            # The claim first: whoever finds the prefix finds the claim as well.
            await channel.declare_exchange(table.claim_exchange(prefix, claim), "fanout", durable=True)
            await furnish(channel, table.exchanges(prefix), table.queues(prefix))
    except BROKEN as error:
        raise unavailable("The topology could not be applied", error) from error
    finally:
        await outcome(connection.close(), ANSWER_SECONDS)


async def connect(url: str, name: str) -> AbstractConnection:
    """A connection that the broker's page shows under `name`; raises `Unavailable`."""
    try:
        return await aio_pika.connect(url, timeout=CONNECT_SECONDS, name=name, heartbeat=HEARTBEAT_SECONDS)
    except ProbableAuthenticationError as error:
        raise Unavailable(
            f"The broker at {_place(url)} refuses the user or password, or the user may not use this virtual host: "
            f"check SLIDEMILL_AMQP."
        ) from error
    except BROKEN as error:
        raise unavailable(f"The broker at {_place(url)} can't be reached", error) from error


def _place(url: str) -> str:
    """Host, port and virtual host, without the password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5672}{parts.path}"


async def watch(connection: AbstractConnection, channel: AbstractChannel, broken: asyncio.Event) -> None:
    """Sets `broken` when the connection, the channel or a consumer on it ends, whoever ended it."""

    def breaks(*_: object) -> None:
        broken.set()

    connection.close_callbacks.add(breaks)
    channel.close_callbacks.add(breaks)
    underlay: Underlay = await channel.get_underlay_channel()
    underlay.on_consumer_cancel_callbacks.add(breaks)


async def furnish(
    channel: AbstractChannel, exchanges: Iterable[table.Exchange], queues: Iterable[table.Queue]
) -> dict[str, AbstractExchange]:
    """Declares and binds; returns the exchanges by name."""
    made: dict[str, AbstractExchange] = {}
    name = ""
    try:
        for exchange in exchanges:
            name = exchange.name
            made[name] = await channel.declare_exchange(name, exchange.type, durable=True)
        for queue in queues:
            name = queue.name
            declared = await channel.declare_queue(name, durable=True, arguments=dict(queue.arguments))
            for binding in queue.bindings:
                await declared.bind(binding.exchange, binding.key)
    except ChannelPreconditionFailed as error:
        raise TopologyMismatch(
            f"{name} is on the broker already, but with other properties than slidemill's: let its messages be worked "
            f"off, delete it there and start again ({error})."
        ) from error
    return made


async def _exists(connection: AbstractConnection, exchange: str) -> bool:
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.declare_exchange(exchange, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def check_claim(connection: AbstractConnection, prefix: str, claim: str) -> None:
    """Claims a prefix that nobody has; raises `ForeignPrefix` if somebody else has it."""
    name = table.claim_exchange(prefix, claim)
    if await _exists(connection, name):
        return
    # Asked again after the prefix was seen: another process of ours may just be making both, the claim first.
    if await _exists(connection, table.events_exchange(prefix)) and not await _exists(connection, name):
        raise ForeignPrefix(
            f"The prefix {prefix} on this broker belongs to another deployment than this database: set "
            f"SLIDEMILL_PREFIX to a name of your own, or run ./slidemill topology apply if this database was restored."
        )
    channel = await connection.channel(publisher_confirms=False)
    await channel.declare_exchange(name, "fanout", durable=True)
    await channel.close()


async def answered(failed: str, question: Awaitable[T]) -> T:
    """What the broker answers in time; else raises `Unavailable`."""
    answer = await outcome(question, ANSWER_SECONDS)
    if isinstance(answer, ENDED):
        raise unavailable(failed, answer) from answer
    if isinstance(answer, BaseException):
        raise answer
    return answer


@asynccontextmanager
async def kept_if_made(connection: AbstractConnection) -> AsyncIterator[None]:
    """Closes the connection if anything that is to be made on it fails; then raises `Unavailable` if it broke."""
    try:
        yield
    except BROKEN as error:
        await outcome(connection.close(), ANSWER_SECONDS)
        raise unavailable("The broker could not be prepared", error) from error
    except BaseException:
        await outcome(connection.close(), ANSWER_SECONDS)
        raise


def unavailable(failed: str, error: BaseException) -> Unavailable:
    """The error for what could not be done because of this one."""
    return Unavailable(f"{failed} ({type(error).__name__}: {str(error)[:300]}).")
