"""JPEG headers, and TIFF tiles made whole: the coded data stay, and every decoder shows the right colours."""

import io
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deploy.local.tissue import Pixels
from shared.slides.jpeg import EOI, Assembler, adobe_marker, read_header
from shared.slides.tiff import describe
from tests.slides import plain
from tests.slides.aperio import write_svs

TILE = 256


@cache
def pixels() -> Pixels:
    return plain.picture(TILE, TILE)


@cache
def encoded(**options: Any) -> bytes:
    return bytes(simplejpeg.encode_jpeg(pixels(), quality=80, **{"colorsubsampling": "420", **options}))


def rgb_encoded() -> bytes:
    """A JPEG whose three components are red, green and blue, with nothing that says so."""
    planes = [np.ascontiguousarray(pixels()[:, :, channel]) for channel in range(3)]
    data = bytes(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=95))
    return without(data, 0xE0)


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at:end]
        at = end
    yield 0xDA, data[at:]


def without(data: bytes, *markers: int) -> bytes:
    return data[:2] + b"".join(segment for marker, segment in segments(data) if marker not in markers)


def tables_of(data: bytes) -> bytes:
    return data[:2] + b"".join(segment for marker, segment in segments(data) if marker in (0xDB, 0xC4)) + EOI


def with_component_ids(data: bytes, ids: bytes) -> bytes:
    header = read_header(data)
    changed = bytearray(data)
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for n, component in enumerate(header.components):
        assert changed[frame + 10 + 3 * n] == component.id == changed[scan + 5 + 2 * n]
        changed[frame + 10 + 3 * n] = changed[scan + 5 + 2 * n] = ids[n]
    return bytes(changed)


def decoders(data: bytes) -> Iterator[tuple[str, Pixels]]:
    yield "simplejpeg", simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    yield "Pillow", np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    yield "libvips", pyvips.Image.jpegload_buffer(data, fail_on="warning").numpy()


def assert_shown_as(data: bytes, expected: Pixels, tolerance: float) -> None:
    for name, shown in decoders(data):
        assert np.abs(shown.astype(int) - expected).mean() <= tolerance, name


def test_a_header_is_read() -> None:
    header = read_header(encoded(colorsubsampling="422"))

    assert (header.sof, header.precision, header.width, header.height) == (0, 8, TILE, TILE)
    assert [(c.id, c.horizontal, c.vertical) for c in header.components] == [(1, 2, 1), (2, 1, 1), (3, 1, 1)]
    assert header.jfif
    assert header.adobe_transform is None
    assert header.restart_interval == 0
    assert header.quantisation == {0, 1}
    assert header.huffman == header.wanted_huffman == {0x00, 0x10, 0x01, 0x11}


def test_what_may_stand_in_a_header_is_passed_over() -> None:
    data = encoded()
    odd = (
        data[:2]
        + b"\xff\xff\xff\xfe\0\x06tale"  # fill bytes before a comment
        + b"\xff\xe2\0\x0cICC_PROFIL"
        + b"\xff\xdd\0\x04\0\x20"
        + adobe_marker(1)
        + data[2:]
    )

    header = read_header(odd)

    assert header.restart_interval == 0x20
    assert header.adobe_transform == 1
    assert odd[header.scan :] == data[read_header(data).scan :]


def test_a_progressive_file_is_told_from_a_baseline_one() -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "jpeg", progressive=True)

    assert read_header(buffer.getvalue()).sof == 2


@given(st.integers(0, 620), st.integers(0, 255))
def test_a_damaged_header_is_an_error_or_another_header(position: int, value: int) -> None:
    """Never an index error, never a read past the end."""
    data = bytearray(encoded())
    data[position] = value
    for assemble in (read_header, Assembler(None, 1, TILE)):
        with suppress(ValueError):
            assemble(bytes(data))


@given(st.integers(0, 622))
def test_a_header_that_ends_early_is_an_error(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_header(encoded()[:length])


@given(st.binary(max_size=200))
def test_any_bytes_after_the_start_marker_are_an_error(rest: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Assembler(None, None)(b"\xff\xd8" + rest.replace(b"\xff\xda", b""))


def test_a_tile_that_is_already_whole_stays_as_it_is() -> None:
    assert Assembler(None, 1)(encoded()) == encoded()


def test_shared_tables_are_put_back() -> None:
    data = encoded()
    short = without(data, 0xDB, 0xC4)

    whole = Assembler(tables_of(data), 1)(short)

    assert whole[read_header(whole).scan :] == short[read_header(short).scan :]
    assert_shown_as(whole, simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), 0)


def test_tables_of_the_tile_itself_come_before_shared_ones() -> None:
    own, other = encoded(), bytes(simplejpeg.encode_jpeg(pixels(), quality=20))

    assert Assembler(tables_of(other), 1)(own) == own

    only_huffman_shared = Assembler(tables_of(other), 1)(without(own, 0xC4))
    assert_shown_as(only_huffman_shared, simplejpeg.decode_jpeg(own, fastdct=False, fastupsample=False), 0)


def test_missing_tables_are_an_error() -> None:
    with pytest.raises(ValueError, match="lacks the JPEG tables"):
        Assembler(None, 1)(without(encoded(), 0xC4))
    with pytest.raises(ValueError, match="lacks the JPEG tables"):
        Assembler(None, 1)(without(encoded(), 0xDB))


@pytest.mark.parametrize("marked", ["nothing", "adobe 0", "adobe 1", "jfif", "jfif and adobe 1"])
def test_red_green_and_blue_are_shown_as_such_whatever_the_tile_says(marked: str) -> None:
    data = rgb_encoded()
    jfif = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    said = {
        "nothing": b"",
        "adobe 0": adobe_marker(0),
        "adobe 1": adobe_marker(1),
        "jfif": jfif,
        "jfif and adobe 1": jfif + adobe_marker(1),
    }
    tile = data[:2] + said[marked] + data[2:]

    assert_shown_as(Assembler(None, 0)(tile), pixels(), 3)


@pytest.mark.parametrize("marked", ["nothing", "ids RGB", "ids 0 1 2", "adobe 0", "adobe 1"])
def test_luma_and_chroma_are_shown_as_such_whatever_the_tile_says(marked: str) -> None:
    data = without(encoded(), 0xE0)
    expected = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)
    tile = {
        "nothing": data,
        "ids RGB": with_component_ids(data, b"RGB"),
        "ids 0 1 2": with_component_ids(data, b"\0\1\2"),
        "adobe 0": data[:2] + adobe_marker(0) + data[2:],
        "adobe 1": data[:2] + adobe_marker(1) + data[2:],
    }[marked]

    assert_shown_as(Assembler(None, 1)(tile), expected, 0)


def test_a_tile_of_another_size_or_coding_is_an_error() -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "jpeg", progressive=True)

    with pytest.raises(ValueError, match="256 x 256 pixels instead of 512 x 512"):
        Assembler(None, 1, 512)(encoded())
    with pytest.raises(ValueError, match="not baseline"):
        Assembler(None, 1, TILE)(buffer.getvalue())


def test_each_tile_is_checked_though_the_one_before_was_good() -> None:
    assemble = Assembler(None, 1, TILE)
    good = encoded()
    small = bytes(simplejpeg.encode_jpeg(pixels()[:128, :128], quality=80))

    assert assemble(good) == good
    with pytest.raises(ValueError, match="128 x 128"):
        assemble(small)
    with pytest.raises(ValueError, match="does not start as JPEG"):
        assemble(b"\0" * 400)
    with pytest.raises(ValueError, match="ends before its image data"):
        assemble(good[: read_header(good).scan])
    assert assemble(good) == good


def test_padding_goes_and_a_missing_end_marker_comes() -> None:
    data = encoded()

    assert Assembler(None, 1)(data + b"\0" * 7) == data
    assert Assembler(None, 1)(data.removesuffix(EOI)) == data


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shared_tables": False},
        {"subsampling": "444"},
        {"photometric": "rgb"},
        {"photometric": "rgb", "adobe_marker": False},
        {"photometric": "rgb", "adobe_marker": False, "shared_tables": False},
        {"tile": 128, "bigtiff": True},
    ],
    ids=str,
)
def test_a_slides_tiles_look_as_openslide_shows_them(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, 1100, 900, **options)
    data = path.read_bytes()
    slide = describe(io.BytesIO(data), len(data), path.name)
    assert slide.reason is None
    side = slide.tile
    assert side is not None

    assemble = Assembler(slide.tables, slide.adobe_transform, side)
    cols = -(-slide.width // side)
    with openslide.OpenSlide(path) as reference:
        for row, col in ((0, 0), (1, 2), (2, 1)):
            start = slide.offsets[row * cols + col]
            tile = assemble(data[start : start + slide.lengths[row * cols + col]])
            region = reference.read_region((col * side, row * side), 0, (side, side)).convert("RGB")
            assert_shown_as(tile, np.asarray(region), 0)
