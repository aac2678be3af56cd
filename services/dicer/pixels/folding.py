"""Squares of tiles cut and folded in one go."""

from collections.abc import Callable, Iterator, Sequence

from services.dicer.pixels.encoding import crop_tiles, cut_tiles
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Half, Pixels, Square, fold, halve
from shared.tiles.squares import Made


def fold_copied(
    rect: Rect,
    positions: Sequence[Position],
    geometry: Geometry,
    recipe: Recipe,
    climb: int,
    *,
    inputs: Sequence[memoryview],
) -> Iterator[Made]:
    """A square of a copied base: its edge tiles cropped, then what `fold` makes of all of them."""
    tiles = list(inputs)
    for index, position in enumerate(positions):
        width, height = geometry.tile_size(position)
        if min(width, height) < geometry.tile:
            for edge, cropped in crop_tiles([(position, width, height)], recipe, inputs=[inputs[index]]):
                tiles[index] = memoryview(cropped)
                yield edge, cropped
    yield from fold(rect, positions, geometry, recipe, climb, False, inputs=tiles)


def cut_square(pixels: Pixels, rect: Rect, geometry: Geometry, recipe: Recipe, climb: int | None) -> Iterator[Made]:
    """The tiles of a rectangle of them, and with a `climb`, whose square it is then, those above it."""
    yield from cut_tiles(pixels, rect, geometry, recipe)
    if climb is not None:
        yield from Square(rect, geometry, recipe, quarters(halve(pixels, 1), rect, geometry)).fold(climb)


def quarters(half: Pixels, rect: Rect, geometry: Geometry) -> Callable[[Position], Half]:
    """The tiles of a rectangle of them out of its pixels at half their size."""
    side = geometry.tile // 2

    def half_of(position: Position) -> Half:
        y, x = (position.row - rect.top) * side, (position.col - rect.left) * side
        return Half(half[y : y + side, x : x + side], None)

    return half_of
