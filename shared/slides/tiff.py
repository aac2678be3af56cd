"""What a TIFF file says of the slide in it, from its directories alone; pixels are never touched.

Sources: TIFF 6.0, TIFF Technical Note 2; OpenSlide's format notes for Aperio, Hamamatsu, Leica, Philips, Trestle and
Ventana, which also settle what they leave open: a tile's colours are what the photometric tag says, not what its JPEG
markers do.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from shared.errors import Reject
from shared.slides import coding, tiff_tiles, vendors, ventana
from shared.slides.damage import Damaged, told
from shared.slides.directories import Directory, read_directories
from shared.slides.jpeg import read_header

_ICC = 34675
_MASK = 4
_JPEG, _SEPARATED, _YCCK = 7, 5, 2
# Those of cameras and printers take up to 4 MB; a profile is held in memory.
_MOST_PROFILE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class TiffSlide:
    """The page that holds the slide at full resolution, and what the file says of it.

    `page` is its number from 0. `tile_width` and `tile_height` are 0 where the image lies in strips; `offsets` and
    `lengths` are where each tile's bytes lie, row by row, length 0 where there is no tile. `tables` is the page's
    JPEGTables stream; `adobe_transform` what a JPEG decoder must take the components for (0 RGB, 1 YCbCr).
    `by_openslide` says that OpenSlide reads the page where libvips does not, or not rightly; `spare_channel` that its
    last channel is nothing to be shown.
    `reason` is a clause that says why the tiles can't be copied as they are, or None where they can. `coding` is how
    each of them can be decoded by itself, None where it can't; `differences` says that what comes out then is not yet
    the pixels (see `coding.keeps_differences`). `profile` is where the ICC profile lies: offset and length in bytes.
    `scanned` is ISO 8601; `properties` holds "icc" where the file has a profile, then the vendor's own words.
    `associated` is the page number of each of "label", "macro" and "thumbnail" that is there; `embedded` is where those
    lie that are no page: offset and length in bytes of JPEG in base64. `mpp` is in micrometres per pixel.
    """

    page: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: Sequence[int]
    lengths: Sequence[int]
    tables: bytes | None
    adobe_transform: int | None
    by_openslide: bool
    spare_channel: bool
    reason: str | None
    coding: coding.Coding | None
    differences: bool
    profile: tuple[int, int] | None
    vendor: str
    mpp: float | None
    objective: float | None
    barcode: str | None
    scanned: str | None
    properties: Mapping[str, str]
    associated: Mapping[str, int]
    embedded: Mapping[str, tuple[int, int]]

    @property
    def tile(self) -> int | None:
        """The side of the tiles in pixels, where they are square."""
        return self.tile_width if self.tile_width and self.tile_width == self.tile_height else None


def describe(source: BinaryIO, length: int, name: str) -> TiffSlide:
    """Looks at a TIFF file of `length` bytes, called `name`. Raises `Reject` where it is truncated or damaged."""
    with told(name, length):
        return _describe(source, length, name)


def _describe(source: BinaryIO, length: int, name: str) -> TiffSlide:
    pages = read_directories(source, length)
    vendor = vendors.recognise(pages)
    associated = vendors.associated(pages, vendor)
    page = _base(pages, vendor, set(associated.values()), name)
    width, height = _size(page)
    tiled = page.count(322) > 0
    tile_width, tile_height = (page.number(322), page.number(323)) if tiled else (0, 0)
    if tiled and not (tile_width and tile_height):
        raise Damaged("its tiles have no size")
    offsets, lengths = (
        tiff_tiles.places(page, width, height, tile_width, tile_height) if tiled else (array("Q"), array("Q"))
    )
    if vendor != "hamamatsu":
        for other in pages:
            tiff_tiles.check(other, length, (offsets, lengths) if other is page and tiled else None)
    photometric = page.number(262, -1)
    tables = page.data(347) or None
    details = vendors.details(pages, page, vendor)
    if said := vendors.not_one_picture(pages, page, vendor):
        raise Reject(f"{name} {said[0]}.", said[1])
    if vendor != "hamamatsu" and (clause := coding.too_large(page)):
        raise Reject(
            f"{name} can't be read: {clause}.", "Export it with tiles of 256 to 1024 pixels a side, and upload that."
        )
    packed = (
        None
        if vendors.not_copyable(pages, vendor)
        else tiff_tiles.coding_of(source, page, offsets, lengths, tile_width, tile_height, vendor == "aperio")
    )
    if (
        packed is None
        and vendor in vendors.NO_MAKER
        and (clause := coding.undecodable(page) or _odd_inks(source, page))
    ):
        raise Reject(
            f"{name} can't be read: {clause}.",
            "Export it as TIFF with 8 or 16 bits of grey or colour, compressed with LZW, Deflate or JPEG.",
        )
    reason = vendors.not_copyable(pages, vendor) or coding.unlike_ours(page, tile_width, tile_height)
    if reason is None and vendor == "ventana":
        placed = ventana.arranged(page, tile_width, offsets, lengths)
        if isinstance(placed, str):
            reason = placed
        elif placed is not None:
            width, height = placed.cols * tile_width, placed.rows * tile_width
            offsets, lengths = placed.offsets, placed.lengths
    if reason is None and not any(lengths):
        reason = "it has no tile at all"
    if reason is None:
        reason = tiff_tiles.unlike_a_file(
            source, offsets, lengths, -(-width // tile_width), tile_width, tables, coding.ADOBE_TRANSFORM[photometric]
        )
    return TiffSlide(
        page=page.index,
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        offsets=offsets,
        lengths=lengths,
        tables=tables,
        adobe_transform=coding.ADOBE_TRANSFORM.get(photometric),
        # Where tiles are left out is bare glass for OpenSlide, and damage for libvips.
        by_openslide=vendor in vendors.NO_MAKER and (coding.by_openslide(page) or (any(lengths) and not all(lengths))),
        spare_channel=coding.spare_channel(page),
        reason=reason,
        coding=packed,
        differences=coding.keeps_differences(page),
        profile=_profile(page),
        vendor=vendor,
        mpp=details.mpp,
        objective=details.objective,
        barcode=details.barcode,
        scanned=details.scanned,
        properties=details.properties,
        associated=associated,
        embedded=vendors.embedded(pages, vendor),
    )


def _odd_inks(source: BinaryIO, page: Directory) -> str | None:
    """Why the inks of a JPEG would be taken for others, or None. libtiff does not turn YCCK into them (T.872)."""
    if (page.number(259), page.number(262)) != (_JPEG, _SEPARATED):
        return None
    source.seek(page.number(324) or page.number(273))
    try:
        header = read_header(source.read(tiff_tiles.PEEK_BYTES))
    except ValueError:
        # That of a damaged tile is told by who reads it.
        return None
    return "its inks are stored as YCCK in JPEG" if header.adobe_transform == _YCCK else None


def _profile(page: Directory) -> tuple[int, int] | None:
    """One that claims to be larger than any is broken, which costs colour fidelity, not the slide."""
    place = page.place(_ICC)
    return place if place is not None and place[1] <= _MOST_PROFILE_BYTES else None


def _size(page: Directory) -> tuple[int, int]:
    return page.number(256), page.number(257)


def _base(pages: Sequence[Directory], vendor: str, associated: set[int], name: str) -> Directory:
    """The page with the most pixels that is neither label nor macro nor mask; Aperio's is the first by definition."""
    for page in pages:
        if 256 in page and 257 in page and not all(_size(page)):
            # To show a smaller picture of it instead would hide that.
            width, height = _size(page)
            raise Damaged(f"its directory {page.index + 1} claims an image of {width} x {height} pixels")
    images = [page for page in pages if all(_size(page))]
    if not images:
        raise Reject(
            f"{name} holds no image.", "Check that it opens in the scanner's own viewer, then upload it again."
        )
    if vendor == "aperio" and images[0] is pages[0]:
        return pages[0]
    slides = [page for page in images if page.index not in associated and not page.number(254) & _MASK]
    return max(slides or images, key=lambda page: (page.number(256) * page.number(257), 322 in page, -page.index))
