"""The pixels that the viewer makes itself."""

import numpy as np
import pytest
import simplejpeg

from services.viewer.pixels import background, levels_below


def jpeg(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=95, colorsubsampling="444")
    return encoded


@pytest.mark.parametrize(("width", "height"), [(256, 256), (1, 1), (13, 240), (512, 3)])
def test_background_is_white_in_the_size_asked_for(width: int, height: int) -> None:
    pixels = simplejpeg.decode_jpeg(background(width, height))

    assert (height, width, 3) == pixels.shape
    assert 255 == pixels.min()


@pytest.mark.parametrize(("width", "height"), [(250, 175), (256, 256), (1, 200), (3, 1)])
def test_levels_below_shrink_by_half_rounded_up_until_one_pixel(width: int, height: int) -> None:
    sizes = []
    for level in levels_below(jpeg(np.zeros((height, width, 3), np.uint8))):
        shape = simplejpeg.decode_jpeg(level).shape
        sizes.append((shape[1], shape[0]))

    expected = []
    while max(width, height) > 1:
        width, height = -(-width // 2), -(-height // 2)
        expected.append((width, height))
    assert expected == sizes


def test_a_single_pixel_has_no_levels_below() -> None:
    assert () == levels_below(jpeg(np.zeros((1, 1, 3), np.uint8)))


def test_each_pixel_is_the_mean_of_those_it_stands_for() -> None:
    """A left half of 40 and a right half of 200 end in one pixel of their mean, whatever the encoder rounds."""
    pixels = np.full((64, 64, 3), 40, np.uint8)
    pixels[:, 32:] = 200

    levels = levels_below(jpeg(pixels))
    half = simplejpeg.decode_jpeg(levels[0])
    last = simplejpeg.decode_jpeg(levels[-1])

    assert np.abs(half[:, :16].astype(int) - 40).max() <= 2
    assert np.abs(half[:, 16:].astype(int) - 200).max() <= 2
    assert np.abs(last.astype(int) - 120).max() <= 2


def test_an_odd_last_column_counts_twice() -> None:
    """Three columns of 0, 0, 240: the second column of the next level is 240, not a mean with something beyond."""
    pixels = np.zeros((16, 3, 3), np.uint8)
    pixels[:, 2] = 240

    half = simplejpeg.decode_jpeg(levels_below(jpeg(pixels))[0])

    assert np.abs(half[:, 0].astype(int)).max() <= 3
    assert np.abs(half[:, 1].astype(int) - 240).max() <= 3


def test_grey_tiles_can_be_halved() -> None:
    grey: bytes = simplejpeg.encode_jpeg(np.full((8, 8, 1), 90, np.uint8), colorspace="GRAY", colorsubsampling="Gray")

    assert 90 == pytest.approx(simplejpeg.decode_jpeg(levels_below(grey)[-1]).mean(), abs=2)
