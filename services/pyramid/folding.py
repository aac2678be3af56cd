"""Folding one block: tiles in, acknowledged tiles of the levels above out, the pixels in a decoder child."""

from services.pyramid import core, pixels
from shared.decoding import Decoders
from shared.errors import RetryLater
from shared.store import In, Store
from shared.store.documents.blocks import Block
from shared.store.documents.versions import Version
from shared.tiles import Tiles
from shared.tiles.geometry import Geometry, Position
from shared.tiles.keys import split_key, square_range
from shared.tiles.squares import rounds
from shared.tiles.writer import TileWriter, store_made

BLOCK_SECONDS = 120.0


async def fold(block: Block, version: Version, *, store: Store, tiles: Tiles, decoders: Decoders) -> bytes | None:
    """Stores every tile that the block folds into; returns its root, None where there is none (see `Square.fold`)."""
    geometry, recipe = version.geometry, version.recipe
    if geometry is None or recipe is None:
        raise RuntimeError(f"block {block.id} was planned without a geometry")
    round = rounds(geometry, version.climb)[block.round]
    raw = block.round > 0
    inputs = await (_roots(block, version, geometry, store) if raw else _base_tiles(block, round.climb, tiles))
    async with TileWriter(tiles) as writer:
        batches = decoders.stream(
            pixels.fold,
            block.rect,
            [position for position, _ in inputs],
            geometry,
            recipe,
            round.climb,
            raw,
            inputs=[data for _, data in inputs],
            seconds=BLOCK_SECONDS,
        )
        return await store_made(batches, block, writer)


async def _base_tiles(block: Block, climb: int, tiles: Tiles) -> list[tuple[Position, bytes]]:
    corner = Position(0, block.rect.top, block.rect.left)
    keys = square_range(block.id.image, block.id.version, corner, 1 << climb)
    return [(split_key(tile.key)[2], tile.data) async for tile in tiles.scan(keys)]


async def _roots(block: Block, version: Version, geometry: Geometry, store: Store) -> list[tuple[Position, bytes]]:
    feeding = core.feeding(geometry, version.climb, block)
    below = {fed.id: fed for fed in await store.blocks.find({"_id": In([id.model_dump() for _, id in feeding])})}
    if any(id not in below or not below[id].done for _, id in feeding):
        raise RetryLater(f"block {block.id.n} waits for blocks of the round before it")
    return [(position, root) for position, id in feeding if (root := below[id].root) is not None]
