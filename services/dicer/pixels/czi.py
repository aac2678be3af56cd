"""CZI slides that OpenSlide does not read, such as those of JPEG XR, which most of ZEISS's scanners write."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from services.dicer.core import DECODED_TILE, Found, damaged, suffix
from services.dicer.pixels.folding import cut_square
from shared.slides.czi import Tile, data_of, describe
from shared.slides.pixels import decode_czi
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.squares import Made

_GLASS = 255


def find_czi(path: str, name: str, reason: str) -> Found:
    """What the file on local disk is. Raises `Reject` where it is damaged, or no slide in colours."""
    with open(path, "rb") as source:
        slide = describe(source, os.fstat(source.fileno()).st_size, name)
    details = slide.details
    return Found(
        reader="czi",
        suffix=suffix(path),
        width=slide.width,
        height=slide.height,
        tile=DECODED_TILE,
        vendor="zeiss",
        mpp=details.mpp,
        objective=details.objective,
        barcode=details.barcode,
        scanned=details.scanned,
        properties=details.properties,
        reason=reason,
    )


def cut_czi(path: str, name: str, rect: Rect, geometry: Geometry, recipe: Recipe, climb: int | None) -> Iterator[Made]:
    """The tiles of a square block: whatever of the mosaic lies in it, over white; with a `climb` those above it too."""
    left, top = rect.left * geometry.tile, rect.top * geometry.tile
    right, bottom = min(rect.right * geometry.tile, geometry.width), min(rect.bottom * geometry.tile, geometry.height)
    pixels = np.full((bottom - top, right - left, 3), _GLASS, np.uint8)
    with open(path, "rb") as source:
        held = os.fstat(source.fileno())
        for tile in _mosaic(path, name, held.st_size, held.st_mtime_ns):
            x0, x1 = max(left, tile.x), min(right, tile.x + tile.width)
            y0, y1 = max(top, tile.y), min(bottom, tile.y + tile.height)
            if x0 >= x1 or y0 >= y1:
                continue
            try:
                drawn = decode_czi(data_of(source, held.st_size, tile), tile)
            except ValueError as error:
                raise damaged(Position(0, y0 // geometry.tile, x0 // geometry.tile), str(error)) from error
            part = drawn[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
            pixels[y0 - top : y1 - top, x0 - left : x1 - left] = part
    yield from cut_square(pixels, rect, geometry, recipe, climb)


# A slide of many thousand tiles is cut in many blocks.
@lru_cache(maxsize=1)
def _mosaic(path: str, name: str, length: int, changed: int) -> Sequence[Tile]:
    with open(path, "rb") as source:
        return describe(source, length, name).tiles
