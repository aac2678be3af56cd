"""One writer for each upload: whoever comes next makes the one before stop, keep what it has, and say how far it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from shared.http.problems import Problem

STOP_SECONDS = 10.0


@dataclass(eq=False)
class Writer:
    """A request that is bringing bytes, until another one takes its place."""

    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: bool = False
    _waiting: asyncio.Timeout | None = None

    def stop(self) -> None:
        """Its client may have gone long ago without our noticing: it waits for no more bytes."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def wait(self, piece: Awaitable[bytes]) -> bytes:
        """What `piece` gives, or a 409 once another request has taken over."""
        try:
            async with asyncio.timeout(-1 if self._stopped else None) as self._waiting:
                return await piece
        except TimeoutError:
            raise Problem(
                409,
                "Another request went on with this upload.",
                "Ask with HEAD where to go on.",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._waiting = None


class Writers:
    """The requests of this process that are bringing bytes. Other gateways' notice that the token was raised."""

    def __init__(self) -> None:
        self._current: dict[str, Writer] = {}

    async def displace(self, upload: str) -> None:
        """Ends the request that is bringing bytes of this upload. One that can't end soon is no longer waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while (writer := self._current.get(upload)) is not None:
                    writer.stop()
                    await writer.gone.wait()

    @asynccontextmanager
    async def only(self, upload: str) -> AsyncIterator[Writer]:
        """Makes the caller the one who brings bytes of this upload."""
        await self.displace(upload)
        writer = self._current[upload] = Writer()
        try:
            yield writer
        finally:
            if self._current.get(upload) is writer:
                del self._current[upload]
            writer.gone.set()
