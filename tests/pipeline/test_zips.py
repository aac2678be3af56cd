"""A slide of several files comes as one zip and is one image, with the pixels that OpenSlide reads from the files."""

import random
import shutil
import stat
import zipfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import openslide
import pydicom
import pytest
import pytest_asyncio
from PIL import Image
from pydicom.uid import generate_uid

from shared.decoding import Decoders
from shared.slides import deflate64
from tests.pipeline.mill import Mill
from tests.pipeline.viewing import seen, shown_by_openslide
from tests.slides.aperio import write_svs
from tests.slides.dicom import write_dicom
from tests.slides.hamamatsu import write_vms, write_vmu
from tests.slides.mirax import write_mirax
from tests.slides.zips import write_deflate64

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = (1300, 1100)
JOINED = "it consists of several files, whose pixels have to be joined"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=2, memory=2**30) as pool:
        yield pool


def write_series(path: Path, *, coding: Literal["jpeg", "jpeg2000"] = "jpeg") -> None:
    """Two levels and a label, each in a file beside `path`, which is the smaller level; one series."""
    upper, base, label = (path.with_name(name) for name in (path.name, "b.dcm", "c.dcm"))
    write_dicom(base, *SIZE, coding=coding)
    write_dicom(upper, SIZE[0] // 2, SIZE[1] // 2, coding=coding)
    write_dicom(label, 256, 256, coding=coding)
    whole = pydicom.dcmread(base)
    for file in (upper, label):
        data = pydicom.dcmread(file)
        data.StudyInstanceUID, data.SeriesInstanceUID = whole.StudyInstanceUID, whole.SeriesInstanceUID
        if file == label:
            data.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
        data.save_as(file, enforce_file_format=True)


def write_coded_series(path: Path) -> None:
    write_series(path, coding="jpeg2000")


def write_slide(path: Path) -> None:
    write_svs(path, *SIZE)


def zipped(folder: Path, to: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip of everything in a folder, under the folder's name."""
    if compression == deflate64.METHOD:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return write_deflate64(to, {str(path.relative_to(folder.parent)): path.read_bytes() for path in files})
    with zipfile.ZipFile(to, "w", compression) as made:
        for path in sorted(folder.rglob("*")):
            made.write(path, path.relative_to(folder.parent))
    return to


async def shown(mill: Mill, image: str) -> np.ndarray:
    """Full resolution, as tiles that come over HTTP."""
    async with seen(mill) as browser:
        return await browser.base(image)


@pytest.mark.parametrize(
    ("name", "write", "compression", "vendor", "reason"),
    [
        ("slide.mrxs", write_mirax, zipfile.ZIP_STORED, "mirax", JOINED),
        ("slide.mrxs", write_mirax, zipfile.ZIP_DEFLATED, "mirax", JOINED),
        ("slide.mrxs", write_mirax, deflate64.METHOD, "mirax", JOINED),
        ("slide.mrxs", partial(write_mirax, form="PNG"), zipfile.ZIP_STORED, "mirax", JOINED),
        ("slide.mrxs", partial(write_mirax, form="BMP24"), zipfile.ZIP_STORED, "mirax", JOINED),
        ("slide.mrxs", partial(write_mirax, filters=2), zipfile.ZIP_STORED, "mirax", JOINED),
        ("slide.mrxs", partial(write_mirax, filters=3), zipfile.ZIP_STORED, "mirax", JOINED),
        ("slide.vms", write_vms, zipfile.ZIP_STORED, "hamamatsu", JOINED),
        ("slide.vmu", write_vmu, zipfile.ZIP_DEFLATED, "hamamatsu", JOINED),
        ("a.dcm", write_series, zipfile.ZIP_DEFLATED, "dicom", "it came compressed in a zip"),
        (
            "a.dcm",
            write_coded_series,
            zipfile.ZIP_STORED,
            "dicom",
            "its frames are compressed as JPEG 2000, not as baseline JPEG",
        ),
        ("slide.svs", write_slide, zipfile.ZIP_DEFLATED, "aperio", "it came compressed in a zip"),
    ],
    ids=[
        "mirax",
        "mirax deflated",
        "mirax by deflate64",
        "mirax of png",
        "mirax of bmp",
        "mirax of two filters",
        "mirax of three filters",
        "vms",
        "vmu",
        "series deflated",
        "series of jpeg 2000",
        "svs deflated",
    ],
)
async def test_a_zipped_slide_is_shown_as_openslide_shows_it(
    decoders: Decoders,
    tmp_path: Path,
    name: str,
    write: Callable[[Path], None],
    compression: int,
    vendor: str,
    reason: str,
) -> None:
    folder = tmp_path / "Case 7"
    folder.mkdir()
    write(folder / name)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(zipped(folder, tmp_path / "Case 7.zip", compression))
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    assert version.source is not None
    assert (version.source.vendor, version.base, version.base_reason) == (vendor, "encoded", reason)
    with openslide.OpenSlide(folder / name) as slide:
        assert version.source.mpp == pytest.approx(float(slide.properties["openslide.mpp-x"]))
        assert version.source.objective == float(slide.properties["openslide.objective-power"])
        pictures = set(slide.associated_images) & {"label", "macro"}
    for kind in pictures:
        assert await mill.store.thumbnails.get(f"{image}:1:{kind}") is not None
    difference = (await shown(mill, image)).astype(int) - shown_by_openslide(folder / name)
    # What JPEG at quality 80 costs; a shift by a pixel or swapped channels cost far more.
    assert np.abs(difference).mean() < 2.4
    assert np.abs(difference.mean((0, 1))).max() < 1.0


@pytest.mark.parametrize(("name", "write"), [("a.dcm", write_series), ("slide.svs", write_slide)])
async def test_tiles_that_lie_in_a_zip_as_they_are_are_copied_from_there(
    decoders: Decoders, tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    folder = tmp_path / "Case 7"
    folder.mkdir()
    write(folder / name)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(zipped(folder, tmp_path / "Case 7.zip"))
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    assert version.base == "copied", version.base_reason
    interior = np.s_[: SIZE[1] // 256 * 256, : SIZE[0] // 256 * 256]
    assert np.array_equal((await shown(mill, image))[interior], shown_by_openslide(folder / name)[interior])
    assert await mill.store.thumbnails.get(f"{image}:1:label") is not None


async def test_the_original_is_the_zip(decoders: Decoders, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_vms(folder / "slide.vms")
    path = zipped(folder, tmp_path / "slide.zip")
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    async with seen(mill) as browser:
        assert await browser.original(image) == path.read_bytes()


async def test_workers_that_get_a_block_later_unpack_by_themselves(decoders: Decoders, tmp_path: Path) -> None:
    """Whenever a message comes, nothing of the zip is left on the host."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_mirax(folder / "slide.mrxs")
    scratch = tmp_path / "scratch"
    mill = Mill(decoders, scratch)
    image = await mill.upload(zipped(folder, tmp_path / "slide.zip"))
    while mill.pending:
        await mill.deliver_together()
        shutil.rmtree(scratch, ignore_errors=True)

    assert (await mill.version(image)).state == "ready"
    difference = (await shown(mill, image)).astype(int) - shown_by_openslide(folder / "slide.mrxs")
    assert np.abs(difference).mean() < 2.4
    await mill.blobs.delete(image)
    assert not any(scratch.rglob("*.dat"))


async def test_disorder_and_doubled_deliveries_change_nothing(decoders: Decoders, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_mirax(folder / "slide.mrxs")
    path = zipped(folder, tmp_path / "slide.zip")
    calm, wild = Mill(decoders, tmp_path / "calm"), Mill(decoders, tmp_path / "wild", rng=random.Random(3))
    stored = []
    for mill in (calm, wild):
        image = await mill.upload(path)
        await mill.run()
        stored.append(await mill.stored(image))

    assert stored[0] == stored[1]


async def failure(decoders: Decoders, tmp_path: Path, path: Path) -> str:
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()
    version = await mill.version(image)
    assert version.state == "failed"
    assert version.failure is not None
    assert version.failure.remedy
    return version.failure.reason


@pytest.mark.parametrize(
    ("name", "write", "base"),
    [("slide.mrxs", write_mirax, "encoded"), ("slide.vms", write_vms, "encoded"), ("a.dcm", write_series, "copied")],
)
async def test_what_a_scanner_leaves_beside_a_slide_is_no_second_one(
    decoders: Decoders, tmp_path: Path, name: str, write: Callable[[Path], None], base: str
) -> None:
    folder = tmp_path / "Case 7"
    folder.mkdir()
    write(folder / name)
    for picture in ("overview.jpg", "label.png"):
        Image.new("RGB", (300, 200), "red").save(folder / picture)
    for litter in ("notes.txt", "Thumbs.db", ".DS_Store", f"._{name}", "report.pdf"):
        (folder / litter).write_bytes(b"%PDF-1.4 or whatever")
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(zipped(folder, tmp_path / "Case 7.zip"))
    await mill.run()

    version = await mill.version(image)
    assert (version.state, version.base) == ("ready", base), version.failure
    difference = (await shown(mill, image)).astype(int) - shown_by_openslide(folder / name)
    assert np.abs(difference).mean() < 2.4


@pytest.mark.parametrize("lost", ["slide/Data0001.dat", "slide/Index.dat", "slide/Slidedat.ini"])
async def test_a_companion_that_is_missing_is_named(decoders: Decoders, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_mirax(folder / "slide.mrxs")
    (folder / lost).unlink()

    said = await failure(decoders, tmp_path, zipped(folder, tmp_path / "slide.zip"))

    assert said == f"slides/slide.mrxs lacks slides/{lost}."


@pytest.mark.parametrize(
    ("entry", "mode", "said"),
    [
        ("../slide.svs", 0, "leads out of the folder"),
        ("/etc/slide.svs", 0, "is an absolute name"),
        ("slide.svs", stat.S_IFLNK, "is a link"),
        ("bomb.svs", 0, "claims to be over 200 times as large"),
    ],
)
async def test_a_hostile_zip_fails_with_the_reason(
    decoders: Decoders, tmp_path: Path, entry: str, mode: int, said: str
) -> None:
    path = tmp_path / "slide.zip"
    info = zipfile.ZipInfo(entry)
    info.external_attr = (mode | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(info, bytes(70 * 2**20) if "bomb" in entry else b"II*\0 and the rest")

    reason = await failure(decoders, tmp_path, path)

    assert said in reason
    assert "slide.zip" in reason
    assert not [file for file in (tmp_path / "scratch").rglob("*") if file.is_file()]


async def test_of_several_slides_in_a_zip_none_is_guessed(decoders: Decoders, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "a.svs")
    write_vms(folder / "b.vms")

    said = await failure(decoders, tmp_path, zipped(folder, tmp_path / "slides.zip"))

    assert "holds 2 slides, such as slides/a.svs and slides/b.vms" in said


async def test_a_series_that_shows_the_slide_twice_is_refused_without_telling_where_it_lay(
    decoders: Decoders, tmp_path: Path
) -> None:
    """Such as two focal planes."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_series(folder / "a.dcm")
    again = pydicom.dcmread(folder / "b.dcm")
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    again.save_as(folder / "d.dcm", enforce_file_format=True)

    said = await failure(decoders, tmp_path, zipped(folder, tmp_path / "slide.zip"))

    assert said == (
        "slide.zip/slides/a.dcm can't be read: its files are not those of one slide with one plane and one channel."
    )


async def test_fluorescence_of_which_not_all_could_be_shown_is_refused(decoders: Decoders, tmp_path: Path) -> None:
    """OpenSlide shows three channels of however many."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_mirax(folder / "slide.mrxs", filters=5)
    with openslide.OpenSlide(folder / "slide.mrxs") as slide:
        assert slide.properties["mirax.HIERARCHICAL.HIER_1_COUNT"] == "5"

    said = await failure(decoders, tmp_path, zipped(folder, tmp_path / "slide.zip"))

    assert said == ("slide.zip/slides/slide.mrxs holds 5 channels of fluorescence, of which only 3 could be shown.")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
async def test_a_series_of_several_channels_is_refused(decoders: Decoders, tmp_path: Path, compression: int) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_series(folder / "a.dcm")
    data = pydicom.dcmread(folder / "b.dcm")
    data.NumberOfOpticalPaths = 2
    data.save_as(folder / "b.dcm", enforce_file_format=True)

    said = await failure(decoders, tmp_path, zipped(folder, tmp_path / "slide.zip", compression))

    assert said == (
        "slide.zip/slides/b.dcm holds 2 optical paths, as of fluorescence, of which only one could be shown."
    )


async def test_more_than_may_be_unpacked_is_refused(decoders: Decoders, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_mirax(folder / "slide.mrxs")
    mill = Mill(decoders, tmp_path / "scratch", unpacked_bytes=1000)
    image = await mill.upload(zipped(folder, tmp_path / "slide.zip"))
    await mill.run()

    version = await mill.version(image)
    assert version.failure is not None
    assert "more than the 1,000 bytes" in version.failure.reason
