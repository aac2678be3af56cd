"""Slides of other scanners are seen in a browser as OpenSlide shows them, whether their tiles are copied or decoded."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import pytest
import pytest_asyncio

from services.dicer import headers, pixels
from shared.decoding import Decoders
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Position, Rect
from tests.pipeline.mill import Mill
from tests.pipeline.viewing import decoded, seen, shown_by_openslide
from tests.slides import huron, vendors, zeiss
from tests.slides.dicom import write_dicom
from tests.slides.ndpi import MACRO, write_ndpi
from tests.slides.ome import write_ome

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=1, memory=2**30) as pool:
        yield pool


# Two areas of Ventana tiles, one above the other and to its right; the second time a few pixels further on.
AREAS = (vendors.Area(0, 0, 2, 3, 256, 1024), vendors.Area(2, 1, 3, 2, 1024, 256.0))
OFF_GRID = (AREAS[0], AREAS[1]._replace(left=1030, below=240))
# What writes the slide, the ending of its name, OpenSlide's name for its maker, and how full resolution is made.
SLIDES: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "leica": (vendors.write_leica, ".scn", "leica", "encoded"),
    "leica-areas": (
        partial(vendors.write_leica, areas=((400_000, 400_000), (900_000, 1_000_000))),
        ".scn",
        "leica",
        "encoded",
    ),
    "hamamatsu": (write_ndpi, ".ndpi", "hamamatsu", "encoded"),
    "hamamatsu-restarts": (partial(write_ndpi, restart=32), ".ndpi", "hamamatsu", "encoded"),
    "hamamatsu-420": (partial(write_ndpi, subsampling="4:2:0"), ".ndpi", "hamamatsu", "encoded"),
    "hamamatsu-422-restarts": (
        partial(write_ndpi, restart=16, subsampling="4:2:2"),
        ".ndpi",
        "hamamatsu",
        "encoded",
    ),
    "hamamatsu-levels": (partial(write_ndpi, restart=32, levels=3), ".ndpi", "hamamatsu", "encoded"),
    "dicom-fragments": (
        partial(write_dicom, width=700, height=530, fragments=2),
        ".dcm",
        "dicom",
        "encoded",
    ),
    "dicom-not-compressed": (
        partial(write_dicom, width=700, height=530, coding="none"),
        ".dcm",
        "dicom",
        "encoded",
    ),
    "dicom-arithmetic": (
        partial(write_dicom, width=256, height=128, tile=128, coding="arithmetic"),
        ".dcm",
        "dicom",
        "encoded",
    ),
    "aperio-planes": (vendors.write_aperio_planes, ".svs", "aperio", "copied"),
    "trestle": (vendors.write_trestle, ".tif", "trestle", "copied"),
    "trestle-overlapping": (partial(vendors.write_trestle, overlap=16), ".tif", "trestle", "encoded"),
    "huron": (huron.write_huron, ".tif", "huron", "copied"),
    "argos": (huron.write_argos, ".avs", "argos", "copied"),
    "argos-planes": (partial(huron.write_argos, planes=3), ".avs", "argos", "encoded"),
    "philips": (vendors.write_philips, ".tiff", "philips", "copied"),
    "philips-sparse": (partial(vendors.write_philips, sparse={1, 3, 6}), ".tiff", "philips", "copied"),
    "sparse": (partial(vendors.write_sparse, compression="jpeg"), ".tif", "generic-tiff", "copied"),
    "sparse-lzw": (partial(vendors.write_sparse, compression="lzw"), ".tif", "generic-tiff", "encoded"),
    "sparse-not-compressed": (partial(vendors.write_sparse, compression=None), ".tif", "generic-tiff", "encoded"),
    "ome": (write_ome, ".ome.tiff", "generic-tiff", "copied"),
    "ome-deflate": (partial(write_ome, compression="zlib"), ".ome.tiff", "generic-tiff", "encoded"),
    "ventana": (vendors.write_ventana, ".bif", "ventana", "copied"),
    "ventana-areas": (partial(vendors.write_ventana, areas=AREAS), ".bif", "ventana", "copied"),
    "ventana-areas-off-the-grid": (partial(vendors.write_ventana, areas=OFF_GRID), ".bif", "ventana", "encoded"),
    "ventana-areas-overlapping": (
        partial(vendors.write_ventana, overlap=20, areas=AREAS),
        ".bif",
        "ventana",
        "encoded",
    ),
    "ventana-overlapping": (partial(vendors.write_ventana, overlap=20), ".bif", "ventana", "encoded"),
    "zeiss": (partial(zeiss.write_czi, compression="none"), ".czi", "zeiss", "encoded"),
    "zeiss-zstd0": (partial(zeiss.write_czi, compression="zstd0"), ".czi", "zeiss", "encoded"),
    "zeiss-zstd1-16-bits": (partial(zeiss.write_czi, deep=True), ".czi", "zeiss", "encoded"),
}


@pytest.mark.parametrize("kind", SLIDES)
async def test_a_scanners_slide_is_seen_as_openslide_shows_it(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    write, suffix, vendor, base = SLIDES[kind]
    path = tmp_path / f"slide{suffix}"
    write(path)
    assert openslide.OpenSlide.detect_format(path) == vendor
    expected = shown_by_openslide(path)
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
    async with seen(mill) as browser:
        shown = await browser.base(image)
    if base == "copied":
        # Tiles that the slide's edge cuts are cropped and encoded again.
        height, width = (length // geometry.tile * geometry.tile for length in expected.shape[:2])
        assert np.array_equal(shown[:height, :width], expected[:height, :width])
    tissue = (expected != 255).any(axis=2)
    difference = shown.astype(int) - expected
    # What JPEG at quality 80 costs; a shift by a pixel or swapped channels cost far more.
    assert np.abs(difference[tissue]).mean() < 2.4
    assert np.abs(difference[tissue].mean(0)).max() < 1.0
    # Bare glass stays bare, but for the ringing of JPEG along an area's edge.
    assert (~tissue).mean() < 0.01 or np.abs(difference[~tissue]).mean() < 0.3


async def test_label_and_macro_in_philipss_xml_are_shown(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    drawn = {"LABELIMAGE": vendors.glass(120, 160), "MACROIMAGE": vendors.glass(300, 110)}
    vendors.write_philips(path, embedded=drawn)
    with openslide.OpenSlide(path) as slide:
        expected = {kind: np.asarray(slide.associated_images[kind].convert("RGB")) for kind in ("label", "macro")}
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    async with seen(mill) as browser:
        for kind, pixels in expected.items():
            assert np.abs((await browser.associated(image, kind)).astype(int) - pixels).mean() < 2.4, kind


@pytest.mark.parametrize(
    ("compression", "deep", "planes"),
    [("jpegxr", False, ""), ("jpegxr", True, "ZT"), ("zstd0", False, "ZT"), ("zstd1", True, "ZT"), ("none", True, "B")],
)
async def test_czi_that_openslide_does_not_read_is_seen_as_it_was_drawn(
    decoders: Decoders, tmp_path: Path, compression: zeiss.Compression, deep: bool, planes: str
) -> None:
    path = tmp_path / "slide.czi"
    zeiss.write_czi(path, compression=compression, deep=deep, planes=planes)
    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(path)
    # The maker's library shows the same of such a file: tests/unit/test_slides_samples.py.
    expected = zeiss.drawn()
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    assert version.source is not None
    assert version.source.reader == "czi"
    async with seen(mill) as browser:
        shown = await browser.base(image)
    assert shown.shape == expected.shape
    difference = shown.astype(int) - expected
    assert np.abs(difference).mean() < 2.4
    assert np.abs(difference.mean((0, 1))).max() < 1.0


@pytest.mark.parametrize("compression", ["zstd1", "jpegxr"])
async def test_what_a_zeiss_slide_says_of_itself_is_known(
    decoders: Decoders, tmp_path: Path, compression: zeiss.Compression
) -> None:
    path = tmp_path / "slide.czi"
    zeiss.write_czi(path, compression=compression)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    source = (await mill.version(image)).source
    assert source is not None
    assert (source.mpp, source.objective, source.barcode) == (0.25, 20, zeiss.BARCODE)
    assert source.scanned == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("write", "suffix", "kind", "size"),
    [
        (zeiss.write_czi, ".czi", "label", zeiss.LABEL),
        (zeiss.write_czi, ".czi", "macro", zeiss.MACRO),
        (partial(zeiss.write_czi, compression="jpegxr"), ".czi", "label", zeiss.LABEL),
        (partial(zeiss.write_czi, compression="jpegxr"), ".czi", "macro", zeiss.MACRO),
        (write_ndpi, ".ndpi", "macro", MACRO),
        (vendors.write_ventana, ".bif", "macro", (200, 300)),
        (huron.write_huron, ".tif", "label", huron.LABEL),
        (huron.write_huron, ".tif", "macro", huron.MACRO),
        (huron.write_argos, ".avs", "macro", huron.MACRO),
        (partial(huron.write_argos, planes=3), ".avs", "macro", huron.MACRO),
    ],
)
async def test_a_slides_label_and_macro_are_shown(
    decoders: Decoders, tmp_path: Path, write: Callable[[Path], None], suffix: str, kind: str, size: tuple[int, int]
) -> None:
    path = tmp_path / f"slide{suffix}"
    write(path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    async with seen(mill) as browser:
        picture = await browser.associated(image, kind)
    assert np.abs(picture.astype(int) - vendors.glass(*size)).mean() < 3


@pytest.mark.parametrize(
    ("write", "name", "reason"),
    [
        (
            partial(write_ome, channels=3),
            "slide.ome.tif",
            "slide.ome.tif holds 3 channels apart from each other, as of fluorescence.",
        ),
        (
            partial(write_ome, planes=2),
            "slide.ome.tif",
            "slide.ome.tif holds 2 planes or moments, of which only one could be shown.",
        ),
        (
            partial(vendors.write_imagej, shape=(3, 1)),
            "slide.tif",
            "slide.tif holds 3 channels apart from each other, as of fluorescence.",
        ),
        (
            partial(vendors.write_imagej, shape=(1, 4)),
            "slide.tif",
            "slide.tif holds 4 planes or moments, of which only one could be shown.",
        ),
        (
            vendors.write_pages,
            "slide.tif",
            "slide.tif holds 2 pictures of about the same size, of which only one could be shown.",
        ),
        (
            # libjpeg looks at the blocks below for this chroma, where OpenSlide hands it one span between markers.
            partial(write_ndpi, restart=16, subsampling="4:2:0"),
            "slide.ndpi",
            "slide.ndpi can't be read: its JPEG data have their chroma halved both ways between restart markers, which "
            "OpenSlide does not read, or are damaged.",
        ),
    ],
)
async def test_what_would_not_be_shown_right_is_refused(
    decoders: Decoders, tmp_path: Path, write: Callable[[Path], None], name: str, reason: str
) -> None:
    path = tmp_path / name
    write(path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason == reason


async def test_a_damaged_tile_of_a_zeiss_slide_is_named(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "slide.czi"
    zeiss.write_czi(path, compression="jpegxr")
    data = path.read_bytes()
    # Behind the last tile lies a smaller picture of its scene.
    last = data.rindex(b"II\xbc\1", 0, data.rindex(b"II\xbc\1"))
    path.write_bytes(data[:last] + bytes(200) + data[last + 200 :])
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    failure = (await mill.version(image)).failure
    assert failure is not None
    assert failure.reason.startswith("The tile in row 0, column 2 of the slide is damaged")


async def test_ndpi_over_4_gb_is_cut_as_openslide_shows_it(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "slide.ndpi"
    # Where nothing lies the file takes no room, but a copy of it in a store would.
    write_ndpi(path, restart=32, levels=2, begin=2**32 + 4321)
    expected = shown_by_openslide(path)
    length = path.stat().st_size
    assert length > 2**32
    with path.open("rb") as file:

        async def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        header = await decoders.call(headers.find_in_tiff, length, path.name, reader=read, length=length, seconds=60)
    assert header.reason == "Hamamatsu stores the whole slide as one JPEG image"
    found = await decoders.call(pixels.find_by_path, str(path), path.name, "tiff", header, header.reason, seconds=60)
    geometry = found.geometry
    cols, rows = geometry.grid(0)
    recipe = Recipe(revision=1, quality=80, subsampling="444", tile=geometry.tile)
    shown = np.zeros_like(expected)
    whole = Rect(level=0, top=0, left=0, bottom=rows, right=cols)
    cutting = decoders.stream(pixels.cut_openslide, str(path), path.name, whole, geometry, recipe, None, seconds=60)
    async for batch in cutting:
        for position, tile in batch:
            assert isinstance(position, Position)
            y, x = position.row * geometry.tile, position.col * geometry.tile
            shown[y : y + geometry.tile, x : x + geometry.tile] = decoded(tile)
    assert np.abs(shown.astype(int) - expected).mean() < 2.4
