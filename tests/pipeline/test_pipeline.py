"""The whole pipeline in one process: whatever the broker and the workers do, the end is the same."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.decoding import Decoders
from shared.events import BaseDiced, DiceBlock, Event, FoldBlock, ImageFailed, ImageReady, PyramidBuilt
from shared.stages.failing import fail, revive
from shared.store import Where
from tests.crashing import Fuse
from tests.pipeline.mill import DATABASE, Mill
from tests.slides import plain
from tests.slides.aperio import write_svs

IMAGE = "ab" * 16


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of several dice blocks and, at 19 x 17 tiles, four squares to fold and a second round."""
    path = tmp_path_factory.mktemp("slides") / "slide.svs"
    write_svs(path, 4700, 4200, sparse={(0, 0), (0, 1), (1, 0), (1, 1), (5, 7)})
    return path


@pytest.fixture(scope="module")
def small_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "small.svs"
    write_svs(path, 1100, 700)
    return path


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.pyramid.pixels", children=2, memory=2**30) as pool:
        yield pool


async def test_a_slide_becomes_a_whole_pyramid(decoders: Decoders, slide: Path, tmp_path: Path) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(slide)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready"
    assert version.base == "copied"
    assert version.geometry is not None
    assert (version.geometry.width, version.geometry.height, version.geometry.tile) == (4700, 4200, 256)
    tiles = await mill.stored(image)
    assert len(tiles) == version.stored
    # Two by two of the sparse tiles leave one tile of the level above with nothing below it.
    assert version.sparse == 5 + 1
    assert version.stored + version.sparse == version.geometry.total
    assert [type(fact) for fact in mill.facts] == [ImageReady]
    shown = await mill.store.images.get(image)
    assert shown is not None
    assert shown.current == 1
    assert await mill.store.blocks.count({}) == 0
    for kind in ("thumbnail", "label", "macro"):
        assert await mill.store.thumbnails.get(f"{image}:1:{kind}") is not None
    ends = [stage for stage in (version.stages.dice, version.stages.fold, version.stages.finish)]
    assert all(stage.started and stage.ended and stage.done == stage.total > 0 for stage in ends)


@pytest.mark.parametrize("seed", range(12))
async def test_disorder_and_doubled_deliveries_change_nothing(
    decoders: Decoders, slide: Path, tmp_path: Path, seed: int
) -> None:
    calm = Mill(decoders, tmp_path / "calm")
    await calm.upload(slide, IMAGE)
    await calm.run()

    wild = Mill(decoders, tmp_path / "wild", rng=random.Random(seed))
    await wild.upload(slide, IMAGE)
    await wild.run()

    assert (await wild.version(IMAGE)).state == "ready"
    assert await wild.stored(IMAGE) == await calm.stored(IMAGE)
    version, expected = await wild.version(IMAGE), await calm.version(IMAGE)
    assert (version.stored, version.sparse, version.source) == (expected.stored, expected.sparse, expected.source)
    for stage in ("upload", "dice", "fold", "finish"):
        assert getattr(version.stages, stage).done == getattr(expected.stages, stage).done
    assert await wild.store.blocks.count({}) == 0


@pytest.mark.slow
@pytest.mark.parametrize("block_bytes", [2**25, 30_000], ids=["one block", "many blocks"])
@pytest.mark.timeout(400)
async def test_a_crash_between_any_two_steps_is_repaired_by_the_next_delivery(
    decoders: Decoders, small_slide: Path, tmp_path: Path, block_bytes: int
) -> None:
    clean = Mill(decoders, tmp_path / "clean", block_bytes=block_bytes)
    await clean.upload(small_slide, IMAGE)
    await clean.run()
    steps, tiles = clean.fuse.steps, await clean.stored(IMAGE)
    assert steps > 20

    for step in range(1, steps + 1):
        mill = Mill(decoders, tmp_path / str(step), fuse=Fuse(at=step), block_bytes=block_bytes)
        await mill.upload(small_slide, IMAGE)
        await mill.run()

        assert (await mill.version(IMAGE)).state == "ready", f"after a crash at step {step}"
        assert await mill.stored(IMAGE) == tiles, f"after a crash at step {step}"
        assert await mill.store.blocks.count({}) == 0, f"after a crash at step {step}"
        assert ImageReady in {type(fact) for fact in mill.facts}, f"after a crash at step {step}"


async def test_replaying_a_finished_image_sends_nothing(decoders: Decoders, small_slide: Path, tmp_path: Path) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(small_slide)
    await mill.run()
    before = await mill.version(image)
    await mill.announce(image)

    assert await mill.run() == 1
    assert await mill.version(image) == before


@pytest.mark.parametrize("kind", ["png", "jpeg", "striped", "tiled-lzw", "bigtiff", "webp", "one-pixel"])
async def test_plain_images_become_pyramids(decoders: Decoders, tmp_path: Path, kind: str) -> None:
    path = plain.write(kind, tmp_path)
    mill = Mill(decoders, tmp_path / "scratch")
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "ready", version.failure
    assert version.geometry is not None
    assert len(await mill.stored(image)) == version.geometry.total
    if version.base == "encoded":
        assert version.base_reason


@pytest.mark.parametrize("kind", ["text", "truncated-tiff", "truncated-svs", "truncated-png"])
async def test_what_cannot_be_read_fails_with_a_reason_and_a_remedy(
    decoders: Decoders, tmp_path: Path, kind: str
) -> None:
    path = plain.write(kind, tmp_path)
    mill = Mill(decoders, tmp_path / "scratch", rng=random.Random(1))
    image = await mill.upload(path)
    await mill.run()

    version = await mill.version(image)
    assert version.state == "failed"
    assert version.failure is not None
    assert version.failure.stage == "dice"
    assert version.failure.reason.endswith(".")
    assert version.failure.remedy.endswith(".")
    assert {type(fact) for fact in mill.facts} == {ImageFailed}


async def test_a_failed_image_goes_on_where_it_failed_when_it_is_revived(
    decoders: Decoders, small_slide: Path, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(small_slide)
    version = await mill.version(image)
    await fail(mill.store, version.id, "dice", "It broke.", "Mend it.", database=DATABASE, clock=mill.clock)
    await mill.run()
    assert (await mill.version(image)).state == "failed"

    revived = await revive(mill.store, await mill.version(image), mill.clock)
    await mill.announce(image)
    await mill.run()

    assert revived.state == "dicing"
    assert (await mill.version(image)).state == "ready"
    assert (await mill.version(image)).failure is None


async def test_workers_who_end_a_stage_together_announce_it_once(
    decoders: Decoders, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill = Mill(decoders, tmp_path)
    await mill.upload(slide)
    count = mill.store.blocks.count

    async def count_late(where: Where, *, limit: int | None = None) -> int:
        # As slow as a server may be: whoever asks for open blocks is answered when there are none left.
        async with asyncio.timeout(60):
            while where.get("done") is False and await count(where, limit=limit):
                await asyncio.sleep(0)
        return await count(where, limit=limit)

    monkeypatch.setattr(mill.store.blocks, "count", count_late)
    announced: list[Event] = []
    while not mill.facts:
        announced += await mill.deliver_together()

    assert len([event for event in announced if isinstance(event, DiceBlock)]) > 1
    assert len([event for event in announced if isinstance(event, FoldBlock)]) == 4
    for fact in (BaseDiced, PyramidBuilt, ImageReady):
        assert len([event for event in announced if isinstance(event, fact)]) == 1
