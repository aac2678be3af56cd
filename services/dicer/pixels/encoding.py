"""Encoding tiles as JPEG."""

from collections.abc import Iterator, Sequence

import simplejpeg

from services.dicer.core import damaged
from shared.store.documents.versions import Recipe
from shared.tiles import pixels as tiles
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Pixels


def encode(pixels: Pixels, recipe: Recipe) -> bytes:
    """One tile as JPEG by the recipe's quality and chroma subsampling."""
    return tiles.encode(pixels, recipe.quality, recipe.subsampling)


def cut_tiles(pixels: Pixels, rect: Rect, geometry: Geometry, recipe: Recipe) -> Iterator[tuple[Position, bytes]]:
    """Cuts the pixels of a rectangle of tiles into encoded tiles; edge tiles are as small as the pixels are."""
    for position in rect.positions():
        y = (position.row - rect.top) * geometry.tile
        x = (position.col - rect.left) * geometry.tile
        yield position, encode(pixels[y : y + geometry.tile, x : x + geometry.tile], recipe)


def crop_tiles(
    sizes: Sequence[tuple[Position, int, int]], recipe: Recipe, *, inputs: Sequence[memoryview]
) -> Iterator[tuple[Position, bytes]]:
    """Edge tiles of a copied base: decoded, cut to (width, height) and encoded again."""
    for (position, width, height), data in zip(sizes, inputs, strict=True):
        try:
            pixels = simplejpeg.decode_jpeg(bytes(data), colorspace="RGB", fastdct=False, fastupsample=False)
        except ValueError as error:
            raise damaged(position, "its JPEG data can't be decoded", str(error)) from error
        yield position, encode(pixels[:height, :width], recipe)
