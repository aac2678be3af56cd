"""A stored file as a pipe that a decoder child reads while it still comes from the database."""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

_HELD_BYTES = 2**20


@asynccontextmanager
async def piped(pieces: AsyncGenerator[bytes, None]) -> AsyncIterator[str]:
    """The path by which a child of this process opens the pipe, once, for as long as the context is open.

    Where reading `pieces` fails, the child sees no more than an end: what it makes of that gives way to the error.
    """
    out, into = os.pipe()
    with suppress(OSError):
        # More than the default where the system lets us.
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _HELD_BYTES)
    os.set_blocking(into, False)
    filling = asyncio.create_task(_fill(into, pieces))
    try:
        yield f"/proc/{os.getpid()}/fd/{out}"
    except Exception as consequence:
        cause = filling.exception() if filling.done() and not filling.cancelled() else None
        if cause is not None:
            raise cause from consequence
        raise
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        os.close(out)


async def _fill(into: int, pieces: AsyncGenerator[bytes, None]) -> None:
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                left = memoryview(piece)
                while left:
                    try:
                        left = left[os.write(into, left) :]
                    except BlockingIOError:
                        await _writable(into)
    finally:
        os.close(into)


async def _writable(into: int) -> None:
    loop = asyncio.get_running_loop()
    room = loop.create_future()
    loop.add_writer(into, lambda: None if room.done() else room.set_result(None))
    try:
        await room
    finally:
        loop.remove_writer(into)
