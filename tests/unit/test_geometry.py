import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.tiles.geometry import Geometry, Position, Rect

sides = st.integers(1, 400_000)
tiles = st.sampled_from([128, 240, 254, 256, 512, 1000, 1024])
geometries = st.builds(Geometry, width=sides, height=sides, tile=tiles)
# Few enough positions to look at each of them.
small = st.builds(Geometry, width=st.integers(1, 700), height=st.integers(1, 700), tile=st.sampled_from([16, 31, 64]))


@given(geometries)
def test_each_level_is_half_of_the_one_before_rounded_up(geometry: Geometry) -> None:
    assert geometry.size(0) == (geometry.width, geometry.height)
    for level in range(1, geometry.levels):
        width, height = geometry.size(level - 1)
        assert geometry.size(level) == (math.ceil(width / 2), math.ceil(height / 2))


@given(geometries)
def test_the_last_level_alone_is_one_tile(geometry: Geometry) -> None:
    assert [geometry.grid(level) == (1, 1) for level in range(geometry.levels)] == [
        *[False] * (geometry.levels - 1),
        True,
    ]


@given(geometries)
def test_the_grid_covers_a_level_without_a_tile_too_many(geometry: Geometry) -> None:
    for level in range(geometry.levels):
        width, height = geometry.size(level)
        cols, rows = geometry.grid(level)
        assert (cols - 1) * geometry.tile < width <= cols * geometry.tile
        assert (rows - 1) * geometry.tile < height <= rows * geometry.tile
        assert geometry.tiles(level) == cols * rows


@given(small)
def test_the_tiles_of_a_level_fill_it_exactly(geometry: Geometry) -> None:
    for level in range(geometry.levels):
        cols, rows = geometry.grid(level)
        grid = Rect(level=level, top=0, left=0, bottom=rows, right=cols)
        sizes = {position: geometry.tile_size(position) for position in grid.positions()}
        width, height = geometry.size(level)

        assert len(sizes) == grid.tiles == geometry.tiles(level)
        assert all(geometry.contains(position) for position in sizes)
        assert sum(size[0] * size[1] for size in sizes.values()) == width * height
        assert all(0 < side <= geometry.tile for size in sizes.values() for side in size)


@given(geometries, st.integers(-2, 22), st.integers(-2, 3200), st.integers(-2, 3200))
def test_a_position_outside_the_grid_is_not_contained(geometry: Geometry, level: int, row: int, col: int) -> None:
    inside = 0 <= level < geometry.levels
    if inside:
        width, height = geometry.size(level)
        inside = 0 <= row and row * geometry.tile < height and 0 <= col and col * geometry.tile < width

    assert geometry.contains(Position(level, row, col)) == inside


@given(geometries)
def test_deep_zoom_counts_from_one_pixel_up(geometry: Geometry) -> None:
    last = geometry.dzi_levels

    assert 2 ** (last - 1) < max(geometry.width, geometry.height) <= 2**last
    assert geometry.from_dzi(last) == 0
    assert geometry.size(geometry.from_dzi(0)) == (1, 1)
    stored = [level for level in range(last + 1) if geometry.from_dzi(level) < geometry.levels]
    assert stored == list(range(last - geometry.levels + 1, last + 1))
    for level in range(last + 1):
        scale = 2 ** (last - level)
        expected = math.ceil(geometry.width / scale), math.ceil(geometry.height / scale)
        assert geometry.size(geometry.from_dzi(level)) == expected


def test_a_known_pyramid() -> None:
    geometry = Geometry(width=1025, height=513, tile=256)

    assert geometry.levels == 4
    assert [geometry.size(level) for level in range(4)] == [(1025, 513), (513, 257), (257, 129), (129, 65)]
    assert [geometry.grid(level) for level in range(4)] == [(5, 3), (3, 2), (2, 1), (1, 1)]
    assert geometry.tile_size(Position(0, 2, 4)) == (1, 1)
    assert geometry.tile_size(Position(0, 1, 1)) == (256, 256)
    assert geometry.dzi_levels == 11


def test_a_single_pixel_is_a_whole_pyramid() -> None:
    pixel = Geometry(width=1, height=1, tile=256)

    assert (pixel.levels, pixel.dzi_levels, pixel.grid(0), pixel.from_dzi(0)) == (1, 0, (1, 1), 0)
    assert pixel.tile_size(Position(0, 0, 0)) == (1, 1)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"height": -1}, {"tile": 0}])
def test_a_pyramid_of_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Geometry(**({"width": 1, "height": 1, "tile": 1} | wrong))
