"""How the levels above the base are divided into blocks, and what a whole pyramid must hold. Pure arithmetic."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.versions import Version
from shared.tiles.geometry import Geometry, Position
from shared.tiles.sparse import sparse_per_level, unpack
from shared.tiles.squares import fold_block, grid, rounds, squares

FEW_BLOCKS = 4
THUMBNAIL_SIDE = 1024


def plan(version: Version, geometry: Geometry, issued: datetime) -> list[Block]:
    """Every fold block of a pyramid, round by round, numbered from 0; none for a slide of one tile."""
    return [
        fold_block(version.id, geometry, number, round, rect, issued)
        for number, round in enumerate(rounds(geometry, version.climb))
        for rect in squares(geometry, round)
    ]


def round_of(geometry: Geometry, climb: int | None, n: int) -> int:
    """The round that block number `n` of a plan belongs to; `climb` as in `rounds`."""
    return sum(round.first <= n for round in rounds(geometry, climb)) - 1


def feeding(geometry: Geometry, climb: int | None, block: Block) -> list[tuple[Position, BlockId]]:
    """For a block past round 0: each position of its square and the block of the round before that holds it as root."""
    below = rounds(geometry, climb)[block.round - 1]
    across = grid(geometry, below)[0]
    return [
        (position, block.id.model_copy(update={"n": below.first + position.row * across + position.col}))
        for position in block.rect.positions()
    ]


def sparse_counts(geometry: Geometry, dice_blocks: Iterable[Block]) -> list[int]:
    """How many positions of each level rightly have no tile, from the bitmaps that the dicer recorded."""
    missing: set[Position] = set()
    for block in dice_blocks:
        missing |= unpack(block.rect, block.sparse)
    return sparse_per_level(geometry, missing)


def holes(geometry: Geometry, stored: Sequence[int], sparse: Sequence[int]) -> list[str]:
    """Each level whose count of tiles is not what its geometry demands, in words."""
    return [
        f"level {level} has {stored[level]} tiles and {sparse[level]} sparse ones of {geometry.tiles(level)}"
        for level in range(geometry.levels)
        if stored[level] + sparse[level] != geometry.tiles(level)
    ]


def thumbnail_level(geometry: Geometry) -> int:
    """The smallest stored level that still has the thumbnail's side in pixels, or full resolution."""
    level = geometry.levels - 1
    while level > 0 and max(geometry.size(level)) < THUMBNAIL_SIDE:
        level -= 1
    return level
