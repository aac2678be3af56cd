"""The peer of the benches: `vips dzsave` by pyvips, in a process of its own, as anybody would run it."""

import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

_DZSAVE = """
import sys, pyvips
pyvips.Image.new_from_file(sys.argv[1], access="sequential").dzsave(
    sys.argv[2], container="zip", Q=75, tile_size=256, overlap=0
)
"""


@dataclass(frozen=True)
class PeerRun:
    """Seconds of wall clock, tiles written and their bytes."""

    seconds: float
    tiles: int
    bytes: int


def dzsave(slide: Path, scratch: Path) -> PeerRun:
    """Makes a Deep Zoom zip of the slide (Q75, 256-pixel tiles, overlap 0) and removes it again."""
    target = scratch / "dzsave.zip"
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _DZSAVE, str(slide), str(target)], check=True)
    seconds = time.perf_counter() - start
    with zipfile.ZipFile(target) as archive:
        tiles = [info for info in archive.infolist() if info.filename.endswith((".jpeg", ".jpg"))]
    target.unlink()
    return PeerRun(seconds, len(tiles), sum(info.file_size for info in tiles))
