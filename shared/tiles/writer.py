"""Writing tiles while the next ones are still being made."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType

from shared.store.documents.blocks import Block
from shared.tiles import Tile, Tiles
from shared.tiles.keys import tile_key
from shared.tiles.squares import ROOT, Made

BATCH_BYTES = 4 * 2**20
BATCH_TILES = 500
IN_FLIGHT = 2


class TileWriter:
    """Collects tiles into batches and keeps at most `IN_FLIGHT` of them on their way to the store.

    As an async context manager: leaving it without an error means that every tile added is acknowledged; the first
    error of a batch is raised by the next `add` that sends one, or on leaving. Several tasks may add at once.
    """

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self._batch: list[Tile] = []
        self._bytes = 0
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._puts: set[asyncio.Task[None]] = set()

    async def add(self, key: bytes, data: bytes) -> None:
        """Takes one tile; waits only while too much is in flight."""
        self._batch.append(Tile(key, data))
        self._bytes += len(data)
        if self._bytes >= BATCH_BYTES or len(self._batch) >= BATCH_TILES:
            await self._send()

    async def _send(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        await self._free.acquire()
        self._puts.add(asyncio.create_task(self._put(batch)))
        for put in [put for put in self._puts if put.done()]:
            self._puts.remove(put)
            put.result()

    async def _put(self, batch: list[Tile]) -> None:
        try:
            await self._tiles.put(batch)
        finally:
            self._free.release()

    async def __aenter__(self) -> "TileWriter":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if self._batch:
                    await self._send()
                await asyncio.gather(*self._puts)
        finally:
            for put in self._puts:
                put.cancel()
            await asyncio.gather(*self._puts, return_exceptions=True)


async def store_made(batches: AsyncGenerator[Sequence[Made], None], block: Block, writer: TileWriter) -> bytes | None:
    """Gives what a decoder child makes of a block to the writer; returns the root, None where there is none."""
    root: bytes | None = None
    async with aclosing(batches):
        async for batch in batches:
            for position, data in batch:
                if position == ROOT:
                    root = data
                else:
                    await writer.add(tile_key(block.id.image, block.id.version, position), data)
    return root
