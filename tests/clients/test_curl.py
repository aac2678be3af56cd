"""curl as it is installed: whole bodies, asked for first or not, of known length or from a pipe."""

import asyncio
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.gateway.conftest import ADMIN, MIB, Served, md5, slide
from tests.serving import Client, GatewayProcess, prepare

LARGE = 300 * MIB
# What the gateway promises to stay under, however much is sent.
MOST_MEMORY = 250_000_000


async def curl(*words: str, sent: Iterable[bytes] = ()) -> tuple[int, Any]:
    """Status and JSON of what a curl command is answered; `sent` goes to its standard input."""
    process = await asyncio.create_subprocess_exec(
        "curl",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--write-out",
        "\n%{http_code}",
        "-H",
        f"Authorization: Bearer {ADMIN}",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for piece in sent:
        process.stdin.write(piece)
        await process.stdin.drain()
    process.stdin.close()
    body, _, status = (await process.stdout.read()).rpartition(b"\n")
    assert await process.wait() == 0
    return int(status), json.loads(body)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kidney 7.svs"
    path.write_bytes(slide(9 * MIB + 5))
    return path


@pytest.mark.parametrize("to", ["files/", "files?name=kidney%207.svs", "files/kidney%207.svs"])
@pytest.mark.parametrize("asking", [["-H", "Expect: 100-continue"], ["-H", "Expect:"]], ids=["asked", "not asked"])
async def test_curl_sends_a_whole_file(gateway: Served, file: Path, to: str, asking: list[str]) -> None:
    session = await gateway.session()

    status, told = await curl("-T", str(file), *asking, f"{gateway.url}/api/v1/sessions/{session}/{to}")

    assert (status, told["done"], told["md5"]) == (201, True, md5(file.read_bytes()))
    assert [image["name"] for image in await gateway.images(session)] == ["kidney 7.svs"]


async def test_curl_sends_a_form(gateway: Served, file: Path) -> None:
    session = await gateway.session()
    digest = md5(file.read_bytes())

    status, told = await curl(
        "-F", f"md5={digest}", "-F", f"file=@{file}", f"{gateway.url}/api/v1/sessions/{session}/files"
    )

    assert (status, told["done"], told["md5"]) == (201, True, digest)


async def test_curl_sends_ranges(gateway: Served, file: Path) -> None:
    session = await gateway.session()
    data, id = file.read_bytes(), ""
    for at in range(0, len(data), 4 * MIB):
        part = data[at : at + 4 * MIB]
        status, told = await curl(
            *("-X", "PUT", "--data-binary", "@-", "-H", "Content-Type: application/octet-stream"),
            *("-H", f"Content-Range: bytes {at}-{at + len(part) - 1}/{len(data)}"),
            f"{gateway.url}/api/v1/sessions/{session}/files?" + (f"_id={id}" if id else "name=a.svs"),
            sent=[part],
        )
        id = told["_id"]
        assert status == (201 if at == 0 else 200)

    assert (told["done"], told["md5"]) == (True, md5(data))


@pytest.mark.broker
@pytest.mark.slow
def test_a_large_file_from_a_pipe_goes_through_without_staying_in_memory(mongod: str, tmp_path: Path) -> None:
    assert shutil.disk_usage(tmp_path).free > 4 * LARGE
    database = f"curl_{uuid.uuid4().hex[:8]}"
    prepare(mongod, database)
    block, digest = slide(MIB), hashlib.md5()

    def pieces() -> Iterator[bytes]:
        for n in range(LARGE // MIB):
            piece = block if n == 0 else block[:-8] + n.to_bytes(8)
            digest.update(piece)
            yield piece

    try:
        with GatewayProcess(mongod, database, tmp_path) as gateway:
            with Client(gateway.url) as client:
                address = f"{gateway.url}/api/v1/sessions/{client.session()}/files?name=large.svs"
            status, told = asyncio.run(curl("-T", "-", address, sent=pieces()))
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{gateway.pid}/status").read_text())
    finally:
        with pymongo.MongoClient[dict[str, Any]](mongod) as driver:
            driver.drop_database(database)

    assert (status, told["state"], told["total"], told["md5"]) == (201, "complete", LARGE, digest.hexdigest())
    assert peak is not None
    assert int(peak[1]) * 1024 < MOST_MEMORY
