"""What takes minutes, such as a large zip, holds up nobody but itself."""

import asyncio
import shutil
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path

import pytest
import pytest_asyncio
import pyvips

from services.pyramid.finishing import ROOM_PATIENCE
from shared import deadline
from shared.blobs.making import PLACES
from shared.blobs.memory import MemoryBlobs
from shared.decoding import Decoders
from shared.errors import DecoderDied, Postponed, Reject, RetryLater
from shared.stages.blocks import work_on_block
from shared.store.documents.blocks import Block, BlockId
from shared.tiles.geometry import Rect
from tests.pipeline.mill import Mill
from tests.slides.mirax import write_mirax

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    """A single child, so that whoever keeps it is noticed."""
    async with Decoders(preload="services.dicer.pixels", children=1, memory=2**30) as pool:
        yield pool


class SlowBlobs(MemoryBlobs):
    """What is in a zip comes once `gate` is open."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch, patience=0.1)
        self.gate = asyncio.Event()
        self.filling: set[str] = set()
        self._fills = ContextVar("whether an unpacking reads", default=False)

    @asynccontextmanager
    async def unpacked(self, file: str, length: int, fill: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Path]:
        async def slowly(folder: Path) -> None:
            self.filling.add(file)
            self._fills.set(True)
            await fill(folder)

        async with super().unpacked(file, length, slowly) as folder:
            yield folder

    async def read(self, file: str, offset: int, length: int) -> bytes:
        if self._fills.get():
            await self.gate.wait()
        return await super().read(file, offset, length)


def zipped(folder: Path) -> Path:
    write_mirax(folder / "slide.mrxs")
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as made:
        for file in sorted(folder.rglob("*")):
            made.write(file, file.relative_to(folder))
    return folder.with_suffix(".zip")


class FullBlobs(MemoryBlobs):
    """The disk of the scratch folder has no room for the zips of these."""

    full: frozenset[str] = frozenset()

    @asynccontextmanager
    async def unpacked(self, file: str, length: int, fill: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Path]:
        if file in self.full:
            raise RetryLater("The disk is full.")
        async with super().unpacked(file, length, fill) as folder:
            yield folder


async def test_a_label_waits_for_room_to_unpack_its_zip_but_no_slide_is_lost_for_it(
    decoders: Decoders, tmp_path: Path
) -> None:
    (tmp_path / "slide").mkdir()
    zip = zipped(tmp_path / "slide")
    mill = Mill(decoders, tmp_path / "scratch")
    mill.blobs = blobs = FullBlobs(tmp_path / "scratch")
    images = [await mill.upload(zip), await mill.upload(zip)]

    async def states() -> list[str]:
        return [(await mill.version(image)).state for image in images]

    while await states() != ["finishing", "finishing"]:
        await mill.deliver_together()
    blobs.full = frozenset(images)
    await mill.deliver_together()
    assert await states() == ["finishing", "finishing"]
    blobs.full = frozenset(images[1:])
    await mill.deliver_together()
    assert await states() == ["ready", "finishing"]
    mill.clock.advance(ROOM_PATIENCE.total_seconds())
    await mill.deliver_together()

    assert await states() == ["ready", "ready"]
    kept = {picture.id async for picture in mill.store.thumbnails.each({})}
    assert kept == {f"{images[0]}:1:{kind}" for kind in ("thumbnail", "label", "macro")} | {f"{images[1]}:1:thumbnail"}


async def test_a_picture_is_ready_while_more_zips_are_unpacked_than_there_are_decoders(
    decoders: Decoders, tmp_path: Path
) -> None:
    (tmp_path / "slide").mkdir()
    zip = zipped(tmp_path / "slide")
    pyvips.Image.black(100, 80, bands=3).write_to_file(str(tmp_path / "small.png"))
    mill = Mill(decoders, tmp_path / "scratch")
    mill.blobs = slow = SlowBlobs(tmp_path / "scratch")
    zips = [await mill.upload(zip) for _ in range(PLACES + 1)]
    async with asyncio.timeout(30):
        await mill.deliver_together()
        assert len(slow.filling) == PLACES
        small = await mill.upload(tmp_path / "small.png")
        while (await mill.version(small)).state != "ready":
            await mill.deliver_together()
        assert {(await mill.version(image)).state for image in zips} == {"dicing"}

        slow.gate.set()
        await mill.run()
    assert {(await mill.version(image)).state for image in zips} == {"ready"}


async def test_a_picture_is_finished_while_a_slide_waits_for_its_label(decoders: Decoders, tmp_path: Path) -> None:
    """On another host than the one that cut it, the label of a slide in a zip needs the zip unpacked there."""
    (tmp_path / "slide").mkdir()
    pyvips.Image.black(100, 80, bands=3).write_to_file(str(tmp_path / "small.png"))
    mill = Mill(decoders, tmp_path / "scratch")
    mill.blobs = slow = SlowBlobs(tmp_path / "scratch")
    slow.gate.set()
    async with asyncio.timeout(30):
        image = await mill.upload(zipped(tmp_path / "slide"))
        while (await mill.version(image)).state != "finishing":
            await mill.deliver_together()
        shutil.rmtree(tmp_path / "scratch")
        slow.gate.clear()
        small = await mill.upload(tmp_path / "small.png")
        while (await mill.version(small)).state != "ready":
            await mill.deliver_together()
        assert (await mill.version(image)).state == "finishing"

        slow.gate.set()
        await mill.run()
    assert (await mill.version(image)).state == "ready"


async def test_the_second_try_of_a_block_that_took_long_gets_a_delivery_of_its_own(
    decoders: Decoders, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path)
    id = BlockId(image="ab" * 16, version=1, stage="dice", n=0)
    await mill.store.blocks.insert(
        Block(id=id, rect=Rect(level=0, top=0, left=0, bottom=1, right=1), tiles=1, issued=mill.clock.now())
    )

    async def dying(block: Block) -> dict[str, object]:
        raise DecoderDied("the decoder took longer than 1200 s")

    for error in (Postponed, Reject):
        with deadline.within(10), pytest.raises(error, match=r"the decoder took longer than 1200 s"):
            await work_on_block(mill.store, id, dying, by="dicer", clock=mill.clock)


async def test_a_block_that_somebody_else_got_done_meanwhile_fails_nothing(decoders: Decoders, tmp_path: Path) -> None:
    mill = Mill(decoders, tmp_path / "scratch")
    id = BlockId(image="ab" * 16, version=1, stage="dice", n=0)
    rect = Rect(level=0, top=0, left=0, bottom=1, right=1)
    await mill.store.blocks.insert(Block(id=id, rect=rect, tiles=1, issued=mill.clock.now(), deaths=1))

    async def overtaken(block: Block) -> dict[str, object]:
        await mill.store.blocks.update(id, set={"done": True})
        raise DecoderDied("the decoder took longer than 120 s")

    assert not await work_on_block(mill.store, id, overtaken, by="dicer", clock=mill.clock)
