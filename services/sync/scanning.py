"""Scans a store: walks its folders, writes down what has changed since the last time, and asks for what is due.

Nothing is read but names, sizes and times. It goes on where it was interrupted, and may be done twice at once: each
entry's change is a compare-and-set on what the scan saw.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.sync.core import Look, Rules, Step, beneath, fresh, parts, step, unchanged
from services.sync.runs import MOST_EXAMPLES, due_now, end, finish
from services.sync.walking import Listing, look_into
from shared.blobs import Blobs
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.events import Event, ImportFile, ScanStore
from shared.store import Change, In, Store
from shared.store.entries import Entry
from shared.store.folders import Example, FolderStore, Report
from shared.tiles import Tiles

# How much is held and written together.
MOST_FILES = 2000
MOST_FOLDERS = 100
# Well within the 30 minutes after which a broker takes back what a consumer holds.
TURN = timedelta(minutes=5)

NewToken = Callable[[], str]


class Unscannable(SlidemillError):
    """The store's root can't be read: nothing can be said about what is in it."""


@dataclass
class _Batch:
    """Folders that were listed and not compared yet."""

    folders: list[str] = field(default_factory=list)
    files: dict[str, Look] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    seen: int = 0

    def put(self, listing: Listing) -> None:
        self.folders.append(listing.folder)
        self.files.update(listing.files)
        self.seen += len(listing.files)
        for aside in listing.aside:
            self.skipped[aside.reason] += 1
            if aside.keeps:
                self.kept.add(aside.path)
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append(Example(path=aside.path, reason=aside.reason, detail=aside.detail))

    @property
    def full(self) -> bool:
        return len(self.files) >= MOST_FILES or len(self.folders) >= MOST_FOLDERS


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
        """Returns the imports that the run is still to do; or the event itself, where it goes on after a turn."""
        report, watched = await store.reports.get(event.run), await store.stores.get(event.store)
        if report is None or report.state not in ("waiting", "scanning", "importing"):
            return []
        if watched is None or watched.state != "active":
            await end(store, report.id, "The store was paused or removed meanwhile.", self._clock)
            return []
        if report.state != "importing":
            try:
                if not await self._scan(store, watched, report):
                    return [event]
            except Unscannable as error:
                await end(store, report.id, str(error), self._clock)
                return []
            await self._ask(store, watched, report)
        asked = await store.entries.find({"asked": report.id})
        if not asked:
            await finish(store, report.id, self._clock)
        return [
            ImportFile(database=event.database, time=report.due, store=watched.id, run=report.id, path=entry.id.path)
            for entry in asked
        ]

    async def _ask(self, store: Store, watched: FolderStore, report: Report) -> None:
        """Settles what this run imports."""
        now = self._clock.now()
        already = await store.entries.count({"asked": report.id})
        ids = await due_now(store, watched.id, now, max(0, self._imports - already))
        await store.entries.amend(*(Change(id, {"state": "due", "asked": None}, {"asked": report.id}) for id in ids))
        await store.reports.update(
            report.id, when={"state": "scanning"}, set={"state": "importing", "updated": self._clock.now()}
        )

    async def _scan(self, store: Store, watched: FolderStore, report: Report) -> bool:
        """Walks all folders after those that were walked; False if its turn is over before it is through."""
        started = self._clock.now()
        if report.state == "waiting":
            begun = {"state": "scanning", "started": started, "updated": started}
            await store.reports.update(report.id, when={"state": "waiting"}, set=begun)
        scan = _Scan(store, watched, report, self._clock, self._stable, self._new_token)
        rules = Rules.of(watched, self._most_bytes)
        visited, unread = set[str](), list[str]()
        ahead, batch = [""], _Batch()
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
            visited.add(folder)
            ahead.extend(reversed(listing.folders))
            if scan.walked(folder):
                continue
            batch.put(listing)
            if batch.full:
                await scan.compare(batch)
                batch = _Batch()
                if self._clock.now() - started > TURN:
                    return False
        await scan.compare(batch)
        await scan.compare_gone(visited, unread)
        return True


class _Scan:
    """One run's comparing: writes what has changed, and into the report how far it has come."""

    def __init__(
        self, store: Store, watched: FolderStore, report: Report, clock: Clock, stable: timedelta, new_token: NewToken
    ) -> None:
        self._store = store
        self._watched = watched
        self._run = report.id
        self._clock = clock
        self._stable = stable
        self._new_token = new_token
        self._walked = report.walked
        self._skipped = Counter(report.skipped)
        self._examples = list(report.examples)

    def walked(self, folder: str) -> bool:
        """Whether an earlier turn of this run has seen to the folder."""
        return self._walked is not None and parts(folder) <= parts(self._walked)

    async def compare(self, batch: _Batch) -> None:
        """Compares listed folders with what was known of them, and notes that they are walked."""
        if not batch.folders:
            return
        await self._write(batch.folders, batch.files, batch.kept)
        self._skipped += batch.skipped
        self._examples = (self._examples + batch.examples)[:MOST_EXAMPLES]
        # Together, and only once: what was seen is not counted again by whoever goes on from here.
        changed = await self._store.reports.update(
            self._run,
            when={"walked": self._walked},
            set={
                "walked": batch.folders[-1],
                "skipped": dict(self._skipped),
                "examples": self._examples,
                "updated": self._clock.now(),
            },
            inc={"seen": batch.seen},
        )
        if changed is None:
            # Somebody else scans too: what is right for the entries goes on, the counts are theirs.
            current = await self._store.reports.get(self._run)
            if current is not None:
                self._skipped, self._examples = Counter(current.skipped), list(current.examples)
                self._walked = current.walked
            return
        self._walked = batch.folders[-1]

    async def compare_gone(self, visited: set[str], unread: Sequence[str]) -> None:
        """Folders that were known and are not there any more are compared as empty; what can't be read stays."""
        known = await self._store.entries.tally({"_id.store": self._watched.id}, ["folder"])
        gone = [
            folder
            for (folder,) in known
            if folder not in visited and not any(beneath(folder, above) for above in unread)
        ]
        for n in range(0, len(gone), MOST_FOLDERS):
            await self._write(gone[n : n + MOST_FOLDERS], {}, set())

    async def _write(self, folders: Sequence[str], files: dict[str, Look], kept: set[str]) -> None:
        unknown = dict(files)
        after: tuple[Any, Any] | None = None
        while True:
            page = await self._store.entries.find(
                {"_id.store": self._watched.id, "folder": In(list(folders))},
                sort="name",
                after=after,
                limit=MOST_FILES,
            )
            now = self._clock.now()
            steps = []
            for entry in page:
                look = unknown.pop(entry.id.path, None)
                if look is None and entry.id.path in kept:
                    continue
                taken = step(entry, look, now=now, stable=self._stable, run=self._run)
                if taken is not None:
                    steps.append((entry, taken))
            await self._take(steps, now)
            if len(page) < MOST_FILES:
                break
            after = (page[-1].name, page[-1].id)
        new = [
            fresh(self._watched.id, path, look, token=self._new_token(), now=now, run=self._run)
            for path, look in unknown.items()
        ]
        for n in range(0, len(new), MOST_FILES):
            await self._store.entries.insert(*new[n : n + MOST_FILES])

    async def _take(self, steps: Sequence[tuple[Entry, Step]], now: datetime) -> None:
        """Writes what follows from the steps first, then the steps: dying in between, the next one finds them again."""
        store = self._store
        gone = [entry for entry, taken in steps if taken.kind == "vanished"]
        back = [entry for entry, taken in steps if taken.kind == "back"]
        await store.images.amend(
            *(Change(entry.image, {"source_vanished": None}, {"source_vanished": now}) for entry in gone),
            *(Change(entry.image, {}, {"source_vanished": None}) for entry in back),
        )
        await copies_are_due(store, self._watched.id, [entry.sha256 for entry in gone if entry.sha256])
        for entry, taken in steps:
            if taken.kind == "forgotten":
                await store.entries.take(entry.id, when=unchanged(entry))
        await store.entries.amend(
            *(Change(entry.id, unchanged(entry), taken.set) for entry, taken in steps if taken.kind != "forgotten")
        )


async def copies_are_due(store: Store, watched: str, digests: Sequence[str]) -> None:
    """Looks anew at files that were not imported because another one had this content: it has it no longer."""
    if digests:
        copies = {"_id.store": watched, "state": "duplicate", "sha256": In(list(digests))}
        again = {"state": "due", "reason": None, "detail": None, "next_try": None}
        found = await store.entries.find(copies)
        await store.entries.amend(*(Change(entry.id, {"state": "duplicate"}, again) for entry in found))
