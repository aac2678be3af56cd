"""Tiles of TIFF files whose packing loses nothing, unpacked one by one."""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np

from services.dicer.core import damaged
from shared.slides.coding import Coding
from shared.tiles.geometry import Position
from shared.tiles.pixels import Pixels

# Some writers fill a tile's data up at the end, and libtiff does not read that far: room for twice a tile.
_ROOM = 2
_UNPACK: dict[Coding, Callable[..., Any]] = {
    "deflate": imagecodecs.deflate_decode,
    "packbits": imagecodecs.packbits_decode,
    "zstd": imagecodecs.zstd_decode,
}
# Of TIFF 6.0, section 2: header with the count of its only directory's entries, an entry, the link to the next.
_HEAD, _ENTRY, _LINK, _BITS = (struct.Struct(shape) for shape in ("<2sHIH", "<HHII", "<I", "<3H"))
_ENTRIES = 10
_SHORT, _LONG = 3, 4
_LZW, _RGB, _DIFFERENCES = 5, 2, 2


def unpack(data: memoryview, position: Position, side: int, coding: Coding, differences: bool) -> Pixels:
    """A tile's `side` x `side` pixels, good until the next call; see `shared.slides.coding.keeps_differences`.

    Raises `Reject` where it is damaged.
    """
    try:
        if coding == "lzw":
            # libtiff's decoder takes two thirds of the time of imagecodecs' own, which is all that it has for bare LZW.
            pixels: Pixels = imagecodecs.tiff_decode(_as_tiff(data, side, differences))
            return pixels
        size = 3 * side * side
        # What would unpack to more than there is room for is cut off or refused, not held.
        unpacked = np.frombuffer(data, np.uint8) if coding == "none" else _UNPACK[coding](data, out=_room(_ROOM * size))
    except (ValueError, RuntimeError) as error:
        raise damaged(position, "it can't be unpacked", str(error)) from error
    if len(unpacked) < size:
        raise damaged(position, f"it holds {len(unpacked):,} of {size:,} bytes")
    pixels = unpacked[:size].reshape(side, side, 3)
    # In place: to write a fresh array takes as long again as the sums.
    return imagecodecs.delta_decode(pixels, axis=1, out=pixels) if differences else pixels


@lru_cache(maxsize=1)
def _room(size: int) -> Pixels:
    return np.empty(size, np.uint8)


def _as_tiff(data: memoryview, side: int, differences: bool) -> bytes:
    """A tile as the only strip of a TIFF file: what libtiff is told of it is ours, not the slide's."""
    bits = _HEAD.size + _ENTRY.size * _ENTRIES + _LINK.size
    entries = (
        (256, _LONG, 1, side),
        (257, _LONG, 1, side),
        (258, _SHORT, 3, bits),
        (259, _SHORT, 1, _LZW),
        (262, _SHORT, 1, _RGB),
        (273, _LONG, 1, bits + _BITS.size),
        (277, _SHORT, 1, 3),
        (278, _LONG, 1, side),
        (279, _LONG, 1, len(data)),
        (317, _SHORT, 1, _DIFFERENCES if differences else 1),
    )
    directory = (_ENTRY.pack(*entry) for entry in entries)
    return b"".join((_HEAD.pack(b"II", 42, 8, _ENTRIES), *directory, _LINK.pack(0), _BITS.pack(8, 8, 8), data))
