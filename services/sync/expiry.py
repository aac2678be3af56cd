"""Ends uploads that nobody goes on with, so that their bytes do not stay for ever."""

from shared.blobs import Blobs
from shared.blobs.seal import IDLE, remove, seal
from shared.bus import Bus, Message
from shared.clock import Clock
from shared.stages.failing import fail
from shared.stages.moving import appear
from shared.store import In, Less, Store
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import VersionId

UNDER_WAY = ("receiving", "importing")


def why(upload: Upload) -> str:
    """The reason, for the person who sent the file. Pure."""
    return (
        f"The upload stopped: {upload.stored:,} of {upload.total:,} bytes had arrived, "
        "and nothing more came for 24 hours."
    )


def _remedy(source: str) -> str:
    if source.startswith("store:"):
        return "Have its folder watched again: the next tick goes on with the slide."
    return "Send the file again."


async def expire(store: Store, blobs: Blobs, bus: Bus, *, database: str, limit: int, clock: Clock) -> int:
    """Expires uploads that are idle for a day and removes their bytes. At most `limit`; returns how many.

    One whose bytes are all there is completed instead. `announced` is set last, so what a crash left half done is done
    by the next call.
    """
    idle = await store.uploads.find(
        {"state": In(UNDER_WAY), "updated": Less(clock.now() - IDLE)}, sort="updated", limit=limit
    )
    expired = 0
    for upload in idle:
        if await blobs.chunks(upload.id):
            # A gateway may have died between the first chunk and the image.
            await appear(store, upload, clock)
        # It moves on from `receiving` if nothing is missing, and the relay announces it.
        await seal(upload.id, store=store, blobs=blobs, database=database, clock=clock)
        # Compare-and-set on the time too: a chunk that comes in right now keeps the upload alive.
        seen = {"state": In(UNDER_WAY), "updated": upload.updated}
        changed = await store.uploads.update(upload.id, when=seen, set={"state": "expired", "updated": clock.now()})
        expired += changed is not None
    for upload in await store.uploads.find({"state": "expired", "announced": False}, sort="updated", limit=limit):
        image = await store.images.get(upload.image)
        events = await fail(
            store,
            VersionId(image=upload.image, n=upload.version),
            "upload",
            why(upload),
            _remedy(image.source if image is not None else ""),
            database=database,
            clock=clock,
        )
        await remove(upload, blobs)
        await bus.publish([Message(event) for event in events])
        await store.uploads.update(upload.id, when={"state": "expired"}, set={"announced": True})
    return expired
