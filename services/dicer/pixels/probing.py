"""What a file is and how its pixels are read, for sources that can't be copied."""

from collections.abc import Mapping
from typing import Any, BinaryIO

import openslide
import pyvips

from services.dicer.core import DECODED_TILE, PIPED, Found, suffix
from services.dicer.pixels.czi import find_czi
from services.dicer.pixels.opening import UPRIGHT, open_image, orientation
from services.dicer.pixels.wording import unreadable
from shared.errors import Reject
from shared.slides.details import of_openslide

MOST_PIXELS = 4 * 10**9
# Of a picture that has to be in memory as a whole before its first line can be had.
MOST_HELD_PIXELS = 100 * 10**6
# A MIRAX slide keeps the first three in the colours of its photographs, which is what OpenSlide shows.
_MOST_FILTERS = 3
# Thirty times a large slide's. Of a thin one that is longer, a few bytes of header could make a million blocks.
MOST_SIDE = 10**7


def find_by_path(path: str, name: str, kind: str, header: Found | None, reason: str) -> Found:
    """What a file on local disk is and how its pixels are read, for sources that can't be copied for this `reason`.

    `header` is what a TIFF file's directories say. Raises `Reject` where neither OpenSlide nor libvips can read it, or
    where it is larger than the pixel budget.
    """
    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        vendor = None
    layout = {} if header is None else header.layout
    if vendor is not None and (vendor != "generic-tiff" or layout.get("by_openslide")):
        found = _found_by_openslide(path, name, vendor, reason)
        # Of several pictures it may take another one for the slide.
        if header is None or vendor != "generic-tiff" or (found.width, found.height) == (header.width, header.height):
            return found
    image = open_image(path, name, layout.get("page"), access="sequential")
    found = _described(image, suffix(path), name, kind, reason)
    found.layout.update({key: layout[key] for key in ("page", "spare_channel") if key in layout})
    return found


def find_picture(name: str, kind: str, reason: str, *, source: BinaryIO) -> Found:
    """As `find_by_path`, of a file that is a plain picture, of which only the beginning is read."""
    reading = pyvips.SourceCustom()
    reading.on_read(source.read)
    reading.on_seek(source.seek)
    return _described(open_image(reading, name, None, access="sequential"), suffix(name), name, kind, reason)


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
        raise unreadable(name, str(error)) from error
    _check_pixels(name, width, height, MOST_PIXELS * 100)
    if vendor == "mirax" and (filters := _filters(properties)) > _MOST_FILTERS:
        raise Reject(
            f"{name} holds {filters} channels of fluorescence, of which only {_MOST_FILTERS} could be shown.",
            "Export it from the scanner's software as one picture in colour, such as JPEG or tiled TIFF in RGB, and "
            "upload that.",
        )
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


def _filters(properties: Mapping[str, str]) -> int:
    """How many filters a MIRAX slide was taken through; those of brightfield have one."""
    for key, value in properties.items():
        if value == "Slide filter level" and key.endswith("_NAME"):
            count = properties.get(f"{key.removesuffix('_NAME')}_COUNT", "")
            return int(count) if count.isdecimal() else 1
    return 1


def _described(image: Any, ending: str, name: str, kind: str, reason: str) -> Found:
    interlaced = bool(image.get("interlaced")) if image.get_typeof("interlaced") else False
    held = interlaced or kind == "webp"
    _check_pixels(name, image.width, image.height, MOST_HELD_PIXELS if held else MOST_PIXELS)
    upright = orientation(image) == UPRIGHT
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
        layout={
            "folded": not tiled,
            "piped": kind in PIPED and upright,
            "held": held or not upright,
        },
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
