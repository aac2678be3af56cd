"""Tiles in this process's memory, for tests of whole pipelines."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence

from shared.tiles import Tile
from shared.tiles.keys import KeyRange


class MemoryTiles:
    """See `shared.tiles.Tiles`."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    async def put(self, tiles: Sequence[Tile]) -> None:
        """See `Tiles.put`."""
        for key, data in tiles:
            if key not in self._data:
                self._data[key] = data
                insort(self._keys, key)

    async def get(self, key: bytes) -> bytes | None:
        """See `Tiles.get`."""
        return self._data.get(key)

    async def scan(self, keys: KeyRange) -> AsyncIterator[Tile]:
        """See `Tiles.scan`."""
        for key in self._within(keys):
            data = self._data.get(key)
            if data is not None:
                yield Tile(key, data)

    async def count(self, keys: KeyRange) -> int:
        """See `Tiles.count`."""
        return len(self._within(keys))

    async def delete(self, keys: KeyRange) -> int:
        """See `Tiles.delete`."""
        gone = self._within(keys)
        for key in gone:
            del self._data[key]
        first = bisect_left(self._keys, keys.first)
        del self._keys[first : first + len(gone)]
        return len(gone)

    def _within(self, keys: KeyRange) -> list[bytes]:
        return self._keys[bisect_left(self._keys, keys.first) : bisect_right(self._keys, keys.last)]
