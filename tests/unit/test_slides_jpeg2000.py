"""Which JPEG 2000 tiles may be decoded by themselves."""

import imagecodecs
import numpy as np
import pytest

from shared.slides.jpeg2000 import HEADER_BYTES, channels


def coded(shape: tuple[int, ...], kind: type[np.generic] = np.uint8, codecformat: str = "j2k") -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.zeros(shape, kind), reversible=True, codecformat=codecformat))


def with_steps(*steps: int) -> bytes:
    """A codestream that claims so many pixels across and down for one of each channel; only its header is right."""
    data = bytearray(coded((128, 128, 3)))
    data[43:45], data[46:48], data[49:51] = steps[:2], steps[2:4], steps[4:]
    return bytes(data)


def test_a_codestream_of_three_whole_channels_is_known() -> None:
    assert channels(coded((128, 128, 3))[:HEADER_BYTES], 128) == "whole"


@pytest.mark.parametrize("steps", [(2, 1), (1, 2), (2, 2)])
def test_a_codestream_of_one_whole_and_two_halved_channels_is_known(steps: tuple[int, int]) -> None:
    assert channels(with_steps(1, 1, *steps, *steps)[:HEADER_BYTES], 128) == "halved"


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
        with_steps(1, 1, 2, 1, 1, 1),
        with_steps(2, 1, 2, 1, 2, 1),
        with_steps(1, 1, 4, 1, 4, 1),
    ],
    ids=["16 bits", "grey", "not square", "of another size", "boxed", "cut short", "empty", "uneven", "thin", "4:1:1"],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert channels(data[:HEADER_BYTES], 128) is None
