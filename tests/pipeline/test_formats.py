"""Whatever way a picture is stored, people see its colours, upright, or are told why not."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import pytest_asyncio
import tifffile

from shared.decoding import Decoders
from shared.tiles.keys import level_range
from tests.pipeline.mill import Mill
from tests.pipeline.viewing import seen
from tests.slides.colours import REFUSED, WRITERS, write
from tests.slides.odd import ODD, write_progressive_tile
from tests.slides.plain import picture

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
    async with seen(mill) as browser:
        shown = await browser.base(image)
    difference = shown.astype(int) - expected
    # What JPEG at quality 80 costs; a wrong profile, turn or ink costs far more.
    assert np.abs(difference).mean() < 7
    assert np.abs(difference.mean((0, 1))).max() < 1.0


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_picture_that_is_not_read_is_refused_with_the_reason(
    decoders: Decoders, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "picture.tif"
    REFUSED[kind][0](picture(), path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason == f"picture.tif can't be read: {REFUSED[kind][1]}."
    assert "LZW, Deflate or JPEG" in failure.remedy


@pytest.mark.parametrize("kind", ODD)
async def test_what_is_odd_or_damaged_is_refused_in_words_for_a_person(
    decoders: Decoders, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / kind
    write_odd, reason = ODD[kind]
    write_odd(path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason == f"{kind} {reason}."
    assert failure.remedy.endswith(".")


async def test_a_tile_of_another_kind_than_the_others_is_not_called_damaged(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_progressive_tile(path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason == (
        "The tile in row 0, column 1 of the slide is progressive JPEG, and others are baseline JPEG, which are copied "
        "as they are."
    )
    assert "baseline JPEG" in failure.remedy


@pytest.mark.parametrize(
    ("tile", "compression", "reason"),
    [
        ((256, 256), "lzw", "The tile in row 0, column 1 of the slide is damaged (it can't be unpacked)."),
        ((256, 256), "deflate", "The tile in row 0, column 1 of the slide is damaged (it can't be unpacked)."),
        ((256, 256), "zstd", "The tile in row 0, column 1 of the slide is damaged (it can't be unpacked)."),
        ((128, 256), "lzw", "picture.tif can't be read: its data are damaged."),
    ],
)
async def test_a_picture_with_a_damaged_tile_is_not_shown_with_a_hole(
    decoders: Decoders, tmp_path: Path, tile: tuple[int, int], compression: str, reason: str
) -> None:
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, picture(), photometric="rgb", tile=tile, compression=compression)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].aspage().dataoffsets[1]
    with path.open("r+b") as file:
        file.seek(offset + 40)
        file.write(b"\xff\0" * 100)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason.startswith(reason)
