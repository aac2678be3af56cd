"""How a slide's base level is divided into blocks. Pure arithmetic.

A block is one message's work: seconds of time and bounded memory. Its shape follows how the source is read, so that
no block makes another one read the same bytes again.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from shared.errors import Reject
from shared.events import Base
from shared.store.documents import Block, BlockId, Reader, Recipe, Source, Subsampling, Version, Wish
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.squares import fold_block, rounds, squares, steps

COPIED_BYTES = 32 * 2**20
# A slide that is shorter than a few such blocks is cut finer, so that all workers find some of it to do.
LEAST_COPIED_BYTES = 8 * 2**20
SHARES = 4
DECODED_SIDE = 2048
READ_GAP = 256 * 2**10
# Of a span of rows the rows lie apart: a database answers with whole chunks, so what lies between comes anyway.
FILE_ORDER_GAP = 4 * 2**20
# What a block folds it holds whole, and squares smaller than 2 to this power of tiles have too large roots.
LEAST_CLIMB = 3
LEAST_STRIPS = 4
FEW_BLOCKS = 4
DECODED_TILE = 256
COPYING: tuple[Reader, ...] = ("tiff-tiles", "dicom-frames")
# What is read tile by tile at its place in the file, to be copied or to be decoded.
BY_TILE: tuple[Reader, ...] = (*COPYING, "tiff-jpeg2000")
# Kinds of file that libvips reads from beginning to end without going back.
PIPED = ("jpeg", "png")
# Its tiles take a hundred times as long to decode as to read: half a second of work.
JPEG2000_BYTES = 2 * 2**20

# A constant of the imaging code: raised when the same source and settings give other bytes.
REVISION = 4


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


def strip_rects(geometry: Geometry, climb: int) -> list[Rect]:
    """Aligned strips of 2 to the power `climb` tile rows."""
    cols, rows = geometry.grid(0)
    side = 1 << climb
    return [Rect(level=0, top=top, left=0, bottom=min(top + side, rows), right=cols) for top in range(0, rows, side)]


def span_rects(geometry: Geometry, lengths: Sequence[int], climb: int, target: int) -> list[Rect]:
    """The strips of `climb`, those of more than `target` bytes of file in spans of whole squares."""
    cols = geometry.grid(0)[0]
    across = -(-cols >> climb)
    rects = []
    for strip in strip_rects(geometry, climb):
        count = min(across, max(1, -(-_held(strip, cols, lengths) // target)))
        # As even as whole squares allow.
        edges = [min(cols, (across * n // count) << climb) for n in range(count + 1)]
        rects += [strip.model_copy(update={"left": left, "right": right}) for left, right in pairwise(edges)]
    return rects


def _held(strip: Rect, cols: int, lengths: Sequence[int]) -> int:
    return sum(lengths[strip.top * cols : strip.bottom * cols])


def climb(found: Found, block_bytes: int) -> int | None:
    """How many levels the dicer folds the squares that it cuts; None where that is left to the pyramid service.

    A copied slide is folded where strips of squares are no more than `block_bytes` of file: they are held in memory.
    """
    geometry = found.geometry
    most = steps(geometry)
    if geometry.levels == 1 or found.reader == "vips-sequential":
        return None
    if found.reader not in COPYING:
        return min(most, LEAST_CLIMB)
    cols = geometry.grid(0)[0]
    fitting = [
        climb
        for climb in sorted({most, max(most - 1, min(most, LEAST_CLIMB))}, reverse=True)
        if max(_held(strip, cols, found.lengths) for strip in strip_rects(geometry, climb)) <= block_bytes
    ]
    many = [climb for climb in fitting if len(strip_rects(geometry, climb)) >= LEAST_STRIPS]
    return next(iter(many or fitting[-1:]), None)


def tile_counts(geometry: Geometry, climb: int, rect: Rect, extents: Sequence[Extent]) -> dict[Rect, int]:
    """How many tiles the source has in each square of a block of whole squares."""
    first = rounds(geometry, climb)[0]
    counts = {(square.top >> climb, square.left >> climb): 0 for square in squares(geometry, first, rect)}
    for position, extent in zip(rect.positions(), extents, strict=True):
        if extent.length:
            counts[position.row >> climb, position.col >> climb] += 1
    return dict(zip(squares(geometry, first, rect), counts.values(), strict=True))


def folded_block(version: Version, geometry: Geometry, rect: Rect, root: bytes | None, by: str, now: datetime) -> Block:
    """The block of the pyramid's plan that is done with this square, cut and folded here."""
    block = fold_block(version.id, geometry, 0, rounds(geometry, version.climb)[0], rect, now)
    return block.model_copy(update={"done": True, "root": root, "by": by})


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


def plan(version: Version, found: Found, climb: int | None, issued: datetime, block_bytes: int) -> list[Block]:
    """Every block of a slide's base level, numbered from 0: a pure function of the version and what was found.

    With a `climb` each is made of whole squares of it.
    """
    geometry = found.geometry
    rects = _rects(found, climb, block_bytes)
    extents: list[bytes | None] = [None] * len(rects)
    if found.reader in BY_TILE:
        cols = geometry.grid(0)[0]
        extents = [extents_of(rect, cols, found.offsets, found.lengths) for rect in rects]
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


def _rects(found: Found, climb: int | None, block_bytes: int) -> list[Rect]:
    geometry = found.geometry
    if found.reader == "vips-sequential":
        return [whole_rect(geometry)]
    if found.reader not in BY_TILE:
        return square_rects(geometry)
    if found.reader not in COPYING:
        target = min(block_bytes, JPEG2000_BYTES)
        return (
            copied_rects(geometry, found.lengths, target)
            if climb is None
            else (span_rects(geometry, found.lengths, climb, target))
        )
    if climb is not None:
        return strip_rects(geometry, climb)
    share = max(LEAST_COPIED_BYTES, sum(found.lengths) // SHARES)
    return copied_rects(geometry, found.lengths, min(block_bytes, share))


def damaged(position: Position, error: Exception) -> Reject:
    """The rejection of a slide of which this tile can't be decoded."""
    return Reject(
        f"The tile in row {position.row}, column {position.col} of the slide is damaged ({error}).",
        "Upload the file again; if it fails again, export the slide from the scanner once more.",
    )
