"""A part of a file as a file of its own."""

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Part(io.RawIOBase):
    """The `length` bytes of `source` from `start` on; seekable and read-only. Closing it leaves `source` open."""

    def __init__(self, source: BinaryIO, start: int, length: int) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._length = length
        self._offset = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The current offset in bytes."""
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to `offset`, counted as in any file. ValueError if that lies before the start."""
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._length}[whence]
        if target < 0:
            raise ValueError(f"there is nothing at offset {target} of a file")
        self._offset = target
        return target

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fills the buffer unless the part ends before."""
        view = memoryview(buffer).cast("B")
        self._source.seek(self._start + self._offset)
        data = self._source.read(max(0, min(len(view), self._length - self._offset)))
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)
