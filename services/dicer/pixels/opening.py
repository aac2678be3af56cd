"""Opening images with libvips, and bringing their colours to sRGB."""

import re
from typing import Any

import pyvips

from services.dicer.pixels.wording import unreadable

# A slide may come from anybody: only the loaders that we mean to use can be reached at all.
pyvips.operation_block_set("VipsForeignLoad", True)
for _loader in ("Jpeg", "Png", "Webp", "Tiff"):
    pyvips.operation_block_set(f"VipsForeignLoad{_loader}", False)
pyvips.cache_set_max(0)

PROFILE = "icc-profile-data"
# What libjpeg says of headers of sound pictures.
_HARMLESS = r"unknown JFIF revision|Invalid SOS parameters for sequential"
UPRIGHT = 1
OPAQUE = 255


def open_image(file: str | pyvips.Source, name: str, page: int | None, access: str) -> Any:
    """A libvips image that fails on damaged data. Raises `Reject` naming the file if it can't be opened.

    `page` is the page of a TIFF file, `access` is `sequential` or `random`.
    """
    options: dict[str, Any] = {"access": access, "fail_on": "error"}
    if page:
        options["page"] = page
    try:
        if isinstance(file, str):
            return pyvips.Image.new_from_file(file, **options)
        return pyvips.Image.new_from_source(file, "", **options)
    except pyvips.Error as error:
        raise unreadable(name, str(error.detail or error)) from error


def take_error() -> pyvips.Error | None:
    """What libvips has noted as wrong since somebody last asked, whether or not a call has failed for it."""
    # To be made takes the note.
    error = pyvips.Error("unable to read")
    wrong = [line for line in error.detail.splitlines() if line.strip() and not re.search(_HARMLESS, line)]
    return error if wrong else None


def orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8; from 5 on width and height are exchanged."""
    return int(image.get("orientation")) if image.get_typeof("orientation") else UPRIGHT


def as_srgb(image: Any) -> Any:
    """Any image as three 8-bit sRGB bands over white: profile applied, alpha flattened, palette and CMYK resolved."""
    if (image.interpretation, image.format, image.bands) == ("srgb", "uchar", 3) and not image.get_typeof(PROFILE):
        return image
    if image.hasalpha():
        # 16-bit alpha counts to 65535, so the white behind it must as well.
        white = 65535 if image.format == "ushort" else OPAQUE
        image = image.flatten(background=white)
    if image.get_typeof(PROFILE):
        try:
            image = image.icc_transform("srgb", embedded=True, intent="relative")
        except pyvips.Error:
            # A broken profile costs colour fidelity, not the slide.
            image = image.colourspace("srgb")
        # That a profile is broken is also noted where another is taken instead, and says nothing of the pixels.
        take_error()
    else:
        image = image.colourspace("srgb")
    if image.format != "uchar":
        image = image.cast("uchar")
    if image.bands == 1:
        image = image.bandjoin([image, image])
    return image.extract_band(0, n=3) if image.bands > 3 else image
