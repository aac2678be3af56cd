"""A DICOM series in a zip opens as one slide with all its levels."""

import zipfile
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest

from shared.errors import Reject
from shared.slides.archive import find, unpack
from tests.slides.dicom import write_dicom


def zipped(folder: Path, *, one: bool) -> Path:
    """A zip of two levels, of one series or each of its own."""
    write_dicom(folder / "b.dcm", 1024, 768)
    write_dicom(folder / "a.dcm", 512, 384)
    if one:
        upper, base = pydicom.dcmread(folder / "a.dcm"), pydicom.dcmread(folder / "b.dcm")
        upper.StudyInstanceUID, upper.SeriesInstanceUID = base.StudyInstanceUID, base.SeriesInstanceUID
        upper.save_as(folder / "a.dcm", enforce_file_format=True)
    path = folder / "series.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name in ("a.dcm", "b.dcm"):
            made.write(folder / name, f"series/{name}")
    return path


def test_a_series_is_one_slide_to_openslide_too(tmp_path: Path) -> None:
    path = zipped(tmp_path, one=True)
    folder = tmp_path / "unpacked"
    folder.mkdir()
    with path.open("rb") as source:
        inside = find("series.zip", 10**9, source=source)
        assert unpack(str(folder), "series.zip", 10**9, source=source)

    assert inside.members == ("series/a.dcm", "series/b.dcm")
    with openslide.OpenSlide(folder / inside.main) as slide, openslide.OpenSlide(tmp_path / "b.dcm") as original:
        assert slide.level_dimensions == ((1024, 768), (512, 384))
        seen, expected = (np.asarray(each.read_region((0, 0), 0, (1024, 768))) for each in (slide, original))
    assert np.array_equal(seen, expected)


def test_two_series_are_two_slides(tmp_path: Path) -> None:
    path = zipped(tmp_path, one=False)
    with path.open("rb") as source, pytest.raises(Reject, match="holds 2 slides"):
        find("series.zip", 10**9, source=source)
