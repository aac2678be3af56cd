"""How the levels above the base are divided into blocks, and what a whole pyramid must hold. Pure arithmetic."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from shared.store.documents import Block, BlockId, Version
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.sparse import sparse_per_level, unpack

FOLDED_SIDE = 4096
FEW_BLOCKS = 4
THUMBNAIL_SIDE = 1024


def steps(geometry: Geometry) -> int:
    """How many levels one block climbs: its square is 2 to that power of tiles wide, at most 4096 pixels."""
    return max(1, (FOLDED_SIDE // geometry.tile).bit_length() - 1)


def squares(geometry: Geometry, level: int) -> list[Rect]:
    """The aligned squares that cover `level`, clipped to its grid, row by row."""
    cols, rows = geometry.grid(level)
    side = 1 << steps(geometry)
    return [
        Rect(level=level, top=top, left=left, bottom=min(top + side, rows), right=min(left + side, cols))
        for top in range(0, rows, side)
        for left in range(0, cols, side)
    ]


def _square_count(geometry: Geometry, level: int) -> int:
    cols, rows = geometry.grid(level)
    side = 1 << steps(geometry)
    return -(-cols // side) * -(-rows // side)


def folded_levels(geometry: Geometry, rect: Rect) -> range:
    """The levels that a square is folded into."""
    return range(rect.level + 1, min(rect.level + steps(geometry), geometry.levels - 1) + 1)


def folded_tiles(geometry: Geometry, rect: Rect) -> int:
    """How many tile positions a square fills on the levels above it."""
    count = 0
    top, left, bottom, right = rect.top, rect.left, rect.bottom, rect.right
    for _ in folded_levels(geometry, rect):
        top, left, bottom, right = top // 2, left // 2, (bottom + 1) // 2, (right + 1) // 2
        count += (bottom - top) * (right - left)
    return count


def plan(version: Version, geometry: Geometry, issued: datetime) -> list[Block]:
    """Every fold block of a pyramid, round by round, numbered from 0; none for a slide of one tile."""
    blocks: list[Block] = []
    for round, level in enumerate(range(0, geometry.levels - 1, steps(geometry))):
        for rect in squares(geometry, level):
            id = BlockId(image=version.id.image, version=version.id.n, stage="fold", n=len(blocks))
            blocks.append(Block(id=id, rect=rect, tiles=folded_tiles(geometry, rect), round=round, issued=issued))
    return blocks


def round_of(geometry: Geometry, n: int) -> int:
    """The round that block number `n` of a plan belongs to."""
    round = 0
    for level in range(0, geometry.levels - 1, steps(geometry)):
        n -= _square_count(geometry, level)
        if n < 0:
            break
        round += 1
    return round


def feeding(geometry: Geometry, block: Block) -> list[tuple[Position, BlockId]]:
    """For a block past round 0: each position of its square and the block of the round before that holds it as root."""
    step = steps(geometry)
    first = 0
    for level in range(0, (block.round - 1) * step, step):
        first += _square_count(geometry, level)
    cols = geometry.grid(block.rect.level - step)[0]
    across = -(-cols // (1 << step))
    return [
        (position, block.id.model_copy(update={"n": first + position.row * across + position.col}))
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
