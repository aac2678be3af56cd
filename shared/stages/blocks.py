"""The blocks of a stage: its plan, the work on one of them, and whether any is left."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from shared import deadline
from shared.clock import Clock
from shared.errors import DecoderDied, Postponed, Reject
from shared.events import DiceBlock, Event, FoldBlock
from shared.stages.states import WORKING
from shared.store import In, Less, Store
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.versions import Version, VersionId

BlockStage = Literal["dice", "fold"]
MOST_DEATHS = 2
_MARGIN_SECONDS = 60.0


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
            # While it hung, somebody else may have got the block done.
            counted = await store.blocks.update(id, when={"done": False}, inc={"deaths": 1})
            if counted is not None and counted.deaths >= MOST_DEATHS:
                rect = block.rect
                raise Reject(
                    f"Block {id.n} (level {rect.level}, tile rows {rect.top} to {rect.bottom - 1}, columns {rect.left} "
                    f"to {rect.right - 1}) could not be decoded in {counted.deaths} tries ({death}).",
                    death.remedy
                    or "The slide is probably damaged there: export it from the scanner again and upload that.",
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
