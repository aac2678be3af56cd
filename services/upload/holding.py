"""What is stored of an upload: whole chunks, and beside them the pieces of one that is not whole yet."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from services.upload.conflicts import conflict
from services.upload.core.spans import Span, covering, joined
from shared.blobs import Blobs
from shared.blobs.pieces import tail_of
from shared.errors import ChunkConflict
from shared.store.documents.uploads import Upload


class Held(NamedTuple):
    """What an upload holds: its chunks, the pieces of a chunk that is not whole yet, and all of it as joined spans."""

    chunks: frozenset[int]
    pieces: tuple[Span, ...]
    spans: list[Span]


@dataclass(frozen=True)
class Holding:
    """What uploads hold, by the index, and the bytes of their chunks that are not whole yet."""

    blobs: Blobs

    async def held(self, upload: Upload) -> Held:
        """What is stored of an upload, from the index."""
        chunks, pieces = await asyncio.gather(self.blobs.chunks(upload.id), self.pieces(upload.id))
        spans = [Span(chunk.n * upload.chunk, chunk.n * upload.chunk + chunk.length) for chunk in chunks]
        return Held(frozenset(chunk.n for chunk in chunks), pieces, joined([*spans, *pieces]))

    async def pieces(self, upload: str) -> tuple[Span, ...]:
        """What the upload of this id holds of chunks that are not whole yet."""
        return tuple(Span(piece.n, piece.n + piece.length) for piece in await self.blobs.chunks(tail_of(upload)))

    async def begun(self, upload: Upload, span: Span) -> bytes:
        """Stored bytes of the chunk that is not whole yet: its beginning."""
        pieces = await self.pieces(upload.id) if span.start < span.stop else ()
        data = await self.read(upload, Held(frozenset(), pieces, []), span)
        if len(data) != span.stop - span.start:
            raise RuntimeError(f"Of bytes {span.start}-{span.stop - 1} of {upload.id} only {len(data)} are stored.")
        return data

    async def begin(self, upload: Upload, start: int, data: bytes) -> None:
        """Keeps bytes of a chunk that is not whole yet. Some of them may be there already."""
        tail = await self.tail(upload)
        while data:
            try:
                await self.blobs.put_chunk(tail, start, data)
                return
            except ChunkConflict:
                # Somebody who was not heard of again stored another number of bytes from the same place on.
                length = next((piece.stop - start for piece in await self.pieces(upload.id) if piece.start == start), 0)
            known = await self.blobs.read(tail, start * upload.chunk, min(length, len(data)))
            if known != data[: len(known)]:
                raise conflict(upload, Span(start, start + len(known)))
            start, data = start + len(known), data[len(known) :]

    async def read(self, upload: Upload, held: Held, span: Span) -> bytes:
        """Stored bytes of one chunk, whether it is whole yet or in pieces."""
        if span.start // upload.chunk in held.chunks:
            return await self.blobs.read(upload.id, span.start, span.stop - span.start)
        tail, parts = tail_of(upload.id), []
        for piece, part in covering(held.pieces, span):
            offset = piece.start * upload.chunk + part.start - piece.start
            parts.append(await self.blobs.read(tail, offset, part.stop - part.start))
        return b"".join(parts)

    async def tail(self, upload: Upload) -> str:
        """The id of the stored file that keeps such pieces; made if there is none. Harmless when repeated."""
        tail = tail_of(upload.id)
        await self.blobs.create(tail, name=upload.name, chunk=upload.chunk, refs=())
        return tail
