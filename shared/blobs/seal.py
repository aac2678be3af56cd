"""Completes an upload: every chunk there, digests proven, file readable, version handed to the dicer, fact announced.

Each step is recorded before the next, and any of them may have been done already by somebody who then died.

Whoever makes an upload says there what is wanted of its tiles: `Upload(..., wish=Wish(quality=90))`. It goes into the
version with everything else, and the first plan pins it in the recipe.
"""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

from shared.blobs import Blobs, owner_of
from shared.blobs.pieces import tail_of
from shared.clock import Clock
from shared.errors import Reject
from shared.events import Event, FileComplete
from shared.stages.facts import file_complete
from shared.stages.failing import fail
from shared.stages.moving import appear, end_stage
from shared.store import Store
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version, VersionId

# Well within what a relay takes for stale.
TOUCH = timedelta(seconds=5)
# An upload that nobody goes on with for this long expires.
IDLE = timedelta(hours=24)
_AGAIN = "Send the file again; if it happens again, the file changes or is damaged on its way."


async def remove(upload: Upload, blobs: Blobs) -> None:
    """Removes the bytes of an upload that came to nothing, unless another image shares them. Harmless when repeated."""
    await blobs.release(upload.id, [owner_of(upload.image, upload.version)])
    await blobs.delete(tail_of(upload.id))


async def seal(upload_id: str, *, store: Store, blobs: Blobs, database: str, clock: Clock) -> FileComplete | None:
    """Does every step that is still missing; returns the fact while it is not announced.

    None if chunks are missing, if the upload ended otherwise, or if somebody else has announced it. A file whose
    digests are not the claimed ones ends as failed, with both values in the reason, and its bytes go.
    """
    upload = await store.uploads.get(upload_id)
    if upload is not None and upload.state == "receiving":
        upload = await _begin(upload, store, blobs, clock)
    if upload is not None and upload.state == "verifying":
        upload = await _verified(upload, store, blobs, database, clock)
    if upload is None or upload.state != "complete" or upload.announced:
        return None
    version = await _hand_over(upload, store, clock)
    fact = None if version is None else file_complete(version, database)
    if fact is None:
        # The image was deleted meanwhile, or failed: nobody waits for this any more.
        await announced(upload.id, store)
    return fact


async def _begin(upload: Upload, store: Store, blobs: Blobs, clock: Clock) -> Upload | None:
    """`receiving` -> `verifying`, once every byte is stored. A part of a file never gets there."""
    if upload.tus is not None and upload.tus.partial:
        return upload
    stored = await blobs.chunks(upload.id)
    count = -(-upload.total // upload.chunk)
    last = upload.total - (count - 1) * upload.chunk
    # Counted first: a client may have announced a file of any length.
    if (
        not stored
        or len(stored) != count
        or stored != [*((n, upload.chunk) for n in range(count - 1)), (count - 1, last)]
    ):
        return upload
    changed = await store.uploads.update(
        upload.id,
        when={"state": "receiving"},
        set={"state": "verifying", "stored": upload.total, "updated": clock.now()},
    )
    return changed or await store.uploads.get(upload.id)


async def _verified(upload: Upload, store: Store, blobs: Blobs, database: str, clock: Clock) -> Upload | None:
    """As `_verify`. An upload whose bytes are not there has failed, unless it has ended or was deleted meanwhile."""
    try:
        return await _verify(upload, store, blobs, database, clock)
    except Reject as error:
        current = await store.uploads.get(upload.id)
        if current is not None and current.state == "verifying":
            await _fail(upload, error.reason, store, blobs, database, clock)
        return None


async def _verify(upload: Upload, store: Store, blobs: Blobs, database: str, clock: Clock) -> Upload | None:
    """`verifying` -> `complete` or `failed`."""
    if upload.file is not None:
        return await _share(upload, upload.file, store, blobs, clock)
    if upload.md5 is None or upload.sha256 is None:
        digests = await _digests(upload, store, blobs, clock)
        changed = await store.uploads.update(
            upload.id, when={"state": "verifying"}, set={**digests, "updated": clock.now()}
        )
        if changed is None:
            return await store.uploads.get(upload.id)
        upload = changed
    reason = _mismatch(upload)
    if reason is not None:
        await _fail(upload, reason, store, blobs, database, clock)
        return None
    await _delete_tail(upload, blobs)
    await blobs.commit(upload.id, length=upload.total, md5=str(upload.md5), sha256=str(upload.sha256))
    changed = await store.uploads.update(
        upload.id, when={"state": "verifying"}, set={"state": "complete", "updated": clock.now()}
    )
    return changed or await store.uploads.get(upload.id)


async def _share(upload: Upload, file: str, store: Store, blobs: Blobs, clock: Clock) -> Upload | None:
    """`verifying` -> `complete` for a file that is stored already; if it was deleted meanwhile the upload never was."""
    if await blobs.share(file, owner_of(upload.image, upload.version)) is None:
        await store.uploads.take(upload.id, when={"state": "verifying"})
        return None
    await appear(store, upload, clock)
    changed = await store.uploads.update(
        upload.id, when={"state": "verifying"}, set={"state": "complete", "updated": clock.now()}
    )
    return changed or await store.uploads.get(upload.id)


async def _digests(upload: Upload, store: Store, blobs: Blobs, clock: Clock) -> dict[str, Any]:
    """Reads the file in order; says now and then that somebody is at it."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

    def both(data: bytes) -> None:
        md5.update(data)
        sha256.update(data)

    said = clock.now()
    async for data in blobs.stream(upload.id, 0, upload.total):
        await asyncio.to_thread(both, data)
        if clock.now() - said >= TOUCH:
            said = clock.now()
            await store.uploads.update(upload.id, when={"state": "verifying"}, set={"updated": said})
    return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def _mismatch(upload: Upload) -> str | None:
    for algorithm, claimed, found in (
        ("MD5", upload.claimed_md5, upload.md5),
        ("SHA-256", upload.claimed_sha256, upload.sha256),
    ):
        if claimed is not None and found is not None and claimed.lower() != found:
            return f"{upload.name} arrived with the {algorithm} {found}, but {claimed.lower()} was announced for it."
    return None


async def _fail(upload: Upload, reason: str, store: Store, blobs: Blobs, database: str, clock: Clock) -> list[Event]:
    """Ends version and upload as failed. The bytes go last: until then a repeat comes to the same end."""
    version = VersionId(image=upload.image, n=upload.version)
    events = await fail(store, version, "upload", reason, _AGAIN, database=database, clock=clock)
    await store.uploads.update(upload.id, when={"state": "verifying"}, set={"state": "failed", "updated": clock.now()})
    await remove(upload, blobs)
    return events


async def fail_again(upload: Upload, store: Store, blobs: Blobs, database: str, clock: Clock) -> list[Event]:
    """Does what is still missing of a failed upload's end; returns its facts."""
    reason = _mismatch(upload) or f"The upload of {upload.name} failed."
    return await _fail(upload, reason, store, blobs, database, clock)


async def _delete_tail(upload: Upload, blobs: Blobs) -> None:
    """Removes the pieces of which the chunks were made, where ranges came that were none."""
    if await blobs.info(tail_of(upload.id)) is not None:
        await blobs.delete(tail_of(upload.id))


async def _hand_over(upload: Upload, store: Store, clock: Clock) -> Version | None:
    """The version, no longer uploading; None if it is deleted."""
    id = VersionId(image=upload.image, n=upload.version)
    version = await store.versions.get(id)
    if version is None or version.state != "uploading":
        return version
    fields = {
        "length": upload.total,
        "md5": upload.md5,
        "sha256": upload.sha256,
        "stages.upload.done": upload.total,
        "stages.upload.total": upload.total,
    }
    ended = await end_stage(store, version, "upload", next_state="dicing", fields=fields, clock=clock)
    return ended or await store.versions.get(id)


async def announced(upload_id: str, store: Store) -> None:
    """Records that the broker has confirmed the upload's fact."""
    await store.uploads.update(upload_id, set={"announced": True})
