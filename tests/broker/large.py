"""A slide of many dice and fold blocks that is written in a second: noise, which JPEG hardly makes smaller."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile

TILE = 512
COLS, ROWS = 20, 16
KINDS = 29


def write_large(path: Path) -> None:
    """10 240 x 8192 pixels in about 180 MB; neighbouring tiles always differ."""
    random = np.random.default_rng(1)
    tiles = [
        simplejpeg.encode_jpeg(
            random.integers(0, 256, (TILE, TILE, 3), np.uint8), quality=95, colorspace="RGB", colorsubsampling="444"
        )
        for _ in range(KINDS)
    ]

    def segments() -> Iterator[bytes]:
        for row in range(ROWS):
            for col in range(COLS):
                yield tiles[(7 * row + col) % KINDS]

    with tifffile.TiffWriter(path) as writer:
        writer.write(
            segments(),
            shape=(ROWS * TILE, COLS * TILE, 3),
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="ycbcr",
            compression="jpeg",
            subsampling=(1, 1),
            description=f"Aperio Image Library v12.0.15 \r\n{COLS * TILE}x{ROWS * TILE} ({TILE}x{TILE}) JPEG/RGB Q=95",
            metadata=None,
            software=False,
        )
