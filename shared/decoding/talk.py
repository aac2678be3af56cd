"""One call's conversation with a decoder child."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

from shared.decoding import wire
from shared.decoding.decoder import Buffer, Child, Reply
from shared.decoding.forks import ForkServer
from shared.errors import DecoderDied, Reject, RetryLater, Unavailable

Reader = Callable[[int, int], Awaitable[bytes]]

# Reading the source counts against the database rather than the slide, but not without end.
_READING_FACTOR = 10
_MOST_READ_BYTES = 16 * 2**20


class Slot:
    """Room for one child."""

    def __init__(self) -> None:
        self.child: Child | None = None

    def clear(self) -> None:
        """Ends the child, if there is one."""
        if self.child is not None:
            self.child.close()
            self.child = None


class Talk:
    """One call's conversation with one child, a blocking exchange in a worker thread at a time.

    `feed` is the child's end of the call's feed, and `ended` says that the child is ready for another call.
    """

    def __init__(
        self,
        slot: Slot,
        call: wire.Call,
        inputs: Sequence[Buffer],
        reader: Reader | None,
        seconds: float,
        writes: int,
        server: ForkServer,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.ended = False
        self.feed: socket.socket | None = None
        self._slot = slot
        self._call: wire.Call | None = call
        self._name = getattr(call.function, "__name__", str(call.function))
        self._inputs = inputs
        self._reader = reader
        self._seconds = seconds
        self._writes = writes
        self._computed = 0.0
        self._reading = 0.0
        self._server = server
        self._threads = threads
        self._abandoned = False
        self._exchange: Future[Reply] | None = None

    async def next(self) -> wire.Done | list[tuple[Any, bytes]]:
        """The next batch, or the end."""
        answer: wire.Answer | None = None
        while True:
            try:
                self._exchange = self._threads.submit(self._blocking, answer)
            except RuntimeError:
                raise Unavailable("the decoders are closed") from None
            try:
                reply = await asyncio.wrap_future(self._exchange)
            except TimeoutError:
                raise DecoderDied(f"the decoder took longer than {self._seconds:g} s") from None
            match reply:
                case wire.Read(offset, length):
                    answer = wire.Answer(await self._read(offset, length))
                    continue
                case wire.Refused(reason, remedy, heard):
                    self.ended = True
                    raise Reject(reason, remedy, heard)
                case wire.Broken(traceback):
                    self.ended = True
                    raise RuntimeError(f"{self._name} failed in a decoder child. {traceback}")
                case wire.DiskFull():
                    self.ended = True
                    raise RetryLater("The disk of the decoders' temporary files (TMPDIR) is full.")
                case wire.OutOfMemory():
                    raise DecoderDied("the decoder needed more memory than it may have")
                case wire.Done():
                    self.ended = True
            return reply

    def _blocking(self, answer: wire.Answer | None) -> Reply:
        child = self._slot.child
        if child is not None and self._call is not None and (self._writes or not child.alive()):
            self._slot.clear()
            child = None
        if child is None:
            child = self._slot.child = self._server.spawn(self._writes)
            if self._abandoned:
                child.kill()
        started = monotonic()
        left = self._seconds - self._computed
        try:
            if self._call is None:
                return child.proceed(answer, left)
            call, self._call = self._call, None
            return child.begin(call, self._inputs, self.feed, left)
        finally:
            self._computed += monotonic() - started

    async def _read(self, offset: int, length: int) -> bytes:
        if self._reader is None or offset < 0 or not 0 <= length <= _MOST_READ_BYTES:
            raise DecoderDied("the decoder asked for bytes that are none of its business")
        started = monotonic()
        try:
            async with asyncio.timeout(_READING_FACTOR * self._seconds - self._reading) as limit:
                return await self._reader(offset, length)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DecoderDied(f"the decoder read for longer than {_READING_FACTOR * self._seconds:g} s") from None
        finally:
            self._reading += monotonic() - started

    def abandon(self) -> None:
        """Ends the child, whoever is waiting for it."""
        self._abandoned = True
        if self._slot.child is not None:
            self._slot.child.kill()

    def when_silent(self, then: Callable[["Future[Reply] | None"], None]) -> None:
        """Runs `then` once no thread talks to the child any more, possibly in that thread."""
        if self._exchange is None:
            then(None)
        else:
            self._exchange.add_done_callback(then)
