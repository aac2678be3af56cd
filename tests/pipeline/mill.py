"""All services' handlers in one process on the memory ports, with a broker that misbehaves as much as it may.

Messages come in any order, twice, and several at once; a worker may crash between any two steps, after which its
message comes again. What must not change is the end.
"""

import asyncio
import hashlib
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.dicer.folding import Turns
from services.dicer.handler import Dicer
from services.pyramid.handler import Pyramid
from shared.blobs import Blobs
from shared.blobs.memory import MemoryBlobs
from shared.clock import ManualClock
from shared.decoding import Decoders
from shared.errors import Postponed, Reject
from shared.events import (
    BaseDiced,
    DiceBlock,
    Event,
    FileComplete,
    FoldBlock,
    ImageEvent,
    ImageFailed,
    ImageReady,
    PyramidBuilt,
)
from shared.stages.facts import announcement
from shared.store import Store
from shared.store.documents.images import Image, Session
from shared.store.documents.versions import Version, VersionId
from shared.store.memory import MemoryStore
from shared.tiles.keys import version_range
from shared.tiles.memory import MemoryTiles
from tests.crashing import Crash, Fuse, Fused

DATABASE = "slidemill"
CHUNK = 256 * 1024
MOST_DELIVERIES = 20_000


async def store_upload(path: Path, image: str, *, store: Store, blobs: Blobs, now: datetime) -> None:
    """Documents and chunks as a finished upload of the file leaves them, in version 1 of a new image."""
    data = path.read_bytes()
    id = VersionId(image=image, n=1)
    session = Session(id="5" * 32, title="tests", owner="0" * 32, created=now)
    await store.sessions.insert(session)
    await store.images.insert(Image(id=image, session=session.id, name=path.name, latest=1, created=now))
    digests = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    version = Version(
        id=id,
        session=session.id,
        file=image,
        name=path.name,
        length=len(data),
        state="dicing",
        created=now,
        updated=now,
        stages={"upload": {"started": now, "ended": now, "done": len(data), "total": len(data)}},
        **digests,
    )
    await store.versions.insert(version)
    await blobs.create(image, name=path.name, chunk=CHUNK, refs=(f"{image}:1",))
    for n in range(-(-len(data) // CHUNK)):
        await blobs.put_chunk(image, n, data[n * CHUNK : (n + 1) * CHUNK])
    await blobs.commit(image, length=len(data), **digests)


@dataclass
class Mill:
    """One deployment in one process. `rng` shuffles and doubles deliveries; without it they come in order, once."""

    decoders: Decoders
    scratch: Path
    rng: random.Random | None = None
    fuse: Fuse = field(default_factory=Fuse)
    block_bytes: int = 256 * 1024
    unpacked_bytes: int = 2**30
    facts: list[Event] = field(default_factory=list)
    journal: list[Event] = field(default_factory=list)
    rejected: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 1, 2, tzinfo=UTC))
        self.store = MemoryStore()
        self.blobs = MemoryBlobs(self.scratch)
        self.tiles = MemoryTiles()
        self.pending: list[Event] = []
        dicer = Dicer(
            decoders=self.decoders,
            clock=self.clock,
            quality=80,
            subsampling="420",
            worker="dicer",
            turns=Turns(2),
            block_bytes=self.block_bytes,
            unpacked_bytes=self.unpacked_bytes,
        )
        pyramid = Pyramid(decoders=self.decoders, clock=self.clock, worker="pyramid")
        self._handlers: dict[type[Event], Callable[..., Any]] = {
            FileComplete: dicer.file_complete,
            DiceBlock: dicer.dice_block,
            BaseDiced: pyramid.base_diced,
            FoldBlock: pyramid.fold_block,
            PyramidBuilt: pyramid.pyramid_built,
            ImageReady: pyramid.image_ready,
        }
        self._failed: dict[type[Event], Callable[..., Any]] = {
            event: dicer.failed if event in (FileComplete, DiceBlock) else pyramid.failed for event in self._handlers
        }

    async def upload(self, path: Path, image: str | None = None) -> str:
        """Stores a file as a finished upload would be and announces it; returns the image's id."""
        image = image or uuid.uuid4().hex
        await store_upload(path, image, store=self.store, blobs=self.blobs, now=self.clock.now())
        await self.announce(image)
        return image

    async def announce(self, image: str) -> None:
        """Publishes the fact that the version's next step waits for, as an upload, a relay or a replay does."""
        event = announcement(await self.version(image), DATABASE)
        assert event is not None
        self.publish([event])

    async def version(self, image: str) -> Version:
        version = await self.store.versions.get(VersionId(image=image, n=1))
        assert version is not None
        return version

    async def stored(self, image: str) -> dict[bytes, bytes]:
        """Every tile of the image, by the part of its key that does not name the image."""
        return {tile.key[16:]: tile.data async for tile in self.tiles.scan(version_range(image, 1))}

    async def run(self) -> int:
        """Delivers until nothing is pending; returns how many deliveries that took."""
        deliveries = 0
        while self.pending:
            assert deliveries < MOST_DELIVERIES, "the messages never come to an end"
            batch = self._take()
            deliveries += len(batch)
            for outcome in await asyncio.gather(*(self._deliver(event) for event in batch)):
                self.publish(outcome)
        return deliveries

    async def deliver_together(self) -> list[Event]:
        """Delivers all that is pending at once, publishes what comes of it, and returns that."""
        together, self.pending = self.pending, []
        outcomes = await asyncio.gather(*(self._deliver(event) for event in together))
        produced = [event for outcome in outcomes for event in outcome]
        self.publish(produced)
        return produced

    def _take(self) -> list[Event]:
        if self.rng is None:
            return [self.pending.pop(0)]
        self.rng.shuffle(self.pending)
        batch = [self.pending.pop() for _ in range(min(self.rng.randint(1, 3), len(self.pending)))]
        # The same message may be in two workers' hands at once.
        if self.rng.random() < 0.5:
            batch.append(batch[0])
        # ... or come once more when everybody has forgotten it.
        if self.rng.random() < 0.3:
            self.pending.append(batch[-1])
        return batch

    def publish(self, events: list[Event]) -> None:
        """Takes events as a broker does; facts that are new are kept in `journal`."""
        for event in events:
            if event.route.startswith("fact.") and event not in self.journal:
                self.journal.append(event)
            if isinstance(event, ImageReady | ImageFailed):
                self.facts.append(event)
            # A message that is waiting already says nothing new when it is sent again.
            if type(event) in self._handlers and event not in self.pending:
                self.pending.append(event)

    async def _deliver(self, event: Event) -> list[Event]:
        ports: dict[str, Any] = {
            "store": Fused(self.store, self.fuse),
            "blobs": Fused(self.blobs, self.fuse),
            "tiles": Fused(self.tiles, self.fuse),
        }
        self.clock.advance(0.01)
        try:
            produced: list[Event] = await self._handlers[type(event)](event, **ports)
            self.fuse.burn()
        except (Crash, Postponed):
            return [event]
        except Reject as rejection:
            assert isinstance(event, ImageEvent)
            self.rejected.append(event)
            failed: list[Event] = await self._failed[type(event)](
                event, rejection.reason, rejection.remedy, store=self.store
            )
            return failed
        return produced
