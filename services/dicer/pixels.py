"""The dicer's pixels: opening slides and cutting base tiles. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB. Encoded tiles are baseline JPEG files.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import openslide
import pyvips
import simplejpeg
from PIL import Image, ImageCms

from services.dicer.core import DECODED_TILE, PIPED, Found, damaged, suffix
from shared.errors import Reject
from shared.slides.details import of_openslide
from shared.slides.jpeg2000 import MOST_HEADER_BYTES, is_plain
from shared.store.documents import Recipe
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Pixels, halve

# A slide may come from anybody: only the loaders that we mean to use can be reached at all.
pyvips.operation_block_set("VipsForeignLoad", True)
for _loader in ("Jpeg", "Png", "Webp", "Tiff"):
    pyvips.operation_block_set(f"VipsForeignLoad{_loader}", False)
pyvips.cache_set_max(0)

MOST_PIXELS = 4 * 10**9
BLANK_BYTES = 4096
MOST_INTERLACED_PIXELS = 100 * 10**6
_PROFILE = "icc-profile-data"
_UPRIGHT = 1
# As libvips reads a file from top to bottom: taller strips take three times as long, in fresh memory for each.
_STRIP_LINES = 16
_OPAQUE = 255


def encode(pixels: Pixels, recipe: Recipe) -> bytes:
    """One tile as JPEG by the recipe's quality and chroma subsampling."""
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels),
        quality=recipe.quality,
        colorspace="RGB",
        colorsubsampling=recipe.subsampling,
        fastdct=False,
    )
    return encoded


def crop_tiles(
    sizes: Sequence[tuple[Position, int, int]], recipe: Recipe, *, inputs: Sequence[memoryview]
) -> Iterator[tuple[Position, bytes]]:
    """Edge tiles of a copied base: decoded, cut to (width, height) and encoded again."""
    for (position, width, height), data in zip(sizes, inputs, strict=True):
        try:
            pixels = simplejpeg.decode_jpeg(bytes(data), colorspace="RGB", fastdct=False, fastupsample=False)
        except ValueError as error:
            raise damaged(position, error) from error
        yield position, encode(pixels[:height, :width], recipe)


def decode_jpeg2000(
    sizes: Sequence[tuple[Position, int, int]],
    side: int,
    recipe: Recipe,
    profile: bytes | None,
    *,
    inputs: Sequence[memoryview],
) -> Iterator[tuple[Position, bytes]]:
    """JPEG 2000 tiles of `side` x `side` RGB pixels: decoded, brought to sRGB, cut to (width, height) and encoded.

    `profile` is the ICC profile of their colours; without one they are sRGB already.
    """
    to_srgb = None if profile is None else _transform(profile)
    blanks: dict[bytes, bytes] = {}
    for (position, width, height), data in zip(sizes, inputs, strict=True):
        whole = width == side == height
        # Scanners write the same blank tile over and over.
        key = bytes(data) if whole and len(data) <= BLANK_BYTES else None
        tile = None if key is None else blanks.get(key)
        if tile is None:
            pixels = _decode_jpeg2000(data, position, side)
            if to_srgb is not None:
                pixels = np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), to_srgb))
            tile = encode(pixels[:height, :width], recipe)
            if key is not None:
                blanks[key] = tile
        yield position, tile


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


def find_by_path(path: str, name: str, kind: str, tiff_page: int | None, reason: str) -> Found:
    """What a file on local disk is and how its pixels are read, for sources that can't be copied for this `reason`.

    Raises `Reject` where neither OpenSlide nor libvips can read it, or where it is larger than the pixel budget.
    """
    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        vendor = None
    if vendor is not None and vendor != "generic-tiff":
        return _found_by_openslide(path, name, vendor, reason)
    return _found_by_vips(path, name, kind, tiff_page, reason)


def _found_by_openslide(path: str, name: str, vendor: str, reason: str) -> Found:
    try:
        with openslide.OpenSlide(path) as slide:
            width, height = slide.dimensions
            properties = {str(key): str(value) for key, value in slide.properties.items()}
    except openslide.OpenSlideError as error:
        raise _unreadable(name, str(error)) from error
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


def find_picture(name: str, kind: str, reason: str, *, source: BinaryIO) -> Found:
    """As `find_by_path`, of a file that is a plain picture, of which only the beginning is read."""
    reading = pyvips.SourceCustom()
    reading.on_read(source.read)
    reading.on_seek(source.seek)
    return _described(_open(reading, name, None, access="sequential"), suffix(name), name, kind, None, reason)


def _found_by_vips(path: str, name: str, kind: str, tiff_page: int | None, reason: str) -> Found:
    image = _open(path, name, tiff_page, access="sequential")
    return _described(image, suffix(path), name, kind, tiff_page, reason)


def _described(image: Any, ending: str, name: str, kind: str, tiff_page: int | None, reason: str) -> Found:
    interlaced = bool(image.get("interlaced")) if image.get_typeof("interlaced") else False
    _check_pixels(name, image.width, image.height, MOST_INTERLACED_PIXELS if interlaced else MOST_PIXELS)
    if _orientation(image) >= 5:
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
        layout={"page": tiff_page, "folded": not tiled, "piped": kind in PIPED and _orientation(image) == _UPRIGHT},
        reason=reason,
    )


def _check_pixels(name: str, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise Reject(
            f"The image {name} has {width} x {height} pixels, more than the {most:,} that can be decoded safely.",
            "Export it as a tiled pyramid, such as SVS or tiled TIFF, and upload that.",
        )


def _unreadable(name: str, detail: str) -> Reject:
    first_line = detail.strip().splitlines()[0] if detail.strip() else "no detail given"
    return Reject(
        f"The file {name} can't be read as a slide ({first_line}).",
        "Check that it opens in the scanner's own viewer, then upload it again or export it once more.",
    )


def _open(file: str | pyvips.Source, name: str, page: int | None, access: str) -> Any:
    options: dict[str, Any] = {"access": access, "fail_on": "error"}
    if page:
        options["page"] = page
    try:
        if isinstance(file, str):
            return pyvips.Image.new_from_file(file, **options)
        return pyvips.Image.new_from_source(file, "", **options)
    except pyvips.Error as error:
        raise _unreadable(name, str(error.detail or error)) from error


def _orientation(image: Any) -> int:
    return int(image.get("orientation")) if image.get_typeof("orientation") else _UPRIGHT


def _as_srgb(image: Any) -> Any:
    """Any image as three 8-bit sRGB bands over white: profile applied, alpha flattened, palette and CMYK resolved."""
    if (image.interpretation, image.format, image.bands) == ("srgb", "uchar", 3) and not image.get_typeof(_PROFILE):
        return image
    if image.hasalpha():
        # 16-bit alpha counts to 65535, so the white behind it must as well.
        white = 65535 if image.format == "ushort" else _OPAQUE
        image = image.flatten(background=white)
    if image.get_typeof(_PROFILE):
        try:
            image = image.icc_transform("srgb", embedded=True, intent="relative")
        except pyvips.Error:
            # A broken profile costs colour fidelity, not the slide.
            image = image.colourspace("srgb")
    else:
        image = image.colourspace("srgb")
    if image.format != "uchar":
        image = image.cast("uchar")
    if image.bands == 1:
        image = image.bandjoin([image, image])
    return image.extract_band(0, n=3) if image.bands > 3 else image


def cut_openslide(
    path: str, name: str, rect: Rect, geometry: Geometry, recipe: Recipe
) -> Iterator[tuple[Position, bytes]]:
    """The tiles of a square block, read by OpenSlide in one region."""
    left, top = rect.left * geometry.tile, rect.top * geometry.tile
    width = min(rect.right * geometry.tile, geometry.width) - left
    height = min(rect.bottom * geometry.tile, geometry.height) - top
    try:
        with openslide.OpenSlide(path) as slide:
            region = np.asarray(slide.read_region((left, top), 0, (width, height)))
            profile = _profile(slide)
            background = slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    except openslide.OpenSlideError as error:
        raise _unreadable(name, str(error)) from error
    pixels = _over(region, background)
    if profile is not None:
        image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
        image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
        pixels = _as_srgb(image).numpy()
    yield from _tiles(pixels, rect, geometry, recipe)


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
    if int(alpha.min()) == _OPAQUE:
        return region[:, :, :3]
    colour = np.array([int(background[i : i + 2], 16) for i in (0, 2, 4)], np.float32)
    share = alpha[:, :, None].astype(np.float32) / _OPAQUE
    mixed = region[:, :, :3].astype(np.float32) * share + colour * (1 - share)
    return (mixed + 0.5).astype(np.uint8)


def cut_vips(
    path: str,
    name: str,
    rect: Rect,
    geometry: Geometry,
    recipe: Recipe,
    layout: Mapping[str, Any],
    sequential: bool,
) -> Iterator[tuple[Position, bytes]]:
    """The tiles of a block, read by libvips one tile row after the other, so that memory stays at a few rows' worth.

    Each row is read in a thread of its own while the one before it is encoded, the right half of it in another. By the
    source's `layout` the file is a pipe that can be read once (`piped`), and the levels above are made in passing
    (`folded`).
    """
    page = layout.get("page")
    image = _open(
        _open_pipe(path) if layout.get("piped") else path, name, page, access="sequential" if sequential else "random"
    )
    if _orientation(image) != _UPRIGHT:
        # Turning needs the pixels in another order than they are stored in.
        image = _open(path, name, page, access="random").autorot()
    try:
        rows = _rows(_as_srgb(image), rect, geometry, _STRIP_LINES if sequential else geometry.tile)
        above = _Above(geometry, recipe) if layout.get("folded") else None
        with ThreadPoolExecutor(2) as threads:
            coming = threads.submit(next, rows, None)
            while (read := coming.result()) is not None:
                coming = threads.submit(next, rows, None)
                left, right = _halves(read, geometry.tile)
                encoding = threads.submit(_encoded, right, geometry, recipe)
                yield from _tiles(left.pixels, left.rect, geometry, recipe)
                yield from encoding.result()
                if above is not None:
                    yield from above.fold(read)
    except pyvips.Error as error:
        raise _unreadable(name, str(error.detail or error)) from error


def _open_pipe(path: str) -> Any:
    # By its path libvips takes it for a file that can be mapped.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return pyvips.Source.new_from_descriptor(descriptor)
    finally:
        os.close(descriptor)


class _Row(NamedTuple):
    rect: Rect
    pixels: Pixels


def _encoded(row: _Row, geometry: Geometry, recipe: Recipe) -> list[tuple[Position, bytes]]:
    return list(_tiles(row.pixels, row.rect, geometry, recipe))


def _halves(row: _Row, tile: int) -> tuple[_Row, _Row]:
    """A tile row's left and right half; the right one may be empty."""
    middle = row.rect.left + (row.rect.right - row.rect.left + 1) // 2
    left, right = row.rect.model_copy(update={"right": middle}), row.rect.model_copy(update={"left": middle})
    split = (middle - row.rect.left) * tile
    return _Row(left, row.pixels[:, :split]), _Row(right, row.pixels[:, split:])


class _Above:
    """The levels above the base of a picture whose tile rows come from top to bottom.

    Each level keeps half a tile row until its other half comes, and is made of pixels that were never encoded.
    """

    def __init__(self, geometry: Geometry, recipe: Recipe) -> None:
        self._geometry = geometry
        self._recipe = recipe
        self._upper: list[Pixels | None] = [None] * geometry.levels

    def fold(self, below: _Row) -> Iterator[tuple[Position, bytes]]:
        """The tiles that this tile row makes whole, on the next level and on those above it."""
        level, row = below.rect.level + 1, below.rect.top // 2
        if level == self._geometry.levels:
            return
        half = halve(below.pixels, level)
        if below.rect.top % 2 == 0 and below.rect.bottom < self._geometry.grid(level - 1)[1]:
            self._upper[level] = half
            return
        upper = self._upper[level]
        pixels = half if upper is None else np.concatenate((upper, half))
        self._upper[level] = None
        cols = self._geometry.grid(level)[0]
        whole = _Row(Rect(level=level, top=row, left=0, bottom=row + 1, right=cols), pixels)
        yield from _tiles(whole.pixels, whole.rect, self._geometry, self._recipe)
        yield from self.fold(whole)


def _rows(image: Any, rect: Rect, geometry: Geometry, lines: int) -> Iterator[_Row]:
    """Each tile row of a block, read so many lines at a time."""
    region = pyvips.Region.new(image)
    left = rect.left * geometry.tile
    width = min(rect.right * geometry.tile, geometry.width) - left
    for row in range(rect.top, rect.bottom):
        top = row * geometry.tile
        pixels = np.empty((min(geometry.tile, geometry.height - top), width, 3), np.uint8)
        for line in range(0, len(pixels), lines):
            part = pixels[line : line + lines]
            part[:] = np.frombuffer(region.fetch(left, top + line, width, len(part)), np.uint8).reshape(part.shape)
        yield _Row(Rect(level=0, top=row, left=rect.left, bottom=row + 1, right=rect.right), pixels)


def _tiles(pixels: Pixels, rect: Rect, geometry: Geometry, recipe: Recipe) -> Iterator[tuple[Position, bytes]]:
    """Cuts the pixels of a rectangle of tiles into encoded tiles; edge tiles are as small as the pixels are."""
    for position in rect.positions():
        y = (position.row - rect.top) * geometry.tile
        x = (position.col - rect.left) * geometry.tile
        yield position, encode(pixels[y : y + geometry.tile, x : x + geometry.tile], recipe)
