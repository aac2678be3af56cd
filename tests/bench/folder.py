"""Scans a folder of many files in which nothing has changed, then takes in large ones beside the gateway.

`python -m tests.bench.folder [scan|imports] [--files 100000] [--rounds 3]`
"""

import argparse
import asyncio
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from shared.blobs.memory import MemoryBlobs
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.clock import ManualClock
from shared.events import ScanStore
from shared.mongo import connect
from shared.store import Change
from shared.store.mongo import MongoStore
from shared.tiles.memory import MemoryTiles
from tests.bench import imports
from tests.sync.watching import Watch

IN_ONE_FOLDER = 1000
QUIET_SCANS = 3


async def measure(url: str, place: Path, files: int, ending: str) -> None:
    """Prints the seconds of the first scan and of quiet ones, and the most memory that was taken."""
    client = connect(url)
    store = MongoStore(client, "bench")
    await store.prepare()
    clock = ManualClock(datetime.now(UTC))
    ports = {"blobs": MemoryBlobs(place / "scratch"), "tiles": MemoryTiles()}
    watch = Watch(place / "slides", store, ports, MemoryBus(MemoryBroker(clock)), clock)
    await watch.add()
    for n in range(files):
        watch.put(f"{n // IN_ONE_FOLDER:04}/{n % IN_ONE_FOLDER:04}{ending}", b"slide")

    async def scan(what: str) -> None:
        tick = watch.due()
        (event,) = await watch.handlers[type(tick)](tick, **ports, store=store)
        started = time.perf_counter()
        await watch.handlers[ScanStore](event, **ports, store=store)
        seconds = time.perf_counter() - started
        print(f"{what} scan of {files:,} files: {seconds:.1f} s, {_megabytes()} MB at most", flush=True)

    await scan("first")
    await store.reports.delete({})
    # As after their import.
    imported = {"state": "imported", "reason": None, "image": "1" * 32, "sha256": "5" * 64}
    while page := await store.entries.find({"state": "waiting"}, limit=IN_ONE_FOLDER):
        await store.entries.amend(*(Change(entry.id, {}, imported) for entry in page))
    for _ in range(QUIET_SCANS):
        await scan("quiet")
    client.close()


def _megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measures on a database of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["scan", "imports"], help="only this")
    parser.add_argument("--files", type=int, default=100_000, help="that are scanned")
    parser.add_argument("--ending", default=".svs", help="of their names; with .dcm each is looked into once")
    parser.add_argument("--rounds", type=int, default=3, help="of imports")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, Mongod(Path(folder) / "mongod", free_port(), cache_gb=1) as server:
        if options.what != "imports":
            asyncio.run(measure(server.url, Path(folder), options.files, options.ending))
        if options.what != "scan":
            imports.measure(server.url, Path(folder), options.rounds)


if __name__ == "__main__":
    main()
