"""The slide that a decoder child keeps open is never taken for another one."""

import shutil
from pathlib import Path

import openslide
import pytest

from services.dicer.pixels.slides import opened
from tests.slides.aperio import write_svs


def width(path: Path) -> int:
    with opened(str(path)) as slide:
        return int(slide.dimensions[0])


def test_each_path_and_whatever_comes_to_lie_there_is_its_own_slide(tmp_path: Path) -> None:
    one, two = tmp_path / "one.svs", tmp_path / "two.svs"
    write_svs(one, 300, 280)
    write_svs(two, 600, 280)

    assert [width(path) for path in (one, one, two, one)] == [300, 300, 600, 300]
    # As when a copy was evicted and another one made.
    shutil.copy(two, tmp_path / "new")
    (tmp_path / "new").rename(one)
    assert width(one) == 600


def test_a_slide_that_could_not_be_read_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, 300, 280)

    with pytest.raises(openslide.OpenSlideError), opened(str(path)) as slide:
        slide.read_region((0, 0), 0, (-1, -1))
    assert width(path) == 300
