"""An image that is deleted while it is worked on: the workers stop without a fault, and nothing of it stays."""

from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.decoding import Decoders
from shared.events import ImageReady
from shared.removal import hide_image, remove, sweep
from shared.tiles.keys import image_range
from tests.crashing import Fuse
from tests.pipeline.mill import Mill
from tests.slides.aperio import write_svs

IMAGE = "ab" * 16


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "small.svs"
    write_svs(path, 1100, 700)
    return path


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.pyramid.pixels", children=2, memory=2**30) as pool:
        yield pool


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Does what never waits, as nothing on memory ports does, between two steps of somebody else."""
    with pytest.raises(StopIteration):
        work.send(None)


@dataclass
class Deletion(Fuse):
    """Deletes the image at step `at` instead of killing anybody."""

    mill: Mill = field(init=False)

    def burn(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            mill = self.mill
            at_once(hide_image(mill.store, IMAGE, mill.clock))
            at_once(remove(IMAGE, store=mill.store, blobs=mill.blobs, tiles=mill.tiles, clock=mill.clock))


async def worked_on(decoders: Decoders, slide: Path, scratch: Path, *, at: int, block_bytes: int) -> Mill:
    """A mill in which the image is deleted at this step of its workers."""
    fuse = Deletion(at=at)
    mill = fuse.mill = Mill(decoders, scratch, fuse=fuse, block_bytes=block_bytes)
    await mill.upload(slide, IMAGE)
    await mill.run()
    return mill


@pytest.mark.parametrize("block_bytes", [2**25, 30_000], ids=["one block", "many blocks"])
async def test_an_image_deleted_at_any_step_leaves_no_failure_and_after_the_sweep_nothing(
    decoders: Decoders, slide: Path, tmp_path: Path, block_bytes: int
) -> None:
    undisturbed = await worked_on(decoders, slide, tmp_path / "undisturbed", at=0, block_bytes=block_bytes)
    steps = undisturbed.fuse.steps
    assert [type(fact) for fact in undisturbed.facts] == [ImageReady]

    for step in range(1, steps + 1, 1):
        mill = await worked_on(decoders, slide, tmp_path / str(step), at=step, block_bytes=block_bytes)
        mill.clock.advance(120)
        assert await sweep(mill.store, mill.blobs, mill.tiles, limit=10, clock=mill.clock) == 1

        where = f"deleted at step {step}"
        assert mill.rejected == [], where
        assert {type(fact) for fact in mill.facts} <= {ImageReady}, where
        for collection in (mill.store.images, mill.store.versions, mill.store.blocks, mill.store.thumbnails):
            assert await collection.count({}) == 0, where
        assert await mill.tiles.count(image_range(IMAGE)) == 0, where
        assert await mill.blobs.info(IMAGE) is None, where
        assert await mill.blobs.chunks(IMAGE) == [], where
