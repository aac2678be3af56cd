"""The last few windows of a file that were read: a database answers with whole chunks, however little is asked."""

from collections import OrderedDict

from shared.blobs import Blobs

# The largest chunk of an uploaded file.
WINDOW_BYTES = 4 * 2**20
MOST_WINDOWS = 4


class Windows:
    """Reads one file."""

    def __init__(self, blobs: Blobs, file: str) -> None:
        self._blobs = blobs
        self._file = file
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    async def read(self, offset: int, length: int) -> bytes:
        """As `Blobs.read`."""
        first, last = offset // WINDOW_BYTES, max(offset, offset + length - 1) // WINDOW_BYTES
        whole = b"".join([await self._window(number) for number in range(first, last + 1)])
        start = offset - first * WINDOW_BYTES
        return whole[start : start + length]

    async def _window(self, number: int) -> bytes:
        if number not in self._kept:
            self._kept[number] = await self._blobs.read(self._file, number * WINDOW_BYTES, WINDOW_BYTES)
            if len(self._kept) > MOST_WINDOWS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]
