"""What a gateway finds that another one left behind when it died."""

from datetime import timedelta

import pytest

from shared.events import FileComplete
from shared.stages.moving import appear
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import VersionId
from tests.gateway.conftest import MIB, Served, look_after, md5, slide


async def test_what_the_broker_missed_is_announced_later(gateway: Served) -> None:
    session = await gateway.session()
    gateway.bus.broken = True
    id = (await gateway.send(session, slide(1000), params={"name": "a.svs"})).json["_id"]
    await gateway.published()
    gateway.bus.broken = False

    await look_after(gateway, timedelta(seconds=60))

    assert isinstance((await gateway.published())[0], FileComplete)
    assert (await gateway.upload(id)).announced


@pytest.mark.parametrize("stored", [0, MIB], ids=["last byte not noted", "last byte noted"])
@pytest.mark.parametrize("there", [[], ["image"], ["image", "version"]], ids="-".join)
async def test_a_gateway_that_died_at_any_moment_after_the_last_byte_is_finished_for(
    gateway: Served, stored: int, there: list[str]
) -> None:
    session = await gateway.session()
    data = slide(MIB)
    now = gateway.gateway.clock.now()
    upload = Upload(
        id="5" * 32,
        session=session,
        image="6" * 32,
        version=1,
        owner="a" * 32,
        name="a.svs",
        total=MIB,
        chunk=4 * MIB,
        stored=stored,
        created=now,
        updated=now,
    )
    await gateway.store.uploads.insert(upload)
    await gateway.blobs.create(upload.id, name="a.svs", chunk=upload.chunk, refs=("6" * 32 + ":1",))
    await gateway.blobs.put_chunk(upload.id, 0, data)
    await appear(gateway.store, upload, gateway.gateway.clock)
    if "version" not in there:
        await gateway.store.versions.take(VersionId(image=upload.image, n=1))
    if "image" not in there:
        await gateway.store.images.take(upload.image)

    await look_after(gateway, timedelta(seconds=30))

    (image,) = await gateway.images(session)
    assert (image["id"], image["state"], image["md5"]) == ("6" * 32, "dicing", md5(data))
    assert any(isinstance(event, FileComplete) for event in await gateway.published())


async def test_an_upload_that_is_not_whole_is_left_alone(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]

    await look_after(gateway, timedelta(seconds=30))

    assert (await gateway.upload(id)).state == "receiving"
    assert await gateway.published() == []
