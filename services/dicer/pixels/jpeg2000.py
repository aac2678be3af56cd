"""JPEG 2000 tiles, decoded one by one where they lie in the file."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from services.dicer.core import damaged
from services.dicer.pixels.encoding import encode
from shared.slides.jpeg2000 import MOST_HEADER_BYTES, is_plain
from shared.store.documents import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Half, Pixels, Square, halve
from shared.tiles.squares import Made

BLANK_BYTES = 4096


def cut_jpeg2000(
    rect: Rect,
    positions: Sequence[Position],
    geometry: Geometry,
    recipe: Recipe,
    climb: int | None,
    profile: bytes | None,
    *,
    inputs: Sequence[memoryview],
) -> Iterator[Made]:
    """JPEG 2000 tiles of RGB pixels, decoded, brought to sRGB, cropped at the edge and encoded; with a `climb` the
    levels above their square too.

    `profile` is the ICC profile of their colours; without one they are sRGB already.
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
            pixels = _decode_jpeg2000(data, position, geometry.tile)
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


def _decode_jpeg2000(data: memoryview, position: Position, side: int) -> Pixels:
    try:
        # What a tile claims to be decides how much memory its decoder takes.
        if not is_plain(bytes(data[:MOST_HEADER_BYTES]), side):
            raise ValueError("it is no RGB tile of the slide's size")
        pixels: Pixels = imagecodecs.jpeg2k_decode(bytes(data), numthreads=1)
    except (ValueError, imagecodecs.Jpeg2kError) as error:
        raise damaged(position, error) from error
    return pixels


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
