"""The peers of the benches, each in a process of its own, as anybody would run it; all write JPEG at Q75, overlap 0."""

import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# libvips writes the same tiles in two ways: with options in the suffix, as its guide to pyramids and most scripts say
# it, by a pipeline a tile; with `Q` as an argument, since 8.15, by a shorter way of more than twice the speed.
_DZSAVE = """
import sys, pyvips
pyvips.Image.new_from_file(sys.argv[1], access="sequential").dzsave(
    sys.argv[2], container="zip", {quality}, tile_size=256, overlap=0
)
"""
# As openslide-python's own deepzoom_tile.py does it: one list of tiles, each worker with the slide open.
_GENERATOR = """
import os, sys
from multiprocessing import Pool
import openslide
from openslide.deepzoom import DeepZoomGenerator

def open_slide():
    global tiles
    tiles = DeepZoomGenerator(openslide.OpenSlide(sys.argv[1]), tile_size=256, overlap=0)

def save(address):
    level, col, row = address
    path = os.path.join(sys.argv[2], str(level), f"{col}_{row}.jpeg")
    tiles.get_tile(level, (col, row)).save(path, quality=75)

open_slide()
addresses = []
for level, (cols, rows) in enumerate(tiles.level_tiles):
    os.makedirs(os.path.join(sys.argv[2], str(level)))
    addresses += [(level, col, row) for row in range(rows) for col in range(cols)]
with Pool(2, open_slide) as pool:
    for _ in pool.imap_unordered(save, addresses, 32):
        pass
"""


@dataclass(frozen=True)
class PeerRun:
    """Seconds of wall clock and of processor time, tiles written and their bytes."""

    seconds: float
    processor: float
    tiles: int
    bytes: int


Peer = Callable[[Path, Path], PeerRun]


@contextmanager
def _target(path: Path) -> Iterator[Path]:
    _remove(path)
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _timed(command: list[str]) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _zipped(times: tuple[float, float], target: Path) -> PeerRun:
    with zipfile.ZipFile(target) as archive:
        tiles = [info for info in archive.infolist() if info.filename.endswith((".jpeg", ".jpg"))]
    return PeerRun(*times, len(tiles), sum(info.file_size for info in tiles))


def _dzsaved(slide: Path, scratch: Path, quality: str) -> PeerRun:
    with _target(scratch / "dzsave.zip") as target:
        script = _DZSAVE.format(quality=quality)
        return _zipped(_timed([sys.executable, "-c", script, str(slide), str(target)]), target)


def dzsave(slide: Path, scratch: Path) -> PeerRun:
    """`vips dzsave --suffix .jpeg[Q=75]` by the libvips of pyvips-binary, into a zip."""
    return _dzsaved(slide, scratch, 'suffix=".jpeg[Q=75]"')


def dzsave_direct(slide: Path, scratch: Path) -> PeerRun:
    """`vips dzsave --Q 75`, its fastest way, by the libvips of pyvips-binary, into a zip."""
    return _dzsaved(slide, scratch, "Q=75")


def debian_dzsave(slide: Path, scratch: Path) -> PeerRun:
    """Debian's `vips dzsave`, which reads slides with OpenSlide, into a zip. Needs the package libvips-tools."""
    with _target(scratch / "debian.zip") as target:
        options = ["--suffix", ".jpeg[Q=75]", "--tile-size", "256", "--overlap", "0"]
        return _zipped(_timed(["vips", "dzsave", str(slide), str(target), *options]), target)


def deepzoom_generator(slide: Path, scratch: Path) -> PeerRun:
    """openslide-python's deep-zoom generator with two processes, into a folder."""
    with _target(scratch / "generated") as target:
        times = _timed([sys.executable, "-c", _GENERATOR, str(slide), str(target)])
        sizes = [entry.stat().st_size for level in os.scandir(target) for entry in os.scandir(level)]
        return PeerRun(*times, len(sizes), sum(sizes))
