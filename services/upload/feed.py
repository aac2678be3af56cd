"""A request's bytes as blocks that lie within one GridFS chunk each, with a bound on what is in memory."""

from collections import deque
from collections.abc import AsyncGenerator
from io import BytesIO
from typing import NamedTuple

from services.upload.body import Pieces
from services.upload.budget import Budget
from services.upload.core import Invalid
from services.upload.core.spans import Span


class Block(NamedTuple):
    """Bytes of a file that lie within one GridFS chunk; `last` says that the request holds no more."""

    span: Span
    data: bytes
    last: bool


async def cut(
    body: Pieces, start: int, stop: int | None, chunk: int, budget: Budget, *, reserved: bool = False
) -> AsyncGenerator[Block, None]:
    """The body as blocks cut at chunk boundaries, from offset `start`; `stop` is None for all there is.

    Each block's size is taken from the budget (unless `reserved`) and becomes the caller's to give back. A body that is
    not exactly as long as the range raises `Invalid` before the range's last block.
    """
    offset, ahead, last = start, b"", False
    while not last:
        boundary = (offset // chunk + 1) * chunk
        size = (boundary if stop is None else min(boundary, stop)) - offset
        if not reserved:
            await budget.take(size)
        have = 0
        try:
            # Filled as bytes come, since a block joined of its pieces would be there twice. What it holds in the end is
            # given out as it lies there, and not copied.
            buffer = BytesIO(bytes(size))
            while have < size and (piece := ahead or await body.piece()):
                taken = min(len(piece), size - have)
                buffer.write(piece if taken == len(piece) else memoryview(piece)[:taken])
                ahead = piece[taken:]
                have += taken
            if have == size and (stop is None or offset + size == stop):
                ahead = ahead or await body.piece()
            last = have < size or not ahead if stop is None else offset + size == stop
            if stop is not None and have < size:
                raise Invalid(f"The body is {offset + have - start} bytes long, but its range {stop - start}.")
            if stop is not None and last and ahead:
                raise Invalid(f"The body is longer than its range of {stop - start} bytes.")
            buffer.truncate(have)
            data = buffer.getvalue()
            del buffer
        except BaseException:
            if not reserved:
                budget.give(size)
            raise
        if not reserved:
            budget.give(size - have)
        if data:
            yield Block(Span(offset, offset + have), data, last)
        # Or the block would be kept, and nobody would count it, until the next one has come.
        del data
        offset += have


class Feed:
    """Blocks on their way to the store: some may have been read already. Close it to give back what was not taken."""

    def __init__(self, blocks: AsyncGenerator[Block, None], budget: Budget) -> None:
        self._blocks = blocks
        self._budget = budget
        self._ready: deque[Block] = deque()

    @classmethod
    async def proven(cls, body: Pieces, span: Span, chunk: int, budget: Budget) -> "Feed":
        """All blocks of a range, read before the first is given out, so that a wrong body changes nothing."""
        size = span.stop - span.start
        await budget.take(size)
        feed = cls(cut(body, span.start, span.stop, chunk, budget, reserved=True), budget)
        try:
            feed._ready.extend([block async for block in feed._blocks])
        except BaseException:
            budget.give(size)
            raise
        return feed

    async def peek(self) -> Block | None:
        """The next block, which stays the next one; None at the end."""
        if not self._ready:
            block = await anext(self._blocks, None)
            if block is not None:
                self._ready.append(block)
        return self._ready[0] if self._ready else None

    def ready(self) -> list[bytes]:
        """The bytes of the blocks that have been read."""
        return [block.data for block in self._ready]

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> Block:
        return self._ready.popleft() if self._ready else await anext(self._blocks)

    async def aclose(self) -> None:
        """Gives back the bytes of the blocks that nobody took."""
        while self._ready:
            span = self._ready.popleft().span
            self._budget.give(span.stop - span.start)
        await self._blocks.aclose()
