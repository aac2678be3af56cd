"""Doing things again: the whole journal twice, a further version, the finishing in place."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared import replay
from shared.audit import Audited
from shared.bus.envelope import REPLAY, REPLAY_REASON, REPLAYED_BY, decode
from shared.bus.journal import Wanted
from shared.bus.memory import MemoryBroker, MemoryBus, MemoryJournal
from shared.decoding import Decoders
from shared.events import DiceBlock, Event, FileComplete, FoldBlock, ImageFailed, ImageReady
from shared.replay import Replay
from shared.reprocess import CannotReprocess, finish_again, renew
from shared.stages.facts import announcement
from shared.stages.failing import fail
from shared.store.documents.uploads import Wish
from shared.store.documents.versions import VersionId
from shared.superseded import remove_superseded
from shared.tiles.keys import version_range
from tests.events import file_complete
from tests.pipeline.mill import DATABASE, Mill
from tests.slides import plain
from tests.slides.aperio import write_svs


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sparse, with several blocks, a label and a macro image."""
    path = tmp_path_factory.mktemp("slides") / "slide.svs"
    write_svs(path, 2600, 2300, sparse={(0, 0), (0, 1), (1, 0), (1, 1), (5, 7)})
    return path


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(preload="services.pyramid.pixels", children=2, memory=2**30) as pool:
        yield pool


async def everything(mill: Mill) -> dict[str, Any]:
    """All documents but the audit, all counters among them, and all tiles."""
    kinds = ("sessions", "uploads", "images", "versions", "blocks", "thumbnails", "ticks")
    documents = {kind: [one async for one in getattr(mill.store, kind).each({})] for kind in kinds}
    images = [image.id for image in documents["images"]]
    tiles = [tile for id in images for n in (1, 2) async for tile in mill.tiles.scan(version_range(id, n))]
    return {**documents, "tiles": tiles}


async def replayed(mill: Mill, wanted: Wanted, *, failed: bool = False) -> list[Event]:
    """Sends the wanted facts of the mill's journal again and lets them be handled; returns what was sent."""
    broker = MemoryBroker(mill.clock)
    broker.journal += mill.journal
    bus = MemoryBus(broker)
    audited = Audited(mill.store, mill.clock, action="replay", by="ada@lab", reason="drill", selection={})
    stores = {DATABASE: mill.store}
    sent = []
    async for one in replay.of_journal(
        MemoryJournal(broker), wanted, stores, failed=failed, clock=mill.clock, dry_run=False
    ):
        if isinstance(one, Replay):
            await replay.send(one, bus, audited)
    for stage in ("dicer", "pyramid"):
        for stored in broker[f"slidemill.{stage}.bulk"].ready:
            assert (stored.headers[REPLAY], stored.headers[REPLAYED_BY]) == (audited.run, "ada@lab")
            assert stored.headers[REPLAY_REASON] == "drill"
            sent.append(decode(stored.headers, stored.body))
    assert broker.journal == mill.journal
    mill.publish(sent)
    await mill.run()
    return sent


async def test_replaying_the_whole_journal_twice_changes_nothing(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path)
    await mill.upload(slide)
    await mill.upload(plain.write("png", tmp_path))
    await mill.upload(plain.write("truncated-png", tmp_path))
    await mill.run()
    before = await everything(mill)
    assert {version.state for version in before["versions"]} == {"ready", "failed"}

    for _ in range(2):
        sent = await replayed(mill, Wanted())
        # The facts are the ones that were published, but for those that are only news.
        assert sorted(event.id for event in sent) == sorted(
            event.id for event in mill.journal if not isinstance(event, ImageFailed)
        )
        assert await everything(mill) == before

    runs = await mill.store.audits.find({})
    assert len(runs) == 2
    assert all(len(run.subjects) == len(set(run.subjects)) > 5 for run in runs)


async def test_failed_images_go_on_when_that_is_asked_for(decoders: Decoders, slide: Path, tmp_path: Path) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(slide)
    version = await mill.version(image)
    failed = await fail(mill.store, version.id, "dice", "It broke.", "Mend it.", database=DATABASE, clock=mill.clock)
    await mill.run()
    mill.journal += failed
    wanted = Wanted(types=frozenset({ImageFailed.type}))

    assert await replayed(mill, wanted) == []
    assert [type(event) for event in await replayed(mill, wanted, failed=True)] == [FileComplete]

    assert (await mill.version(image)).state == "ready"


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (lambda event: Wanted(), 1),
        (lambda event: Wanted(since=event.time, until=None), 1),
        (lambda event: Wanted(until=event.time), 0),
        (lambda event: Wanted(types=frozenset({ImageReady.type})), 0),
        (lambda event: Wanted(types=frozenset({FileComplete.type}), images=frozenset({event.image})), 1),
        (lambda event: Wanted(images=frozenset({"f" * 32})), 0),
        (lambda event: Wanted(session=event.session), 1),
        (lambda event: Wanted(session="6" * 32), 0),
        (lambda event: Wanted(session="6" * 32, of_session=frozenset({event.image})), 1),
        (lambda event: Wanted(database=DATABASE), 1),
        (lambda event: Wanted(database="other"), 0),
    ],
)
def test_every_selector_narrows(wanted: Callable[[FileComplete], Wanted], count: int) -> None:
    event = file_complete(database=DATABASE)

    assert wanted(event).takes(event) == bool(count)


async def test_an_image_is_processed_anew_beside_the_version_that_people_see(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(slide)
    await mill.run()
    old = await mill.stored(image)

    version = await renew(mill.store, mill.blobs, image, mill.clock)
    shown = await mill.store.images.get(image)
    assert shown is not None
    assert (version.id.n, version.state, version.recipe, shown.current, shown.latest) == (2, "dicing", None, 1, 2)
    with pytest.raises(CannotReprocess, match="being processed already"):
        await renew(mill.store, mill.blobs, image, mill.clock)

    event = announcement(version, DATABASE)
    assert event is not None
    mill.publish([event])
    await mill.run()

    shown = await mill.store.images.get(image)
    assert shown is not None
    assert (shown.current, shown.latest) == (2, 2)
    assert await mill.stored(image) == old
    assert {tile.key[21:]: tile.data async for tile in mill.tiles.scan(version_range(image, 2))} == {
        key[5:]: data for key, data in old.items()
    }


async def test_an_old_version_goes_once_the_new_one_is_seen_and_late_work_on_it_changes_nothing(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(slide)
    await mill.run()
    old = list(mill.journal)
    work: list[Event] = [DiceBlock(database=DATABASE, time=mill.clock.now(), image=image, version=1, block=0)]
    work.append(FoldBlock(database=DATABASE, time=mill.clock.now(), image=image, version=1, block=0))

    async def clear() -> int:
        hour = timedelta(hours=1)
        return await remove_superseded(mill.store, mill.blobs, mill.tiles, grace=hour, limit=9, clock=mill.clock)

    version = await renew(mill.store, mill.blobs, image, mill.clock)
    event = announcement(version, DATABASE)
    assert event is not None
    mill.publish([event])
    mill.clock.advance(7200)
    assert await clear() == 0
    await mill.run()
    assert await clear() == 0
    mill.clock.advance(3601)
    assert await clear() == 1

    mill.publish([*old, *work])
    await mill.run()

    assert mill.rejected == []
    assert await mill.stored(image) == {}
    assert [kept.id.n for kept in await mill.store.versions.find({})] == [2]
    assert {picture.id.split(":")[1] for picture in await mill.store.thumbnails.find({})} == {"2"}
    assert await mill.store.blocks.count({}) == 0
    shown = await mill.store.images.get(image)
    assert shown is not None
    assert (shown.current, shown.latest) == (2, 2)
    # The file is the new version's too: it can be processed anew from it.
    assert (await renew(mill.store, mill.blobs, image, mill.clock)).id.n == 3


async def test_another_quality_is_another_version_and_stays_wished_for(decoders: Decoders, tmp_path: Path) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(plain.write("png", tmp_path))
    await mill.run()

    made = []
    for wish in (Wish(quality=97, subsampling="444"), Wish(subsampling="420"), None):
        version = await renew(mill.store, mill.blobs, image, mill.clock, wish)
        event = announcement(version, DATABASE)
        assert event is not None
        mill.publish([event])
        await mill.run()
        made.append(await mill.store.versions.get(version.id))

    recipes = [version.recipe for version in made if version is not None and version.recipe is not None]
    assert [(recipe.quality, recipe.subsampling) for recipe in recipes] == [(97, "444"), (97, "420"), (97, "420")]
    sizes = [sum([len(tile.data) async for tile in mill.tiles.scan(version_range(image, n))]) for n in (1, 2, 3, 4)]
    assert sizes[0] < sizes[2] == sizes[3] < sizes[1]


async def test_a_further_version_that_was_left_half_made_is_completed(decoders: Decoders, tmp_path: Path) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(plain.write("one-pixel", tmp_path))
    await mill.run()
    await renew(mill.store, mill.blobs, image, mill.clock)
    # As a crash between its two writes leaves it.
    await mill.store.images.update(image, set={"latest": 1})

    version = await renew(mill.store, mill.blobs, image, mill.clock)

    assert version.id == VersionId(image=image, n=2)
    info = await mill.blobs.info(image)
    assert info is not None
    # Both versions own the file: it goes with the last of them.
    assert not await mill.blobs.release(image, [f"{image}:1"])
    assert await mill.blobs.release(image, [f"{image}:2"])
    assert await mill.store.versions.count({}) == 2


async def test_finishing_again_makes_the_small_pictures_anew_in_place(
    decoders: Decoders, slide: Path, tmp_path: Path
) -> None:
    mill = Mill(decoders, tmp_path)
    image = await mill.upload(slide)
    await mill.run()
    before, tiles = await mill.version(image), await mill.stored(image)
    for kind in ("thumbnail", "label"):
        await mill.store.thumbnails.update(f"{image}:1:{kind}", set={"data": b"spoiled"})

    version = await finish_again(mill.store, image, mill.clock)
    event = announcement(version, DATABASE)
    assert event is not None
    mill.publish([event])
    await mill.run()

    after = await mill.version(image)
    assert (after.state, after.stored, after.sparse) == ("ready", before.stored, before.sparse)
    assert after.stages.finish.started is not None
    assert before.stages.finish.ended is not None
    assert after.stages.finish.started >= before.stages.finish.ended
    assert await mill.stored(image) == tiles
    for kind in ("thumbnail", "label"):
        picture = await mill.store.thumbnails.get(f"{image}:1:{kind}")
        assert picture is not None
        assert picture.data != b"spoiled"
    with pytest.raises(CannotReprocess):
        await finish_again(mill.store, "f" * 32, mill.clock)
