"""The tile rows of a picture, and the levels above them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from services.dicer.pixels.encoding import cut_tiles
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Pixels, halve


class Row(NamedTuple):
    """One whole or partial tile row of a level: its tiles and their pixels."""

    rect: Rect
    pixels: Pixels


class RowCutter:
    """Cuts tile rows into encoded tiles, the right half of each by another thread."""

    def __init__(self, geometry: Geometry, recipe: Recipe, thread: ThreadPoolExecutor) -> None:
        self._geometry = geometry
        self._recipe = recipe
        self._thread = thread

    def cut(self, row: Row) -> Iterator[tuple[Position, bytes]]:
        """All tiles of the row."""
        middle = row.rect.left + (row.rect.right - row.rect.left + 1) // 2
        split = (middle - row.rect.left) * self._geometry.tile
        right = Row(row.rect.model_copy(update={"left": middle}), row.pixels[:, split:])
        encoding = self._thread.submit(lambda: list(self._tiles(right)))
        yield from self._tiles(Row(row.rect.model_copy(update={"right": middle}), row.pixels[:, :split]))
        yield from encoding.result()

    def _tiles(self, row: Row) -> Iterator[tuple[Position, bytes]]:
        return cut_tiles(row.pixels, row.rect, self._geometry, self._recipe)


class Above:
    """The levels above the base of a picture whose tile rows come from top to bottom.

    Each level keeps half a tile row until its other half comes, and is made of pixels that were never encoded.
    """

    def __init__(self, geometry: Geometry, cutter: RowCutter) -> None:
        self._geometry = geometry
        self._cutter = cutter
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
        # A wide picture's rows are large: only the last is held.
        del below, half, upper, pixels
        yield from self._cutter.cut(whole)
        higher = self.fold(whole)
        del whole
        yield from higher
