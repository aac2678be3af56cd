"""What files have in common that are no files of their own."""

import io
from abc import abstractmethod


class Seekable(io.RawIOBase):
    """A read-only file with an `_offset`, whose bytes and `_end` are its kind's to say."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = 0

    @abstractmethod
    def _end(self) -> int:
        """The length in bytes."""

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
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset}.get(whence)
        target = offset + (self._end() if start is None else start)
        if target < 0:
            raise ValueError(f"there is nothing at offset {target} of a file")
        self._offset = target
        return target
