"""Uploaded files in this process's memory, for tests of whole pipelines."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from shared.blobs import BlobInfo, StoredChunk
from shared.blobs.making import PATIENCE_SECONDS
from shared.blobs.pieces import chunk_span, cut, gone, hole
from shared.blobs.scratch import Scratch
from shared.errors import ChunkConflict


class MemoryBlobs:
    """See `shared.blobs.Blobs`. `scratch` is the folder for copies, for one of which `patience` seconds are waited."""

    def __init__(self, scratch: Path, scratch_bytes: int = 2**40, patience: float = PATIENCE_SECONDS) -> None:
        self._scratch = Scratch(scratch, scratch_bytes, patience)
        self._files: dict[str, BlobInfo] = {}
        self._chunks: dict[str, dict[int, bytes]] = {}
        self._owners: dict[str, set[str]] = {}

    async def create(self, file: str, *, name: str, chunk: int, refs: tuple[str, ...]) -> None:
        """See `Blobs.create`."""
        self._files.setdefault(file, BlobInfo(file, name, chunk, 0, False, None, None))
        self._owners.setdefault(file, set(refs))

    async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
        """See `Blobs.put_chunk`."""
        stored = self._chunks.setdefault(file, {})
        if n not in stored:
            stored[n] = bytes(data)
            return True
        if stored[n] != data:
            raise ChunkConflict(f"Chunk {n} of {file} is stored with other bytes.")
        return False

    async def chunks(self, file: str) -> list[StoredChunk]:
        """See `Blobs.chunks`."""
        return [StoredChunk(n, len(data)) for n, data in sorted(self._chunks.get(file, {}).items())]

    async def info(self, file: str) -> BlobInfo | None:
        """See `Blobs.info`."""
        return self._files.get(file)

    async def read(self, file: str, offset: int, length: int) -> bytes:
        """See `Blobs.read`."""
        info = self._files.get(file)
        if info is None:
            raise gone(file)
        if info.complete:
            length = min(length, info.length - offset)
        stored = self._chunks.get(file, {})
        span = chunk_span(info, offset, length)
        data = b"".join(cut(info, offset, length, [(n, stored[n]) for n in span if n in stored]))
        end = offset + len(data)
        if len(data) < length and (info.complete or any(n > end // info.chunk for n in stored)):
            raise hole(info, end)
        return data

    async def stream(self, file: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """See `Blobs.stream`."""
        info = self._files.get(file)
        if info is None:
            raise gone(file)
        end = None if length is None else offset + length
        while end is None or offset < end:
            stop = (offset // info.chunk + 1) * info.chunk
            piece = await self.read(file, offset, (stop if end is None else min(stop, end)) - offset)
            if not piece:
                return
            yield piece
            offset += len(piece)

    async def commit(self, file: str, *, length: int, md5: str, sha256: str) -> None:
        """See `Blobs.commit`."""
        info = self._files.get(file)
        if info is None:
            raise gone(file)
        self._files[file] = info._replace(length=length, complete=True, md5=md5, sha256=sha256)

    @asynccontextmanager
    async def local(self, file: str, suffix: str = "") -> AsyncIterator[Path]:
        """See `Blobs.local`."""
        info = self._whole(file)
        async with self._scratch.copy(f"memory-{file}", suffix, info.length, lambda: self.stream(file)) as path:
            yield path

    @asynccontextmanager
    async def unpacked(self, file: str, length: int, fill: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Path]:
        """See `Blobs.unpacked`."""
        self._whole(file)
        async with self._scratch.tree(f"memory-{file}", length, fill) as folder:
            yield folder

    def _whole(self, file: str) -> BlobInfo:
        info = self._files.get(file)
        if info is None or not info.complete:
            raise gone(file)
        return info

    async def trim(self, file: str, before: int) -> None:
        """See `Blobs.trim`."""
        if file in self._chunks:
            self._chunks[file] = {n: data for n, data in self._chunks[file].items() if n >= before}

    async def share(self, file: str, owner: str) -> BlobInfo | None:
        """See `Blobs.share`."""
        info = self._files.get(file)
        if info is None or not info.complete:
            return None
        self._owners[file].add(owner)
        return info

    async def release(self, file: str, owners: Sequence[str]) -> bool:
        """See `Blobs.release`."""
        left = self._owners.get(file, set())
        left.difference_update(owners)
        if not left:
            await self.delete(file)
        return not left

    async def delete(self, file: str) -> None:
        """See `Blobs.delete`."""
        self._chunks.pop(file, None)
        self._files.pop(file, None)
        await self._scratch.drop(f"memory-{file}")
        self._owners.pop(file, None)
