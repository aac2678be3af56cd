"""What people see is what the scanner wrote: copied tiles are equal to the source's, folded pixels are its means."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import simplejpeg

from services.pyramid import pixels
from shared.decoding import Decoders
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.keys import tile_key
from tests.pipeline.mill import Mill
from tests.slides.aperio import write_svs
from tests.slides.plain import picture


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=2, memory=2**30) as pool:
        yield pool


KINDS: dict[str, dict[str, Any]] = {
    "YCbCr 4:2:0, tables shared": {"photometric": "ycbcr", "shared_tables": True},
    "YCbCr 4:4:4, tables in each tile": {"photometric": "ycbcr", "subsampling": "444", "shared_tables": False},
    "RGB with Adobe marker": {"photometric": "rgb", "adobe_marker": True},
    "RGB without Adobe marker": {"photometric": "rgb", "adobe_marker": False},
    "tiles of 240": {"tile": 240},
    "tiles of 512": {"tile": 512},
    "BigTIFF": {"bigtiff": True},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_copied_tiles_have_the_pixels_of_the_source(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, 1300, 1100, **KINDS[kind])
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.base == "copied", version.base_reason
    geometry = version.geometry
    assert geometry is not None
    compared = 0
    with openslide.OpenSlide(path) as slide:
        for position in Rect(
            level=0, top=0, left=0, bottom=1100 // geometry.tile, right=1300 // geometry.tile
        ).positions():
            tile = await mill.tiles.get(tile_key(image, 1, position))
            assert tile is not None
            corner = (position.col * geometry.tile, position.row * geometry.tile)
            expected = np.asarray(slide.read_region(corner, 0, (geometry.tile, geometry.tile)).convert("RGB"))
            assert np.array_equal(simplejpeg.decode_jpeg(tile, fastdct=False, fastupsample=False), expected)
            compared += 1
    assert compared >= 4


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


@pytest.mark.parametrize(("width", "height"), [(4096, 4096), (4001, 3333)])
def test_folded_pixels_are_the_means_of_the_source(width: int, height: int) -> None:
    source = picture(width, height)
    geometry = Geometry(width=width, height=height, tile=256)
    # One square of tiles, with a further round to come, so that the fold hands out its lossless root.
    rect = Rect(level=0, top=0, left=0, bottom=16, right=16).model_copy(
        update={"bottom": geometry.grid(0)[1], "right": geometry.grid(0)[0]}
    )
    decoded = np.empty_like(source)
    tiles: list[tuple[Position, bytes]] = []
    for position in rect.positions():
        y, x = position.row * 256, position.col * 256
        piece = np.ascontiguousarray(source[y : y + 256, x : x + 256])
        tiles.append((position, simplejpeg.encode_jpeg(piece, quality=80, colorsubsampling="420", fastdct=False)))
        decoded[y : y + 256, x : x + 256] = simplejpeg.decode_jpeg(tiles[-1][1], fastdct=False, fastupsample=False)

    folded, _ = pixels.first_level(
        rect, [position for position, _ in tiles], geometry, False, [memoryview(data) for _, data in tiles]
    )

    expected = decoded.astype(np.float64)
    for level in range(1, geometry.levels):
        if level > 1:
            folded = pixels.halve(folded, level)
        expected = np.pad(expected, ((0, expected.shape[0] % 2), (0, expected.shape[1] % 2), (0, 0)), mode="edge")
        expected = (expected[0::2, 0::2] + expected[1::2, 0::2] + expected[0::2, 1::2] + expected[1::2, 1::2]) / 4
        assert folded.shape == expected.shape
        difference = folded - expected
        assert np.abs(difference).mean() < 1.0, f"level {level}"
        assert np.abs(difference.mean((0, 1))).max() < 0.3, f"level {level}"
        # No seam and no shift: the last row and column are as good as the rest.
        assert np.abs(difference[-1]).mean() < 1.5, f"level {level}"
        assert np.abs(difference[:, -1]).mean() < 1.5, f"level {level}"
