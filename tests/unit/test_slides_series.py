"""Which files are DICOM, and of which series each is."""

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from shared.slides.series import SERIES_BYTES, DicomFile, dicom_file
from tests.slides.dicom import write_dicom

SLIDE, REPORT = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.88.11"


def told(data: bytes) -> DicomFile | None:
    return dicom_file(lambda size: data[:size])


def written(kind: str, series: str | None, syntax: str = ExplicitVRLittleEndian, before: bytes = b"") -> bytes:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = kind, "1.2.3"
    if before:
        data.add_new(0x00091010, "OB", before)
    if series is not None:
        data.SeriesInstanceUID = series
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("kind", "is_of_slide"), [(SLIDE, True), (REPORT, False)])
def test_a_file_tells_its_series_and_whether_it_is_of_a_slide(syntax: str, kind: str, is_of_slide: bool) -> None:
    assert told(written(kind, "1.2.840.7", syntax)) == DicomFile("1.2.840.7", is_of_slide)


def test_a_whole_slide_is_not_read_further_than_its_series(tmp_path: Path) -> None:
    path = tmp_path / "slide.dcm"
    write_dicom(path, 1024, 1024)
    with path.open("rb") as source:
        sizes: list[int] = []

        def start(size: int) -> bytes:
            sizes.append(size)
            source.seek(0)
            return source.read(size)

        found = dicom_file(start)

    assert found == DicomFile(pydicom.dcmread(path).SeriesInstanceUID, True)
    assert max(sizes) == SERIES_BYTES < path.stat().st_size


def test_a_series_that_lies_too_far_behind_is_none() -> None:
    assert told(written(SLIDE, "1.2.840.7", before=b"x" * 60_000)) == DicomFile("1.2.840.7", True)
    assert told(written(SLIDE, "1.2.840.7", before=b"x" * 64 * 2**10)[:SERIES_BYTES]) == DicomFile(None, True)


@pytest.mark.parametrize("keep", [0, 100, 132, 140, 300, 340])
def test_a_file_that_was_cut_short_is_told_as_far_as_it_goes(keep: int) -> None:
    whole = written(SLIDE, "1.2.840.7")
    found = told(whole[:keep])

    assert found is None if keep < 132 else found is not None and found.series in (None, "1.2.840.7")


def test_other_files_are_not_read_further_than_their_signature() -> None:
    asked: list[int] = []

    def start(size: int) -> bytes:
        asked.append(size)
        return b"II*\0" + bytes(size - 4)

    assert dicom_file(start) is None
    assert asked == [512]
