"""How fast a folder is taken in, beside the gateway that gets the same files: see `tests.bench.folder`.

Both onto the same database, alternating. The gateway's clients read the files and send them in ranges, as many at once
as the sync service imports; the imports run in a process of their own, as that service runs them, from the end of the
scan until the last file is stored, proven and handed to the dicer. No broker runs.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from services.sync.__main__ import SWITCH_SECONDS
from services.sync.handler import TickHandler
from services.sync.importing import ImportHandler
from services.sync.scanning import ScanHandler
from shared.blobs.gridfs import GridFSBlobs
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.clock import SystemClock
from shared.events import ImportFile, ScanStore, SyncTick
from shared.mongo import connect
from shared.settings import Settings
from shared.store.documents.folders import FolderStore
from shared.store.mongo import MongoStore
from shared.tiles.memory import MemoryTiles
from tests.bench.gateway import DATABASE, MIB, File, empty
from tests.bench.watch import Watch
from tests.serving import Client, GatewayProcess, prepare

ROOT = Path(__file__).resolve().parents[2]
STEP = 16 * MIB


@dataclass(frozen=True)
class Files:
    """So many files of so many MiB."""

    count: int
    size: int

    @property
    def named(self) -> str:
        return f"{self.count} x {self.size} MiB"

    def write(self, folder: Path) -> None:
        """Writes them, no block like another, and leaves them warm."""
        folder.mkdir()
        for n in range(self.count):
            with (folder / f"{n:04}.svs").open("wb") as file:
                for _, data in File(n, self.size * MIB).pieces(4 * MIB):
                    file.write(data)


SETS = (Files(64, 8), Files(2, 512))


def by_gateway(url: str, session: str, folder: Path, clients: int) -> float:
    """Seconds that so many clients of the gateway take together, each sending one file after the other."""

    def send(path: Path) -> None:
        total, told = path.stat().st_size, dict[str, Any]()
        with Client(url) as client, path.open("rb") as file:
            for at in range(0, total, STEP):
                status, told = client.send(session, file.read(STEP), at, total, told.get("_id"), name=path.name)
                assert status in (200, 201), told
        assert told["state"] == "complete", told

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(send, sorted(folder.iterdir())))
    return time.perf_counter() - started


def by_import(mongodb: str, folder: Path) -> dict[str, float]:
    """`seconds` that the import of the folder takes, and the `resident` MB of its process, at most."""
    database = f"imports{uuid.uuid4().hex[:8]}"
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.imports", mongodb, database, folder],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with Watch({"sync": child.pid}) as use:
            said, _ = child.communicate()
        assert child.returncode == 0
        return {"seconds": float(said), "resident": use.peaks["sync"] / 1e6}
    finally:
        with MongoClient[dict[str, Any]](mongodb) as client:
            client.drop_database(database)


async def take_in(mongodb: str, database: str, folder: Path) -> float:
    """Scans the folder and imports what is in it; returns the seconds that the imports took."""
    client = connect(mongodb)
    store = MongoStore(client, database)
    blobs = GridFSBlobs(client, database, folder.parent / "scratch", 10**9)
    await store.prepare()
    await blobs.prepare()
    clock = SystemClock()
    ports: dict[str, Any] = {"store": store, "blobs": blobs, "tiles": MemoryTiles()}
    bus = MemoryBus(MemoryBroker(clock))
    due = clock.now()
    await store.stores.insert(FolderStore(id="f" * 32, name="bench", root=str(folder), owner="a" * 32, created=due))
    (scan,) = await TickHandler(bus, clock, timedelta(hours=1))(SyncTick(database=database, time=due, due=due), **ports)
    assert isinstance(scan, ScanStore)
    scans, imports = ScanHandler(clock, stable=timedelta(0), imports=1000), list[Any]()
    while not imports:
        imports = await scans(scan, **ports)
        await asyncio.sleep(0.01)
    import_file, slots = ImportHandler(bus, clock), asyncio.Semaphore(Settings().sync_slots)

    async def work(event: ImportFile) -> None:
        async with slots:
            await import_file(event, **ports)

    started = time.perf_counter()
    await asyncio.gather(*map(work, imports))
    seconds = time.perf_counter() - started
    assert len(imports) == await store.versions.count({"state": "dicing"})
    client.close()
    return seconds


def measure(mongodb: str, folder: Path, rounds: int) -> None:
    """Prints rates and their ratio for each set of files."""
    prepare(mongodb, DATABASE)
    clients = Settings().sync_slots
    with GatewayProcess(mongodb, DATABASE, folder) as gateway:
        with Client(gateway.url) as client:
            session = client.session()
        for files in SETS:
            place = folder / f"slides-{files.count}"
            files.write(place)
            total, ratios, resident = files.count * files.size, list[float](), list[float]()
            for n in range(rounds):
                sent = by_gateway(gateway.url, session, place, clients)
                empty(mongodb)
                taken = by_import(mongodb, place)
                ratios.append(sent / taken["seconds"])
                resident.append(taken["resident"])
                rates = {"gateway": sent, "import": taken["seconds"]}
                told = (f"{way} {total / s:.0f} MiB/s, {files.count / s:.1f} files/s" for way, s in rates.items())
                print(f"{files.named}, round {n + 1}: {'; '.join(told)}", flush=True)
            shutil.rmtree(place)
            print(
                f"{files.named}: import {statistics.median(ratios):.2f} of the gateway's rate with {clients} clients, "
                f"{max(resident):.0f} MB resident at most",
                flush=True,
            )


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    print(asyncio.run(take_in(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
