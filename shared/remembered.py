"""Answers of the database that are remembered for a moment, where hundreds of requests ask the same in a second."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from shared.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOMENT = timedelta(seconds=1)
MOST = 500


class Remembered(Generic[K, V]):
    """Answers by key, each at most a moment old; however many ask at once, one of them looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: OrderedDict[K, tuple[datetime, asyncio.Future[V]]] = OrderedDict()

    async def get(self, key: K, look: Callable[[], Awaitable[V]]) -> V:
        """The remembered answer, else what `look` finds; its errors are passed on and not remembered."""
        now = self._clock.now()
        answer = self._answers.get(key)
        # A clock that was set back makes an answer look as if it came from the future: that is no young one.
        if answer is None or not timedelta(0) <= now - answer[0] < MOMENT:
            answer = now, asyncio.ensure_future(look())
            self._answers[key] = answer
            self._answers.move_to_end(key)
            if len(self._answers) > MOST:
                self._answers.popitem(last=False)
        try:
            # Shielded: others wait for this look too, also when the request that began it goes away.
            return answer[1].result() if answer[1].done() else await asyncio.shield(answer[1])
        except Exception:
            if self._answers.get(key) is answer:
                del self._answers[key]
            raise

    async def found(self, key: K, look: Callable[[], Awaitable[V]]) -> V:
        """As `get`, but that there is nothing (None) is not remembered: it may be made at this moment."""
        answer = await self.get(key, look)
        if answer is None:
            self._answers.pop(key, None)
        return answer
