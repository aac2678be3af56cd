"""Documents in this process's memory, for tests of whole pipelines.

They are kept as BSON, so that what goes in and comes out is what MongoDB would make of it: copies, milliseconds, order.
"""

from shared.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
