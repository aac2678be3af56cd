"""What a file is, told by its first bytes."""

import json
from pathlib import Path

import pytest

from shared.slides.sniff import FORMATS, is_picture, sniff, unreadable
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


def test_the_preview_in_an_olympus_slide_is_not_taken_for_the_slide(tmp_path: Path) -> None:
    head = plain.write("striped", tmp_path).read_bytes()[:512]

    assert sniff(head, "Case 12.VSI") is None
    assert unreadable("Case 12.VSI", head)[0] == "Case 12.VSI is only one file of a slide that consists of several."


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a bare JPEG 2000 image"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"II\xbc\1\x20\0", "a JPEG XR image"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "an AVIF image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC image"),
        (b"GIF89a\x10\0", "a GIF image"),
        (b"BM" + bytes(20), "a BMP image"),
        (b"8BPS\0\1", "a Photoshop image"),
        (b"\x76\x2f\x31\x01\2\0", "an OpenEXR image"),
        (b"SIMPLE  =                    T", "a FITS image"),
        (b"\x5c\1\0\0".ljust(344, b"\0") + b"n+1\0", "a NIfTI image"),
        (b"P6\n700 530\n255\n", "a portable pixmap (PPM)"),
        (b"\0\0\1\0\1\0\x40\x40", "an icon"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "a drawing (SVG)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<!DOCTYPE html><title>Log in</title>", "a web page"),
        (b"SQLite format 3\0", "a Sakura slide"),
        (b'<DataObject ObjectType="DPUfsImport">', "a Philips iSyntax slide"),
    ],
)
def test_what_is_often_taken_for_a_slide_is_named(head: bytes, what: str) -> None:
    assert sniff(head, "x.svs") is None
    reason, remedy = unreadable("x.svs", head)
    assert reason == f"x.svs is {what}, which slidemill does not read."
    assert FORMATS in remedy


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


@pytest.mark.parametrize("expected", [True, False])
def test_of_folders_pictures_are_taken_by_content_or_name(expected: bool) -> None:
    cases = json.loads((Path(__file__).parent / "pictures.json").read_text())["pictures" if expected else "others"]

    taken = {
        case["name"]: is_picture(bytes(case.get("zeros", 0)) + bytes.fromhex(case["head"]), case["name"])
        for case in cases
    }

    assert taken == {case["name"]: expected for case in cases}
