"""The uploaded files' port: written by chunk, read at any offset, complete only once verified."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol


class BlobInfo(NamedTuple):
    """What the files document says. `length` is 0 and the digests None until the file is complete."""

    file: str
    name: str
    chunk: int
    length: int
    complete: bool
    md5: str | None
    sha256: str | None


class StoredChunk(NamedTuple):
    """Chunk number and length in bytes, as the index has them."""

    n: int
    length: int


def owner_of(image: str, version: int) -> str:
    """How a version is named among the owners of a file."""
    return f"{image}:{version}"


class Blobs(Protocol):
    """Files by id (32 hex digits). Every method raises `Unavailable` when the store can't be reached."""

    async def create(self, file: str, *, name: str, chunk: int, refs: tuple[str, ...]) -> None:
        """Makes the files document: length 0, not complete. Harmless when repeated. `chunk` is the size in bytes.

        `refs` are the owners (version ids as `image:n`): the file may go once no owner is left.
        """
        ...

    async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
        """Stores chunk `n`, acknowledged by majority and journal; False if the same bytes were there already.

        Raises `ChunkConflict` if other bytes are there.
        """
        ...

    async def chunks(self, file: str) -> list[StoredChunk]:
        """The exact list of stored chunks in order of number, counted from the index, without reading their data."""
        ...

    async def info(self, file: str) -> BlobInfo | None:
        """The files document, or None."""
        ...

    async def read(self, file: str, offset: int, length: int) -> bytes:
        """Bytes from `offset`; fewer only at the end of what is stored. Raises `Reject` if a chunk is missing."""
        ...

    def stream(self, file: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes in order, in pieces of at most one chunk. Close it to end early."""
        ...

    async def commit(self, file: str, *, length: int, md5: str, sha256: str) -> None:
        """Marks the file complete. Foreign GridFS drivers can read it from here on."""
        ...

    def local(self, file: str, suffix: str = "") -> AbstractAsyncContextManager[Path]:
        """A whole copy in this host's scratch folder for as long as the context is open.

        One download per host under a lock, verified by length, least recently used evicted, never while open.
        """
        ...

    def unpacked(
        self, file: str, length: int, fill: Callable[[Path], Awaitable[None]]
    ) -> AbstractAsyncContextManager[Path]:
        """A folder in this host's scratch folder for as long as the context is open, of what is in a complete file.

        `fill` puts files of `length` bytes in all into an empty folder, once per host under a lock; nobody sees them
        before they are whole. Evicted as the copies of `local` are. Raises what `fill` does.
        """
        ...

    async def trim(self, file: str, before: int) -> None:
        """Removes the chunks whose number is below `before`. Harmless when repeated."""
        ...

    async def share(self, file: str, owner: str) -> BlobInfo | None:
        """Adds an owner to a complete file; None if there is no such file, or not any more. Harmless when repeated."""
        ...

    async def release(self, file: str, owners: Sequence[str]) -> bool:
        """Takes owners away, and removes the file once none is left: whether nothing of it is there any more.

        A file that is being removed can't be shared, and one that somebody else shares stays. Harmless when repeated:
        it goes on with a removal that was interrupted, and takes chunks that were put after it.
        """
        ...

    async def delete(self, file: str) -> None:
        """Removes chunks first, then the files document, whoever owns it. Harmless when repeated.

        Its copy in this host's scratch folder goes too, unpacked or not, unless it is open.
        """
        ...
