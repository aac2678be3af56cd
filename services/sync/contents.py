"""Files of one content in a store: one of them becomes an image, which goes with the content to where that moves."""

from collections.abc import Sequence

from services.sync.core.paths import source_of
from services.sync.drafting import NotNow
from services.sync.taking import Taking
from shared.errors import RetryLater
from shared.names import display_name
from shared.store import Store
from shared.store.documents.entries import Entry
from shared.store.documents.folders import FolderStore


async def others_with_image(store: Store, entry: Entry, sha256: str) -> list[Entry]:
    """The store's other entries that have become an image with this content."""
    same = await store.entries.find({"_id.store": entry.id.store, "sha256": sha256})
    return [other for other in same if other.id != entry.id and other.image is not None]


async def inherit(store: Store, entry: Entry, others: Sequence[Entry], sha256: str, run: str) -> Entry | None:
    """Lets the entry take over the image of one of the others, whose files have all gone; returns the entry then.

    None if nobody wants it imported any more. Raises `NotNow` if another file was first.
    """
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
            "done_by": run,
            "outcome": "moved",
        }
        return await store.entries.update(entry.id, when={"asked": run}, set=heritage)
    raise NotNow("Another file takes over the image of this content at this moment.")


async def forget_origins(store: Store, watched: FolderStore, entry: Entry) -> None:
    """Forgets the entries whose image this one has taken over, and gives the image its name and place."""
    heritage = {"_id.store": watched.id, "sha256": entry.sha256, "heir": entry.id.path}
    for origin in await store.entries.find(heritage):
        shown = {
            "name": display_name(entry.name) or entry.name,
            "source": source_of(watched, entry.id.path),
            "source_vanished": None,
        }
        await store.images.update(entry.image, set=shown)
        await store.entries.take(origin.id, when={"heir": entry.id.path})


async def claim(taking: Taking, entry: Entry, sha256: str, run: str) -> None:
    """Of several files of one content that are imported at the same time, one becomes an image.

    The digest is kept with the claim: whoever goes on with this import need not read for it again. Raises `NotNow` in
    favour of another file, `RetryLater` while others withdraw in favour of this one.
    """
    store = taking.store
    await store.entries.update(entry.id, when={"asked": run}, set={"claim": sha256, "digest": sha256})
    claims = await store.entries.find({"_id.store": entry.id.store, "claim": sha256})
    others = [other for other in claims if other.id != entry.id]
    # One that was interrupted goes on: the others wait for it.
    if not others or await taking.begun(entry, sha256):
        return
    said = f"{others[0].id.path} has the same content and is being imported."
    if entry.id.path > min(other.id.path for other in others):
        raise NotNow(said)
    for other in others:
        if await taking.begun(other, sha256):
            raise NotNow(said)
    raise RetryLater(said)
