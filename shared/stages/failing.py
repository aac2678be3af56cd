"""A version fails, and goes on in the stage that it failed in."""

from datetime import datetime

from shared.clock import Clock
from shared.events import Event, ImageFailed, StageName
from shared.stages.blocks import BlockStage, open_blocks
from shared.stages.states import WORKING
from shared.store import In, Store
from shared.store.documents.versions import Failure, Version, VersionId


async def fail(
    store: Store, version: VersionId, stage: StageName, reason: str, remedy: str, *, database: str, clock: Clock
) -> list[Event]:
    """Ends a working version as failed; repeats return the same fact, and a ready version is left alone."""
    now = clock.now()
    failure = Failure(stage=stage, reason=reason, remedy=remedy)
    changed = await store.versions.update(
        version,
        when={"state": In(tuple(WORKING.values()))},
        set={"state": "failed", "failure": failure, "updated": now},
    )
    current = changed or await store.versions.get(version)
    if current is None or current.failure is None:
        return []
    return [
        ImageFailed(
            database=database,
            time=current.updated,
            image=version.image,
            version=version.n,
            stage=current.failure.stage,
            reason=current.failure.reason,
            remedy=current.failure.remedy,
        )
    ]


def revived(version: Version, now: datetime) -> Version:
    """A failed version as it is when it goes on from the stage that it failed in; any other as it is. Pure.

    A version whose upload failed has nothing to continue from and stays failed.
    """
    failure = version.failure
    if version.state != "failed" or failure is None or failure.stage == "upload":
        return version
    changes = {"state": WORKING[failure.stage], "failure": None, "reissues": 0, "updated": now}
    return version.model_copy(update=changes)


async def revive(store: Store, version: Version, clock: Clock) -> Version:
    """Makes a version what `revived` says, its blocks with all their tries."""
    goal = revived(version, clock.now())
    if goal is version:
        return version
    stages: tuple[BlockStage, ...] = ("dice", "fold")
    for stage in stages:
        for block in await open_blocks(store, version.id, stage):
            if block.deaths:
                await store.blocks.update(block.id, when={"done": False}, set={"deaths": 0})
    fields = ("state", "failure", "reissues", "updated")
    changed = await store.versions.update(
        version.id, when={"state": "failed"}, set={name: getattr(goal, name) for name in fields}
    )
    return changed or version
