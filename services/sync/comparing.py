"""Compares listed folders with what was known of them, and writes down the difference.

May be done twice at once: each entry's change is a compare-and-set on what the scan saw.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.sync.core.looks import Look, Unit
from services.sync.core.paths import beneath, parts
from services.sync.core.steps import Step, fresh, step, unchanged
from services.sync.runs import MOST_EXAMPLES, SHOWN
from services.sync.walking import Listing
from shared.clock import Clock
from shared.store import Change, In, Store
from shared.store.documents.entries import Entry
from shared.store.documents.folders import Example, FolderStore, Report

# How much is held and written together.
MOST_FILES = 2000
MOST_FOLDERS = 100

NewToken = Callable[[], str]


@dataclass
class Batch:
    """Folders that were listed and not compared yet."""

    folders: list[str] = field(default_factory=list)
    files: dict[str, Look] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    seen: int = 0

    def put(self, listing: Listing, units: dict[str, Unit]) -> None:
        """Adds a folder, with what is known of its slides by path, to be compared with the others."""
        self.folders.append(listing.folder)
        self.files.update(listing.files)
        self.units.update(units)
        self.seen += len(listing.files)
        for aside in listing.aside:
            self.skipped[aside.reason] += 1
            if aside.keeps:
                self.kept.add(aside.path)
            self.examples.append(Example(path=aside.path, reason=aside.reason, detail=aside.detail))
        self.examples = named(self.examples)

    @property
    def full(self) -> bool:
        """Whether it should be compared before more comes."""
        return len(self.files) >= MOST_FILES or len(self.folders) >= MOST_FOLDERS


def named(examples: Sequence[Example]) -> list[Example]:
    """Those of these that a report names: a few of each reason, so that none hides the others."""
    seen = Counter[str]()
    kept = []
    for example in examples:
        seen[example.reason] += 1
        if seen[example.reason] <= SHOWN:
            kept.append(example)
    return kept[:MOST_EXAMPLES]


class Comparing:
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

    async def compare(self, batch: Batch) -> bool:
        """Compares listed folders with what was known of them, and notes that they are walked.

        False if somebody else scans for this run at the same time, and is ahead: the counts are theirs.
        """
        if not batch.folders and not batch.skipped:
            return True
        walked = batch.folders[-1] if batch.folders else self._walked
        await self._write(batch.folders, batch.files, batch.units, batch.kept)
        self._skipped += batch.skipped
        self._examples = named(self._examples + batch.examples)
        # Together: what was seen is not counted again by whoever goes on from here.
        changed = await self._store.reports.update(
            self._run,
            when={"walked": self._walked},
            set={
                "walked": walked,
                "skipped": dict(self._skipped),
                "examples": self._examples,
                "updated": self._clock.now(),
            },
            inc={"seen": batch.seen},
        )
        self._walked = walked
        return changed is not None

    async def compare_gone(self, visited: set[str], unread: Sequence[str]) -> None:
        """Folders that were known and are not there any more are compared as empty; what can't be read stays."""
        known = await self._store.entries.tally({"_id.store": self._watched.id}, ["folder"])
        gone = [
            folder
            for (folder,) in known
            if folder not in visited and not any(beneath(folder, above) for above in unread)
        ]
        for n in range(0, len(gone), MOST_FOLDERS):
            await self._write(gone[n : n + MOST_FOLDERS], {}, {}, set())

    async def _write(
        self, folders: Sequence[str], files: dict[str, Look], units: dict[str, Unit], kept: set[str]
    ) -> None:
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
                taken = step(entry, look, units.get(entry.id.path), now=now, stable=self._stable, run=self._run)
                if taken is not None:
                    steps.append((entry, taken))
            await self._take(steps, now)
            if len(page) < MOST_FILES:
                break
            after = (page[-1].name, page[-1].id)
        new = [
            fresh(self._watched.id, path, look, units.get(path), token=self._new_token(), now=now, run=self._run)
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
