"""How a TIFF page's pixels are stored, and why its tiles can't be copied as they are, or not even be decoded. Pure.

Source: TIFF 6.0 and its supplements; what libvips and OpenSlide read was tried.
"""

from typing import Literal

from shared.slides.directories import Directory
from shared.slides.limits import tiles_too_large

Coding = Literal["jpeg2000", "jpeg2000-ycbcr", "none", "lzw", "deflate", "packbits", "zstd"]

_JPEG, _WEBP = 7, 50001
_COMPRESSIONS = {
    1: "not at all",
    5: "with LZW",
    6: "as old-style JPEG",
    8: "with Deflate",
    9: "as JBIG",
    32773: "with PackBits",
    32946: "with Deflate",
    32909: "with PixarLog",
    33003: "as JPEG 2000",
    33004: "as JPEG 2000",
    33005: "as JPEG 2000",
    34661: "as JBIG",
    34676: "with SGILog",
    34677: "with SGILog",
    34712: "as JPEG 2000",
    34887: "with LERC",
    34892: "as JPEG",
    34925: "with LZMA",
    34933: "as PNG",
    34934: "as JPEG XR",
    50000: "with Zstandard",
    _WEBP: "as WebP",
    50002: "as JPEG XL",
}
# Tiles that give back the very pixels, each decoded by itself.
_LOSSLESS: dict[int, Coding] = {
    1: "none",
    5: "lzw",
    8: "deflate",
    32773: "packbits",
    32946: "deflate",
    50000: "zstd",
}
_APERIO_YCBCR = 33003
_JPEG2000 = (_APERIO_YCBCR, 33005)
_DIFFERENCES = 2
# Of others libtiff, and so all that show the picture elsewhere, pays no heed to the tag.
_OF_DIFFERENCES = (5, 8, 32946, 50000)
# libtiff holds a strip's data as a whole, and libvips lets it have 50 MiB for everything.
_MOST_STRIP_BYTES = 52 * 10**6
# What libvips reads of pictures that are no slide of a known maker; 2 to 4 are facsimile.
_READ_COMPRESSIONS = (1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, _WEBP)
# Each with its channels, but for one that may say how clear the picture is.
_READ_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
# What OpenSlide reads of tiles that libvips does not read, or not in their colours.
_TILE_COMPRESSIONS = (1, 5, _JPEG, 8, 32773, 32946, 50000)
_TILE_COLOURS = (0, 1, 2, 6)
_READ_BITS = (1, 2, 4, 8, 16)
_COLOURS = {
    0: "grey",
    1: "grey",
    3: "a palette",
    4: "a mask",
    5: "CMYK",
    8: "CIE Lab",
    9: "ICC Lab",
    10: "ITU Lab",
    32803: "what a camera's sensor saw",
    32844: "LogL",
    32845: "LogLuv",
    34892: "what a camera's sensor saw",
}
_NUMBERS = {2: "numbers with a sign", 3: "floating-point numbers"}
_RGB, _YCBCR = 2, 6
_SIDE = 16
_CLEARNESS = (1, 2)
ADOBE_TRANSFORM = {_RGB: 0, _YCBCR: 1}


def unlike_ours(page: Directory, tile_width: int, tile_height: int) -> str | None:
    """Why the tag values rule out copying, or None."""
    compression = page.number(259, 1)
    if tile_width and compression != _JPEG:
        return (
            f"its tiles are compressed {_how(page)}, not as JPEG" if compression > 1 else "its tiles are not compressed"
        )
    return odd_tiles(page, tile_width, tile_height)


def _how(page: Directory) -> str:
    compression = page.number(259, 1)
    return _COMPRESSIONS.get(compression, f"with method {compression}")


def undecodable(page: Directory) -> str | None:
    """Why neither libvips nor OpenSlide would show the picture as it is meant, or None."""
    compression, colours, samples = page.number(259, 1), page.number(262, 1), page.number(277, 1)
    instead = by_openslide(page)
    if compression not in _READ_COMPRESSIONS and not instead:
        return f"its pixels are compressed {_how(page)}"
    if colours not in _READ_COLOURS:
        return f"its colours are stored as {_COLOURS.get(page.number(262), f'kind {page.number(262)}')}"
    if page.number(339, 1) != 1:
        # What counts as black and as white is nowhere said.
        return f"its pixels are {_NUMBERS.get(page.number(339), 'no plain numbers')}"
    if any(bits not in _READ_BITS for bits in page.numbers(258)):
        return f"its channels have {max(page.numbers(258))} bits"
    if not _READ_COLOURS[colours] <= samples <= _READ_COLOURS[colours] + 1:
        return f"its colours need {_READ_COLOURS[colours]} channels, and its pixels have {samples}"
    if instead and spare_channel(page):
        # OpenSlide takes it for alpha that the colours were multiplied by, which can't be undone.
        return (
            f"its tiles of {samples} channels hold one that is neither a colour nor alpha, and are stored in a rare way"
        )
    if _odd_sides(page) and not instead:
        return f"its tiles of {page.number(322)} x {page.number(323)} pixels have sides that are no multiple of {_SIDE}"
    if colours == _YCBCR and compression not in (_JPEG, _WEBP) and not instead:
        return "its colours are stored as YCbCr that is not compressed as JPEG"
    if _apart(page) and 322 in page and not instead:
        return "its tiles hold one channel each"
    return None


def too_large(page: Directory) -> str | None:
    """Why the page's tiles or strips take more memory than a decoder may have, or None."""
    if 322 in page:
        return tiles_too_large("tiles", page.number(322), page.number(323), max(page.numbers(258), default=1))
    counts = page.numbers(279)
    # A single one that is not compressed libtiff reads in parts.
    if (page.number(259, 1) == 1 and len(counts) == 1) or (most := max(counts, default=0)) <= _MOST_STRIP_BYTES:
        return None
    return f"its strips of up to {most:,} bytes are larger than the {_MOST_STRIP_BYTES:,} that can be decoded safely"


def spare_channel(page: Directory) -> bool:
    """Whether the last channel is neither a colour nor says how clear the picture is (TIFF 6.0, ExtraSamples)."""
    return page.number(338, _CLEARNESS[0]) not in _CLEARNESS


def by_openslide(page: Directory) -> bool:
    """Whether these are tiles that OpenSlide reads where libvips does not, or not in their colours."""
    colours, compression = page.number(262, 1), page.number(259, 1)
    return (
        322 in page
        and compression in _TILE_COMPRESSIONS
        and colours in _TILE_COLOURS
        and all(bits in (8, 16) for bits in page.numbers(258))
        and page.number(339, 1) == 1
        and page.number(274, 1) == 1
        and (
            _apart(page)
            or compression not in _READ_COMPRESSIONS
            or (colours == _YCBCR and compression != _JPEG)
            or _odd_sides(page)
        )
    )


def _odd_sides(page: Directory) -> bool:
    """Whether tiles have sides that TIFF 6.0 forbids (section 15), and libvips does not read."""
    return bool(page.number(322) % _SIDE or page.number(323) % _SIDE)


def _apart(page: Directory) -> bool:
    return page.number(284, 1) == 2 and page.number(277, 1) > 1


def odd_tiles(page: Directory, tile_width: int, tile_height: int) -> str | None:
    """Why tiles of this shape and with these pixels can't be ours, or None."""
    if not tile_width:
        return "its image is stored in strips, not in tiles"
    if tile_width != tile_height:
        return f"its tiles of {tile_width} x {tile_height} pixels are not square"
    if tile_width % 16 or not 128 <= tile_width <= 1024:
        return f"its tiles' side of {tile_width} pixels is not a multiple of 16 between 128 and 1024"
    photometric = page.number(262, -1)
    if any(bits != 8 for bits in page.numbers(258)) or not page.count(258):
        return f"its channels have {max(page.numbers(258), default=1)} bits, not 8"
    if photometric not in ADOBE_TRANSFORM or page.number(277, 1) != 3:
        colours = _COLOURS.get(photometric, f"{page.number(277, 1)} channels")
        return f"its colours are stored as {colours}, neither as RGB nor as YCbCr"
    if page.number(284, 1) != 1:
        return "its colour channels are stored apart from each other"
    if page.number(274, 1) != 1:
        return f"its image is stored turned or mirrored (orientation {page.number(274)})"
    if page.number(32997, 1) != 1:
        return "its tiles are several layers deep"
    return None


def lossless(page: Directory, tile_width: int, tile_height: int) -> Coding | None:
    """How tiles of RGB pixels are packed, where that loses nothing and our sides and shapes fit; else None."""
    plain = (
        page.number(262, -1) == _RGB
        and page.number(339, 1) == 1
        and page.number(266, 1) == 1
        and page.number(317, 1) in (1, _DIFFERENCES)
    )
    if not plain or odd_tiles(page, tile_width, tile_height) is not None:
        return None
    return _LOSSLESS.get(page.number(259, 1))


def jpeg2000(page: Directory, aperio: bool, tile_width: int, tile_height: int) -> Coding | None:
    """In which colours tiles are stored as JPEG 2000, where our shapes fit; else None.

    By Aperio the compression tells (OpenSlide's notes), by others, such as Bio-Formats, the photometric tag.
    """
    compression = page.number(259, 1)
    if compression not in _JPEG2000 or odd_tiles(page, tile_width, tile_height) is not None:
        return None
    ycbcr = compression == _APERIO_YCBCR if aperio else page.number(262) == _YCBCR
    return "jpeg2000-ycbcr" if ycbcr else "jpeg2000"


def keeps_differences(page: Directory) -> bool:
    """Whether each pixel is stored as what it differs by from its left neighbour (TIFF 6.0, section 14)."""
    return page.number(317, 1) == _DIFFERENCES and page.number(259, 1) in _OF_DIFFERENCES


def begins_as(coding: Coding, data: bytes, length: int, pixel_bytes: int) -> bool:
    """Whether a tile of `length` bytes that begins with `data` can be coded like that.

    Before TIFF 6.0 some wrote LZW codes from the lowest bit on; the first code, which clears the table, shows it.
    """
    match coding:
        case "lzw":
            return data[:1] == b"\x80"
        case "deflate":
            return len(data) > 1 and data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        case "none":
            return length >= pixel_bytes
        case _:
            return True
