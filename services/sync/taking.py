"""Makes images and versions of files in a folder store, by the same road as uploads. Every step may be repeated."""

import asyncio
from dataclasses import dataclass

from services.sync.copying import Copying, Differs, Source
from services.sync.core.looks import Look, seen
from services.sync.core.paths import source_of
from services.sync.digests import Hashed
from services.sync.drafting import NotNow, draft, upload_id
from services.sync.room import Bounds, check_account, check_room
from services.sync.turns import Turn
from shared.blobs import Blobs, owner_of
from shared.blobs.seal import announced, remove, seal
from shared.bus import Bus, Message
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.slides.sniff import HEAD_BYTES, sniff, unreadable
from shared.stages.failing import fail
from shared.stages.moving import appear
from shared.store import Store
from shared.store.documents.entries import Entry
from shared.store.documents.folders import FolderStore
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Failure, VersionId

_CHANGED = "The next scans take it in again, once it stands still."


@dataclass(frozen=True)
class Taken:
    """What a file has become: this version of this image, which has failed already if the file is no slide."""

    image: str
    version: int
    refused: bool


class Changing(SlidemillError):
    """The file is not what it was when it was looked at. `taken` is the version that came to nothing by it, if any."""

    def __init__(self, message: str, taken: Taken | None = None) -> None:
        super().__init__(message)
        self.taken = taken


@dataclass
class Taking:
    """Takes in one file of a store at a time."""

    store: Store
    blobs: Blobs
    bus: Bus
    clock: Clock
    database: str
    copying: Copying
    bounds: Bounds

    async def take(self, watched: FolderStore, entry: Entry, source: Source, sha256: str, turn: Turn) -> Taken:
        """A new image, or a new version of the entry's.

        Raises `Changing`, `NotNow`, `NoRoom`, and `Unfinished` where the turn is over.
        """
        upload = await self._upload(watched, entry, sha256)
        head = await asyncio.to_thread(source.read, 0, HEAD_BYTES)
        if upload.file is None and sniff(head, upload.name) is None:
            await self._refuse(upload, head)
            return Taken(upload.image, upload.version, refused=True)
        if upload.state == "importing":
            await self._prove(upload, source, seen(entry), sha256, turn)
        fact = await seal(upload.id, store=self.store, blobs=self.blobs, database=self.database, clock=self.clock)
        if fact is not None:
            await self.bus.publish([Message(fact)])
            await announced(upload.id, self.store)
        ended = await self.store.uploads.get(upload.id)
        if ended is not None and ended.state in ("failed", "expired") and await self.store.images.get(upload.image):
            raise Changing("Its import was given up.", Taken(upload.image, upload.version, refused=True))
        if ended is None or ended.state != "complete":
            raise NotNow("What was to be stored is gone: its image was deleted, or another that shared its file.")
        return Taken(upload.image, upload.version, refused=False)

    async def begun(self, entry: Entry, sha256: str) -> bool:
        """Whether this content of the entry is being taken in already."""
        return await self.store.uploads.get(upload_id(entry, sha256).hex) is not None

    async def _upload(self, watched: FolderStore, entry: Entry, sha256: str) -> Upload:
        """The upload of this content of the entry, with its image and version; made once."""
        id = upload_id(entry, sha256)
        upload = await self.store.uploads.get(id.hex)
        if upload is None:
            drafted = await draft(self.store, self.blobs, self.clock, watched, entry, sha256, id)
            await check_room(self.store, self.bounds, drafted.total if drafted.file is None else 0)
            if await self.store.uploads.insert(drafted):
                await check_account(self.store, self.bounds, drafted)
            upload = await self.store.uploads.get(id.hex) or drafted
        if upload.state in ("importing", "verifying"):
            await appear(self.store, upload, self.clock, source=source_of(watched, entry.id.path))
        version = await self.store.versions.get(VersionId(image=upload.image, n=upload.version))
        if version is not None and version.file != upload.stored_as:
            await self.store.uploads.take(upload.id)
            raise NotNow(f"{upload.name} was just being processed anew.")
        if upload.version > 1:
            before, raised = upload.version - 1, {"latest": upload.version, "name": upload.name}
            await self.store.images.update(upload.image, when={"latest": before}, set=raised)
        return upload

    async def _prove(self, upload: Upload, source: Source, look: Look, sha256: str, turn: Turn) -> None:
        """Stores what is not stored, looks at the file for the last time, and gives the upload to be sealed."""
        digests = {"md5": upload.md5, "sha256": upload.sha256}
        try:
            if upload.file is None:
                hashed = await self._store_bytes(upload, source, turn)
                digests = {"md5": hashed.md5, "sha256": hashed.sha256}
            if digests["sha256"] != sha256 or source.look() != look:
                raise Differs(f"{upload.name} changed while it was read.")
        except Differs as error:
            await self._fail(upload, f"{upload.name} changed while it was read.", _CHANGED)
            raise Changing(str(error), Taken(upload.image, upload.version, refused=True)) from error
        proven = {**digests, "state": "verifying", "stored": upload.total, "updated": self.clock.now()}
        await self.store.uploads.update(upload.id, when={"state": "importing"}, set=proven)

    async def _store_bytes(self, upload: Upload, source: Source, turn: Turn) -> Hashed:
        """Stores every chunk that is not there yet; returns the digests of all that are."""
        await check_room(self.store, self.bounds, upload.total - upload.stored)
        await self.blobs.create(
            upload.id, name=upload.name, chunk=upload.chunk, refs=(owner_of(upload.image, upload.version),)
        )

        async def note(stored: int) -> None:
            now, seen = self.clock.now(), {"state": "importing"}
            under_way = {"stored": stored, "updated": now}
            if await self.store.uploads.update(upload.id, when=seen, set=under_way, hint=True) is None:
                raise NotNow("Its image was deleted while it was being stored, or others ended its upload.")
            version = VersionId(image=upload.image, n=upload.version)
            shown = {"stages.upload.done": stored, "updated": now}
            await self.store.versions.update(version, when={"state": "uploading"}, set=shown, hint=True)

        return await self.copying.store(upload, source, self.blobs, turn, note)

    async def _refuse(self, upload: Upload, head: bytes) -> None:
        reason, remedy = unreadable(upload.name, head)
        failure = Failure(stage="upload", reason=reason, remedy=remedy)
        await appear(self.store, upload, self.clock, failure)
        await self._fail(upload, reason, remedy)

    async def _fail(self, upload: Upload, reason: str, remedy: str) -> None:
        version = VersionId(image=upload.image, n=upload.version)
        events = await fail(self.store, version, "upload", reason, remedy, database=self.database, clock=self.clock)
        failed = {"state": "failed", "updated": self.clock.now()}
        await self.store.uploads.update(upload.id, when={"state": "importing"}, set=failed)
        await remove(upload, self.blobs)
        await self.bus.publish([Message(event) for event in events])
        await announced(upload.id, self.store)
