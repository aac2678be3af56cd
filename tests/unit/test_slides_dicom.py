"""What is found in a DICOM file's header, and that no damage makes it anything but a `Reject`."""

import io
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import (
    HTJ2K,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from services.dicer.headers import find_in_dicom
from shared.errors import Reject
from shared.slides.dicom import DicomSlide, describe
from tests.slides.dicom import write_dicom


def looked_at(data: bytes) -> DicomSlide:
    return describe(io.BytesIO(data), len(data), "slide.dcm")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("dicom")
    kinds: dict[str, dict[str, Any]] = {
        "basic": {},
        "extended": {"offsets": "extended"},
        "no table": {"offsets": "none"},
        "sparse": {"organization": "TILED_SPARSE", "sparse": {(0, 1), (1, 0)}},
        "fragments": {"fragments": 2},
        "fragments without a table": {"fragments": 2, "offsets": "none"},
        "jpeg2000": {"coding": "jpeg2000"},
    }
    written = {}
    for kind, options in kinds.items():
        write_dicom(folder / "slide.dcm", 500, 400, **options)
        written[kind] = (folder / "slide.dcm").read_bytes()
    return written


@pytest.mark.parametrize("kind", ["basic", "extended", "no table"])
def test_every_table_of_offsets_leads_to_the_frames(files: dict[str, bytes], kind: str) -> None:
    data = files[kind]
    slide = looked_at(data)

    assert slide.reason is None
    assert (slide.width, slide.height, slide.tile) == (500, 400, 256)
    assert len(slide.offsets) == 4
    for offset, length in zip(slide.offsets, slide.lengths, strict=True):
        frame = data[offset : offset + length]
        assert frame.startswith(b"\xff\xd8")
        assert frame.rstrip(b"\0").endswith(b"\xff\xd9")


def test_frames_of_a_sparse_slide_are_put_in_their_places(files: dict[str, bytes]) -> None:
    slide = looked_at(files["sparse"])

    assert slide.reason is None
    assert [length > 0 for length in slide.lengths] == [True, False, False, True]


def test_what_the_scanner_says_is_kept(files: dict[str, bytes]) -> None:
    slide = looked_at(files["basic"])

    assert slide.mpp == 0.5
    assert slide.objective == 20
    assert slide.scanned == "2026-01-02T10:00:00"
    assert slide.barcode == "S26-1-A1"


@pytest.mark.parametrize(
    ("kind", "reason"), [("fragments", "5 or more pieces, which have to be joined"), ("jpeg2000", "as JPEG 2000")]
)
def test_why_frames_can_not_be_copied(files: dict[str, bytes], kind: str, reason: str) -> None:
    slide = looked_at(files[kind])

    assert reason in (slide.reason or "")
    assert len(slide.offsets) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"InConcatenationTotalNumber": 3}, "one of 3 files"),
        ({"TotalPixelMatrixColumns": None}, "holds no slide"),
        ({"TotalPixelMatrixFocalPlanes": 2}, "holds 2 focal planes, of which only one"),
        ({"NumberOfOpticalPaths": 2}, "holds 2 optical paths, as of fluorescence, of which only one"),
        ({"NumberOfFrames": 8}, "holds several pictures of one place"),
        (
            {"Rows": 2050, "Columns": 2048, "NumberOfFrames": 1},
            "frames of 2048 x 2050 pixels are larger than the 4,194,304 that",
        ),
    ],
)
def test_what_is_not_one_whole_level_is_refused(files: dict[str, bytes], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Reject, match=words):
        looked_at(_changed(files["basic"], changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Columns": 128}, "not square"),
        ({"TotalPixelMatrixColumns": 600}, "4 frames for 6 tiles"),
    ],
)
def test_what_copying_would_get_wrong_is_decoded(files: dict[str, bytes], changes: dict[str, Any], words: str) -> None:
    assert words in (looked_at(_changed(files["basic"], changes)).reason or "")


def test_frames_in_pieces_that_nothing_puts_together_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(Reject, match="stored in more pieces than that, and it has no table of offsets") as caught:
        looked_at(files["fragments without a table"])
    assert "table of offsets" in caught.value.remedy


def test_frames_at_one_place_are_refused(files: dict[str, bytes]) -> None:
    places = dcmread(io.BytesIO(files["sparse"])).PerFrameFunctionalGroupsSequence
    doubled = _changed(files["sparse"], {"PerFrameFunctionalGroupsSequence": [places[0], places[0]]})

    with pytest.raises(Reject, match="holds several pictures of one place"):
        looked_at(doubled)


@pytest.mark.parametrize(
    ("syntax", "changes", "words"),
    [
        (JPEGLSLossless, {}, "its frames are compressed as JPEG-LS"),
        (JPEGLSNearLossless, {}, "its frames are compressed as JPEG-LS"),
        (RLELossless, {}, "its frames are compressed by run lengths"),
        (HTJ2KLossless, {}, "its frames are compressed as High-Throughput JPEG 2000"),
        (HTJ2KLosslessRPCL, {}, "its frames are compressed as High-Throughput JPEG 2000"),
        (HTJ2K, {}, "its frames are compressed as High-Throughput JPEG 2000"),
        (JPEGLossless, {}, "its frames are compressed as lossless JPEG"),
        (JPEGLosslessSV1, {}, "its frames are compressed as lossless JPEG"),
        (JPEGExtended12Bit, {}, "its frames are compressed as extended JPEG"),
        (JPEGBaseline8Bit, {"PhotometricInterpretation": "MONOCHROME1"}, "its colours are stored as grey"),
        (JPEGBaseline8Bit, {"PhotometricInterpretation": "MONOCHROME2"}, "its colours are stored as grey"),
        (JPEGBaseline8Bit, {"PhotometricInterpretation": "PALETTE COLOR"}, "its colours are stored as a palette"),
        (JPEG2000Lossless, {"PhotometricInterpretation": "YBR_FULL"}, "its colours are stored as YBR_FULL"),
        (JPEGBaseline8Bit, {"BitsAllocated": 16}, "its samples have 16 bits"),
    ],
)
def test_pixels_that_nobody_reads_are_refused_with_the_reason(
    files: dict[str, bytes], syntax: UID, changes: dict[str, Any], words: str
) -> None:
    dataset = dcmread(io.BytesIO(_changed(files["basic"], changes)))
    dataset.file_meta.TransferSyntaxUID = syntax
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)

    with pytest.raises(Reject, match=f"slide.dcm can't be read: {words}") as told:
        looked_at(target.getvalue())
    assert "JPEG 2000, and upload that." in told.value.remedy


@pytest.mark.parametrize("kind", ["LABEL", "OVERVIEW", "THUMBNAIL"])
def test_a_picture_beside_the_slide_is_not_taken_for_it(files: dict[str, bytes], kind: str) -> None:
    data = _changed(files["basic"], {"ImageType": ["ORIGINAL", "PRIMARY", kind, "NONE"]})

    with pytest.raises(Reject, match=f"slide.dcm is only the {kind.lower()} of a slide"):
        find_in_dicom(len(data), "slide.dcm", source=io.BytesIO(data))


def test_a_file_cut_short_is_refused_wherever_it_ends(files: dict[str, bytes]) -> None:
    data = files["no table"]
    for end in range(140, len(data) - 8, 97):
        with pytest.raises(Reject):
            looked_at(data[:end])


def test_a_file_of_no_picture_is_no_slide_cut_short(files: dict[str, bytes]) -> None:
    basic_text_report = "1.2.840.10008.5.1.4.1.1.88.11"
    changes = {"SOPClassUID": basic_text_report, "PixelData": None, "TotalPixelMatrixRows": None}
    report = _changed(files["basic"], changes)

    with pytest.raises(Reject, match="holds no slide"):
        looked_at(report)


def test_places_that_are_no_sequence_are_damage(files: dict[str, bytes]) -> None:
    places = b"\x00\x52\x30\x92"

    with pytest.raises(Reject):
        looked_at(files["sparse"].replace(places + b"SQ", places + b"OB"))


@settings(max_examples=300)
@given(st.sampled_from(["basic", "extended", "sparse"]), st.integers(132, 4000), st.binary(min_size=1, max_size=8))
def test_damage_never_makes_anything_but_a_rejection(
    files: dict[str, bytes], kind: str, at: int, damage: bytes
) -> None:
    data = files[kind]
    # Nothing else may come out: it would count as a bug of ours and be tried again and again.
    with suppress(Reject):
        looked_at(data[:at] + damage + data[at + len(damage) :])


def _changed(data: bytes, changes: dict[str, Any]) -> bytes:
    dataset = dcmread(io.BytesIO(data))
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()
