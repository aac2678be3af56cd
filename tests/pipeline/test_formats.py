"""Whatever way a picture is stored, people see its colours, upright."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import pytest_asyncio

from shared.decoding import Decoders
from shared.tiles.keys import level_range
from tests.pipeline.mill import Mill
from tests.slides.colours import WRITERS, write

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=1, memory=2**30) as pool:
        yield pool


@pytest.mark.parametrize("kind", WRITERS)
async def test_a_picture_keeps_its_colours(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"picture{WRITERS[kind][0]}"
    expected = write(kind, path)
    if path.suffix == ".svs":
        assert openslide.OpenSlide.detect_format(path) == "aperio"
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    geometry = version.geometry
    assert geometry is not None
    assert (geometry.height, geometry.width) == expected.shape[:2]
    cols, rows = geometry.grid(0)
    assert await mill.tiles.count(level_range(image, 1, 0)) == cols * rows
    seen = await mill.shown(image, 0)
    difference = seen.astype(int) - expected
    # What JPEG at quality 80 costs; a wrong profile, turn or ink costs far more.
    assert np.abs(difference).mean() < 7
    assert np.abs(difference.mean((0, 1))).max() < 1.0
