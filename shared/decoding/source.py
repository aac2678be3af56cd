"""A slide's file as a decoder child reads it, whose bytes the service holds."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.seekable import Seekable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 2**20
MOST_BLOCKS = 8


class Source(Seekable):
    """A seekable, read-only file whose bytes the service holds; keeps the last few blocks that were read."""

    def __init__(self, read: Callable[[int, int], bytes], length: int | None) -> None:
        super().__init__()
        self._read = read
        self._length = length
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fills the buffer whole unless the source ends before."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            data = self._at(self._offset, len(view) - filled)
            if not data:
                break
            view[filled : filled + len(data)] = data
            filled += len(data)
            self._offset += len(data)
        return filled

    def _at(self, offset: int, wanted: int) -> bytes | memoryview:
        if wanted >= 2 * BLOCK_BYTES:
            return self._read(offset, min(wanted, MOST_BLOCKS * BLOCK_BYTES))
        number, start = divmod(offset, BLOCK_BYTES)
        return memoryview(self._block(number))[start : start + wanted]

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
        else:
            self._blocks[number] = self._read(number * BLOCK_BYTES, BLOCK_BYTES)
            if len(self._blocks) > MOST_BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[number]

    def _end(self) -> int:
        """The source's length; where nobody said it, the first block that is not full tells."""
        if self._length is None:
            full, short = -1, 1
            while len(self._block(short - 1)) == BLOCK_BYTES:
                full, short = short - 1, short * 2
            short -= 1
            while short - full > 1:
                middle = (full + short) // 2
                if len(self._block(middle)) == BLOCK_BYTES:
                    full = middle
                else:
                    short = middle
            self._length = short * BLOCK_BYTES + len(self._block(short))
        return self._length
