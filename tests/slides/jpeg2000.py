"""Writes an Aperio-like SVS whose tiles are JPEG 2000 of RGB pixels (TIFF compression 33005)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image

from deploy.local.tissue import Pixels, Tissue

APERIO_YCBCR, APERIO_RGB = 33003, 33005
_LEVEL = 42
_PROFILE = 34675


def write_jpeg2000_svs(
    path: Path,
    width: int,
    height: int,
    *,
    tile: int = 256,
    profile: str | None = None,
    broken: bool = False,
    ycbcr: bool = False,
) -> None:
    """Draws and writes one level of `width` x `height` pixels and a thumbnail; stored as YCbCr or RGB.

    `profile` is one of those that libvips knows by name: the pixels are then stored in its colours. `broken` puts
    nonsense in the place of a profile.
    """
    tissue = Tissue(width, height)
    embedded = b"no profile at all" * 20 if broken else None
    if profile is not None:
        embedded = _in_colours_of(profile, tissue.glass(1, 1)).get("icc-profile-data")
    cols, rows = -(-width // tile), -(-height // tile)
    glass = _coded(tissue.glass(tile, tile), ycbcr)

    def tiles() -> Iterator[bytes]:
        for row in range(rows):
            for col in range(cols):
                drawn = tissue.draw(col * tile, row * tile, tile, tile)
                if drawn is None:
                    yield glass
                else:
                    yield _coded(drawn if profile is None else _in_colours_of(profile, drawn).numpy(), ycbcr)

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
            photometric="ycbcr" if ycbcr else "rgb",
            subsampling=(1, 1) if ycbcr else None,
            compression=APERIO_YCBCR if ycbcr else APERIO_RGB,
            description=head + facts,
            metadata=None,
            software=False,
            extratags=[] if embedded is None else [(_PROFILE, 7, None, embedded, True)],
        )
        writer.write(
            tissue.glass(64, 64),
            photometric="rgb",
            rowsperstrip=64,
            description=f"Aperio Image Library v12.0.15 \r\n{width}x{height} -> 64x64 - {facts}",
            metadata=None,
            software=False,
        )


def _in_colours_of(profile: str, pixels: Pixels) -> Any:
    image: Any = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    return image.icc_transform(profile, input_profile="srgb", intent="relative")


def _coded(pixels: Pixels, ycbcr: bool) -> bytes:
    if ycbcr:
        pixels = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(pixels), level=_LEVEL, reversible=False, mct=False, codecformat="j2k", numthreads=1
        )
    )
