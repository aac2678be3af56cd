"""Uploaded files in GridFS, in the layout that every MongoDB driver reads.

Chunk documents carry a field that drivers ignore: `s`, the length of the data, which an index holds so that what is
stored is counted without reading it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bson.int64 import Int64
from pymongo import IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from shared.blobs import BlobInfo, StoredChunk
from shared.blobs.pieces import chunk_span, cut, gone, hole
from shared.blobs.scratch import Scratch
from shared.errors import ChunkConflict
from shared.mongo import create_uncompressed, translated

if TYPE_CHECKING:
    from shared.mongo import Client

_COUNTED = [("files_id", 1), ("n", 1), ("s", 1)]
_READ_AHEAD = 4 * 2**20
_KNOWN_FILES = 1024


def _described(document: Mapping[str, Any]) -> BlobInfo:
    metadata: Mapping[str, Any] = document.get("metadata") or {}
    return BlobInfo(
        file=document["_id"],
        name=document.get("filename") or document["_id"],
        chunk=document["chunkSize"],
        length=document["length"],
        complete=bool(metadata.get("complete")),
        md5=document.get("md5"),
        sha256=metadata.get("sha256"),
    )


class GridFSBlobs:
    """See `shared.blobs.Blobs`. Copies lie under `scratch`, about `scratch_bytes` of them."""

    def __init__(self, client: "Client", database: str, scratch: Path, scratch_bytes: int) -> None:
        self._database = client[database]
        self._files = self._database["fs.files"]
        self._chunks = self._database["fs.chunks"]
        self._scratch = Scratch(scratch, scratch_bytes)
        # A complete file never changes, so its document is read once.
        self._complete: OrderedDict[str, BlobInfo] = OrderedDict()

    async def prepare(self) -> None:
        """Makes the collections and indexes. Harmless when repeated.

        Drivers make the two indexes of GridFS only on empty collections, and the chunks are not compressed since
        nearly all of them hold JPEG data.
        """
        await create_uncompressed(self._database, "fs.chunks")
        with translated():
            await self._chunks.create_indexes(
                [IndexModel([("files_id", 1), ("n", 1)], unique=True), IndexModel(_COUNTED)]
            )
            await self._files.create_indexes([IndexModel([("filename", 1), ("uploadDate", 1)])])

    async def create(self, file: str, *, name: str, chunk: int, refs: tuple[str, ...]) -> None:
        """See `Blobs.create`."""
        document = {
            "_id": file,
            "length": Int64(0),
            "chunkSize": chunk,
            "uploadDate": datetime.now(UTC),
            "filename": name,
            "metadata": {"complete": False, "sha256": None, "refs": list(refs)},
        }
        with translated():
            try:
                await self._files.insert_one(document)
            except DuplicateKeyError:
                return

    async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
        """See `Blobs.put_chunk`."""
        with translated():
            try:
                await self._chunks.insert_one({"files_id": file, "n": n, "data": data, "s": len(data)})
            except DuplicateKeyError:
                stored = await self._chunks.find_one({"files_id": file, "n": n}, {"_id": 0, "data": 1})
            else:
                return True
        # Deleted meanwhile: then the file is going away, and this chunk with it.
        if stored is not None and stored["data"] != data:
            raise ChunkConflict(f"Chunk {n} of {file} is stored with other bytes.")
        return False

    async def chunks(self, file: str) -> list[StoredChunk]:
        """See `Blobs.chunks`."""
        with translated():
            cursor = self._chunks.find({"files_id": file}, {"_id": 0, "n": 1, "s": 1}, hint=_COUNTED, sort=[("n", 1)])
            return [StoredChunk(chunk["n"], chunk["s"]) for chunk in await cursor.to_list(None)]

    async def info(self, file: str) -> BlobInfo | None:
        """See `Blobs.info`."""
        with translated():
            document = await self._files.find_one({"_id": file})
        return None if document is None else _described(document)

    async def _info(self, file: str) -> BlobInfo:
        """What `info` says, remembered once it can't change any more. Raises `Reject` if there is no such file."""
        known = self._complete.get(file)
        if known is not None:
            self._complete.move_to_end(file)
            return known
        found = await self.info(file)
        if found is None:
            raise gone(file)
        if found.complete:
            self._complete[file] = found
            if len(self._complete) > _KNOWN_FILES:
                self._complete.popitem(last=False)
        return found

    async def read(self, file: str, offset: int, length: int) -> bytes:
        """See `Blobs.read`."""
        return b"".join(await self._pieces(await self._info(file), offset, length))

    async def _pieces(self, info: BlobInfo, offset: int, length: int) -> list[bytes]:
        """What `read` answers, a piece of each chunk."""
        if info.complete:
            length = min(length, info.length - offset)
        span = chunk_span(info, offset, length)
        if not span:
            return []
        where = {"files_id": info.file, "n": {"$gte": span.start, "$lt": span.stop}}
        with translated():
            cursor = self._chunks.find(where, {"_id": 0, "n": 1, "data": 1}, sort=[("n", 1)])
            chunks = [(chunk["n"], chunk["data"]) for chunk in await cursor.to_list(None)]
        pieces = cut(info, offset, length, chunks)
        end = offset + sum(map(len, pieces))
        if end < offset + length and (info.complete or await self._any_past(info, end // info.chunk)):
            raise hole(info, end)
        return pieces

    async def _any_past(self, info: BlobInfo, n: int) -> bool:
        with translated():
            found = await self._chunks.find_one({"files_id": info.file, "n": {"$gt": n}}, {"_id": 0, "n": 1})
        return found is not None

    async def stream(self, file: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """See `Blobs.stream`. Reads the next chunks while the caller is busy with these."""
        info = await self._info(file)
        end = None if length is None else offset + length
        if info.complete:
            end = info.length if end is None else min(end, info.length)
        # Whole chunks, a few small ones or one large one in each query.
        stride = max(1, _READ_AHEAD // info.chunk) * info.chunk

        def following(start: int) -> "asyncio.Task[list[bytes]] | None":
            stop = (start // stride + 1) * stride
            stop = stop if end is None else min(stop, end)
            return asyncio.create_task(self._pieces(info, start, stop - start)) if start < stop else None

        ahead = following(offset)
        try:
            while ahead is not None and (pieces := await ahead):
                offset += sum(map(len, pieces))
                ahead = following(offset)
                for piece in pieces:
                    yield piece
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def commit(self, file: str, *, length: int, md5: str, sha256: str) -> None:
        """See `Blobs.commit`."""
        whole = {"length": Int64(length), "md5": md5, "metadata.complete": True, "metadata.sha256": sha256}
        with translated():
            changed = await self._files.update_one({"_id": file, "metadata.deleting": {"$ne": True}}, {"$set": whole})
        if changed.matched_count == 0:
            raise gone(file)

    @asynccontextmanager
    async def local(self, file: str, suffix: str = "") -> AsyncIterator[Path]:
        """See `Blobs.local`."""
        info = await self._whole(file)
        async with self._scratch.copy(self._copy_of(file), suffix, info.length, lambda: self.stream(file)) as path:
            yield path

    @asynccontextmanager
    async def unpacked(self, file: str, length: int, fill: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Path]:
        """See `Blobs.unpacked`."""
        await self._whole(file)
        async with self._scratch.tree(self._copy_of(file), length, fill) as folder:
            yield folder

    async def _whole(self, file: str) -> BlobInfo:
        info = await self._info(file)
        if not info.complete:
            raise gone(file)
        return info

    async def trim(self, file: str, before: int) -> None:
        """See `Blobs.trim`."""
        with translated():
            await self._chunks.delete_many({"files_id": file, "n": {"$lt": before}})

    def _copy_of(self, file: str) -> str:
        return f"{self._database.name}-{file}"

    async def share(self, file: str, owner: str) -> BlobInfo | None:
        """See `Blobs.share`."""
        with translated():
            document = await self._files.find_one_and_update(
                {"_id": file, "metadata.complete": True},
                {"$addToSet": {"metadata.refs": owner}},
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else _described(document)

    async def release(self, file: str, owners: Sequence[str]) -> bool:
        """See `Blobs.release`."""
        with translated():
            await self._files.update_one({"_id": file}, {"$pull": {"metadata.refs": {"$in": list(owners)}}})
            # Nobody can share it from here on, and a commit that comes late finds nothing.
            await self._files.update_one(
                {"_id": file, "metadata.refs.0": {"$exists": False}},
                {"$set": {"metadata.complete": False, "metadata.deleting": True}},
            )
            owned = await self._files.find_one({"_id": file, "metadata.deleting": {"$ne": True}}, {"_id": 1})
        if owned is None:
            await self.delete(file)
        return owned is None

    async def delete(self, file: str) -> None:
        """See `Blobs.delete`."""
        self._complete.pop(file, None)
        await self._scratch.drop(self._copy_of(file))
        with translated():
            await self._chunks.delete_many({"files_id": file})
            await self._files.delete_one({"_id": file})
