"""What a file is and how its pixels are read, for sources that can't be copied."""

import os
from typing import Any, BinaryIO

import openslide
import pyvips

from services.dicer.core import DECODED_TILE, PIPED, Found, suffix
from services.dicer.pixels.czi import find_czi
from services.dicer.pixels.opening import UPRIGHT, open_image, orientation, unreadable
from shared.errors import Reject
from shared.slides import tiff
from shared.slides.details import of_openslide

MOST_PIXELS = 4 * 10**9
MOST_INTERLACED_PIXELS = 100 * 10**6
# Thirty times a large slide's. Of a thin one that is longer, a few bytes of header could make a million blocks.
MOST_SIDE = 10**7


def find_by_path(path: str, name: str, kind: str, tiff_page: int | None, reason: str) -> Found:
    """What a file on local disk is and how its pixels are read, for sources that can't be copied for this `reason`.

    Raises `Reject` where neither OpenSlide nor libvips can read it, or where it is larger than the pixel budget.
    """
    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        vendor = None
    if vendor is not None and (vendor != "generic-tiff" or _lacks_tiles(path, name)):
        return _found_by_openslide(path, name, vendor, reason)
    return _found_by_vips(path, name, kind, tiff_page, reason)


def _lacks_tiles(path: str, name: str) -> bool:
    """Whether a TIFF file leaves tiles out, which libvips takes for damage and OpenSlide for bare glass."""
    with open(path, "rb") as source:
        slide = tiff.describe(source, os.fstat(source.fileno()).st_size, name)
    return any(slide.lengths) and not all(slide.lengths)


def find_picture(name: str, kind: str, reason: str, *, source: BinaryIO) -> Found:
    """As `find_by_path`, of a file that is a plain picture, of which only the beginning is read."""
    reading = pyvips.SourceCustom()
    reading.on_read(source.read)
    reading.on_seek(source.seek)
    return _described(open_image(reading, name, None, access="sequential"), suffix(name), name, kind, None, reason)


def _found_by_openslide(path: str, name: str, vendor: str, reason: str) -> Found:
    try:
        with openslide.OpenSlide(path) as slide:
            width, height = slide.dimensions
            properties = {str(key): str(value) for key, value in slide.properties.items()}
    except openslide.OpenSlideError as error:
        if vendor == "zeiss":
            # OpenSlide takes CZI with the commonest way of compression, and with a plane in Z, for unreadable.
            found = find_czi(path, name, reason)
            _check_pixels(name, found.width, found.height, MOST_PIXELS * 100)
            return found
        raise unreadable(name, str(error), path) from error
    _check_pixels(name, width, height, MOST_PIXELS * 100)
    details = of_openslide(properties)
    return Found(
        reader="openslide",
        suffix=suffix(path),
        width=width,
        height=height,
        tile=DECODED_TILE,
        vendor=vendor,
        mpp=details.mpp,
        objective=details.objective,
        barcode=details.barcode,
        scanned=details.scanned,
        properties=details.properties,
        reason=reason,
    )


def _found_by_vips(path: str, name: str, kind: str, tiff_page: int | None, reason: str) -> Found:
    image = open_image(path, name, tiff_page, access="sequential")
    return _described(image, suffix(path), name, kind, tiff_page, reason)


def _described(image: Any, ending: str, name: str, kind: str, tiff_page: int | None, reason: str) -> Found:
    interlaced = bool(image.get("interlaced")) if image.get_typeof("interlaced") else False
    _check_pixels(name, image.width, image.height, MOST_INTERLACED_PIXELS if interlaced else MOST_PIXELS)
    if orientation(image) >= 5:
        width, height = image.height, image.width
    else:
        width, height = image.width, image.height
    tiled = kind == "tiff" and image.get_typeof("tile-width") != 0
    per_metre = image.xres * 1000
    return Found(
        reader="vips-random" if tiled else "vips-sequential",
        suffix=ending,
        width=width,
        height=height,
        tile=DECODED_TILE,
        # libvips reports 1 pixel per millimetre where the file says nothing of its resolution.
        mpp=round(1e6 / per_metre, 4) if per_metre > 1e5 else None,
        layout={"page": tiff_page, "folded": not tiled, "piped": kind in PIPED and orientation(image) == UPRIGHT},
        reason=reason,
    )


def _check_pixels(name: str, width: int, height: int, most: int) -> None:
    if max(width, height) > MOST_SIDE:
        raise Reject(
            f"The image {name} claims to have {width} x {height} pixels, over {MOST_SIDE:,} a side, as no slide has.",
            "It is probably damaged: export it from the scanner once more and upload that.",
        )
    if width * height > most:
        raise Reject(
            f"The image {name} has {width} x {height} pixels, more than the {most:,} that can be decoded safely.",
            "Export it as a tiled pyramid, such as SVS or tiled TIFF, and upload that.",
        )
