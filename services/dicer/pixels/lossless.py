"""Tiles of TIFF files whose packing loses nothing, unpacked one by one."""

from collections.abc import Callable

import imagecodecs
import numpy as np

from services.dicer.core import damaged
from shared.slides.coding import Coding
from shared.tiles.geometry import Position
from shared.tiles.pixels import Pixels

# Some writers fill a tile's data up at the end, and libtiff does not read that far: room for twice a tile.
_ROOM = 2
# `out` is the most bytes that may come of a tile: what would unpack to more is cut off or refused, not held.
_UNPACK: dict[Coding, Callable[..., bytes | bytearray]] = {
    "none": lambda data, out: data[:out],
    "lzw": imagecodecs.lzw_decode,
    "deflate": imagecodecs.deflate_decode,
    "packbits": imagecodecs.packbits_decode,
    "zstd": imagecodecs.zstd_decode,
}


def unpack(data: memoryview, position: Position, side: int, coding: Coding, differences: bool) -> Pixels:
    """A tile's `side` x `side` pixels; see `shared.slides.coding.keeps_differences`. Raises `Reject` where damaged."""
    size = 3 * side * side
    try:
        unpacked = _UNPACK[coding](bytes(data), out=_ROOM * size)
    except (ValueError, RuntimeError) as error:
        raise damaged(position, "it can't be unpacked", str(error)) from error
    if len(unpacked) < size:
        raise damaged(position, f"it holds {len(unpacked):,} of {size:,} bytes")
    pixels: Pixels = np.frombuffer(unpacked, np.uint8, size).reshape(side, side, 3)
    return imagecodecs.delta_decode(pixels, axis=1) if differences else pixels
