"""Bounds the bytes of all uploads that are in memory at once: senders wait their turn instead."""

import asyncio
from collections import deque


class Budget:
    """Bytes that may be taken, in the order of asking, so that a large request is not starved by small ones."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """Bytes that nobody holds."""
        return self._free

    async def take(self, count: int) -> None:
        """Returns once `count` bytes, at most the whole budget, are the caller's."""
        if count > self._size:
            raise ValueError(f"{count} bytes can never be had from a budget of {self._size}.")
        if not self._waiting and count <= self._free:
            self._free -= count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            granted = turn.done() and not turn.cancelled()
            turn.cancel()
            self.give(count if granted else 0)
            raise

    def give(self, count: int) -> None:
        """Gives bytes back."""
        self._free += count
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()
