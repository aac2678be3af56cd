"""The tile rows of a picture, and the levels above them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from services.dicer.pixels.encoding import cut_tiles
from shared.store.documents import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Pixels, halve


class Row(NamedTuple):
    """One whole or partial tile row of a level: its tiles and their pixels."""

    rect: Rect
    pixels: Pixels


def halves(row: Row, tile: int) -> tuple[Row, Row]:
    """A tile row's left and right half; the right one may be empty."""
    middle = row.rect.left + (row.rect.right - row.rect.left + 1) // 2
    left, right = row.rect.model_copy(update={"right": middle}), row.rect.model_copy(update={"left": middle})
    split = (middle - row.rect.left) * tile
    return Row(left, row.pixels[:, :split]), Row(right, row.pixels[:, split:])


class Above:
    """The levels above the base of a picture whose tile rows come from top to bottom.

    Each level keeps half a tile row until its other half comes, and is made of pixels that were never encoded.
    """

    def __init__(self, geometry: Geometry, recipe: Recipe) -> None:
        self._geometry = geometry
        self._recipe = recipe
        self._upper: list[Pixels | None] = [None] * geometry.levels

    def fold(self, below: Row) -> Iterator[tuple[Position, bytes]]:
        """The tiles that this tile row makes whole, on the next level and on those above it."""
        level, row = below.rect.level + 1, below.rect.top // 2
        if level == self._geometry.levels:
            return
        half = halve(below.pixels, level)
        if below.rect.top % 2 == 0 and below.rect.bottom < self._geometry.grid(level - 1)[1]:
            self._upper[level] = half
            return
        upper = self._upper[level]
        pixels = half if upper is None else np.concatenate((upper, half))
        self._upper[level] = None
        cols = self._geometry.grid(level)[0]
        whole = Row(Rect(level=level, top=row, left=0, bottom=row + 1, right=cols), pixels)
        yield from cut_tiles(whole.pixels, whole.rect, self._geometry, self._recipe)
        yield from self.fold(whole)
