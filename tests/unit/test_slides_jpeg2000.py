"""Which JPEG 2000 tiles may be decoded by themselves."""

import imagecodecs
import numpy as np
import pytest

from shared.slides.jpeg2000 import MOST_HEADER_BYTES, is_plain


def coded(shape: tuple[int, ...], kind: type[np.generic] = np.uint8, codecformat: str = "j2k") -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.zeros(shape, kind), reversible=True, codecformat=codecformat))


def test_a_codestream_of_rgb_pixels_is_plain() -> None:
    assert is_plain(coded((128, 128, 3))[:MOST_HEADER_BYTES], 128)


@pytest.mark.parametrize(
    "data",
    [
        coded((128, 128, 3), np.uint16),
        coded((128, 128)),
        coded((128, 120, 3)),
        coded((64, 64, 3)),
        coded((128, 128, 3), codecformat="jp2"),
        coded((128, 128, 3))[:30],
        b"",
    ],
    ids=["16 bits", "grey", "not square", "of another size", "boxed", "cut short", "empty"],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert not is_plain(data[:MOST_HEADER_BYTES], 128)
