"""Reads what is taken in: once for its digest, and once more to store it; several files first for their CRCs.

In turns, so that no message is kept for longer than a broker allows, and at the pace that is set. Where a turn has
ended the next one goes on: in the same process with the digests as they were, in another one with the chunks that are
stored, which are read from there: the digests of an upload are always those of its stored bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol

from services.sync.core.looks import Look
from services.sync.digests import Hashed, Sums
from services.sync.pacing import Pace
from services.sync.packed import Files
from services.sync.turns import Turn, Unfinished
from shared.blobs import Blobs
from shared.clock import Clock
from shared.errors import ChunkConflict, SlidemillError
from shared.store.documents.entries import Member
from shared.store.documents.uploads import Upload

PIECE = 4 * 2**20
# Of one file, and of all that are taken in at the same time: the driver copies a chunk twice to write it.
AT_ONCE = 6
WRITES = 8
# People watch it.
NOTED = timedelta(seconds=0.5)
_KEPT = 64


class Source(Protocol):
    """What is taken in: a file, or several as one."""

    def look(self) -> Look:
        """How it is now."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`: fewer than `length` only at the end."""
        ...


class Differs(SlidemillError):
    """What is read is not what was looked at, or not what was read before."""


class Copying:
    """Reads and stores for all imports of this process, and keeps the digests of those whose turn is over."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._kept: OrderedDict[str, Hashed] = OrderedDict()
        self._sums: OrderedDict[str, Sums] = OrderedDict()
        self._writes = asyncio.Semaphore(WRITES)

    async def digest(self, key: str, source: Source, size: int, turn: Turn) -> str:
        """The SHA-256 of something of this size. Raises `Differs` if it has another, `Unfinished`."""
        hashed = self._kept.pop(key, None) or Hashed()

        async def fetch(n: int) -> bytes:
            return await self._read(source, n * PIECE, min(PIECE, size - n * PIECE))

        await _in_order(range(hashed.length // PIECE, -(-size // PIECE)), fetch, hashed.sha256_only, turn)
        if hashed.length < size:
            self._keep(key, hashed)
            raise Unfinished(f"{hashed.length:,} of {size:,} bytes are read.")
        return hashed.sha256

    async def checksums(self, key: str, files: Files, turn: Turn) -> tuple[Member, ...]:
        """The files with their CRCs. Raises `Differs` if one has another size, `Unfinished`."""
        sums = self._sums.pop(key, None) or Sums()
        while len(sums.done) < len(files.members):
            member = files.members[len(sums.done)]
            while member.crc is None and sums.at < member.size:
                if turn.over and sums.moved:
                    sums.moved = False
                    self._sums[key] = sums
                    _trim(self._sums)
                    raise Unfinished(f"{len(sums.done):,} of {len(files.members):,} files are read.")
                length = min(PIECE, member.size - sums.at)
                await self._pace.take(length)
                count, sums.crc = await asyncio.to_thread(files.crc, member.path, sums.at, length, sums.crc)
                if count != length:
                    raise Differs(f"{member.path} is shorter than it was when it was looked at.")
                sums.at, sums.moved = sums.at + count, True
            crc = sums.crc if member.crc is None else member.crc
            sums.done.append(member.model_copy(update={"crc": crc}))
            sums.at = sums.crc = 0
        return tuple(sums.done)

    async def store(
        self, upload: Upload, source: Source, blobs: Blobs, turn: Turn, note: Callable[[int], Awaitable[None]]
    ) -> Hashed:
        """Stores every chunk that is not there yet; `note` is told now and then how many bytes are.

        Returns the digests of all that is stored. Raises `Differs`, `Unfinished`.
        """
        chunk, total = upload.chunk, upload.total
        hashed = self._kept.pop(upload.id, None) or Hashed()
        there = {stored.n for stored in await blobs.chunks(upload.id)}
        writing: set[asyncio.Task[None]] = set()
        noted = self._clock.now()

        async def fetch(n: int) -> bytes:
            if n in there:
                return await blobs.read(upload.id, n * chunk, chunk)
            return await self._read(source, n * chunk, min(chunk, total - n * chunk))

        async def write(n: int, data: bytes) -> None:
            async with self._writes:
                await blobs.put_chunk(upload.id, n, data)

        async def put(n: int, data: bytes) -> None:
            nonlocal noted
            while len(writing) >= AT_ONCE:
                await settle()
            if n not in there:
                writing.add(asyncio.create_task(write(n, data)))
            if self._clock.now() - noted >= NOTED:
                noted = self._clock.now()
                await note(min((n + 1) * chunk, total))

        async def settle() -> None:
            done, _ = await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
            writing.difference_update(done)
            for task in done:
                task.result()

        try:
            await _in_order(range(hashed.length // chunk, -(-total // chunk)), fetch, hashed.both, turn, put)
            while writing:
                await settle()
        except ChunkConflict as error:
            raise Differs(str(error)) from error
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        if hashed.length < total:
            self._keep(upload.id, hashed)
            raise Unfinished(f"{hashed.length:,} of {total:,} bytes are stored.")
        return hashed

    async def _read(self, source: Source, offset: int, length: int) -> bytes:
        await self._pace.take(length)
        data = await asyncio.to_thread(source.read, offset, length)
        if len(data) != length:
            raise Differs(f"It ended at byte {offset + len(data):,}, before what was its end when it was looked at.")
        return data

    def _keep(self, key: str, hashed: Hashed) -> None:
        self._kept[key] = hashed
        _trim(self._kept)


def _trim(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > _KEPT:
        kept.popitem(last=False)


async def _in_order(
    pieces: range,
    fetch: Callable[[int], Awaitable[bytes]],
    add: Callable[[bytes], None],
    turn: Turn,
    put: Callable[[int, bytes], Awaitable[None]] | None = None,
) -> None:
    """Fetches pieces, each while the one before it is added and put: at least one, and on until the turn ends."""
    if not pieces:
        return
    ahead: asyncio.Future[bytes] | None = asyncio.ensure_future(fetch(pieces[0]))
    adding: asyncio.Future[None] | None = None
    try:
        for n in pieces:
            if ahead is None:
                return
            data = await ahead
            ahead = asyncio.ensure_future(fetch(n + 1)) if n + 1 in pieces and not turn.over else None
            if adding is not None:
                await adding
            adding = asyncio.ensure_future(asyncio.to_thread(add, data))
            if put is not None:
                await put(n, data)
    finally:
        # What is read is added before anybody counts how far it has come.
        if adding is not None:
            await asyncio.wait([adding])
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
