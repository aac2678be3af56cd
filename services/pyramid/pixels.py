"""The pyramid's pixels: folding tiles into the levels above, and small pictures. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB.
"""

import os
from base64 import b64decode
from collections.abc import Sequence
from io import BytesIO
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
import openslide
import simplejpeg
import tifffile

from services.pyramid.core import THUMBNAIL_SIDE
from shared.slides import czi
from shared.slides.pixels import decode_czi
from shared.tiles.geometry import Geometry, Position
from shared.tiles.pixels import WHITE, Pixels, decode, encode, fold

__all__ = [
    "associated_from_base64",
    "associated_from_czi",
    "associated_from_openslide",
    "associated_from_tiff",
    "fold",
    "thumbnail",
]

THUMBNAIL_QUALITY = 85
MOST_ASSOCIATED_PIXELS = 50 * 10**6
MOST_ASSOCIATED_BYTES = 3 * MOST_ASSOCIATED_PIXELS


def thumbnail(
    level: int, positions: Sequence[Position], geometry: Geometry, *, inputs: Sequence[memoryview]
) -> tuple[int, int, bytes]:
    """A level's tiles put together and scaled to at most 1024 pixels a side: (width, height, JPEG file)."""
    width, height = geometry.size(level)
    canvas = np.full((height, width, 3), WHITE, np.uint8)
    for position, data in zip(positions, inputs, strict=True):
        pixels = decode(data, position)
        y, x = position.row * geometry.tile, position.col * geometry.tile
        canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    return _small_picture(canvas)


def _small_picture(pixels: Pixels) -> tuple[int, int, bytes]:
    height, width = pixels.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE / max(width, height))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        smaller: Any = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        pixels = smaller
        width, height = size
    return width, height, encode(pixels, THUMBNAIL_QUALITY, "444")


def associated_from_tiff(page: int, *, source: BinaryIO) -> tuple[int, int, bytes]:
    """A label or macro image that is a page of a TIFF file: (width, height, JPEG file). ValueError if unreadable."""
    with tifffile.TiffFile(source) as tiff:
        ifd: Any = tiff.pages[page]
        if ifd.imagewidth * ifd.imagelength > MOST_ASSOCIATED_PIXELS:
            raise ValueError("the image is larger than a label or macro image can be")
        return _small_picture(_three_bands(ifd.asarray()))


def associated_from_openslide(path: str, kind: str) -> tuple[int, int, bytes] | None:
    """A label or macro image by OpenSlide, or None where the slide has none."""
    with openslide.OpenSlide(path) as slide:
        if kind not in slide.associated_images:
            return None
        picture = slide.associated_images[kind].convert("RGB")
    return _small_picture(np.asarray(picture))


def associated_from_czi(path: str, kind: str) -> tuple[int, int, bytes] | None:
    """A label or macro image that lies in a CZI file, or None where it has none. ValueError if unreadable."""
    with open(path, "rb") as source:
        slide = czi.describe(source, os.fstat(source.fileno()).st_size, path)
        if kind not in slide.attached:
            return None
        form, start, length = slide.attached[kind]
        source.seek(start)
        data = source.read(min(length, MOST_ASSOCIATED_BYTES))
    if form == "JPG":
        return _from_jpeg(data)
    inner = BytesIO(data)
    picture = czi.describe(inner, len(data), kind)
    if len(picture.tiles) != 1 or picture.width * picture.height > MOST_ASSOCIATED_PIXELS:
        raise ValueError("the image is larger than a label or macro image can be")
    (tile,) = picture.tiles
    return _small_picture(decode_czi(czi.data_of(inner, len(data), tile), tile))


def associated_from_base64(*, inputs: Sequence[memoryview]) -> tuple[int, int, bytes]:
    """A label or macro image that lies as JPEG in base64 in a slide's header. ValueError if unreadable."""
    (coded,) = inputs
    return _from_jpeg(b64decode(coded))


def _from_jpeg(data: bytes) -> tuple[int, int, bytes]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    if width * height > MOST_ASSOCIATED_PIXELS:
        raise ValueError("the image is larger than a label or macro image can be")
    return _small_picture(simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False))


def _three_bands(pixels: npt.NDArray[Any]) -> Pixels:
    if pixels.dtype != np.uint8:
        raise ValueError(f"the image has {pixels.dtype} samples")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels[:, :, :3]
