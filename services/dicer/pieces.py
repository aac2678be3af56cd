"""Ranges of bytes, in file order, out of a stream that comes in pieces of its own. Pure."""

from collections import deque


class Pieces:
    """What of a stream is still wanted; `start` is the offset of its first byte in the file."""

    def __init__(self, start: int) -> None:
        self.end = start
        self._start = start
        self._held: deque[bytes] = deque()

    def add(self, piece: bytes) -> None:
        """Takes the stream's next piece."""
        self._held.append(piece)
        self.end += len(piece)

    def take(self, offset: int, length: int) -> bytes:
        """The bytes at this offset of the file. Nothing before it is asked for any more; all of it must be there."""
        while self._held and self._start + len(self._held[0]) <= offset:
            self._start += len(self._held.popleft())
        begin = offset - self._start
        if begin + length <= len(self._held[0]):
            return self._held[0][begin : begin + length]
        parts = [memoryview(self._held[0])[begin:]]
        missing = length - len(parts[0])
        for piece in list(self._held)[1:]:
            parts.append(memoryview(piece)[:missing])
            missing -= len(parts[-1])
            if missing <= 0:
                break
        return b"".join(parts)
