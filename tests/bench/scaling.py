"""`python -m tests.bench.scaling SLIDE`: one slide on one worker and on two, and what follows for many.

First with every port in memory, where only decoding counts; then durably, on stacks with one and two dicers and pyramid
services of one decoder child each. From the durable runs it fits the model of `docs/scaling.md`.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from deploy.local.layout import DATABASE
from services.dicer.folding import Turns
from services.dicer.handler import Dicer
from services.pyramid.handler import Pyramid
from shared.blobs.memory import MemoryBlobs
from shared.clock import SystemClock
from shared.decoding import Decoders
from shared.events import BaseDiced, DiceBlock, Event, FileComplete, FoldBlock, PyramidBuilt
from shared.stages.facts import announcement
from shared.store.documents.versions import VersionId
from shared.store.memory import MemoryStore
from shared.tiles.memory import MemoryTiles
from tests.bench.__main__ import ROOT, moment, run_once, seconds_between, slidemill, tile_bytes, warm
from tests.bench.model import Cost, table
from tests.bench.watch import Watch
from tests.pipeline.mill import store_upload

IMAGE = "1" * 32
MEMORY = 2**30
WORKERS = (1, 10, 100)
SLIDES = (1000, 1_000_000)


async def in_memory(slide: Path, workers: int) -> float:
    """Seconds from file-complete to pyramid-built with all ports in memory and `workers` decoder children."""
    clock, store, tiles = SystemClock(), MemoryStore(), MemoryTiles()
    with tempfile.TemporaryDirectory() as scratch:
        blobs = MemoryBlobs(Path(scratch))
        await store_upload(slide, IMAGE, store=store, blobs=blobs, now=clock.now())
        events = deque([await _first(store)])
        async with AsyncExitStack() as stack:
            pools = [
                await stack.enter_async_context(Decoders("services.dicer.pixels", children=1, memory=MEMORY))
                for _ in range(workers)
            ]
            for pool in pools:
                # The first call forks the child.
                await pool.call(os.getpid)
            started = time.perf_counter()
            done = asyncio.Event()
            tasks = [asyncio.create_task(_work(pool, events, done, clock, store, blobs, tiles)) for pool in pools]
            await asyncio.gather(*tasks)
            return time.perf_counter() - started


async def _work(
    pool: Decoders,
    events: deque[Event],
    done: asyncio.Event,
    clock: SystemClock,
    store: MemoryStore,
    blobs: MemoryBlobs,
    tiles: MemoryTiles,
) -> None:
    turns = Turns(1)
    dicer = Dicer(decoders=pool, clock=clock, quality=80, subsampling="420", worker="dicer", turns=turns)
    pyramid = Pyramid(decoders=pool, clock=clock, worker="pyramid")
    handlers: dict[type[Event], Any] = {
        FileComplete: dicer.file_complete,
        DiceBlock: dicer.dice_block,
        BaseDiced: pyramid.base_diced,
        FoldBlock: pyramid.fold_block,
    }
    while not done.is_set():
        if not events:
            await asyncio.sleep(0.001)
            continue
        event = events.popleft()
        if isinstance(event, PyramidBuilt):
            done.set()
            return
        events.extend(await handlers[type(event)](event, store=store, blobs=blobs, tiles=tiles))


def durable(slide: Path, workers: int, folder: Path, runs: int) -> dict[str, Any]:
    """Medians over a few runs on a stack of its own: seconds, processor time by part, counts."""
    data = folder / "stack"
    os.environ.update(SLIDEMILL_DICER_SLOTS="1", SLIDEMILL_PYRAMID_SLOTS="1")
    copies = f"dicer={workers},pyramid={workers}"
    command = [str(ROOT / "slidemill"), "up", "--detach", "--workers", copies, "--data", str(data)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    try:
        status = slidemill(data, "status")
        pids = {entry["name"]: entry["pid"] for entry in status["services"] + status["servers"]}
        seconds, processor = [], []
        with Watch(pids) as watch:
            # The first run starts the children.
            for run in range(runs + 1):
                warm(slide)
                image = run_once(data, slide)
                time.sleep(1)
                if run:
                    seconds.append(seconds_between(image))
                    processor.append(watch.seconds(moment(image, "upload", "ended"), moment(image, "fold", "ended")))
        with MongoClient[dict[str, Any]](status["mongodb"]) as client:
            chunks = client[DATABASE]["fs.chunks"].count_documents({"files_id": image["id"]})
            client.admin.command("fsync")
            stats = client[DATABASE].command("collStats", "tiles")
        stored = slide.stat().st_size + tile_bytes(status["mongodb"], image["id"])
        return {
            "seconds": statistics.median(seconds),
            "image": image,
            "chunks": chunks,
            "stored": stored,
            "index": stats["indexSizes"]["_id_"] / stats["count"],
            **{
                part: statistics.median(
                    sum(s for name, s in one.items() if name.startswith(names)) for one in processor
                )
                for part, names in (("workers", ("dicer", "pyramid")), ("database", "mongod"), ("broker", "rabbitmq"))
            },
        }
    finally:
        subprocess.run([ROOT / "slidemill", "down", "--data", str(data)], check=True, stdout=sys.stderr)
        subprocess.run(["rm", "-rf", str(data)], check=True)


async def _blocks(slide: Path) -> tuple[int, int]:
    """How many dice blocks the slide is divided into, and how many fold blocks are left to the pyramid service."""
    clock, store, tiles = SystemClock(), MemoryStore(), MemoryTiles()
    with tempfile.TemporaryDirectory() as scratch:
        blobs = MemoryBlobs(Path(scratch))
        await store_upload(slide, IMAGE, store=store, blobs=blobs, now=clock.now())
        async with Decoders("services.dicer.pixels", children=1, memory=MEMORY) as pool:
            await _work(pool, deque([await _first(store)]), asyncio.Event(), clock, store, blobs, tiles)
    by = {"dice": "dicer", "fold": "pyramid"}
    counts = [await store.blocks.count({"_id.image": IMAGE, "_id.stage": stage, "by": by[stage]}) for stage in by]
    return counts[0], counts[1]


async def _first(store: MemoryStore) -> Event:
    version = await store.versions.get(VersionId(image=IMAGE, n=1))
    event = None if version is None else announcement(version, DATABASE)
    if event is None:
        raise RuntimeError("the version was stored without its file")
    return event


def main() -> None:
    """Measures, fits and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--database-cores", type=float, default=8.0)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    memory = {
        workers: statistics.median(asyncio.run(in_memory(options.slide, workers)) for _ in range(options.runs))
        for workers in (1, 2)
    }
    print(f"memory:    1 worker {memory[1]:.2f} s, 2 workers {memory[2]:.2f} s, ratio {memory[1] / memory[2]:.2f}")
    runs = {workers: durable(options.slide, workers, options.folder, options.runs) for workers in (1, 2)}
    dice, fold = asyncio.run(_blocks(options.slide))
    one = runs[1]
    tiles = one["image"]["tiles"]["stored"]
    cost = Cost(
        seconds={workers: run["seconds"] for workers, run in runs.items()},
        workers=one["workers"],
        database=one["database"],
        broker=one["broker"],
        # Each block is one, and the five facts of an image.
        messages=dice + fold + 5,
        tiles=tiles,
        # Beside tiles and chunks: file, upload, image, version, thumbnail, and the blocks while it is worked on.
        documents=tiles + one["chunks"] + 5,
        stored=one["stored"],
        index=one["index"],
        blocks=max(dice, fold),
    )
    print(f"durable:   1 worker {cost.seconds[1]:.2f} s, 2 workers {cost.seconds[2]:.2f} s, ratio {cost.speedup:.2f}")
    print(*table(cost, WORKERS, SLIDES, options.database_cores), sep="\n")


if __name__ == "__main__":
    main()
