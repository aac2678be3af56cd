"""Reading the journal, a stream queue, over AMQP 0-9-1 from a place in it up to its present end."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from shared.bus import topology as table
from shared.bus.journal import Entry
from shared.bus.link import outcome
from shared.bus.rabbit.connecting import ANSWER_SECONDS, BROKEN, connect, unavailable
from shared.errors import Unavailable

PREFETCH = 500
# A broker tells no stream's end: it is where nothing more comes of the last piece for so long.
QUIET_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
# The clocks of broker and services may differ by so much.
CLOCKS = timedelta(minutes=5)


class RabbitJournal:
    """See `shared.bus.journal.Journal`."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix

    async def read(self, since: datetime | None = None) -> AsyncGenerator[Entry, None]:
        """See `Journal.read`."""
        connection = await connect(self._url, f"{self._prefix} journal")
        try:
            end = await self._end(connection)
            if end is None:
                return
            tail = await self._from(connection, "first" if since is None else since - CLOCKS)
            message = await _next(tail, QUIET_SECONDS if since is not None else PATIENCE_SECONDS)
            if message is None and since is not None:
                # Nothing was published since, or the broker is slow: only the whole tells.
                tail = await self._from(connection, "first")
                message = await _next(tail, PATIENCE_SECONDS)
            while message is not None:
                offset = _offset(message)
                yield Entry.read(offset, message.headers, message.body)
                await message.ack()
                if offset >= end:
                    return
                message = await _next(tail, PATIENCE_SECONDS)
            raise Unavailable(f"The journal could not be read to its end: nothing came for {PATIENCE_SECONDS:.0f} s.")
        except BROKEN as error:
            raise unavailable("The journal can't be read", error) from error
        finally:
            await outcome(connection.close(), ANSWER_SECONDS)

    async def _end(self, connection: AbstractConnection) -> int | None:
        """The offset of the newest entry; None of an empty journal, or of one that was never made."""
        try:
            tail = await self._from(connection, "last")
        except ChannelNotFoundEntity:
            return None
        end = None
        while (message := await _next(tail, QUIET_SECONDS)) is not None:
            end = _offset(message)
            await message.ack()
        return end

    async def _from(
        self, connection: AbstractConnection, offset: str | datetime
    ) -> "asyncio.Queue[AbstractIncomingMessage]":
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.declare_queue(table.journal_queue(self._prefix), passive=True)
        came: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        await queue.consume(came.put, arguments={"x-stream-offset": offset})
        return came


async def _next(tail: "asyncio.Queue[AbstractIncomingMessage]", seconds: float) -> AbstractIncomingMessage | None:
    try:
        async with asyncio.timeout(seconds):
            return await tail.get()
    except TimeoutError:
        return None


def _offset(message: AbstractIncomingMessage) -> int:
    offset = message.headers["x-stream-offset"]
    if not isinstance(offset, int):
        raise RuntimeError(f"the broker gave a stream offset that is none: {offset!r}")
    return offset
