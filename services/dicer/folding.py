"""Folding what is being cut: each square of tiles goes to a decoder child as soon as its tiles are there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, NamedTuple

from shared.decoding import Decoders
from shared.errors import Postponed
from shared.store.documents.blocks import Block
from shared.tiles.geometry import Position, Rect
from shared.tiles.squares import Made
from shared.tiles.writer import TileWriter, store_made

SQUARE_SECONDS = 120.0
HELD_BYTES = 64 * 2**20
# 30 MB to a few times as much, of the hundred or two that a service has for what its children do.
LARGE_PIXELS = 10 * 2**20
PICTURE_PATIENCE_SECONDS = 60.0


class Folded(NamedTuple):
    """A square whose levels above are stored, and its root (see `shared.tiles.pixels.fold`)."""

    rect: Rect
    root: bytes | None


class Turns:
    """Who of all blocks that are cut at once may go on, in order of their coming.

    `reading`: one block's file is read at a time, so that there is something to fold as soon as can be. `folding`: few
    squares are with the decoder children or next in line, one more than `children`, so that others who want a decoder
    wait for few. `size`: the bytes that are held just now.
    """

    def __init__(self, children: int) -> None:
        self.reading = asyncio.Lock()
        self.folding = asyncio.Semaphore(children + 1)
        self._next = asyncio.Lock()
        self.size = 0
        self._less = asyncio.Condition()
        self._picture = asyncio.Lock()
        self._awaited = False

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """Room in memory for a block's bytes: one of the largest is folded while the next one comes, or several small
        ones."""
        async with self._next, self._less:
            await self._less.wait_for(lambda: not self.size or self.size + size <= HELD_BYTES)
            self.size += size
        try:
            yield
        finally:
            self.size -= size
            async with self._less:
                self._less.notify_all()

    @asynccontextmanager
    async def picture(self, pixels: int, patience: float = PICTURE_PATIENCE_SECONDS) -> AsyncIterator[None]:
        """Has one picture of which many `pixels` are in memory read at a time; it keeps two cores busy by itself.

        One more waits, for at most `patience` seconds: all others, which would keep handlers from small images, and
        whoever waited for longer get `Postponed`.
        """
        if pixels <= LARGE_PIXELS:
            yield
            return
        if self._awaited:
            raise Postponed("Other large pictures are being read.")
        self._awaited = True
        try:
            async with asyncio.timeout(patience):
                await self._picture.acquire()
        except TimeoutError:
            raise Postponed(f"Another large picture was still being read after {patience:g} s.") from None
        finally:
            self._awaited = False
        try:
            yield
        finally:
            self._picture.release()


class Folding:
    """The squares of one block: `counts` says of each how many tiles it has in the source.

    As an async context manager: leaving it without an error means that all are folded, `squares` says into what.
    """

    def __init__(
        self,
        block: Block,
        climb: int,
        counts: dict[Rect, int],
        writer: TileWriter,
        decoders: Decoders,
        turns: Turns,
        function: Callable[..., Iterator[Made]],
        *args: Any,
    ) -> None:
        self.squares = [Folded(rect, None) for rect, count in counts.items() if not count]
        self._block = block
        self._climb = climb
        self._open = {self._corner(rect.top, rect.left): (rect, count) for rect, count in counts.items() if count}
        self._tiles: dict[tuple[int, int], list[tuple[Position, bytes]]] = {corner: [] for corner in self._open}
        self._writer = writer
        self._decoders = decoders
        self._turns = turns
        self._function = function
        self._args = args
        self._tasks: list[asyncio.Task[None]] = []

    def _corner(self, row: int, col: int) -> tuple[int, int]:
        return row >> self._climb, col >> self._climb

    def add(self, position: Position, data: bytes) -> None:
        """Takes one tile of the source."""
        corner = self._corner(position.row, position.col)
        tiles = self._tiles[corner]
        tiles.append((position, data))
        rect, count = self._open[corner]
        if len(tiles) == count:
            del self._tiles[corner]
            self._tasks.append(asyncio.create_task(self._fold(rect, tiles)))

    async def _fold(self, rect: Rect, tiles: Sequence[tuple[Position, bytes]]) -> None:
        async with self._turns.folding:
            batches = self._decoders.stream(
                self._function,
                rect,
                [position for position, _ in tiles],
                *self._args,
                inputs=[data for _, data in tiles],
                seconds=SQUARE_SECONDS,
            )
            self.squares.append(Folded(rect, await store_made(batches, self._block, self._writer)))

    async def __aenter__(self) -> "Folding":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
