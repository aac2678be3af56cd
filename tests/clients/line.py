"""A bad line: forwards HTTP requests, and breaks off in the middle of every third one that brings bytes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
_PIECE = 64 * 1024


@dataclass
class BadLine:
    """`received` counts the bytes of bodies that were passed on, `faults` the times that it broke."""

    url: str
    every: int
    requests: int = 0
    faults: int = 0
    received: int = 0

    async def carry(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> bool:
        """One request; False once the line is to break."""
        head = await client.readuntil(b"\r\n\r\n")
        server.write(head)
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        self.requests += length > 0
        breaks = length > 0 and self.requests % self.every == 0
        left = length // 2 if breaks else length
        while left > 0:
            piece = await client.read(min(left, _PIECE))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            self.received += len(piece)
            server.write(piece)
            await server.drain()
        self.faults += breaks
        return not breaks


@asynccontextmanager
async def bad_line(url: str, every: int = 3) -> AsyncIterator[BadLine]:
    """A bad line to the server at `url`, with a port of its own."""
    address = urlsplit(url)
    lines: set[asyncio.Task[None]] = set()

    async def back(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while piece := await server.read(_PIECE):
            client.write(piece)
            await client.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, out = await asyncio.open_connection(address.hostname, address.port)
        answers = asyncio.create_task(back(to, writer))
        try:
            while await line.carry(reader, out):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            out.transport.abort()
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        lines.add(task)
        task.add_done_callback(lines.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    line = BadLine(f"http://{host}:{port}", every)
    try:
        yield line
    finally:
        listening.close()
        for task in list(lines):
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)
