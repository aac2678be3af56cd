"""Pixels of what the headers here describe, whoever decodes it. Runs only inside decoder children.

Pixels are numpy arrays of shape (height, width, 3), uint8, RGB.
"""

import imagecodecs
import numpy as np
import numpy.typing as npt

from shared.slides.czi import JPEG_XR, NOT_COMPRESSED, ZSTD_WITH_HEADER, Tile

_PLAIN, _WITH_PACKING = 1, 3


def decode_czi(data: bytes, tile: Tile) -> npt.NDArray[np.uint8]:
    """A tile's pixels; of 16 bits the upper eight. ValueError where the data are not such a tile's."""
    shape, kind = (tile.height, tile.width, 3), "<u2" if tile.deep else "u1"
    if tile.compression == JPEG_XR:
        try:
            rgb = imagecodecs.jpegxr_decode(data)
        except imagecodecs.JpegxrError as error:
            raise ValueError("its JPEG XR data can't be decoded") from error
        if rgb.shape != shape or rgb.dtype != np.dtype(kind):
            raise ValueError("it holds another picture than the directory says")
    else:
        bgr = np.frombuffer(_unpacked(data, tile), kind)
        if bgr.size != tile.height * tile.width * 3:
            raise ValueError("it holds another picture than the directory says")
        rgb = bgr.reshape(shape)[:, :, ::-1]
    pixels: npt.NDArray[np.uint8] = (rgb >> 8).astype(np.uint8) if tile.deep else rgb
    return pixels


def _unpacked(data: bytes, tile: Tile) -> bytes:
    """The bytes of the pixels, row by row."""
    if tile.compression == NOT_COMPRESSED:
        return data
    apart = False
    if tile.compression == ZSTD_WITH_HEADER:
        head = data[0] if len(data) > 2 else 0
        if head not in (_PLAIN, _WITH_PACKING) or (head == _WITH_PACKING and data[1:2] != b"\1"):
            raise ValueError("its compression is not described as in any file known")
        apart = head == _WITH_PACKING and bool(data[2] & 1)
        data = data[head:]
    size = tile.width * tile.height * 3 * (2 if tile.deep else 1)
    try:
        unpacked = bytes(imagecodecs.zstd_decode(data, out=size))
    except imagecodecs.ZstdError as error:
        raise ValueError("its Zstandard data can't be unpacked") from error
    if apart:
        # First the lower bytes of all numbers, then the upper ones.
        halves = np.frombuffer(unpacked, np.uint8)
        return np.stack((halves[: size // 2], halves[size // 2 :]), axis=1).tobytes() if len(halves) == size else b""
    return unpacked
