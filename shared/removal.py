"""Deletes for good what people gave up: hidden at once, then removed piece by piece, and swept again for a week.

The tombstone is written first and is the promise that the rest will be done: what a crash leaves is removed by the next
sweep. It stays because a worker or a gateway that was stopped in the middle may wake up late and go on writing: tiles,
blocks, pictures, chunks, even the image itself. All that carries the ids that the tombstone knows.
"""

from datetime import datetime, timedelta

from shared.blobs import Blobs, owner_of
from shared.blobs.pieces import tail_of
from shared.clock import Clock
from shared.store import In, Less, Store
from shared.store.documents.tombstones import Tombstone
from shared.store.documents.versions import Version, VersionId
from shared.tiles import Tiles
from shared.tiles.keys import image_range, version_range

KEPT = timedelta(days=7)
PAUSES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(days=1))
# After this time without a word, others take whoever was at it for dead. Two at once do no harm.
UNDER_WAY = timedelta(seconds=30)
AT_ONCE = 100
UNFINISHED = ("receiving", "importing", "verifying")
NOT_EXPIRED = ("receiving", "importing", "verifying", "complete", "failed")
PICTURES = ("thumbnail", "label", "macro")


async def hide_image(store: Store, image: str, clock: Clock) -> None:
    """Takes an image from every list and address, and ends its uploads; `remove` does the rest. Harmless when repeated.

    Whatever is at work on it finds its upload expired or its version gone, and stops.
    """
    now = clock.now()
    await store.tombstones.insert(Tombstone(id=image, kind="image", created=now, due=now + UNDER_WAY))
    await _hide(store, image, now)


async def hide_session(store: Store, session: str, clock: Clock) -> None:
    """Takes a session, and so everything in it, from every list and address; `remove` does the rest."""
    now = clock.now()
    await store.tombstones.insert(Tombstone(id=session, kind="session", created=now, due=now + UNDER_WAY))
    await store.sessions.take(session)


async def hide_version(store: Store, version: Version, clock: Clock) -> bool:
    """Takes one version of an image, which a newer one has replaced, from every address; `remove` does the rest.

    Whether it was this call that did. Whatever is at work on it finds it gone, and stops.
    """
    now, id = clock.now(), version.id
    await store.tombstones.insert(
        Tombstone(
            id=owner_of(id.image, id.n),
            kind="version",
            files=(version.file,),
            versions=(id.n,),
            created=now,
            due=now + UNDER_WAY,
        )
    )
    return await _hide_version(store, id, now)


async def _hide_version(store: Store, id: VersionId, now: datetime) -> bool:
    """Ends its upload first, should that still be under way: it would make the version once more."""
    for upload in await store.uploads.find({"image": id.image, "version": id.n, "state": In(UNFINISHED)}):
        await store.uploads.update(
            upload.id,
            when={"state": In(UNFINISHED)},
            set={"state": "expired", "announced": True, "updated": now},
        )
    return await store.versions.take(id) is not None


async def _hide(store: Store, image: str, now: datetime) -> None:
    for upload in await store.uploads.find({"image": image}):
        if upload.state != "expired" or not upload.announced:
            await store.uploads.update(upload.id, set={"state": "expired", "announced": True, "updated": now})
        await store.tombstones.update(image, add={"files": upload.stored_as, "versions": upload.version})
    await store.images.take(image)
    versions = await store.versions.find({"_id.image": image})
    for version in versions:
        await store.tombstones.update(image, add={"files": version.file, "versions": version.id.n})
    # Only those whose files are noted: one that appears at this moment is the next sweep's.
    await store.versions.delete({"_id": In([version.id for version in versions])})


async def remove(id: str, *, store: Store, blobs: Blobs, tiles: Tiles, clock: Clock) -> None:
    """Removes what there is of a deleted image, session or version, and says when to look again.

    The tombstone goes in the end.
    """
    tombstone = await store.tombstones.get(id)
    if tombstone is None:
        return
    if tombstone.kind == "image":
        await _remove_image(id, store, blobs, tiles, clock)
    elif tombstone.kind == "version":
        await _remove_version(tombstone, store, blobs, tiles, clock)
    else:
        await _remove_images_of(id, store, blobs, tiles, clock)
    now = clock.now()
    if now - tombstone.created >= KEPT:
        # The uploads' documents stayed to tell late senders that their upload is gone.
        await store.uploads.delete({"image": id})
        await store.tombstones.take(id)
        return
    pause = PAUSES[min(tombstone.sweeps, len(PAUSES) - 1)]
    due = min(now + pause, tombstone.created + KEPT)
    await store.tombstones.update(id, when={"sweeps": tombstone.sweeps}, set={"due": due}, inc={"sweeps": 1})


async def _remove_image(image: str, store: Store, blobs: Blobs, tiles: Tiles, clock: Clock) -> None:
    await _hide(store, image, clock.now())
    tombstone = await store.tombstones.get(image)
    if tombstone is None:
        return
    await tiles.delete(image_range(image))
    pictures = [f"{image}:{n}:{kind}" for n in tombstone.versions for kind in PICTURES]
    await store.thumbnails.delete({"_id": In(pictures)})
    await store.blocks.delete({"_id.image": image})
    owners = [owner_of(image, n) for n in tombstone.versions]
    for file in tombstone.files:
        await blobs.release(file, owners)
        await blobs.delete(tail_of(file))


async def _remove_version(tombstone: Tombstone, store: Store, blobs: Blobs, tiles: Tiles, clock: Clock) -> None:
    """Its file goes only where no other version, of this image or of another one, owns it."""
    image = tombstone.id.partition(":")[0]
    for n in tombstone.versions:
        await _hide_version(store, VersionId(image=image, n=n), clock.now())
        await tiles.delete(version_range(image, n))
        await store.thumbnails.delete({"_id": In([f"{image}:{n}:{kind}" for kind in PICTURES])})
        await store.blocks.delete({"_id.image": image, "_id.version": n})
        for file in tombstone.files:
            if await blobs.release(file, [owner_of(image, n)]):
                await blobs.delete(tail_of(file))


async def _remove_images_of(session: str, store: Store, blobs: Blobs, tiles: Tiles, clock: Clock) -> None:
    """Deletes one after the other all images of the session, those too that appeared after it was deleted."""
    await store.sessions.take(session)
    while True:
        uploads = await store.uploads.find({"session": session, "state": In(NOT_EXPIRED)}, limit=AT_ONCE)
        images = await store.images.find({"session": session}, limit=AT_ONCE)
        versions = await store.versions.find({"session": session}, limit=AT_ONCE)
        found = {upload.image for upload in uploads} | {image.id for image in images}
        found |= {version.id.image for version in versions}
        if not found:
            return
        for image in sorted(found):
            await hide_image(store, image, clock)
            await remove(image, store=store, blobs=blobs, tiles=tiles, clock=clock)


async def sweep(store: Store, blobs: Blobs, tiles: Tiles, *, limit: int, clock: Clock) -> int:
    """Removes, or looks again at, what is due. At most `limit` tombstones; returns how many."""
    swept = 0
    for tombstone in await store.tombstones.find({"due": Less(clock.now())}, sort="due", limit=limit):
        # Of several processes one gets it.
        seen = {"due": tombstone.due}
        if await store.tombstones.update(tombstone.id, when=seen, set={"due": clock.now() + UNDER_WAY}) is not None:
            await remove(tombstone.id, store=store, blobs=blobs, tiles=tiles, clock=clock)
            swept += 1
    return swept
