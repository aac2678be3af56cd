"""Versions that a newer one has replaced go after their time, whatever crashes in between and whoever comes late."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from shared.blobs import Blobs, owner_of
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.memory import MemoryBlobs
from shared.clock import ManualClock
from shared.removal import KEPT, UNDER_WAY, hide_image, remove, sweep
from shared.stages.moving import appear
from shared.store import Store
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.images import Image, Thumbnail
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version, VersionId
from shared.store.memory import MemoryStore
from shared.store.mongo import MongoStore
from shared.superseded import remove_superseded
from shared.tiles import Tile, Tiles
from shared.tiles.geometry import Position, Rect
from shared.tiles.keys import tile_key, version_range
from shared.tiles.memory import MemoryTiles
from shared.tiles.mongo import MongoTiles
from tests.contract.conftest import Real
from tests.crashing import Crash, Fuse, Fused

NOW = datetime(2026, 3, 4, tzinfo=UTC)
GRACE = timedelta(hours=1)
IMAGE, OTHER = "1" * 32, "2" * 32
FILES = {n: f"{n:032x}" for n in range(1, 10)}


@dataclass
class House:
    """A database and its clock."""

    store: Store
    blobs: Blobs
    tiles: Tiles
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    async def put_image(self, id: str = IMAGE, *, current: int, latest: int) -> None:
        replaced = self.clock.now() if current > 1 else None
        await self.store.images.insert(
            Image(id=id, session="s", name="a.svs", latest=latest, current=current, replaced=replaced, created=NOW)
        )

    async def put_version(self, n: int, *, file: str, state: str = "ready", image: str = IMAGE) -> None:
        """A version with something in every collection; its file is stored if it is not."""
        id = VersionId(image=image, n=n)
        await self.blobs.create(file, name="a.svs", chunk=8, refs=(owner_of(image, n),))
        await self.blobs.put_chunk(file, 0, b"12345678")
        await self.blobs.commit(file, length=8, md5="m", sha256="s")
        await self.blobs.share(file, owner_of(image, n))
        fields = {"session": "s", "file": file, "name": "a.svs", "state": state, "created": NOW, "updated": NOW}
        await self.store.versions.insert(Version.model_validate({"_id": id, **fields}))
        await self.write_late(n, image=image)

    async def write_late(self, n: int, *, image: str = IMAGE) -> None:
        """What a worker of this version writes."""
        await self.tiles.put([Tile(tile_key(image, n, Position(level, 0, 0)), b"jpeg") for level in range(3)])
        await self.store.thumbnails.insert(
            Thumbnail(id=f"{image}:{n}:thumbnail", kind="thumbnail", width=1, height=1, data=b"jpeg")
        )
        rect = Rect(level=0, top=0, left=0, bottom=1, right=2)
        block = BlockId(image=image, version=n, stage="fold", n=0)
        await self.store.blocks.insert(Block(id=block, rect=rect, tiles=2, issued=NOW))

    async def tick(self, *, limit: int = 100, fuse: Fuse | None = None) -> int:
        """Removes what is due; returns how many versions."""
        fuse = fuse or Fuse()
        return await remove_superseded(
            cast(Store, Fused(self.store, fuse)),
            cast(Blobs, Fused(self.blobs, fuse)),
            cast(Tiles, Fused(self.tiles, fuse)),
            grace=GRACE,
            limit=limit,
            clock=self.clock,
        )

    async def sweep(self) -> None:
        self.clock.advance(UNDER_WAY.total_seconds() + 1)
        await sweep(self.store, self.blobs, self.tiles, limit=100, clock=self.clock)

    async def left(self, image: str = IMAGE) -> dict[int, int]:
        """By version, how many things of it are left: of a whole one 6."""
        counts = {}
        for n in range(1, 10):
            counts[n] = (
                await self.tiles.count(version_range(image, n))
                + await self.store.thumbnails.count({"_id": f"{image}:{n}:thumbnail"})
                + await self.store.blocks.count({"_id.image": image, "_id.version": n})
                + await self.store.versions.count({"_id.image": image, "_id.n": n})
            )
        return {n: count for n, count in counts.items() if count}

    async def stored(self) -> set[int]:
        """Which of the files are there, with their bytes."""
        return {
            n for n, file in FILES.items() if await self.blobs.info(file) is not None and await self.blobs.chunks(file)
        }


@pytest.fixture
async def house(real: Real | None, tmp_path: Path) -> House:
    if real is None:
        return House(MemoryStore(), MemoryBlobs(tmp_path), MemoryTiles())
    store, blobs, tiles = MongoStore(*real), GridFSBlobs(*real, tmp_path, 2**30), MongoTiles(*real)
    for port in (store, blobs, tiles):
        await port.prepare()
    return House(store, blobs, tiles)


async def reprocessed(house: House) -> None:
    """Two versions of one file, a third of a changed one that can be seen, a fourth that is being made of that."""
    for n, file in ((1, 1), (2, 1), (3, 2)):
        await house.put_version(n, file=FILES[file])
    await house.put_version(4, file=FILES[2], state="folding")
    await house.put_image(current=3, latest=4)


async def test_older_versions_go_after_their_time_and_their_file_with_the_last_of_them(house: House) -> None:
    await reprocessed(house)
    house.clock.advance(GRACE.total_seconds() - 1)
    assert await house.tick() == 0
    assert await house.left() == {1: 6, 2: 6, 3: 6, 4: 6}

    house.clock.advance(2)

    assert await house.tick() == 2
    assert await house.left() == {3: 6, 4: 6}
    assert await house.stored() == {2}
    image = await house.store.images.get(IMAGE)
    assert image is not None
    assert (image.current, image.latest, image.replaced, image.cleared) == (3, 4, None, house.clock.now())
    assert await house.tick() == 0


async def test_a_failed_newer_version_keeps_the_older_one(house: House) -> None:
    await house.put_version(1, file=FILES[1])
    await house.put_version(2, file=FILES[1], state="failed")
    await house.put_image(current=1, latest=2)
    house.clock.advance(KEPT.total_seconds())

    assert await house.tick() == 0
    assert await house.left() == {1: 6, 2: 6}
    assert await house.stored() == {1}


async def test_a_file_that_another_image_shares_stays(house: House) -> None:
    await reprocessed(house)
    await house.put_version(1, file=FILES[1], image=OTHER)
    await house.put_image(OTHER, current=1, latest=1)
    house.clock.advance(GRACE.total_seconds() + 1)

    assert await house.tick() == 2
    assert await house.stored() == {1, 2}
    assert await house.left(OTHER) == {1: 6}


async def test_a_late_worker_of_an_old_version_leaves_nothing_behind(house: House) -> None:
    await reprocessed(house)
    house.clock.advance(GRACE.total_seconds() + 1)
    await house.tick()

    await house.write_late(1)
    await house.blobs.put_chunk(FILES[1], 0, b"12345678")
    upload = Upload(
        id=FILES[1],
        session="s",
        image=IMAGE,
        version=1,
        owner="o",
        name="a",
        total=8,
        chunk=8,
        created=NOW,
        updated=NOW,
    )
    await house.store.uploads.insert(upload)
    await appear(house.store, upload, house.clock)
    house.clock.advance(60)
    await house.sweep()

    assert await house.left() == {3: 6, 4: 6}
    assert await house.stored() == {2}
    ended = await house.store.uploads.get(upload.id)
    assert ended is not None
    assert (ended.state, ended.announced) == ("expired", True)
    house.clock.advance(KEPT.total_seconds())
    await house.sweep()
    assert await house.store.tombstones.count({}) == 0
    assert await house.left() == {3: 6, 4: 6}


async def test_a_tick_removes_no_more_than_its_limit_and_the_next_one_goes_on(house: House) -> None:
    for image in (IMAGE, OTHER):
        for n in range(1, 5):
            await house.put_version(n, file=FILES[1], image=image)
        await house.put_image(image, current=4, latest=4)
    house.clock.advance(GRACE.total_seconds() + 1)

    assert [await house.tick(limit=2) for _ in range(4)] == [2, 2, 2, 0]
    assert await house.left(IMAGE) == await house.left(OTHER) == {4: 6}
    assert await house.stored() == {1}


async def test_a_version_that_becomes_visible_meanwhile_keeps_its_predecessor_for_its_own_time(house: House) -> None:
    await reprocessed(house)
    house.clock.advance(GRACE.total_seconds() + 1)
    shown = {"current": 4, "replaced": house.clock.now()}
    await house.store.images.update(IMAGE, set=shown)

    assert await house.tick() == 0
    assert await house.left() == {1: 6, 2: 6, 3: 6, 4: 6}
    house.clock.advance(GRACE.total_seconds() + 1)
    assert await house.tick() == 3
    assert await house.left() == {4: 6}


async def test_an_image_deleted_after_its_old_version_went_leaves_nothing(house: House) -> None:
    await reprocessed(house)
    house.clock.advance(GRACE.total_seconds() + 1)
    # Killed once the first old version is hidden, and nothing more.
    with pytest.raises(Crash):
        await house.tick(fuse=Fuse(at=9))
    await hide_image(house.store, IMAGE, house.clock)
    await remove(IMAGE, store=house.store, blobs=house.blobs, tiles=house.tiles, clock=house.clock)
    await house.sweep()

    assert await house.left() == {}
    assert await house.stored() == set()


async def test_a_removal_that_dies_at_any_step_is_finished_by_the_next(house: House, kind: str) -> None:
    step = 1
    # A real database in a few places only: it takes its time.
    stride = 1 if kind == "memory" else 9
    await reprocessed(house)
    house.clock.advance(GRACE.total_seconds() + 1)
    while True:
        try:
            await house.tick(fuse=Fuse(at=step))
            break
        except Crash:
            assert {3, 4} <= (await house.left()).keys(), f"after a crash at step {step}"
        await house.tick()
        await house.sweep()

        assert await house.left() == {3: 6, 4: 6}, f"after a crash at step {step}"
        assert await house.stored() == {2}, f"after a crash at step {step}"
        house.clock.advance(KEPT.total_seconds())
        await house.sweep()
        assert await house.store.tombstones.count({}) == 0
        for n in (1, 2):
            await house.put_version(n, file=FILES[1])
        await house.store.images.update(IMAGE, set={"replaced": house.clock.now()})
        house.clock.advance(GRACE.total_seconds() + 1)
        step += stride
    assert step > 40
