"""Takes in one file of a store: what it is by its digest, then a new image, a new version, or a move.

What can't be read, or changes meanwhile, is set aside for a while and never stops the others. Every way out of here
records on the entry what came of it, and ends the run if it was its last.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from services.sync.comparing import copies_are_due
from services.sync.contents import claim, forget_origins, inherit, others_with_image
from services.sync.copying import Copying, Differs, Source
from services.sync.core.looks import seen
from services.sync.core.waits import wait
from services.sync.drafting import NotNow
from services.sync.metrics import Imports
from services.sync.pacing import Pace
from services.sync.packed import Files, Packed
from services.sync.room import Bounds, NoRoom
from services.sync.runs import finish
from services.sync.taking import Changing, Taking
from services.sync.turns import Turn, Unfinished
from services.sync.walking import NoFile, opened
from shared.blobs import Blobs
from shared.bus import Bus
from shared.clock import Clock
from shared.events import Event, ImportFile
from shared.store import Store
from shared.store.documents.entries import Entry, EntryId, Outcome
from shared.store.documents.folders import FolderStore, Reason
from shared.tiles import Tiles


class ImportHandler:
    """Answers `import-file`, any number at once. `bytes_per_second` is how fast all of them together read."""

    def __init__(
        self, bus: Bus, clock: Clock, *, bounds: Bounds | None = None, bytes_per_second: int | None = None
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._copying = Copying(clock, Pace(clock, bytes_per_second))
        self.counted = Imports()
        self._contents: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, event: ImportFile, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Imports the file if that is still wanted.

        Returns the event itself where that is gone on with in a new turn, and the store's next run, if this was the
        last file of one.
        """
        id = EntryId(store=event.store, path=event.path)
        entry, watched = await store.entries.get(id), await store.stores.get(event.store)
        if entry is not None and entry.asked == event.run:
            taking = Taking(store, blobs, self._bus, self._clock, event.database, self._copying, self._bounds)
            ended = True
            if watched is None or watched.state != "active" or entry.state != "due":
                await store.entries.update(id, when={"asked": event.run}, set={"asked": None, "claim": None})
            else:
                ended = await _Import(taking, watched, entry, event.run, self._contents, self.counted).run()
            going_on = {"updated": self._clock.now()}
            await store.reports.update(event.run, when={"state": "importing"}, set=going_on, hint=True)
            if not ended:
                return [event]
        return await finish(store, event.run, self._clock, database=event.database)


class _Import:
    def __init__(
        self,
        taking: Taking,
        watched: FolderStore,
        entry: Entry,
        run: str,
        contents: "WeakValueDictionary[str, asyncio.Lock]",
        counted: Imports,
    ) -> None:
        self._taking = taking
        self._store = taking.store
        self._clock = taking.clock
        self._watched = watched
        self._entry = entry
        self._run = run
        self._contents = contents
        self._counted = counted
        self._digest = entry.digest
        self._turn = Turn(taking.clock)

    async def run(self) -> bool:
        """Brings the entry to an end, whichever; False if its turn is over before."""
        entry = self._entry
        try:
            async with self._opened() as source:
                self._check(source)
                self._digest = sha256 = self._digest or await self._read(source)
                self._check(source)
                # Of several slides of one content one becomes an image before the next one is looked at.
                async with self._contents.setdefault(sha256, asyncio.Lock()):
                    await self._decide(source, sha256)
        except Unfinished:
            return False
        except (Changing, Differs, NoFile, FileNotFoundError, NotADirectoryError) as error:
            # The next scan looks at it as at a new one.
            self._digest = None
            taken = error.taken if isinstance(error, Changing) else None
            made = {"image": taken.image, "version": taken.version} if taken is not None else {}
            waiting = {"state": "waiting", "looked": self._clock.now(), **_anew()}
            await self._end(None, {**waiting, **made, **_why("changing", _said(error))})
        except NotNow as error:
            await self._end(None, {**_anew(), "detail": str(error)})
        except NoRoom as error:
            await self._put_off(error.reason, f"{entry.id.path} is not taken in. {error}")
        except OSError as error:
            await self._put_off("unreadable", f"{entry.id.path} can't be read: {_said(error)}.")
        return True

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Source]:
        """The file, or several files as one; their CRCs are kept, so that they are read for them but once."""
        entry, root = self._entry, self._watched.root
        if not entry.members:
            with opened(root, entry.id.path) as file:
                yield file
            return
        files = Files(root, entry.members)
        members = await self._taking.copying.checksums(self._key, files, self._turn)
        if members != entry.members:
            await self._store.entries.update(entry.id, when={"asked": self._run}, set={"members": members})
        yield Packed(entry, Files(root, members))

    async def _read(self, source: Source) -> str:
        return await self._taking.copying.digest(self._key, source, self._entry.size, self._turn)

    @property
    def _key(self) -> str:
        id, look = self._entry.id, seen(self._entry)
        return "|".join((id.store, id.path, *map(str, look)))

    def _check(self, source: Source) -> None:
        if source.look() != seen(self._entry):
            raise Changing("It changed after it was looked at.")

    async def _decide(self, source: Source, sha256: str) -> None:
        entry, store = self._entry, self._store
        if entry.image is not None and entry.sha256 == sha256:
            await forget_origins(store, self._watched, entry)
            # One that was interrupted while it moved has said so.
            await self._settle("moved" if (entry.done_by, entry.outcome) == (self._run, "moved") else "same", {})
            return
        if entry.image is None and (others := await others_with_image(store, entry, sha256)):
            await self._join(others, sha256)
            return
        await claim(self._taking, entry, sha256, self._run)
        taken = await self._taking.take(self._watched, entry, source, sha256, self._turn)
        if entry.sha256 is not None:
            await copies_are_due(store, self._watched.id, [entry.sha256])
        outcome: Outcome = "refused" if taken.refused else "new" if taken.version == 1 else "changed"
        found = {"sha256": sha256, "image": taken.image, "version": taken.version}
        await self._settle(outcome, found)

    async def _join(self, others: list[Entry], sha256: str) -> None:
        """Another file has this content: one that is there makes this a copy, one that is gone has moved here."""
        entry, store = self._entry, self._store
        there = next((other for other in others if other.vanished is None), None)
        if there is not None:
            detail = f"{entry.id.path} is a copy of {there.id.path}."
            copy = {"state": "duplicate", "sha256": sha256, "claim": None, **_why("duplicate", detail)}
            await self._end("duplicate", copy)
            return
        heir = await inherit(store, entry, others, sha256, self._run)
        if heir is not None:
            self._entry = heir
            await forget_origins(store, self._watched, heir)
            await self._settle("moved", {})

    async def _settle(self, outcome: Outcome, found: dict[str, Any]) -> None:
        done = {"state": "imported", "claim": None, "tries": 0, "next_try": None, **_why(None, None)}
        await self._end(outcome, {**found, **done})

    async def _put_off(self, reason: Reason, detail: str) -> None:
        tries = self._entry.tries + 1
        later = {"tries": tries, "next_try": self._clock.now() + wait(tries), "claim": None}
        await self._end("failed", {**later, **_why(reason, detail)})

    async def _end(self, outcome: Outcome | None, fields: dict[str, Any]) -> None:
        done = {"asked": None, "done_by": self._run, "outcome": outcome, "digest": self._digest, **fields}
        ended = await self._store.entries.update(self._entry.id, when={"asked": self._run}, set=done)
        if ended is not None and outcome is not None:
            self._counted.count(self._taking.database, self._watched, outcome, ended.size)


def _anew() -> dict[str, Any]:
    """What lets the next try make an upload of its own: this one's may have been given up."""
    return {"claim": None, "token": uuid.uuid4().hex}


def _why(reason: Reason | None, detail: str | None) -> dict[str, Any]:
    return {"reason": reason, "detail": detail}


def _said(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
