"""The pool of decoder children as handlers use it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from shared.decoding import wire
from shared.decoding.decoder import Buffer, Reply
from shared.decoding.feeding import Feed, fed
from shared.decoding.forks import ForkServer
from shared.decoding.talk import Reader, Slot, Talk
from shared.errors import DecoderDied, Postponed
from shared.heap import give_back

# So long after the last call the service gives back the memory that it kept for the next.
_REST_SECONDS = 2.0
# Whoever waits for a child for longer comes again instead: what keeps them all may do so for 20 minutes.
PLACE_SECONDS = 180.0
_MOST_ASIDE = 8

R = TypeVar("R")
K = TypeVar("K")


class Decoders:
    """Persistent child processes that run functions which touch images; use it with `async with`.

    `preload` is the module or package whose functions are run, loaded once before the children are forked. `children`
    is how many calls run at once, `memory` each child's limit in bytes of private memory, libraries included. A child
    is replaced after `units` calls, and whenever it died or was interrupted.
    """

    def __init__(self, preload: str, children: int, memory: int, units: int = 200) -> None:
        self._units = units
        self._server = ForkServer(preload, memory)
        self._slots = [Slot() for _ in range(children)]
        self._idle: asyncio.LifoQueue[Slot] = asyncio.LifoQueue()
        self._threads = ThreadPoolExecutor(max_workers=children, thread_name_prefix="decoder")
        self._aside = ThreadPoolExecutor(max_workers=_MOST_ASIDE, thread_name_prefix="aside")
        self._rest: asyncio.TimerHandle | None = None
        self._feeders = ThreadPoolExecutor(max_workers=children, thread_name_prefix="feeder")

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
        await asyncio.to_thread(self._aside.shutdown)
        await asyncio.to_thread(self._feeders.shutdown)
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
        writes: int = 0,
        aside: bool = False,
    ) -> R:
        """Runs `function(*args)` in a child and returns what it returned: plain data or value classes of ours.

        With `inputs` the function gets a keyword `inputs` with read-only views of their bytes. With `reader`, called
        here with (offset, length) in bytes, it gets a keyword `source`: a seekable binary file, whose end is looked
        for by reading unless `length` says it. `seconds` bounds the child's own time. A function that `writes` files
        of up to so many bytes each gets a child of its own. What takes long and decodes nothing is done `aside`, by a
        child that is none of the `children`.

        Raises `Reject` as the function did, `RetryLater` where it found its disk full, RuntimeError with the traceback
        for anything else it raised, `DecoderDied` if the child did not survive it, `Postponed` if none was free for
        long, and whatever `reader` raised.
        """
        call = _call_of(function, args, False, inputs, reader, length, None)
        slot = Slot() if aside else await self._free()
        with self._talk(slot, call, inputs or (), reader, seconds, writes, aside) as talk:
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
        feed: Feed | None = None,
        seconds: float = 60.0,
        writes: int = 0,
    ) -> AsyncGenerator[list[tuple[K, bytes]], None]:
        """Runs a generator of (key, bytes) in a child and yields its results in order, in batches of a few MiB.

        The child works ahead by at most two batches while the caller handles one; that time does not count against
        `seconds`. Whoever may stop before the end closes the stream (`contextlib.aclosing`), which ends the child and
        frees its place at once.

        With `feed` the function gets a keyword `feed`, a descriptor from which it can read these bytes once and in
        order; waiting for them is the child's time. What the feed raises is raised here, whatever the function made
        of the early end. Everything else is as in `call`.
        """
        call = _call_of(function, args, True, inputs, reader, length, feed)
        slot = await self._free()
        with self._talk(slot, call, inputs or (), reader, seconds, writes) as talk:
            async with fed(feed, self._feeders) as talk.feed:
                while not isinstance(reply := await talk.next(), wire.Done):
                    yield reply

    async def _free(self) -> Slot:
        try:
            async with asyncio.timeout(PLACE_SECONDS):
                return await self._idle.get()
        except TimeoutError:
            raise Postponed(f"No decoder was free for {PLACE_SECONDS:g} s.") from None

    @contextmanager
    def _talk(
        self,
        slot: Slot,
        call: wire.Call,
        inputs: Sequence[Buffer],
        reader: Reader | None,
        seconds: float,
        writes: int,
        aside: bool = False,
    ) -> Iterator[Talk]:
        if self._rest is not None:
            self._rest.cancel()
        threads = self._aside if aside else self._threads
        talk = Talk(slot, call, inputs, reader, seconds, writes, self._server, threads)
        loop = asyncio.get_running_loop()
        try:
            yield talk
        finally:
            if talk.ended and slot.child is not None and slot.child.calls < self._units and not writes and not aside:
                slot.child.rest()
                self._idle.put_nowait(slot)
                if self._idle.qsize() == len(self._slots):
                    self._rest = loop.call_later(_REST_SECONDS, give_back)
            else:
                # Nothing here may wait: the slot comes back by itself when its thread has seen the child's end.
                talk.abandon()

                def free(_: Future[Reply] | None) -> None:
                    slot.clear()
                    if aside:
                        return
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
    feed: Feed | None,
) -> wire.Call:
    lengths = None if inputs is None else tuple(len(part) for part in inputs)
    return wire.Call(function, args, streams, lengths, reader is not None, length, feed is not None)
