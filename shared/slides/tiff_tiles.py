"""Where the tiles of a TIFF page lie, and what the first bytes of a few of them tell of all."""

from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from shared.slides import coding
from shared.slides.damage import Damaged, Truncated
from shared.slides.directories import Directory
from shared.slides.jpeg import Assembler, read_header
from shared.slides.jpeg2000 import HEADER_BYTES, channels

# A JPEG header is shorter; the rest of a tile is not looked at.
PEEK_BYTES = 2**16


def places(
    page: Directory, width: int, height: int, tile_width: int, tile_height: int
) -> tuple[Sequence[int], Sequence[int]]:
    """Offsets and lengths of the tiles, row by row, both 0 where either says that there is no tile.

    Raises `Damaged` where the page does not list all of them.
    """
    expected = -(-width // tile_width) * -(-height // tile_height)
    if page.number(284, 1) == 2:
        expected *= page.number(277, 1)
    # Old writers used the strip tags for tiles as well; TIFF 6.0 only has the tile tags.
    starts, counts = (324, 325) if 324 in page else (273, 279)
    offsets, lengths = (array("Q", page.numbers(code)[:expected]) for code in (starts, counts))
    found = min(len(offsets), len(lengths))
    if found < expected:
        raise Damaged(f"its directory lists {found:,} of the {expected:,} tiles that it claims")
    for index, offset in enumerate(offsets):
        if not offset or not lengths[index]:
            offsets[index] = lengths[index] = 0
    return offsets, lengths


def _extents(page: Directory) -> tuple[Sequence[int], Sequence[int]]:
    tiled = 324 in page
    return page.numbers(324 if tiled else 273), page.numbers(325 if tiled else 279)


def check(page: Directory, length: int, tiles: tuple[Sequence[int], Sequence[int]] | None) -> None:
    """Raises `Truncated` where tiles, or without them what the page names, end after the file's `length` bytes."""
    extents = _extents(page) if tiles is None else tiles
    end = max((offset + count for offset, count in zip(*extents, strict=False) if offset and count), default=0)
    if end > length:
        raise Truncated(end)


def _starts(source: BinaryIO, offsets: Sequence[int], lengths: Sequence[int], most: int) -> Iterator[tuple[int, bytes]]:
    """The numbers of the first, the middle and the last tile that is there, each with its first bytes."""
    present = [index for index, count in enumerate(lengths) if count]
    for index in sorted({present[0], present[len(present) // 2], present[-1]}):
        source.seek(offsets[index])
        yield index, source.read(min(lengths[index], most))


def coding_of(
    source: BinaryIO,
    page: Directory,
    offsets: Sequence[int],
    lengths: Sequence[int],
    tile_width: int,
    tile_height: int,
    aperio: bool,
) -> coding.Coding | None:
    """How each tile can be decoded by itself, if a few of them are what all are taken for."""
    found = coding.jpeg2000(page, aperio, tile_width, tile_height) or coding.lossless(page, tile_width, tile_height)
    if found is None or not any(lengths):
        return None
    for index, data in _starts(source, offsets, lengths, HEADER_BYTES):
        if found in ("jpeg2000", "jpeg2000-ycbcr"):
            fits = channels(data, tile_width) in (("whole",) if found == "jpeg2000" else ("whole", "halved"))
        else:
            fits = coding.begins_as(found, data, lengths[index], 3 * tile_width * tile_height)
        if not fits:
            return None
    return found


def unlike_a_file(
    source: BinaryIO,
    offsets: Sequence[int],
    lengths: Sequence[int],
    cols: int,
    tile: int,
    tables: bytes | None,
    adobe_transform: int,
) -> str | None:
    """Why tiles can't each be made a JPEG file in colour, by the headers of a few of them, or None."""
    for index, data in _starts(source, offsets, lengths, PEEK_BYTES):
        try:
            Assembler(tables, adobe_transform, tile)(data)
            header = read_header(data)
        except ValueError as error:
            return f"its tile in row {index // cols}, column {index % cols} can't be served alone: {error}"
        if len(header.components) != 3:
            return f"its JPEG tiles have {len(header.components)} colour channels, not 3"
    return None
