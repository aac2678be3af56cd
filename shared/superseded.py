"""Removes the versions of an image that a newer one has replaced, once nobody can be looking at them any more."""

from datetime import timedelta

from shared.blobs import Blobs, owner_of
from shared.clock import Clock
from shared.removal import hide_version, remove
from shared.store import Less, Store
from shared.tiles import Tiles


async def remove_superseded(
    store: Store, blobs: Blobs, tiles: Tiles, *, grace: timedelta, limit: int, clock: Clock
) -> int:
    """Removes all below the version that people see, of images where it was for `grace` that one.

    At most `limit` versions; returns how many. The image's mark goes last, so what a crash leaves is done by the next
    call. That version itself stays, and so do newer ones, whether they are under way or failed.
    """
    removed = begun = 0
    due = {"replaced": Less(clock.now() - grace)}
    for image in await store.images.find(due, sort="replaced", limit=limit):
        below = {"_id.image": image.id, "_id.n": Less(min(image.current, image.latest))}
        for version in await store.versions.find(below, limit=limit - begun):
            begun += 1
            removed += await hide_version(store, version, clock)
            await remove(owner_of(image.id, version.id.n), store=store, blobs=blobs, tiles=tiles, clock=clock)
        if begun == limit:
            # There may be more of this image.
            break
        # If a newer version has become visible meanwhile, its own grace has begun, and the mark stays.
        await store.images.update(
            image.id, when={"replaced": image.replaced}, set={"replaced": None, "cleared": clock.now()}
        )
    return removed
