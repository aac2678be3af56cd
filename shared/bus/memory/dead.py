"""The dead letters in the broker's memory."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.bus import topology as table
from shared.bus.letters import HeldLetter, Letter
from shared.bus.memory.broker import PREFIX, MemoryBroker, Stored


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
        queue = table.stage_queue(PREFIX, stage, "bulk")
        self._broker.put(queue, Stored(headers, body, f"{table.stages_exchange(PREFIX)}:{queue}"))

    async def bury(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """See `DeadLetters.bury`."""
        self._broker.dead[stage].append(Stored(headers, body, f"{table.dead_exchange(PREFIX)}:{stage}"))


@dataclass(frozen=True)
class _MemoryLetter:
    """See `shared.bus.letters.HeldLetter`."""

    queue: list[Stored]
    stored: Stored
    letter: Letter

    async def remove(self) -> None:
        """See `HeldLetter.remove`."""
        self.queue[:] = [other for other in self.queue if other is not self.stored]
