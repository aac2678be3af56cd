"""The proxy ails as it says: what a run survives is what it was given."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import LATENCY_SECONDS, LIMIT_BYTES, SLOW_BYTES_PER_SECOND, Proxy

SOON = 10.0


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(lambda: server.sockets[0].getsockname()[1])
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, proxy: Proxy) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    async def says_back(self, data: bytes) -> bool:
        self.writer.write(data)
        async with asyncio.timeout(SOON):
            return await self.reader.readexactly(len(data)) == data

    async def ended(self) -> bool:
        async with asyncio.timeout(SOON):
            try:
                return await self.reader.read(1) == b""
            except OSError:
                return True


async def test_without_a_toxic_everything_passes(proxy: Proxy) -> None:
    client = await Client.of(proxy)
    assert await client.says_back(b"x" * 300_000)
    client.writer.write_eof()
    assert await client.ended()


async def test_latency_delays_and_a_narrow_line_takes_its_time(proxy: Proxy) -> None:
    client = await Client.of(proxy)
    proxy.poison("latency")
    before = time.monotonic()
    assert await client.says_back(b"x")
    assert time.monotonic() - before >= 2 * LATENCY_SECONDS

    proxy.poison("slow")
    before = time.monotonic()
    assert await client.says_back(b"x" * (SLOW_BYTES_PER_SECOND // 4))
    assert time.monotonic() - before >= 0.25


async def test_a_cut_ends_connections_and_refuses_new_ones_until_it_heals(proxy: Proxy) -> None:
    client = await Client.of(proxy)
    assert await client.says_back(b"x")
    proxy.poison("cut")
    assert await client.ended()
    assert await (await Client.of(proxy)).ended()
    proxy.heal()
    assert await (await Client.of(proxy)).says_back(b"x")


async def test_a_half_open_connection_says_nothing_and_is_reset_in_the_end(proxy: Proxy) -> None:
    client = await Client.of(proxy)
    assert await client.says_back(b"x")
    proxy.poison("half-open")
    client.writer.write(b"anybody?")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.reader.read(1)
    proxy.heal()
    assert await client.ended()
    assert await (await Client.of(proxy)).says_back(b"x")


async def test_a_limited_connection_ends_in_the_middle(proxy: Proxy) -> None:
    client = await Client.of(proxy)
    proxy.poison("limited")
    client.writer.write(b"x" * (3 * LIMIT_BYTES))
    received = 0
    try:
        async with asyncio.timeout(SOON):
            while piece := await client.reader.read(65536):
                received += len(piece)
    except OSError:
        pass
    assert received < 3 * LIMIT_BYTES
