"""What the page and the server must agree about: cases that `services/upload/web/tests` tries as well."""

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from shared.slides.companions import Slide, group
from shared.slides.packing import Member, Piece, pack
from shared.slides.series import dicom_file

CASES: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("companions.json").read_text())


@pytest.mark.parametrize("case", CASES["slides"], ids=lambda case: case["title"])
def test_files_are_grouped_as_on_the_page(case: dict[str, Any]) -> None:
    expected = [Slide(s["main"], tuple(s["members"]), tuple(s["missing"])) for s in case["slides"]]

    assert group(case["names"], case["indexes"], case["series"]) == expected


@pytest.mark.parametrize("case", CASES["zips"], ids=lambda case: case["title"])
def test_files_are_packed_as_on_the_page(case: dict[str, Any]) -> None:
    """Byte by byte; of those that are too large for that all but the data."""
    files = {name: text.encode() for name, text in case.get("files", {}).items()}
    small = [Member(name, len(data), zlib.crc32(data)) for name, data in files.items()]
    packed = pack([*small, *(Member(name, length, 7) for name, length in case.get("lengths", {}).items())])

    parts = [files.get(part.member, b"") if isinstance(part, Piece) else part for part in packed.segments]
    assert packed.length == case["length"]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", CASES["series"], ids=lambda case: case["title"])
def test_a_series_is_told_as_on_the_page(case: dict[str, Any]) -> None:
    head = base64.b64decode(case["head"])

    found = dicom_file(lambda size: head[:size])

    assert (found.series if found is not None else None) == case["uid"]
