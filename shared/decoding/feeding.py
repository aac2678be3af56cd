"""Bytes that a decoder child reads once, in order, while they still come: a socket with a service at its other end.

Not a pipe: whoever waits for room in a full pipe is woken for each page that is read, and one who reads 8 KB at a time
wakes him a hundred times for each megabyte. A socket has a sender sleep until three quarters of what it holds are read.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress

Feed = AsyncGenerator[bytes, None]

# Less where the system allows less.
_HELD_BYTES = 2**20


@asynccontextmanager
async def fed(pieces: Feed | None, threads: ThreadPoolExecutor) -> AsyncIterator[socket.socket | None]:
    """The end that is for the child, for as long as the context is open; None where there is nothing to read.

    One of the `threads` sends while the next piece is awaited. Where reading `pieces` fails, the child sees no more
    than an end: what it makes of that gives way to the error.
    """
    if pieces is None:
        yield None
        return
    into, out = socket.socketpair()
    into.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HELD_BYTES)
    filling = asyncio.create_task(_fill(into, pieces, threads))
    try:
        yield out
    except Exception as consequence:
        cause = filling.exception() if filling.done() and not filling.cancelled() else None
        if cause is not None:
            raise cause from consequence
        raise
    finally:
        out.close()
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


async def _fill(into: socket.socket, pieces: Feed, threads: ThreadPoolExecutor) -> None:
    sending: Future[None] | None = None
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                sending = threads.submit(into.sendall, piece)
                try:
                    await asyncio.wrap_future(sending)
                except ConnectionError:
                    # The child has read all it wanted, or died.
                    return
    finally:
        # Ends a send that waits for somebody to read; what was sent can still be read.
        with suppress(OSError):
            into.shutdown(socket.SHUT_RDWR)
        if sending is None:
            into.close()
        else:
            # In that thread, if it still runs: nobody else may get the descriptor's number before.
            sending.add_done_callback(lambda _: into.close())
