"""Small slides as Hamamatsu's newer scanners write them, after OpenSlide's notes on NDPI.

It calls itself classic TIFF, but has links of 64 bits, and behind each directory the upper halves of its values, so
that a file may be longer than 4 GB. Each level is one JPEG in one strip.
"""

import re
import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from tests.slides.vendors import HEIGHT, TILE, WIDTH, glass

MACRO = (240, 120)
_LENS = 20.0
_ASCII, _SHORT, _LONG, _RATIONAL, _SLONG, _FLOAT = 2, 3, 4, 5, 9, 11
_FORMS = {_SHORT: "H", _SLONG: "i", _FLOAT: "f"}

Value = str | float | tuple[int, ...]


def write_ndpi(
    path: Path,
    *,
    restart: int = 0,
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:4:4",
    levels: int = 1,
    begin: int = 12,
) -> None:
    """Writes so many levels and a macro.

    With a `restart` the JPEG can be entered at each so many blocks, and a tag says where. Pixels and directories lie
    behind byte `begin`; what is before takes no room on the disk.
    """
    width, height = (4 * TILE, 2 * TILE) if restart else (WIDTH, HEIGHT)
    full = glass(width, height)
    pages = [(np.ascontiguousarray(full[:: 2**n, :: 2**n]), _LENS / 2**n) for n in range(levels)]
    with path.open("wb") as file:
        file.write(b"II*\0")
        link = file.tell()
        file.seek(begin)
        # A lens of -1 stands for the macro.
        for pixels, lens in [*pages, (glass(*MACRO), -1.0)]:
            directory, following = _write_page(file, pixels, lens, restart, subsampling)
            file.seek(link)
            file.write(struct.pack("<Q", directory))
            link = following
            file.seek(0, 2)


def _write_page(file: BinaryIO, pixels: np.ndarray, lens: float, restart: int, subsampling: str) -> tuple[int, int]:
    """Appends a page; returns where its directory lies and where the link to the next one has to be written."""
    held = BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=90, subsampling=subsampling, restart_marker_blocks=restart)
    data = held.getvalue()
    start = file.tell()
    file.write(data)
    height, width, _ = pixels.shape
    entries: list[tuple[int, int, Value]] = [
        (256, _LONG, width),
        (257, _LONG, height),
        (259, _SHORT, 7),
        (262, _SHORT, 6),
        (271, _ASCII, "Hamamatsu"),
        (272, _ASCII, "C13210"),
        (273, _LONG, start),
        (277, _SHORT, 3),
        (278, _LONG, height),
        (279, _LONG, len(data)),
        (282, _RATIONAL, (int(20000 * abs(lens) / _LENS), 1)),
        (283, _RATIONAL, (int(20000 * abs(lens) / _LENS), 1)),
        (296, _SHORT, 3),
        (306, _ASCII, "2026:01:02 03:04:05"),
        (65420, _LONG, 1),
        (65421, _FLOAT, lens),
        (65422, _SLONG, 0),
        (65423, _SLONG, 0),
        (65424, _SLONG, 0),
    ]
    if restart:
        entries.append((65426, _LONG, _starts(data)))
    coded = [_place(file, kind, value) for _, kind, value in entries]
    directory = file.tell()
    file.write(struct.pack("<H", len(entries)))
    for (tag, kind, _), (count, value) in zip(entries, coded, strict=True):
        file.write(struct.pack("<HHII", tag, kind, count, value & 0xFFFFFFFF))
    following = file.tell()
    file.write(bytes(8))
    file.writelines(struct.pack("<I", value >> 32) for _, value in coded)
    return directory, following


def _place(file: BinaryIO, kind: int, value: Value) -> tuple[int, int]:
    """How many values there are, and the only one, or where they now lie in the file."""
    if isinstance(value, str):
        text = value.encode() + b"\0"
        at = file.tell()
        file.write(text)
        return len(text), at
    if isinstance(value, tuple):
        at = file.tell()
        file.write(struct.pack(f"<{len(value)}I", *value))
        return (1 if kind == _RATIONAL else len(value)), at
    if kind == _LONG:
        return 1, int(value)
    return 1, int.from_bytes(struct.pack(f"<{_FORMS[kind]}", value), "little")


def _starts(data: bytes) -> tuple[int, ...]:
    """Where the coded data of each span between restart markers begins."""
    scan = data.index(b"\xff\xda") + 2
    first = scan + int.from_bytes(data[scan : scan + 2], "big")
    return first, *(match.end() for match in re.compile(rb"\xff[\xd0-\xd7]").finditer(data, first))
