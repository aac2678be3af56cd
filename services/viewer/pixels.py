"""The few pixels that the viewer makes itself: background tiles, and Deep Zoom's levels below one tile."""

from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

# The least at which simplejpeg's encoder takes the accurate DCT.
QUALITY = 96


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=QUALITY, colorspace="RGB", colorsubsampling="444", fastdct=False
    )
    return encoded


@lru_cache(maxsize=64)
def background(width: int, height: int) -> bytes:
    """A white JPEG of this size in pixels: what a slide shows where its scanner took no picture."""
    return _encode(np.full((height, width, 3), 255, np.uint8))


def _halve(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height & 1), (0, width & 1), (0, 0)), mode="edge")
    return (even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]) / np.float32(4)


@lru_cache(maxsize=64)
def levels_below(last: bytes) -> tuple[bytes, ...]:
    """JPEGs of half, a quarter, … of this JPEG's size, down to 1 x 1 pixel; a single pixel has none below it.

    Each is the mean of the pixels it stands for, rounded once; an odd last column or row counts twice.
    """
    pixels = simplejpeg.decode_jpeg(last, colorspace="RGB", fastdct=False, fastupsample=False).astype(np.float32)
    below = []
    while max(pixels.shape[:2]) > 1:
        pixels = _halve(pixels)
        below.append(_encode(np.rint(pixels).astype(np.uint8)))
    return tuple(below)
