"""The dicer's two handlers: plan a slide's base level, and cut one block of it."""

from dataclasses import dataclass

from services.dicer import core, planning
from services.dicer.cutting import WHOLE_IMAGE_SECONDS, cut
from services.dicer.folding import Turns
from services.dicer.probing import probe
from shared import deadline
from shared.blobs import Blobs
from shared.clock import Clock
from shared.decoding import Decoders
from shared.events import DiceBlock, Event, FileComplete, ImageEvent
from shared.stages.blocks import any_open, block_events, insert_blocks, open_blocks, plan_blocks, work_on_block
from shared.stages.deleted import stops_when_deleted
from shared.stages.facts import handover, version_id
from shared.stages.failing import fail
from shared.stages.moving import end_stage, start_stage
from shared.store import Store
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.uploads import Subsampling
from shared.store.documents.versions import Version
from shared.tiles import Tiles
from shared.tiles.sparse import pack

# What the longest block may take of a delivery: a whole picture, and securing its tiles.
BLOCK_SECONDS = WHOLE_IMAGE_SECONDS + 120.0


@dataclass(frozen=True)
class Dicer:
    """What the handlers need besides the stores of a delivery.

    `quality` and `subsampling` are what a first plan pins where nothing else is wished of the version, `worker` is this
    process's name, `block_bytes` about how much of a copied file one block covers, and the
    most that one may where it is folded, `unpacked_bytes` how much a slide in a zip may have.
    """

    decoders: Decoders
    clock: Clock
    quality: int
    subsampling: Subsampling
    worker: str
    turns: Turns
    block_bytes: int = planning.COPIED_BYTES
    unpacked_bytes: int = core.UNPACKED_BYTES

    @stops_when_deleted
    async def file_complete(self, event: FileComplete, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Plans the base level, or continues a plan that is there: returns the blocks still open."""
        version = await store.versions.get(version_id(event))
        if version is None or version.state != "dicing":
            return handover(version, event.database)
        if "dice" not in version.planned:
            await start_stage(store, version, "dice", self.clock)
            planned = await self._plan(version, store=store, blobs=blobs)
            if planned is None:
                return []
            version = planned
        blocks = await open_blocks(store, version.id, "dice")
        if len(blocks) == 1 and version.lane == "express" and deadline.enough_for(BLOCK_SECONDS):
            await self._cut(blocks[0].id, version, store=store, blobs=blobs, tiles=tiles)
            blocks = []
        if not blocks:
            return await self._end(version, event.database, False, store=store)
        return block_events(version, blocks, event.database)

    @stops_when_deleted
    async def dice_block(self, event: DiceBlock, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Cuts one block; whoever finds that none is left open returns the stage's fact."""
        version = await store.versions.get(version_id(event))
        if version is None or version.state != "dicing":
            return handover(version, event.database)
        id = BlockId(image=event.image, version=event.version, stage="dice", n=event.block)
        did = await self._cut(id, version, store=store, blobs=blobs, tiles=tiles)
        if await any_open(store, version.id, "dice"):
            return []
        return await self._end(version, event.database, did, store=store)

    async def _plan(self, version: Version, *, store: Store, blobs: Blobs) -> Version | None:
        now = self.clock.now()
        found = await probe(version, blobs=blobs, decoders=self.decoders, unpacked_bytes=self.unpacked_bytes)
        climb = planning.climb(found, self.block_bytes)
        blocks = planning.plan(version, found, climb, now, self.block_bytes)
        return await plan_blocks(
            store,
            version,
            "dice",
            blocks,
            {
                "source": found.source,
                "geometry": found.geometry,
                "recipe": core.recipe(version.wish, self.quality, self.subsampling, found.tile),
                "base": found.base,
                "base_reason": found.reason,
                "climb": climb,
                "lane": "express" if len(blocks) <= planning.FEW_BLOCKS else "bulk",
                "stages.dice.total": found.geometry.tiles(0),
            },
            self.clock,
        )

    async def _cut(self, id: BlockId, version: Version, *, store: Store, blobs: Blobs, tiles: Tiles) -> bool:
        async def work(block: Block) -> dict[str, object]:
            done = await cut(block, version, blobs=blobs, tiles=tiles, decoders=self.decoders, turns=self.turns)
            if version.geometry is not None and done.squares:
                now = self.clock.now()
                folded = [
                    planning.folded_block(version, version.geometry, rect, root, self.worker, now)
                    for rect, root in done.squares
                ]
                # Before this block is done: whoever finds them missing later folds those squares once more.
                await insert_blocks(store, version.id, folded)
            return {"sparse": pack(block.rect, done.missing)}

        return await work_on_block(store, id, work, by=self.worker, clock=self.clock)

    async def _end(self, version: Version, database: str, did: bool, *, store: Store) -> list[Event]:
        """The stage's fact; nothing if this delivery `did` one of the last blocks and another one ended the stage."""
        total = version.geometry.tiles(0) if version.geometry else 0
        ended = await end_stage(
            store, version, "dice", next_state="folding", fields={"stages.dice.done": total}, clock=self.clock
        )
        if ended is None and did:
            return []
        return handover(ended or await store.versions.get(version.id), database)

    async def failed(self, event: ImageEvent, reason: str, remedy: str, *, store: Store) -> list[Event]:
        """Ends the version as failed; see `shared.bus.FailureHandler`."""
        return await fail(store, version_id(event), "dice", reason, remedy, database=event.database, clock=self.clock)
