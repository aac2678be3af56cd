"""`make bench`: slidemill against `vips dzsave` on the same slide in the same run, alternating.

slidemill's time runs from file-complete (the file is in GridFS and proven) to pyramid-built (the last tile is
acknowledged by majority and journal), as the image's own stage times say. The file is warm for both.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.local.sample import write_svs
from tests.bench.memory import MemoryWatch
from tests.bench.peer import PeerRun, dzsave

ROOT = Path(__file__).resolve().parents[2]


def slidemill(data: Path, *words: str) -> Any:
    """Runs one command of the launcher and returns its JSON."""
    done = subprocess.run(
        [ROOT / "slidemill", *words, "--data", str(data), "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout) if done.stdout.strip() else None


def seconds_between(image: dict[str, Any]) -> float:
    """From file-complete to pyramid-built."""
    start, end = image["stages"]["upload"]["ended"], image["stages"]["fold"]["ended"]
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def make_slide(folder: Path, width: int, height: int, quality: int) -> Path:
    """The bench's slide, drawn once; free disk is checked first."""
    path = folder / f"bench-{width}x{height}-q{quality}.svs"
    if not path.exists():
        wanted = width * height // 2
        if shutil.disk_usage(folder).free < 4 * wanted:
            sys.exit(f"{folder} has too little free disk for a slide of {width} x {height}: free {4 * wanted:,} bytes.")
        partial = path.with_suffix(".partial.svs")
        write_svs(partial, width, height, quality=quality)
        partial.rename(path)
    return path


def warm(path: Path) -> None:
    """Reads the file once, so that neither side pays for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def run_once(data: Path, slide: Path) -> dict[str, Any]:
    """Uploads the slide and waits until it is ready; returns the image object."""
    done = slidemill(data, "upload", str(slide), "--session", "bench", "--wait")
    image: dict[str, Any] = done["images"][0]
    return image


def main() -> None:
    """Prints times, the ratio, tile counts and bytes of both, and the memory of each service."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=23000)
    parser.add_argument("--height", type=int, default=16500)
    parser.add_argument("--quality", type=int, default=80, help="JPEG quality of the slide's own tiles")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", default="dicer=1,pyramid=1")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    slide = make_slide(options.folder, options.width, options.height, options.quality)
    data = options.folder / "stack"
    shutil.rmtree(data, ignore_errors=True)
    subprocess.run(
        [ROOT / "slidemill", "up", "--detach", "--workers", options.workers, "--data", str(data)],
        check=True,
        stdout=sys.stderr,
    )
    try:
        compare(data, slide, options.pairs, options.width * options.height / 1e6)
    finally:
        subprocess.run([ROOT / "slidemill", "down", "--data", str(data)], check=True, stdout=sys.stderr)
        shutil.rmtree(data, ignore_errors=True)


def compare(data: Path, slide: Path, pairs: int, megapixels: float) -> None:
    """Alternates the two on the same slide and prints the table."""
    services = {entry["name"]: entry["pid"] for entry in slidemill(data, "status")["services"]}
    ours: list[float] = []
    peers: list[PeerRun] = []
    image: dict[str, Any] = {}
    with MemoryWatch(services) as memory:
        for pair in range(1, pairs + 1):
            warm(slide)
            image = run_once(data, slide)
            ours.append(seconds_between(image))
            # What the last upload left to write back is not the peer's to pay for.
            time.sleep(2)
            warm(slide)
            peers.append(dzsave(slide, data))
            print(
                f"pair {pair}: slidemill {ours[-1]:6.2f} s  dzsave {peers[-1].seconds:6.2f} s"
                f"  ratio {peers[-1].seconds / ours[-1]:.2f}",
                flush=True,
            )
    dice, fold = image["stages"]["dice"], image["stages"]["fold"]
    stage_times = [
        (datetime.fromisoformat(stage["ended"]) - datetime.fromisoformat(stage["started"])).total_seconds()
        for stage in (dice, fold)
    ]
    ratio = statistics.median(peer.seconds for peer in peers) / statistics.median(ours)
    print(f"slide:     {slide.name}, {megapixels:.0f} Mpixel, {slide.stat().st_size / 1e6:.0f} MB")
    print(f"slidemill: median {statistics.median(ours):.2f} s, {megapixels / statistics.median(ours):.0f} Mpixel/s")
    print(f"           last run: dice {stage_times[0]:.2f} s, fold {stage_times[1]:.2f} s")
    print(f"           {image['tiles']['stored']} tiles stored, base {image['base']}")
    peer_median = statistics.median(peer.seconds for peer in peers)
    print(f"dzsave:    median {peer_median:.2f} s, {megapixels / peer_median:.0f} Mpixel/s")
    print(f"           {peers[-1].tiles} tiles, {peers[-1].bytes / 1e6:.0f} MB")
    print(f"ratio:     {ratio:.2f}")
    for name, peak in memory.peaks.items():
        print(f"memory:    {name} with children at most {peak / 1e6:.0f} MB resident")


if __name__ == "__main__":
    main()
