"""Cutting one block: bytes from the file store in, acknowledged tiles out, the pixels in a decoder child."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from services.dicer import pixels
from services.dicer.core import BY_TILE, COPYING, Extent, Read, damaged, interior, reads, unpack_extents
from services.dicer.pieces import Pieces
from services.dicer.piping import piped
from shared.blobs import Blobs
from shared.decoding import Decoders
from shared.errors import Reject
from shared.slides.jpeg import Assembler
from shared.store.documents import Block, Recipe, Source, Version
from shared.tiles import Tiles
from shared.tiles.geometry import Geometry, Position
from shared.tiles.keys import tile_key
from shared.tiles.writer import TileWriter
from shared.unpacking import opened

BLOCK_SECONDS = 120.0
# Under the broker's 30 minutes for one delivery.
WHOLE_IMAGE_SECONDS = 20 * 60.0


async def cut(block: Block, version: Version, *, blobs: Blobs, tiles: Tiles, decoders: Decoders) -> set[Position]:
    """Stores every tile of the block; returns the positions that have none in the source.

    Raises `Reject` for damaged data, `DecoderDied` when a child did not survive it.
    """
    source, geometry, recipe = version.source, version.geometry, version.recipe
    if source is None or geometry is None or recipe is None:
        raise RuntimeError(f"block {block.id} was planned without a source")
    if source.reader in BY_TILE:
        by_tile = _copy if source.reader in COPYING else _decode
        return await by_tile(block, version, source, geometry, recipe, blobs=blobs, tiles=tiles, decoders=decoders)
    pipe = bool(source.layout.get("piped"))
    local = piped(blobs.stream(version.file)) if pipe else opened(version, source, blobs=blobs, decoders=decoders)
    async with local as path, TileWriter(tiles) as writer:
        if source.reader in ("openslide", "czi"):
            batches = decoders.stream(
                pixels.cut_czi if source.reader == "czi" else pixels.cut_openslide,
                str(path),
                version.name,
                block.rect,
                geometry,
                recipe,
                seconds=BLOCK_SECONDS,
            )
        else:
            whole = source.reader == "vips-sequential"
            batches = decoders.stream(
                pixels.cut_vips,
                str(path),
                version.name,
                block.rect,
                geometry,
                recipe,
                source.layout,
                whole,
                seconds=WHOLE_IMAGE_SECONDS if whole else BLOCK_SECONDS,
            )
        await _add(batches, block, writer)
    return set()


async def _copy(
    block: Block,
    version: Version,
    source: Source,
    geometry: Geometry,
    recipe: Recipe,
    *,
    blobs: Blobs,
    tiles: Tiles,
    decoders: Decoders,
) -> set[Position]:
    """Copies the source's own JPEG data: interior tiles as they are, edge tiles cropped and encoded again."""
    extents = unpack_extents(block.extents or b"")
    assemble = Assembler(
        tables=source.layout["tables"], adobe_transform=source.layout["adobe_transform"], tile=geometry.tile
    )
    cols, rows = interior(geometry)
    edges: list[tuple[Position, bytes]] = []
    async with TileWriter(tiles) as writer:
        async for position, data in _sliced(blobs, version.file, reads(block.rect, extents)):
            try:
                tile = assemble(data)
            except ValueError as error:
                raise damaged(position, error) from error
            if position.row < rows and position.col < cols:
                await writer.add(tile_key(block.id.image, block.id.version, position), tile)
            else:
                edges.append((position, tile))
        if edges:
            batches = decoders.stream(
                pixels.crop_tiles,
                [(position, *geometry.tile_size(position)) for position, _ in edges],
                recipe,
                inputs=[tile for _, tile in edges],
                seconds=BLOCK_SECONDS,
            )
            await _add(batches, block, writer)
    return _missing(block, extents)


async def _decode(
    block: Block,
    version: Version,
    source: Source,
    geometry: Geometry,
    recipe: Recipe,
    *,
    blobs: Blobs,
    tiles: Tiles,
    decoders: Decoders,
) -> set[Position]:
    """Decodes the source's own JPEG 2000 tiles, each once, and encodes them as they are laid out."""
    extents = unpack_extents(block.extents or b"")
    present = [found async for found in _sliced(blobs, version.file, reads(block.rect, extents))]
    profile = source.layout["profile"]
    async with TileWriter(tiles) as writer:
        batches = decoders.stream(
            pixels.decode_jpeg2000,
            [(position, *geometry.tile_size(position)) for position, _ in present],
            geometry.tile,
            recipe,
            await blobs.read(version.file, *profile) if profile else None,
            inputs=[data for _, data in present],
            seconds=BLOCK_SECONDS,
        )
        await _add(batches, block, writer)
    return _missing(block, extents)


async def _add(batches: AsyncGenerator[list[tuple[Position, bytes]], None], block: Block, writer: TileWriter) -> None:
    async with aclosing(batches):
        async for batch in batches:
            for position, tile in batch:
                await writer.add(tile_key(block.id.image, block.id.version, position), tile)


def _missing(block: Block, extents: Sequence[Extent]) -> set[Position]:
    return {position for position, extent in zip(block.rect.positions(), extents, strict=True) if not extent.length}


async def _sliced(blobs: Blobs, file: str, plan: Sequence[Read]) -> AsyncIterator[tuple[Position, bytes]]:
    """Each tile with its bytes, in file order; each chunk of the file is read once, while those before are handled."""
    for read in plan:
        pieces = Pieces(read.offset)
        wanted = deque(read.tiles)
        async for piece in blobs.stream(file, read.offset, read.length):
            pieces.add(piece)
            while wanted and sum(wanted[0][1]) <= pieces.end:
                position, extent = wanted.popleft()
                yield position, pieces.take(*extent)
        if wanted:
            raise Reject("The file ends before its tiles do.", "It was cut short: upload the whole file again.")
