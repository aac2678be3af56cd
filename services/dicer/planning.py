"""How a slide's base level is divided into blocks. Pure arithmetic.

A block is one message's work: seconds of time and bounded memory. Its shape follows how the source is read, so that
no block makes another one read the same bytes again, and where it can be it is made of squares whose levels above are
folded while their tiles are at hand.
"""

from collections.abc import Sequence
from datetime import datetime

from services.dicer.core import BY_TILE, COPYING, Found, extents_of
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.versions import Version
from shared.tiles.geometry import Geometry, Rect
from shared.tiles.squares import Round, fold_block, rounds, squares, steps

COPIED_BYTES = 32 * 2**20
# A slide that is shorter than a few such blocks is cut finer, so that all workers find some of it to do.
LEAST_COPIED_BYTES = 8 * 2**20
SHARES = 4
LEAST_STRIPS = 4
# Smaller squares than 2 to this power of tiles have roots that take more room than their tiles.
LEAST_CLIMB = 3
# The usual chunk of an uploaded file, of which a database answers no part.
CHUNK_BYTES = 4 * 2**20
# What a square costs besides its tiles, as bytes of file that take as long: a decoder child is called once more, and a
# root is stored, read and given to whoever folds on.
SQUARE_BYTES = 2**19
# JPEG 2000 tiles take a hundred times as long to decode as to read: half a second of work.
JPEG2000_BYTES = 2 * 2**20
FEW_BLOCKS = 4


def climb(found: Found, block_bytes: int) -> int | None:
    """How many levels the dicer folds the squares that it cuts; None where that is left to the pyramid service.

    What is folded is held in memory, so of a slide that is read tile by tile no square may have more than `block_bytes`
    of file, as none has that holds what its pixels need. Large squares are taken where whole strips of them are no more
    than that.
    """
    geometry = found.geometry
    most = steps(geometry)
    if geometry.levels == 1 or found.reader == "vips-sequential":
        return None
    least = min(most, LEAST_CLIMB)
    if found.reader not in BY_TILE:
        return least
    cols = geometry.grid(0)[0]
    # Of JPEG 2000 tiles a square takes long enough as it is.
    for climb in range(least if found.reader == "tiff-jpeg2000" else most, least, -1):
        strips = strip_rects(geometry, climb)
        if len(strips) >= LEAST_STRIPS and max(_held(strip, cols, found.lengths) for strip in strips) <= block_bytes:
            return climb
    # What is folded by the pyramid service is folded from tiles: of a base that is encoded here that is a second loss.
    fitting = []
    for climb in (least,) if found.reader in COPYING else range(least, 0, -1):
        largest = max(max(_by_square(strip, cols, found.lengths, climb)) for strip in strip_rects(geometry, climb))
        if largest <= block_bytes:
            fitting.append(climb)
    if found.reader == "tiff-lossless":
        # Its tiles are so large that spans read much of the file twice: rather lower strips, and more roots.
        return min(fitting, key=lambda climb: _in_passing(found, climb, block_bytes), default=None)
    return fitting[0] if fitting else None


def _in_passing(found: Found, climb: int, block_bytes: int) -> int:
    """About how many bytes are handled besides the tiles' own: the rest of chunks that others want, and squares."""
    cols, rows = found.geometry.grid(0)
    rects = span_rects(found.geometry, found.lengths, climb, block_bytes)
    reads = sum(1 if rect.right - rect.left == cols else rect.bottom - rect.top for rect in rects)
    return reads * CHUNK_BYTES + (-(-cols >> climb)) * (-(-rows >> climb)) * SQUARE_BYTES


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
        # Of one tile there is nothing to fold, and one square all the same.
        return square_rects(geometry, climb or LEAST_CLIMB)
    if found.reader == "tiff-jpeg2000":
        target = min(block_bytes, JPEG2000_BYTES)
        if climb is not None:
            return span_rects(geometry, found.lengths, climb, target)
        return copied_rects(geometry, found.lengths, target)
    if climb is not None:
        return span_rects(geometry, found.lengths, climb, block_bytes)
    share = max(LEAST_COPIED_BYTES, sum(found.lengths) // SHARES)
    return copied_rects(geometry, found.lengths, min(block_bytes, share))


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
    """The strips of `climb`, those of more than `target` bytes of file in spans of whole squares of about as many."""
    cols = geometry.grid(0)[0]
    rects = []
    for strip in strip_rects(geometry, climb):
        sizes = _by_square(strip, cols, lengths, climb)
        even = sum(sizes) / max(1, -(-sum(sizes) // target))
        left, held = 0, 0
        for n, size in enumerate(sizes):
            if held and (held >= even or held + size > target):
                rects.append(strip.model_copy(update={"left": left, "right": n << climb}))
                left, held = n << climb, 0
            held += size
        rects.append(strip.model_copy(update={"left": left}))
    return rects


def _by_square(strip: Rect, cols: int, lengths: Sequence[int], climb: int) -> list[int]:
    """Bytes of file of each square of a strip."""
    rows = [lengths[row * cols : (row + 1) * cols] for row in range(strip.top, strip.bottom)]
    side = 1 << climb
    return [sum(sum(row[left : left + side]) for row in rows) for left in range(0, cols, side)]


def _held(strip: Rect, cols: int, lengths: Sequence[int]) -> int:
    return sum(lengths[strip.top * cols : strip.bottom * cols])


def square_rects(geometry: Geometry, climb: int) -> list[Rect]:
    """Aligned squares of 2 to the power `climb` tiles, for sources that can be read anywhere."""
    return list(squares(geometry, Round(level=0, climb=climb, first=0)))


def whole_rect(geometry: Geometry) -> Rect:
    """The whole grid, for sources that can only be read from top to bottom."""
    cols, rows = geometry.grid(0)
    return Rect(level=0, top=0, left=0, bottom=rows, right=cols)


def folded_block(version: Version, geometry: Geometry, rect: Rect, root: bytes | None, by: str, now: datetime) -> Block:
    """The block of the pyramid's plan that is done with this square, cut and folded here."""
    block = fold_block(version.id, geometry, 0, rounds(geometry, version.climb)[0], rect, now)
    return block.model_copy(update={"done": True, "root": root, "by": by})
