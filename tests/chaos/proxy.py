"""A TCP proxy that ails on purpose: between services and a server, with one toxic at a time.

latency     every piece arrives late
slow        a narrow line: so many bytes a second
cut         every connection is reset, and new ones are refused
half-open   nothing passes any more and nobody is told; at its end the connections are reset
limited     a connection is reset after so many bytes, in the middle of whatever it says
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Toxic = Literal["latency", "slow", "cut", "half-open", "limited"]
TOXICS: tuple[Toxic, ...] = ("latency", "slow", "cut", "half-open", "limited")

LATENCY_SECONDS = 0.2
SLOW_BYTES_PER_SECOND = 64 * 1024
LIMIT_BYTES = 20_000
PIECE = 16 * 1024
STOP_SECONDS = 5.0


@dataclass(eq=False)
class _Connection:
    """A client's connection and the one that we made for it; `passed` counts bytes since the toxic began."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    passed: int = 0
    doomed: bool = False

    def reset(self) -> None:
        """Ends both sides without a farewell, as a host that has forgotten them would."""
        for writer in (self.client, self.server):
            connected: socket.socket = writer.get_extra_info("socket")
            if connected.fileno() >= 0:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@dataclass
class Proxy:
    """Forwards its own port to `upstream`, asked anew for each connection, since a server may have moved meanwhile."""

    upstream: Callable[[], int]
    toxic: Toxic | None = None
    port: int = 0
    _connections: list[_Connection] = field(default_factory=list)
    _serving: "set[asyncio.Task[None]]" = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def poison(self, toxic: Toxic) -> None:
        """Begins to ail, existing connections included."""
        self.toxic = toxic
        for connection in list(self._connections):
            connection.passed = 0
            if toxic == "cut":
                connection.reset()
            connection.doomed = toxic == "half-open"

    def forget_oldest(self) -> None:
        """Lets the connection that is up for longest, and no other, be half-open until `heal`."""
        if self._connections:
            self._connections[0].doomed = True

    def heal(self) -> None:
        """Is well again; connections that were half-open are reset now."""
        self.toxic = None
        for connection in list(self._connections):
            if connection.doomed:
                connection.reset()

    async def stop(self) -> None:
        """Ends every connection and listens no more."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.reset()
        if self._serving:
            await asyncio.wait(self._serving, timeout=STOP_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.toxic == "cut":
            writer.transport.abort()
            return
        try:
            back, onward = await asyncio.open_connection("127.0.0.1", self.upstream())
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, onward, doomed=self.toxic == "half-open")
        self._connections.append(connection)
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            await asyncio.gather(self._pump(connection, reader, onward), self._pump(connection, back, writer))
        except OSError:
            connection.reset()
        finally:
            self._connections.remove(connection)
            connection.reset()

    async def _pump(self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(PIECE):
            connection.passed += len(piece)
            match self.toxic:
                case "latency":
                    await asyncio.sleep(LATENCY_SECONDS)
                case "slow":
                    await asyncio.sleep(len(piece) / SLOW_BYTES_PER_SECOND)
                case "limited" if connection.passed > LIMIT_BYTES:
                    sink.write(piece[: len(piece) // 2])
                    await sink.drain()
                    raise ConnectionResetError
            if connection.doomed:
                # It stays so until it is reset: what was said meanwhile never arrives.
                continue
            sink.write(piece)
            await sink.drain()
        if not connection.doomed:
            sink.write_eof()


@contextmanager
def running(*proxies: Proxy) -> Iterator[asyncio.AbstractEventLoop]:
    """Runs proxies in a thread of their own; `poison` and `heal` are called in its loop, which is given."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        for proxy in proxies:
            asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(10)
        yield loop
    finally:
        for proxy in proxies:
            asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
