"""Processing an image anew: as a further version beside the one that people see, or its finishing in place."""

from shared.blobs import Blobs, owner_of
from shared.bus import Bus, Message
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.stages.facts import announcement
from shared.stages.states import STAGE_OF_STATE
from shared.store import Store
from shared.store.documents.uploads import Wish
from shared.store.documents.versions import Stage, Stages, Version, VersionId


class CannotReprocess(SlidemillError):
    """The image is not there, not whole, or just being processed."""


async def renew(store: Store, blobs: Blobs, image_id: str, clock: Clock, wish: Wish | None = None) -> Version:
    """Makes version n + 1 from the file of the latest one, with the recipe of today; n stays visible meanwhile.

    What `wish` leaves open stays as it was wished for the latest version. Of several callers at once one makes it. A
    call that was broken off between its two writes is completed by the next.
    """
    image = await store.images.get(image_id)
    latest = await store.versions.get(VersionId(image=image_id, n=image.latest)) if image is not None else None
    if image is None or latest is None:
        raise CannotReprocess(f"There is no image {image_id}: list them with ./slidemill images.")
    if latest.stages.upload.ended is None or latest.sha256 is None:
        raise CannotReprocess(f"{latest.name} never arrived whole, so there is nothing to process: upload it again.")
    if latest.state not in ("ready", "failed"):
        raise CannotReprocess(f"{latest.name} is being processed already ({latest.state}): wait for its end.")
    now = clock.now()
    fresh = Version(
        id=VersionId(image=image_id, n=image.latest + 1),
        session=latest.session,
        file=latest.file,
        name=latest.name,
        length=latest.length,
        md5=latest.md5,
        sha256=latest.sha256,
        state="dicing",
        stages=Stages(upload=latest.stages.upload),
        wish=latest.wish.model_copy(update=wish.model_dump(exclude_none=True) if wish else {}),
        created=now,
        updated=now,
    )
    # The version first: an image must not point at one that nobody makes, and a deletion must find whose file it is.
    await store.versions.insert(fresh)
    if await blobs.share(fresh.file, owner_of(image_id, fresh.id.n)) is None:
        await store.versions.take(fresh.id)
        raise CannotReprocess(f"The file of {latest.name} is gone: upload it again.")
    if await store.images.update(image_id, when={"latest": image.latest}, set={"latest": fresh.id.n}) is None:
        raise CannotReprocess(f"{latest.name} is being processed anew already, or was deleted just now.")
    return await store.versions.get(fresh.id) or fresh


async def finish_again(store: Store, image_id: str, clock: Clock) -> Version:
    """Puts the latest version, if it is ready, back to its finishing: its small pictures are made anew in place."""
    image = await store.images.get(image_id)
    if image is None:
        raise CannotReprocess(f"There is no image {image_id}: list them with ./slidemill images.")
    version = await store.versions.update(
        VersionId(image=image_id, n=image.latest),
        when={"state": "ready"},
        set={"state": "finishing", "stages.finish": Stage(), "reissues": 0, "updated": clock.now()},
    )
    if version is None:
        raise CannotReprocess(f"{image.name} is not ready, so it can't be finished again: see ./slidemill images.")
    return version


async def set_going(version: Version, bus: Bus, *, database: str) -> None:
    """Puts what `renew` or `finish_again` made on its way, behind other work.

    Raises `Unavailable`, which does no harm: the gateways announce within a minute what stands still.
    """
    event = announcement(version, database)
    if event is not None:
        await bus.publish_to(STAGE_OF_STATE[version.state], "bulk", [Message(event)])
