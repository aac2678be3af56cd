"""The slide that this child had open last.

Opening one that consists of very many pictures takes longer than cutting a block of it, and a child is given block
after block of one slide.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import openslide

_kept: dict[tuple[str, int], openslide.OpenSlide] = {}


@contextmanager
def opened(path: str) -> Iterator[openslide.OpenSlide]:
    """The slide, by OpenSlide. It stays open afterwards, until another one is wanted or it could not be read."""
    key = (path, os.stat(path).st_ino)
    if key not in _kept:
        _close()
        _kept[key] = openslide.OpenSlide(path)
    try:
        yield _kept[key]
    except BaseException:
        # OpenSlide gives the same error for whatever is asked after the first one.
        _close()
        raise


def _close() -> None:
    for slide in _kept.values():
        slide.close()
    _kept.clear()
