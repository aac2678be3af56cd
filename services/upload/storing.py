"""Stores the blocks of one request: whole chunks in any order and several at a time, anything else in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from services.upload.conflicts import conflict, gap
from services.upload.core.spans import Span, expected_offset, held_until, joined, on_grid
from services.upload.digests import Digests, Running
from services.upload.feed import Block
from services.upload.holding import Held, Holding
from shared.blobs import Blobs
from shared.errors import ChunkConflict
from shared.store.documents.uploads import Upload

# Enough that the journal, which all of them wait for, is written in large pieces.
AT_ONCE = 8
# Of all requests together: the driver copies a chunk twice to write it, which the budget does not see.
WRITES = 8


@dataclass
class Stored:
    """What a request has stored so far: new bytes, whether some were there already, and how far without a gap.

    `stop` is where the request begins, to begin with. `noted` of the new bytes are written down in the upload's
    document, the last time at `noted_at`.
    """

    new: int = 0
    repeated: bool = False
    stop: int = 0
    noted: int = 0
    noted_at: float = 0.0

    def unnoted(self) -> int:
        """The new bytes since the last call, which the caller writes down."""
        new, self.noted = self.new - self.noted, self.new
        return new


def in_any_order(upload: Upload, span: Span, pieces: Sequence[Span]) -> bool:
    """Whether the range consists of whole chunks of which none of these pieces is stored, so that no order matters."""
    if not on_grid(span, upload.chunk, upload.total):
        return False
    return not any(piece.start < span.stop and piece.stop > span.start for piece in pieces)


@dataclass
class Storing:
    """Writes blocks to the file store, and gives their bytes back to the budget."""

    blobs: Blobs
    holding: Holding
    running: Running
    release: Callable[[int], None]
    _locks: "WeakValueDictionary[str, asyncio.Lock]" = field(default_factory=WeakValueDictionary)
    _writes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITES))

    async def whole_chunks(
        self, upload: Upload, blocks: AsyncIterator[Block], stored: Stored, settled: Callable[[], Awaitable[None]]
    ) -> None:
        """Stores whole chunks, writing and hashing some while the next arrive; `settled` follows each stored chunk.

        On an error the chunks that arrived whole are still stored and counted.
        """
        under_way: deque[tuple[Span, asyncio.Task[bool]]] = deque()
        latest: asyncio.Task[Digests] | None = None

        async def settle() -> None:
            span, storing = under_way.popleft()
            self._count(stored, span, await storing)

        try:
            async for block in blocks:
                latest = self._hash_ahead(upload, block, latest)
                under_way.append((block.span, asyncio.create_task(self._store(upload, block, latest))))
                del block
                # The first chunk alone: with it the image appears, however long the next one takes to come.
                most = AT_ONCE if upload.stored or stored.new else 1
                while under_way and (under_way[0][1].done() or len(under_way) >= most):
                    await settle()
                    await settled()
            while under_way:
                await settle()
        finally:
            while under_way:
                # The first error is already on its way.
                with suppress(Exception):
                    await settle()

    def _hash_ahead(
        self, upload: Upload, block: Block, latest: "asyncio.Task[Digests] | None"
    ) -> "asyncio.Task[Digests] | None":
        if latest is not None:
            return asyncio.create_task(_after(latest, block.data))
        known = self.running.of(upload.id)
        return asyncio.create_task(known.after(block.data)) if known.length == block.span.start else None

    async def _put(self, upload: Upload, block: Block) -> bool:
        try:
            async with self._writes:
                return await self.blobs.put_chunk(upload.id, block.span.start // upload.chunk, block.data)
        except ChunkConflict:
            raise conflict(upload, block.span) from None

    async def _store(self, upload: Upload, block: Block, digests: "asyncio.Task[Digests] | None") -> bool:
        """Gives the block back once it is stored and hashed, whatever its request is waiting for meanwhile.

        Requests that kept stored blocks until they got the next could wait for each other for ever.
        """
        try:
            new = await self._put(upload, block)
            if digests is not None:
                self.running.commit(upload.id, await digests, block.span.start)
            return new
        finally:
            if digests is not None:
                await asyncio.wait([digests])
            self.release(block.span.stop - block.span.start)

    @staticmethod
    def _count(stored: Stored, span: Span, new: bool) -> None:
        stored.new += span.stop - span.start if new else 0
        stored.repeated = stored.repeated or not new
        if span.start <= stored.stop:
            stored.stop = max(stored.stop, span.stop)

    async def in_order(self, upload: Upload, blocks: AsyncIterator[Block], stored: Stored) -> None:
        """Stores blocks that need not be whole chunks, each after everything before it. Raises `gap`'s problem."""
        lock = self._locks.setdefault(upload.id, asyncio.Lock())
        async with lock:
            held = await self.holding.held(upload)
            async for block in blocks:
                try:
                    known = min(held_until(held.spans, block.span.start), block.span.stop)
                    expected = expected_offset(held.spans)
                    if known < block.span.stop and known > expected:
                        raise gap(upload, known, expected)
                    if block.span.start < known:
                        await self._compare(upload, held, Span(block.span.start, known), block.data)
                        self._count(stored, Span(block.span.start, known), False)
                    if known < block.span.stop:
                        held = await self._append(upload, held, known, block, stored)
                finally:
                    self.release(block.span.stop - block.span.start)

    async def repeated(self, upload: Upload, blocks: AsyncIterator[Block], stored: Stored) -> None:
        """Compares blocks with a file that is whole already: nothing is written any more."""
        async for block in blocks:
            try:
                span = block.span
                if await self.blobs.read(upload.stored_as, span.start, span.stop - span.start) != block.data:
                    raise conflict(upload, span)
                self._count(stored, span, False)
            finally:
                self.release(block.span.stop - block.span.start)

    async def _compare(self, upload: Upload, held: Held, span: Span, data: bytes) -> None:
        known = await self.holding.read(upload, held, span)
        if known != data[: span.stop - span.start]:
            raise conflict(upload, span)

    async def _append(self, upload: Upload, held: Held, start: int, block: Block, stored: Stored) -> Held:
        n = start // upload.chunk
        data = block.data[start - block.span.start :]
        span = Span(start, block.span.stop)
        digests = self.running.of(upload.id)
        try:
            if span.stop % upload.chunk == 0 or span.stop == upload.total:
                before = await self.holding.read(upload, held, Span(n * upload.chunk, start))
                new = await self.blobs.put_chunk(upload.id, n, before + data)
                held = held._replace(chunks=held.chunks | {n}, spans=joined([*held.spans, span]))
            else:
                new = await self.blobs.put_chunk(await self.holding.tail(upload), start, data)
                held = held._replace(pieces=(*held.pieces, span), spans=joined([*held.spans, span]))
        except ChunkConflict:
            raise conflict(upload, span) from None
        if digests.length == start:
            self.running.commit(upload.id, await digests.after(data), start)
        self._count(stored, span, new)
        return held


async def _after(latest: "asyncio.Task[Digests]", data: bytes) -> Digests:
    return await (await latest).after(data)
