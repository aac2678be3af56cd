"""The dead letters on RabbitMQ: read without acknowledging, so that closing the connection gives every one back.

Each look counts as a delivery; the queue's own limit, a million, is made for that.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from shared.bus import topology as table
from shared.bus.letters import HeldLetter, Letter
from shared.bus.link import outcome
from shared.bus.rabbit.bus import RabbitBus
from shared.bus.rabbit.connecting import ANSWER_SECONDS, BROKEN, answered, connect, unavailable

# Asked for one by one, letters come slowly; each is in memory until it is looked at, and may be of megabytes.
AHEAD = 8
LOOK_AGAIN_SECONDS = 0.05


class RabbitDeadLetters:
    """See `shared.bus.letters.DeadLetters`. It reads on a connection of its own and publishes through the bus."""

    def __init__(self, url: str, prefix: str, bus: RabbitBus) -> None:
        self._url = url
        self._prefix = prefix
        self._bus = bus

    async def each(self, stage: str) -> AsyncGenerator[HeldLetter, None]:
        """See `DeadLetters.each`."""
        connection = await connect(self._url, f"{self._prefix} dead letters")
        name = table.dead_queue(self._prefix, stage)
        held = _Held()
        try:
            # No further than what lies there now: what is sent again may die again meanwhile.
            count = await _ready(connection, name)
            channels = [await connection.channel(publisher_confirms=False) for _ in range(min(AHEAD, count))]
            queues = [await channel.get_queue(name, ensure=False) for channel in channels]
            getting: deque[asyncio.Task[AbstractIncomingMessage | None]] = deque()
            try:
                for number in range(count):
                    queue = queues[number % len(queues)]
                    getting.append(asyncio.create_task(queue.get(no_ack=False, fail=False, timeout=ANSWER_SECONDS)))
                    while getting and (len(getting) == len(queues) or number == count - 1):
                        message = await getting.popleft()
                        if message is not None:
                            held.count += 1
                            yield _RabbitLetter(message, Letter.read(stage, message.headers, message.body), held)
            finally:
                # Those on their way would only be broken off together with their channel.
                held.count += sum(
                    isinstance(message, AbstractIncomingMessage)
                    for message in await asyncio.gather(*getting, return_exceptions=True)
                )
                await outcome(_give_back(connection, channels, name, held.count), ANSWER_SECONDS)
        except ChannelNotFoundEntity:
            # No such service has ever run here.
            return
        except BROKEN as error:
            raise unavailable("The dead letters can't be read", error) from error
        finally:
            await outcome(connection.close(), ANSWER_SECONDS)

    async def send(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """See `DeadLetters.send`."""
        queue = table.stage_queue(self._prefix, stage, "bulk")
        await self._bus.put(table.stages_exchange(self._prefix), queue, headers, body)

    async def bury(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """See `DeadLetters.bury`."""
        await self._bus.put(table.dead_exchange(self._prefix), stage, headers, body)


async def _ready(connection: AbstractConnection, name: str) -> int:
    """How many letters wait in the queue; raises `ChannelNotFoundEntity` if there is none."""
    channel = await connection.channel(publisher_confirms=False)
    queue = await channel.declare_queue(name, passive=True)
    await channel.close()
    return queue.declaration_result.message_count or 0


async def _give_back(
    connection: AbstractConnection, channels: Iterable[AbstractChannel], name: str, count: int
) -> None:
    """Lets go of what is held and waits until it is back, so that whoever looks next sees it."""
    for channel in channels:
        await channel.close()
    while await _ready(connection, name) < count:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


@dataclass
class _Held:
    """How many letters one reader has and has not removed."""

    count: int = 0


@dataclass(frozen=True)
class _RabbitLetter:
    """See `shared.bus.letters.HeldLetter`."""

    message: AbstractIncomingMessage
    letter: Letter
    held: _Held

    async def remove(self) -> None:
        """See `HeldLetter.remove`. The broker does not answer an ack; on a broken connection the letter stays."""
        await answered("A dead letter could not be removed", self.message.ack())
        self.held.count -= 1
