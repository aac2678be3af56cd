"""Tiles in MongoDB: collection `tiles`, one document `{_id: key, d: JPEG file}` each."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from shared.mongo import MAJORITY, create_uncompressed, only_duplicates, translated
from shared.tiles import Tile
from shared.tiles.keys import KeyRange

if TYPE_CHECKING:
    from shared.mongo import Client

BATCH_BYTES = 8 * 2**20
BATCH_TILES = 1000
IN_FLIGHT = 2
# About 16 MiB of 256-pixel tiles, which is also the most that the server answers at once.
SCAN_TILES = 1000
GET_TILES = 64


def batches(tiles: Sequence[Tile]) -> Iterator[Sequence[Tile]]:
    """Slices of at most `BATCH_TILES` tiles and `BATCH_BYTES` of data, or of one tile that is larger. Pure."""
    start, held = 0, 0
    for index, tile in enumerate(tiles):
        size = len(tile.data)
        if index > start and (held + size > BATCH_BYTES or index - start == BATCH_TILES):
            yield tiles[start:index]
            start, held = index, 0
        held += size
    if start < len(tiles):
        yield tiles[start:]


def _within(keys: KeyRange) -> dict[str, Any]:
    return {"_id": {"$gte": keys.first, "$lte": keys.last}}


class MongoTiles:
    """See `shared.tiles.Tiles`."""

    def __init__(self, client: "Client", database: str) -> None:
        self._database = client[database]
        self._tiles = self._database["tiles"]
        self._wanted: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._fetching: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Makes the collection, without compression since JPEG has its own. Harmless when repeated."""
        await create_uncompressed(self._database, "tiles")

    async def put(self, tiles: Sequence[Tile]) -> None:
        """See `Tiles.put`."""
        slots = asyncio.Semaphore(IN_FLIGHT)
        await asyncio.gather(*(self._insert(batch, slots) for batch in batches(tiles)))

    async def _insert(self, batch: Sequence[Tile], slots: asyncio.Semaphore) -> None:
        # The bare command, since of repeated keys the driver's `insert_many` makes an error that spells out every
        # document, which takes ten times as long as writing them.
        async with slots:
            documents = [{"_id": key, "d": data} for key, data in batch]
            with translated():
                answer = await self._database.command(
                    {"insert": "tiles", "documents": documents, "ordered": False, "writeConcern": MAJORITY.document}
                )
        concern = answer.get("writeConcernError")
        only_duplicates(answer.get("writeErrors", ()), [concern] if concern else ())

    async def get(self, key: bytes) -> bytes | None:
        """See `Tiles.get`. What is asked for while a read is under way is read together, for a fifth of the work."""
        wanted = self._wanted.setdefault(key, asyncio.get_running_loop().create_future())
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        return await asyncio.shield(wanted)

    async def _fetch(self) -> None:
        while self._wanted:
            keys = list(self._wanted)[:GET_TILES]
            wanted = {key: self._wanted.pop(key) for key in keys}
            try:
                with translated():
                    found = await self._tiles.find({"_id": {"$in": keys}}).to_list(None)
            except Exception as error:
                for future in wanted.values():
                    future.set_exception(error)
                    future.exception()  # nobody may be waiting any more
                continue
            data = {document["_id"]: document["d"] for document in found}
            for key, future in wanted.items():
                future.set_result(data.get(key))

    async def scan(self, keys: KeyRange) -> AsyncIterator[Tile]:
        """See `Tiles.scan`."""
        cursor = self._tiles.find(_within(keys), sort=[("_id", 1)], batch_size=SCAN_TILES)
        try:
            while True:
                # Whole batches: waiting for each tile takes longer than the tile, and raw batches are slower still.
                with translated():
                    found = await cursor.to_list(SCAN_TILES)
                if not found:
                    return
                for document in found:
                    yield Tile(document["_id"], document["d"])
        finally:
            await cursor.close()

    async def count(self, keys: KeyRange) -> int:
        """See `Tiles.count`."""
        with translated():
            return await self._tiles.count_documents(_within(keys))

    async def delete(self, keys: KeyRange) -> int:
        """See `Tiles.delete`."""
        with translated():
            return (await self._tiles.delete_many(_within(keys))).deleted_count
