"""tus-js-client and tuspy as their authors made them, over lines that break: only address, headers, metadata and chunk
size are set."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from deploy.local.children import Child
from deploy.local.nginx import Nginx
from deploy.local.ports import free_port
from tests.clients.line import bad_line
from tests.gateway.conftest import ADMIN, MIB, Served, sha256, slide
from tests.gateway.test_tus_takeover import patching
from tests.gateway.tus import ADDRESS, begin, id_of, offset_of, patch

HERE = Path(__file__).parent
CHUNK = MIB // 2
HEADERS = {"Authorization": f"Bearer {ADMIN}"}


async def tus_js_client(url: str, session: str, path: Path, **options: Any) -> str:
    """Sends a file; returns the id of its upload."""
    said = {
        "path": str(path),
        "endpoint": url + ADDRESS,
        "headers": HEADERS,
        "metadata": {"filename": path.name, "session": session},
        **options,
    }
    node = await asyncio.create_subprocess_exec(
        "node",
        HERE / "tus.mjs",
        json.dumps(said),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(node.communicate(), 60)
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, errors.decode()
    return id_of(urlsplit(out.decode().strip()).path)


def tuspy(url: str, session: str, path: Path, **options: Any) -> tuple[str, int]:
    """Sends a file, and goes on as its documentation says whenever the line breaks; returns the id and the breaks."""
    client = TusClient(url + ADDRESS, headers=HEADERS)
    said = {"chunk_size": CHUNK, "metadata": {"filename": path.name, "session": session}, **options}
    uploader = client.uploader(str(path), **said)
    breaks = 0
    while True:
        try:
            uploader.upload()
        except TusCommunicationError:
            breaks += 1
            assert breaks < 100
            uploader = client.uploader(str(path), url=uploader.url, **said)
            continue
        return id_of(urlsplit(str(uploader.url)).path), breaks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kidney 7.svs"
    path.write_bytes(slide(6 * MIB + 12_345))
    return path


async def arrived(gateway: Served, session: str, upload: str, file: Path) -> None:
    """The file is there, once, as it was sent."""
    (image,) = await gateway.images(session)
    stored = await gateway.upload(upload)
    assert (image["id"], image["name"], image["state"]) == (stored.image, file.name, "dicing")
    assert (image["length"], image["sha256"]) == (file.stat().st_size, sha256(file.read_bytes()))
    assert await gateway.blobs.read(upload, 0, stored.total) == file.read_bytes()
    assert [event.type for event in await gateway.published()] == ["slidemill.file-complete.v1"]


async def test_tus_js_client_over_a_line_that_breaks(gateway: Served, file: Path) -> None:
    session = await gateway.session()

    async with bad_line(gateway.url) as line:
        upload = await tus_js_client(line.url, session, file, chunkSize=CHUNK)

    await arrived(gateway, session, upload, file)
    assert line.faults >= 4
    assert line.received <= file.stat().st_size + line.faults * CHUNK


async def test_tus_js_client_with_one_request_for_the_whole_file(gateway: Served, file: Path) -> None:
    session = await gateway.session()

    async with bad_line(gateway.url, every=2) as line:
        # The first request with bytes breaks.
        line.requests = 1
        upload = await tus_js_client(line.url, session, file)

    await arrived(gateway, session, upload, file)
    assert line.faults >= 1
    # Little is sent twice: what came of the broken request was kept.
    assert line.received <= file.stat().st_size + line.faults * CHUNK


async def test_tus_js_client_sends_parts_at_once(gateway: Served, file: Path) -> None:
    session = await gateway.session()

    async with bad_line(gateway.url) as line:
        upload = await tus_js_client(line.url, session, file, chunkSize=CHUNK, parallelUploads=3)

    await arrived(gateway, session, upload, file)
    assert line.faults >= 3
    assert line.received <= file.stat().st_size + line.faults * CHUNK


async def test_tus_js_client_sends_bytes_with_the_creation(gateway: Served, file: Path) -> None:
    session = await gateway.session()

    async with bad_line(gateway.url) as line:
        # The creation itself breaks: nobody was told of that upload, so nothing of it stays.
        line.requests = 2
        upload = await tus_js_client(line.url, session, file, chunkSize=CHUNK, uploadDataDuringCreation=True)

    await arrived(gateway, session, upload, file)
    assert line.received <= file.stat().st_size + line.faults * CHUNK


async def test_tus_js_client_sends_what_comes_through_a_pipe(gateway: Served, file: Path) -> None:
    session = await gateway.session()

    upload = await tus_js_client(gateway.url, session, file, chunkSize=CHUNK, uploadLengthDeferred=True)

    await arrived(gateway, session, upload, file)


@pytest.mark.parametrize("checked", [False, True], ids=["unchecked", "checked"])
async def test_tuspy_over_a_line_that_breaks(gateway: Served, file: Path, checked: bool) -> None:
    session = await gateway.session()

    async with bad_line(gateway.url) as line:
        upload, breaks = await asyncio.to_thread(tuspy, line.url, session, file, upload_checksum=checked)

    await arrived(gateway, session, upload, file)
    assert breaks == line.faults >= 4
    assert line.received <= file.stat().st_size + line.faults * CHUNK


@pytest.fixture
async def nginx(gateway: Served, tmp_path: Path) -> AsyncIterator[Nginx]:
    port = urlsplit(gateway.url).port
    assert port is not None
    nginx = Nginx(tmp_path / "nginx", free_port(), gateways=[port], viewers=[free_port()])
    child = Child(nginx.program, tmp_path / "nginx.log")
    child.start()
    try:
        async with asyncio.timeout(20):
            while not nginx.ready():
                await asyncio.sleep(0.02)
        yield nginx
    finally:
        await asyncio.to_thread(child.stop)


@pytest.mark.broker
async def test_addresses_are_right_behind_nginx(gateway: Served, nginx: Nginx, file: Path) -> None:
    session = await gateway.session()

    upload = await tus_js_client(nginx.url, session, file, chunkSize=CHUNK)

    await arrived(gateway, session, upload, file)


@pytest.mark.broker
async def test_head_takes_over_behind_nginx(gateway: Served, nginx: Nginx, file: Path) -> None:
    session = await gateway.session()
    data = file.read_bytes()
    place = await begin(gateway, session, len(data))
    front = Served(gateway.gateway, gateway.bus, nginx.url, gateway.client)

    async with patching(front, urljoin(nginx.url, place), 0, len(data)) as line:
        await line.send(data[: 5 * MIB])
        async with asyncio.timeout(30):
            while not await gateway.blobs.chunks(id_of(place)):
                await asyncio.sleep(0.005)
        offset = await offset_of(front, place)
        told = await line.answer()
    last = await patch(front, place, offset, data[offset:])

    assert 4 * MIB <= offset <= 5 * MIB
    assert (told, last.status) == (409, 204)
    await arrived(gateway, session, id_of(place), file.with_name("kidney 7.svs"))
