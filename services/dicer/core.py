"""How a slide's base level is divided into blocks. Pure arithmetic.

A block is one message's work: seconds of time and bounded memory. Its shape follows how the source is read, so that
no block makes another one read the same bytes again.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from shared.errors import Reject
from shared.events import Base
from shared.store.documents import Block, BlockId, Reader, Recipe, Source, Subsampling, Version, Wish
from shared.tiles.geometry import Geometry, Position, Rect

COPIED_BYTES = 32 * 2**20
# A slide that is shorter than a few such blocks is cut finer, so that all workers find some of it to do.
LEAST_COPIED_BYTES = 8 * 2**20
SHARES = 4
DECODED_SIDE = 2048
READ_GAP = 256 * 2**10
FEW_BLOCKS = 4
UNPACKED_BYTES = 20 * 2**30
DECODED_TILE = 256
COPYING: tuple[Reader, ...] = ("tiff-tiles", "dicom-frames")
# What is read tile by tile at its place in the file, to be copied or to be decoded.
BY_TILE: tuple[Reader, ...] = (*COPYING, "tiff-jpeg2000")
# Kinds of file that libvips reads from beginning to end without going back.
PIPED = ("jpeg", "png")
# Its tiles take a hundred times as long to decode as to read: half a second of work.
JPEG2000_BYTES = 2 * 2**20

# A constant of the imaging code: raised when the same source and settings give other bytes.
REVISION = 3


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


def copied_rects(geometry: Geometry, lengths: Sequence[int], target: int) -> list[Rect]:
    """Consecutive tile rows of about `target` bytes of file; a row that alone is far longer is cut into spans.

    `lengths` are the byte counts of all tiles, row by row.
    """
    cols, rows = geometry.grid(0)
    rects = []
    top, held = 0, 0
    for row in range(rows):
        size = sum(lengths[row * cols : (row + 1) * cols])
        # Rows before this one that hold nothing still belong to some block.
        if top < row and held + size > target and (held or size > 2 * target):
            rects.append(Rect(level=0, top=top, left=0, bottom=row, right=cols))
            top, held = row, 0
        if size > 2 * target:
            rects.extend(_spans(row, cols, lengths[row * cols : (row + 1) * cols], target))
            top = row + 1
        else:
            held += size
    if top < rows:
        rects.append(Rect(level=0, top=top, left=0, bottom=rows, right=cols))
    return rects


def _spans(row: int, cols: int, lengths: Sequence[int], target: int) -> list[Rect]:
    spans = []
    left, held = 0, 0
    for col in range(cols):
        if held and held + lengths[col] > target:
            spans.append(Rect(level=0, top=row, left=left, bottom=row + 1, right=col))
            left, held = col, 0
        held += lengths[col]
    return [*spans, Rect(level=0, top=row, left=left, bottom=row + 1, right=cols)]


def square_rects(geometry: Geometry, side: int = DECODED_SIDE) -> list[Rect]:
    """Squares of at most `side` pixels, for sources that can be read anywhere."""
    cols, rows = geometry.grid(0)
    step = max(1, side // geometry.tile)
    return [
        Rect(level=0, top=top, left=left, bottom=min(top + step, rows), right=min(left + step, cols))
        for top in range(0, rows, step)
        for left in range(0, cols, step)
    ]


def whole_rect(geometry: Geometry) -> Rect:
    """The whole grid, for sources that can only be read from top to bottom."""
    cols, rows = geometry.grid(0)
    return Rect(level=0, top=0, left=0, bottom=rows, right=cols)


def pack_extents(offsets: Sequence[int], lengths: Sequence[int]) -> bytes:
    """Offsets, then lengths, as little-endian 64-bit numbers."""
    return struct.pack(f"<{2 * len(offsets)}Q", *offsets, *lengths)


def unpack_extents(packed: bytes) -> list[Extent]:
    """The extents of `pack_extents`."""
    count = len(packed) // 16
    numbers = struct.unpack(f"<{2 * count}Q", packed)
    return list(map(Extent, numbers[:count], numbers[count:]))


def extents_of(rect: Rect, cols: int, offsets: Sequence[int], lengths: Sequence[int]) -> bytes:
    """The packed extents of whole tile rows, or of a span of one; `cols` is the width of the whole grid in tiles."""
    start, stop = rect.top * cols + rect.left, (rect.bottom - 1) * cols + rect.right
    return pack_extents(offsets[start:stop], lengths[start:stop])


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


def plan(version: Version, found: Found, issued: datetime, block_bytes: int) -> list[Block]:
    """Every block of a slide's base level, numbered from 0: a pure function of the version and what was found."""
    geometry = found.geometry
    extents: list[bytes | None]
    if found.reader in BY_TILE:
        share = max(LEAST_COPIED_BYTES, sum(found.lengths) // SHARES) if found.reader in COPYING else JPEG2000_BYTES
        rects = copied_rects(geometry, found.lengths, min(block_bytes, share))
        cols = geometry.grid(0)[0]
        extents = [extents_of(rect, cols, found.offsets, found.lengths) for rect in rects]
    else:
        rects = [whole_rect(geometry)] if found.reader == "vips-sequential" else square_rects(geometry)
        extents = [None] * len(rects)
    return [
        Block(
            id=BlockId(image=version.id.image, version=version.id.n, stage="dice", n=n),
            rect=rect,
            tiles=rect.tiles,
            issued=issued,
            extents=packed,
        )
        for n, (rect, packed) in enumerate(zip(rects, extents, strict=True))
    ]


def damaged(position: Position, error: Exception) -> Reject:
    """The rejection of a slide of which this tile can't be decoded."""
    return Reject(
        f"The tile in row {position.row}, column {position.col} of the slide is damaged ({error}).",
        "Upload the file again; if it fails again, export the slide from the scanner once more.",
    )
