"""Writes an Aperio-like SVS whose tiles are JPEG 2000 of RGB pixels (TIFF compression 33005)."""

from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from deploy.local.tissue import Tissue

APERIO_RGB = 33005
_LEVEL = 42


def write_jpeg2000_svs(path: Path, width: int, height: int, *, tile: int = 256) -> None:
    """Draws and writes one level of `width` x `height` pixels and a thumbnail."""
    tissue = Tissue(width, height)
    cols, rows = -(-width // tile), -(-height // tile)
    glass = _coded(tissue.glass(tile, tile))

    def tiles() -> Iterator[bytes]:
        for row in range(rows):
            for col in range(cols):
                drawn = tissue.draw(col * tile, row * tile, tile, tile)
                yield glass if drawn is None else _coded(drawn)

    facts = "|AppMag = 20|MPP = 0.4990|Date = 01/02/26|Time = 10:00:00"
    head = (
        f"Aperio Image Library v12.0.15 \r\n{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) J2K/KDU Q={_LEVEL}"
    )
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            tiles(),
            shape=(height, width, 3),
            dtype=np.uint8,
            tile=(tile, tile),
            photometric="rgb",
            compression=APERIO_RGB,
            description=head + facts,
            metadata=None,
            software=False,
        )
        writer.write(
            tissue.glass(64, 64),
            photometric="rgb",
            rowsperstrip=64,
            description=f"Aperio Image Library v12.0.15 \r\n{width}x{height} -> 64x64 - {facts}",
            metadata=None,
            software=False,
        )


def _coded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(pixels), level=_LEVEL, reversible=False, mct=False, codecformat="j2k", numthreads=1
        )
    )
