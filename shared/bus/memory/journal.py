"""The journal in the broker's memory."""

from collections.abc import AsyncGenerator
from datetime import datetime

from shared.bus import Message
from shared.bus.envelope import encode
from shared.bus.journal import Entry
from shared.bus.memory.broker import MemoryBroker


class MemoryJournal:
    """The journal of a `MemoryBroker`. See `shared.bus.journal.Journal`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def read(self, since: datetime | None = None) -> AsyncGenerator[Entry, None]:
        """See `Journal.read`."""
        for offset, event in enumerate(list(self._broker.journal)):
            yield Entry(offset, encode(Message(event))[0], event)
