"""Watches sessions for the event streams: one look a second per session, shared by everybody who watches it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from shared.errors import Unavailable
from shared.store import Greater, In, Store
from shared.store.view import progress_object

EVERY_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
# Clocks of the hosts that write `updated` differ a little; what is read twice is compared and told once.
OVERLAP = timedelta(seconds=30)
# Now and then everything is read: a clock that was set back dates its news before what was told already.
WHOLE_EVERY = 30
log = structlog.get_logger()


@dataclass(frozen=True)
class News:
    """What is new to a watcher: images as they are now, ids of those that were deleted, and whether the session was."""

    images: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    gone: bool = False

    def __bool__(self) -> bool:
        return bool(self.images or self.removed or self.gone)


class Watched:
    """One session as it was at the last look."""

    def __init__(self, store: Store, session: str) -> None:
        self.watchers = 0
        self.round = 0
        self._looks = 0
        self._store = store
        self._session = session
        self._newest: datetime | None = None
        self._told: dict[str, tuple[int, dict[str, Any]]] = {}
        self._removed: dict[str, int] = {}
        self._gone = False
        self._changed = asyncio.Event()
        self._looking = asyncio.Lock()

    def since(self, round: int) -> News:
        """What changed after this round. Who begins is told of what there is, and of nothing that is not."""
        images = [image for changed, image in self._told.values() if changed > round]
        removed = [id for id, changed in self._removed.items() if changed > round] if round else []
        return News(images, removed, self._gone)

    async def join(self) -> None:
        """Looks at the session for a watcher who begins, and tells everybody else what is gone by now."""
        async with self._looking:
            if self.round == 0:
                await self._look()
            elif removed := await self._missing():
                self._tell({}, removed)

    async def look(self) -> None:
        """Reads what was updated since the last look, and wakes the watchers if an image has changed."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        where: dict[str, Any] = {"session": self._session}
        if self._newest is not None and self._looks % WHOLE_EVERY:
            where["updated"] = Greater(self._newest - OVERLAP)
        self._looks += 1
        versions = await self._store.versions.find(where)
        images = (
            await self._store.images.find({"_id": In([version.id.image for version in versions])}) if versions else []
        )
        by_id = {image.id: image for image in images}
        news = {}
        for version in versions:
            image = by_id.get(version.id.image)
            if image is not None and image.latest == version.id.n:
                told = progress_object(image, version)
                if image.id not in self._told or self._told[image.id][1] != told:
                    news[image.id] = told
        if versions:
            self._newest = max(version.updated for version in versions)
        gone = not self._gone and await self._store.sessions.get(self._session) is None
        # Deletions leave no trace that a session could be asked for, but one image less than were told of.
        known = len(self._told.keys() | news.keys())
        fewer = await self._store.images.count({"session": self._session}) < known
        removed = await self._missing() if fewer else []
        if news or removed or gone or self.round == 0:
            self._gone = self._gone or gone
            self._tell({id: told for id, told in news.items() if id not in removed}, removed)

    async def _missing(self) -> list[str]:
        """The images that were told of and are no longer there."""
        if not self._told:
            return []
        there = {image.id for image in await self._store.images.find({"_id": In(list(self._told))})}
        return [id for id in self._told if id not in there]

    def _tell(self, news: dict[str, dict[str, Any]], removed: list[str]) -> None:
        self.round += 1
        for id in removed:
            self._told.pop(id)
            self._removed[id] = self.round
        for id, told in news.items():
            self._told[id] = self.round, told
            self._removed.pop(id, None)
        self.wake()

    def wake(self) -> None:
        """Lets every watcher look for news."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def news(self) -> None:
        """Returns at the next change."""
        await self._changed.wait()


class Watching:
    """The sessions that somebody watches at the moment."""

    def __init__(self, store: Store, *, every: float = EVERY_SECONDS, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._store = store
        self._every = every
        self._heartbeat = heartbeat
        self._sessions: dict[str, tuple[Watched, asyncio.Task[None]]] = {}
        self._closed = False

    async def follow(self, session: str) -> AsyncGenerator[News, None]:
        """All images of a session, then what changes; no news when there was nothing for a while.

        Ends when the gateway stops. Raises `Unavailable` if even the first look fails.
        """
        watched = self._watch(session)
        try:
            await watched.join()
            round = 0
            while not self._closed:
                news, round = watched.since(round), watched.round
                yield news
                try:
                    async with asyncio.timeout(self._heartbeat):
                        while watched.round == round and not self._closed:
                            await watched.news()
                except TimeoutError:
                    continue
        finally:
            self._leave(session, watched)

    def _watch(self, session: str) -> Watched:
        if session not in self._sessions:
            watched = Watched(self._store, session)
            self._sessions[session] = watched, asyncio.create_task(self._keep_looking(watched))
        watched = self._sessions[session][0]
        watched.watchers += 1
        return watched

    def _leave(self, session: str, watched: Watched) -> None:
        watched.watchers -= 1
        if watched.watchers == 0:
            self._sessions.pop(session)[1].cancel()

    async def _keep_looking(self, watched: Watched) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await watched.look()
            except Unavailable as error:
                log.warning("can't look at a session", error=str(error))
            except Exception:
                log.exception("looking at a session failed")

    def close(self) -> None:
        """Ends every stream."""
        self._closed = True
        for watched, _ in self._sessions.values():
            watched.wake()
