"""Files that are damaged, or that people take for slides or pictures that are read: each with what is said of it."""

import struct
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests.slides.jpeg2000 import write_jpeg2000_svs
from tests.slides.ndpi import write_ndpi
from tests.slides.plain import picture

_ENDS_EARLY = "can't be read: its data end too early or are damaged in the middle"
_RARE = (
    "can't be read: it is JPEG of a rare kind (lossless, hierarchical or of more than 8 bits), or its header is damaged"
)
_NOT_READ = "can't be read: its pixels are stored in a way that slidemill does not read"
_HEADER = "can't be read: its header is damaged"


def _coded(form: str) -> bytes:
    held = BytesIO()
    Image.fromarray(picture()).save(held, form)
    return held.getvalue()


def _cut(form: str, share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes((data := _coded(form))[: int(len(data) * share)])


def _patched(form: str, marker: bytes, skip: int, patch: bytes) -> Callable[[Path], object]:
    """With other bytes so many behind the first `marker`."""

    def write(path: Path) -> None:
        data = bytearray(_coded(form))
        at = data.index(marker) + skip
        data[at : at + len(patch)] = patch
        path.write_bytes(data)

    return write


def _png_of_size(width: int, height: int) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        data = bytearray(_coded("PNG"))
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        path.write_bytes(data)

    return write


def _picture_as(form: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(_coded(form))


def _tiff(path: Path, tag: str, value: object, **options: object) -> None:
    tifffile.imwrite(path, picture(), photometric="rgb", metadata=None, **options)  # type: ignore[arg-type]
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags[tag].overwrite(value)


def _svs(path: Path, compression: int) -> None:
    write_jpeg2000_svs(path, 300, 280)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags["Compression"].overwrite(compression)


def _within(path: Path, **options: object) -> None:
    """A small picture, and in a directory that it names a large one."""
    with tifffile.TiffWriter(path) as file:
        small = np.ascontiguousarray(picture()[::4, ::4])
        file.write(small, photometric="rgb", subifds=1, metadata=None, **options)  # type: ignore[arg-type]
        file.write(picture(), photometric="rgb", metadata=None)


def write_progressive_tile(path: Path) -> None:
    """An SVS of baseline JPEG but for its second tile."""
    pixels = picture(768, 256)
    tiles = []
    for col in range(3):
        held = BytesIO()
        tile = Image.fromarray(np.ascontiguousarray(pixels[:, col * 256 : col * 256 + 256]))
        tile.save(held, "JPEG", progressive=col == 1)
        tiles.append(held.getvalue())
    options: dict[str, Any] = {"photometric": "ycbcr", "subsampling": (2, 2), "compression": "jpeg", "metadata": None}
    said = "Aperio Image Library v12.0.15 \r\n768x256 [0,0 768x256] (256x256) JPEG/RGB Q=75"
    # The first, the middle and the last one are looked at beforehand.
    tifffile.imwrite(
        path, iter(tiles * 2), shape=(512, 768, 3), dtype=np.uint8, tile=(256, 256), description=said, **options
    )


def _hole(path: Path) -> None:
    write_ndpi(path)
    data = path.read_bytes()
    at = data.index(b"\xff\xda") + 4000
    path.write_bytes(data[:at] + bytes(2000) + data[at + 2000 :])


# What writes each, under its name, and what is said behind that name.
ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut.jpg": (_cut("JPEG", 0.5), _ENDS_EARLY),
    "cut.png": (_cut("PNG", 0.9), _ENDS_EARLY),
    "cut.webp": (_cut("WEBP", 0.9), _ENDS_EARLY),
    "hole.ndpi": (_hole, _ENDS_EARLY),
    "12-bits.jpg": (
        lambda path: path.write_bytes(imagecodecs.jpeg_encode(picture().astype(np.uint16) << 4, bitspersample=12)),
        _RARE,
    ),
    "lossless.jpg": (
        lambda path: path.write_bytes(imagecodecs.ljpeg_encode(picture()[:, :, 0].astype(np.uint16))),
        _RARE,
    ),
    "hierarchical.jpg": (_patched("JPEG", b"\xff\xc0", 1, b"\xc5"), _RARE),
    "no-height.jpg": (_patched("JPEG", b"\xff\xc0", 5, b"\0\0"), _HEADER),
    "absurd.jpg": (
        _patched("JPEG", b"\xff\xc0", 5, b"\xff\xff\xff\xff"),
        "can't be read: its header claims a size that can't be right",
    ),
    "absurd.png": (_png_of_size(2**31 - 1, 2**31 - 1), _HEADER),
    "no-width.tif": (
        partial(_tiff, tag="ImageWidth", value=0),
        "is damaged: its directory 1 claims an image of 0 x 530 pixels",
    ),
    "large-tiles.tif": (
        partial(_tiff, tag="TileLength", value=65520, tile=(640, 640), compression="lzw"),
        "can't be read: its tiles of 640 x 65520 pixels are larger than the 4,194,304 that can be decoded safely",
    ),
    "raw.dng": (
        partial(_within, extratags=[(50706, 1, 4, bytes([1, 4, 0, 0]), True)]),
        "is a raw photograph (DNG), of which only a small picture could be shown",
    ),
    "within.tif": (
        _within,
        "holds a picture of 700 x 530 pixels inside of a smaller one, where slidemill does not look",
    ),
    "lerc.svs": (partial(_svs, compression=34887), _NOT_READ),
    "preview.vsi": (
        lambda path: tifffile.imwrite(path, picture(), photometric="rgb"),
        "is only one file of a slide that consists of several",
    ),
    "animated.gif": (_picture_as("GIF"), "is a GIF image, which slidemill does not read"),
    "picture.bmp": (_picture_as("BMP"), "is a BMP image, which slidemill does not read"),
    "picture.pdf": (_picture_as("PDF"), "is a PDF document, which slidemill does not read"),
    "picture.avif": (
        lambda path: path.write_bytes(imagecodecs.avif_encode(picture(32, 32))),
        "is an AVIF image, which slidemill does not read",
    ),
    "picture.jxl": (
        lambda path: path.write_bytes(imagecodecs.jpegxl_encode(picture(32, 32))),
        "is a JPEG XL image, which slidemill does not read",
    ),
    "picture.tga": (_picture_as("TGA"), "is no image that slidemill can read, whatever its name says"),
}
