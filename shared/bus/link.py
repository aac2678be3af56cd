"""Keeps one connection to a server alive: opens it again, with everything on it, whenever any part of it breaks."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

import structlog

from shared.errors import Unavailable

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 3.0
CLOSE_SECONDS = 2.0

log = structlog.get_logger()

T = TypeVar("T")


class Session(Protocol):
    """An open connection and what was made on it."""

    @property
    def broken(self) -> asyncio.Event:
        """Set once any part of it has ended."""
        ...

    async def close(self) -> None:
        """Ends it; may take long or fail if the server has gone."""
        ...


S = TypeVar("S", bound=Session)


async def outcome(work: Awaitable[T], seconds: float) -> T | BaseException:
    """What `work` returned or raised, or a TimeoutError.

    It runs in a task of its own: clients cancel whoever waits for a connection that breaks, and that is no stop for us.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        task.cancel()
    if not task.done():
        # Some clients take their time even to be cancelled.
        return TimeoutError(f"no answer within {seconds:.0f} s")
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


class Link(Generic[S]):
    """`make` opens a session or raises; the link calls it again for as long as it lives.

    `seconds` is the longest that `make` may take.
    """

    def __init__(self, name: str, make: Callable[[], Awaitable[S]], seconds: float) -> None:
        self._name = name
        self._make = make
        self._seconds = seconds
        self._session: S | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._error = "it is not connected"

    async def open(self) -> None:
        """Connects, and stays connected until `close`. Raises what the first attempt raised, and may be repeated."""
        if self._keeper is None:
            try:
                self._session = await self._opened()
            except Exception as error:
                self._error = str(error)
                raise
            self._up.set()
            self._keeper = asyncio.create_task(self._keep(self._session))

    def now(self) -> S:
        """The session, if there is one at this moment; else raises `Unavailable`."""
        if self._session is None or self._session.broken.is_set():
            raise Unavailable(f"The broker can't be reached for {self._name}: {self._error}.")
        return self._session

    async def soon(self, seconds: float) -> S:
        """The session, waiting for it; raises `Unavailable` after `seconds`, or at once if it was closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._keeper is not None:
                    await self._up.wait()
                    with suppress(Unavailable):
                        return self.now()
                    # It broke this moment; its keeper has yet to hear of it.
                    await asyncio.sleep(0)
        return self.now()

    async def close(self) -> None:
        """Ends the session and does not come back."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        session, self._session, self._keeper = self._session, None, None
        self._error = "it was closed"
        if session is not None:
            await outcome(session.close(), CLOSE_SECONDS)

    async def _opened(self) -> S:
        session = await outcome(self._make(), self._seconds)
        if isinstance(session, asyncio.CancelledError | TimeoutError):
            raise Unavailable(
                f"The broker can't be reached for {self._name}: it ended the connection at once, or late."
            )
        if isinstance(session, BaseException):
            raise session
        return session

    async def _keep(self, session: S) -> None:
        while True:
            await session.broken.wait()
            self._session = None
            self._up.clear()
            self._error = "the connection broke"
            log.warning("connection lost", connection=self._name)
            await outcome(session.close(), CLOSE_SECONDS)
            session = self._session = await self._again()
            self._up.set()
            log.info("connected again", connection=self._name)

    async def _again(self) -> S:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._opened()
            except Exception as error:
                self._error = str(error) or type(error).__name__
                log.warning("not connected yet", connection=self._name, error=self._error)
            pause = min(pause * 2, LONGEST_PAUSE)
