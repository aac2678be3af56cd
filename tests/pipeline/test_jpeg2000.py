"""Aperio slides of JPEG 2000 tiles are read tile by tile, straight from the file store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pytest_asyncio
import tifffile

from shared.decoding import Decoders
from shared.tiles.geometry import Rect
from shared.tiles.keys import tile_key
from shared.tiles.pixels import encode
from tests.pipeline.mill import Mill
from tests.slides.jpeg2000 import write_jpeg2000_svs

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=2, memory=2**30) as pool:
        yield pool


KINDS: dict[str, dict[str, Any]] = {
    "RGB": {"tile": 240},
    "RGB, tiles of 256": {},
    "YCbCr": {"tile": 240, "ycbcr": True},
    "YCbCr, any values": {"ycbcr": True, "wild": True},
    "YCbCr, chroma halved across": {"tile": 240, "ycbcr": True, "steps": (2, 1)},
    "YCbCr, chroma halved across, any values": {"ycbcr": True, "steps": (2, 1), "wild": True},
    "YCbCr, chroma halved down": {"ycbcr": True, "steps": (1, 2)},
    "YCbCr, chroma halved both ways": {"ycbcr": True, "steps": (2, 2)},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_tile_holds_what_openslide_reads_there(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "slide.svs"
    write_jpeg2000_svs(path, 700, 530, **KINDS[kind])
    tile = KINDS[kind].get("tile", 256)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    geometry = version.geometry
    assert version.state == "ready"
    assert version.source is not None
    assert geometry is not None
    assert (version.source.reader, geometry.tile) == ("tiff-jpeg2000", tile)
    assert (version.base, version.base_reason) == ("encoded", "its tiles are compressed as JPEG 2000, not as JPEG")
    cols, rows = geometry.grid(0)
    with openslide.OpenSlide(path) as slide:
        for position in Rect(level=0, top=0, left=0, bottom=rows, right=cols).positions():
            region = slide.read_region((position.col * tile, position.row * tile), 0, geometry.tile_size(position))
            read = np.ascontiguousarray(np.asarray(region)[:, :, :3])
            expected = encode(read, 80, "420")
            assert await mill.tiles.get(tile_key(image, 1, position)) == expected


@pytest.mark.parametrize("damage", [b"\xff\x4f\xff\x51\0\x2f", bytes(60), b"\xff\x4f\xff\x51" + b"\xff" * 40])
async def test_a_damaged_tile_fails_the_slide_and_is_named(decoders: Decoders, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "slide.svs"
    write_jpeg2000_svs(path, 1300, 1100)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[8]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(damage + bytes(40))
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason.startswith("The tile in row 1, column 2 of the slide is damaged")
