"""Where the tiles of a Ventana BIF slide lie, from the XML beside full resolution. Pure.

Source: OpenSlide's notes on the format. The scanner takes areas of the glass, each a grid of tiles that may overlap;
the file holds all of them in one grid of its own. Heights are counted from below.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.slides.directories import Directory

_XMP = 700
_XML_BYTES = 64 * 2**20
# Areas that lie far apart make a large grid of nothing.
_MOST_TILES = 10**7
_OVERLAPS = "Ventana's tiles overlap and have to be joined"
_OFF_GRID = "Ventana's scanned areas do not lie on one grid of tiles"
_UNKNOWN = "what Ventana's XML says of the scanned areas is not understood"


class Area(NamedTuple):
    """A grid of `cols` x `rows` tiles: where it begins in the file's grid, and in the slide's. All in tiles."""

    col: int
    row: int
    cols: int
    rows: int
    left: int
    top: int


class Arranged(NamedTuple):
    """The slide's size in tiles, and where each tile's bytes lie, row by row; length 0 where there is no tile."""

    cols: int
    rows: int
    offsets: Sequence[int]
    lengths: Sequence[int]


def arranged(page: Directory, tile: int, offsets: Sequence[int], lengths: Sequence[int]) -> Arranged | str | None:
    """The tiles as they lie in the slide, or why they form no grid; None where the file's grid is the slide's.

    `tile` is a tile's side in pixels.
    """
    if _XMP not in page:
        return None
    areas = _areas(page.text(_XMP, _XML_BYTES), tile)
    if isinstance(areas, str):
        return areas
    width, height = page.number(256), page.number(257)
    if width % tile or height % tile:
        return "Ventana's outermost tiles are not whole"
    cols, rows = max(area.left + area.cols for area in areas), max(area.top + area.rows for area in areas)
    if cols * rows > _MOST_TILES:
        return _OFF_GRID
    starts, counts = array("Q", bytes(8 * cols * rows)), array("Q", bytes(8 * cols * rows))
    taken = bytearray(cols * rows)
    for here, there in _moves(areas, width // tile, cols):
        if not 0 <= there < len(offsets):
            return _UNKNOWN
        if taken[here]:
            return _OVERLAPS
        taken[here] = 1
        starts[here], counts[here] = offsets[there], lengths[there]
    return Arranged(cols, rows, starts, counts)


def _moves(areas: Sequence[Area], across: int, cols: int) -> Iterator[tuple[int, int]]:
    """The number of each tile in the slide's grid and in the file's."""
    for area in areas:
        for row in range(area.rows):
            for col in range(area.cols):
                yield (area.top + row) * cols + area.left + col, (area.row + row) * across + area.col + col


def _areas(xml: str, tile: int) -> list[Area] | str:
    """The areas that were scanned, or why their tiles form no grid."""
    infos = re.findall(r"<ImageInfo\b([^>]*?)(?:/>|>(.*?)</ImageInfo>)", xml, re.DOTALL)
    origins = re.findall(r"<AOI\d+\b([^>]*)>", (re.findall(r"<AoiOrigin>(.*?)</AoiOrigin>", xml, re.DOTALL) or [""])[0])
    if not infos or len(infos) != len(origins):
        return _UNKNOWN
    places = []
    try:
        for (info, joints), origin in zip(infos, origins, strict=True):
            stated = {**_numbers(info), **_numbers(origin)}
            if not stated["AOIScanned"]:
                continue
            if any(_apart(joint) for joint in re.findall(r"<TileJointInfo\b([^>]*)>", joints)):
                return _OVERLAPS
            shape = (stated["Width"], stated["Height"], stated["OriginX"] % tile, stated["OriginY"] % tile)
            if shape != (tile, tile, 0, 0) or stated["NumCols"] < 1 or stated["NumRows"] < 1:
                return _UNKNOWN
            places.append(stated)
        if not places:
            return _UNKNOWN
        top = max(stated["Pos-Y"] + stated["NumRows"] * tile for stated in places)
        areas = []
        for stated in places:
            left, above = stated["Pos-X"], top - stated["Pos-Y"] - stated["NumRows"] * tile
            if left % tile or above % tile or left < 0:
                return _OFF_GRID
            cols, rows = int(stated["NumCols"]), int(stated["NumRows"])
            begin = int(stated["OriginX"] // tile), int(stated["OriginY"] // tile)
            areas.append(Area(*begin, cols, rows, int(left // tile), int(above // tile)))
    except (KeyError, ValueError, OverflowError):
        return _UNKNOWN
    return areas


def _numbers(attributes: str) -> dict[str, float]:
    return {key: float(value) for key, value in re.findall(r'([\w-]+)\s*=\s*"\s*(-?[\d.]+)\s*"', attributes)}


def _apart(joint: str) -> bool:
    """Whether the tiles of a joint do not simply lie side by side. OpenSlide weighs each by how sure the scanner is."""
    stated = _numbers(joint)
    along = "OverlapX" if re.search(r'Direction\s*=\s*"\s*RIGHT', joint) else "OverlapY"
    return bool(stated[along]) and stated.get("Confidence", 1) > 0
