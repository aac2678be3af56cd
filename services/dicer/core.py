"""What is known of a slide, and where its tiles lie in the file. Pure arithmetic."""

import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from shared.errors import Reject
from shared.events import Base
from shared.store.documents.uploads import Subsampling, Wish
from shared.store.documents.versions import Reader, Recipe, Source
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.squares import rounds, squares

READ_GAP = 256 * 2**10
# The rows of a span lie apart, but a database answers with whole chunks: what lies between comes anyway.
SPAN_GAP = 4 * 2**20
UNPACKED_BYTES = 20 * 2**30
DECODED_TILE = 256
COPYING: tuple[Reader, ...] = ("tiff-tiles", "dicom-frames")
# What is read tile by tile at its place in the file, to be copied or to be decoded.
BY_TILE: tuple[Reader, ...] = (*COPYING, "tiff-jpeg2000", "tiff-lossless")
# Kinds of file that libvips reads from beginning to end without going back.
PIPED = ("jpeg", "png")
# Why full resolution of a kind of file is never copied. Of TIFF and DICOM the header says why.
NOT_COPIED: dict[str, str] = {
    "czi": "it is a mosaic of tiles, which may overlap and are not stored as JPEG: they are put together and encoded",
    "jpeg": "it is one JPEG image from edge to edge, not divided into tiles",
    "png": "it is one PNG image from edge to edge, not divided into JPEG tiles",
    "several": "it consists of several files, whose pixels have to be joined",
    "webp": "it is one WebP image from edge to edge, not divided into JPEG tiles",
}
# A constant of the imaging code: raised when the same source and settings give other bytes.
REVISION = 6


@dataclass(frozen=True)
class Found:
    """What a look at a slide's header found: how it is read, its size in pixels, and what it says of itself.

    `offsets` and `lengths` (all tiles, row by row) are only there where it is read tile by tile; `reason` says why the
    base can't be copied.
    """

    reader: Reader
    suffix: str
    width: int
    height: int
    tile: int
    vendor: str | None = None
    mpp: float | None = None
    objective: float | None = None
    barcode: str | None = None
    scanned: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)
    offsets: Sequence[int] = ()
    lengths: Sequence[int] = ()
    reason: str | None = None

    @property
    def geometry(self) -> Geometry:
        """Size and tile side."""
        return Geometry(width=self.width, height=self.height, tile=self.tile)

    @property
    def base(self) -> Base:
        """How its base level is made."""
        return "copied" if self.reader in COPYING else "encoded"

    @property
    def source(self) -> Source:
        """What the version's document keeps of it."""
        return Source(
            reader=self.reader,
            suffix=self.suffix,
            vendor=self.vendor,
            mpp=self.mpp,
            objective=self.objective,
            barcode=self.barcode,
            scanned=self.scanned,
            properties=self.properties,
            layout=self.layout,
        )


class Extent(NamedTuple):
    """Where one tile's bytes lie in the source file; length 0 where the source has no tile."""

    offset: int
    length: int


class Read(NamedTuple):
    """One contiguous read of the file and the tiles inside it."""

    offset: int
    length: int
    tiles: tuple[tuple[Position, Extent], ...]


def suffix(name: str) -> str:
    """The file name's ending, for a local copy: some readers look at it. Empty where it is no plain ending."""
    ending = PurePosixPath(name).suffix.lower()
    return ending if re.fullmatch(r"\.[a-z0-9]{1,8}", ending) else ""


def recipe(wish: Wish, quality: int, subsampling: Subsampling, tile: int) -> Recipe:
    """What a first plan pins: `quality` and `subsampling` where nothing else is wished."""
    return Recipe(
        revision=REVISION,
        quality=quality if wish.quality is None else wish.quality,
        subsampling=wish.subsampling or subsampling,
        tile=tile,
    )


def tile_counts(geometry: Geometry, climb: int, rect: Rect, extents: Sequence[Extent]) -> dict[Rect, int]:
    """How many tiles the source has in each square of a block of whole squares."""
    counts = Counter(
        (position.row >> climb, position.col >> climb)
        for position, extent in zip(rect.positions(), extents, strict=True)
        if extent.length
    )
    all = squares(geometry, rounds(geometry, climb)[0], rect)
    return {square: counts[square.top >> climb, square.left >> climb] for square in all}


def pack_extents(offsets: Sequence[int], lengths: Sequence[int]) -> bytes:
    """Offsets, then lengths, as little-endian 64-bit numbers."""
    return struct.pack(f"<{2 * len(offsets)}Q", *offsets, *lengths)


def unpack_extents(packed: bytes) -> list[Extent]:
    """The extents of `pack_extents`."""
    count = len(packed) // 16
    numbers = struct.unpack(f"<{2 * count}Q", packed)
    return list(map(Extent, numbers[:count], numbers[count:]))


def extents_of(rect: Rect, cols: int, offsets: Sequence[int], lengths: Sequence[int]) -> bytes:
    """The packed extents of a rectangle row by row; `cols` is the width of the whole grid in tiles."""
    spans = [slice(row * cols + rect.left, row * cols + rect.right) for row in range(rect.top, rect.bottom)]
    return pack_extents(
        [offset for span in spans for offset in offsets[span]], [length for span in spans for length in lengths[span]]
    )


def reads(rect: Rect, extents: Sequence[Extent], gap: int = READ_GAP) -> list[Read]:
    """The reads that fetch a block's tiles in file order: what lies no more than `gap` bytes apart is read together."""
    present = sorted(
        ((position, extent) for position, extent in zip(rect.positions(), extents, strict=True) if extent.length),
        key=lambda pair: pair[1].offset,
    )
    plan: list[Read] = []
    group: list[tuple[Position, Extent]] = []
    start = end = 0
    for position, extent in present:
        stop = extent.offset + extent.length
        if group and extent.offset > end + gap:
            plan.append(Read(start, end - start, tuple(group)))
            group = []
        if not group:
            start = end = extent.offset
        group.append((position, extent))
        end = max(end, stop)
    if group:
        plan.append(Read(start, end - start, tuple(group)))
    return plan


def interior(geometry: Geometry) -> tuple[int, int]:
    """(columns, rows) of base tiles that lie whole inside the slide, so that they can be copied as they are."""
    return geometry.width // geometry.tile, geometry.height // geometry.tile


def damaged(position: Position, what: str, heard: str = "") -> Reject:
    """The rejection of a slide of which this tile can't be decoded: `what` is a clause, `heard` a library's words."""
    return Reject(
        f"The tile in row {position.row}, column {position.col} of the slide is damaged ({what}).",
        "Upload the file again; if it fails again, export the slide from the scanner once more.",
        heard,
    )
