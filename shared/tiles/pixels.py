"""How levels are made of the ones below them, whoever makes them. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB.

Folding decodes each base tile at half scale inside the JPEG decoder: the scaled inverse DCT of libjpeg-turbo (Guido
Vollbeding's 4 x 4 reduction of the 8 x 8 transform) with the accurate integer method. From there on pixels stay raw:
each next level is the 2 x 2 box mean of the one below and is encoded once.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from shared.errors import Reject
from shared.store.documents import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.squares import ROOT, Made, folded_levels

Pixels = npt.NDArray[np.uint8]
Looks = dict[tuple[int, int], int | None]
WHITE = 255
BLANK_BYTES = 4096
_BAND_BYTES = 2**20

cv2.setNumThreads(1)


def halve(pixels: Pixels, level: int) -> Pixels:
    """The 2 x 2 box mean that makes `level`; an odd last row or column counts twice.

    OpenCV rounds halves up, an eighth of a grey level on average. Every other level rounds them down, on the negative,
    so that a high pyramid does not grow brighter from level to level.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = _uint8(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))
    height, width = pixels.shape[:2]
    halved = np.empty((height // 2, width // 2, 3), np.uint8)
    # In bands, so that no copy of the whole is made.
    step = max(2, _BAND_BYTES // (width * 3) & ~1)
    for top in range(0, height, step):
        band = pixels[top : top + step]
        halved[top // 2 : (top + len(band)) // 2] = ~_box_mean(~band) if level % 2 == 1 else _box_mean(band)
    return halved


def _box_mean(pixels: Pixels) -> Pixels:
    return _uint8(cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA))


def _uint8(pixels: Any) -> Pixels:
    """OpenCV keeps the type of its input, which its stubs don't know."""
    same: Pixels = pixels
    return same


def encode(pixels: Pixels, quality: int, subsampling: str) -> bytes:
    """One tile or small picture as a JPEG file."""
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling=subsampling, fastdct=False
    )
    return encoded


def decode(data: memoryview, position: Position) -> Pixels:
    """A stored tile. Raises `Reject` with its place where it is damaged."""
    try:
        decoded: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    except ValueError as error:
        raise _damaged(position, error) from error
    return decoded


class Square:
    """A square of tiles at half its size, from which the levels above it are made; white where nothing is put.

    A tile's look is a number where it is known without its pixels: tiles of one level with one look are equal, which
    most of a slide's glass is, and are encoded once.
    """

    def __init__(self, rect: Rect, geometry: Geometry) -> None:
        level_width, level_height = geometry.size(rect.level)
        width = min(rect.right * geometry.tile, level_width) - rect.left * geometry.tile
        height = min(rect.bottom * geometry.tile, level_height) - rect.top * geometry.tile
        self.pixels: Pixels = np.full((-(-height // 2), -(-width // 2), 3), WHITE, np.uint8)
        self._rect = rect
        self._geometry = geometry
        self._half = geometry.tile // 2
        self._looks: Looks = {}
        self._known: dict[Hashable, int] = {}

    def put(self, position: Position, half: Pixels, same: bytes | None = None) -> None:
        """One tile's pixels at half its size; those put with the same bytes are equal."""
        y, x = (position.row - self._rect.top) * self._half, (position.col - self._rect.left) * self._half
        self.pixels[y : y + half.shape[0], x : x + half.shape[1]] = half
        look = None if same is None else self._known.setdefault(same, len(self._known))
        self._looks[position.row, position.col] = look

    def put_all(self, rect: Rect, half: Pixels) -> None:
        """The pixels of a rectangle of tiles at half its size."""
        y, x = (rect.top - self._rect.top) * self._half, (rect.left - self._rect.left) * self._half
        self.pixels[y : y + half.shape[0], x : x + half.shape[1]] = half
        self._looks.update({(position.row, position.col): None for position in rect.positions()})

    def fold(self, recipe: Recipe, climb: int) -> Iterator[Made]:
        """Yields the encoded tiles of every level above, up to `climb` levels, then, while further rounds are to come,
        the square's root: the quarter that its topmost tile becomes on the next level, as plain pixels.

        A tile with nothing below it is left out. Where a level's size is odd, its last column or row is averaged with
        itself.
        """
        rect, geometry = self._rect, self._geometry
        pixels, looks = self.pixels, self._looks
        encoded: dict[int, bytes] = {}
        for level in folded_levels(geometry, rect, climb):
            if level > rect.level + 1:
                pixels = halve(pixels, level)
            looks = self._above(looks, level)
            shift = level - rect.level
            top, left = rect.top >> shift, rect.left >> shift
            for (row, col), look in sorted(looks.items()):
                data = None if look is None else encoded.get(look)
                if data is None:
                    width, height = geometry.tile_size(Position(level, row, col))
                    y, x = (row - top) * geometry.tile, (col - left) * geometry.tile
                    data = encode(pixels[y : y + height, x : x + width], recipe.quality, recipe.subsampling)
                    if look is not None:
                        encoded[look] = data
                yield Position(level, row, col), data
        top_level = rect.level + climb
        if looks and top_level < geometry.levels - 1:
            yield ROOT, halve(pixels, top_level + 1).tobytes()

    def _above(self, below: Looks, level: int) -> Looks:
        """The tiles of `level` that have anything below them: four known looks make a known one."""
        looks: Looks = dict.fromkeys((row >> 1, col >> 1) for row, col in below)
        for row, col in looks:
            four = tuple(below.get((2 * row + down, 2 * col + right)) for down in (0, 1) for right in (0, 1))
            if None not in four:
                looks[row, col] = self._known.setdefault((level, four), len(self._known))
        return looks


def fold(
    rect: Rect,
    positions: Sequence[Position],
    geometry: Geometry,
    recipe: Recipe,
    climb: int,
    raw: bool,
    *,
    inputs: Sequence[memoryview],
) -> Iterator[Made]:
    """Folds one square of tiles, see `Square.fold`.

    `positions` and `inputs` are the square's present tiles: JPEG files, or the roots (`raw`) of the round before.
    """
    if not raw and _all_blank(rect, geometry, climb, inputs):
        yield from _fold_blank(rect, geometry, recipe, climb, _decode_half(inputs[0], positions[0], geometry.tile // 2))
    else:
        yield from half_square(rect, positions, geometry, raw, inputs).fold(recipe, climb)


def _all_blank(rect: Rect, geometry: Geometry, climb: int, inputs: Sequence[memoryview]) -> bool:
    """Whether every tile of the square is whole and the same blank one: of many slides half the squares are."""
    tile = geometry.tile
    last = Position(rect.level, rect.bottom - 1, rect.right - 1)
    return (
        len(inputs) == rect.tiles
        and len(inputs[0]) <= BLANK_BYTES
        and len(inputs[-1]) == len(inputs[0])
        and geometry.tile_size(last) == (tile, tile)
        and tile % 16 == 0
        and rect.bottom - rect.top == rect.right - rect.left == 1 << climb
        and len(set(map(bytes, inputs))) == 1
    )


def _fold_blank(rect: Rect, geometry: Geometry, recipe: Recipe, climb: int, half: Pixels) -> Iterator[Made]:
    """As `Square.fold`, of a square whose tiles are all alike: one tile of each level is made."""
    level = rect.level
    for level in folded_levels(geometry, rect, climb):
        pixels = np.tile(half, (2, 2, 1))
        data = encode(pixels, recipe.quality, recipe.subsampling)
        shift = level - rect.level
        for row in range(rect.top >> shift, -(-rect.bottom >> shift)):
            for col in range(rect.left >> shift, -(-rect.right >> shift)):
                yield Position(level, row, col), data
        half = halve(pixels, level + 1)
    if level < geometry.levels - 1:
        yield ROOT, half.tobytes()


def half_square(
    rect: Rect, positions: Sequence[Position], geometry: Geometry, raw: bool, inputs: Sequence[memoryview]
) -> Square:
    """The square of the tiles that `fold` is given."""
    square = Square(rect, geometry)
    tile = geometry.tile
    blanks: dict[bytes, Pixels] = {}
    for position, data in zip(positions, inputs, strict=True):
        tile_width, tile_height = geometry.tile_size(position)
        if raw:
            square.put(position, np.frombuffer(data, np.uint8).reshape(-(-tile_height // 2), -(-tile_width // 2), 3))
        elif min(tile_width, tile_height) < tile or tile % 16:
            square.put(position, halve(decode(data, position), rect.level + 1))
        elif len(data) > BLANK_BYTES:
            square.put(position, _decode_half(data, position, tile // 2))
        else:
            # Scanners write the same blank tile over and over.
            same = bytes(data)
            if same not in blanks:
                blanks[same] = _decode_half(data, position, tile // 2)
            square.put(position, blanks[same], same)
    return square


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
