"""What people see is what the scanner wrote: copied tiles are equal to the source's."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile
from PIL import Image

from shared.decoding import Decoders
from shared.tiles.geometry import Geometry, Rect
from shared.tiles.keys import tile_key
from tests.pipeline.mill import Mill
from tests.pipeline.viewing import decoded, seen
from tests.slides.aperio import write_svs
from tests.slides.dicom import write_dicom
from tests.slides.plain import picture


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=2, memory=2**30) as pool:
        yield pool


KINDS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "YCbCr 4:2:0, tables shared": (write_svs, {"photometric": "ycbcr", "shared_tables": True}),
    "YCbCr 4:2:0, tables in each tile": (write_svs, {"photometric": "ycbcr", "shared_tables": False}),
    "YCbCr 4:4:4, tables shared": (write_svs, {"subsampling": "444", "shared_tables": True}),
    "YCbCr 4:4:4, tables in each tile": (write_svs, {"subsampling": "444", "shared_tables": False}),
    "RGB with Adobe marker": (write_svs, {"photometric": "rgb", "adobe_marker": True}),
    "RGB without Adobe marker": (write_svs, {"photometric": "rgb", "adobe_marker": False}),
    "RGB without Adobe marker, tables in each tile": (
        write_svs,
        {"photometric": "rgb", "adobe_marker": False, "shared_tables": False},
    ),
    "tiles of 240": (write_svs, {"tile": 240}),
    "tiles of 240, 4:4:4": (write_svs, {"tile": 240, "subsampling": "444"}),
    "tiles of 512": (write_svs, {"tile": 512}),
    "BigTIFF": (write_svs, {"bigtiff": True}),
    "DICOM": (write_dicom, {}),
    "DICOM in RGB, tiles of 240": (write_dicom, {"colours": "RGB", "tile": 240}),
    "DICOM, sparse": (write_dicom, {"organization": "TILED_SPARSE", "sparse": {(0, 0), (2, 1)}}),
    "DICOM, extended table": (write_dicom, {"offsets": "extended"}),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_copied_tiles_have_the_pixels_of_the_source(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    write, options = KINDS[kind]
    path = tmp_path / ("slide.svs" if write is write_svs else "slide.dcm")
    write(path, 1300, 1100, **options)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    assert version.base == "copied", version.base_reason
    geometry = version.geometry
    assert geometry is not None
    assert geometry.tile == options.get("tile", 256)
    compared = 0
    with openslide.OpenSlide(path) as slide:
        async with seen(mill) as browser:
            for position in Rect(
                level=0, top=0, left=0, bottom=1100 // geometry.tile, right=1300 // geometry.tile
            ).positions():
                tile = await browser.tile(image, position)
                corner = (position.col * geometry.tile, position.row * geometry.tile)
                region = slide.read_region(corner, 0, (geometry.tile, geometry.tile))
                white = Image.new("RGBA", region.size, "white")
                expected = np.asarray(Image.alpha_composite(white, region).convert("RGB"))
                assert np.array_equal(decoded(tile), expected)
                compared += 1
    assert compared >= 4


NOT_COPIED: dict[str, tuple[Callable[[Path], object], str]] = {
    "tiles with LZW": (
        lambda path: tifffile.imwrite(path, picture(), photometric="rgb", tile=(256, 256), compression="lzw"),
        "its tiles are compressed with LZW, not as JPEG",
    ),
    "strips": (
        lambda path: tifffile.imwrite(path, picture(), photometric="rgb", rowsperstrip=16),
        "its image is stored in strips, not in tiles",
    ),
    "tiles that are not square": (
        lambda path: tifffile.imwrite(path, picture(), photometric="ycbcr", tile=(128, 256), compression="jpeg"),
        "its tiles of 256 x 128 pixels are not square",
    ),
    "DICOM with JPEG 2000": (
        lambda path: write_dicom(path, 700, 530, coding="jpeg2000"),
        "its frames are compressed as JPEG 2000, not as baseline JPEG",
    ),
}


@pytest.mark.parametrize("kind", NOT_COPIED)
async def test_an_image_whose_tiles_can_not_be_copied_says_why(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    write, reason = NOT_COPIED[kind]
    path = tmp_path / ("slide.dcm" if "DICOM" in kind else "slide.tif")
    write(path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    assert (version.base, version.base_reason) == ("encoded", reason)


async def test_edge_tiles_are_cropped(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, 1300, 1100)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    geometry = Geometry(width=1300, height=1100, tile=256)
    for level in range(geometry.levels):
        cols, rows = geometry.grid(level)
        for position in Rect(level=level, top=0, left=0, bottom=rows, right=cols).positions():
            tile = await mill.tiles.get(tile_key(image, 1, position))
            assert tile is not None
            height, width, _, _ = simplejpeg.decode_jpeg_header(tile)
            assert (width, height) == geometry.tile_size(position)
