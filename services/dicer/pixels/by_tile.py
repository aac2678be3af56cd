"""Tiles that are decoded one by one where they lie in the file."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from services.dicer.pixels.encoding import encode
from services.dicer.pixels.jpeg2000 import decode
from services.dicer.pixels.lossless import unpack
from shared.slides.coding import Coding
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import BLANK_BYTES, Half, Pixels, Square, halve
from shared.tiles.squares import Made


def cut_by_tile(
    rect: Rect,
    positions: Sequence[Position],
    geometry: Geometry,
    recipe: Recipe,
    climb: int | None,
    coding: Coding,
    differences: bool,
    profile: bytes | None,
    *,
    inputs: Sequence[memoryview],
) -> Iterator[Made]:
    """Tiles of RGB pixels, decoded, brought to sRGB, cropped at the edge and encoded; with a `climb` the levels above
    their square too.

    `coding` and `differences` are those of `shared.slides.tiff.TiffSlide`. `profile` is the ICC profile of the tiles'
    colours; without one they are sRGB already.
    """
    to_srgb = None if profile is None else _transform(profile)
    halves: dict[Position, Half | None] = {}
    blanks: dict[bytes, tuple[Half | None, bytes]] = {}
    for position, data in zip(positions, inputs, strict=True):
        width, height = geometry.tile_size(position)
        whole = width == geometry.tile == height
        # Scanners write the same blank tile over and over.
        key = bytes(data) if whole and len(data) <= BLANK_BYTES else None
        known = None if key is None else blanks.get(key)
        if known is None:
            pixels = _decode(data, position, geometry.tile, coding, differences)
            if to_srgb is not None:
                pixels = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), to_srgb))
            pixels = pixels[:height, :width]
            half = None if climb is None else Half(halve(pixels, 1), None if key is None else len(blanks))
            known = half, encode(pixels, recipe)
            if key is not None:
                blanks[key] = known
        halves[position], tile = known
        yield position, tile
    if climb is not None:
        yield from Square(rect, geometry, recipe, halves.get).fold(climb)


def _decode(data: memoryview, position: Position, side: int, coding: Coding, differences: bool) -> Pixels:
    if coding in ("jpeg2000", "jpeg2000-ycbcr"):
        return decode(data, position, side, coding == "jpeg2000-ycbcr")
    return unpack(data, position, side, coding, differences)


def _transform(profile: bytes) -> Any:
    """From the profile's colours to sRGB; None where it is broken, which costs colour fidelity, not the slide."""
    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
    except (OSError, ImageCms.PyCMSError):
        return None
