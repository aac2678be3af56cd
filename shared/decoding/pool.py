"""The pool of decoder children as handlers use it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

from shared.decoding import wire
from shared.decoding.forks import Buffer, Child, ForkServer, Reply
from shared.errors import DecoderDied, Reject, Unavailable

R = TypeVar("R")
K = TypeVar("K")
Reader = Callable[[int, int], Awaitable[bytes]]

# Reading the source counts against the database rather than the slide, but not without end.
_READING_FACTOR = 10
_MOST_READ_BYTES = 16 * 2**20


class Decoders:
    """Persistent child processes that run functions which touch images; use it with `async with`.

    `preload` is the module whose functions are run, loaded once before the children are forked. `children` is how
    many calls run at once, `memory` each child's limit in bytes of private memory, libraries included. A child is
    replaced after `units` calls, and whenever it died or was interrupted.
    """

    def __init__(self, preload: str, children: int, memory: int, units: int = 200) -> None:
        self._units = units
        self._server = ForkServer(preload, memory)
        self._slots = [_Slot() for _ in range(children)]
        self._idle: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        self._threads = ThreadPoolExecutor(max_workers=children, thread_name_prefix="decoder")

    async def __aenter__(self) -> Self:
        """Starts the fork server. Raises RuntimeError with the reason if `preload` can't be loaded."""
        self._server.launch()
        try:
            await asyncio.to_thread(self._server.wait_until_loaded)
        except BaseException:
            self._server.abort()
            raise
        for slot in self._slots:
            self._idle.put_nowait(slot)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every child, busy or not: calls still under way raise `Unavailable`."""
        await asyncio.to_thread(self._server.close)
        await asyncio.to_thread(self._threads.shutdown)
        for slot in [self._idle.get_nowait() for _ in range(self._idle.qsize())]:
            slot.clear()
            self._idle.put_nowait(slot)

    async def call(
        self,
        function: Callable[..., R],
        *args: Any,
        inputs: Sequence[Buffer] | None = None,
        reader: Reader | None = None,
        length: int | None = None,
        seconds: float = 60.0,
    ) -> R:
        """Runs `function(*args)` in a child and returns what it returned: plain data or value classes of ours.

        With `inputs` the function gets a keyword `inputs` with read-only views of their bytes. With `reader`, called
        here with (offset, length) in bytes, it gets a keyword `source`: a seekable binary file, whose end is looked
        for by reading unless `length` says it. `seconds` bounds the child's own time.

        Raises `Reject` as the function did, RuntimeError with the traceback for anything else it raised, `DecoderDied`
        if the child did not survive it, and whatever `reader` raised.
        """
        call = _call_of(function, args, False, inputs, reader, length)
        slot = await self._idle.get()
        with self._talk(slot, call, inputs or (), reader, seconds) as talk:
            reply = await talk.next()
            if isinstance(reply, wire.Done):
                result: R = reply.value
                return result
        raise DecoderDied("the decoder sent results that nobody asked for")

    async def stream(
        self,
        function: Callable[..., Iterable[tuple[K, bytes]]],
        *args: Any,
        inputs: Sequence[Buffer] | None = None,
        reader: Reader | None = None,
        length: int | None = None,
        seconds: float = 60.0,
    ) -> AsyncGenerator[list[tuple[K, bytes]], None]:
        """Runs a generator of (key, bytes) in a child and yields its results in order, in batches of a few MiB.

        The child works ahead by at most two batches while the caller handles one; that time does not count against
        `seconds`. Whoever may stop before the end closes the stream (`contextlib.aclosing`), which ends the child and
        frees its place at once. Everything else is as in `call`.
        """
        call = _call_of(function, args, True, inputs, reader, length)
        slot = await self._idle.get()
        with self._talk(slot, call, inputs or (), reader, seconds) as talk:
            while not isinstance(reply := await talk.next(), wire.Done):
                yield reply

    @contextmanager
    def _talk(
        self, slot: "_Slot", call: wire.Call, inputs: Sequence[Buffer], reader: Reader | None, seconds: float
    ) -> Iterator["_Talk"]:
        talk = _Talk(slot, call, inputs, reader, seconds, self._server, self._threads)
        loop = asyncio.get_running_loop()
        try:
            yield talk
        finally:
            if talk.ended and slot.child is not None and slot.child.calls < self._units:
                slot.child.rest()
                self._idle.put_nowait(slot)
            else:
                # Nothing here may wait: the slot comes back by itself when its thread has seen the child's end.
                talk.abandon()

                def free(_: "Future[Reply] | None") -> None:
                    slot.clear()
                    with suppress(RuntimeError):
                        loop.call_soon_threadsafe(self._idle.put_nowait, slot)

                talk.when_silent(free)


def _call_of(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    streams: bool,
    inputs: Sequence[Buffer] | None,
    reader: Reader | None,
    length: int | None,
) -> wire.Call:
    lengths = None if inputs is None else tuple(len(part) for part in inputs)
    return wire.Call(function, args, streams, lengths, reader is not None, length)


class _Slot:
    """Room for one child."""

    def __init__(self) -> None:
        self.child: Child | None = None

    def clear(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None


class _Talk:
    """One call's conversation with one child, a blocking exchange in a worker thread at a time."""

    def __init__(
        self,
        slot: _Slot,
        call: wire.Call,
        inputs: Sequence[Buffer],
        reader: Reader | None,
        seconds: float,
        server: ForkServer,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.ended = False
        self._slot = slot
        self._call: wire.Call | None = call
        self._name = getattr(call.function, "__name__", str(call.function))
        self._inputs = inputs
        self._reader = reader
        self._seconds = seconds
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
                case wire.Refused(reason, remedy):
                    self.ended = True
                    raise Reject(reason, remedy)
                case wire.Broken(traceback):
                    self.ended = True
                    raise RuntimeError(f"{self._name} failed in a decoder child. {traceback}")
                case wire.OutOfMemory():
                    raise DecoderDied("the decoder needed more memory than it may have")
                case wire.Done():
                    self.ended = True
            return reply

    def _blocking(self, answer: wire.Answer | None) -> Reply:
        child = self._slot.child
        if child is not None and self._call is not None and not child.alive():
            self._slot.clear()
            child = None
        if child is None:
            child = self._slot.child = self._server.spawn()
            if self._abandoned:
                child.kill()
        started = monotonic()
        left = self._seconds - self._computed
        try:
            if self._call is None:
                return child.proceed(answer, left)
            call, self._call = self._call, None
            return child.begin(call, self._inputs, left)
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
