"""Makes images and versions of files in a folder store, by the same road as uploads. Every step may be repeated."""

import asyncio
import uuid
from dataclasses import dataclass

from services.sync.copying import PIECE, Copying, Differs, Hashed, Source, Turn
from services.sync.core import Look, seen, session_title, source_of
from shared.blobs import Blobs, owner_of
from shared.blobs.seal import announced, remove, seal
from shared.bus import Bus, Message
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.names import display_name, visible
from shared.quota import stored_by
from shared.slides.sniff import sniff, unreadable
from shared.stages.failing import fail
from shared.stages.moving import appear
from shared.store import Store
from shared.store.documents.entries import Entry
from shared.store.documents.folders import FolderStore, Reason
from shared.store.documents.images import Session
from shared.store.documents.uploads import Upload, Wish
from shared.store.documents.versions import Failure, Version, VersionId

SNIFFED = 512
_IDS = uuid.UUID("a5c3f1d0-55c8-4b55-8d34-0f4d8b4d0f6e")
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


class NotNow(SlidemillError):
    """Its image is being worked on, or something else passes: try again in the next run."""


class NoRoom(SlidemillError):
    """There is no room for it: try again after a while. `reason` says in a word where."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Bounds:
    """What imports may take, in bytes, as for uploads.

    `reserve` must stay free in the database; `account` is all that the store's owner may have, None for any amount.
    """

    reserve: int = 0
    account: int | None = None


def _upload_id(entry: Entry, sha256: str) -> uuid.UUID:
    return uuid.uuid5(_IDS, "|".join((entry.token, sha256, *map(str, seen(entry)[1:]), entry.image or "")))


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
        head = await asyncio.to_thread(source.read, 0, SNIFFED)
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
        return await self.store.uploads.get(_upload_id(entry, sha256).hex) is not None

    async def _upload(self, watched: FolderStore, entry: Entry, sha256: str) -> Upload:
        """The upload of this content of the entry, with its image and version; made once."""
        id = _upload_id(entry, sha256)
        upload = await self.store.uploads.get(id.hex)
        if upload is None:
            draft = await self._draft(watched, entry, sha256, id)
            await self.check_room(draft.total if draft.file is None else 0)
            if await self.store.uploads.insert(draft):
                await self._check_account(draft)
            upload = await self.store.uploads.get(id.hex) or draft
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

    async def _draft(self, watched: FolderStore, entry: Entry, sha256: str, id: uuid.UUID) -> Upload:
        image = await self.store.images.get(entry.image) if entry.image is not None else None
        if image is not None:
            latest = await self.store.versions.get(VersionId(image=image.id, n=image.latest))
            if latest is None or latest.state not in ("ready", "failed"):
                raise NotNow(f"{image.name} is still being processed: its new content comes after that.")
            session = image.session
        else:
            session = await self._session(watched, session_title(watched, entry.id.path))
        known = await self._known(watched.owner, sha256, entry.size)
        now = self.clock.now()
        return Upload(
            id=id.hex,
            session=session,
            image=image.id if image else uuid.uuid5(id, "image").hex,
            version=image.latest + 1 if image else 1,
            owner=watched.owner,
            name=display_name(entry.name) or entry.name,
            total=entry.size,
            chunk=PIECE,
            stored=entry.size if known else 0,
            # Nobody but an import ends what is `importing`: not before it has looked at the file for the last time.
            state="importing",
            file=known.file if known else None,
            md5=known.md5 if known else None,
            sha256=known.sha256 if known else None,
            wish=Wish(quality=watched.quality),
            created=now,
            updated=now,
        )

    async def _known(self, owner: str, sha256: str, length: int) -> Version | None:
        """A version of this owner that has the file already: its bytes need not be stored again."""
        async for version in self.store.versions.each({"sha256": sha256, "length": length}):
            session = await self.store.sessions.get(version.session)
            info = await self.blobs.info(version.file)
            if session is not None and session.owner == owner and info is not None and info.complete:
                return version
        return None

    async def _session(self, watched: FolderStore, title: str) -> str:
        """The owner's session of this title, made if there is none. A deleted one stays deleted."""
        title = visible(title) or "Slides"
        found = await self.store.sessions.find({"owner": watched.owner, "title": title}, sort="created", limit=1)
        if found:
            return found[0].id
        n = 0
        while await self.store.tombstones.get(id := uuid.uuid5(_IDS, f"{watched.id}|{title}|{n}").hex) is not None:
            n += 1
        await self.store.sessions.insert(Session(id=id, title=title, owner=watched.owner, created=self.clock.now()))
        return id

    async def check_room(self, more: int) -> None:
        """Raises `NoRoom` where the database would have less than its reserve after so many bytes more."""
        free = await self.store.free_bytes()
        if free is not None and free - more < self.bounds.reserve:
            raise NoRoom("no-room", "The database has no room for it: free some, or enlarge it.")

    async def _check_account(self, upload: Upload) -> None:
        """Counted with this upload in it, so that of several at once no two get the last place."""
        most = self.bounds.account
        if most is None or (stored := await stored_by(self.store, upload.owner)) <= most:
            return
        await self.store.uploads.take(upload.id)
        raise NoRoom(
            "account-full",
            f"{stored - upload.total:,} of the {most:,} bytes that the store's owner may have are taken: "
            "delete images that are not needed, or ask the operator for more room.",
        )

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
        await self.check_room(upload.total - upload.stored)
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
