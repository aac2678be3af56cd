"""What is compared: a slide or picture, the peers that it is compared with, and by how much slidemill means to win."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from deploy.local.sample import write_svs
from deploy.local.tissue import Tissue
from tests.bench.peer import Peer, debian_dzsave, deepzoom_generator, dzsave, dzsave_direct
from tests.slides.jpeg2000 import write_jpeg2000_svs

_STRIP = 512


@dataclass(frozen=True)
class Case:
    """A row of the table. `write` makes the file; `peers` gives each peer the ratio that is aimed at,
    None where none was set.

    Without peers only memory is measured; `latency` says that the time from the last byte to ready is what counts.
    """

    file: str
    width: int
    height: int
    write: Callable[[Path], None]
    peers: tuple[tuple[Peer, float | None], ...] = ()
    latency: bool = False

    @property
    def megapixels(self) -> float:
        """Size of the picture."""
        return self.width * self.height / 1e6

    def make(self, folder: Path) -> Path:
        """The file, made once; free disk is checked first."""
        path = folder / self.file
        if not path.exists():
            wanted = 4 * max(self.width * self.height // 2, 2**20)
            if shutil.disk_usage(folder).free < wanted:
                sys.exit(f"{folder} has too little free disk for {self.file}: free {wanted:,} bytes.")
            partial_path = path.with_name(f".{path.name}")
            self.write(partial_path)
            partial_path.rename(path)
        return path


def _dzsaves(aim: float | None) -> tuple[tuple[Peer, float | None], ...]:
    """Both ways of dzsave; aims were set by the one that its guide shows."""
    return (dzsave, aim), (dzsave_direct, None)


def _svs(width: int, height: int, quality: int, peers: tuple[tuple[Peer, float | None], ...] = ()) -> Case:
    write = partial(write_svs, width=width, height=height, quality=quality, bigtiff=True)
    return Case(f"bench-{width}x{height}-q{quality}.svs", width, height, write, peers)


def _write_plain(path: Path, *, width: int, height: int) -> None:
    """A plain JPEG or PNG of tissue."""
    tissue = Tissue(width, height)
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        for top in range(0, height, _STRIP):
            rows = min(_STRIP, height - top)
            strip = np.empty((rows, width, 3), np.uint8)
            for left in range(0, width, _STRIP):
                cols = min(_STRIP, width - left)
                drawn = tissue.draw(left, top, cols, rows)
                strip[:, left : left + cols] = tissue.glass(cols, rows) if drawn is None else drawn
            file.write(strip.tobytes())
    try:
        pyvips.Image.rawload(str(raw), width, height, 3, access="sequential").write_to_file(str(path))
    finally:
        raw.unlink()


def _plain(suffix: str, side: int) -> Case:
    write = partial(_write_plain, width=side, height=side)
    return Case(f"bench-{side}.{suffix}", side, side, write, _dzsaves(1.0))


CASES = {
    "svs-23000": _svs(23_000, 16_500, 80, _dzsaves(4.0)),
    "svs-60000": _svs(60_000, 45_000, 70, _dzsaves(3.0)),
    "jpeg2000-16000": Case(
        "bench-16000x12000-jpeg2000.svs",
        16_000,
        12_000,
        partial(write_jpeg2000_svs, width=16_000, height=12_000),
        ((debian_dzsave, 1.5), (deepzoom_generator, 2.0)),
    ),
    "jpeg-20000": _plain("jpg", 20_000),
    "png-20000": _plain("png", 20_000),
    "one-tile": Case("bench-one-tile.png", 200, 200, partial(_write_plain, width=200, height=200), latency=True),
    "svs-120000": _svs(120_000, 100_000, 60),
}
QUICK = ("svs-23000",)


def own(slide: Path) -> Case:
    """A case for somebody's own file, which libvips must be able to read."""
    image: Any = pyvips.Image.new_from_file(str(slide), access="sequential")
    return Case(slide.name, image.width, image.height, lambda path: None, _dzsaves(None))
