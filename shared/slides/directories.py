"""TIFF's directories: classic and BigTIFF, both byte orders, and Hamamatsu's 64-bit variety of classic TIFF.

Source: TIFF 6.0 (1992) sections 2 and 15; "The BigTIFF File Format" (Aware Systems); OpenSlide's notes on NDPI.
Every length is checked before it is read, since a file may come from anybody.
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal, NamedTuple

from shared.slides.damage import Damaged, Truncated, read_exactly

MOST_DIRECTORIES = 4096
MOST_ENTRIES = 4096
# Covers a directory and most of its small values in one read.
WINDOW_BYTES = 8192

NDPI_TAG = 65420
_INNER = 330
_BIG = 43
# No file is longer: such an offset tells of damage, not of an upload that was cut short.
_FARTHEST = 2**44
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


class _Format(NamedTuple):
    """`head` and `entry` are the lengths in bytes of a directory's count and of an entry; `link` that of an offset.

    `inline` is how many bytes of a value lie in its entry itself.
    """

    order: Literal["little", "big"]
    head: int
    entry: int
    inline: int
    link: int


class _Entry(NamedTuple):
    """`held` is how many values it has, `value` those or their offset, `at` where that lies in the entry."""

    type: int
    held: int
    value: int
    at: int


class Directory:
    """One image of a TIFF file: its tags, whose values are read when they are asked for."""

    def __init__(self, source: BinaryIO, length: int, shape: _Format, at: int, index: int) -> None:
        """Reads the directory at byte `at`; `length` is the file's. Raises `Truncated` or `Damaged`."""
        self.index = index
        self._source = source
        self._length = length
        self._shape = shape
        self._order = shape.order
        self._window_at = at
        self._window = b""
        self._window = self._bytes(at, min(WINDOW_BYTES, max(length - at, shape.head)))
        count = self._number(at, shape.head)
        if not 0 < count <= MOST_ENTRIES:
            raise Damaged(f"its directory {index + 1} claims {count:,} entries")
        body = at + shape.head
        end = body + count * shape.entry
        # Whole first, so that the entries come out of the window or one read.
        raw = self._bytes(body, count * shape.entry)
        self._entries: dict[int, _Entry] = {}
        for start in range(0, len(raw), shape.entry):
            code, kind = (int.from_bytes(raw[start + i : start + i + 2], self._order) for i in (0, 2))
            size = shape.inline
            numbers = int.from_bytes(raw[start + 4 : start + 4 + size], self._order)
            value = int.from_bytes(raw[start + 4 + size : start + 4 + 2 * size], self._order)
            self._entries.setdefault(code, _Entry(kind, numbers, value, body + start + 4 + size))
        self.next = self._number(end, shape.link)

    def _bytes(self, at: int, size: int) -> bytes:
        start = at - self._window_at
        if 0 <= start and start + size <= len(self._window):
            return self._window[start : start + size]
        if at + size > self._length and at > _FARTHEST:
            raise Damaged(f"its directory {self.index + 1} points to byte {at:,}")
        return read_exactly(self._source, self._length, at, size)

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._bytes(at, size), self._order)

    def __contains__(self, code: int) -> bool:
        return code in self._entries

    def count(self, code: int) -> int:
        """How many numbers or bytes a tag holds; 0 where it is not there."""
        entry = self._entries.get(code)
        return entry.held if entry else 0

    def inner(self) -> Iterator["Directory"]:
        """The directories that this one names as parts of it, as far as they can be read."""
        for at in self.numbers(_INNER)[:MOST_DIRECTORIES]:
            try:
                yield Directory(self._source, self._length, self._shape, at, self.index)
            except (Truncated, Damaged):
                continue

    def data(self, code: int, most: int | None = None) -> bytes:
        """A tag's value as bytes, at most the first `most` of them; empty where it is not there."""
        entry = self._entries.get(code)
        if entry is None:
            return b""
        size = _SIZES.get(entry.type, 0) * entry.held
        if size > self._length:
            raise Damaged(f"its directory {self.index + 1} claims {entry.held:,} values for tag {code}")
        at = entry.at if size <= self._shape.inline else entry.value
        return self._bytes(at, size if most is None else min(size, most))

    def place(self, code: int) -> tuple[int, int] | None:
        """Offset and length of a tag's bytes in the file; None where it is not there."""
        entry = self._entries.get(code)
        if entry is None:
            return None
        size = _SIZES.get(entry.type, 0) * entry.held
        return (entry.at if size <= self._shape.inline else entry.value, size)

    def text(self, code: int, most: int = 2**16) -> str:
        """A tag's text up to its first NUL."""
        return self.data(code, most).split(b"\0", 1)[0].decode("utf-8", "replace").strip()

    def numbers(self, code: int) -> Sequence[int]:
        """A tag's whole numbers; empty where it is not there or holds something else."""
        entry = self._entries.get(code)
        if entry is None or entry.type not in _WHOLE_NUMBERS:
            return ()
        values = array(_WHOLE_NUMBERS[entry.type])
        values.frombytes(self.data(code))
        if self._order != sys.byteorder:
            values.byteswap()
        return values

    def number(self, code: int, default: int = 0) -> int:
        """A tag's first whole number."""
        values = self.numbers(code)
        return values[0] if values else default

    def ratio(self, code: int) -> float | None:
        """A tag's first rational number; None where it is not there or says nothing."""
        entry = self._entries.get(code)
        if entry is None or entry.type != 5 or not entry.held:
            return None
        data = self.data(code, 8)
        above, below = int.from_bytes(data[:4], self._order), int.from_bytes(data[4:], self._order)
        return above / below if above and below else None


def read_directories(source: BinaryIO, length: int) -> list[Directory]:
    """Every directory of the main chain, at least one, in file order.

    An NDPI file yields its first one alone: the others need a reader of that format. Raises `Truncated` or `Damaged`.
    """
    source.seek(0)
    head = source.read(16)
    if len(head) < 16:
        raise Truncated(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    if int.from_bytes(head[2:4], order) == _BIG:
        shape, at = _Format(order, 8, 20, 8, 8), int.from_bytes(head[8:16], order)
    else:
        shape, at = _Format(order, 2, 12, 4, 4), int.from_bytes(head[4:8], order)
        if order == "little" and (ndpi := _ndpi(source, length, int.from_bytes(head[4:12], order))):
            return [ndpi]
    found: list[Directory] = []
    seen: set[int] = set()
    while at:
        if at in seen:
            raise Damaged("its directories run in a circle")
        if len(found) == MOST_DIRECTORIES:
            raise Damaged(f"its directories do not end after {MOST_DIRECTORIES:,}")
        seen.add(at)
        found.append(Directory(source, length, shape, at, len(found)))
        at = found[-1].next
    if not found:
        raise Damaged("its header names no directory")
    return found


def _ndpi(source: BinaryIO, length: int, at: int) -> Directory | None:
    """The first directory if this is NDPI, whose links are 64 bits long although it calls itself classic TIFF."""
    if not 8 <= at < length:
        return None
    try:
        first = Directory(source, length, _Format("little", 2, 12, 4, 8), at, 0)
    except (Truncated, Damaged):
        return None
    return first if NDPI_TAG in first else None
