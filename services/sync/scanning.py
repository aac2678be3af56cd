"""Scans a store: walks its folders, writes down what has changed since the last time, and asks for what is due.

What is new or has changed is looked at once more in the same run (`settling`). Nothing is read but names, sizes and
times. It goes on where it was interrupted.
"""

import asyncio
import uuid
from datetime import timedelta

from services.sync.comparing import Batch, Comparing, NewToken
from services.sync.core.rules import Rules
from services.sync.runs import GOING_ON, due_now, end, finish, following
from services.sync.settling import look_again, unsettled, wait_for_them
from services.sync.turns import TURN
from services.sync.units import gather
from services.sync.walking import Listing, is_mount, look_into
from shared.blobs import Blobs
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.events import Event, ImportFile, ScanStore
from shared.store import Change, Store
from shared.store.documents.folders import Example, FolderStore, Report
from shared.tiles import Tiles

# Fewer may have been taken away by hand; and whatever is marked as vanished by mistake is unmarked once it is back.
MANY = 10
_MEANT = "If this is meant, pause the store and resume it."


class Unscannable(SlidemillError):
    """The store's root can't be read: nothing can be said about what is in it."""


class ScanHandler:
    """Answers `scan-store`. `stable` is how long a file must look the same, `imports` how many a run takes in."""

    def __init__(
        self,
        clock: Clock,
        *,
        stable: timedelta,
        imports: int,
        most_bytes: int | None = None,
        new_token: NewToken = lambda: uuid.uuid4().hex,
    ) -> None:
        self._clock = clock
        self._stable = stable
        self._imports = imports
        self._most_bytes = most_bytes
        self._new_token = new_token

    async def __call__(self, event: ScanStore, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Returns the imports that the run is still to do, or the event itself, where it goes on after a turn.

        Nothing while it waits for its second look, and the store's next run where this one has ended.
        """
        report, watched = await store.reports.get(event.run), await store.stores.get(event.store)
        if report is None:
            return []
        if report.state not in GOING_ON:
            return await following(store, event.store, database=event.database)
        if watched is None or watched.state != "active":
            note = "The store was paused or removed meanwhile."
            return await end(store, report.id, note, self._clock, database=event.database)
        if report.state != "importing":
            if report.again is not None and self._clock.now() < report.again:
                return []
            try:
                if not await self._look(store, watched, report):
                    return [event]
            except Unscannable as error:
                return await end(store, report.id, str(error), self._clock, database=event.database)
            if report.again is None and await unsettled(store, report):
                await wait_for_them(store, report.id, self._stable, self._clock)
                return []
            await self._ask(store, watched, report)
        asked = await store.entries.find({"asked": report.id})
        if not asked:
            return await finish(store, report.id, self._clock, database=event.database)
        return [
            ImportFile(database=event.database, time=report.due, store=watched.id, run=report.id, path=entry.id.path)
            for entry in asked
        ]

    async def _look(self, store: Store, watched: FolderStore, report: Report) -> bool:
        """The first look at everything, or the second at what that found; False if it goes on in another turn."""
        if report.again is None:
            return await self._scan(store, watched, report)
        rules = Rules.of(watched, self._most_bytes)
        return await look_again(store, watched, report, rules, self._clock, self._stable, TURN)

    async def _ask(self, store: Store, watched: FolderStore, report: Report) -> None:
        """Settles what this run imports."""
        now = self._clock.now()
        already = await store.entries.count({"asked": report.id})
        ids = await due_now(store, watched.id, now, max(0, self._imports - already))
        await store.entries.amend(*(Change(id, {"state": "due", "asked": None}, {"asked": report.id}) for id in ids))
        importing = {"state": "importing", "again": None, "updated": self._clock.now()}
        await store.reports.update(report.id, when={"state": "scanning"}, set=importing)

    async def _trust(self, store: Store, watched: FolderStore, root: Listing) -> None:
        """Raises `Unscannable` if the root looks as if what lies in it were not there at the moment."""
        holds = bool(root.files or root.folders)
        found = "mount" if await asyncio.to_thread(is_mount, watched.root) else "folder"
        if watched.found == "mount" and found != "mount":
            raise Unscannable(f"Nothing is mounted at {watched.root} any more: mount it. {_MEANT}")
        known = {"_id.store": watched.id, "vanished": None}
        if watched.found is not None and not holds and await store.entries.count(known, limit=MANY) == MANY:
            raise Unscannable(
                f"{watched.root} is empty, and held {MANY} files or more: see that it is mounted. {_MEANT}"
            )
        if holds and watched.found != found:
            await store.stores.update(watched.id, set={"found": found})

    async def _scan(self, store: Store, watched: FolderStore, report: Report) -> bool:
        """Walks all folders after those that were walked; False if that is to be gone on with from what is written."""
        started = self._clock.now()
        if report.state == "waiting":
            begun = {"state": "scanning", "note": None, "started": started, "updated": started}
            await store.reports.update(report.id, when={"state": "waiting"}, set=begun)
        scan = Comparing(store, watched, report, self._clock, self._stable, self._new_token)
        rules = Rules.of(watched, self._most_bytes)
        visited, unread = set[str](), list[str]()
        ahead, batch = [""], Batch()
        while ahead:
            folder = ahead.pop()
            try:
                listing = await asyncio.to_thread(look_into, watched.root, folder, rules)
            except OSError as error:
                if not folder:
                    raise Unscannable(f"{watched.root} can't be read: {error.strerror}.") from None
                unread.append(folder)
                if not scan.walked(folder) and not isinstance(error, FileNotFoundError | NotADirectoryError):
                    batch.skipped["unreadable"] += 1
                    detail = f"The folder {folder} can't be read: {error.strerror}."
                    batch.examples.append(Example(path=folder, reason="unreadable", detail=detail))
                continue
            if not folder:
                await self._trust(store, watched, listing)
            visited.add(folder)
            ahead.extend(reversed(listing.folders))
            if scan.walked(folder):
                continue
            batch.put(listing, await gather(store, watched.id, watched.root, listing, rules))
            if batch.full:
                if not await scan.compare(batch) or self._clock.now() - started > TURN:
                    return False
                batch = Batch()
        if not await scan.compare(batch):
            return False
        await scan.compare_gone(visited, unread)
        return True
