"""The squares in which the levels above the base are made, round by round. Pure arithmetic.

A square of tiles that is 2 to the power of its round's `climb` wide, and aligned to that, becomes one tile that many
levels higher: its root. The next round folds squares of roots.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.versions import VersionId
from shared.tiles.geometry import Geometry, Position, Rect

FOLDED_SIDE = 4096
ROOT: Literal["root"] = "root"

# What comes of a square: encoded tiles by their places, and its root.
Made = tuple[Position | Literal["root"], bytes]


class Round(NamedTuple):
    """One round: its squares lie on `level` and are folded into the next `climb` levels; `first` is its first block."""

    level: int
    climb: int
    first: int


def steps(geometry: Geometry) -> int:
    """How many levels a square of at most 4096 pixels climbs."""
    return max(1, (FOLDED_SIDE // geometry.tile).bit_length() - 1)


def rounds(geometry: Geometry, climb: int | None = None) -> list[Round]:
    """Every round of a pyramid; none for a slide of one tile.

    `climb` is that of the first round where the dicer folds what it cuts; all others are of `steps`.
    """
    all: list[Round] = []
    level, step, first = 0, climb or steps(geometry), 0
    while level < geometry.levels - 1:
        all.append(Round(level, step, first))
        cols, rows = grid(geometry, all[-1])
        first += cols * rows
        level, step = level + step, steps(geometry)
    return all


def grid(geometry: Geometry, round: Round) -> tuple[int, int]:
    """(columns, rows) of a round's squares."""
    cols, rows = geometry.grid(round.level)
    side = 1 << round.climb
    return -(-cols // side), -(-rows // side)


def squares(geometry: Geometry, round: Round, rect: Rect | None = None) -> Iterator[Rect]:
    """The round's squares row by row: all of them, or those of which an aligned `rect` of its level is made."""
    cols, rows = geometry.grid(round.level)
    rect = rect or Rect(level=round.level, top=0, left=0, bottom=rows, right=cols)
    side = 1 << round.climb
    for top in range(rect.top, rect.bottom, side):
        for left in range(rect.left, rect.right, side):
            yield Rect(
                level=round.level, top=top, left=left, bottom=min(top + side, rows), right=min(left + side, cols)
            )


def folded_levels(geometry: Geometry, rect: Rect, climb: int) -> range:
    """The levels that a square is folded into."""
    return range(rect.level + 1, min(rect.level + climb, geometry.levels - 1) + 1)


def folded_tiles(geometry: Geometry, rect: Rect, climb: int) -> int:
    """How many tile positions a square fills on the levels above it."""
    count = 0
    top, left, bottom, right = rect.top, rect.left, rect.bottom, rect.right
    for _ in folded_levels(geometry, rect, climb):
        top, left, bottom, right = top // 2, left // 2, (bottom + 1) // 2, (right + 1) // 2
        count += (bottom - top) * (right - left)
    return count


def fold_block(
    version: VersionId, geometry: Geometry, number: int, round: Round, rect: Rect, issued: datetime
) -> Block:
    """The block that folds one square of round `number`, still to be done."""
    across = grid(geometry, round)[0]
    n = round.first + (rect.top >> round.climb) * across + (rect.left >> round.climb)
    return Block(
        id=BlockId(image=version.image, version=version.n, stage="fold", n=n),
        rect=rect,
        tiles=folded_tiles(geometry, rect, round.climb),
        round=number,
        issued=issued,
    )
