"""What a slide in a zip costs: unpacked on the host that cuts it, or into files of its own in the database.

`python -m tests.bench.unpacking [MEGABYTES]` (1024): a MIRAX slide of that size, whose data can't be compressed.
"""

import asyncio
import hashlib
import os
import sys
import time
import uuid
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from services.dicer import headers
from services.dicer.__main__ import CHILD_MEMORY
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.windows import Windows
from shared.decoding import Decoders
from shared.errors import Postponed
from shared.mongo import connect
from shared.slides import deflate64
from shared.store.documents.versions import Version, VersionId
from shared.unpacking import unpacked
from tests.slides.mirax import write_mirax
from tests.slides.zips import write_deflate64

CHUNK = 4 * 2**20
DATABASE = "bench"
HEARTBEAT_SECONDS = 0.005
METHODS = {"stored": zipfile.ZIP_STORED, "by Deflate64": deflate64.METHOD, "deflated": zipfile.ZIP_DEFLATED}


class Bench:
    """A file store on a database of its own, and decoders as a dicer has them."""

    def __init__(self, url: str, place: Path, decoders: Decoders) -> None:
        self._place = place
        self._decoders = decoders
        self.client = connect(url)
        self.blobs = GridFSBlobs(self.client, DATABASE, place / "scratch", 2**40)

    async def store(self, path: Path) -> Version:
        """The file as a finished upload leaves it."""
        file = uuid.uuid4().hex
        await self.blobs.create(file, name=path.name, chunk=CHUNK, refs=(f"{file}:1",))
        with path.open("rb") as source:
            for n in range(-(-path.stat().st_size // CHUNK)):
                await self.blobs.put_chunk(file, n, source.read(CHUNK))
        await self.blobs.commit(file, length=path.stat().st_size, md5="", sha256=hashlib.sha256().hexdigest())
        now = datetime.now(UTC)
        return Version(
            id=VersionId(image=file, n=1),
            session="",
            file=file,
            name=path.name,
            length=path.stat().st_size,
            state="dicing",
            created=now,
            updated=now,
        )

    async def unpack(self, version: Version) -> None:
        """As a dicer does that has not got the slide yet."""
        read = Windows(self.blobs, version.file).read
        inside, _ = await self._decoders.call(
            headers.find_in_zip, version.name, 2**50, reader=read, length=version.length
        )
        await _insist(lambda: unpacked(version, inside.length, blobs=self.blobs, decoders=self._decoders))

    async def copy(self, versions: list[Version]) -> None:
        """All of these files onto this host."""
        for version in versions:
            await _insist(lambda version=version: self.blobs.local(version.file))  # type: ignore[misc]

    async def stored_bytes(self) -> int:
        """What the database keeps of the files, in megabytes."""
        stats: dict[str, Any] = await self.client[DATABASE].command("collStats", "fs.chunks")
        return int(stats["size"]) // 10**6


async def _insist(opened: Callable[[], AbstractAsyncContextManager[Path]]) -> None:
    """Comes again until it is there, as a message does, but at once."""
    while True:
        try:
            async with opened():
                return
        except Postponed:
            await asyncio.sleep(HEARTBEAT_SECONDS)


async def timed(what: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """Prints the seconds, and for how long the event loop stood still at most."""
    async with _watched() as lags:
        started = time.perf_counter()
        done = await work()
        seconds = time.perf_counter() - started
    print(f"{what}: {seconds:.1f} s, event loop held for at most {max(lags) * 1000:.0f} ms", flush=True)
    return done


@asynccontextmanager
async def _watched() -> AsyncIterator[list[float]]:
    lags = [0.0]

    async def beat() -> None:
        while True:
            due = time.perf_counter() + HEARTBEAT_SECONDS
            await asyncio.sleep(HEARTBEAT_SECONDS)
            lags.append(time.perf_counter() - due)

    beating = asyncio.create_task(beat())
    try:
        yield lags
    finally:
        beating.cancel()


def _write(folder: Path, megabytes: int) -> None:
    write_mirax(folder / "slide.mrxs")
    with (folder / "slide" / "Data0001.dat").open("ab") as data:
        for _ in range(megabytes):
            data.write(os.urandom(10**6))


def _zip(folder: Path, to: Path, compression: int) -> Path:
    if compression == deflate64.METHOD:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return write_deflate64(to, {str(path.relative_to(folder)): path.read_bytes() for path in files})
    with zipfile.ZipFile(to, "w", compression, compresslevel=1) as made:
        for path in sorted(folder.rglob("*")):
            made.write(path, path.relative_to(folder))
    return to


async def measure(url: str, place: Path, megabytes: int) -> None:
    """Prints what each way takes."""
    slide = place / "slide"
    slide.mkdir()
    _write(slide, megabytes)
    async with Decoders(preload="services.dicer.pixels", children=1, memory=CHILD_MEMORY) as decoders:
        bench = Bench(url, place, decoders)
        await bench.blobs.prepare()
        for kind, compression in METHODS.items():
            zipped = _zip(slide, place / f"{kind}.zip", compression)
            version = await bench.store(zipped)
            zipped.unlink()
            print(f"{kind} zip: {await bench.stored_bytes():,} MB in the database", flush=True)
            await timed(f"{kind} zip, unpacked on the host", lambda version=version: bench.unpack(version))  # type: ignore[misc]
            if kind != "deflated":
                await bench.blobs.delete(version.file)

        async def store_members() -> list[Version]:
            return [await bench.store(path) for path in sorted(slide.rglob("*")) if path.is_file()]

        members: list[Version] = await timed("its files, stored in the database", store_members)
        print(f"zip and its files: {await bench.stored_bytes():,} MB in the database", flush=True)
        await timed("its files, copied onto a host", lambda: bench.copy(members))
        bench.client.close()


def main() -> None:
    """Measures on a database of its own."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with TemporaryDirectory() as folder, Mongod(Path(folder) / "mongod", free_port(), cache_gb=0.5) as server:
        asyncio.run(measure(server.url, Path(folder), megabytes))


if __name__ == "__main__":
    main()
