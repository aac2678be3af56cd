"""Tile keys: one 29-byte binary per tile, ordered so that neighbours are one range scan. Pure.

Layout, big-endian: image (16 bytes), version (4), level (1), Morton code of (row, col) (8).
With the Morton (Z-order) code every aligned square of 2^k x 2^k tiles is one unbroken range of keys.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from shared.tiles.geometry import Position

_TAIL = struct.Struct(">IBQ")
KEY_LENGTH = 16 + _TAIL.size


# The rows and columns of a few slides at a time: looked up in a fifth of the time.
@lru_cache(maxsize=4096)
def _spread(value: int) -> int:
    """Moves bit i of a 32-bit number to bit 2i (Warren, Hacker's Delight, 7-2)."""
    value = (value | value << 16) & 0x0000FFFF0000FFFF
    value = (value | value << 8) & 0x00FF00FF00FF00FF
    value = (value | value << 4) & 0x0F0F0F0F0F0F0F0F
    value = (value | value << 2) & 0x3333333333333333
    return (value | value << 1) & 0x5555555555555555


def _squeeze(value: int) -> int:
    """The reverse of `_spread`."""
    value &= 0x5555555555555555
    value = (value | value >> 1) & 0x3333333333333333
    value = (value | value >> 2) & 0x0F0F0F0F0F0F0F0F
    value = (value | value >> 4) & 0x00FF00FF00FF00FF
    value = (value | value >> 8) & 0x0000FFFF0000FFFF
    return (value | value >> 16) & 0x00000000FFFFFFFF


def morton(row: int, col: int) -> int:
    """The Morton code of a grid position; columns take the even bits."""
    return _spread(row) << 1 | _spread(col)


def unmorton(code: int) -> tuple[int, int]:
    """(row, col) of a Morton code."""
    return _squeeze(code >> 1), _squeeze(code)


def tile_key(image: str, version: int, position: Position) -> bytes:
    """The key of a tile; `image` is 32 hex digits."""
    return bytes.fromhex(image) + _TAIL.pack(version, position.level, morton(position.row, position.col))


def split_key(key: bytes) -> tuple[str, int, Position]:
    """(image, version, position) of a key."""
    version, level, code = _TAIL.unpack(key[16:])
    return key[:16].hex(), version, Position(level, *unmorton(code))


class KeyRange(NamedTuple):
    """Keys from `first` up to and including `last`."""

    first: bytes
    last: bytes


def version_range(image: str, version: int) -> KeyRange:
    """Every tile of a version."""
    head = bytes.fromhex(image)
    return KeyRange(head + _TAIL.pack(version, 0, 0), head + _TAIL.pack(version, 255, 2**64 - 1))


def image_range(image: str) -> KeyRange:
    """Every tile of every version of an image."""
    head = bytes.fromhex(image)
    return KeyRange(head + _TAIL.pack(0, 0, 0), head + _TAIL.pack(2**32 - 1, 255, 2**64 - 1))


def level_range(image: str, version: int, level: int) -> KeyRange:
    """Every tile of one level of a version."""
    head = bytes.fromhex(image)
    return KeyRange(head + _TAIL.pack(version, level, 0), head + _TAIL.pack(version, level, 2**64 - 1))


def square_range(image: str, version: int, corner: Position, side: int) -> KeyRange:
    """The tiles of an aligned square whose `side`, in tiles, is a power of two.

    The corner's row and column must be multiples of it.
    """
    head = bytes.fromhex(image)
    first = morton(corner.row, corner.col)
    return KeyRange(
        head + _TAIL.pack(version, corner.level, first),
        head + _TAIL.pack(version, corner.level, first + side * side - 1),
    )
