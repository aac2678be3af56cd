"""Which slide a request means; remembered for a moment, since panning asks for hundreds of its tiles in a second."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from aiohttp import web

from services.viewer.core import version_number
from shared.clock import Clock
from shared.http.problems import Problem
from shared.store import Store
from shared.store.documents import Image, Version, VersionId

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


def asked_version(request: web.Request) -> int | None:
    """The version that `?v=` names, or None."""
    asked = request.query.get("v")
    if asked is None:
        return None
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 9 and int(asked) > 0):
        raise Problem(400, f"v={asked[:20]} is no version.", "Give v a whole number from 1 on, or leave it out.")
    return int(asked)


@dataclass(frozen=True)
class Slide:
    """An image, the account that owns its session, and the version to show (None if there is no such version)."""

    image: Image
    owner: str
    version: Version | None


async def find_slide(store: Store, id: str, asked: int | None) -> Slide | None:
    """The slide with the version asked for (None: the one to show); None if there is no such image."""
    image = await store.images.get(id)
    session = await store.sessions.get(image.session) if image is not None else None
    if image is None or session is None:
        return None
    version = await store.versions.get(VersionId(image=id, n=version_number(image, asked)))
    return Slide(image, session.owner, version)
