"""What a TIFF slide's directories say: its base page, where the tiles lie, and whether they can be copied.

tifffile reads the structure; pixels are never decoded here. Aperio's key-value description is documented at
https://openslide.org/formats/aperio/, TIFF tags in TIFF 6.0 and Technical Note 2 (JPEG in TIFF).
"""

import logging
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import tifffile

from shared.errors import Reject
from shared.slides.jpeg import Assembler

MOST_PAGES = 500
MOST_TILES = 20_000_000
SMALLEST_TILE, LARGEST_TILE = 128, 1024
MOST_PROPERTIES = 100
# Larger pixels are the default of some drawing program, not a microscope's.
MOST_MPP = 50.0
_UPLOAD_AGAIN = "Copy the file from the scanner again, then upload the whole of it."
_EXPORT_AGAIN = "Check that it opens in the scanner's own viewer; export it once more and upload that."
_DAMAGE = (tifffile.TiffFileError, struct.error, ValueError, IndexError, KeyError, TypeError, OverflowError)
_COPIED_VENDORS = frozenset({"aperio", "generic-tiff"})
_LABEL, _MACRO = 1, 9
_UPRIGHT = 1

# What a damaged file makes it say goes to the person who sent the file, not into the log.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class TiffSlide:
    """One page of a TIFF file as the slide's base level.

    `offsets` and `lengths` are those of all tiles, row by row; a length of 0 is a tile that the source does not have.
    `reason` says why tiles can't be copied, None where they can; `adobe_transform` is then 0 for RGB, 1 for YCbCr.
    `associated` maps `label` and `macro` to their pages.
    """

    page: int
    width: int
    height: int
    tile: int
    vendor: str
    reason: str | None
    mpp: float | None = None
    objective: float | None = None
    tables: bytes | None = None
    adobe_transform: int | None = None
    offsets: Sequence[int] = ()
    lengths: Sequence[int] = ()
    associated: Mapping[str, int] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


def describe(source: BinaryIO, length: int, name: str) -> TiffSlide:
    """Reads the directories of a TIFF file of `length` bytes.

    Raises `Reject` for a file that was cut short, has no image, or whose directories are damaged.
    """
    try:
        with tifffile.TiffFile(source) as tiff:
            pages = _pages(tiff)
            if not pages:
                raise Reject(f"{name} holds no image: its directory of pages is missing.", _UPLOAD_AGAIN)
            vendor = _vendor(tiff)
            number = _base(pages)
            page = pages[number]
            if min(page.imagewidth, page.imagelength) < 1:
                raise Reject(f"{name} says that its image has no pixels.", _EXPORT_AGAIN)
            offsets, lengths = _extents(page)
            if vendor != "hamamatsu":
                _check_whole(name, length, offsets, lengths)
            tables = page.jpegtables
            transform = {tifffile.PHOTOMETRIC.RGB: 0, tifffile.PHOTOMETRIC.YCBCR: 1}.get(page.photometric)
            reason = _not_copyable(page, vendor, transform) or _strange_tiles(
                source, page, tables, transform, offsets, lengths
            )
            description = _properties(page)
            return TiffSlide(
                page=number,
                width=int(page.imagewidth),
                height=int(page.imagelength),
                tile=int(page.tilewidth or 0),
                vendor=vendor,
                reason=reason,
                mpp=_number(description.get("MPP")) or _mpp(page),
                objective=_number(description.get("AppMag")),
                tables=tables,
                adobe_transform=transform,
                offsets=offsets if reason is None else (),
                lengths=lengths if reason is None else (),
                associated=_associated(pages) if vendor == "aperio" else {},
                properties=description,
            )
    except _DAMAGE as error:
        raise Reject(f"The directory of {name} is damaged or cut short ({error}).", _UPLOAD_AGAIN) from error


def _pages(tiff: Any) -> list[Any]:
    pages: list[Any] = []
    seen = set()
    while len(pages) < MOST_PAGES:
        try:
            page = tiff.pages[len(pages)]
        except IndexError:
            break
        if page.offset in seen:
            break
        seen.add(page.offset)
        pages.append(page)
    return pages


def _vendor(tiff: Any) -> str:
    for vendor, says in (
        ("aperio", tiff.is_svs),
        ("hamamatsu", tiff.is_ndpi),
        ("leica", tiff.is_scn),
        ("ventana", tiff.is_bif),
        ("philips", tiff.is_philips),
    ):
        if says:
            return vendor
    return "generic-tiff"


def _base(pages: Sequence[Any]) -> int:
    """The number of the largest tiled page, or of the largest one where none is tiled."""
    return max(
        range(len(pages)),
        key=lambda number: (pages[number].is_tiled, pages[number].imagewidth * pages[number].imagelength, -number),
    )


def _extents(page: Any) -> tuple[list[int], list[int]]:
    if len(page.dataoffsets) > MOST_TILES:
        raise ValueError(f"{len(page.dataoffsets):,} tiles")
    if len(page.dataoffsets) != len(page.databytecounts):
        raise ValueError("not as many tile lengths as tile offsets")
    offsets = [int(offset) for offset in page.dataoffsets]
    lengths = [int(count) if offset else 0 for offset, count in zip(offsets, page.databytecounts, strict=True)]
    return offsets, lengths


def _check_whole(name: str, length: int, offsets: Sequence[int], lengths: Sequence[int]) -> None:
    end = max((offset + count for offset, count in zip(offsets, lengths, strict=True) if count), default=0)
    if end > length:
        raise Reject(
            f"{name} was cut short: it has {length:,} bytes, but its tiles go on to byte {end:,}.", _UPLOAD_AGAIN
        )


def _not_copyable(page: Any, vendor: str, transform: int | None) -> str | None:
    """Why this page's tiles can't serve as they are, as far as its tags say."""
    if not page.is_tiled:
        return "it is stored in strips, not in tiles"
    if vendor not in _COPIED_VENDORS:
        return f"tiles of {vendor} slides are put together by OpenSlide"
    if page.compression != tifffile.COMPRESSION.JPEG:
        return f"its tiles are {_compression(page)}, not baseline JPEG"
    if page.bitspersample != 8:
        return f"it has {page.bitspersample} bits a sample"
    if page.samplesperpixel != 3 or transform is None:
        return "its pixels are neither RGB nor YCbCr"
    if page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
        return "its colours are stored in separate planes"
    orientation = page.tags.get("Orientation")
    if orientation is not None and orientation.value != _UPRIGHT:
        return "it is not stored upright"
    if page.tilewidth != page.tilelength:
        return f"its tiles are not square ({page.tilewidth} x {page.tilelength})"
    if page.tilewidth % 16 or not SMALLEST_TILE <= page.tilewidth <= LARGEST_TILE:
        return f"its tiles have {page.tilewidth} pixels a side"
    expected = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    if len(page.dataoffsets) != expected:
        return f"it lists {len(page.dataoffsets)} tiles instead of {expected}"
    return None


def _compression(page: Any) -> str:
    names = {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 5: "LZW", 8: "Deflate", 1: "uncompressed"}
    known = names.get(int(page.compression))
    return known or str(getattr(page.compression, "name", page.compression))


def _strange_tiles(
    source: BinaryIO,
    page: Any,
    tables: bytes | None,
    transform: int | None,
    offsets: Sequence[int],
    lengths: Sequence[int],
) -> str | None:
    """Looks at the first, a middle and the last tile that there are: their own headers may differ from the tags."""
    present = [number for number, count in enumerate(lengths) if count]
    assemble = Assembler(tables, transform, int(page.tilewidth))
    for number in {present[0], present[len(present) // 2], present[-1]} if present else ():
        source.seek(offsets[number])
        try:
            assemble(source.read(lengths[number]))
        except ValueError as error:
            return f"one of its tiles can't be copied: {error}"
    return None


def _properties(page: Any) -> dict[str, str]:
    """Aperio's `key = value` pairs; for others the first part of the description as it is."""
    text = str(page.description or "")
    if not text.startswith("Aperio"):
        return {"description": text[:1000]} if text else {}
    pairs = (part.split("=", 1) for part in text.split("|")[1:] if "=" in part)
    return {key.strip()[:100]: value.strip()[:1000] for key, value in list(pairs)[:MOST_PROPERTIES]}


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 < value < 1e6 else None


def _mpp(page: Any) -> float | None:
    """Micrometres a pixel from the resolution tags, where they are plausible for a microscope."""
    tag, unit = page.tags.get("XResolution"), page.tags.get("ResolutionUnit")
    if tag is None or unit is None:
        return None
    numerator, denominator = tag.value
    micrometres = {2: 25_400.0, 3: 10_000.0}.get(int(unit.value))
    if micrometres is None or not numerator or not denominator:
        return None
    mpp = micrometres * denominator / numerator
    return round(mpp, 4) if mpp <= MOST_MPP else None


def _associated(pages: Sequence[Any]) -> dict[str, int]:
    """Label and macro of an Aperio slide: strips, named on the second line of the description or by subfile type."""
    found: dict[str, int] = {}
    for number, page in enumerate(pages):
        if page.is_tiled or number == 0:
            continue
        for kind, subfile in (("label", _LABEL), ("macro", _MACRO)):
            named = re.search(rf"^{kind}\b", str(page.description or ""), re.MULTILINE) is not None
            if kind not in found and (named or (page.subfiletype or 0) == subfile):
                found[kind] = number
    return found
