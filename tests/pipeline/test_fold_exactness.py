"""Folded levels are box means of the full-resolution pixels, up to the last row and column of the last level."""

import io
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import pyvips
import simplejpeg
from PIL import Image

from services.pyramid.core import plan
from shared.store.documents.versions import Recipe, Version, VersionId
from shared.tiles import pixels
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.pixels import Half, halve
from shared.tiles.squares import ROOT, steps
from tests.slides.plain import picture

Pixels = npt.NDArray[np.uint8]
Means = npt.NDArray[np.float32]
RECIPE = Recipe(revision=1, quality=75, subsampling="420", tile=256)


@lru_cache(maxsize=1)
def _piece() -> Pixels:
    return picture(1100, 900)


def tissue(width: int, height: int) -> Pixels:
    """Tissue of any size: one drawn piece, mirrored over and over."""
    drawn = _piece()
    margins = ((0, height - drawn.shape[0]), (0, width - drawn.shape[1]), (0, 0))
    mirrored: Pixels = np.pad(drawn, margins, mode="symmetric")
    return mirrored


class Slide:
    """A source's JPEG tiles and what they decode to."""

    def __init__(self, width: int, height: int, tile: int) -> None:
        self.geometry = Geometry(width=width, height=height, tile=tile)
        source = tissue(width, height)
        self.decoded = np.empty_like(source)
        self.tiles: dict[Position, memoryview] = {}
        cols, rows = self.geometry.grid(0)
        for position in Rect(level=0, top=0, left=0, bottom=rows, right=cols).positions():
            y, x = position.row * tile, position.col * tile
            piece = np.ascontiguousarray(source[y : y + tile, x : x + tile])
            data = simplejpeg.encode_jpeg(piece, quality=80, colorsubsampling="420", fastdct=False)
            self.tiles[position] = memoryview(data)
            self.decoded[y : y + tile, x : x + tile] = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)

    def square(self, rect: Rect) -> tuple[Pixels, bytes | None]:
        """A square of base tiles at half its size, and its root where further rounds are to come."""
        positions = list(rect.positions())
        inputs = [self.tiles[position] for position in positions]
        half = put_together(self.geometry, positions, pixels.halves(positions, self.geometry, False, inputs), rect)
        folded = dict(pixels.fold(rect, positions, self.geometry, RECIPE, steps(self.geometry), False, inputs=inputs))
        return half, folded.get(ROOT)


def put_together(
    geometry: Geometry, positions: Sequence[Position], half_of: Callable[[Position], Half | None], rect: Rect
) -> Pixels:
    """All tiles of a square at half their size in one picture, white where there is none."""
    width, height = geometry.size(rect.level)
    side, left, top = geometry.tile // 2, rect.left * geometry.tile, rect.top * geometry.tile
    size = (min(width, rect.right * geometry.tile) - left, min(height, rect.bottom * geometry.tile) - top)
    whole = np.full((-(-size[1] // 2), -(-size[0] // 2), 3), pixels.WHITE, np.uint8)
    for position in positions:
        half = half_of(position)
        assert half is not None
        y, x = (position.row - rect.top) * side, (position.col - rect.left) * side
        whole[y : y + half.pixels.shape[0], x : x + half.pixels.shape[1]] = half.pixels
    return whole


def means(below: Means) -> Means:
    """The exact 2 x 2 means; an odd last row or column counts twice."""
    height, width = below.shape[:2]
    even = np.pad(below, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    halved: Means = (even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]) / np.float32(4)
    return halved


def vips_means(full: Pixels, level: int) -> Means:
    """libvips's box filter straight from full resolution."""
    image: Any = pyvips.Image.new_from_array(full).cast("float").shrink(1 << level, 1 << level, ceil=True)
    shrunk: Means = np.ndarray((image.height, image.width, 3), np.float32, image.write_to_memory())
    return shrunk


def similarity(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Mean SSIM of the grey images (Wang, Bovik, Sheikh and Simoncelli 2004)."""
    a, b = (cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY) for image in (one, other))

    def blurred(image: Any) -> Any:
        return cv2.GaussianBlur(image, (11, 11), 1.5)

    mean_a, mean_b = blurred(a), blurred(b)
    spread_a, spread_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    together = blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = ((2 * mean_a * mean_b + c1) * (2 * together + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2)
    )
    return float(values.mean())


def noise_ratio(image: npt.NDArray[Any], reference: Means) -> float:
    """PSNR in decibels."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(np.float64) - reference) ** 2)))


@pytest.mark.parametrize(("width", "height", "tile"), [(3001, 2333, 256), (2048, 1024, 256), (1999, 1501, 240)])
def test_every_level_is_the_mean_of_full_resolution(width: int, height: int, tile: int) -> None:
    slide = Slide(width, height, tile)
    cols, rows = slide.geometry.grid(0)
    folded, _ = slide.square(Rect(level=0, top=0, left=0, bottom=rows, right=cols))
    exact = slide.decoded.astype(np.float32)

    for level in range(1, slide.geometry.levels):
        if level > 1:
            folded = halve(folded, level)
        exact = means(exact)
        by_vips = vips_means(slide.decoded, level)

        assert folded.shape == by_vips.shape == exact.shape
        # libvips repeats the last row and column of full resolution, we those of each level: there they differ.
        inner = (slice(0, height >> level), slice(0, width >> level))
        difference = folded[inner] - by_vips[inner]
        assert np.abs(difference).mean() <= 1.0, f"level {level}"
        assert np.abs(difference.mean((0, 1))).max() <= 0.3, f"level {level}"
        assert similarity(folded[inner], by_vips[inner]) >= 0.995, f"level {level}"
        for edge in (folded[-1] - exact[-1], folded[:, -1] - exact[:, -1]):
            assert np.abs(edge).mean() <= 1.0, f"level {level}"
            assert np.abs(edge.mean(0)).max() <= 0.5, f"level {level}"


def test_rounds_join_without_a_seam() -> None:
    slide = Slide(4500, 4300, 256)
    geometry = slide.geometry
    version = Version.model_validate(
        {
            "_id": VersionId(image="ab" * 16, n=1),
            "session": "s",
            "file": "f",
            "name": "slide.svs",
            "created": "2026-01-02T00:00:00Z",
            "updated": "2026-01-02T00:00:00Z",
        }
    )
    blocks = plan(version, geometry, version.created)
    roots: list[tuple[Position, memoryview]] = []
    for block in (block for block in blocks if block.round == 0):
        root = slide.square(block.rect)[1]
        assert root is not None
        place = Position(4, block.rect.top >> 4, block.rect.left >> 4)
        roots.append((place, memoryview(root)))
    last = blocks[-1]
    assert last.round == 1

    places = [place for place, _ in roots]
    folded = put_together(
        geometry, places, pixels.halves(places, geometry, True, [root for _, root in roots]), last.rect
    )

    exact = slide.decoded.astype(np.float32)
    for _ in range(5):
        exact = means(exact)
    assert folded.shape == exact.shape
    difference = folded - exact
    assert np.abs(difference).mean() <= 1.0
    assert np.abs(difference.mean((0, 1))).max() <= 0.3
    # Where two squares meet nothing shows.
    for seam in (difference[127:129], difference[:, 127:129], difference[-1:], difference[:, -1:]):
        assert np.abs(seam).mean() <= 1.0


def test_encoded_levels_are_as_good_as_those_of_dzsave(tmp_path: Path) -> None:
    """At equal bytes: our PSNR, taken between the two qualities whose bytes lie around the peer's."""
    slide = Slide(2304, 1792, 256)
    geometry = slide.geometry
    target = tmp_path / "peer.zip"
    full: Any = pyvips.Image.new_from_array(slide.decoded)
    full.dzsave(str(target), container="zip", Q=75, tile_size=256, overlap=0)
    cols, rows = geometry.grid(0)
    folded, _ = slide.square(Rect(level=0, top=0, left=0, bottom=rows, right=cols))
    exact = slide.decoded.astype(np.float32)

    with zipfile.ZipFile(target) as archive:
        for level in range(1, geometry.levels):
            if level > 1:
                folded = halve(folded, level)
            exact = means(exact)
            folder = f"/{geometry.dzi_levels - level}/"
            theirs = {name: archive.read(name) for name in archive.namelist() if folder in name}
            peer = np.zeros_like(folded)
            for name, data in theirs.items():
                col, row = map(int, Path(name).stem.split("_"))
                _put(peer, row, col, data)
            # Every tile of ours carries a JFIF header of 18 bytes, which libvips leaves out.
            size = sum(map(len, theirs.values())) + 18 * len(theirs)
            curve = sorted(_encoded(folded, quality, exact) for quality in range(71, 79))
            ours = float(np.interp(size, [bytes for bytes, _ in curve], [decibels for _, decibels in curve]))

            assert ours >= noise_ratio(peer, exact) - 0.05, f"level {level}"


def test_a_tile_loses_no_more_than_by_the_accurate_transform() -> None:
    """At the same quality, Pillow, whose encoder is told to take it; by the fast one 0.6 dB would be lost."""
    tile = np.ascontiguousarray(tissue(1200, 1200)[300:556, 300:556])
    theirs = io.BytesIO()
    Image.fromarray(tile).save(theirs, "JPEG", quality=95, subsampling="4:2:0")
    ours = pixels.encode(tile, 95, "420")

    def decibels(data: bytes) -> float:
        return noise_ratio(simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), tile.astype(np.float32))

    assert decibels(ours) >= decibels(theirs.getvalue()) - 0.02
    assert len(ours) <= 1.01 * len(theirs.getvalue())


def blank() -> memoryview:
    """A tile of glass, short enough to be looked for again."""
    glass = np.full((256, 256, 3), (241, 240, 242), np.uint8)
    glass[::2, ::3] = (239, 243, 240)
    data = simplejpeg.encode_jpeg(glass, quality=80, colorsubsampling="420", fastdct=False)
    assert len(data) <= pixels.BLANK_BYTES
    return memoryview(data)


@pytest.mark.parametrize(
    ("size", "top", "tissue_at", "left_out"),
    [
        pytest.param((4096, 4096), 0, [], [], id="blank, the whole slide"),
        pytest.param((9000, 9000), 8, [], [], id="blank, of a larger slide"),
        pytest.param((9000, 9000), 8, [(9, 1), (12, 5)], [], id="some tissue"),
        pytest.param((9000, 9000), 8, [(9, 1)], [(8, 0), (10, 2), (10, 3), (11, 2), (11, 3)], id="sparse"),
        pytest.param((1900, 4000), 8, [(9, 1), (15, 7), (12, 7)], [], id="edges"),
        pytest.param((1900, 4000), 8, [(9, 1)], [(15, 7), (14, 6)], id="sparse at the edge"),
    ],
)
def test_tiles_of_a_square_are_those_of_its_levels_made_as_wholes(
    size: tuple[int, int], top: int, tissue_at: list[tuple[int, int]], left_out: list[tuple[int, int]]
) -> None:
    geometry = Geometry(width=size[0], height=size[1], tile=256)
    climb = 4 if size == (4096, 4096) else 3
    cols, rows = geometry.grid(0)
    rect = Rect(level=0, top=top, left=0, bottom=min(rows, top + (1 << climb)), right=min(cols, 1 << climb))
    positions = [position for position in rect.positions() if (position.row, position.col) not in left_out]
    inputs = []
    for position in positions:
        width, height = geometry.tile_size(position)
        if (position.row, position.col) in tissue_at or min(width, height) < 256:
            drawn = np.ascontiguousarray(tissue(1200, 1200)[position.col : height + position.col, :width])
            inputs.append(memoryview(simplejpeg.encode_jpeg(drawn, quality=80, colorsubsampling="420")))
        else:
            inputs.append(blank())

    made = dict(pixels.fold(rect, positions, geometry, RECIPE, climb, False, inputs=inputs))

    level_pixels = put_together(geometry, positions, pixels.halves(positions, geometry, False, inputs), rect)
    there = {(position.row, position.col) for position in positions}
    expected: dict[Any, bytes] = {}
    for level in range(1, min(climb, geometry.levels - 1) + 1):
        if level > 1:
            level_pixels = halve(level_pixels, level)
        there = {(row >> 1, col >> 1) for row, col in there}
        for row, col in there:
            width, height = geometry.tile_size(Position(level, row, col))
            y, x = (row - (top >> level)) * 256, col * 256
            tile = level_pixels[y : y + height, x : x + width]
            expected[Position(level, row, col)] = pixels.encode(tile, RECIPE.quality, RECIPE.subsampling)
    if level < geometry.levels - 1:
        expected[ROOT] = halve(level_pixels, level + 1).tobytes()
    assert made == expected


def _encoded(image: Pixels, quality: int, reference: Means) -> tuple[int, float]:
    """Bytes and PSNR of a level encoded in tiles."""
    decoded = np.zeros_like(image)
    size = 0
    for row in range(-(-image.shape[0] // 256)):
        for col in range(-(-image.shape[1] // 256)):
            piece = np.ascontiguousarray(image[row * 256 : row * 256 + 256, col * 256 : col * 256 + 256])
            data = pixels.encode(piece, quality, "420")
            size += len(data)
            _put(decoded, row, col, data)
    return size, noise_ratio(decoded, reference)


def _put(image: Pixels, row: int, col: int, data: bytes) -> None:
    tile = simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False)
    image[row * 256 : row * 256 + tile.shape[0], col * 256 : col * 256 + tile.shape[1]] = tile
