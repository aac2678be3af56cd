"""One writer for each upload: whoever comes next makes the one before stop, keep what it has, and say how far it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

STOP_SECONDS = 10.0


@dataclass(eq=False)
class _Writer:
    request: web.Request
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Breaks its connection off, as its client may have done long ago without our noticing."""
        if self.request.transport is not None:
            self.request.transport.abort()


class Writers:
    """The requests of this process that are bringing bytes. Other gateways' notice that the token was raised."""

    def __init__(self) -> None:
        self._current: dict[str, _Writer] = {}

    async def displace(self, upload: str) -> None:
        """Ends the request that is bringing bytes of this upload. One that can't end soon is no longer waited for."""
        writer = self._current.get(upload)
        if writer is None:
            return
        writer.stop()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await writer.gone.wait()
        except TimeoutError:
            return

    @asynccontextmanager
    async def only(self, upload: str, request: web.Request) -> AsyncIterator[None]:
        """Makes a request the one that brings bytes of this upload."""
        await self.displace(upload)
        writer = self._current[upload] = _Writer(request)
        try:
            yield
        finally:
            if self._current.get(upload) is writer:
                del self._current[upload]
            writer.gone.set()
