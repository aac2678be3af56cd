"""An upload becomes a version; a stage of it begins, and ends by handing it to the next state."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.bus.crash import CrashPoint
from shared.clock import Clock
from shared.events import StageName
from shared.stages.states import WORKING
from shared.store import Store
from shared.store.documents.images import Image
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Failure, Stage, Stages, Version, VersionId

_crash = CrashPoint()


async def appear(
    store: Store, upload: Upload, clock: Clock, failure: Failure | None = None, *, source: str = "upload"
) -> None:
    """Makes the image, which comes from `source`, and the version of an upload, as failed or under way.

    Harmless when repeated. The image comes first: everybody notices a version that is missing and makes it, and the
    image with it. A partial upload of the tus protocol makes none. The upload's `wish` becomes the version's.
    """
    if upload.tus is not None and upload.tus.partial:
        return
    image = Image(
        id=upload.image,
        session=upload.session,
        name=upload.name,
        folder=upload.folder,
        latest=upload.version,
        source=source,
        created=upload.created,
    )
    version = Version(
        id=VersionId(image=upload.image, n=upload.version),
        session=upload.session,
        file=upload.stored_as,
        name=upload.name,
        state="failed" if failure else "uploading",
        stages=Stages(upload=Stage(started=upload.created, done=upload.stored, total=upload.total)),
        failure=failure,
        wish=upload.wish,
        created=upload.created,
        updated=clock.now(),
    )
    await store.images.insert(image)
    await store.versions.insert(version)


async def start_stage(store: Store, version: Version, stage: StageName, clock: Clock) -> None:
    """Records the start time, once."""
    previous = {"dice": version.stages.upload, "fold": version.stages.dice, "finish": version.stages.fold}
    before = previous[stage].ended if stage in previous else None
    now = clock.now()
    await store.versions.update(
        version.id,
        when={"state": WORKING[stage], f"stages.{stage}.started": None},
        set={f"stages.{stage}.started": _not_before(now, before), "updated": now},
    )


async def end_stage(
    store: Store, version: Version, stage: StageName, *, next_state: str, fields: Mapping[str, Any], clock: Clock
) -> Version | None:
    """Ends a stage once and hands the version to the next state. None if it was not in this stage."""
    if stage in ("dice", "fold"):
        _crash.passes("after-last-block")
    now = clock.now()
    started = getattr(version.stages, stage).started
    return await store.versions.update(
        version.id,
        when={"state": WORKING[stage]},
        set={
            f"stages.{stage}.ended": _not_before(now, started),
            "state": next_state,
            "updated": now,
            "reissues": 0,
            **fields,
        },
    )


def _not_before(moment: datetime, earlier: datetime | None) -> datetime:
    """Clocks of several hosts differ a little; a stage still never starts before the one before it ended."""
    return moment if earlier is None else max(moment, earlier)
