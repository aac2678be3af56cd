"""How levels are made of the ones below them, whoever makes them. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB.

Folding decodes each base tile at half scale inside the JPEG decoder: the scaled inverse DCT of libjpeg-turbo (Guido
Vollbeding's 4 x 4 reduction of the 8 x 8 transform) with the accurate integer method. From there on pixels stay raw:
each next level is the 2 x 2 box mean of the one below and is encoded once.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from imagecodecs import jpeg8_encode

from shared.errors import Reject
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.squares import ROOT, Made, folded_levels

Pixels = npt.NDArray[np.uint8]
WHITE = 255
BLANK_BYTES = 4096
_BAND_BYTES = 2**20
_QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))

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
    """One tile or small picture as a JPEG file, by the accurate integer DCT.

    Not by simplejpeg, whose encoder takes the fast one below quality 96 whatever it is told, which costs 0.1 dB at 80
    and 0.6 dB at 95.
    """
    return bytes(jpeg8_encode(np.ascontiguousarray(pixels), level=quality, subsampling=subsampling))


def decode(data: memoryview, position: Position) -> Pixels:
    """A stored tile. Raises `Reject` with its place where it is damaged."""
    try:
        decoded: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    except ValueError as error:
        raise _damaged(position, error) from error
    return decoded


class Half(NamedTuple):
    """A tile's pixels at half its size. `look` is the same of tiles of one level that are known to be equal."""

    pixels: Pixels
    look: int | None


class Square:
    """A square of tiles from which the levels above it are made, each tile as soon as those below it are there.

    So a tile's pixels are still in the processor's cache when it is encoded and halved. `half_of` gives a tile of the
    square's own level, None where there is none; no two looks of its tiles have the same number if they differ.
    Tiles of one look, which most of a slide's glass is, are encoded once.
    """

    def __init__(
        self, rect: Rect, geometry: Geometry, recipe: Recipe, half_of: Callable[[Position], Half | None]
    ) -> None:
        self._rect = rect
        self._geometry = geometry
        self._recipe = recipe
        self._half_of = half_of
        self._grids = [geometry.grid(level) for level in range(rect.level, geometry.levels)]
        self._looks: dict[tuple[int, ...], int] = {}
        self._known: dict[int, tuple[bytes, Pixels]] = {}

    def fold(self, climb: int) -> Iterator[Made]:
        """Yields the encoded tiles of every level above, up to `climb` levels, then, while further rounds are to come,
        the square's root: the quarter that its topmost tile becomes on the next level, as plain pixels.

        A tile with nothing below it is left out; what of a tile has nothing below it is white. Where a level's size is
        odd, its last column or row is averaged with itself.
        """
        shift = len(folded_levels(self._geometry, self._rect, climb))
        top = Position(self._rect.level + shift, self._rect.top >> shift, self._rect.left >> shift)
        root = yield from self._tile(top)
        if root is not None and top.level < self._geometry.levels - 1:
            yield ROOT, root.pixels.tobytes()

    def _tile(self, position: Position) -> Generator[Made, None, Half | None]:
        """Yields a tile and all that are between it and the square's own level; returns it at half its size."""
        level, row, col = position
        cols, rows = self._grids[level - 1 - self._rect.level]
        base = level - 1 == self._rect.level
        below: list[tuple[int, int, Half]] = []
        for down, right in _QUARTERS:
            child = Position(level - 1, 2 * row + down, 2 * col + right)
            if child.row < rows and child.col < cols:
                half = self._half_of(child) if base else (yield from self._tile(child))
                if half is not None:
                    below.append((down, right, half))
        if not below:
            return None
        look = self._look(level, [half.look for _, _, half in below])
        if look is not None and look in self._known:
            data, halved = self._known[look]
        else:
            pixels = self._put_together(position, below)
            data = encode(pixels, self._recipe.quality, self._recipe.subsampling)
            halved = halve(pixels, level + 1)
            if look is not None:
                self._known[look] = data, halved
        yield position, data
        return Half(halved, look)

    def _look(self, level: int, below: Sequence[int | None]) -> int | None:
        """Four tiles of known looks make a tile of a known one."""
        four = [look for look in below if look is not None]
        return self._looks.setdefault((level, *four), len(self._looks)) if len(four) == 4 else None

    def _put_together(self, position: Position, below: Sequence[tuple[int, int, Half]]) -> Pixels:
        width, height = self._geometry.tile_size(position)
        pixels = np.empty((height, width, 3), np.uint8)
        if len(below) < 4:
            pixels.fill(WHITE)
        side = self._geometry.tile // 2
        for down, right, half in below:
            high, wide = half.pixels.shape[:2]
            pixels[down * side : down * side + high, right * side : right * side + wide] = half.pixels
        return pixels


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
    yield from Square(rect, geometry, recipe, halves(positions, geometry, raw, inputs)).fold(climb)


def halves(
    positions: Sequence[Position], geometry: Geometry, raw: bool, inputs: Sequence[memoryview]
) -> Callable[[Position], Half | None]:
    """The tiles that `fold` is given at half their size, each decoded when it is asked for."""
    tile = geometry.tile
    tiles = dict(zip(positions, inputs, strict=True))
    blanks: dict[bytes, Half] = {}

    def half_of(position: Position) -> Half | None:
        data = tiles.get(position)
        if data is None:
            return None
        # Scanners write the same blank tile over and over.
        same = bytes(data) if len(data) <= BLANK_BYTES and not raw else None
        if same is not None and (half := blanks.get(same)) is not None:
            return half
        width, height = geometry.tile_size(position)
        if raw:
            return Half(np.frombuffer(data, np.uint8).reshape(-(-height // 2), -(-width // 2), 3), None)
        if min(width, height) < tile or tile % 16:
            return Half(halve(decode(data, position), position.level + 1), None)
        half = Half(_decode_half(data, position, tile // 2), None if same is None else len(blanks))
        if same is not None:
            blanks[same] = half
        return half

    return half_of


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
        f"The tile on level {position.level}, row {position.row}, column {position.col} can't be decoded: "
        "its JPEG data are damaged.",
        "The slide is damaged there: export it from the scanner again and upload that.",
        str(error),
    )
