"""Writes an Aperio-like SVS whose tiles are JPEG 2000 of RGB or YCbCr pixels (TIFF compression 33005, 33003)."""

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image

from deploy.local.tissue import Pixels, Tissue

APERIO_YCBCR, APERIO_RGB = 33003, 33005
_LEVEL = 42
# Channel by channel, T.800 table A.16.
_CPRL = 4
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
    steps: tuple[int, int] = (1, 1),
    wild: bool = False,
) -> None:
    """Draws and writes one level of `width` x `height` pixels and a thumbnail; stored as YCbCr or RGB.

    `steps` are how many pixels across and down share one of the two chroma channels of YCbCr. With `wild` the tiles in
    YCbCr hold any values, also such as make no colour.
    `profile` is one of those that libvips knows by name: the pixels are then stored in its colours. `broken` puts
    nonsense in the place of a profile.
    """
    tissue = Tissue(width, height)
    embedded = b"no profile at all" * 20 if broken else None
    if profile is not None:
        embedded = _in_colours_of(profile, tissue.glass(1, 1)).get("icc-profile-data")
    cols, rows = -(-width // tile), -(-height // tile)
    coded = partial(_halved, steps=steps, wild=wild) if steps != (1, 1) else partial(_coded, ycbcr=ycbcr, wild=wild)
    glass = coded(tissue.glass(tile, tile))

    def tiles() -> Iterator[bytes]:
        for row in range(rows):
            for col in range(cols):
                drawn = tissue.draw(col * tile, row * tile, tile, tile)
                if drawn is None:
                    yield glass
                else:
                    yield coded(drawn if profile is None else _in_colours_of(profile, drawn).numpy())

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


def _ycbcr(pixels: Pixels, wild: bool) -> Pixels:
    if wild:
        return np.random.default_rng(5).integers(0, 256, pixels.shape, np.uint8)
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


def _coded(pixels: Pixels, ycbcr: bool, wild: bool) -> bytes:
    if ycbcr:
        pixels = _ycbcr(pixels, wild)
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(pixels), level=_LEVEL, reversible=False, mct=False, codecformat="j2k", numthreads=1
        )
    )


class _Channel(NamedTuple):
    """A codestream of one channel: its SIZ, COD and QCD segments without markers and lengths, and its packets."""

    size: bytes
    coding: bytes
    quantisation: bytes
    packets: bytes


def _halved(pixels: Pixels, steps: tuple[int, int], wild: bool) -> bytes:
    """One codestream of whole luma and halved chroma, which no encoder at hand writes.

    Each channel is coded by itself. In the order of ITU-T T.800 that goes channel by channel (CPRL, A.6.1), packets of
    one precinct a resolution simply follow each other, as those of a codestream of one channel do.
    """
    luma, blue, red = np.ascontiguousarray(_ycbcr(pixels, wild).transpose(2, 0, 1))
    height, width = luma.shape
    across, down = steps
    small = [
        plane.reshape(height // down, down, width // across, across).mean((1, 3)).round().astype(np.uint8)
        for plane in (blue, red)
    ]
    channels = [_channel(plane) for plane in (luma, *small)]
    assert len({channel.coding[5:] for channel in channels}) == 1
    assert len({channel.quantisation for channel in channels}) == 1
    size = channels[0].size[:34] + struct.pack(">H9B", 3, 7, 1, 1, 7, *steps, 7, *steps)
    coding = channels[0].coding[:1] + struct.pack(">BHB", _CPRL, 1, 0) + channels[0].coding[5:]
    packets = b"".join(channel.packets for channel in channels)
    head = b"\xff\x4f" + _segment(0x51, size) + _segment(0x52, coding) + _segment(0x5C, channels[0].quantisation)
    part = struct.pack(">HIBB", 0, 12 + 2 + len(packets), 0, 1)
    return head + _segment(0x90, part) + b"\xff\x93" + packets + b"\xff\xd9"


def _channel(plane: Pixels) -> _Channel:
    data = bytes(imagecodecs.jpeg2k_encode(plane, reversible=True, resolutions=4, codecformat="j2k", numthreads=1))
    found: dict[int, bytes] = {}
    at = 2
    while data[at + 1] != 0x93:
        (length,) = struct.unpack_from(">H", data, at + 2)
        found[data[at + 1]] = data[at + 4 : at + 2 + length]
        at += 2 + length
    assert data.endswith(b"\xff\xd9")
    return _Channel(found[0x51], found[0x52], found[0x5C], data[at + 2 : -2])


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
