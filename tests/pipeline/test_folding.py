"""The dicer folds what it cuts: the pyramid is the one that the pyramid service would make of the stored tiles."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pytest_asyncio
import tifffile
from PIL import Image

from shared.decoding import Decoders
from shared.events import BaseDiced, FoldBlock
from shared.store.documents.blocks import Block
from shared.tiles.geometry import Position, Rect
from shared.tiles.keys import tile_key
from shared.tiles.pixels import encode, halve
from tests.crashing import Crash
from tests.pipeline.mill import Mill
from tests.slides.aperio import write_svs
from tests.slides.jpeg2000 import write_jpeg2000_svs
from tests.slides.ndpi import write_ndpi
from tests.slides.plain import picture

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMAGE = "ab" * 16
# Strips of squares have fewer bytes than the first, single squares more than the second.
FOLDS, FOLDS_NOT = 2**25, 1000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.dicer.pixels", children=2, memory=2**30) as pool:
        yield pool


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of four strips of six squares each, of which four have no tile at all."""
    path = tmp_path_factory.mktemp("slides") / "slide.svs"
    gone = {(row, col) for row in range(16) for col in range(16)}
    write_svs(path, 5200, 3500, tile=128, sparse=gone | {(9, 33), (27, 40)})
    return path


async def diced(mill: Mill, slide: Path) -> None:
    """Uploads the slide and works on it until its base is cut."""
    await mill.upload(slide, IMAGE)
    while not any(isinstance(event, BaseDiced) for event in mill.journal):
        await mill.deliver_together()


def fold_blocks(mill: Mill) -> Any:
    return mill.store.blocks.find({"_id.image": IMAGE, "_id.stage": "fold"})


@pytest.mark.parametrize(
    ("width", "height", "tile", "sparse"),
    [
        (4700, 4200, 256, {(0, 0), (0, 1), (1, 0), (1, 1), (5, 7), (16, 18)}),
        (4097, 2049, 256, set()),
        (3001, 2333, 240, {(9, 12)}),
        (5000, 2100, 512, {(4, 9)}),
        (257, 256, 256, set()),
        (300, 9000, 256, {(row, 0) for row in range(35)}),
    ],
)
async def test_copied_slides_come_out_byte_for_byte_as_folded_from_the_stored_tiles(
    decoders: Decoders, tmp_path: Path, width: int, height: int, tile: int, sparse: set[tuple[int, int]]
) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, width, height, tile=tile, sparse=sparse)
    fusing, apart = (
        Mill(decoders, tmp_path / "1", block_bytes=FOLDS),
        Mill(decoders, tmp_path / "2", block_bytes=FOLDS_NOT),
    )
    for mill in (fusing, apart):
        await mill.upload(path, IMAGE)
        await mill.run()

    fused, expected = await fusing.version(IMAGE), await apart.version(IMAGE)
    assert fused.climb is not None
    assert expected.climb is None
    assert fused.state == expected.state == "ready"
    assert await fusing.stored(IMAGE) == await apart.stored(IMAGE)
    assert (fused.stored, fused.sparse) == (expected.stored, expected.sparse)
    assert fused.stages.fold.done == fused.stages.fold.total == expected.stages.fold.total


async def test_strips_that_hold_too_much_are_cut_in_spans_of_squares(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    spanning, apart = [Mill(decoders, tmp_path / str(most), block_bytes=most) for most in (400_000, FOLDS_NOT)]
    for mill in (spanning, apart):
        await diced(mill, slide)
    blocks = await spanning.store.blocks.find({"_id.image": IMAGE, "_id.stage": "dice"})
    assert 4 < len(blocks) < 24
    for mill in (spanning, apart):
        await mill.run()

    assert (await spanning.version(IMAGE)).climb == 3
    assert (await apart.version(IMAGE)).climb is None
    assert await spanning.stored(IMAGE) == await apart.stored(IMAGE)


async def test_what_was_folded_is_progress_when_the_pyramid_is_planned(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path, block_bytes=FOLDS)
    await diced(mill, slide)
    done = [block for block in await fold_blocks(mill)]
    assert {(block.round, block.done) for block in done} == {(0, True)}
    assert len(done) == 4 * 6
    # What a square without tiles becomes is nothing.
    assert [block.root is None for block in done].count(True) == 4

    # Plans, and folds the one square of the roots.
    await mill.deliver_together()

    fold = (await mill.version(IMAGE)).stages.fold
    assert fold.total == sum(block.tiles for block in await fold_blocks(mill)) > sum(block.tiles for block in done)
    assert fold.done == fold.total


async def test_a_square_that_was_not_recorded_is_folded_from_its_stored_tiles(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    calm = Mill(decoders, tmp_path / "calm", block_bytes=FOLDS)
    await calm.upload(slide, IMAGE)
    await calm.run()

    mill = Mill(decoders, tmp_path / "mill", block_bytes=FOLDS)
    await diced(mill, slide)
    for block in (await fold_blocks(mill))[5::6]:
        assert await mill.store.blocks.take(block.id) is not None
    sent = []
    while not mill.facts:
        sent += await mill.deliver_together()

    assert sorted(event.block for event in sent if isinstance(event, FoldBlock)) == [5, 11, 17, 23]
    assert (await mill.version(IMAGE)).state == "ready"
    assert await mill.stored(IMAGE) == await calm.stored(IMAGE)


async def test_a_crash_between_the_folded_squares_and_the_end_of_their_block_changes_nothing(
    decoders: Decoders, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = Mill(decoders, tmp_path / "calm", block_bytes=FOLDS)
    await calm.upload(slide, IMAGE)
    await calm.run()

    mill = Mill(decoders, tmp_path / "mill", block_bytes=FOLDS)
    insert = mill.store.blocks.insert
    crashes = 0

    async def insert_and_die(*documents: Block) -> int:
        nonlocal crashes
        new = await insert(*documents)
        if new and all(block.id.stage == "fold" and block.done for block in documents):
            crashes += 1
            raise Crash
        return new

    monkeypatch.setattr(mill.store.blocks, "insert", insert_and_die)
    await mill.upload(slide, IMAGE)
    await mill.run()

    assert crashes == 4
    version, expected = await mill.version(IMAGE), await calm.version(IMAGE)
    assert version.state == "ready"
    assert version.stages.fold.done == expected.stages.fold.done
    assert await mill.stored(IMAGE) == await calm.stored(IMAGE)


@pytest.mark.parametrize("seed", range(3))
async def test_workers_that_cut_the_same_blocks_at_once_make_one_pyramid(
    decoders: Decoders, slide: Path, tmp_path: Path, seed: int
) -> None:
    calm = Mill(decoders, tmp_path / "calm", block_bytes=FOLDS)
    await calm.upload(slide, IMAGE)
    await calm.run()

    wild = Mill(decoders, tmp_path / "wild", rng=random.Random(seed), block_bytes=FOLDS)
    await wild.upload(slide, IMAGE)
    await wild.run()

    assert (await wild.version(IMAGE)).state == "ready"
    assert await wild.stored(IMAGE) == await calm.stored(IMAGE)
    assert (await wild.version(IMAGE)).stages.fold.done == (await calm.version(IMAGE)).stages.fold.done
    assert await wild.store.blocks.count({}) == 0


def write_tiled(path: Path, compression: str | None, *, tile: tuple[int, int] = (256, 256), **options: Any) -> None:
    tifffile.imwrite(path, picture(2500, 2309), tile=tile, compression=compression, photometric="rgb", **options)


def shown(path: Path) -> np.ndarray:
    """Full resolution, over white."""
    if path.suffix == ".tiff":
        read: np.ndarray = tifffile.imread(path)
        return read
    with openslide.OpenSlide(path) as opened:
        pixels = opened.read_region((0, 0), 0, opened.dimensions)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB"))


@pytest.mark.parametrize(
    ("write", "suffix", "reader", "climb"),
    [
        (partial(write_tiled, compression="lzw", tile=(256, 128)), ".tiff", "vips-random", 3),
        (partial(write_tiled, compression=None), ".tiff", "tiff-lossless", 3),
        (partial(write_tiled, compression="lzw"), ".tiff", "tiff-lossless", 3),
        (partial(write_tiled, compression="lzw", predictor=2, bigtiff=True), ".tiff", "tiff-lossless", 3),
        (partial(write_tiled, compression="deflate", predictor=2), ".tiff", "tiff-lossless", 3),
        (partial(write_tiled, compression="deflate", tile=(1024, 1024)), ".tiff", "tiff-lossless", 2),
        (partial(write_tiled, compression="packbits", byteorder=">"), ".tiff", "tiff-lossless", 3),
        (partial(write_tiled, compression="zstd", tile=(512, 512)), ".tiff", "tiff-lossless", 3),
        (partial(write_jpeg2000_svs, width=2500, height=2309, tile=240), ".svs", "tiff-jpeg2000", 3),
        (write_ndpi, ".ndpi", "openslide", 3),
    ],
)
async def test_levels_of_decoded_slides_are_made_of_pixels_that_were_never_encoded(
    decoders: Decoders, tmp_path: Path, write: Callable[[Path], None], suffix: str, reader: str, climb: int
) -> None:
    path = tmp_path / f"slide{suffix}"
    write(path)
    mill = Mill(decoders, tmp_path / "scratch", block_bytes=FOLDS)
    await mill.upload(path, IMAGE)
    await mill.run()

    version = await mill.version(IMAGE)
    geometry = version.geometry
    assert version.state == "ready", version.failure
    assert version.source is not None
    assert geometry is not None
    assert (version.source.reader, version.climb) == (reader, climb)
    level_pixels = shown(path)
    tile = geometry.tile
    for level in range(geometry.levels):
        if level:
            level_pixels = halve(level_pixels, level)
        cols, rows = geometry.grid(level)
        for position in Rect(level=level, top=0, left=0, bottom=rows, right=cols).positions():
            y, x = position.row * tile, position.col * tile
            pixels = np.ascontiguousarray(level_pixels[y : y + tile, x : x + tile])
            expected = encode(pixels, 80, "420")
            assert await mill.tiles.get(tile_key(IMAGE, 1, Position(*position))) == expected


async def test_a_worker_that_wakes_up_when_the_image_is_ready_leaves_nothing_behind(
    decoders: Decoders, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill = Mill(decoders, tmp_path, block_bytes=FOLDS)
    await mill.upload(slide, IMAGE)
    blocks = await mill.deliver_together()
    assert len(blocks) > 1
    insert = mill.store.blocks.insert
    asleep, awake = asyncio.Event(), asyncio.Event()

    async def insert_late(*documents: Block) -> int:
        if not asleep.is_set():
            asleep.set()
            await awake.wait()
        return await insert(*documents)

    monkeypatch.setattr(mill.store.blocks, "insert", insert_late)
    late = Mill(decoders, tmp_path / "late", block_bytes=FOLDS)
    late.store, late.blobs, late.tiles, late.pending = mill.store, mill.blobs, mill.tiles, blocks[:1]
    sleeper = asyncio.create_task(late.deliver_together())
    await asyncio.wait_for(asleep.wait(), 30)
    await mill.run()
    assert (await mill.version(IMAGE)).state == "ready"
    awake.set()

    assert await asyncio.wait_for(sleeper, 30) == []
    assert await mill.store.blocks.count({}) == 0
