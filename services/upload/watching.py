"""Watches sessions for the event streams: one look a second per session, shared by everybody who watches it."""

import asyncio
from collections.abc import AsyncGenerator
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
        self._changed = asyncio.Event()
        self._looking = asyncio.Lock()

    def since(self, round: int) -> list[dict[str, Any]]:
        """The images that changed after this round."""
        return [image for changed, image in self._told.values() if changed > round]

    async def join(self) -> None:
        """Looks at the session for a watcher who begins: what was told of images that are gone since is forgotten."""
        async with self._looking:
            if self.round == 0:
                await self._look()
            elif self._told:
                there = {image.id for image in await self._store.images.find({"_id": In(list(self._told))})}
                self._told = {id: told for id, told in self._told.items() if id in there}

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
        if news or self.round == 0:
            self.round += 1
            self._told.update({id: (self.round, told) for id, told in news.items()})
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

    async def follow(self, session: str) -> AsyncGenerator[list[dict[str, Any]], None]:
        """All images of a session, then those that change; an empty list when there was nothing for a while.

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
