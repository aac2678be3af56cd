"""A folder store on memory ports, with its messages delivered until none is left."""

import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.sync.handler import TickHandler
from services.sync.importing import ImportHandler
from services.sync.scanning import ScanHandler
from services.sync.settling import announce
from shared.bus.envelope import decode
from shared.events import Event, ImportFile, ScanStore, SyncTick
from shared.store import Store
from shared.store.documents.entries import Entry, EntryId
from shared.store.documents.folders import FolderStore, Report, report_id
from shared.store.documents.images import Image
from shared.store.documents.versions import Version, VersionId

STORE, OWNER = "f" * 32, "a" * 32
TIFF = b"II*\0"


def slide(text: str, size: int = 600) -> bytes:
    """What opens as a slide as far as the import looks, different for each text."""
    return TIFF + hashlib.sha256(text.encode()).digest() + text.encode().ljust(size, b".")


STABLE = timedelta(seconds=5)


class Watch:
    """One store over a real folder. A tick is five minutes after the one before."""

    def __init__(self, root: Path, store: Store, ports: dict[str, Any], bus: Any, clock: Any) -> None:
        self.root = root
        self.store = store
        self.bus = bus
        self.clock = clock
        self._written = 0
        self._ports = {"store": store, **ports}
        self.handlers: dict[type[Event], Any] = {
            SyncTick: TickHandler(bus, clock, timedelta(days=365)),
            ScanStore: ScanHandler(clock, stable=STABLE, imports=100),
            ImportFile: ImportHandler(bus, clock),
        }

    async def add(self, **fields: Any) -> None:
        about = {"name": "scanner", "root": str(self.root), "owner": OWNER, "created": self.clock.now()} | fields
        await self.store.stores.insert(FolderStore(id=STORE, **about))

    def put(self, path: str, content: bytes) -> None:
        """Writes a file, with a modification time that differs from every earlier one."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self._written += 1
        os.utime(file, ns=(0, 1_700_000_000 * 10**9 + self._written))

    async def deliver(self, *events: Event, twice: bool = False) -> None:
        queue = deque(events)
        while queue:
            event = queue.popleft()
            for _ in range(2 if twice else 1):
                answer = await self.handlers[type(event)](event, **self._ports)
            queue.extend(answer)

    def due(self, seconds: float = 300) -> SyncTick:
        self.clock.advance(seconds)
        now: datetime = self.clock.now()
        return SyncTick(database="slidemill", time=now, due=now)

    async def tick(
        self, *, seconds: float = 300, twice: bool = False, meanwhile: Callable[[], object] = lambda: None
    ) -> Report:
        """One tick and everything that follows from it, on which every new version is processed at once.

        `meanwhile` happens between the two looks at what is new or has changed.
        """
        event = self.due(seconds)
        await self.deliver(event, twice=twice)
        if (await self.report(event)).again is not None:
            meanwhile()
            await self.deliver(*await self.second_looks(), twice=twice)
        await self.process()
        return await self.report(event)

    async def second_looks(self) -> list[Event]:
        """What a sync service announces once the time is over for which files must look the same."""
        self.clock.advance(STABLE.total_seconds() + 0.001)
        announced = await announce(self.store, self.bus, database="slidemill", stable=STABLE, clock=self.clock)
        ready = self.bus.broker["slidemill.sync.express"].ready
        assert announced == len(ready)
        return [decode(stored.headers, stored.body) for stored in (ready.popleft() for _ in range(announced))]

    async def report(self, tick: SyncTick) -> Report:
        report = await self.store.reports.get(report_id(STORE, tick.due.isoformat()))
        assert report is not None
        return report

    async def process(self) -> None:
        for version in await self.store.versions.find({"state": "dicing"}):
            await self.store.versions.update(version.id, set={"state": "ready"})
            await self.store.images.update(version.id.image, set={"current": version.id.n})

    async def images(self) -> dict[str, Image]:
        """Every image by where it comes from."""
        found = await self.store.images.find({})
        assert len({image.source for image in found}) == len(found)
        return {image.source.removeprefix("store:scanner/"): image for image in found}

    async def version(self, image: Image, n: int | None = None) -> Version:
        version = await self.store.versions.get(VersionId(image=image.id, n=n or image.latest))
        assert version is not None
        return version

    async def entry(self, path: str) -> Entry | None:
        return await self.store.entries.get(EntryId(store=STORE, path=path))


def touch(file: Path, seconds: int = 1) -> None:
    """Moves a file's modification time on, its content as it was."""
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


def mirax(name: str, text: str, data: int = 2) -> dict[str, bytes]:
    """The files of a slide of several, by path, as far as the import looks into them; different for each text."""
    folder = name.removesuffix(".mrxs")
    files = "".join(f"FILE_{n} = Data{n:04}.dat\r\n" for n in range(data))
    index = f"[GENERAL]\r\nSLIDE_NAME = {text}\r\n[HIERARCHICAL]\r\nINDEXFILE = Index.dat\r\n[DATAFILE]\r\n{files}"
    return {
        name: b"\xff\xd8\xff preview of " + text.encode(),
        f"{folder}/Slidedat.ini": index.encode(),
        f"{folder}/Index.dat": b"",
        **{f"{folder}/Data{n:04}.dat": slide(f"{text} {n}") for n in range(data)},
    }


def dicom(series: str, text: str) -> bytes:
    """A DICOM file as far as its series, with something behind that."""
    uid = series.encode() + b"\0" * (len(series) % 2)
    syntax = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    return bytes(128) + b"DICM" + syntax + struct.pack("<HH2sH", 0x20, 0x0E, b"UI", len(uid)) + uid + text.encode()
