"""Square blocks of slides that OpenSlide reads."""

from collections.abc import Iterator

import numpy as np
import openslide
import pyvips
from PIL import ImageCms

from services.dicer.pixels.folding import cut_square
from services.dicer.pixels.opening import OPAQUE, PROFILE, as_srgb
from services.dicer.pixels.slides import opened
from services.dicer.pixels.wording import unreadable
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Geometry, Rect
from shared.tiles.pixels import Pixels
from shared.tiles.squares import Made


def cut_openslide(
    path: str, name: str, rect: Rect, geometry: Geometry, recipe: Recipe, climb: int | None
) -> Iterator[Made]:
    """The tiles of a square block, read by OpenSlide in one region; with a `climb` the levels above it too."""
    left, top = rect.left * geometry.tile, rect.top * geometry.tile
    width = min(rect.right * geometry.tile, geometry.width) - left
    height = min(rect.bottom * geometry.tile, geometry.height) - top
    try:
        with opened(path) as slide:
            region = np.asarray(slide.read_region((left, top), 0, (width, height)))
            profile = _profile(slide)
            background = slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    except openslide.OpenSlideError as error:
        raise unreadable(name, str(error)) from error
    pixels = _over(region, background)
    if profile is not None:
        image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
        image.set_type(pyvips.GValue.blob_type, PROFILE, profile)
        pixels = as_srgb(image).numpy()
    yield from cut_square(pixels, rect, geometry, recipe, climb)


def _profile(slide: openslide.OpenSlide) -> bytes | None:
    try:
        profile = slide.color_profile
    except ImageCms.PyCMSError:
        # A broken profile costs colour fidelity, not the slide.
        return None
    return None if profile is None else profile.tobytes()


def _over(region: Pixels, background: str) -> Pixels:
    """An RGBA region over a background colour given as six hex digits."""
    alpha = region[:, :, 3]
    if int(alpha.min()) == OPAQUE:
        return region[:, :, :3]
    colour = np.array([int(background[i : i + 2], 16) for i in (0, 2, 4)], np.float32)
    share = alpha[:, :, None].astype(np.float32) / OPAQUE
    mixed = region[:, :, :3].astype(np.float32) * share + colour * (1 - share)
    return (mixed + 0.5).astype(np.uint8)
