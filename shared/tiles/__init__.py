"""The tile store's port: write-once encoded tiles under ordered keys."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from shared.tiles.keys import KeyRange


class Tile(NamedTuple):
    """An encoded tile (a whole JPEG file) under its key."""

    key: bytes
    data: bytes


class Tiles(Protocol):
    """Write-once: the first bytes under a key stay for ever, a second put of the key changes nothing."""

    async def put(self, tiles: Sequence[Tile]) -> None:
        """Stores them acknowledged by majority and journal, in unordered batches of at most 8 MiB.

        Raises `Unavailable` when the store can't be reached; some may then be stored, and putting again is harmless.
        """
        ...

    async def get(self, key: bytes) -> bytes | None:
        """One tile's bytes, or None."""
        ...

    def scan(self, keys: KeyRange) -> AsyncIterator[Tile]:
        """The stored tiles of a range in key order."""
        ...

    async def count(self, keys: KeyRange) -> int:
        """How many tiles of a range are stored."""
        ...

    async def delete(self, keys: KeyRange) -> int:
        """Removes a range; returns how many tiles went."""
        ...
