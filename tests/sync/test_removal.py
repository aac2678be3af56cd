"""A deletion that dies between any two steps is finished by the sweep, and the tombstone goes after a week."""

from datetime import timedelta
from typing import cast

from shared.blobs import Blobs
from shared.blobs.pieces import tail_of
from shared.removal import KEPT, UNDER_WAY, hide_image, hide_session, remove, sweep
from shared.store import Store
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.images import Thumbnail
from shared.tiles import Tile, Tiles
from shared.tiles.geometry import Position, Rect
from shared.tiles.keys import image_range, tile_key
from tests.crashing import Crash, Fuse, Fused
from tests.sync.conftest import SESSION, House, image_id


async def put_image(house: House, number: int) -> str:
    """An image with something in every collection."""
    id = await house.put_upload(number, idle=timedelta())
    await house.blobs.create(tail_of(id), name="a.svs", chunk=8, refs=())
    await house.blobs.put_chunk(tail_of(id), 8, b"1234")
    await house.tiles.put([Tile(tile_key(id, 1, Position(level, 0, 0)), b"jpeg") for level in range(3)])
    picture = {"_id": f"{id}:1:label", "kind": "label", "width": 1, "height": 1, "data": b"jpeg"}
    await house.store.thumbnails.insert(Thumbnail.model_validate(picture))
    rect = Rect(level=0, top=0, left=0, bottom=1, right=2)
    block = BlockId(image=id, version=1, stage="dice", n=0)
    await house.store.blocks.insert(Block(id=block, rect=rect, tiles=2, issued=house.clock.now()))
    return id


async def left(house: House, *images: str) -> dict[str, int]:
    """What there still is, by collection."""
    store, blobs = house.store, house.blobs
    counts = {
        "sessions": await store.sessions.count({}),
        "images": await store.images.count({}),
        "versions": await store.versions.count({}),
        "blocks": await store.blocks.count({}),
        "thumbnails": await store.thumbnails.count({}),
        "uploads": await store.uploads.count({}),
        "tombstones": await store.tombstones.count({}),
        "tiles": sum([await house.tiles.count(image_range(image)) for image in images]),
        "chunks": sum([len(await blobs.chunks(f)) for image in images for f in (image, tail_of(image))]),
        "files": sum([await blobs.info(f) is not None for image in images for f in (image, tail_of(image))]),
    }
    return {name: count for name, count in counts.items() if count}


async def swept(house: House) -> int:
    return await sweep(house.store, house.blobs, house.tiles, limit=100, clock=house.clock)


async def crash_at(house: House, step: int, *, session: bool) -> bool:
    """Deletes an image, or its whole session, and dies at this step; whether it got that far."""
    fuse = Fuse(at=step)
    store, blobs = cast(Store, Fused(house.store, fuse)), cast(Blobs, Fused(house.blobs, fuse))
    tiles = cast(Tiles, Fused(house.tiles, fuse))
    id = SESSION if session else image_id(1)
    try:
        if session:
            await hide_session(store, id, house.clock)
        else:
            await hide_image(store, id, house.clock)
        await remove(id, store=store, blobs=blobs, tiles=tiles, clock=house.clock)
    except Crash:
        return True
    return False


async def test_a_deletion_that_dies_at_any_step_is_finished_by_the_sweep(house: House) -> None:
    step = 1
    image = await put_image(house, 1)
    while await crash_at(house, step, session=False):
        begun = await house.store.tombstones.count({}) == 1
        house.clock.advance(UNDER_WAY.total_seconds() + 1)
        await swept(house)

        expected = {"sessions": 1, "uploads": 1, "tombstones": 1}
        assert not begun or await left(house, image) == expected, f"after a crash at step {step}"
        # Before the mark nothing is deleted yet.
        assert begun or "images" in await left(house, image), f"after a crash at step {step}"

        house.clock.advance(KEPT.total_seconds())
        await swept(house)
        assert not begun or await left(house, image) == {"sessions": 1}
        await put_image(house, 1)
        step += 1
    assert step > 20


async def test_a_session_whose_deletion_dies_at_any_step_goes_with_all_its_images(house: House) -> None:
    step = 1
    images = [await put_image(house, number) for number in (1, 2)]
    while await crash_at(house, step, session=True):
        begun = await house.store.tombstones.count({}) >= 1
        for _ in range(2):
            house.clock.advance(UNDER_WAY.total_seconds() + 1)
            await swept(house)
        assert not begun or await left(house, *images) == {"uploads": 2, "tombstones": 3}, f"step {step}"

        for _ in range(2):
            house.clock.advance(KEPT.total_seconds())
            await swept(house)
        assert not begun or await left(house, *images) == {}
        images = [await put_image(house, number) for number in (1, 2)]
        step += 1
    assert step > 20


async def test_a_tombstone_is_swept_less_and_less_often_and_goes_after_a_week(house: House) -> None:
    image = await put_image(house, 1)
    await hide_image(house.store, image, house.clock)
    looks = []
    for _ in range(7 * 24 * 12 + 2):
        looks.append(await swept(house))
        house.clock.advance(300)

    assert await left(house, image) == {"sessions": 1}
    assert 8 <= sum(looks) <= 16
    assert await swept(house) == 0


async def test_two_who_delete_at_once_do_no_harm(house: House) -> None:
    image = await put_image(house, 1)
    other = await put_image(house, 2)
    for _ in range(2):
        await hide_image(house.store, image, house.clock)
    for _ in range(2):
        await remove(image, store=house.store, blobs=house.blobs, tiles=house.tiles, clock=house.clock)

    assert await house.store.versions.count({}) == 1
    assert await house.store.images.get(other) is not None
    assert len(await house.blobs.chunks(other)) == 1
