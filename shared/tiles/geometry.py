"""The arithmetic of a tile pyramid: levels, grids and edge sizes. Pure.

Level 0 is full resolution; each next level is ceil(width / 2) x ceil(height / 2); the last one is a single tile.
Deep Zoom counts the other way round: its level 0 is 1 x 1 pixel and its last one, ceil(log2(max(width, height))), is
full resolution (Microsoft, "Deep Zoom File Format Overview").
"""

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Position(NamedTuple):
    """A tile's place: level (0 = full resolution), row and column in that level's grid."""

    level: int
    row: int
    col: int


class Rect(BaseModel):
    """A rectangle of tiles of one level: rows `top` to `bottom` and columns `left` to `right`, ends exclusive."""

    model_config = ConfigDict(frozen=True)

    level: int
    top: int
    left: int
    bottom: int
    right: int

    def positions(self) -> Iterator[Position]:
        """Every tile position inside, row by row."""
        for row in range(self.top, self.bottom):
            for col in range(self.left, self.right):
                yield Position(self.level, row, col)

    @property
    def tiles(self) -> int:
        """How many tile positions it holds."""
        return (self.bottom - self.top) * (self.right - self.left)


class Geometry(BaseModel):
    """A slide's size in pixels and its square tile side in pixels."""

    model_config = ConfigDict(frozen=True)

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    tile: int = Field(ge=1)

    @property
    def levels(self) -> int:
        """How many levels are stored: down to the first that fits in one tile."""
        count = 1
        while max(self.size(count - 1)) > self.tile:
            count += 1
        return count

    def size(self, level: int) -> tuple[int, int]:
        """(width, height) in pixels of `level`."""
        scale = 1 << level
        return -(-self.width // scale), -(-self.height // scale)

    def grid(self, level: int) -> tuple[int, int]:
        """(columns, rows) of tiles of `level`."""
        width, height = self.size(level)
        return -(-width // self.tile), -(-height // self.tile)

    def contains(self, position: Position) -> bool:
        """Whether a tile exists at this position."""
        if not 0 <= position.level < self.levels:
            return False
        cols, rows = self.grid(position.level)
        return 0 <= position.row < rows and 0 <= position.col < cols

    def tile_size(self, position: Position) -> tuple[int, int]:
        """(width, height) in pixels of one tile: edge tiles are cropped, never padded."""
        width, height = self.size(position.level)
        return (
            min(self.tile, width - position.col * self.tile),
            min(self.tile, height - position.row * self.tile),
        )

    def tiles(self, level: int) -> int:
        """How many tile positions `level` has."""
        cols, rows = self.grid(level)
        return cols * rows

    @property
    def total(self) -> int:
        """How many tile positions all levels have together."""
        return sum(self.tiles(level) for level in range(self.levels))

    @property
    def dzi_levels(self) -> int:
        """The number of Deep Zoom's last level, ceil(log2(max(width, height)))."""
        return (max(self.width, self.height) - 1).bit_length()

    def from_dzi(self, level: int) -> int:
        """Our level for a Deep Zoom level; at or past `levels` where Deep Zoom goes on below one tile."""
        return self.dzi_levels - level
