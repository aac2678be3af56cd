"""Slides of other scanners come out as OpenSlide shows them, whether their tiles are copied or decoded."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import pytest
import pytest_asyncio
from PIL import Image

from shared.decoding import Decoders
from tests.pipeline.mill import Mill
from tests.slides import vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=1, memory=2**30) as pool:
        yield pool


def _shown(path: Path, vendor: str) -> np.ndarray:
    """Full resolution by OpenSlide, over white."""
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == vendor
        pixels = slide.read_region((0, 0), 0, slide.dimensions)
    white = Image.new("RGBA", pixels.size, "white")
    return np.asarray(Image.alpha_composite(white, pixels).convert("RGB"))


@pytest.mark.parametrize(
    ("write", "suffix", "vendor", "base"),
    [
        (vendors.write_leica, ".scn", "leica", "encoded"),
        (vendors.write_hamamatsu, ".ndpi", "hamamatsu", "encoded"),
        (partial(vendors.write_hamamatsu, restart=32), ".ndpi", "hamamatsu", "encoded"),
        (vendors.write_trestle, ".tif", "trestle", "copied"),
        (partial(vendors.write_trestle, overlap=16), ".tif", "trestle", "encoded"),
        (vendors.write_philips, ".tiff", "philips", "copied"),
        (vendors.write_ventana, ".bif", "ventana", "encoded"),
        (partial(vendors.write_ventana, overlap=20), ".bif", "ventana", "encoded"),
    ],
    ids=[
        "leica",
        "hamamatsu",
        "hamamatsu-restarts",
        "trestle",
        "trestle-overlapping",
        "philips",
        "ventana",
        "ventana-overlapping",
    ],
)
async def test_a_scanners_slide_is_shown_as_openslide_shows_it(
    decoders: Decoders, tmp_path: Path, write: Callable[[Path], None], suffix: str, vendor: str, base: str
) -> None:
    path = tmp_path / f"slide{suffix}"
    write(path)
    expected = _shown(path, vendor)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    geometry = version.geometry
    assert geometry is not None
    assert (geometry.height, geometry.width) == expected.shape[:2]
    assert version.base == base, version.base_reason
    assert (version.base_reason is None) == (base == "copied")
    seen = await mill.shown(image, 255)
    if base == "copied":
        assert np.array_equal(seen, expected)
    tissue = (expected != 255).any(axis=2)
    difference = seen.astype(int) - expected
    # What JPEG at quality 80 costs; a shift by a pixel or swapped channels cost far more.
    assert np.abs(difference[tissue]).mean() < 2.4
    assert np.abs(difference[tissue].mean(0)).max() < 1.0
    # Bare glass stays bare, but for the ringing of JPEG along an area's edge.
    assert tissue.all() or np.abs(difference[~tissue]).mean() < 0.1
