"""What a file is, told by its first bytes."""

from pathlib import Path

import pytest

from shared.slides.sniff import FORMATS, sniff, unreadable
from tests.slides import plain
from tests.slides.aperio import write_svs


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("png", "png"),
        ("jpeg", "jpeg"),
        ("webp", "webp"),
        ("one-pixel", "png"),
        ("striped", "tiff"),
        ("tiled-lzw", "tiff"),
        ("bigtiff", "tiff"),
        ("truncated-svs", "tiff"),
        ("text", None),
        ("empty", None),
    ],
)
def test_files_are_known_by_their_bytes(tmp_path: Path, kind: str, expected: str | None) -> None:
    path = plain.write(kind, tmp_path)

    assert sniff(path.read_bytes()[:512], path.name) == expected


def test_a_slide_is_known_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "Präparat 7.backup"
    write_svs(path, 300, 280)

    assert sniff(path.read_bytes()[:512], path.name) == "tiff"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"MM\0*\0\0\0\x08", "tiff"),
        (b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10", "tiff"),
        (b"\0" * 128 + b"DICM\2\0", "dicom"),
        ((b"II*\0" + b"\x10\0\0\0").ljust(128, b"\0") + b"DICM\2\0", "dicom"),
        (b"ZISRAWFILE\0\0\0\0\0\0", "czi"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"PK\x03\x04\x14\0", "zip"),
        (b"PK\x05\x06" + bytes(18), "zip"),
        (b"Rar!\x1a\x07\x01\0", None),
        (b"\0\0\0\x0cjP  \r\n\x87\n", None),
        (b"II*", None),
        (b"", None),
    ],
)
def test_signatures(head: bytes, expected: str | None) -> None:
    assert sniff(head) == expected


def test_the_preview_of_a_slide_in_many_files_is_not_taken_for_the_slide(tmp_path: Path) -> None:
    head = plain.write("jpeg", tmp_path).read_bytes()[:512]

    assert sniff(head, "Case 12.MRXS") is None
    reason, remedy = unreadable("Case 12.MRXS", head)
    assert reason == "Case 12.MRXS is only one file of a slide that consists of several."
    assert "zip" in remedy


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "empty"),
        (b"Rar!\x1a\x07\x01\0", "archive"),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG 2000"),
        (b"\0" * 512, "zeros"),
        (b"This is a shopping list.", "no image"),
        (None, "no image"),
    ],
)
def test_refusals_say_what_the_file_is_and_what_to_do(head: bytes | None, said: str) -> None:
    reason, remedy = unreadable("x.svs", head)

    assert said in reason
    assert reason.startswith("x.svs ")
    assert all(sentence.endswith(".") for sentence in (reason, remedy))
    assert said not in ("no image", "JPEG 2000") or FORMATS in remedy
