"""The dead letters on RabbitMQ: read without acknowledging, so that closing the connection gives every one back.

Each look counts as a delivery; the queue's own limit, a million, is made for that.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from shared.bus import topology as table
from shared.bus.letters import HeldLetter, Letter
from shared.bus.link import outcome
from shared.bus.rabbit.bus import RabbitBus
from shared.bus.rabbit.connecting import ANSWER_SECONDS, BROKEN, answered, connect, unavailable


class RabbitDeadLetters:
    """See `shared.bus.letters.DeadLetters`. It reads on a connection of its own and publishes through the bus."""

    def __init__(self, url: str, prefix: str, bus: RabbitBus) -> None:
        self._url = url
        self._prefix = prefix
        self._bus = bus

    async def each(self, stage: str) -> AsyncGenerator[HeldLetter, None]:
        """See `DeadLetters.each`."""
        connection = await connect(self._url, f"{self._prefix} dead letters")
        try:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(table.dead_queue(self._prefix, stage), passive=True)
            # No further than what lies there now: what is sent again may die again meanwhile.
            for _ in range(queue.declaration_result.message_count or 0):
                message = await queue.get(no_ack=False, fail=False, timeout=ANSWER_SECONDS)
                if message is None:
                    return
                yield _RabbitLetter(message, Letter.read(stage, message.headers, message.body))
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


@dataclass(frozen=True)
class _RabbitLetter:
    """See `shared.bus.letters.HeldLetter`."""

    message: AbstractIncomingMessage
    letter: Letter

    async def remove(self) -> None:
        """See `HeldLetter.remove`. The broker does not answer an ack; on a broken connection the letter stays."""
        await answered("A dead letter could not be removed", self.message.ack())
