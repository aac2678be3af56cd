"""What takes long to make goes on without those who wait for it: copies of slides, what is in their zips."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shared.errors import Postponed

PATIENCE_SECONDS = 2.0
PLACES = max(2, os.cpu_count() or 1)
# So long after its end it is said to the next who asks why something could not be made.
_KEPT_SECONDS = 600.0


@dataclass
class _Making:
    task: "asyncio.Task[None]" = field(init=False)
    waiting: int = 0
    started: float | None = None
    ended: float | None = None


class Makings:
    """Makes things by name: each once, however many ask for it, and at most `places` at a time.

    Whoever waits does so for at most `patience` seconds of a making's time: work that takes minutes must not keep a
    handler, and with it all that waits behind it, from what takes a second.
    """

    def __init__(self, places: int = PLACES, patience: float = PATIENCE_SECONDS) -> None:
        self._places = asyncio.Semaphore(places)
        self._patience = patience
        self._going: dict[str, _Making] = {}

    async def made(self, name: str, make: Callable[[], Awaitable[None]]) -> None:
        """Returns once it is made; raises what `make` did.

        Raises `Postponed` where that takes longer than `patience`, or all places are taken by what does: what has
        begun goes on, and who asks later learns what came of it. Who is cancelled alone ends it.
        """
        self._forget()
        making = self._going.get(name) or self._begin(name, make)
        making.waiting += 1
        try:
            while not making.task.done():
                if (left := self._left(making)) <= 0:
                    raise Postponed(f"{name} is still being fetched.")
                await asyncio.wait([making.task], timeout=left)
        except asyncio.CancelledError:
            if making.waiting == 1:
                making.task.cancel()
                await asyncio.wait([making.task])
            raise
        finally:
            making.waiting -= 1
            if making.started is None and not making.waiting:
                # Who comes again asks again: nothing is fetched that nobody waits for.
                making.task.cancel()
                self._drop(name, making)
        self._drop(name, making)
        making.task.result()

    def _begin(self, name: str, make: Callable[[], Awaitable[None]]) -> _Making:
        making = self._going[name] = _Making()

        async def run() -> None:
            async with self._places:
                making.started = time.monotonic()
                await make()

        def ended(task: "asyncio.Task[None]") -> None:
            making.ended = time.monotonic()
            # Looked at here, since those who wait may all have gone.
            if task.cancelled() or task.exception() is None:
                self._drop(name, making)

        making.task = asyncio.create_task(run())
        making.task.add_done_callback(ended)
        return making

    def _left(self, making: _Making) -> float:
        """How long to wait for it, in seconds; where it has not begun, for one of those that have."""
        started = making.started
        if started is None:
            begun = [other.started for other in self._going.values() if other.started and not other.ended]
            started = max(begun, default=time.monotonic())
        return self._patience - (time.monotonic() - started)

    def _drop(self, name: str, making: _Making) -> None:
        if self._going.get(name) is making:
            del self._going[name]

    def _forget(self) -> None:
        for name, making in list(self._going.items()):
            if making.ended is not None and time.monotonic() - making.ended > _KEPT_SECONDS:
                self._drop(name, making)
