"""How a version moves through its stages: the only writers of its state, each a compare-and-set.

The rule behind all of it: what is returned for publishing is what the database shows is still wanting, so doing any
of this again, late, or twice at once changes nothing in the end.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, Literal, TypeVar, cast

from shared import deadline
from shared.bus.crash import CrashPoint
from shared.clock import Clock
from shared.errors import DecoderDied, Postponed, Reject, Unavailable
from shared.events import (
    BaseDiced,
    DiceBlock,
    Event,
    FileComplete,
    FoldBlock,
    ImageEvent,
    ImageFailed,
    PyramidBuilt,
    StageName,
)
from shared.store import In, Less, Store
from shared.store.documents import Block, BlockId, Failure, Image, Stage, Stages, Upload, Version, VersionId

BlockStage = Literal["dice", "fold"]
H = TypeVar("H", bound=Callable[..., Awaitable[list[Event]]])
WORKING: dict[StageName, str] = {"upload": "uploading", "dice": "dicing", "fold": "folding", "finish": "finishing"}
MOST_DEATHS = 2
MOST_REISSUES = 5
_MARGIN_SECONDS = 60.0

_crash = CrashPoint()


def version_id(event: ImageEvent) -> VersionId:
    """The id of the version that an event is about."""
    return VersionId(image=event.image, n=event.version)


def stops_when_deleted(handler: H) -> H:
    """For handlers: one that fails because the image was deleted under its hands has nothing left to do, and no fault.

    Its file, its blocks or its tiles went while it was at work, or even its version before it began.
    """

    @wraps(handler)
    async def stopping(service: Any, event: ImageEvent, *, store: Store, **ports: Any) -> list[Event]:
        try:
            return await handler(service, event, store=store, **ports)
        except Unavailable:
            raise
        except Postponed:
            # A slide that waits for what is under way does not stand still.
            now, working = service.clock.now(), {"state": In(tuple(STAGE_OF_STATE))}
            if await store.versions.update(version_id(event), when=working, set={"updated": now}) is None:
                return []
            raise
        except Exception:
            if await store.versions.get(version_id(event)) is not None:
                raise
            return []

    return cast(H, stopping)


def _not_before(moment: datetime, earlier: datetime | None) -> datetime:
    """Clocks of several hosts differ a little; a stage still never starts before the one before it ended."""
    return moment if earlier is None else max(moment, earlier)


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


async def plan_blocks(
    store: Store, version: Version, stage: BlockStage, blocks: Sequence[Block], fields: Mapping[str, Any], clock: Clock
) -> Version | None:
    """Stores a stage's whole plan: the block documents first, then the mark that they are all there.

    Two planners at once insert the same documents, since a plan is a pure function of the version. None if the version
    has gone or moved on meanwhile.
    """
    await insert_blocks(store, version.id, blocks)
    return await store.versions.update(
        version.id,
        when={"state": WORKING[stage]},
        set={**fields, "updated": clock.now()},
        add={"planned": stage},
    )


async def insert_blocks(store: Store, version: VersionId, blocks: Sequence[Block]) -> None:
    """Stores block documents; those that are there already stay as they are.

    Whoever wakes up so late that the version's blocks have been removed takes these away again: nobody else would.
    """
    if not await store.blocks.insert(*blocks):
        return
    current = await store.versions.get(version)
    # Before the last stage every block was there, so that none of them would have been new.
    if current is not None and current.state in ("finishing", "ready"):
        await store.blocks.delete({"_id": In([block.id.model_dump() for block in blocks])})


async def open_blocks(store: Store, version: VersionId, stage: BlockStage) -> list[Block]:
    """The unfinished blocks of the lowest round that has any, in order."""
    where = {"_id.image": version.image, "_id.version": version.n, "_id.stage": stage, "done": False}
    lowest = await store.blocks.find(where, sort="round", limit=1)
    return await store.blocks.find({**where, "round": lowest[0].round}) if lowest else []


def block_events(version: Version, blocks: Sequence[Block], database: str) -> list[Event]:
    """The work messages of these blocks; their time is when the plan issued them."""
    work = {"dice": DiceBlock, "fold": FoldBlock}
    return [
        work[block.id.stage](
            database=database,
            time=block.issued,
            image=version.id.image,
            version=version.id.n,
            block=block.id.n,
            lane=version.lane,
        )
        for block in blocks
    ]


async def any_open(store: Store, version: VersionId, stage: BlockStage, *, round: int | None = None) -> bool:
    """Whether a block of the stage, or of one round of it, is still open. Asked after the own block's write."""
    where = {"_id.image": version.image, "_id.version": version.n, "_id.stage": stage, "done": False}
    if round is not None:
        where["round"] = round
    return await store.blocks.count(where, limit=1) > 0


async def tiles_done(store: Store, version: VersionId, stage: BlockStage) -> int:
    """How many tile positions the finished blocks of a stage fill."""
    where = {"_id.image": version.image, "_id.version": version.n, "_id.stage": stage, "done": True}
    return await store.blocks.total(where, "tiles")


async def work_on_block(
    store: Store, id: BlockId, work: Callable[[Block], Awaitable[Mapping[str, Any]]], *, by: str, clock: Clock
) -> bool:
    """Does one block, unless it is done or gone: the attempt is counted before, the result recorded after the work.

    Whether it was this call that got it done. Of several workers who end a stage's last blocks at once, each of whom
    did one, only the one who moves the version on has to say so: should that one die before it has, its delivery
    comes again and finds the block done.

    `work` returns the fields to keep in the block once its tiles are acknowledged. A decoder child that dies of this
    block gets one more try, in a delivery of its own where this one would take too long; then the whole version is
    rejected with the block's place in words.
    """
    while True:
        started = time.monotonic()
        block = await store.blocks.update(id, when={"done": False}, set={"by": by}, inc={"attempts": 1})
        if block is None:
            return False
        try:
            fields = await work(block)
        except DecoderDied as death:
            counted = await store.blocks.update(id, inc={"deaths": 1})
            if counted is not None and counted.deaths >= MOST_DEATHS:
                rect = block.rect
                raise Reject(
                    f"Block {id.n} (level {rect.level}, tile rows {rect.top} to {rect.bottom - 1}, columns {rect.left} "
                    f"to {rect.right - 1}) could not be decoded in {counted.deaths} tries ({death}).",
                    "The slide is probably damaged there: export it from the scanner again and upload that.",
                ) from death
            if not deadline.enough_for(time.monotonic() - started + _MARGIN_SECONDS):
                raise Postponed(f"Block {id.n} is tried once more in a delivery of its own ({death}).") from death
            continue
        return await _finish_block(store, block, fields, clock)


async def _finish_block(store: Store, block: Block, fields: Mapping[str, Any], clock: Clock) -> bool:
    """Marks the block done; the one who did so counts its tiles as progress."""
    first = await store.blocks.update(block.id, when={"done": False}, set={**fields, "done": True}) is not None
    if first:
        await store.versions.update(
            VersionId(image=block.id.image, n=block.id.version),
            when={"state": WORKING[block.id.stage]},
            set={"updated": clock.now()},
            inc={f"stages.{block.id.stage}.done": block.tiles},
            add={"workers": by} if (by := block.by) else None,
            # For people who watch; the end of the stage says it for good.
            hint=True,
        )
    return first


async def begin_round(store: Store, version: VersionId, round: int) -> bool:
    """Whether it was this call that began the round; see `work_on_block`."""
    return await store.versions.update(version, when={"rounds": Less(round)}, set={"rounds": round}) is not None


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


def announcement(version: Version, database: str) -> Event | None:
    """The fact that puts this version's next step on its way, rebuilt from the document; None before it is uploaded.

    For a version that is ready it is the first fact, which every stage then answers with nothing.
    """
    upload, dice, fold = version.stages.upload, version.stages.dice, version.stages.fold
    about: dict[str, Any] = {"database": database, "image": version.id.image, "version": version.id.n}
    if version.state == "folding" and dice.ended and version.geometry and version.base:
        return BaseDiced(
            **about, time=dice.ended, geometry=version.geometry, base=version.base, base_reason=version.base_reason
        )
    if version.state == "finishing" and fold.ended and version.geometry:
        return PyramidBuilt(
            **about, time=fold.ended, levels=version.geometry.levels, stored=version.stored, sparse=version.sparse
        )
    if upload.ended is None or version.length is None or version.md5 is None or version.sha256 is None:
        return None
    return FileComplete(
        **about,
        time=upload.ended,
        file=version.file,
        session=version.session,
        name=version.name,
        length=version.length,
        md5=version.md5,
        sha256=version.sha256,
    )


def handover(version: Version | None, database: str) -> list[Event]:
    """The fact that the next stage is still waiting for: returned again until that stage has begun."""
    if version is None:
        return []
    waiting = (version.state == "folding" and "fold" not in version.planned) or (
        version.state == "finishing" and version.stages.finish.started is None
    )
    fact = announcement(version, database) if waiting else None
    return [fact] if fact is not None else []


STAGE_OF_STATE = {"dicing": "dicer", "folding": "pyramid", "finishing": "pyramid"}
