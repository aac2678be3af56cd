"""JPEG headers, and TIFF's abbreviated JPEG streams made whole without touching their coded data. Pure.

Source: ITU-T T.81 (1992), annex B for markers and segments, section B.4 and B.5 for abbreviated formats; TIFF Technical
Note 2 (1995) for JPEGTables; ITU-T T.872 section 6.5.3 for the Adobe marker; ITU-T T.871 for JFIF.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"

_DHT, _DAC, _DQT, _DRI, _SOS, _APP0, _APP14 = 0xC4, 0xCC, 0xDB, 0xDD, 0xDA, 0xE0, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, _DAC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
_RGB, _YCBCR = 0, 1
# JPEG data may be followed by padding; further from the end an EOI would belong to something else.
_PADDING = 64


# By the n of SOFn.
_KINDS = {1: "extended JPEG", 2: "progressive JPEG", 9: "arithmetic JPEG", 10: "progressive arithmetic JPEG"}


class NotBaseline(ValueError):
    """JPEG data that may well be right, but are not baseline JPEG with 8 bits a sample; `kind` says what instead."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"it is {kind}, not baseline JPEG with 8 bits a sample")
        self.kind = kind


class Component(NamedTuple):
    """One colour component of a frame: its id, sampling factors and quantisation table."""

    id: int
    horizontal: int
    vertical: int
    table: int


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """Everything before the first scan's data.

    `sof` is the n of SOFn: 0 baseline, 1 extended, 2 progressive. `quantisation` and `huffman` are the tables defined
    here: table id, and for Huffman 16 * class (0 DC, 1 AC) + id; `wanted_huffman` are those that the first scan uses.
    `scan` is the offset of the first byte of coded data.
    """

    sof: int
    precision: int
    width: int
    height: int
    components: tuple[Component, ...]
    jfif: bool
    adobe_transform: int | None
    restart_interval: int
    quantisation: frozenset[int]
    huffman: frozenset[int]
    wanted_huffman: frozenset[int]
    scan: int

    @property
    def shown_as(self) -> int | None:
        """The colours that libjpeg, and so every browser, takes three components for: 0 RGB, 1 YCbCr.

        JFIF comes first, then the Adobe marker, then component ids. None where decoders differ: no marker at all and
        ids other than 1, 2, 3.
        """
        if self.jfif:
            return _YCBCR
        if self.adobe_transform is not None:
            return _RGB if self.adobe_transform == 0 else _YCBCR
        return _YCBCR if tuple(c.id for c in self.components) == (1, 2, 3) else None


class _Segment(NamedTuple):
    """A marker segment: where its marker starts, where its payload starts and ends."""

    marker: int
    start: int
    payload: int
    end: int


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments after SOI up to and with the first SOS, or up to EOI."""
    if data[:2] != SOI:
        raise ValueError("it does not start as JPEG data")
    size = len(data)
    at = 2
    while True:
        start = at
        if at >= size:
            raise ValueError("the JPEG header ends early")
        if data[at] != 0xFF:
            raise ValueError(f"the JPEG header is damaged at byte {at}")
        while at < size and data[at] == 0xFF:
            at += 1
        if at >= size:
            raise ValueError("the JPEG header ends early")
        marker = data[at]
        at += 1
        if marker == 0xD9:
            return
        if marker in _ALONE:
            continue
        if marker in (0x00, 0xD8):
            raise ValueError(f"the JPEG header is damaged at byte {start}")
        length = int.from_bytes(data[at : at + 2], "big")
        if at + 2 > size or at + length > size:
            raise ValueError("the JPEG header ends early")
        if length < 2:
            raise ValueError(f"the JPEG header is damaged at byte {start}")
        yield _Segment(marker, start, at + 2, at + length)
        if marker == _SOS:
            return
        at += length


def _quantisation_tables(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(payload):
        precision, id = payload[at] >> 4, payload[at] & 15
        size = 65 if precision == 0 else 129
        if precision > 1 or id > 3 or at + size > len(payload):
            raise ValueError("a JPEG quantisation table is damaged")
        yield id, payload[at : at + size]
        at += size


def _huffman_tables(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(payload):
        id = payload[at]
        size = 17 + sum(payload[at + 1 : at + 17])
        if id & 0xEC or at + size > len(payload):
            raise ValueError("a JPEG Huffman table is damaged")
        yield id, payload[at : at + size]
        at += size


def _frame(payload: bytes) -> tuple[int, int, int, tuple[Component, ...]]:
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5] or not payload[5]:
        raise ValueError("the JPEG frame header is damaged")
    height, width = int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
    if not height or not width:
        raise ValueError("the JPEG frame has no size")
    components = tuple(
        Component(payload[at], payload[at + 1] >> 4, payload[at + 1] & 15, payload[at + 2])
        for at in range(6, len(payload), 3)
    )
    if any(not (1 <= c.horizontal <= 4 and 1 <= c.vertical <= 4 and c.table <= 3) for c in components):
        raise ValueError("the JPEG frame header is damaged")
    return payload[0], width, height, components


def _scan_tables(payload: bytes, progressive: bool) -> frozenset[int]:
    if not payload or len(payload) != 4 + 2 * payload[0] or not 1 <= payload[0] <= 4:
        raise ValueError("the JPEG scan header is damaged")
    if progressive:
        return frozenset()
    pairs = payload[2 : 1 + 2 * payload[0] : 2]
    return frozenset(id >> 4 for id in pairs) | frozenset(0x10 | id & 15 for id in pairs)


def read_header(data: bytes) -> JpegHeader:
    """The header of a JPEG file, or of an abbreviated stream that lacks tables. Raises `ValueError` where damaged."""
    frame: tuple[int, int, int, tuple[Component, ...]] | None = None
    sof = restart_interval = 0
    jfif = False
    adobe: int | None = None
    quantisation: set[int] = set()
    huffman: set[int] = set()
    for marker, _, start, end in _segments(data):
        payload = data[start:end]
        if marker in _FRAMES:
            if frame is not None:
                raise ValueError("the JPEG data hold two frames")
            sof, frame = marker & 15, _frame(payload)
        elif marker == _DQT:
            quantisation.update(id for id, _ in _quantisation_tables(payload))
        elif marker == _DHT:
            huffman.update(id for id, _ in _huffman_tables(payload))
        elif marker == _DRI:
            if len(payload) != 2:
                raise ValueError("a JPEG restart interval is damaged")
            restart_interval = int.from_bytes(payload, "big")
        elif marker == _APP0:
            jfif = jfif or payload.startswith(b"JFIF\0")
        elif marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
            adobe = payload[11]
        elif marker == _SOS:
            if frame is None:
                raise ValueError("the JPEG data hold a scan without a frame")
            precision, width, height, components = frame
            return JpegHeader(
                sof=sof,
                precision=precision,
                width=width,
                height=height,
                components=components,
                jfif=jfif,
                adobe_transform=adobe,
                restart_interval=restart_interval,
                quantisation=frozenset(quantisation),
                huffman=frozenset(huffman),
                wanted_huffman=_scan_tables(payload, sof not in (0, 1)),
                scan=end,
            )
    raise ValueError("the JPEG data hold no scan")


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


def adobe_marker(transform: int) -> bytes:
    """An Adobe APP14 segment that names the colours of three components: 0 RGB, 1 YCbCr."""
    return _segment(_APP14, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))


class Assembler:
    """Makes whole baseline JPEG files of one TIFF page's tiles; their coded data are copied byte for byte.

    `tables` is the page's JPEGTables stream (None where every tile brings its own); `adobe_transform` says what the
    three components are (0 RGB, 1 YCbCr, None: leave it to the tile), and the tile is marked so only where decoders
    would show it otherwise; `tile` is the side in pixels that every tile must have (None: not checked).

    Tiles of one page nearly always start with the same bytes: what was worked out for the last header is used again.
    """

    def __init__(self, tables: bytes | None, adobe_transform: int | None, tile: int | None = None) -> None:
        self._transform = adobe_transform
        self._tile = tile
        self._quantisation: dict[int, bytes] = {}
        self._huffman: dict[int, bytes] = {}
        if tables:
            for marker, _, start, end in _segments(tables):
                if marker == _DQT:
                    self._quantisation.update(_quantisation_tables(tables[start:end]))
                elif marker == _DHT:
                    self._huffman.update(_huffman_tables(tables[start:end]))
        self._header = b""
        self._replacement = b""

    def __call__(self, data: bytes) -> bytes:
        """One tile as a JPEG file that stands alone. Raises `ValueError` for a tile that is not what was promised."""
        if not self._header or not data.startswith(self._header):
            self._learn(data)
        start, end = len(self._header), len(data) if data.endswith(EOI) else self._end(data)
        if start >= end:
            raise ValueError("it ends before its image data")
        ending = b"" if data[end - 2 : end] == EOI else EOI
        return b"".join((self._replacement, memoryview(data)[start:end], ending))

    def _end(self, data: bytes) -> int:
        """Where the coded data end when padding follows them; all of it when the end marker was left out."""
        found = data.rfind(EOI, max(len(self._header), len(data) - _PADDING))
        return found + 2 if found >= 0 else len(data)

    def _learn(self, data: bytes) -> None:
        header = read_header(data)
        if header.sof != 0 or header.precision != 8:
            kind = (
                _KINDS.get(header.sof, "JPEG of a rare kind") if header.precision == 8 else "JPEG of more than 8 bits"
            )
            raise NotBaseline(kind)
        if self._tile is not None and (header.width, header.height) != (self._tile, self._tile):
            raise ValueError(f"it has {header.width} x {header.height} pixels instead of {self._tile} x {self._tile}")
        quantisation = {id: table for id, table in self._quantisation.items() if id not in header.quantisation}
        huffman = {id: table for id, table in self._huffman.items() if id not in header.huffman}
        wanted = {component.table for component in header.components}
        if wanted - header.quantisation - quantisation.keys() or (
            header.wanted_huffman - header.huffman - huffman.keys()
        ):
            raise ValueError("it lacks the JPEG tables that it was coded with")
        wrong = self._transform is not None and len(header.components) == 3 and header.shown_as != self._transform
        parts = [SOI]
        if wrong and self._transform is not None:
            parts.append(adobe_marker(self._transform))
        parts += (_segment(_DQT, table) for table in quantisation.values())
        parts += (_segment(_DHT, table) for table in huffman.values())
        # Colour markers of the tile that say something else come out: decoders believe JFIF before Adobe, and the last
        # Adobe marker before the first.
        parts += (
            data[segment.start : segment.end]
            for segment in _segments(data)
            if not (wrong and segment.marker in (_APP0, _APP14))
        )
        self._header, self._replacement = data[: header.scan], b"".join(parts)
