"""The bytes of a slide as it is sent: those of its file, or of the zip that its files would make."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from services.ops.gathering import SlideFiles
from shared.slides.packing import Member, Packed, Piece, pack

_PIECE = 4 * 2**20


class Source(Protocol):
    """What is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer only at the end. Raises `OSError`."""

    def tell(self) -> int:
        """How many bytes have been read."""


@asynccontextmanager
async def opened(slide: SlideFiles) -> AsyncIterator[Source]:
    """A slide to be read. Of one with several files each is read once beforehand. Raises `OSError`."""
    if slide.members:
        yield _Zip(await _packed(slide.members), slide.members)
    else:
        with slide.path.open("rb") as file:
            yield file


class _Zip:
    """The zip of a slide's files, as if it lay on disk."""

    def __init__(self, packed: Packed, files: Mapping[str, Path]) -> None:
        self._packed = packed
        self._files = files
        self._at = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes; fewer also where a file has become shorter meanwhile."""
        data = b"".join(self._bytes(part) for part in self._packed.within(self._at, self._at + size))
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def _bytes(self, part: bytes | Piece) -> bytes:
        if isinstance(part, bytes):
            return part
        with self._files[part.member].open("rb") as file:
            file.seek(part.start)
            return file.read(part.length)


async def _packed(files: Mapping[str, Path]) -> Packed:
    members = []
    for name, path in files.items():
        length = crc = 0
        with path.open("rb") as file:
            # Piece by piece, so that the command can be broken off.
            while (read := await asyncio.to_thread(_crc, file, crc))[0]:
                length, crc = length + read[0], read[1]
        members.append(Member(name, length, crc))
    return pack(members)


def _crc(file: BinaryIO, crc: int) -> tuple[int, int]:
    """How many bytes came next, and the CRC-32 up to their end."""
    data = file.read(_PIECE)
    return len(data), zlib.crc32(data, crc)
