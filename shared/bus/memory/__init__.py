"""The bus in this process's memory, with the lanes, delays and dead letters of the real one: for tests of pipelines.

Its topology is always applied: no message is unroutable. Time is an injected clock's.
"""

from shared.bus.memory.broker import MemoryBroker, Stored
from shared.bus.memory.bus import MemoryBus
from shared.bus.memory.dead import MemoryDeadLetters
from shared.bus.memory.journal import MemoryJournal

__all__ = ["MemoryBroker", "MemoryBus", "MemoryDeadLetters", "MemoryJournal", "Stored"]
