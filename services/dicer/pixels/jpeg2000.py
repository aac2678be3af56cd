"""JPEG 2000 tiles of TIFF files.

Source of the colours: ITU-T T.871, section 7, whose numbers are rounded as OpenSlide rounds them, which repeats pixels
of halved channels and does not blend them.
"""

import struct
from io import BytesIO

import imagecodecs
import numpy as np
from PIL import Image

from services.dicer.core import damaged
from shared.slides.jpeg2000 import HEADER_BYTES, channels
from shared.tiles.geometry import Position
from shared.tiles.pixels import Pixels

_CHROMA = np.arange(256) - 128
_ONE = 1 << 16
_RED_OF_RED = np.rint(1.402 * _CHROMA).astype(np.int16)
_GREEN_OF_BLUE = np.rint(_ONE * (0.5 - 0.34414 * _CHROMA)).astype(np.int32)
_GREEN_OF_RED = np.rint(_ONE * -0.71414 * _CHROMA).astype(np.int32)
_BLUE_OF_BLUE = np.rint(1.772 * _CHROMA).astype(np.int16)


def decode(data: memoryview, position: Position, side: int, ycbcr: bool) -> Pixels:
    """A tile's `side` x `side` pixels in RGB, stored as that or as YCbCr. Raises `Reject` where it is damaged."""
    # What a tile claims to be decides how much memory its decoder takes.
    kind = channels(bytes(data[:HEADER_BYTES]), side)
    if kind is None or (kind == "halved" and not ycbcr):
        raise damaged(position, "it is no tile in colour of the slide's size")
    try:
        pixels: Pixels = (
            imagecodecs.jpeg2k_decode(bytes(data), numthreads=1) if kind == "whole" else _whole(bytes(data), side)
        )
    except (ValueError, OSError, imagecodecs.Jpeg2kError) as error:
        raise damaged(position, "its JPEG 2000 data can't be decoded", str(error)) from error
    return _rgb(pixels) if ycbcr else pixels


def _whole(codestream: bytes, side: int) -> Pixels:
    """The three channels of a codestream with two halved ones, each of their pixels repeated.

    imagecodecs would turn them to RGB, and round otherwise. In a box that calls them RGB (T.800, annex I) Pillow leaves
    them as they are.
    """
    header = _box(b"ihdr", struct.pack(">IIH4B", side, side, 3, 7, 7, 0, 0)) + _box(b"colr", b"\1\0\0\0\0\0\x10")
    boxes = (b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"jp2h", header), (b"jp2c", codestream)
    with Image.open(BytesIO(b"".join(_box(*box) for box in boxes)), formats=("JPEG2000",)) as image:
        return np.asarray(image)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _rgb(ycbcr: Pixels) -> Pixels:
    luma, blue, red = (ycbcr[:, :, n] for n in range(3))
    pixels = np.empty_like(ycbcr)
    np.clip(luma + _RED_OF_RED[red], 0, 255, out=pixels[:, :, 0], casting="unsafe")
    np.clip(luma + ((_GREEN_OF_BLUE[blue] + _GREEN_OF_RED[red]) >> 16), 0, 255, out=pixels[:, :, 1], casting="unsafe")
    np.clip(luma + _BLUE_OF_BLUE[blue], 0, 255, out=pixels[:, :, 2], casting="unsafe")
    return pixels
