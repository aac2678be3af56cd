"""What is known about a slide, remembered for a moment: panning asks for hundreds of tiles of one slide a second."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.viewer.core import version_number
from shared.clock import Clock
from shared.store import Store
from shared.store.documents import Image, Version, VersionId

REMEMBERED = timedelta(seconds=1)
SLIDES = 2000


@dataclass(frozen=True)
class Slide:
    """An image, the account that owns its session, and the version to show (None if there is no such version)."""

    image: Image
    owner: str
    version: Version | None


class Lookup:
    """Slides by (image, version asked for or None); at most one look into the store per slide and moment."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._slides: OrderedDict[tuple[str, int | None], tuple[datetime, asyncio.Task[Slide | None]]] = OrderedDict()

    async def slide(self, image: str, asked: int | None) -> Slide | None:
        """The slide as it was at most a moment ago; None if there is none. Raises `Unavailable`."""
        key = (image, asked)
        now = self._clock.now()
        known = self._slides.get(key)
        if known is None or not timedelta(0) <= now - known[0] < REMEMBERED:
            known = now, asyncio.create_task(self._look(image, asked))
            self._slides[key] = known
            self._slides.move_to_end(key)
            if len(self._slides) > SLIDES:
                self._slides.popitem(last=False)
        task = known[1]
        try:
            # Shielded: the one look serves every request that waits for it, also when the first of them goes away.
            return task.result() if task.done() else await asyncio.shield(task)
        except Exception:
            if self._slides.get(key) is known:
                del self._slides[key]
            raise

    async def _look(self, id: str, asked: int | None) -> Slide | None:
        image = await self._store.images.get(id)
        if image is None:
            return None
        session = await self._store.sessions.get(image.session)
        if session is None:
            return None
        version = await self._store.versions.get(VersionId(image=id, n=version_number(image, asked)))
        return Slide(image, session.owner, version)
