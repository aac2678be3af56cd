"""JPEG 2000 tiles of TIFF files."""

import imagecodecs

from services.dicer.core import damaged
from shared.slides.jpeg2000 import MOST_HEADER_BYTES, is_plain
from shared.tiles.geometry import Position
from shared.tiles.pixels import Pixels


def decode(data: memoryview, position: Position, side: int) -> Pixels:
    """A tile's `side` x `side` pixels. Raises `Reject` where it is damaged."""
    # What a tile claims to be decides how much memory its decoder takes.
    if not is_plain(bytes(data[:MOST_HEADER_BYTES]), side):
        raise damaged(position, "it is no RGB tile of the slide's size")
    try:
        pixels: Pixels = imagecodecs.jpeg2k_decode(bytes(data), numthreads=1)
    except (ValueError, imagecodecs.Jpeg2kError) as error:
        raise damaged(position, "its JPEG 2000 data can't be decoded", str(error)) from error
    return pixels
