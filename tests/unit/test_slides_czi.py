"""What a CZI file's directories say, and what is said of those that can't be shown."""

import random
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from services.dicer.pixels.probing import find_by_path
from shared.errors import Reject
from shared.slides.czi import ZSTD_WITH_HEADER, CziSlide, Tile, data_of, describe
from shared.slides.pixels import decode_czi
from tests.slides import zeiss


@pytest.fixture
def slide(tmp_path: Path) -> bytes:
    path = tmp_path / "slide.czi"
    zeiss.write_czi(path, compression="zstd0", planes="Z")
    return path.read_bytes()


def look(data: bytes) -> CziSlide:
    return describe(BytesIO(data), len(data), "slide.czi")


def in_directory(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    at = data.index(b"ZISRAWDIRECTORY")
    changed = data[at:].replace(old, new, count)
    assert changed != data[at:]
    return data[:at] + changed


def test_tiles_lie_where_they_were_drawn_and_their_data_are_found(slide: bytes) -> None:
    found = look(slide)

    assert (found.width, found.height) == (zeiss.WIDTH, zeiss.HEIGHT)
    assert min(tile.x for tile in found.tiles) == min(tile.y for tile in found.tiles) == 0
    assert {(tile.x, tile.y) for tile in found.tiles} >= {scene[:2] for scene in zeiss.SCENES}
    assert all(data_of(BytesIO(slide), len(slide), tile)[:4] == b"\x28\xb5\x2f\xfd" for tile in found.tiles)
    assert (found.details.mpp, found.details.objective, found.details.barcode) == (0.25, 20, zeiss.BARCODE)
    assert set(found.attached) == {"label", "macro"}


def test_tiles_are_drawn_from_the_back_to_the_front(slide: bytes) -> None:
    fronts = [tile.front for tile in look(slide).tiles]

    assert fronts == sorted(fronts)
    assert len(set(fronts)) > 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[: len(data) // 2], "slide.czi was cut short: "),
        (lambda data: data[:20], "slide.czi was cut short: "),
        (lambda data: in_directory(data, b"ZISRAWDIRECTORY", b"ZISRAWDIRECTOR\0"), "slide.czi is damaged: "),
        (lambda data: in_directory(data, b"DV", b"XX"), "slide.czi is damaged: its directory of tiles holds something"),
        (lambda data: in_directory(data, b"DV\3\0", b"DV\0\0"), "slide.czi holds no colours but channels"),
        (
            lambda data: in_directory(data, b"Z\0\0\0\0", b"Z\0\0\0\1", 1),
            "slide.czi holds several planes (dimension Z), of which only one could be shown.",
        ),
        (lambda data: in_directory(data, b"C\0\0\0\0", b"C\0\0\0\1", 1), "slide.czi holds several channels"),
        (
            lambda data: in_directory(data, struct.pack("<ifi", 220, 0, 220), struct.pack("<ifi", 2**30, 0, 2**30)),
            "slide.czi is damaged: its directory holds a tile of an impossible size",
        ),
    ],
)
def test_what_can_not_be_shown_is_refused_with_a_reason(
    slide: bytes, change: Callable[[bytes], bytes], reason: str
) -> None:
    with pytest.raises(Reject) as refused:
        look(change(slide))

    assert refused.value.reason.startswith(reason)
    assert refused.value.remedy


def test_other_compression_is_named(tmp_path: Path) -> None:
    path = tmp_path / "slide.czi"
    zeiss.write_czi(path, compression="jpeg")

    with pytest.raises(Reject, match=r"The tiles of slide\.czi are compressed with JPEG"):
        look(path.read_bytes())


def test_no_header_makes_it_fail_otherwise_than_by_a_sentence(slide: bytes) -> None:
    rng = random.Random(5)
    parts = [(0, 120), (slide.index(b"ZISRAWDIRECTORY"), len(slide))]
    for _ in range(400):
        start, end = rng.choice(parts)
        data = bytearray(slide)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(start, end)] = rng.choice((0, 1, 127, 128, 255))
        try:
            found = look(bytes(data))
            for tile in found.tiles:
                data_of(BytesIO(bytes(data)), len(data), tile)
        except (Reject, ValueError):
            continue


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x03", b"\x03\x01", b"\x03\x01\x01", b"\x02\x01\x01\x01"])
def test_a_compressed_tile_that_ends_in_its_own_header_is_damaged(data: bytes) -> None:
    tile = Tile(0, 0, 2, 2, 0, 0, ZSTD_WITH_HEADER, True)

    with pytest.raises(ValueError, match=r"compress|another picture"):
        decode_czi(data, tile)


def test_a_tile_that_lies_very_far_away_does_not_make_a_million_blocks(slide: bytes, tmp_path: Path) -> None:
    path = tmp_path / "far.czi"
    directory = slide.index(b"ZISRAWDIRECTORY")
    last = slide.index(b"X\0\0\0", directory) + 4
    path.write_bytes(slide[:last] + struct.pack("<i", 500_000_000) + slide[last + 4 :])

    with pytest.raises(Reject, match="over 10,000,000 a side"):
        find_by_path(str(path), "far.czi", "czi", None, "it is no TIFF")
