"""What a CZI file says of the slide in it, from its directories alone; pixels are never touched.

Sources: the segments as OpenSlide and libCZI have them. A slide is a mosaic of tiles of any size, which may overlap;
smaller pictures of it lie in the same directory and are left out here.
Every length is checked before it is read, since a file may come from anybody.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from shared.errors import Reject
from shared.slides.damage import Damaged, Truncated, read_exactly, told
from shared.slides.details import Details, of_zeiss

NOT_COMPRESSED, JPEG_XR, ZSTD, ZSTD_WITH_HEADER = 0, 4, 5, 6
MOST_TILE_PIXELS = 64 * 10**6

_COMPRESSIONS = (NOT_COMPRESSED, JPEG_XR, ZSTD, ZSTD_WITH_HEADER)
_NAMES = {1: "JPEG", 2: "LZW"}
_BGR24, _BGR48 = 3, 4
_MOST_TILES = 10**6
_MOST_ATTACHED = 1000
_XML_BYTES = 32 * 2**20
_SEGMENT = struct.Struct("<16sqq")
_FILE = struct.Struct("<iiii16s16siqqiq")
_ENTRY = struct.Struct("<2siqii6xi")
_DIMENSION = struct.Struct("<4siifi")
_ATTACHED = struct.Struct("<2s10xqi16s8s80s")
_TILE_HEAD, _ATTACHED_HEAD = 256, 256
# Where a tile lies, in which scene and how far in front, and in which pass of the scanner it was taken.
_PLACES = frozenset("XYSMB")
_KINDS = {"Label": "label", "SlidePreview": "macro"}
_EXPORT = "Export it from ZEN as one file in colour, such as CZI or OME-TIFF, and upload that."


class Tile(NamedTuple):
    """A tile at full resolution: its place in pixels of the slide and where its segment begins in the file.

    `deep` where each colour has 16 bits. `front` orders tiles that overlap.
    """

    x: int
    y: int
    width: int
    height: int
    front: int
    at: int
    compression: int
    deep: bool


@dataclass(frozen=True)
class CziSlide:
    """The slide at full resolution, its tiles from the back to the front, and what the file says of it.

    `attached` is where "label" and "macro" lie: the type of the
    file in the file ("JPG" or "CZI"), offset and length in bytes.
    """

    width: int
    height: int
    tiles: Sequence[Tile]
    details: Details
    attached: Mapping[str, tuple[str, int, int]]


def describe(source: BinaryIO, length: int, name: str) -> CziSlide:
    """Looks at a CZI file of `length` bytes, called `name`.

    Raises `Reject` where it is truncated or damaged, or holds what is no picture in colours.
    """
    with told(name, length):
        file = _Bytes(source, length)
        start, _ = _segment(file, 0, "ZISRAWFILE")
        head = _FILE.unpack(file.read(start, _FILE.size))
        directory, about, beside = head[7], head[8], head[10]
        tiles = _mosaic(list(_tiles(file, directory, name)), name)
        return CziSlide(
            width=max(tile.x + tile.width for tile in tiles),
            height=max(tile.y + tile.height for tile in tiles),
            tiles=tiles,
            details=of_zeiss(_metadata(file, about)),
            attached=dict(_attached(file, beside)) if beside else {},
        )


def data_of(source: BinaryIO, length: int, tile: Tile) -> bytes:
    """The coded pixels of a tile in a file of `length` bytes. ValueError where they are not there."""
    file = _Bytes(source, length)
    try:
        start, _ = _segment(file, tile.at, "ZISRAWSUBBLOCK")
        metadata, _, size = struct.unpack("<iiq", file.read(start, 16))
        dimensions = _ENTRY.unpack(file.read(start + 16, _ENTRY.size))[5]
        head = max(_TILE_HEAD, 16 + _ENTRY.size + dimensions * _DIMENSION.size)
        return file.read(start + head + metadata, size)
    except (Truncated, Damaged) as error:
        raise ValueError(str(error)) from error


class _Bytes:
    """A file of which only what lies in it is read."""

    def __init__(self, source: BinaryIO, length: int) -> None:
        self._source = source
        self._length = length

    def read(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0:
            raise Damaged("its directory points to before its beginning")
        return read_exactly(self._source, self._length, at, size)


def _segment(file: _Bytes, at: int, kind: str) -> tuple[int, int]:
    """Where a segment's content begins, and how long it is."""
    name, _, used = _SEGMENT.unpack(file.read(at, _SEGMENT.size))
    if _text(name) != kind:
        raise Damaged(f"its directory says that {kind} lies at byte {at:,}, where it is not")
    return at + _SEGMENT.size, used


def _tiles(file: _Bytes, at: int, name: str) -> Iterator[Tile]:
    """Every tile at full resolution, in file order, at the place that the file gives it."""
    start, used = _segment(file, at, "ZISRAWDIRECTORY")
    (count,) = struct.unpack("<i", file.read(start, 4))
    if not 0 <= count <= _MOST_TILES:
        raise Damaged(f"its directory claims {count:,} tiles")
    entries = file.read(start + 128, used - 128)
    planes: dict[str, int] = {}
    position = 0
    try:
        for _ in range(count):
            schema, pixels, place, _, compression, dimensions = _ENTRY.unpack_from(entries, position)
            position += _ENTRY.size
            if schema != b"DV" or not 0 < dimensions < 100:
                raise Damaged("its directory of tiles holds something else")
            found: dict[str, tuple[int, int, int]] = {}
            for _ in range(dimensions):
                axis, first, size, _, stored = _DIMENSION.unpack_from(entries, position)
                position += _DIMENSION.size
                found[_text(axis)] = (first, size, stored)
            x, y = found["X"], found["Y"]
            if x[1:2] != x[2:] or y[1:2] != y[2:]:
                continue
            for axis in found.keys() - _PLACES:
                if planes.setdefault(axis, found[axis][0]) != found[axis][0]:
                    raise _several_planes(name, axis)
            _check_coding(name, pixels, compression)
            front = found["M"][0] if "M" in found else 0
            yield Tile(x[0], y[0], x[1], y[1], front, place, compression, pixels == _BGR48)
    except (struct.error, KeyError) as error:
        raise Damaged("its directory of tiles ends too early") from error


def _check_coding(name: str, pixels: int, compression: int) -> None:
    if pixels not in (_BGR24, _BGR48):
        raise Reject(f"{name} holds no colours but channels, as of fluorescence.", _EXPORT)
    if compression not in _COMPRESSIONS:
        how = _NAMES.get(compression, f"method {compression}")
        raise Reject(f"The tiles of {name} are compressed with {how}, which slidemill does not read in CZI.", _EXPORT)


def _several_planes(name: str, axis: str) -> Reject:
    if axis == "C":
        return Reject(f"{name} holds several channels, as of fluorescence.", _EXPORT)
    return Reject(
        f"{name} holds several planes (dimension {axis}), of which only one could be shown.",
        "Export the plane to be seen from ZEN as a CZI of its own, and upload that.",
    )


def _mosaic(tiles: list[Tile], name: str) -> list[Tile]:
    """The tiles from the back to the front, their places counted from the corner of them all."""
    if not tiles:
        raise Reject(f"{name} holds no image.", "Check that it opens in ZEN, then upload it again.")
    if any(min(tile.width, tile.height) < 1 or tile.width * tile.height > MOST_TILE_PIXELS for tile in tiles):
        raise Damaged("its directory holds a tile of an impossible size")
    left, top = min(tile.x for tile in tiles), min(tile.y for tile in tiles)
    return sorted((tile._replace(x=tile.x - left, y=tile.y - top) for tile in tiles), key=lambda tile: tile.front)


def _metadata(file: _Bytes, at: int) -> str:
    if not at:
        return ""
    start, _ = _segment(file, at, "ZISRAWMETADATA")
    (size,) = struct.unpack("<i", file.read(start, 4))
    return file.read(start + 256, min(size, _XML_BYTES)).decode("utf-8", "replace")


def _attached(file: _Bytes, at: int) -> Iterator[tuple[str, tuple[str, int, int]]]:
    start, _ = _segment(file, at, "ZISRAWATTDIR")
    (count,) = struct.unpack("<i", file.read(start, 4))
    for n in range(min(count, _MOST_ATTACHED)):
        entry = file.read(start + 256 + n * _ATTACHED.size, _ATTACHED.size)
        _, place, _, _, kind, name = _ATTACHED.unpack(entry)
        if _text(name) in _KINDS:
            inside, _ = _segment(file, place, "ZISRAWATTACH")
            (size,) = struct.unpack("<i", file.read(inside, 4))
            yield _KINDS[_text(name)], (_text(kind), inside + _ATTACHED_HEAD, size)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", "replace")
