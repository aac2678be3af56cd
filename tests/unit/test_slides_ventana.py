"""Which Ventana slides are grids of tiles that can be copied, and why others are not."""

from io import BytesIO
from pathlib import Path

import pytest

from shared.slides.tiff import TiffSlide, describe
from tests.slides.vendors import TILE, Area, write_ventana

OVERLAPS = "Ventana's tiles overlap and have to be joined"
OFF_GRID = "Ventana's scanned areas do not lie on one grid of tiles"
UNKNOWN = "what Ventana's XML says of the scanned areas is not understood"


def look(data: bytes) -> TiffSlide:
    return describe(BytesIO(data), len(data), "slide.bif")


def test_areas_are_placed_on_the_glass_with_nothing_between(tmp_path: Path) -> None:
    path = tmp_path / "slide.bif"
    write_ventana(path, areas=(Area(0, 0, 1, 2, 0, 0), Area(1, 0, 1, 1, 3 * TILE, TILE)))

    slide = look(path.read_bytes())

    assert slide.reason is None
    assert (slide.width, slide.height) == (4 * TILE, 2 * TILE)
    assert [bool(length) for length in slide.lengths] == [True, False, False, True, True, False, False, False]
    assert len(set(slide.offsets)) == 4


@pytest.mark.parametrize(
    ("overlap", "areas", "reason"),
    [
        (8, (Area(0, 0, 2, 2, 0, 0),), OVERLAPS),
        (0, (Area(0, 0, 2, 2, 100, 0),), OFF_GRID),
        (0, (Area(0, 0, 2, 2, 0, 0), Area(2, 0, 2, 2, 512, 3)), OFF_GRID),
        (0, (Area(0, 0, 2, 2, 0, 0), Area(2, 0, 2, 2, 256, 0)), OVERLAPS),
        (0, (Area(0, 0, 1, 1, 0, 0), Area(1, 0, 1, 1, TILE * 10**8, 0)), OFF_GRID),
    ],
)
def test_tiles_that_form_no_grid_are_not_copied(
    tmp_path: Path, overlap: int, areas: tuple[Area, ...], reason: str
) -> None:
    path = tmp_path / "slide.bif"
    write_ventana(path, overlap, areas)

    assert look(path.read_bytes()).reason == reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<AoiOrigin>", b"<AoiAnother>"),
        (b'NumCols="3"', b'NumCols="x"'),
        (b'NumCols="3"', b'NumCols="9"'),
        (b'OriginX="0"', b'OriginX="1"'),
        (b'AOIScanned="1"', b'AOIScanned="0"'),
        (b'Width="256"', b'Width="128"'),
    ],
)
def test_areas_that_are_not_understood_are_left_to_openslide(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "slide.bif"
    write_ventana(path)
    data = path.read_bytes()
    assert old in data

    assert look(data.replace(old, new.ljust(len(old)))).reason == UNKNOWN


@pytest.mark.parametrize("row", [-1, -1000])
def test_an_area_above_the_files_own_grid_is_left_to_openslide(tmp_path: Path, row: int) -> None:
    path = tmp_path / "slide.bif"
    write_ventana(path)
    data = path.read_bytes()
    # Of the same length in all, since the file's directories say where everything lies.
    spare, origin = b'AOIIndex="0" ', b'OriginY="0"'
    start, end = data.index(spare), data.index(origin)
    moved = f'OriginY="{row * TILE}"'.encode().ljust(len(spare) + len(origin))
    data = data[:start] + data[start + len(spare) : end] + moved + data[end + len(origin) :]

    assert look(data).reason == UNKNOWN
