"""Plain pictures are decoded while they come from the database, and folded in passing."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from shared.decoding import Decoders
from shared.tiles.geometry import Rect
from shared.tiles.keys import tile_key
from shared.tiles.pixels import encode, halve
from tests.pipeline.mill import Mill

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=1, memory=2**30) as pool:
        yield pool


@pytest.mark.parametrize("size", [(1301, 1037), (700, 513), (256, 512), (40, 3)])
async def test_every_level_is_made_of_pixels_that_were_never_encoded(
    decoders: Decoders, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "picture.png"
    down, right = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([down % 251, right % 241, (down * right) % 239], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    geometry = version.geometry
    assert version.state == "ready", version.failure
    assert geometry is not None
    assert version.stages.fold.total == 0
    assert not list((tmp_path / "scratch").glob("*/data"))
    for level in range(geometry.levels):
        if level > 0:
            pixels = halve(pixels, level)
        cols, rows = geometry.grid(level)
        for position in Rect(level=level, top=0, left=0, bottom=rows, right=cols).positions():
            y, x = position.row * 256, position.col * 256
            tile = np.ascontiguousarray(pixels[y : y + 256, x : x + 256])
            expected = encode(tile, 80, "420")
            assert await mill.tiles.get(tile_key(image, 1, position)) == expected
