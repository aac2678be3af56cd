"""The uploaded file, given back as it came."""

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse

from services.viewer.core import attachment, byte_range
from shared.errors import Unavailable
from shared.store.documents.versions import VersionId
from tests.viewer.conftest import IMAGE, NOW, Site

FILE = "f" * 32
CHUNK = 1000
DATA = random.Random(7).randbytes(4_321)
SHA256 = hashlib.sha256(DATA)
ETAG = f'"{SHA256.hexdigest()}"'


async def put_original(site: Site, data: bytes = DATA, *, state: str = "ready", chunk: int = CHUNK) -> None:
    await site.put_version(state=state)
    version = VersionId(image=IMAGE, n=1)
    await site.store.versions.update(version, set={"stages.upload.ended": NOW, "length": len(data)})
    await site.blobs.create(FILE, name="x", chunk=chunk, refs=(f"{IMAGE}:1",))
    for n in range(-(-len(data) // chunk)):
        await site.blobs.put_chunk(FILE, n, data[n * chunk : (n + 1) * chunk])
    await site.blobs.commit(FILE, length=len(data), md5="", sha256=hashlib.sha256(data).hexdigest())


async def get(site: Site, method: str = "GET", path: str = "file", **headers: str) -> tuple[ClientResponse, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with site.http.request(method, site.address(path), headers=names) as response:
        return response, await response.read()


async def test_the_whole_file_comes_with_its_name_and_its_digest(site: Site) -> None:
    await put_original(site)

    response, body = await get(site)

    assert (200, DATA) == (response.status, body)
    headers = response.headers
    digest = base64.b64encode(SHA256.digest()).decode()
    assert headers["Content-Length"] == "4321"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == ETAG
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert headers["Content-Disposition"] == (
        "attachment; filename=\"Pr_parat 7.svs\"; filename*=UTF-8''Pr%C3%A4parat%207.svs"
    )
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_slide_of_several_files_is_saved_as_the_zip_that_it_is(site: Site) -> None:
    await put_original(site, b"PK\x03\x04" + DATA)

    response, body = await get(site)

    assert body == b"PK\x03\x04" + DATA
    assert response.headers["Content-Disposition"].endswith("Pr%C3%A4parat%207.svs.zip")


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=999-1000", 999, 1001),
        ("bytes=1500-", 1500, 4321),
        ("bytes=-1", 4320, 4321),
        ("bytes=-99999", 0, 4321),
        ("bytes=4320-99999999999999999999", 4320, 4321),
        ("Bytes = 1 - 2", 1, 3),
    ],
)
async def test_a_range_is_given_alone(site: Site, header: str, start: int, stop: int) -> None:
    await put_original(site)

    response, body = await get(site, Range=header)

    assert (206, DATA[start:stop]) == (response.status, body)
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/4321"
    assert response.headers["Content-Length"] == str(stop - start)
    assert response.headers["ETag"] == ETAG


@pytest.mark.parametrize(
    "header", ["bytes=5-4", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes", "bytes=a-b", "bytes=1--2"]
)
async def test_what_is_no_single_range_is_ignored(site: Site, header: str) -> None:
    await put_original(site)

    response, body = await get(site, Range=header)

    assert (200, len(DATA)) == (response.status, len(body))


@pytest.mark.parametrize("header", ["bytes=4321-", "bytes=-0", "bytes=99999999999999999999-"])
async def test_a_range_beyond_the_file_is_refused_with_its_length(site: Site, header: str) -> None:
    await put_original(site)

    async with site.http.get(site.address("file"), headers={"Range": header}) as response:
        told: dict[str, Any] = await response.json(content_type="application/problem+json")

    assert (416, "bytes */4321") == (response.status, response.headers["Content-Range"])
    assert "4321 bytes" in told["detail"]


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (ETAG, 206),
        ('"another"', 200),
        (f"W/{ETAG}", 200),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 200),
    ],
)
async def test_a_range_of_a_file_that_has_changed_is_the_whole_file(site: Site, condition: str, status: int) -> None:
    await put_original(site)

    response, body = await get(site, Range="bytes=0-9", If_Range=condition)

    assert status == response.status
    assert body == (DATA[:10] if status == 206 else DATA)


async def test_head_tells_everything_but_the_bytes(site: Site) -> None:
    await put_original(site)

    response, body = await get(site, "HEAD", Range="bytes=0-9")

    assert (200, b"", "4321", ETAG) == (
        response.status,
        body,
        response.headers["Content-Length"],
        response.headers["ETag"],
    )


async def test_conditions_are_kept(site: Site) -> None:
    await put_original(site)

    had, _ = await get(site, If_None_Match=f'"x", W/{ETAG}', Range="bytes=0-9")
    any_, _ = await get(site, If_None_Match="*")
    same, _ = await get(site, If_Match=ETAG)
    other, _ = await get(site, If_Match=f"W/{ETAG}")

    assert (304, 304, 200, 412) == (had.status, any_.status, same.status, other.status)
    assert had.headers["ETag"] == ETAG


async def test_a_slide_that_failed_gives_its_file_back(site: Site) -> None:
    await put_original(site, state="failed")

    response, body = await get(site)

    assert (200, DATA) == (response.status, body)


async def test_a_file_on_its_way_is_no_original_yet(site: Site) -> None:
    await site.put_version(state="uploading", geometry=None)

    response, body = await get(site)

    assert response.status == 404
    assert b"has not arrived whole yet" in body


async def test_a_file_that_never_arrived_says_why(site: Site) -> None:
    await site.put_version(state="failed", geometry=None)

    response, body = await get(site)

    assert response.status == 404
    assert b"It is cut short." in body


@pytest.mark.parametrize(("token", "status"), [("stranger", 404), ("nobody", 401), ("admin", 200)])
async def test_only_who_may_see_the_image_gets_its_file(site: Site, token: str, status: int) -> None:
    await put_original(site)

    response, _ = await get(site, Authorization=f"Bearer {token}")

    assert status == response.status


async def test_a_deleted_image_gives_no_file_at_once(site: Site) -> None:
    await put_original(site)
    await get(site)

    await site.store.images.take(IMAGE)

    assert (await get(site))[0].status == 404


async def test_a_database_that_goes_away_breaks_the_answer_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await put_original(site)
    stream = site.blobs.stream

    async def broken(file: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        async for piece in stream(file, offset, 2 * CHUNK if length is None else min(length, 2 * CHUNK)):
            yield piece
        if length is None or length > 2 * CHUNK:
            raise Unavailable("The database has gone.")

    monkeypatch.setattr(site.blobs, "stream", broken)

    with pytest.raises(ClientPayloadError):
        await get(site)


async def test_a_client_that_reads_nothing_holds_up_the_reading_of_the_file(site: Site) -> None:
    """Of 64 MiB only what the connection's buffers take is read before the client takes the first byte."""
    chunk = 2**20
    await put_original(site, random.Random(1).randbytes(chunk) * 64, chunk=chunk)
    read, stream = 0, site.blobs.stream

    async def counted(file: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        nonlocal read
        async for piece in stream(file, offset, length):
            read += len(piece)
            yield piece

    site.blobs.stream = counted  # type: ignore[method-assign]
    reader, writer = await asyncio.open_connection(site.server.host, site.server.port)
    writer.write(f"GET /api/v1/images/{IMAGE}/file HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer owner\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    for _ in range(200):
        before = read
        await asyncio.sleep(0.02)
        if read == before > 0:
            break
    writer.close()

    assert b"200 OK" in head
    assert read < 32 * chunk


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.svs", "attachment; filename=\"a.svs\"; filename*=UTF-8''a.svs"),
        ('50% "x"\\.svs', "attachment; filename=\"50_ _x__.svs\"; filename*=UTF-8''50%25%20%22x%22%5C.svs"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"aSet-Cookie: x\"; filename*=UTF-8''aSet-Cookie%3A%20x"),
        ("\ud800.svs", "attachment; filename=\"_.svs\"; filename*=UTF-8''%EF%BF%BD.svs"),
    ],
)
def test_no_name_breaks_out_of_its_header(name: str, header: str) -> None:
    assert header == attachment(name)


def test_ranges_of_very_many_digits_are_numbers_all_the_same() -> None:
    assert byte_range("bytes=0-" + "9" * 40, 10) == range(10)
    assert byte_range("bytes=0-" + "9" * 41, 10) is None
