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
from services.sync.copying import Copying, Differs, Source, Turn, Unfinished
from services.sync.core import seen, source_of, wait
from services.sync.metrics import Imports
from services.sync.pacing import Pace
from services.sync.packed import Files, Packed
from services.sync.runs import finish
from services.sync.taking import Bounds, Changing, NoRoom, NotNow, Taking
from services.sync.walking import NoFile, opened
from shared.blobs import Blobs
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import RetryLater
from shared.events import Event, ImportFile
from shared.names import display_name
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
            await self._forget_origin()
            # One that was interrupted while it moved has said so.
            await self._settle("moved" if (entry.done_by, entry.outcome) == (self._run, "moved") else "same", {})
            return
        if entry.image is None and await self._known_otherwise(sha256):
            return
        await self._claim(sha256)
        taken = await self._taking.take(self._watched, entry, source, sha256, self._turn)
        if entry.sha256 is not None:
            await copies_are_due(store, self._watched.id, [entry.sha256])
        outcome: Outcome = "refused" if taken.refused else "new" if taken.version == 1 else "changed"
        found = {"sha256": sha256, "image": taken.image, "version": taken.version}
        await self._settle(outcome, found)

    async def _known_otherwise(self, sha256: str) -> bool:
        """Whether another file has this content: one that is there makes this a copy, one that is gone has moved."""
        entry, store = self._entry, self._store
        same = await store.entries.find({"_id.store": self._watched.id, "sha256": sha256})
        others = [other for other in same if other.id != entry.id and other.image is not None]
        there = next((other for other in others if other.vanished is None), None)
        if there is not None:
            detail = f"{entry.id.path} is a copy of {there.id.path}."
            copy = {"state": "duplicate", "sha256": sha256, "claim": None, **_why("duplicate", detail)}
            await self._end("duplicate", copy)
            return True
        for other in others:
            claimed = other.heir == entry.id.path or await store.entries.update(
                other.id, when={"vanished": other.vanished, "heir": None}, set={"heir": entry.id.path}
            )
            if not claimed:
                continue
            heritage = {
                "sha256": sha256,
                "digest": sha256,
                "image": other.image,
                "version": other.version,
                "done_by": self._run,
                "outcome": "moved",
            }
            changed = await store.entries.update(entry.id, when={"asked": self._run}, set=heritage)
            if changed is not None:
                self._entry = changed
                await self._forget_origin()
                await self._settle("moved", {})
            return True
        if others:
            raise NotNow("Another file takes over the image of this content at this moment.")
        return False

    async def _forget_origin(self) -> None:
        """Forgets the entries whose image this one has taken over."""
        entry = self._entry
        heritage = {"_id.store": self._watched.id, "sha256": entry.sha256, "heir": entry.id.path}
        origins = await self._store.entries.find(heritage)
        for origin in origins:
            await self._show_image()
            await self._store.entries.take(origin.id, when={"heir": entry.id.path})

    async def _show_image(self) -> None:
        """The image has the name and the place of this entry."""
        entry = self._entry
        shown = {
            "name": display_name(entry.name) or entry.name,
            "source": source_of(self._watched, entry.id.path),
            "source_vanished": None,
        }
        await self._store.images.update(entry.image, set=shown)

    async def _claim(self, sha256: str) -> None:
        """Of several files of one content that are imported at the same time, one becomes an image.

        The digest is kept with the claim: whoever goes on with this import need not read for it again.
        """
        entry, store = self._entry, self._store
        await store.entries.update(entry.id, when={"asked": self._run}, set={"claim": sha256, "digest": sha256})
        claims = await store.entries.find({"_id.store": self._watched.id, "claim": sha256})
        others = [other for other in claims if other.id != entry.id]
        # One that was interrupted goes on: the others wait for it.
        if not others or await self._taking.begun(entry, sha256):
            return
        said = f"{others[0].id.path} has the same content and is being imported."
        if entry.id.path > min(other.id.path for other in others):
            raise NotNow(said)
        for other in others:
            if await self._taking.begun(other, sha256):
                raise NotNow(said)
        # The others withdraw.
        raise RetryLater(said)

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
