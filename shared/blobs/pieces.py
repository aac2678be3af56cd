"""Which bytes of which chunks make up a range of a file. Pure."""

import uuid
from collections.abc import Sequence

from shared.blobs import BlobInfo
from shared.errors import Reject


def hole(info: BlobInfo, offset: int) -> Reject:
    """The rejection of a read that finds nothing stored at `offset`, where there should be something."""
    n = offset // info.chunk
    return Reject(
        f"The stored file {info.name} has a hole: chunk {n}, at byte {offset}, is missing or too short.", _AGAIN
    )


def gone(file: str) -> Reject:
    """The rejection of a read of a file that is not there (any more)."""
    return Reject(f"The file {file} is no longer stored.", _AGAIN)


_AGAIN = "Upload the file again."
_TAILS = uuid.UUID("5d1c7a52-0b8e-4b6a-9d6e-6c9a1f1f6f0d")


def tail_of(upload: str) -> str:
    """The id of the file that holds the pieces of an upload's last chunk until it is whole.

    A piece that begins at byte `b` of the upload is that file's chunk `b`.
    """
    return uuid.uuid5(_TAILS, upload).hex


def chunk_span(info: BlobInfo, offset: int, length: int) -> range:
    """The numbers of the chunks that hold bytes of the range."""
    if length <= 0:
        return range(0)
    return range(offset // info.chunk, -(-(offset + length) // info.chunk))


def cut(info: BlobInfo, offset: int, length: int, chunks: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """The bytes of the range, a piece of each of its stored chunks `(n, data)`, up to the first hole."""
    pieces: list[bytes] = []
    reached = offset
    for n, data in chunks:
        start = n * info.chunk
        if not start <= reached < start + len(data):
            break
        pieces.append(data[reached - start : offset + length - start])
        reached += len(pieces[-1])
    return pieces
