"""Draws tissue as a microscope would show it, pixel by pixel from formulas: no photograph is needed.

Haematoxylin and eosin: nuclei violet, fibres pink, glass nearly white. Two seamless textures, one rich in nuclei and
one rich in fibres, are blended by waves far longer than a tile, so that nothing repeats visibly and no tile shows an
edge. Pixels are arrays of shape (height, width, 3), uint8, sRGB. The same seed draws the same slide.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

ATLAS = 1024
GLASS = np.array([243, 242, 244], np.float32)
EOSIN = np.array([228, 158, 188], np.float32)
PALE_EOSIN = np.array([240, 202, 218], np.float32)
NUCLEUS = np.array([96, 62, 132], np.float32)
NUCLEUS_RIM = np.array([70, 42, 108], np.float32)


@dataclass(frozen=True)
class Waves:
    """A smooth field over the slide: a sum of plane waves, each a product of functions of x and of y."""

    kx: Field
    ky: Field
    phase: Field
    weight: Field

    @classmethod
    def random(cls, rng: np.random.Generator, count: int, shortest: float, longest: float) -> "Waves":
        """`count` waves between two wavelengths in pixels; values stay within about -1 to 1."""
        length = np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
        angle = rng.uniform(0, 2 * np.pi, count)
        weight = length / length.sum()
        return cls(
            *(
                values.astype(np.float32)
                for values in (
                    2 * np.pi / length * np.cos(angle),
                    2 * np.pi / length * np.sin(angle),
                    rng.uniform(0, 2 * np.pi, count),
                    weight * 1.4,
                )
            )
        )

    def at(self, x: Field, y: Field) -> Field:
        """Values on the grid of `y` (rows) and `x` (columns): shape (len(y), len(x))."""
        values = np.zeros((len(y), len(x)), np.float32)
        # Wave by wave rather than as a matrix product, whose threads would cost more than they bring.
        for kx, ky, phase, weight in zip(self.kx, self.ky, self.phase, self.weight, strict=True):
            down = ky * y + phase
            values += np.multiply.outer(np.sin(down) * weight, np.cos(kx * x))
            values += np.multiply.outer(np.cos(down) * weight, np.sin(kx * x))
        return values


def _periodic_noise(rng: np.random.Generator, low: float, high: float, stretch: float = 1.0) -> Field:
    """Noise that tiles seamlessly, with waves of `low` to `high` a texture side; mean 0, deviation 1."""
    frequency = np.fft.fftfreq(ATLAS, 1 / ATLAS)
    radius = np.hypot(frequency[:, None] * stretch, frequency[None, :])
    band = np.exp(-((np.log((radius + 1e-6) / np.sqrt(low * high)) / np.log(high / low)) ** 2) * 4)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((ATLAS, ATLAS))) * band).real
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def _texture(rng: np.random.Generator, nuclei: int, fibre: float, pale: float) -> Field:
    """One seamless texture as float RGB."""
    waviness = _periodic_noise(rng, 6, 60, stretch=3.0)
    grain = _periodic_noise(rng, 120, 400)
    share = np.clip(pale + 0.28 * waviness * fibre + 0.06 * grain, 0, 1)[:, :, None]
    pixels = EOSIN * (1 - share) + PALE_EOSIN * share
    lumen = np.clip((_periodic_noise(rng, 3, 12) - 1.45) * 2.5, 0, 1)[:, :, None]
    pixels = pixels * (1 - lumen) + GLASS * lumen
    chromatin = _periodic_noise(rng, 150, 450)
    for _ in range(nuclei):
        _draw_nucleus(pixels, chromatin, rng)
    pixels += 2.2 * _periodic_noise(rng, 250, 500)[:, :, None]
    return pixels.astype(np.float32)


def _draw_nucleus(pixels: npt.NDArray[np.floating], chromatin: Field, rng: np.random.Generator) -> None:
    """An ellipse with a darker rim and grainy chromatin, wrapped round the texture's sides."""
    long, short = rng.uniform(7, 13), rng.uniform(5, 8)
    angle = rng.uniform(0, np.pi)
    reach = int(long) + 3
    y0, x0 = rng.integers(0, ATLAS, 2)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = -dx * np.sin(angle) + dy * np.cos(angle)
    distance = np.hypot(along / long, across / short)
    cover = np.clip((1.08 - distance) * 5, 0, 1)[:, :, None] * rng.uniform(0.72, 0.95)
    rim = np.clip(1 - np.abs(distance - 0.9) * 6, 0, 1)[:, :, None]
    rows, cols = (y0 + np.arange(-reach, reach + 1)) % ATLAS, (x0 + np.arange(-reach, reach + 1)) % ATLAS
    where = np.ix_(rows, cols)
    colour = NUCLEUS * (1 - rim) + NUCLEUS_RIM * rim + 13 * chromatin[where][:, :, None]
    pixels[where] = pixels[where] * (1 - cover) + colour * cover


@dataclass(frozen=True)
class Tissue:
    """A whole slide of `width` x `height` pixels that can be drawn piece by piece."""

    width: int
    height: int
    seed: int = 7

    @cached_property
    def _textures(self) -> tuple[Field, Field]:
        rng = np.random.default_rng(self.seed)
        return _texture(rng, 1500, 0.7, 0.3), _texture(rng, 330, 1.3, 0.45)

    @cached_property
    def _waves(self) -> tuple[Waves, Waves, Waves]:
        rng = np.random.default_rng(self.seed + 1)
        side = float(min(self.width, self.height))
        return (
            Waves.random(rng, 9, side / 14, side / 2),
            Waves.random(rng, 12, 700, 6000),
            Waves.random(rng, 8, 900, 9000),
        )

    def cover(self, x: Field, y: Field) -> Field:
        """How far inside the tissue a point lies: above 0 inside, below 0 on glass. Two pieces with frayed edges."""
        outline = self._waves[0].at(x, y)
        best: Field | None = None
        for cx, cy, rx, ry in ((0.36, 0.5, 0.3, 0.4), (0.79, 0.44, 0.14, 0.27)):
            fx = ((x / self.width - cx) / rx) ** 2
            fy = ((y / self.height - cy) / ry) ** 2
            piece: Field = (1 - fx[None, :] - fy[:, None] + 0.55 * outline).astype(np.float32)
            best = piece if best is None else np.maximum(best, piece)
        assert best is not None
        return best

    def draw(self, left: int, top: int, width: int, height: int) -> Pixels | None:
        """The pixels of a rectangle, or None where it is nothing but glass."""
        x = np.arange(left, left + width, dtype=np.float32)
        y = np.arange(top, top + height, dtype=np.float32)
        if float(self.cover(x[::16], y[::16]).max()) < -0.08:
            return None
        inside = self.cover(x, y)
        # The edge is a few dozen pixels wide whatever the slide's size.
        share = np.clip(inside * min(self.width, self.height) / 60 + 0.5, 0, 1)[:, :, None]
        blend = np.clip(0.5 + 1.1 * self._waves[1].at(x, y), 0, 1)[:, :, None]
        shade = (1 + 0.07 * self._waves[2].at(x, y))[:, :, None]
        rows, cols = np.arange(top, top + height) % ATLAS, np.arange(left, left + width) % ATLAS
        cells, fibres = (texture[rows[:, None], cols[None, :]] for texture in self._textures)
        tissue = (cells * blend + fibres * (1 - blend)) * shade
        drawn: Pixels = np.clip(tissue * share + GLASS * (1 - share), 0, 255).astype(np.uint8)
        return drawn

    def glass(self, width: int, height: int) -> Pixels:
        """Nothing but glass, with the little noise that a camera leaves."""
        noise = np.random.default_rng(self.seed + 2).integers(-1, 2, (height, width, 1))
        return np.clip(GLASS + noise, 0, 255).astype(np.uint8)
