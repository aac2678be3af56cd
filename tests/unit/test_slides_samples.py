"""The slides and pictures that tests and the demo use are what they say: other people's libraries open them."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from pylibCZIrw.czi import open_czi

from deploy.local.tissue import PIECE, Tissue
from tests.slides import plain, zeiss
from tests.slides.aperio import write_svs


def test_openslide_takes_a_written_slide_for_aperios(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, 2100, 1500, mpp=0.25, objective=40)

    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.properties["openslide.mpp-x"] == "0.25"
        assert slide.properties["openslide.objective-power"] == "40"
        assert slide.level_dimensions == ((2100, 1500), (525, 375))
        assert set(slide.associated_images) == {"thumbnail", "label", "macro"}
        label = np.asarray(slide.associated_images["label"].convert("L"))
        assert (label < 60).mean() > 0.02, "nothing is printed on the label"


def test_levels_show_the_same_slide(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, 4400, 4200)

    with openslide.OpenSlide(path) as slide:
        assert len(slide.level_dimensions) == 3
        base = slide.read_region((0, 0), 0, (4096, 4096)).convert("RGB")
        for level in (1, 2):
            side = 4096 // 4**level
            smaller = np.asarray(slide.read_region((0, 0), level, (side, side)).convert("RGB"), int)
            expected = np.asarray(base.resize((side, side), Image.Resampling.BOX), int)
            assert np.abs(smaller - expected).mean() < 4


def test_openslide_shows_nothing_where_a_slide_is_sparse(tmp_path: Path) -> None:
    path = tmp_path / "sparse.svs"
    write_svs(path, 1100, 900, sparse={(1, 2)})

    with openslide.OpenSlide(path) as slide:
        assert np.asarray(slide.read_region((2 * 256, 256), 0, (256, 256)))[:, :, 3].max() == 0
        assert np.asarray(slide.read_region((256, 256), 0, (256, 256)))[:, :, 3].min() == 255


def test_label_and_macro_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bare.svs"
    write_svs(path, 600, 500, label=False, macro=False)

    with openslide.OpenSlide(path) as slide:
        assert set(slide.associated_images) == {"thumbnail"}


def test_the_same_slide_is_drawn_again(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "slide.svs", tmp_path / "b" / "slide.svs"
    for path in (first, second):
        path.parent.mkdir()
        write_svs(path, 900, 700)

    assert first.read_bytes() == second.read_bytes()


def test_about_a_third_of_a_slide_is_stained_and_its_rim_is_glass() -> None:
    drawn = Tissue(2000, 1500).draw(0, 0, 2000, 1500)
    assert drawn is not None

    stained = drawn.max(2).astype(int) - drawn.min(2) > 20

    assert 0.25 < stained.mean() < 0.45
    assert not any(rim.any() for rim in (stained[0], stained[-1], stained[:, 0], stained[:, -1]))


def test_no_edge_shows_where_tiles_meet() -> None:
    tissue = Tissue(20_000, 15_000)
    left, right = (tissue.draw(x, 7168, PIECE, PIECE) for x in (7168, 7168 + PIECE))
    assert left is not None
    assert right is not None

    across = np.abs(left[:, -1].astype(int) - right[:, 0]).mean()
    inside = np.abs(np.diff(right[:, :20].astype(int), axis=1)).mean()

    assert across < 1.5 * inside


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "one-pixel"])
def test_plain_pictures_open_elsewhere(tmp_path: Path, kind: str) -> None:
    with Image.open(plain.write(kind, tmp_path)) as image:
        image.load()
        assert image.size == ((1, 1) if kind == "one-pixel" else (plain.WIDTH, plain.HEIGHT))


@pytest.mark.parametrize(
    ("kind", "tiled", "big", "bits"),
    [
        ("striped", False, False, 8),
        ("tiled-lzw", True, False, 8),
        ("bigtiff", False, True, 8),
        ("16-bit", False, False, 16),
    ],
)
def test_plain_tiffs_open_elsewhere(tmp_path: Path, kind: str, tiled: bool, big: bool, bits: int) -> None:
    with tifffile.TiffFile(plain.write(kind, tmp_path)) as file:
        page = file.pages[0].aspage()
        assert (page.is_tiled, file.is_bigtiff, page.bitspersample) == (tiled, big, bits)
        assert page.asarray().shape == (plain.HEIGHT, plain.WIDTH, 3)


@pytest.mark.parametrize("kind", ["truncated-tiff", "truncated-png", "truncated-svs"])
def test_truncated_files_do_not_open_whole(tmp_path: Path, kind: str) -> None:
    path = plain.write(kind, tmp_path)

    with pytest.raises((OSError, openslide.OpenSlideError)):
        open_whole(path)


def open_whole(path: Path) -> None:
    if path.suffix == ".svs":
        with openslide.OpenSlide(path) as slide:
            slide.read_region((0, 0), 0, slide.dimensions)
    else:
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize(
    ("compression", "deep"),
    [("none", False), ("none", True), ("zstd0", False), ("zstd1", False), ("jpegxr", False), ("jpegxr", True)],
)
def test_the_makers_own_library_shows_what_was_drawn_in_czi(
    tmp_path: Path, compression: zeiss.Compression, deep: bool
) -> None:
    path = tmp_path / "slide.czi"
    zeiss.write_czi(path, compression=compression, deep=deep, planes="ZT")

    with open_czi(str(path)) as slide:
        shown = slide.read(plane={"C": 0}, background_pixel=(1, 1, 1))[:, :, ::-1]
        scenes = [(place.w, place.h) for place in slide.scenes_bounding_rectangle.values()]
    assert np.array_equal(shown // 257 if deep else shown, zeiss.drawn())
    assert scenes == [scene[2:] for scene in zeiss.SCENES]
