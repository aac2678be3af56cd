"""Pictures that libvips reads, one tile row after the other."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyvips

from services.dicer.pixels.folding import quarters
from services.dicer.pixels.opening import UPRIGHT, as_srgb, open_image, orientation, take_error
from services.dicer.pixels.rows import Above, Row, RowCutter
from services.dicer.pixels.wording import unreadable
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Rect
from shared.tiles.pixels import Pixels, Square, halve
from shared.tiles.squares import Made

# Of a picture that is read from top to bottom. libvips keeps the last 512 lines, each in an allocation of its own:
# where taller strips come and go between them, they lie four times as wide in memory.
_STRIP_LINES = 2
# Two, since every other row makes a row of the level above as well: with one the reader would wait for that.
_ROWS_AHEAD = 2
# Of wider ones, whose rows take 25 MB and more each, none: memory counts for more than time.
_WIDE_PIXELS = 32768


def cut_vips(
    path: str,
    name: str,
    rect: Rect,
    geometry: Geometry,
    recipe: Recipe,
    layout: Mapping[str, Any],
    sequential: bool,
    climb: int | None,
) -> Iterator[Made]:
    """The tiles of a block, read by libvips one tile row after the other, so that memory stays at a few rows' worth.

    Where the source is `folded` by its `layout`, the levels above are made in passing. With a `climb` the block is a
    square, and the levels above it are made too.
    """
    page = layout.get("page")
    image = open_image(path, name, page, access="sequential" if sequential else "random")
    if orientation(image) != UPRIGHT:
        # Turning needs the pixels in another order than they are stored in.
        image = open_image(path, name, page, access="random").autorot()
    if layout.get("spare_channel"):
        # libvips takes it for alpha.
        image = image.extract_band(0, n=image.bands - 1)
    lines = _STRIP_LINES if sequential else geometry.tile
    yield from _cut(image, name, rect, geometry, recipe, lines, bool(layout.get("folded")), climb)


def cut_fed(name: str, rect: Rect, geometry: Geometry, recipe: Recipe, *, feed: int) -> Iterator[Made]:
    """The tiles of every level of a picture that is read once and from top to bottom, from a descriptor."""
    image = open_image(pyvips.Source.new_from_descriptor(feed), name, None, access="sequential")
    yield from _cut(image, name, rect, geometry, recipe, _STRIP_LINES, True, None)


def _cut(
    image: Any,
    name: str,
    rect: Rect,
    geometry: Geometry,
    recipe: Recipe,
    lines: int,
    folded: bool,
    climb: int | None,
) -> Iterator[Made]:
    """Rows are read in a thread of their own, ahead of the two that encode: it is the one that must never wait."""
    take_error()
    try:
        rows = _rows(as_srgb(image), rect, geometry, lines)
        halves: list[Pixels] = []
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as encoder:
            cutter = RowCutter(geometry, recipe, encoder)
            above = Above(geometry, cutter) if folded else None
            ahead = _ROWS_AHEAD if geometry.width <= _WIDE_PIXELS else 0
            coming = deque(reader.submit(next, rows, None) for _ in range(ahead))
            while True:
                coming.append(reader.submit(next, rows, None))
                if (read := coming.popleft().result()) is None:
                    break
                yield from cutter.cut(read)
                upper = () if above is None else above.fold(read)
                if climb is not None:
                    halves.append(halve(read.pixels, 1))
                # Not while the rows above and the next one are made.
                del read
                yield from upper
        if climb is not None:
            yield from Square(rect, geometry, recipe, quarters(np.concatenate(halves), rect, geometry)).fold(climb)
    except pyvips.Error as error:
        raise unreadable(name, str(error.detail or error)) from error


def _rows(image: Any, rect: Rect, geometry: Geometry, lines: int) -> Iterator[Row]:
    """Each tile row of a block, read so many lines at a time."""
    region = pyvips.Region.new(image)
    left = rect.left * geometry.tile
    width = min(rect.right * geometry.tile, geometry.width) - left
    for row in range(rect.top, rect.bottom):
        top = row * geometry.tile
        # Held by nobody here while the next one comes.
        yield Row(
            Rect(level=0, top=row, left=rect.left, bottom=row + 1, right=rect.right),
            _read(region, left, top, width, min(geometry.tile, geometry.height - top), lines),
        )


def _read(region: Any, left: int, top: int, width: int, height: int, lines: int) -> Pixels:
    pixels = np.empty((height, width, 3), np.uint8)
    for line in range(0, height, lines):
        part = pixels[line : line + lines]
        part[:] = np.frombuffer(region.fetch(left, top + line, width, len(part)), np.uint8).reshape(part.shape)
    # A tile of a TIFF file that can't be decoded is painted black, and nothing fails.
    if (error := take_error()) is not None:
        raise error
    return pixels
