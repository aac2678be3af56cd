"""Every collection in this process's memory."""

from shared.store import Store
from shared.store.memory.collection import MemoryCollection


class MemoryStore(Store):
    """See `shared.store.Store`."""

    def __init__(self) -> None:
        super().__init__(MemoryCollection)

    async def prepare(self) -> None:
        """See `Store.prepare`."""

    async def free_bytes(self) -> int | None:
        """See `Store.free_bytes`."""
        return None

    async def ping(self) -> None:
        """See `Store.ping`."""
