"""Which positions of a pyramid have no tile because the source has none there. Pure.

A bitmap covers a rectangle of tiles row by row, most significant bit first; a set bit says that there is no tile.
"""

from collections.abc import Collection, Iterable

from shared.tiles.geometry import Geometry, Position, Rect


def pack(rect: Rect, missing: Collection[Position]) -> bytes | None:
    """The bitmap of a rectangle, or None where nothing is missing."""
    if not missing:
        return None
    bits = bytearray((rect.tiles + 7) // 8)
    width = rect.right - rect.left
    for position in missing:
        index = (position.row - rect.top) * width + position.col - rect.left
        bits[index >> 3] |= 0x80 >> (index & 7)
    return bytes(bits)


def unpack(rect: Rect, bitmap: bytes | None) -> set[Position]:
    """The missing positions of a rectangle."""
    if bitmap is None:
        return set()
    return {position for index, position in enumerate(rect.positions()) if bitmap[index >> 3] & (0x80 >> (index & 7))}


def sparse_per_level(geometry: Geometry, missing: Iterable[Position]) -> list[int]:
    """How many positions of each level have no tile, given those of level 0.

    A folded tile is left out exactly where all of its (up to four) tiles below are.
    """
    counts = []
    gone = set(missing)
    for level in range(geometry.levels):
        counts.append(len(gone))
        cols, rows = geometry.grid(level)
        above = {Position(level + 1, position.row >> 1, position.col >> 1) for position in gone}
        gone = {
            parent
            for parent in above
            if all(
                Position(level, row, col) in gone
                for row in range(parent.row * 2, min(parent.row * 2 + 2, rows))
                for col in range(parent.col * 2, min(parent.col * 2 + 2, cols))
            )
        }
    return counts
