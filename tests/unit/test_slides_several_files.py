"""The slides of several files that tests use are what they say: OpenSlide opens them and shows what was drawn."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import pytest

from shared.slides.companions import Slide, group, index_of
from tests.slides import mirax
from tests.slides.hamamatsu import write_vms, write_vmu
from tests.slides.vendors import glass

WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "mirax": ("slide.mrxs", mirax.write_mirax),
    "mirax-deflated-positions": ("slide.mrxs", partial(mirax.write_mirax, positions="deflated")),
    "mirax-without-positions": ("slide.mrxs", partial(mirax.write_mirax, positions="none")),
    "mirax-png": ("slide.mrxs", partial(mirax.write_mirax, form="PNG")),
    "mirax-bmp": ("slide.mrxs", partial(mirax.write_mirax, form="BMP24")),
    "mirax-filters": ("slide.mrxs", partial(mirax.write_mirax, filters=3)),
    "vms": ("slide.vms", write_vms),
    "vms-without-optimisation": ("slide.vms", partial(write_vms, optimisation=False)),
    "vmu": ("slide.vmu", write_vmu),
}


def _grouped(folder: Path, main: str) -> list[Slide]:
    index = index_of(main)
    assert index is not None
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return group(names, {index: (folder / index).read_text()}, {})


@pytest.mark.parametrize("kind", WRITERS)
def test_openslide_shows_what_was_drawn(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name)

    with openslide.OpenSlide(tmp_path / name) as slide:
        assert slide.properties["openslide.vendor"] == ("mirax" if "mirax" in kind else "hamamatsu")
        assert slide.properties["openslide.objective-power"] == "20"
        shown = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))
        drawn = glass(1100, 600)[: slide.dimensions[1], : slide.dimensions[0]]
        macro = np.asarray(slide.associated_images["macro"].convert("RGB"))
    there = shown[:, :, 3] == 255
    # One photograph of six is missing.
    assert 0.8 < there.mean() < 0.9 if "mirax" in kind else there.all()
    # No more than JPEG costs: nothing is shifted.
    assert np.abs(shown[there][:, :3].astype(int) - drawn[there]).max() <= 8
    assert np.abs(macro.astype(int) - glass(240, 120)).max() <= 8


@pytest.mark.parametrize("kind", ["mirax", "vms", "vmu"])
def test_a_file_that_openslide_needs_is_missed(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    folder = tmp_path / "there"
    folder.mkdir()
    write(folder / name)

    (whole,) = _grouped(folder, name)

    assert (whole.main, whole.missing) == (name, ())
    for member in set(whole.members) - {name, index_of(name)}:
        (folder / member).rename(tmp_path / "away")
        assert _opens(folder / name) == (not _grouped(folder, name)[0].missing), member
        (tmp_path / "away").rename(folder / member)


def _opens(path: Path) -> bool:
    try:
        with openslide.OpenSlide(path) as slide:
            slide.read_region((0, 0), 0, slide.dimensions)
    except openslide.OpenSlideError:
        return False
    return True
