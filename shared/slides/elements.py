"""DICOM's elements: data sets, sequences and encapsulated frames, in explicit or implicit little-endian coding.

Sources: DICOM PS3.10 section 7.1 (file format), PS3.5 section 7 (elements, sequences) and A.4 (encapsulated frames).
Every length is checked before it is read, since a file may come from anybody.
"""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from shared.slides.damage import Damaged, Truncated, read_exactly

PREAMBLE = 132
CLASS = 0x00080016
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
FRAMES = 0x00280008
OFFSETS, LENGTHS = 0x7FE00001, 0x7FE00002
_PIXELS, _PROFILE = 0x7FE00010, 0x00282000
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
# Their length has four bytes, after two that are reserved.
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_DEEPEST = 8
_MOST_FRAMES = 2**24
_VALUE_BYTES = 2**16
_VALUE_CHARACTERS = 1000

# Values by tag: bytes, a list of data sets for a sequence, or only the length of what is too long to matter.
Dataset = dict[int, Any]


class Header(NamedTuple):
    """The meta information, the data set up to its pixels, and where the encapsulated frames start.

    0 where the pixels are not encapsulated, None where the file ends without any.
    """

    syntax: str
    dataset: Dataset
    frames: int | None


def items(data: Dataset, code: int) -> list[Dataset]:
    """A sequence's items; none where there is no such sequence."""
    found = data.get(code)
    return found if isinstance(found, list) else []


def item(data: Dataset, code: int) -> Dataset:
    """A sequence's first item; empty where there is none."""
    return next(iter(items(data, code)), {})


def text(data: Dataset, code: int) -> str:
    """A text; empty where it is not there."""
    value = data.get(code)
    return value.decode("utf-8", "replace").strip(" \0")[:_VALUE_CHARACTERS] if isinstance(value, bytes) else ""


def number(data: Dataset, code: int, default: int = 0) -> int:
    """A whole number; `default` where it is not there or something else."""
    value = data.get(code)
    if not isinstance(value, bytes) or not value:
        return default
    if code == FRAMES:
        digits = value.decode("ascii", "replace").strip(" \0")
        return int(digits) if digits.isdecimal() else default
    return int.from_bytes(value[:4], "little") if len(value) in (2, 4) else default


class Reader:
    """Elements of a file in explicit or implicit little-endian coding."""

    def __init__(self, source: BinaryIO, length: int) -> None:
        self.length = length
        self._file = io.BufferedReader(source, 2**20)  # type: ignore[type-var]
        self._implicit = False

    def close(self) -> None:
        """Lets go of the source and leaves it open."""
        self._file.detach()

    def read(self, at: int, size: int) -> bytes:
        """Exactly these bytes; raises `Truncated`."""
        return read_exactly(self._file, self.length, at, size)

    def header(self, dataset: Dataset | None = None) -> Header:
        """Everything up to the pixels; `dataset` is filled as far as the header can be read."""
        at = PREAMBLE
        meta: Dataset = {}
        while int.from_bytes(self.read(at, 2), "little") == 2:
            code, _, size, body = self._element(at)
            meta[code] = self.read(body, min(size, _VALUE_BYTES))
            at = body + size
        syntax = text(meta, 0x00020010)
        if syntax in (_BIG_ENDIAN, _DEFLATED):
            raise Damaged(f"its data are coded by {syntax}, which slides never are")
        self._implicit = syntax == _IMPLICIT
        dataset = {} if dataset is None else dataset
        end = self._dataset(at, self.length, dataset, 0)
        return Header(syntax, dataset, None if end == self.length else end)

    def item_length(self, at: int) -> int:
        """The length of the item that starts here."""
        code, size = self._tag(at)
        if code != _ITEM or size == _UNDEFINED:
            raise Damaged(f"its frames are not where they should be at byte {at:,}")
        return size

    def fragments(self, at: int, most: int) -> Iterator[tuple[int, int]]:
        """Offset and length of each fragment from here on; no further than one more than `most`."""
        for _ in range(most + 1):
            code, size = self._tag(at)
            if code == _SEQUENCE_END:
                return
            if code != _ITEM or size == _UNDEFINED:
                raise Damaged(f"its frames are not where they should be at byte {at:,}")
            yield at + 8, size
            at += 8 + size

    def _tag(self, at: int) -> tuple[int, int]:
        group, element, size = struct.unpack("<HHI", self.read(at, 8))
        return group << 16 | element, size

    def _element(self, at: int) -> tuple[int, bytes, int, int]:
        """(tag, value representation, length, offset of the value)."""
        code, size = self._tag(at)
        if code >> 16 == 0xFFFE or (self._implicit and code >> 16 != 2):
            return code, b"", size, at + 8
        kind, short = struct.pack("<I", size)[:2], size >> 16
        if kind in _LONG:
            return code, kind, int.from_bytes(self.read(at + 8, 4), "little"), at + 12
        return code, kind, short, at + 8

    def _dataset(self, at: int, end: int, into: Dataset, depth: int) -> int:
        """Reads elements until the data set ends; returns where: for pixels, where their first item starts."""
        while at < end:
            code, kind, size, body = self._element(at)
            if code in (_ITEM_END, _SEQUENCE_END):
                return body
            if code == _PIXELS and depth == 0:
                return body if size == _UNDEFINED else 0
            if size == _UNDEFINED or kind == b"SQ":
                items: list[Dataset] = []
                into[code] = items
                at = self._sequence(body, end if size == _UNDEFINED else body + size, size, items, depth + 1)
                continue
            if body + size > self.length:
                raise Truncated(body + size)
            if code in (OFFSETS, LENGTHS):
                into[code] = self.read(body, min(size, 8 * _MOST_FRAMES))
            else:
                # Of long values only the length is of interest.
                into[code] = self.read(body, size) if size <= _VALUE_BYTES and code != _PROFILE else size
            at = body + size
        if depth == 0 and at > self.length:
            raise Truncated(at)
        return at

    def _sequence(self, at: int, end: int, size: int, into: list[Dataset], depth: int) -> int:
        if depth > _DEEPEST:
            raise Damaged("its sequences are nested too deeply")
        while at < end:
            code, length = self._tag(at)
            if code == _SEQUENCE_END:
                return at + 8
            if code != _ITEM or len(into) == _MOST_FRAMES:
                raise Damaged(f"a sequence in its header breaks off at byte {at:,}")
            into.append({})
            at = self._dataset(at + 8, end if length == _UNDEFINED else at + 8 + length, into[-1], depth)
        if size == _UNDEFINED:
            raise Truncated(max(at, self.length + 1))
        return at
