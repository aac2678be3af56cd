"""Images and sessions that are deleted: gone at once for everybody, and in the end from every collection."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.blobs.memory import MemoryBlobs
from shared.blobs.pieces import tail_of
from shared.removal import KEPT, hide_image, hide_session
from shared.stages.moving import appear
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.images import Thumbnail
from shared.store.memory import MemoryStore
from shared.tiles import Tile
from shared.tiles.geometry import Position, Rect
from shared.tiles.keys import image_range, tile_key
from tests.gateway.conftest import ANNA, MIB, Served, look_after, serve, slide

LEFT_FOR_A_WEEK = {"tombstones", "uploads"}


async def whole(gateway: Served, session: str, name: str = "a.svs", seed: int = 1) -> tuple[str, str]:
    """(upload, image) of a file that was sent whole."""
    answer = await gateway.send(session, slide(MIB, seed), params={"name": name})
    assert answer.json["state"] == "complete", answer.text
    return answer.json["_id"], answer.json["image"]


async def put_work(gateway: Served, image: str, version: int = 1) -> None:
    """What dicer and pyramid leave in the middle of their work."""
    block = BlockId(image=image, version=version, stage="dice", n=0)
    rect = Rect(level=0, top=0, left=0, bottom=1, right=2)
    now = gateway.gateway.clock.now()
    await gateway.store.blocks.insert(Block(id=block, rect=rect, tiles=2, issued=now))
    for kind in ("thumbnail", "label", "macro"):
        picture = {"_id": f"{image}:{version}:{kind}", "kind": kind, "width": 1, "height": 1, "data": b"jpeg"}
        await gateway.store.thumbnails.insert(Thumbnail.model_validate(picture))
    keys = [tile_key(image, version, Position(level, 0, 0)) for level in range(3)]
    await gateway.tiles.put([Tile(key, b"jpeg") for key in keys])


async def left(gateway: Served, *images: str, files: tuple[str, ...] = ()) -> set[str]:
    """The collections that still hold anything of these images."""
    found = {
        "images": await gateway.store.images.count({}),
        "versions": await gateway.store.versions.count({}),
        "blocks": await gateway.store.blocks.count({}),
        "thumbnails": await gateway.store.thumbnails.count({}),
        "uploads": await gateway.store.uploads.count({}),
        "tombstones": await gateway.store.tombstones.count({}),
    }
    for image in images:
        found["tiles"] = found.get("tiles", 0) + await gateway.tiles.count(image_range(image))
    for file in files:
        for stored in (file, tail_of(file)):
            found["chunks"] = found.get("chunks", 0) + len(await gateway.blobs.chunks(stored))
            found["files"] = found.get("files", 0) + (await gateway.blobs.info(stored) is not None)
    return {name for name, count in found.items() if count}


async def test_a_deleted_image_is_gone_from_every_address_and_collection(gateway: Served) -> None:
    session = await gateway.session()
    kept_file, kept = await whole(gateway, session, "kept.svs", seed=2)
    file, image = await whole(gateway, session)
    await put_work(gateway, image)
    await put_work(gateway, kept)

    answer = await gateway.ask("DELETE", f"/api/v1/images/{image}")
    again = await gateway.ask("DELETE", f"/api/v1/images/{image}")
    asked = await gateway.ask("GET", f"/api/v1/images/{image}")

    assert (answer.status, answer.text, again.status, asked.status) == (204, "", 404, 404)
    assert [one["id"] for one in await gateway.images(session)] == [kept]
    told = await gateway.ask("GET", f"/api/v1/sessions/{session}")
    assert told.json["images"] == {"dicing": 1}
    await gateway.gateway.removing.settled()
    assert await left(gateway, image, files=(file,)) & {"tiles", "chunks", "files"} == set()
    assert await left(gateway, kept, files=(kept_file,)) >= {"tiles", "chunks", "files", "blocks", "thumbnails"}
    assert await gateway.store.blocks.count({"_id.image": image}) == 0
    assert await gateway.store.thumbnails.get(f"{image}:1:thumbnail") is None


async def test_a_deleted_session_takes_all_its_images_along(gateway: Served) -> None:
    session, other = await gateway.session(), await gateway.session()
    sent = [await whole(gateway, session, f"{n}.svs", seed=n) for n in range(3)]
    half = await gateway.send(session, slide(MIB), (0, MIB, 2 * MIB), params={"name": "half.svs"})
    refused = await gateway.send(session, b"no slide", params={"name": "text.svs"})
    for _, image in sent:
        await put_work(gateway, image)
    files = tuple(file for file, _ in [*sent, (half.json["_id"], "")])

    answer = await gateway.ask("DELETE", f"/api/v1/sessions/{session}")

    assert (refused.status, answer.status) == (415, 204)
    for path in (
        f"sessions/{session}",
        f"sessions/{session}/images",
        f"images/{sent[0][1]}",
        f"sessions/{session}/files/{files[0]}",
    ):
        assert (await gateway.ask("GET", f"/api/v1/{path}")).status == 404
    assert (await gateway.ask("DELETE", f"/api/v1/sessions/{session}")).status == 404
    assert [one["id"] for one in (await gateway.ask("GET", "/api/v1/sessions")).json["items"]] == [other]
    await gateway.gateway.removing.settled()
    assert await left(gateway, *(image for _, image in sent), files=files) == LEFT_FOR_A_WEEK
    await look_after(gateway, KEPT)
    assert await left(gateway, *(image for _, image in sent), files=files) == set()


async def test_nobody_deletes_what_belongs_to_others(gateway: Served) -> None:
    session = await gateway.session()
    _, image = await whole(gateway, session)

    for path in (f"images/{image}", f"sessions/{session}"):
        assert (await gateway.ask("DELETE", f"/api/v1/{path}", token=ANNA)).status == 404
        assert (await gateway.ask("DELETE", f"/api/v1/{path}", token=None)).status == 401

    assert len(await gateway.images(session)) == 1


async def test_an_image_is_deleted_in_the_middle_of_its_upload(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(300_000)
    answer = await gateway.send(session, data[:100_000], (0, 100_000, 300_000), params={"name": "a.svs"})
    id, image = answer.json["_id"], answer.json["image"]
    before = await gateway.blobs.chunks(tail_of(id))

    deleted = await gateway.ask("DELETE", f"/api/v1/images/{image}")
    late = await gateway.send(session, data[100_000:], (100_000, 300_000, 300_000), params={"_id": id})

    assert len(before) == 1
    assert (deleted.status, late.status) == (204, 410)
    assert await gateway.images(session) == []
    await gateway.gateway.removing.settled()
    assert await left(gateway, image, files=(id,)) == LEFT_FOR_A_WEEK


class Gate(MemoryBlobs):
    """Holds chunks back until it is opened, as a gateway that was stopped does."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
        if n > 0:
            self.reached.set()
            await self.opened.wait()
        return await super().put_chunk(file, n, data)


async def test_a_gateway_that_wakes_up_after_the_deletion_leaves_nothing(tmp_path: Path, page: Path) -> None:
    blobs = Gate(tmp_path)
    async for gateway in serve(MemoryStore(), blobs, page):
        session = await gateway.session()
        data = slide(3 * MIB)
        first = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})
        id, image = first.json["_id"], first.json["image"]
        rest = asyncio.create_task(gateway.send(session, data[MIB:], (MIB, 3 * MIB, len(data)), params={"_id": id}))
        await blobs.reached.wait()

        deleted = await gateway.ask("DELETE", f"/api/v1/images/{image}")
        await gateway.gateway.removing.settled()
        blobs.opened.set()

        assert (deleted.status, (await rest).status) == (204, 410)
        assert await gateway.images(session) == []
        assert await left(gateway, image, files=(id,)) == LEFT_FOR_A_WEEK


async def test_what_a_late_worker_writes_is_swept(gateway: Served) -> None:
    session = await gateway.session()
    file, image = await whole(gateway, session)
    upload = await gateway.upload(file)
    await gateway.ask("DELETE", f"/api/v1/images/{image}")
    await gateway.gateway.removing.settled()

    await put_work(gateway, image)
    await gateway.blobs.put_chunk(file, 0, b"late")
    await gateway.blobs.create(tail_of(file), name="a.svs", chunk=MIB, refs=())
    await gateway.blobs.put_chunk(tail_of(file), 0, b"late")
    await appear(gateway.store, upload, gateway.gateway.clock)
    await look_after(gateway, timedelta(minutes=2))

    assert await left(gateway, image, files=(file,)) == LEFT_FOR_A_WEEK
    assert await gateway.images(session) == []


async def test_an_upload_that_began_as_its_session_was_deleted_is_swept(gateway: Served) -> None:
    session = await gateway.session()
    file, image = await whole(gateway, session)
    await hide_session(gateway.store, session, gateway.gateway.clock)

    await look_after(gateway, timedelta(minutes=2))

    assert await left(gateway, image, files=(file,)) == LEFT_FOR_A_WEEK


async def test_a_gateway_that_died_in_the_middle_of_a_deletion_is_finished_for(gateway: Served) -> None:
    session = await gateway.session()
    file, image = await whole(gateway, session)
    await put_work(gateway, image)
    await hide_image(gateway.store, image, gateway.gateway.clock)

    await look_after(gateway, timedelta(seconds=10))
    too_early = await left(gateway, image, files=(file,))
    await look_after(gateway, timedelta(minutes=1))

    assert too_early >= {"tiles", "chunks", "files", "blocks", "thumbnails"}
    assert await left(gateway, image, files=(file,)) == LEFT_FOR_A_WEEK


async def test_the_key_of_a_deleted_upload_makes_no_new_one_as_long_as_the_tombstone_stands(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(1000)

    async def send() -> tuple[int, str | None]:
        answer = await gateway.send(session, data, params={"name": "a.svs"}, headers={"Idempotency-Key": "k"})
        return answer.status, answer.json.get("image")

    _, image = await send()
    await gateway.ask("DELETE", f"/api/v1/images/{image}")
    await gateway.gateway.removing.settled()
    refused = await send()
    await look_after(gateway, KEPT)

    assert refused == (410, None)
    assert await send() == (201, image)
    await look_after(gateway, 2 * KEPT)
    assert len(await gateway.images(session)) == 1


async def test_a_cancelled_upload_goes_from_every_collection_in_the_end(gateway: Served) -> None:
    session = await gateway.session()
    id = (await gateway.send(session, slide(MIB), (0, MIB, 2 * MIB), params={"name": "a.svs"})).json["_id"]

    await gateway.ask("DELETE", f"/api/v1/sessions/{session}/files/{id}")
    await gateway.gateway.removing.settled()
    after = await left(gateway, files=(id,))
    await look_after(gateway, KEPT)

    assert after == LEFT_FOR_A_WEEK
    assert await left(gateway, files=(id,)) == set()
