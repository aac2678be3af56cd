"""Small slides, each unlike every other, as fast as they can be made."""

import io
import itertools
import threading

import numpy as np
import tifffile

from deploy.local.tissue import Tissue

SIDE = 512
TILE = 256
_MOSAIC = 2048


class SmallSlides:
    """TIFFs of 512 x 512 pixels in JPEG tiles, of some tens of KB: pieces of one drawn tissue at ever other places."""

    def __init__(self) -> None:
        tissue = Tissue(_MOSAIC, _MOSAIC)
        drawn = tissue.draw(0, 0, _MOSAIC, _MOSAIC)
        self._mosaic = tissue.glass(_MOSAIC, _MOSAIC) if drawn is None else drawn
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def next(self) -> bytes:
        """One more of them. May be called from any thread."""
        with self._lock:
            n = next(self._numbers)
        places = _MOSAIC - SIDE
        top, left = n * 7 % places, n // places * 13 % places
        pixels = np.ascontiguousarray(self._mosaic[top : top + SIDE, left : left + SIDE])
        file = io.BytesIO()
        tifffile.imwrite(
            file,
            pixels,
            photometric="rgb",
            tile=(TILE, TILE),
            compression="jpeg",
            compressionargs={"level": 80},
            # No two of them have the same bytes.
            description=f"Slide {n}",
            metadata=None,
        )
        return file.getvalue()
