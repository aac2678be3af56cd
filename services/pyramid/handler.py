"""The pyramid's handlers: plan the levels above the base, fold one block of them, and finish the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.pyramid import core
from services.pyramid.finishing import ROOM_PATIENCE, make_pictures, prove_whole, sparse_tiles
from services.pyramid.folding import BLOCK_SECONDS, fold
from shared import deadline
from shared.blobs import Blobs
from shared.clock import Clock
from shared.decoding import Decoders
from shared.events import BaseDiced, Event, FoldBlock, ImageEvent, ImageReady, PyramidBuilt, StageName
from shared.stages.blocks import (
    any_open,
    begin_round,
    block_events,
    open_blocks,
    plan_blocks,
    tiles_done,
    work_on_block,
)
from shared.stages.deleted import stops_when_deleted
from shared.stages.facts import handover, version_id
from shared.stages.failing import fail
from shared.stages.moving import end_stage, start_stage
from shared.store import Less, Store
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.versions import Version
from shared.tiles import Tiles


@dataclass(frozen=True)
class Pyramid:
    """What the handlers need besides the stores of a delivery. `worker` is this process's name."""

    decoders: Decoders
    clock: Clock
    worker: str

    @stops_when_deleted
    async def base_diced(self, event: BaseDiced, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Plans every round of folding, or continues a plan that is there: returns the blocks to do now."""
        version = await store.versions.get(version_id(event))
        if version is None or version.state != "folding":
            return handover(version, event.database)
        if "fold" not in version.planned:
            await start_stage(store, version, "fold", self.clock)
            planned = await self._plan(version, event, store=store)
            if planned is None:
                return []
            version = planned
        return await self._continue(version, event.database, False, store=store, tiles=tiles)

    @stops_when_deleted
    async def fold_block(self, event: FoldBlock, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Folds one block; whoever finds its round done returns the next round, or the stage's fact."""
        version = await store.versions.get(version_id(event))
        if version is None or version.state != "folding":
            return handover(version, event.database)
        id = BlockId(image=event.image, version=event.version, stage="fold", n=event.block)
        did = await self._fold(id, version, store=store, tiles=tiles)
        round = core.round_of(version.geometry, version.climb, event.block) if version.geometry else 0
        if await any_open(store, version.id, "fold", round=round):
            return []
        if did and not await begin_round(store, version.id, round + 1):
            return []
        return await self._continue(version, event.database, did, store=store, tiles=tiles)

    @stops_when_deleted
    async def pyramid_built(self, event: PyramidBuilt, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Proves the pyramid whole, makes the small pictures, and lets people see the image."""
        version = await store.versions.get(version_id(event))
        if version is not None and version.state == "finishing":
            version = await self._finish(version, store=store, blobs=blobs, tiles=tiles)
        if version is None or version.state != "ready":
            return []
        # The pointer never goes back: a version that is ready late does not hide a newer one.
        n = version.id.n
        shown = {"current": n, "replaced": self.clock.now() if n > 1 else None}
        await store.images.update(version.id.image, when={"current": Less(n)}, set=shown)
        where = {"_id.image": version.id.image, "_id.version": version.id.n}
        if await store.blocks.count(where, limit=1) == 0:
            return []
        ended = version.stages.finish.ended or self.clock.now()
        return [ImageReady(database=event.database, time=ended, image=version.id.image, version=version.id.n)]

    async def image_ready(self, event: ImageReady, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Removes the blocks: they stayed until this fact was out, so that a crash before it would repeat it."""
        await store.blocks.delete({"_id.image": event.image, "_id.version": event.version})
        return []

    async def _plan(self, version: Version, event: BaseDiced, *, store: Store) -> Version | None:
        # A picture that is read from top to bottom was folded in passing.
        folded = version.source is not None and version.source.layout.get("folded")
        blocks = [] if folded else core.plan(version, event.geometry, self.clock.now())
        total = sum(block.tiles for block in blocks)
        done = 0
        if version.climb is not None:
            # By the dicer, square by square; where it has folded all of them there is nothing of round 0 to insert.
            done = await tiles_done(store, version.id, "fold")
            if done >= sum(block.tiles for block in blocks if block.round == 0):
                blocks = [block for block in blocks if block.round > 0]
        return await plan_blocks(
            store,
            version,
            "fold",
            blocks,
            {
                "lane": "express" if len(blocks) <= core.FEW_BLOCKS else "bulk",
                "stages.fold.total": total,
                "stages.fold.done": done,
            },
            self.clock,
        )

    async def _continue(self, version: Version, database: str, did: bool, *, store: Store, tiles: Tiles) -> list[Event]:
        """The blocks of the lowest open round; a single one is done here and now; the fact if there is none.

        Nothing where this delivery `did` one of the last blocks and another one ended the stage.
        """
        blocks = await open_blocks(store, version.id, "fold")
        while self._here(version, blocks):
            await self._fold(blocks[0].id, version, store=store, tiles=tiles)
            blocks = await open_blocks(store, version.id, "fold")
        if blocks:
            return block_events(version, blocks, database)
        if version.geometry is None:
            raise RuntimeError(f"version {version.id} reached folding without a geometry")
        sparse = sum(await sparse_tiles(version, version.geometry, store=store))
        stored = version.geometry.total - sparse
        ended = await end_stage(
            store,
            version,
            "fold",
            next_state="finishing",
            fields={"stages.fold.done": version.stages.fold.total, "stored": stored, "sparse": sparse},
            clock=self.clock,
        )
        if ended is None and did:
            return []
        return handover(ended or await store.versions.get(version.id), database)

    @staticmethod
    def _here(version: Version, blocks: Sequence[Block]) -> bool:
        """Whether the next block is done in this delivery: a single one, while there is time for both of its tries."""
        return (
            len(blocks) == 1
            and (version.lane == "express" or blocks[0].round > 0)
            and deadline.enough_for(2 * BLOCK_SECONDS)
        )

    async def _fold(self, id: BlockId, version: Version, *, store: Store, tiles: Tiles) -> bool:
        async def work(block: Block) -> dict[str, object]:
            return {"root": await fold(block, version, store=store, tiles=tiles, decoders=self.decoders)}

        return await work_on_block(store, id, work, by=self.worker, clock=self.clock)

    async def _finish(self, version: Version, *, store: Store, blobs: Blobs, tiles: Tiles) -> Version | None:
        if version.geometry is None or version.source is None:
            raise RuntimeError(f"version {version.id} reached finishing without a geometry")
        await start_stage(store, version, "finish", self.clock)
        begun = version.stages.finish.started
        await prove_whole(version, version.geometry, store=store, tiles=tiles)
        await make_pictures(
            version,
            version.geometry,
            version.source,
            store=store,
            blobs=blobs,
            tiles=tiles,
            decoders=self.decoders,
            # A clock may have been set back meanwhile.
            patient=begun is None or timedelta(0) <= self.clock.now() - begun < ROOM_PATIENCE,
        )
        ended = await end_stage(
            store,
            version,
            "finish",
            next_state="ready",
            fields={"stages.finish.done": 1, "stages.finish.total": 1},
            clock=self.clock,
        )
        return ended or await store.versions.get(version.id)

    async def failed(self, event: ImageEvent, reason: str, remedy: str, *, store: Store) -> list[Event]:
        """Ends the version as failed; see `shared.bus.FailureHandler`."""
        stage: StageName = "finish" if isinstance(event, PyramidBuilt | ImageReady) else "fold"
        return await fail(store, version_id(event), stage, reason, remedy, database=event.database, clock=self.clock)
