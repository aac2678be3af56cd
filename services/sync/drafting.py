"""What is to be made of a file in a folder store: an upload with the ids of its image, version and session."""

import uuid

from services.sync.copying import PIECE
from services.sync.core.looks import seen
from services.sync.core.paths import session_title
from shared.blobs import Blobs
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.names import display_name, visible
from shared.store import Store
from shared.store.documents.entries import Entry
from shared.store.documents.folders import FolderStore
from shared.store.documents.images import Session
from shared.store.documents.uploads import Upload, Wish
from shared.store.documents.versions import Version, VersionId

_IDS = uuid.UUID("a5c3f1d0-55c8-4b55-8d34-0f4d8b4d0f6e")


class NotNow(SlidemillError):
    """Its image is being worked on, or something else passes: try again in the next run."""


def upload_id(entry: Entry, sha256: str) -> uuid.UUID:
    """The id of the upload of this content of the entry: the same whenever it is taken in again."""
    return uuid.uuid5(_IDS, "|".join((entry.token, sha256, *map(str, seen(entry)[1:]), entry.image or "")))


async def draft(
    store: Store, blobs: Blobs, clock: Clock, watched: FolderStore, entry: Entry, sha256: str, id: uuid.UUID
) -> Upload:
    """The upload of this content of the entry, not stored anywhere yet: of a new image, or a version of the entry's.

    Raises `NotNow` while the entry's image is being worked on.
    """
    image = await store.images.get(entry.image) if entry.image is not None else None
    if image is not None:
        latest = await store.versions.get(VersionId(image=image.id, n=image.latest))
        if latest is None or latest.state not in ("ready", "failed"):
            raise NotNow(f"{image.name} is still being processed: its new content comes after that.")
        session = image.session
    else:
        session = await _session(store, clock, watched, session_title(watched, entry.id.path))
    known = await _known(store, blobs, watched.owner, sha256, entry.size)
    now = clock.now()
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
        wish=Wish(quality=watched.quality, subsampling=watched.subsampling),
        created=now,
        updated=now,
    )


async def _known(store: Store, blobs: Blobs, owner: str, sha256: str, length: int) -> Version | None:
    """A version of this owner that has the file already: its bytes need not be stored again."""
    async for version in store.versions.each({"sha256": sha256, "length": length}):
        session = await store.sessions.get(version.session)
        info = await blobs.info(version.file)
        if session is not None and session.owner == owner and info is not None and info.complete:
            return version
    return None


async def _session(store: Store, clock: Clock, watched: FolderStore, title: str) -> str:
    """The owner's session of this title, made if there is none. A deleted one stays deleted."""
    title = visible(title) or "Slides"
    found = await store.sessions.find({"owner": watched.owner, "title": title}, sort="created", limit=1)
    if found:
        return found[0].id
    n = 0
    while await store.tombstones.get(id := uuid.uuid5(_IDS, f"{watched.id}|{title}|{n}").hex) is not None:
        n += 1
    await store.sessions.insert(Session(id=id, title=title, owner=watched.owner, created=clock.now()))
    return id
