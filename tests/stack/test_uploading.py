"""`./slidemill upload` against a gateway process on a bad line: broken off, killed, changed, and run again."""

import asyncio
import hashlib
import json
import signal
import sys
import uuid
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local.ports import free_port
from deploy.local.processes import Identity
from deploy.local.state import State
from services.ops.sending import CHUNK
from shared.blobs.gridfs import GridFSBlobs
from shared.clock import SystemClock
from shared.http.identity import ensure_admin
from shared.mongo import connect
from shared.slides.packing import Member, pack
from shared.store.mongo import MongoStore
from tests.gateway.conftest import MIB, slide

pytestmark = [pytest.mark.broker, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-administrator"
PATIENCE = 60.0
# What requests cost beside the bytes of files.
HEADERS = 100_000


@dataclass
class Line:
    """A TCP line to a gateway that counts what is sent, and goes silent for good after so many bytes."""

    target: int
    sent: int = 0
    silent_after: int | None = None
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    _mended: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self) -> int:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def mend(self) -> None:
        """Breaks every connection, and lets new ones through."""
        self.silent_after = None
        self._mended.set()
        for writer in self._open:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        await asyncio.gather(self._copy(reader, far_writer, counted=True), self._copy(far_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        try:
            while data := await reader.read(64 * 1024):
                if counted and self.silent_after is not None and self.sent >= self.silent_after:
                    self.silent.set()
                    await self._mended.wait()
                    break
                self.sent += len(data) if counted else 0
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()


@dataclass
class Place:
    """A data folder whose stack is one gateway behind a line."""

    data: Path
    line: Line
    port: int
    environment: dict[str, str]
    gateway: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.upload", env=self.environment, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        assert self.gateway is not None
        self.gateway.kill()
        await self.gateway.wait()

    async def upload(self, *paths: Path) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            ROOT / "slidemill",
            "upload",
            *paths,
            *("--session", "Case 7", "--json", "--data", self.data),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def get(self, path: str) -> bytes:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            async with http.get(f"http://127.0.0.1:{self.port}/api/v1{path}") as answer:
                assert answer.status == 200
                return await answer.read()

    async def images(self, session: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(await self.get(f"/sessions/{session}/images"))["items"]
        return items

    def records(self) -> list[Path]:
        return list((self.data / "uploads").iterdir())


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code and what was said on stdout and stderr."""
    async with asyncio.timeout(PATIENCE):
        out, messages = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), messages.decode()


def digests(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
async def place(mongod: str, tmp_path: Path) -> AsyncIterator[Place]:
    data, port = tmp_path / "var", free_port()
    data.mkdir()
    database = f"cli_{uuid.uuid4().hex[:12]}"
    client = connect(mongod)
    store = MongoStore(client, database)
    await store.prepare()
    await GridFSBlobs(client, database, tmp_path, 0).prepare()
    await ensure_admin(store, TOKEN, SystemClock())
    line = Line(port)
    nowhere = f"amqp://127.0.0.1:{free_port([port])}/"
    State(
        phase="ready",
        supervisor=Identity(0, ""),
        url=f"http://127.0.0.1:{await line.serve()}",
        mongodb=mongod,
        amqp=nowhere,
        management="",
    ).write(data)
    (data / "token").write_text(TOKEN)
    environment = {
        "PATH": "/usr/bin:/bin",
        "SLIDEMILL_SERVICE": "upload",
        "SLIDEMILL_MONGODB": mongod,
        "SLIDEMILL_DATABASE": database,
        "SLIDEMILL_AMQP": nowhere,
        "SLIDEMILL_HTTP_PORT": str(port),
        "SLIDEMILL_SCRATCH": str(tmp_path / "scratch"),
        "SLIDEMILL_LOG": "json",
    }
    place = Place(data, line, port, environment)
    try:
        await place.start()
        yield place
    finally:
        line.mend()
        await place.kill()
        await client.drop_database(database)
        client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small slides and one of six chunks and a half."""
    folder = tmp_path / "Fall 1"
    folder.mkdir()
    for name, size in (("a ä.svs", MIB), ("b.svs", 3 * MIB), ("large.svs", 6 * CHUNK + CHUNK // 2)):
        (folder / name).write_bytes(slide(size, seed=size))
    return folder


async def test_the_same_command_goes_on_after_ctrl_c(place: Place, folder: Path) -> None:
    files = sorted(folder.iterdir())
    size = sum(file.stat().st_size for file in files)
    place.line.silent_after = 4 * MIB + 3 * CHUNK
    process = await place.upload(folder)
    await asyncio.wait_for(place.line.silent.wait(), PATIENCE)

    process.send_signal(signal.SIGINT)
    code, out, messages = await ended(process)
    assert (code, out) == (1, "")
    assert messages.splitlines()[-1] == "Stopped. The same command goes on from where this one was."

    place.line.mend()
    code, out, messages = await ended(await place.upload(folder))
    told = json.loads(out)

    assert code == 0, messages
    assert {image["name"]: image["sha256"] for image in told["images"]} == digests(files)
    assert len(await place.images(told["session"])) == len(files)
    # Each of the three may have been broken off within one chunk.
    assert place.line.sent <= size + 4 * MIB + CHUNK + HEADERS
    assert place.records() == []


async def test_a_gateway_killed_under_way_costs_one_chunk(place: Place, folder: Path) -> None:
    file = folder / "large.svs"
    place.line.silent_after = 3 * CHUNK
    process = await place.upload(file)
    await asyncio.wait_for(place.line.silent.wait(), PATIENCE)

    await place.kill()
    place.line.mend()
    await place.start()
    code, out, messages = await ended(process)
    told = json.loads(out)

    assert code == 0, messages
    assert {image["name"]: image["sha256"] for image in told["images"]} == digests([file])
    assert len(await place.images(told["session"])) == 1
    assert place.line.sent <= file.stat().st_size + CHUNK + HEADERS


async def test_a_file_that_changed_meanwhile_is_sent_anew(place: Place, folder: Path) -> None:
    file = folder / "large.svs"
    place.line.silent_after = 3 * CHUNK
    process = await place.upload(file)
    await asyncio.wait_for(place.line.silent.wait(), PATIENCE)
    process.kill()
    await ended(process)
    place.line.mend()

    file.write_bytes(slide(2 * CHUNK, seed=9))
    code, out, messages = await ended(await place.upload(file))
    told = json.loads(out)

    assert code == 0, messages
    (image,) = await place.images(told["session"])
    assert image["sha256"] == digests([file])[file.name]


async def test_each_name_is_a_file_of_its_own_and_sent_again_by_the_next_command(place: Place, folder: Path) -> None:
    file, link = folder / "b.svs", folder / "link.svs"
    link.symlink_to(file)

    first = json.loads((await ended(await place.upload(file, link)))[1])
    second = json.loads((await ended(await place.upload(file)))[1])

    assert sorted(image["name"] for image in first["images"]) == ["b.svs", "link.svs"]
    assert first["session"] == second["session"]
    assert len(await place.images(first["session"])) == 3


@pytest.fixture
def mirax(tmp_path: Path) -> Path:
    """The main file of a slide whose data are four chunks and a bit."""
    folder = tmp_path / "Fall 2"
    (folder / "m").mkdir(parents=True)
    (folder / "m.mrxs").write_bytes(slide(1000, seed=1))
    (folder / "m" / "Slidedat.ini").write_text("[HIERARCHICAL]\nINDEXFILE = Index.dat\n[DATAFILE]\nFILE_0 = 0.dat\n")
    (folder / "m" / "Index.dat").write_bytes(bytes(5000))
    (folder / "m" / "0.dat").write_bytes(slide(4 * CHUNK, seed=2))
    return folder / "m.mrxs"


async def test_a_slide_of_several_files_is_one_image_and_goes_on_as_others_do(place: Place, mirax: Path) -> None:
    place.line.silent_after = 2 * CHUNK
    process = await place.upload(mirax)
    await asyncio.wait_for(place.line.silent.wait(), PATIENCE)
    process.kill()
    await ended(process)
    place.line.mend()

    code, out, messages = await ended(await place.upload(mirax.parent))
    told = json.loads(out)

    assert code == 0, messages
    (image,) = await place.images(told["session"])
    assert image["name"] == "m.mrxs"
    files = {f.relative_to(mirax.parent).as_posix(): f.read_bytes() for f in mirax.parent.rglob("*") if f.is_file()}
    zipped = pack(Member(name, len(data), zlib.crc32(data)) for name, data in files.items()).segments
    sent = b"".join(part if isinstance(part, bytes) else files[part.member] for part in zipped)
    assert (image["length"], image["sha256"]) == (len(sent), hashlib.sha256(sent).hexdigest())
    assert place.line.sent <= image["length"] + 2 * CHUNK + HEADERS
    assert place.records() == []


async def test_a_slide_that_lacks_a_file_is_told_and_others_arrive(place: Place, mirax: Path, folder: Path) -> None:
    (mirax.with_suffix("") / "0.dat").unlink()

    code, out, messages = await ended(await place.upload(mirax, folder / "b.svs"))

    assert code == 1
    assert [image["name"] for image in json.loads(out)["images"]] == ["b.svs"]
    assert [line for line in messages.splitlines() if "lacks" in line] == [
        "Fall 2/m.mrxs lacks Fall 2/m/0.dat. Copy the slide from the scanner again, with every file that belongs to it."
    ]


async def test_a_file_that_cannot_be_read_is_told_and_others_arrive(place: Place, folder: Path, tmp_path: Path) -> None:
    unreadable = tmp_path / "unreadable.svs"
    # Reading it fails whoever asks, as of a disk that is broken.
    unreadable.symlink_to("/proc/self/mem")

    code, out, messages = await ended(await place.upload(unreadable, folder / "b.svs"))

    assert code == 1
    assert [image["name"] for image in json.loads(out)["images"]] == ["b.svs"]
    assert [line for line in messages.splitlines() if "can't" in line] == [
        "unreadable.svs: It can't be read (Input/output error). Mend that, then run the command again."
    ]
