"""The pyramid's pixels: folding tiles into the levels above, and small pictures. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB.

Folding decodes each base tile at half scale inside the JPEG decoder: the scaled inverse DCT of libjpeg-turbo (Guido
Vollbeding's 4 x 4 reduction of the 8 x 8 transform) with the accurate integer method. From there on pixels stay raw:
each next level is the 2 x 2 box mean of the one below and is encoded once.
"""

import os
from collections.abc import Hashable, Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
import numpy.typing as npt
import openslide
import simplejpeg
import tifffile

from services.pyramid.core import THUMBNAIL_SIDE, folded_levels, steps
from shared.errors import Reject
from shared.slides import czi
from shared.slides.pixels import decode_czi
from shared.store.documents import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Pixels, halve

Looks = dict[tuple[int, int], int | None]
ROOT: Literal["root"] = "root"
WHITE = 255
BLANK_BYTES = 4096
THUMBNAIL_QUALITY = 85
MOST_ASSOCIATED_PIXELS = 50 * 10**6
MOST_ASSOCIATED_BYTES = 3 * MOST_ASSOCIATED_PIXELS


def fold(
    rect: Rect,
    positions: Sequence[Position],
    geometry: Geometry,
    recipe: Recipe,
    raw: bool,
    *,
    inputs: Sequence[memoryview],
) -> Iterator[tuple[Position | Literal["root"], bytes]]:
    """Folds one square of tiles: yields the encoded tiles of every level above it, then, while further rounds
    are to come, its root: the quarter that its topmost tile becomes on the next level, as plain pixels.

    `positions` and `inputs` are the square's present tiles: JPEG files, or the roots (`raw`) of the round before.
    A tile with nothing below it is left out. Where a level's size is odd, its last column or row is averaged with
    itself.
    """
    known: dict[Hashable, int] = {}
    level_pixels, looks = first_level(rect, positions, geometry, raw, inputs, known)
    encoded: dict[int, bytes] = {}
    for level in folded_levels(geometry, rect):
        if level > rect.level + 1:
            level_pixels = halve(level_pixels, level)
            looks = _above(looks, level, known)
        shift = level - rect.level
        top, left = rect.top >> shift, rect.left >> shift
        for (row, col), look in sorted(looks.items()):
            data = None if look is None else encoded.get(look)
            if data is None:
                width, height = geometry.tile_size(Position(level, row, col))
                y, x = (row - top) * geometry.tile, (col - left) * geometry.tile
                data = _encode(level_pixels[y : y + height, x : x + width], recipe.quality, recipe.subsampling)
                if look is not None:
                    encoded[look] = data
            yield Position(level, row, col), data
    top_level = rect.level + steps(geometry)
    if looks and top_level < geometry.levels - 1:
        yield ROOT, halve(level_pixels, top_level + 1).tobytes()


def first_level(
    rect: Rect,
    positions: Sequence[Position],
    geometry: Geometry,
    raw: bool,
    inputs: Sequence[memoryview],
    known: dict[Hashable, int],
) -> tuple[Pixels, Looks]:
    """The square at half its size, and the tiles of the level above that have anything below them.

    A tile's look is a number where it is known without its pixels: tiles of one level with one look are equal, which
    most of a slide's glass is. `known` numbers them.
    """
    level_width, level_height = geometry.size(rect.level)
    tile = geometry.tile
    width = min(rect.right * tile, level_width) - rect.left * tile
    height = min(rect.bottom * tile, level_height) - rect.top * tile
    pixels = np.full((-(-height // 2), -(-width // 2), 3), WHITE, np.uint8)
    half = tile // 2
    below: Looks = {}
    blanks: dict[bytes, Pixels] = {}
    for position, data in zip(positions, inputs, strict=True):
        tile_width, tile_height = geometry.tile_size(position)
        look = None
        if raw:
            small = np.frombuffer(data, np.uint8).reshape(-(-tile_height // 2), -(-tile_width // 2), 3)
        elif tile_width == tile == tile_height and tile % 16 == 0:
            if len(data) > BLANK_BYTES:
                small = _decode_half(data, position, half)
            else:
                # Scanners write the same blank tile over and over.
                key = bytes(data)
                if key not in blanks:
                    blanks[key] = _decode_half(data, position, half)
                small, look = blanks[key], known.setdefault(key, len(known))
        else:
            small = halve(_decode(data, position), rect.level + 1)
        y, x = (position.row - rect.top) * half, (position.col - rect.left) * half
        pixels[y : y + small.shape[0], x : x + small.shape[1]] = small
        below[position.row, position.col] = look
    return pixels, _above(below, rect.level + 1, known)


def _above(below: Looks, level: int, known: dict[Hashable, int]) -> Looks:
    """The tiles of `level` that have anything below them: four known looks make a known one."""
    looks: Looks = dict.fromkeys((row >> 1, col >> 1) for row, col in below)
    for row, col in looks:
        four = tuple(below.get((2 * row + down, 2 * col + right)) for down in (0, 1) for right in (0, 1))
        if None not in four:
            looks[row, col] = known.setdefault((level, four), len(known))
    return looks


def _encode(pixels: Pixels, quality: int, subsampling: str) -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling=subsampling, fastdct=False
    )
    return encoded


def _decode(data: memoryview, position: Position) -> Pixels:
    try:
        decoded: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    except ValueError as error:
        raise _damaged(position, error) from error
    return decoded


def _decode_half(data: memoryview, position: Position, half: int) -> Pixels:
    try:
        decoded: Pixels = simplejpeg.decode_jpeg(
            data, colorspace="RGB", fastdct=False, fastupsample=False, min_height=half, min_width=half, min_factor=2
        )
    except ValueError as error:
        raise _damaged(position, error) from error
    return decoded


def _damaged(position: Position, error: ValueError) -> Reject:
    return Reject(
        f"The tile on level {position.level}, row {position.row}, column {position.col} can't be decoded ({error}).",
        "The slide is damaged there: export it from the scanner again and upload that.",
    )


def thumbnail(
    level: int, positions: Sequence[Position], geometry: Geometry, *, inputs: Sequence[memoryview]
) -> tuple[int, int, bytes]:
    """A level's tiles put together and scaled to at most 1024 pixels a side: (width, height, JPEG file)."""
    width, height = geometry.size(level)
    canvas = np.full((height, width, 3), WHITE, np.uint8)
    for position, data in zip(positions, inputs, strict=True):
        pixels = _decode(data, position)
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
    return width, height, _encode(pixels, THUMBNAIL_QUALITY, "444")


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
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if width * height > MOST_ASSOCIATED_PIXELS:
            raise ValueError("the image is larger than a label or macro image can be")
        return _small_picture(simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False))
    inner = BytesIO(data)
    picture = czi.describe(inner, len(data), kind)
    if len(picture.tiles) != 1 or picture.width * picture.height > MOST_ASSOCIATED_PIXELS:
        raise ValueError("the image is larger than a label or macro image can be")
    (tile,) = picture.tiles
    return _small_picture(decode_czi(czi.data_of(inner, len(data), tile), tile))


def _three_bands(pixels: npt.NDArray[Any]) -> Pixels:
    if pixels.dtype != np.uint8:
        raise ValueError(f"the image has {pixels.dtype} samples")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels[:, :, :3]
