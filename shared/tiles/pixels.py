"""How a level is made of the one below it, whoever makes it. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, sRGB.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
_BAND_BYTES = 2**20

cv2.setNumThreads(1)


def halve(pixels: Pixels, level: int) -> Pixels:
    """The 2 x 2 box mean that makes `level`; an odd last row or column counts twice.

    OpenCV rounds halves up, an eighth of a grey level on average. Every other level rounds them down, on the negative,
    so that a high pyramid does not grow brighter from level to level.
    """
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = _uint8(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))
    height, width = pixels.shape[:2]
    halved = np.empty((height // 2, width // 2, 3), np.uint8)
    # In bands, so that no copy of the whole is made.
    step = max(2, _BAND_BYTES // (width * 3) & ~1)
    for top in range(0, height, step):
        band = pixels[top : top + step]
        halved[top // 2 : (top + len(band)) // 2] = ~_box_mean(~band) if level % 2 == 1 else _box_mean(band)
    return halved


def _box_mean(pixels: Pixels) -> Pixels:
    return _uint8(cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA))


def _uint8(pixels: Any) -> Pixels:
    """OpenCV keeps the type of its input, which its stubs don't know."""
    same: Pixels = pixels
    return same
