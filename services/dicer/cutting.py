"""Cutting one block: bytes from the file store in, acknowledged tiles out, the pixels in a decoder child."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from services.dicer import pixels
from services.dicer.core import (
    BY_TILE,
    COPYING,
    READ_GAP,
    SPAN_GAP,
    Extent,
    Read,
    damaged,
    interior,
    reads,
    tile_counts,
    unpack_extents,
)
from services.dicer.folding import Folded, Folding, Turns
from services.dicer.pieces import Pieces
from shared.blobs import Blobs
from shared.decoding import Decoders
from shared.errors import Reject
from shared.slides.coding import Coding
from shared.slides.jpeg import Assembler, NotBaseline
from shared.store.documents.blocks import Block
from shared.store.documents.versions import Recipe, Source, Version
from shared.tiles import Tiles
from shared.tiles.geometry import Geometry, Position
from shared.tiles.keys import tile_key
from shared.tiles.writer import TileWriter, store_made
from shared.unpacking import opened

BLOCK_SECONDS = 120.0
# Under what one delivery may take (`shared.bus.limits`).
WHOLE_IMAGE_SECONDS = 20 * 60.0
# Of a picture that is read from top to bottom, so many lines are in memory at a time.
_LINES = 1300
# To turn a picture, libvips decodes it into a file first: colours and alpha of 16 bits, and room for its metadata.
_PIXEL_BYTES = 9


class Cut(NamedTuple):
    """What came of a block: the positions that have no tile in the source, and the squares that were folded."""

    missing: set[Position]
    squares: Sequence[Folded]


class _Plan(NamedTuple):
    """What a version's plan says, known to be there."""

    version: Version
    source: Source
    geometry: Geometry
    recipe: Recipe

    @property
    def whole(self) -> bool:
        """Whether its only block is the whole picture, read from top to bottom."""
        return self.source.reader == "vips-sequential"

    @property
    def in_memory(self) -> int:
        """About how many pixels of such a picture are in memory at a time."""
        if not self.whole:
            return 0
        height = self.geometry.height
        # Plans of before there were held ones don't say.
        return self.geometry.width * (height if self.source.layout.get("held") else min(height, _LINES))


async def cut(block: Block, version: Version, *, blobs: Blobs, tiles: Tiles, decoders: Decoders, turns: Turns) -> Cut:
    """Stores every tile of the block, and where the plan says so those above them.

    Raises `Reject` for damaged data, `DecoderDied` when a child did not survive it.
    """
    source, geometry, recipe = version.source, version.geometry, version.recipe
    if source is None or geometry is None or recipe is None:
        raise RuntimeError(f"block {block.id} was planned without a source")
    plan = _Plan(version, source, geometry, recipe)
    async with TileWriter(tiles) as writer:
        if source.reader not in BY_TILE:
            async with turns.picture(plan.in_memory):
                return Cut(set(), await _regions(block, plan, writer, blobs, decoders))
        extents = unpack_extents(block.extents or b"")
        if version.climb is not None:
            async with turns.held(sum(extent.length for extent in extents)):
                squares = await _fold(block, plan, version.climb, extents, writer, blobs, decoders, turns)
        else:
            squares = []
            by_tile = _copy if source.reader in COPYING else _decode
            await by_tile(block, plan, extents, writer, blobs, decoders)
    missing = {position for position, extent in zip(block.rect.positions(), extents, strict=True) if not extent.length}
    return Cut(missing, squares)


async def _regions(block: Block, plan: _Plan, writer: TileWriter, blobs: Blobs, decoders: Decoders) -> Sequence[Folded]:
    """What OpenSlide or libvips read by region, or from top to bottom."""
    version, source, geometry, recipe = plan
    if source.layout.get("piped"):
        batches = decoders.stream(
            pixels.cut_fed,
            version.name,
            block.rect,
            geometry,
            recipe,
            feed=blobs.stream(version.file),
            seconds=WHOLE_IMAGE_SECONDS,
        )
        await store_made(batches, block, writer)
        return []
    async with opened(version, source, blobs=blobs, decoders=decoders) as path:
        if source.reader in ("openslide", "czi"):
            batches = decoders.stream(
                pixels.cut_czi if source.reader == "czi" else pixels.cut_openslide,
                str(path),
                version.name,
                block.rect,
                geometry,
                recipe,
                version.climb,
                seconds=BLOCK_SECONDS,
            )
        else:
            whole = plan.whole
            batches = decoders.stream(
                pixels.cut_vips,
                str(path),
                version.name,
                block.rect,
                geometry,
                recipe,
                source.layout,
                whole,
                version.climb,
                seconds=WHOLE_IMAGE_SECONDS if whole else BLOCK_SECONDS,
                writes=geometry.width * geometry.height * _PIXEL_BYTES if whole else 0,
            )
        root = await store_made(batches, block, writer)
    return [] if version.climb is None else [Folded(block.rect, root)]


async def _fold(
    block: Block,
    plan: _Plan,
    climb: int,
    extents: Sequence[Extent],
    writer: TileWriter,
    blobs: Blobs,
    decoders: Decoders,
    turns: Turns,
) -> Sequence[Folded]:
    """What is read tile by tile, folded while it comes."""
    version, source, geometry, recipe = plan
    counts = tile_counts(geometry, climb, block.rect, extents)
    if source.reader not in COPYING:
        coded = await _coded(plan, blobs)
        async with Folding(
            block, climb, counts, writer, decoders, turns, pixels.cut_by_tile, geometry, recipe, climb, *coded
        ) as folding:
            async with turns.reading:
                async for position, data in _sliced(blobs, version.file, reads(block.rect, extents, SPAN_GAP)):
                    folding.add(position, data)
        return folding.squares
    cols, rows = interior(geometry)
    async with Folding(
        block, climb, counts, writer, decoders, turns, pixels.fold_copied, geometry, recipe, climb
    ) as folding:
        async with turns.reading:
            async for position, tile in _assembled(plan, reads(block.rect, extents, SPAN_GAP), blobs):
                if position.row < rows and position.col < cols:
                    await writer.add(tile_key(block.id.image, block.id.version, position), tile)
                folding.add(position, tile)
    return folding.squares


async def _copy(
    block: Block, plan: _Plan, extents: Sequence[Extent], writer: TileWriter, blobs: Blobs, decoders: Decoders
) -> None:
    """Copies the source's own JPEG data: interior tiles as they are, edge tiles cropped and encoded again."""
    geometry = plan.geometry
    cols, rows = interior(geometry)
    edges: list[tuple[Position, bytes]] = []
    async for position, tile in _assembled(plan, reads(block.rect, extents, READ_GAP), blobs):
        if position.row < rows and position.col < cols:
            await writer.add(tile_key(block.id.image, block.id.version, position), tile)
        else:
            edges.append((position, tile))
    if edges:
        batches = decoders.stream(
            pixels.crop_tiles,
            [(position, *geometry.tile_size(position)) for position, _ in edges],
            plan.recipe,
            inputs=[tile for _, tile in edges],
            seconds=BLOCK_SECONDS,
        )
        await store_made(batches, block, writer)


async def _decode(
    block: Block, plan: _Plan, extents: Sequence[Extent], writer: TileWriter, blobs: Blobs, decoders: Decoders
) -> None:
    """Decodes the source's own tiles, each once, and encodes them as they are laid out."""
    present = [found async for found in _sliced(blobs, plan.version.file, reads(block.rect, extents, READ_GAP))]
    batches = decoders.stream(
        pixels.cut_by_tile,
        block.rect,
        [position for position, _ in present],
        plan.geometry,
        plan.recipe,
        None,
        *await _coded(plan, blobs),
        inputs=[data for _, data in present],
        seconds=BLOCK_SECONDS,
    )
    await store_made(batches, block, writer)


async def _coded(plan: _Plan, blobs: Blobs) -> tuple[Coding, bool, bytes | None]:
    """How tiles that are decoded one by one are coded, and the ICC profile of their colours."""
    layout = plan.source.layout
    profile = await blobs.read(plan.version.file, *layout["profile"]) if layout["profile"] else None
    # Plans of before there was another coding don't say.
    return layout.get("coding", "jpeg2000"), layout.get("differences", False), profile


async def _assembled(plan: _Plan, wanted: Sequence[Read], blobs: Blobs) -> AsyncIterator[tuple[Position, bytes]]:
    """Each of the block's JPEG tiles as a file that stands alone, in file order."""
    layout = plan.source.layout
    assemble = Assembler(tables=layout["tables"], adobe_transform=layout["adobe_transform"], tile=plan.geometry.tile)
    async for position, data in _sliced(blobs, plan.version.file, wanted):
        try:
            tile = assemble(data)
        except NotBaseline as error:
            raise Reject(
                f"The tile in row {position.row}, column {position.col} of the slide is {error.kind}, and others are "
                "baseline JPEG, which are copied as they are.",
                "Export the slide once more with all of its tiles as baseline JPEG, and upload that.",
            ) from error
        except ValueError as error:
            raise damaged(position, str(error)) from error
        yield position, tile


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
