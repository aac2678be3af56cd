"""What the viewer says, as values."""

from xml.etree import ElementTree

import pytest

from services.viewer.core import Below, Stored, description, locate
from shared.tiles.geometry import Geometry, Position

SLIDE = Geometry(width=1000, height=700, tile=256)


def test_the_last_deep_zoom_level_is_full_resolution() -> None:
    """ceil(log2(1000)) is 10."""
    assert Stored(Position(0, 2, 3)) == locate(SLIDE, 10, 3, 2)


def test_the_level_that_fits_in_one_tile_is_the_last_stored_one() -> None:
    """1000 -> 500 -> 250 pixels: two halvings after full resolution."""
    assert Stored(Position(2, 0, 0)) == locate(SLIDE, 8, 0, 0)


@pytest.mark.parametrize(("level", "halvings"), [(7, 1), (4, 4), (0, 8)])
def test_levels_below_one_tile_are_halvings_of_the_last_stored_one(level: int, halvings: int) -> None:
    assert Below(halvings) == locate(SLIDE, level, 0, 0)


@pytest.mark.parametrize(
    ("level", "col", "row"), [(11, 0, 0), (999999999, 0, 0), (10, 4, 0), (10, 0, 3), (8, 1, 0), (7, 0, 1), (0, 1, 0)]
)
def test_positions_outside_the_grid_have_no_tile(level: int, col: int, row: int) -> None:
    assert locate(SLIDE, level, col, row) is None


def test_a_slide_of_one_pixel_has_one_level() -> None:
    pixel = Geometry(width=1, height=1, tile=256)

    assert Stored(Position(0, 0, 0)) == locate(pixel, 0, 0, 0)
    assert locate(pixel, 1, 0, 0) is None


def test_the_description_is_deep_zoom_xml() -> None:
    image = ElementTree.fromstring(description(SLIDE))
    size = image.find("{http://schemas.microsoft.com/deepzoom/2008}Size")

    assert "{http://schemas.microsoft.com/deepzoom/2008}Image" == image.tag
    assert {"TileSize": "256", "Overlap": "0", "Format": "jpeg"} == image.attrib
    assert size is not None
    assert {"Width": "1000", "Height": "700"} == size.attrib
