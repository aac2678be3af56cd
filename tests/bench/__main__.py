"""`make bench`: slidemill against its peers on the same file in the same run, alternating.

slidemill's time runs from file-complete (the file is in GridFS and proven) to pyramid-built (the last tile is
acknowledged by majority and journal), as the image's own stage times say. The file is warm for both. Beside the wall
clock stands processor time, of the services and servers that worked on it as of the peer: on a machine that others use
as well it is what can be compared.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from deploy.local.layout import DATABASE
from shared.tiles.keys import version_range
from tests.bench.cases import CASES, QUICK, Case, own
from tests.bench.peer import Peer, PeerRun
from tests.bench.watch import Watch

ROOT = Path(__file__).resolve().parents[2]
LATENCY_RUNS = 50
STAGES = ("dice", "fold", "finish")


def slidemill(data: Path, *words: str) -> Any:
    """Runs one command of the launcher and returns its JSON."""
    done = subprocess.run(
        [ROOT / "slidemill", *words, "--data", str(data), "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout) if done.stdout.strip() else None


def moment(image: dict[str, Any], stage: str, end: str) -> float:
    """A stage's `started` or `ended`, in seconds of the clock."""
    return datetime.fromisoformat(image["stages"][stage][end]).timestamp()


def seconds_between(image: dict[str, Any]) -> float:
    """From file-complete to pyramid-built."""
    return moment(image, "fold", "ended") - moment(image, "upload", "ended")


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


@dataclass
class Runs:
    """What was measured of one case: images as they were in the end, processor seconds by process, runs by peer."""

    images: list[dict[str, Any]] = field(default_factory=list)
    processor: list[dict[str, float]] = field(default_factory=list)
    peers: dict[str, list[PeerRun]] = field(default_factory=dict)


def tile_bytes(mongodb: str, image: str) -> int:
    """The bytes of all tiles of an image's first version."""
    keys = version_range(image, 1)
    stages: list[dict[str, Any]] = [
        {"$match": {"_id": {"$gte": keys.first, "$lte": keys.last}}},
        {"$group": {"_id": None, "bytes": {"$sum": {"$binarySize": "$d"}}}},
    ]
    with MongoClient[dict[str, Any]](mongodb) as client:
        [total] = client[DATABASE]["tiles"].aggregate(stages)
    return int(total["bytes"])


def measure(data: Path, slide: Path, peers: Sequence[Peer], pairs: int, watch: Watch) -> Runs:
    """Alternates slidemill and its peers on the same file."""
    runs = Runs()
    for pair in range(1, pairs + 1):
        warm(slide)
        image = run_once(data, slide)
        runs.images.append(image)
        # What the last upload left to write back is not the peer's to pay for.
        time.sleep(2)
        runs.processor.append(watch.seconds(moment(image, "upload", "ended"), moment(image, "fold", "ended")))
        line = f"pair {pair}: slidemill {seconds_between(image):6.2f} s"
        for peer in peers:
            warm(slide)
            run = peer(slide, data)
            runs.peers.setdefault(peer.__name__, []).append(run)
            line += f"  {peer.__name__} {run.seconds:6.2f} s, ratio {run.seconds / seconds_between(image):.2f}"
        print(line, flush=True)
    return runs


def report(case: Case, slide: Path, runs: Runs, mongodb: str) -> None:
    """Prints times, ratios, tile counts and bytes of all."""
    image = runs.images[-1]
    ours = statistics.median(seconds_between(one) for one in runs.images)
    used = {name: statistics.median(run[name] for run in runs.processor) for name in runs.processor[0]}
    stages = {
        stage: statistics.median(moment(one, stage, "ended") - moment(one, stage, "started") for one in runs.images)
        for stage in STAGES
    }
    print(f"file:      {slide.name}, {case.megapixels:.0f} Mpixel, {slide.stat().st_size / 1e6:.0f} MB")
    print(f"slidemill: median {ours:.2f} s, {case.megapixels / ours:.0f} Mpixel/s, base {image['base']}")
    print(f"           {', '.join(f'{stage} {seconds:.2f} s' for stage, seconds in stages.items())}")
    print(f"           {image['tiles']['stored']} tiles, {tile_bytes(mongodb, image['id']) / 1e6:.0f} MB")
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in used.items() if seconds >= 0.01)
    print(f"           processor {sum(used.values()):.2f} s: {parts}")
    for (peer, aim), peer_runs in zip(case.peers, runs.peers.values(), strict=False):
        median = statistics.median(run.seconds for run in peer_runs)
        processor = statistics.median(run.processor for run in peer_runs)
        print(f"{peer.__name__}: median {median:.2f} s, {case.megapixels / median:.0f} Mpixel/s")
        print(
            f"           {peer_runs[-1].tiles} tiles, {peer_runs[-1].bytes / 1e6:.0f} MB, processor {processor:.2f} s"
        )
        aimed = "" if aim is None else f" (aim {aim:g})"
        print(f"ratio:     {median / ours:.2f}{aimed}, of processor time {processor / sum(used.values()):.2f}")


def latency(data: Path, slide: Path) -> None:
    """Prints how long after its last byte a file of one tile is ready, on a system that has nothing else to do."""
    waits = []
    for _ in range(LATENCY_RUNS):
        image = run_once(data, slide)
        waits.append((moment(image, "finish", "ended") - moment(image, "upload", "ended")) * 1000)
    waits.sort()
    print(f"file:      {slide.name}, from its last byte to image-ready, {LATENCY_RUNS} times")
    print(f"slidemill: median {statistics.median(waits):.0f} ms (aim 300), most {waits[-1]:.0f} ms")


def bench(name: str, case: Case, slide: Path, data: Path, options: argparse.Namespace) -> None:
    """One case, on a stack of its own."""
    print(f"\n{name}", flush=True)
    shutil.rmtree(data, ignore_errors=True)
    command = [ROOT / "slidemill", "up", "--detach", "--workers", options.workers, "--data", str(data)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    try:
        status = slidemill(data, "status")
        services = [entry["name"] for entry in status["services"]]
        pids = {entry["name"]: entry["pid"] for entry in status["services"] + status["servers"]}
        with Watch(pids) as watch:
            if case.latency:
                latency(data, slide)
            else:
                peers = [peer for peer, _ in case.peers]
                runs = measure(data, slide, peers, options.pairs if peers else 1, watch)
                report(case, slide, runs, status["mongodb"])
        for service in services:
            print(f"memory:    {service} with children at most {watch.peaks[service] / 1e6:.0f} MB resident")
    finally:
        subprocess.run([ROOT / "slidemill", "down", "--data", str(data)], check=True, stdout=sys.stderr)
        shutil.rmtree(data, ignore_errors=True)


def main() -> None:
    """Runs the cases asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all, or some of {', '.join(CASES)}")
    parser.add_argument("--slide", type=Path, help="a file of your own instead, against dzsave")
    parser.add_argument("--peer", help="only against this one, where a case has several")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", default="dicer=1,pyramid=1")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    unknown = [name for name in options.cases if name not in (*CASES, "all")]
    if unknown:
        parser.error(f"there is no case {unknown[0]}: choose all, or some of {', '.join(CASES)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    data = options.folder / "stack"
    if options.slide is not None:
        bench(options.slide.name, own(options.slide), options.slide, data, options)
        return
    for name in CASES if "all" in options.cases else options.cases or QUICK:
        case = CASES[name]
        if options.peer is not None:
            case = replace(case, peers=tuple(pair for pair in case.peers if pair[0].__name__ == options.peer))
        bench(name, case, case.make(options.folder), data, options)


if __name__ == "__main__":
    main()
