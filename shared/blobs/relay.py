"""Ends and announces uploads for whoever died over it.

Every gateway looks every few seconds, the tick as a last resort.
"""

from datetime import timedelta

from shared.blobs import Blobs
from shared.blobs.seal import announced, fail_again, seal
from shared.bus import Bus, Message
from shared.clock import SKEW, Clock
from shared.events import Event
from shared.store import Greater, In, Less, Store
from shared.store.documents.uploads import Upload

MOST_UPLOADS = 100


async def relay(store: Store, blobs: Blobs, bus: Bus, *, database: str, clock: Clock, stale: timedelta) -> int:
    """Finishes what others left: ended uploads that are not announced, and those `verifying` untouched for `stale`.

    Returns how many it finished. Raises `Unavailable` where the bus or a store is; what is left then is left for the
    next time.
    """
    ended = await store.uploads.find(
        {"state": In(("complete", "failed")), "announced": False}, sort="updated", limit=MOST_UPLOADS
    )
    finished = 0
    for upload in ended:
        finished += await _announce(upload, store, blobs, bus, database, clock)
    # The slow part comes after what only has to be said.
    now = clock.now()
    left = await store.uploads.find(
        {"state": "verifying", "updated": Less(now - stale)}, sort="updated", limit=MOST_UPLOADS
    )
    # Touched before the clock was set back: whether anybody is still at it can't be told.
    left += await store.uploads.find(
        {"state": "verifying", "updated": Greater(now + SKEW)}, sort="updated", limit=MOST_UPLOADS
    )
    for upload in left:
        # Of several gateways one reads the file.
        seen = {"state": "verifying", "updated": upload.updated}
        if await store.uploads.update(upload.id, when=seen, set={"updated": clock.now()}) is not None:
            finished += await _announce(upload, store, blobs, bus, database, clock)
    return finished


async def _announce(upload: Upload, store: Store, blobs: Blobs, bus: Bus, database: str, clock: Clock) -> bool:
    """Brings one upload to its end and says so; whether that was still to be said."""
    events: list[Event] = []
    if upload.state != "failed":
        fact = await seal(upload.id, store=store, blobs=blobs, database=database, clock=clock)
        events = [fact] if fact is not None else []
        upload = await store.uploads.get(upload.id) or upload
    if upload.state == "failed":
        events = await fail_again(upload, store, blobs, database, clock)
    await bus.publish([Message(event) for event in events])
    if events or upload.state == "failed":
        await announced(upload.id, store)
        return True
    return False
