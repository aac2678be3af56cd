"""Draws tissue as a microscope would show it, from formulas alone: no photograph is needed.

Haematoxylin and eosin: violet nuclei, pink fibres, glands with a pale hollow, glass nearly white. What is drawn is how
much of each stain lies at a point; colours follow from the Beer-Lambert law, as on real glass. Seamless textures hold
the detail; waves far longer than a tile decide where glands, stroma and glass are, so that the slide never repeats and
no tile shows an edge. Pixels are arrays of shape (height, width, 3), uint8, sRGB. The same seed draws the same slide.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

Places = npt.NDArray[np.floating[Any]]

TEXTURE = 1024
PIECE = 256
# Waves are evaluated every so many pixels and interpolated between.
COARSE = 16
LIGHT = np.array([244, 243, 246], np.float32)
# Optical density of each stain in red, green and blue (Ruifrok and Johnston 2001, eosin paler as scanners show it).
HAEMATOXYLIN = np.array([0.98, 1.12, 0.55], np.float32)
EOSIN = np.array([0.09, 0.88, 0.42], np.float32)


class Waves(NamedTuple):
    """A smooth field over the slide, a sum of plane waves; its values have mean 0 and deviation 1."""

    kx: npt.NDArray[np.float64]
    ky: npt.NDArray[np.float64]
    weight: npt.NDArray[np.complex128]

    @classmethod
    def random(cls, rng: np.random.Generator, count: int, shortest: float, longest: float) -> "Waves":
        """`count` waves with lengths between two lengths in pixels, in all directions."""
        k = 2 * np.pi / np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
        angle, phase = rng.uniform(0, 2 * np.pi, (2, count))
        weight = np.exp(1j * phase) * np.sqrt(2 / count)
        return cls(k * np.cos(angle), k * np.sin(angle), weight)

    def at(self, x: Places, y: Places) -> Field:
        """Values where rows `y` and columns `x` cross: shape (len(y), len(x))."""
        across = np.exp(1j * self.kx[:, None] * x) * self.weight[:, None]
        down = np.exp(1j * self.ky[:, None] * y)
        values: Field = (down.T @ across).real.astype(np.float32)
        return values


class Textures(NamedTuple):
    """Seamless stain maps of shape (2, side, side), haematoxylin and eosin, wrapped on by a piece at right and bottom.

    `ripple` is noise of shape (side, side) that frays edges; `grain` the camera's, around 0 in grey levels.
    """

    stroma: Field
    epithelium: Field
    ripple: Field
    grain: Field


@lru_cache(maxsize=2)
def _textures(seed: int) -> Textures:
    rng = np.random.default_rng(seed)
    return Textures(
        *(
            np.pad(texture, [(0, 0)] * (texture.ndim - 2) + [(0, PIECE)] * 2, "wrap").astype(np.float32)
            for texture in (
                _stroma(rng),
                _epithelium(rng),
                0.6 * _noise(rng, 8, 40) + 0.4 * _noise(rng, 30, 120),
                1.3 * _noise(rng, 200, 500),
            )
        )
    )


def _noise(rng: np.random.Generator, low: float, high: float, angle: float = 0.0, stretch: float = 1.0) -> Field:
    """Seamless noise with `low` to `high` waves a texture's side, drawn out `stretch` times along `angle`."""
    fy = np.fft.fftfreq(TEXTURE, 1 / TEXTURE).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(TEXTURE, 1 / TEXTURE).astype(np.float32)[None, :]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = (fx * cosine + fy * sine) * np.float32(stretch), fy * cosine - fx * sine
    octaves = 0.5 * np.log(along * along + across * across + np.float32(1e-6)) - np.float32(np.log(low * high) / 2)
    band = np.exp(octaves * octaves * np.float32(-4 / np.log(high / low) ** 2))
    spectrum = np.empty(band.shape, np.complex64)
    spectrum.real, spectrum.imag = rng.standard_normal((2, *band.shape), np.float32) * band
    noise: Field = np.fft.irfft2(spectrum, (TEXTURE, TEXTURE)).astype(np.float32)
    noise -= noise.mean()
    noise /= noise.std()
    return noise


def _step(values: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    smooth: Field = share * share * (3 - 2 * share)
    return smooth


def _stroma(rng: np.random.Generator) -> Field:
    """Bundles of wavy pink fibres with gaps between them and few, drawn-out nuclei."""
    y, x = np.mgrid[:TEXTURE, :TEXTURE].astype(np.float32) * (2 * np.pi / TEXTURE)
    warp = _noise(rng, 1.5, 6)
    bundles = np.sin(9 * x + 14 * y + 2.4 * warp)
    fibres = np.sin(38 * x + 61 * y + 7 * warp + 1.2 * _noise(rng, 10, 50))
    fine = _noise(rng, 60, 220, angle=-0.55, stretch=3)
    eosin = 0.52 + 0.13 * bundles + 0.09 * fibres + 0.06 * fine + 0.07 * _noise(rng, 3, 14)
    gaps = _step(-bundles + 0.5 * _noise(rng, 20, 90, angle=-0.55, stretch=3), 0.75, 1.3)
    stain = np.stack([0.045 + 0.02 * fine, eosin * (1 - 0.85 * gaps)])
    chromatin = _noise(rng, 90, 300)
    for y0, x0 in _scattered(rng, 44, 0.8):
        angle = 2.57 + rng.normal(0, 0.3)
        _nucleus(stain, chromatin, rng, y0, x0, rng.uniform(7, 13), rng.uniform(2.2, 3.8), angle)
    stained: Field = np.maximum(stain, 0)
    return stained


def _epithelium(rng: np.random.Generator) -> Field:
    """Crowded cells: round nuclei in a pink-violet cytoplasm."""
    cytoplasm = _noise(rng, 20, 70)
    fine = _noise(rng, 90, 300)
    stain = np.stack([0.17 + 0.03 * cytoplasm + 0.02 * fine, 0.42 + 0.07 * cytoplasm + 0.04 * fine])
    chromatin = _noise(rng, 90, 300)
    for y0, x0 in _scattered(rng, 21, 0.94):
        long = rng.uniform(5.6, 8.6)
        _nucleus(stain, chromatin, rng, y0, x0, long, long * rng.uniform(0.62, 0.95), rng.uniform(0, np.pi))
    stained: Field = np.maximum(stain, 0)
    return stained


def _scattered(rng: np.random.Generator, spacing: int, chance: float) -> npt.NDArray[np.float64]:
    """Points about `spacing` pixels apart in an uneven honeycomb, each there with a `chance`: rows of (y, x)."""
    cells = TEXTURE // spacing // 2 * 2
    row, col = np.mgrid[:cells, :cells].reshape(2, -1)
    points = np.stack([row, col + 0.5 * (row % 2)], 1) + rng.uniform(-0.26, 0.26, (cells * cells, 2))
    return (points * (TEXTURE / cells))[rng.uniform(size=cells * cells) < chance]


def _nucleus(
    stain: Field,
    chromatin: Field,
    rng: np.random.Generator,
    y0: float,
    x0: float,
    long: float,
    short: float,
    angle: float,
) -> None:
    """An ellipse with a darker rim and clumps of chromatin, wrapped round the texture's sides."""
    reach = int(long) + 3
    rows, cols = (np.arange(int(centre) - reach, int(centre) + reach + 1) for centre in (y0, x0))
    dy, dx = (rows - y0)[:, None], (cols - x0)[None, :]
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    distance = np.hypot(along / long, across / short)
    cover = np.clip((1 - distance) * short + 0.5, 0, 1)
    where = np.ix_(rows % TEXTURE, cols % TEXTURE)
    depth = rng.uniform(0.5, 0.8) * (
        0.85 + 0.3 * np.clip(1 - np.abs(distance - 0.85) * 5, 0, 1) + 0.17 * chromatin[where]
    )
    for plane, value in ((stain[0], depth), (stain[1], 0.2)):
        plane[where] = plane[where] * (1 - cover) + value * cover


@lru_cache(maxsize=8)
def _between(size: int) -> Field:
    """The matrix that interpolates `size` values from coarse ones, one every `COARSE` and one past the end."""
    place = np.arange(size) / COARSE
    whole = place.astype(int)
    matrix = np.zeros((size, -(-size // COARSE) + 1), np.float32)
    matrix[np.arange(size), whole] = 1 - (place - whole)
    matrix[np.arange(size), whole + 1] += (place - whole).astype(np.float32)
    return matrix


class Tissue:
    """A slide of `width` x `height` pixels, about 40 % of it tissue in two pieces, that can be drawn bit by bit."""

    def __init__(self, width: int, height: int, seed: int = 7) -> None:
        self.width, self.height = width, height
        rng = np.random.default_rng(seed)
        side = float(min(width, height))
        self._textures = _textures(seed)
        self._outline = Waves.random(rng, 24, side / 10, side / 1.6)
        self._glands = Waves.random(rng, 60, 330, 640)
        self._zones = Waves.random(rng, 24, side / 9, side / 3)
        self._stain = Waves.random(rng, 24, side / 16, side / 2)
        # The edge of the tissue is some dozen pixels wide whatever the size of the slide.
        self._sharpness = np.float32(side / 36)

    def _cover(self, x: Places, y: Places) -> Field:
        """Above 0 inside the tissue, below 0 on glass, changing by about 1 in a third of the slide's side."""
        nearest = np.full((len(y), len(x)), -np.inf)
        for centre_x, centre_y, radius_x, radius_y in ((0.36, 0.5, 0.265, 0.355), (0.8, 0.43, 0.12, 0.24)):
            far_x, far_y = (x / self.width - centre_x) / radius_x, (y / self.height - centre_y) / radius_y
            nearest = np.maximum(nearest, 1 - np.hypot(far_x[None, :], far_y[:, None]))
        cover: Field = (nearest + 0.1 * self._outline.at(x, y)).astype(np.float32)
        return cover

    def draw(self, left: int, top: int, width: int, height: int) -> Pixels | None:
        """The pixels of a rectangle, or None where it is nothing but glass."""
        drawn: Pixels | None = None
        for y in range(0, height, PIECE):
            for x in range(0, width, PIECE):
                w, h = min(PIECE, width - x), min(PIECE, height - y)
                piece = self._piece(left + x, top + y, w, h)
                if piece is None:
                    continue
                if drawn is None:
                    if (w, h) == (width, height):
                        return piece
                    drawn = self.glass(width, height)
                drawn[y : y + h, x : x + w] = piece
        return drawn

    def _piece(self, left: int, top: int, width: int, height: int) -> Pixels | None:
        down, across = _between(height), _between(width)
        x = left + np.arange(across.shape[1]) * float(COARSE)
        y = top + np.arange(down.shape[1]) * float(COARSE)
        cover = self._cover(x, y) * self._sharpness
        if cover.max() < -2.5:
            return None

        def fine(coarse: Field) -> Field:
            return np.asarray(down @ coarse @ across.T, np.float32)

        row, col = top % TEXTURE, left % TEXTURE
        here = np.s_[row : row + height, col : col + width]
        ripple = self._textures.ripple[here]
        # Glands lie close together in some parts of the slide and are rare in others.
        gland = fine(self._glands.at(x, y) + 0.55 * self._zones.at(x, y)) + 0.16 * ripple
        stroma = self._textures.stroma[:, *here]
        stain = self._textures.epithelium[:, *here] - stroma
        stain *= _step(gland, 0.42, 0.56)
        stain += stroma
        thinned = fine(1 + 0.13 * self._stain.at(x, y)) * (1 - 0.985 * _step(gland, 1.12, 1.2))
        if cover.min() < 2.5:
            thinned *= _step(fine(cover) + 0.8 * ripple, -0.6, 0.6)
        stain *= thinned
        grain = self._textures.grain[here]
        pixels = np.empty((height, width, 3), np.uint8)
        for channel in range(3):
            value = stain[0] * -HAEMATOXYLIN[channel]
            value -= stain[1] * EOSIN[channel]
            np.exp(value, out=value)
            value *= LIGHT[channel]
            value += grain
            pixels[:, :, channel] = np.clip(value, 0, 255, out=value)
        return pixels

    def glass(self, width: int, height: int) -> Pixels:
        """Nothing but glass, with the little noise that a camera leaves."""
        rows, cols = (np.arange(size) % TEXTURE for size in (height, width))
        grain = self._textures.grain[rows[:, None], cols[None, :]]
        return (LIGHT + grain[:, :, None]).clip(0, 255).astype(np.uint8)
