"""Connections that break or hang in the middle of a PATCH, and gateways that die there: one writer, nothing lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.upload.app import BYTES_IN_FLIGHT
from services.upload.tus.checks import tus_of
from tests.gateway.conftest import ADMIN, MIB, Served, serve, sha256, slide
from tests.gateway.tus import MEDIA, ask, begin, id_of, offset_of, patch

IN_FLIGHT = 256 * 1024


class Line:
    """A PATCH whose sender does as it likes: it may hang, break off, or wake up late."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> int | None:
        """The status, or None where the connection just ended."""
        try:
            line = await asyncio.wait_for(self.reader.readline(), 30)
        except ConnectionError:
            return None
        return int(line.split()[1]) if line else None

    def breaks(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def patching(
    gateway: Served, place: str, offset: int, length: int, headers: dict[str, str] | None = None
) -> AsyncIterator[Line]:
    """A PATCH that announces `length` bytes."""
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    said = {
        "Host": address.netloc,
        "Authorization": f"Bearer {ADMIN}",
        "Tus-Resumable": "1.0.0",
        "Content-Type": MEDIA,
        "Upload-Offset": str(offset),
        "Content-Length": str(length),
        **(headers or {}),
    }
    head = f"PATCH {place} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said.items()) + "\r\n"
    line = Line(reader, writer)
    try:
        await line.send(head.encode())
        yield line
    finally:
        writer.close()


async def taken_up(gateway: Served, place: str) -> None:
    """Waits until a first request has begun to bring bytes."""
    async with asyncio.timeout(30):
        while not tus_of(await gateway.upload(id_of(place))).sized:
            await asyncio.sleep(0.005)


async def stored_up_to(gateway: Served, place: str, offset: int) -> None:
    async with asyncio.timeout(30):
        while (await gateway.upload(id_of(place))).stored < offset:
            await asyncio.sleep(0.005)


async def stored_chunks(gateway: Served, place: str, count: int) -> None:
    async with asyncio.timeout(30):
        while len(await gateway.blobs.chunks(id_of(place))) < count:
            await asyncio.sleep(0.005)


async def received(gateway: Served, taken: int) -> None:
    """Waits until the gateway holds bytes of a block that is not whole: all but `taken` of them are taken."""
    async with asyncio.timeout(30):
        while gateway.gateway.intake.budget.free > BYTES_IN_FLIGHT - taken:
            await asyncio.sleep(0.005)


async def test_what_came_of_a_broken_request_is_kept(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(4 * MIB)
    place = await begin(gateway, session, len(data))

    async with patching(gateway, place, 0, len(data)) as line:
        await line.send(data[: MIB + 17])
        line.writer.close()
        await stored_up_to(gateway, place, 1)
    offset = await offset_of(gateway, place)
    last = await patch(gateway, place, offset, data[offset:])

    # No more than what aiohttp had not yet handed out when the line broke.
    assert MIB + 17 - IN_FLIGHT <= offset <= MIB + 17
    assert last.status == 204
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_head_takes_over_from_a_request_that_hangs(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(6 * MIB)
    place = await begin(gateway, session, len(data))

    async with patching(gateway, place, 0, len(data)) as line:
        await line.send(data[: 5 * MIB])
        await stored_chunks(gateway, place, 1)
        offset = await offset_of(gateway, place)
        ended = await line.answer()
    last = await patch(gateway, place, offset, data[offset:])

    assert 4 * MIB <= offset <= 5 * MIB
    assert ended == 409
    assert last.status == 204
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_a_request_without_head_takes_over_too(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))

    async with patching(gateway, place, 0, len(data)):
        await taken_up(gateway, place)
        answer = await patch(gateway, place, 0, data)

    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(MIB))
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_another_gateway_takes_over_and_the_late_bytes_of_the_first_do_no_harm(
    gateway: Served, page: Path
) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    place = await begin(gateway, session, len(data))

    async for other in serve(gateway.store, gateway.blobs, page):
        async with patching(gateway, place, 0, len(data)) as late:
            await late.send(data[:300_000])
            await taken_up(gateway, place)
            offset = await offset_of(other, place)
            first = await patch(other, place, offset, data[offset : offset + 200_000])
            await late.send(data[300_000:])
            refused = await late.answer()
        went_on = await offset_of(other, place)
        last = await patch(other, place, went_on, data[went_on:])

    assert (first.status, refused, last.status) == (204, 409, 204)
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)
    assert len(await gateway.published()) + len(await other.published()) == 1


@pytest.mark.parametrize("first", [300_000, 100_000], ids=["longer", "shorter"])
async def test_a_piece_that_a_dead_gateway_did_not_note_is_made_use_of(gateway: Served, first: int) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:1000])
    # Stored, but its gateway died before it could say so.
    await gateway.gateway.intake.holding.begin(await gateway.upload(id_of(place)), 1000, data[1000 : 1000 + first])

    without_head = await patch(gateway, place, 1000, data[1000:201_000])
    offset = await offset_of(gateway, place)
    last = await patch(gateway, place, offset, data[offset:])

    assert without_head.status == 204
    assert offset == max(201_000, 1000 + first)
    assert last.status == 204
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_other_bytes_than_a_dead_gateway_stored_are_refused(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:1000])
    await gateway.gateway.intake.holding.begin(await gateway.upload(id_of(place)), 1000, b"another file's bytes")

    answer = await patch(gateway, place, 1000, data[1000:2000])

    assert answer.status == 409
    assert "other contents" in answer.json["detail"]


async def test_chunks_that_a_dead_gateway_did_not_note_are_counted(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(3 * MIB + 5)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:MIB])
    for n in (1, 2):
        await gateway.blobs.put_chunk(id_of(place), n, data[n * MIB : (n + 1) * MIB])

    offset = await offset_of(gateway, place)
    last = await patch(gateway, place, offset, data[offset:])

    assert (offset, last.status) == (3 * MIB, 204)
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_what_a_dead_gateway_had_stored_whole_is_completed_by_asking(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:MIB])
    await gateway.blobs.put_chunk(id_of(place), 1, data[MIB:])

    assert await offset_of(gateway, place) == len(data)

    upload = await gateway.upload(id_of(place))
    assert (upload.state, upload.sha256) == ("complete", sha256(data))


async def test_of_many_who_go_on_at_once_one_brings_the_bytes(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))

    async def go_on() -> int:
        return (await patch(gateway, place, 0, data)).status

    statuses = await asyncio.gather(*(go_on() for _ in range(8)))
    if await offset_of(gateway, place) < len(data):
        offset = await offset_of(gateway, place)
        await patch(gateway, place, offset, data[offset:])

    assert statuses.count(204) <= 1
    assert set(statuses) <= {204, 409}
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)
    assert len(await gateway.published()) == 1
    assert gateway.gateway.intake.budget.free == BYTES_IN_FLIGHT


async def test_an_upload_can_be_ended_while_its_bytes_come(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(6 * MIB)
    place = await begin(gateway, session, len(data))

    async with patching(gateway, place, 0, len(data)) as line:
        await line.send(data[: 5 * MIB])
        await stored_chunks(gateway, place, 1)
        ended = await ask(gateway, "DELETE", place)
        answer = await line.answer()

    assert (ended.status, answer) == (204, 409)
    assert (await ask(gateway, "HEAD", place)).status == 410
    assert await gateway.images(session) == []
    assert await gateway.blobs.chunks(id_of(place)) == []
    assert await gateway.blobs.info(id_of(place)) is None


async def test_a_checked_request_that_breaks_leaves_nothing(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(6 * MIB)
    place = await begin(gateway, session, len(data))
    checksum = {"Upload-Checksum": "sha1 " + "A" * 27 + "="}

    async with patching(gateway, place, 0, len(data), checksum) as line:
        await line.send(data[: 5 * MIB])
        await received(gateway, len(data))
        line.breaks()

    assert await offset_of(gateway, place) == 0
    assert await gateway.blobs.chunks(id_of(place)) == []
    assert gateway.gateway.intake.budget.free == BYTES_IN_FLIGHT
