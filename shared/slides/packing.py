"""Several files of one slide as one zip, described before a byte of it is read. Pure: names, lengths and CRCs in.

Nothing is compressed, since slides are already, so that each byte of the zip is known to lie in a header or at an
offset of a file: its length is known beforehand, any range of it can be read, and no temporary file is needed. Equal
files give equal bytes, wherever they lie and whoever packs them; the page does the same in its `packing.ts`.
Each CRC stands before its file's data, as everybody's zip programs expect of what is stored, also those that read
without seeking.

Source: PKWARE's APPNOTE 6.3: 4.3.7 (local header), 4.3.12 to 4.3.16 (directory and its ends), 4.4 (fields) and 4.5.3
(ZIP64).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from shared.slides.companions import Slide

# A field that holds all ones says that the value is in the ZIP64 record instead.
_MOST_32 = 0xFFFFFFFF
_MOST_16 = 0xFFFF
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_STORED = 0
_UTF8_NAMES = 0x0800
_VERSION, _VERSION64 = 20, 45
_UNIX = 3 << 8
# 1980-01-01 00:00, the first moment that the fields can tell, and a file that all may read.
_DATE, _TIME = 0x0021, 0
_MODE = 0o100644 << 16


class Member(NamedTuple):
    """A file of a slide: its name in the zip, its length in bytes, and the CRC-32 of them."""

    name: str
    length: int
    crc: int


class Piece(NamedTuple):
    """Bytes of a member: `length` of them from `start` on."""

    member: str
    start: int
    length: int


@dataclass(frozen=True)
class Packed:
    """A zip as a sequence of segments: bytes as they are, and bytes of members. `length` is that of all of them."""

    segments: tuple[bytes | Piece, ...]
    length: int

    def within(self, start: int, stop: int) -> Iterator[bytes | Piece]:
        """What lies in the bytes from `start` up to `stop`."""
        at = 0
        for segment in self.segments:
            length = _length(segment)
            first, last = max(start - at, 0), min(stop - at, length)
            if first < last:
                yield (
                    segment[first:last]
                    if isinstance(segment, bytes)
                    else Piece(segment.member, segment.start + first, last - first)
                )
            at += length


def names_in_zip(slide: Slide) -> dict[str, str]:
    """By each member's name its name in the zip, which does not tell where the slide lies."""
    folder = PurePosixPath(slide.main).parent
    return {member: str(PurePosixPath(member).relative_to(folder)) for member in slide.members}


def pack(members: Iterable[Member]) -> Packed:
    """The zip of these files, in order of their names. Raises `UnicodeEncodeError` for a name that is no Unicode."""
    segments: list[bytes | Piece] = []
    directory: list[bytes] = []
    at = 0
    for member in sorted(members):
        header = _header(member)
        directory.append(_entry(member, at))
        segments += [header, Piece(member.name, 0, member.length)] if member.length else [header]
        at += len(header) + member.length
    segments.append(b"".join([*directory, _ends(len(directory), sum(map(len, directory)), at)]))
    return Packed(tuple(segments), sum(map(_length, segments)))


def length_of(lengths: Mapping[str, int]) -> int:
    """The length of the zip of files of these names and lengths, before their CRCs are known."""
    return pack(Member(name, length, 0) for name, length in lengths.items()).length


def _length(segment: bytes | Piece) -> int:
    return len(segment) if isinstance(segment, bytes) else segment.length


def _header(member: Member) -> bytes:
    name = member.name.encode()
    large = member.length >= _MOST_32
    length = _MOST_32 if large else member.length
    # In a local header the ZIP64 record holds both lengths, or is not there.
    extra = struct.pack("<2H2Q", 1, 16, member.length, member.length) if large else b""
    version = _VERSION64 if large else _VERSION
    fixed = (b"PK\x03\x04", version, _UTF8_NAMES, _STORED, _TIME, _DATE, member.crc, length, length)
    return _LOCAL.pack(*fixed, len(name), len(extra)) + name + extra


def _entry(member: Member, at: int) -> bytes:
    name = member.name.encode()
    large = member.length >= _MOST_32
    beyond = [*([member.length] * 2 if large else []), *([at] if at >= _MOST_32 else [])]
    extra = struct.pack(f"<2H{len(beyond)}Q", 1, 8 * len(beyond), *beyond) if beyond else b""
    version = _VERSION64 if beyond else _VERSION
    length = _MOST_32 if large else member.length
    fixed = (b"PK\x01\x02", _UNIX | version, version, _UTF8_NAMES, _STORED, _TIME, _DATE, member.crc, length, length)
    return _ENTRY.pack(*fixed, len(name), len(extra), 0, 0, 0, _MODE, min(at, _MOST_32)) + name + extra


def _ends(count: int, size: int, at: int) -> bytes:
    """What closes the directory of `count` entries and `size` bytes that starts at `at`."""
    few, short = min(count, _MOST_16), (min(size, _MOST_32), min(at, _MOST_32))
    end = _END.pack(b"PK\x05\x06", 0, 0, few, few, *short, 0)
    if count < _MOST_16 and size < _MOST_32 and at < _MOST_32:
        return end
    rest = _END64.size - 12
    end64 = _END64.pack(b"PK\x06\x06", rest, _UNIX | _VERSION64, _VERSION64, 0, 0, count, count, size, at)
    return end64 + _LOCATOR.pack(b"PK\x06\x07", 0, at + size, 1) + end
