"""A part of a file as a file of its own."""

from typing import TYPE_CHECKING, BinaryIO

from shared.seekable import Seekable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Part(Seekable):
    """The `length` bytes of `source` from `start` on; seekable and read-only. Closing it leaves `source` open."""

    def __init__(self, source: BinaryIO, start: int, length: int) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._length = length

    def _end(self) -> int:
        return self._length

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fills the buffer unless the part ends before."""
        view = memoryview(buffer).cast("B")
        self._source.seek(self._start + self._offset)
        data = self._source.read(max(0, min(len(view), self._length - self._offset)))
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)
