"""The event stream of a session."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import aiohttp

from services.upload.models import ImageProgress
from services.upload.watching import Watching
from shared.store.documents.versions import VersionId
from shared.store.memory import MemoryStore
from tests.gateway.conftest import ADMIN, MIB, Served, slide


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    async with asyncio.timeout(10):
        event = b""
        while True:
            line = (await response.content.readline()).rstrip(b"\n")
            if line.startswith(b"event: "):
                event = line.removeprefix(b"event: ")
            elif line.startswith(b"data: "):
                return event.decode(), dict(json.loads(line.removeprefix(b"data: ")))


async def next_image(response: aiohttp.ClientResponse) -> dict[str, Any]:
    name, data = await next_event(response)
    assert name == "image"
    return data


async def test_a_stream_begins_with_every_image_and_goes_on_with_what_changes(gateway: Served) -> None:
    session = await gateway.session()
    sent = [
        (await gateway.send(session, slide(MIB, n), (0, MIB, 2 * MIB), params={"name": f"{n}.svs"})).json
        for n in range(2)
    ]
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with gateway.client.get(f"{gateway.url}/api/v1/sessions/{session}/events", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        snapshot = [await next_image(response) for _ in range(2)]
        await gateway.send(session, slide(MIB, 9), (MIB, 2 * MIB, 2 * MIB), params={"_id": sent[1]["_id"]})
        changed = await next_image(response)
        while changed["state"] == "uploading":
            changed = await next_image(response)

    assert {image["id"] for image in snapshot} == {answer["image"] for answer in sent}
    assert [(image["stage"], image["done"], image["total"]) for image in snapshot] == [("upload", MIB, 2 * MIB)] * 2
    ImageProgress.model_validate(snapshot[0])
    assert (changed["id"], changed["state"], changed["stage"]) == (sent[1]["image"], "dicing", "dice")


async def test_a_stream_ends_when_the_gateway_stops(gateway: Served) -> None:
    session = await gateway.session()
    await gateway.send(session, slide(1000), params={"name": "a.svs"})
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with gateway.client.get(f"{gateway.url}/api/v1/sessions/{session}/events", headers=headers) as response:
        await next_image(response)
        gateway.gateway.watching.close()
        async with asyncio.timeout(10):
            assert (await response.content.read()).strip() == b""


async def test_everybody_who_watches_a_session_shares_one_look() -> None:
    store = MemoryStore()
    looks = 0
    find = store.versions.find

    async def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal looks
        looks += 1
        return await find(*arguments, **named)

    store.versions.find = counted  # type: ignore[method-assign]
    watching = Watching(store, every=3600)
    streams = [watching.follow("s") for _ in range(20)]

    told = await asyncio.gather(*(anext(stream) for stream in streams))
    assert [news.images for news in told] == [[]] * 20
    assert looks == 1
    for stream in streams:
        await stream.aclose()


async def test_a_watcher_who_comes_later_sees_everything_too(gateway: Served) -> None:
    session = await gateway.session()
    image = (await gateway.send(session, slide(1000), params={"name": "a.svs"})).json["image"]
    watching = Watching(gateway.store, every=0.01)
    early, late = watching.follow(session), watching.follow(session)
    try:
        seen = [await anext(early)]
        await gateway.store.versions.update(
            VersionId(image=image, n=1), set={"stages.dice.done": 5, "updated": gateway.gateway.clock.now()}
        )
        async with asyncio.timeout(10):
            seen += [await anext(early), await anext(late)]
    finally:
        await early.aclose()
        await late.aclose()

    assert [(image["id"], image["done"]) for news in seen for image in news.images] == [
        (image, 0),
        (image, 5),
        (image, 5),
    ]


async def test_what_changes_after_the_clock_was_set_back_is_told_too(gateway: Served) -> None:
    session = await gateway.session()
    image = (await gateway.send(session, slide(1000), params={"name": "a.svs"})).json["image"]
    watching = Watching(gateway.store, every=0.01)
    stream = watching.follow(session)
    try:
        await anext(stream)
        earlier = gateway.gateway.clock.now() - timedelta(hours=3)
        await gateway.store.versions.update(
            VersionId(image=image, n=1), set={"stages.dice.done": 5, "updated": earlier}
        )
        async with asyncio.timeout(10):
            (told,) = (await anext(stream)).images
    finally:
        await stream.aclose()

    assert (told["id"], told["done"]) == (image, 5)


async def test_a_deleted_image_is_not_told_to_those_who_come_later(gateway: Served) -> None:
    session = await gateway.session()
    kept, gone = [
        (await gateway.send(session, slide(MIB, n), (0, MIB, 2 * MIB), params={"name": f"{n}.svs"})).json
        for n in range(2)
    ]
    headers = {"Authorization": f"Bearer {ADMIN}"}
    address = f"{gateway.url}/api/v1/sessions/{session}/events"
    async with gateway.client.get(address, headers=headers) as early:
        assert {(await next_image(early))["id"] for _ in range(2)} == {kept["image"], gone["image"]}
        assert (await gateway.ask("DELETE", f"/api/v1/sessions/{session}/files/{gone['_id']}")).status == 204
        async with gateway.client.get(address, headers=headers) as late:
            told = [await next_image(late)]
            await gateway.send(session, slide(MIB, 9), (MIB, 2 * MIB, 2 * MIB), params={"_id": kept["_id"]})
            while told[-1]["state"] == "uploading":
                told.append(await next_image(late))

    assert {image["id"] for image in told} == {kept["image"]}


async def test_everybody_is_told_what_is_deleted_and_then_that_the_session_is(gateway: Served) -> None:
    session = await gateway.session()
    images = [
        (await gateway.send(session, slide(1000, n), params={"name": f"{n}.svs"})).json["image"] for n in range(3)
    ]
    headers = {"Authorization": f"Bearer {ADMIN}"}
    address = f"{gateway.url}/api/v1/sessions/{session}/events"
    async with (
        gateway.client.get(address, headers=headers) as first,
        gateway.client.get(address, headers=headers) as second,
    ):
        for response in (first, second):
            assert {(await next_image(response))["id"] for _ in range(3)} == set(images)
        assert (await gateway.ask("DELETE", f"/api/v1/images/{images[1]}")).status == 204
        told = [await next_event(response) for response in (first, second)]
        assert (await gateway.ask("DELETE", f"/api/v1/sessions/{session}")).status == 204
        rest: list[tuple[str, dict[str, Any]]] = []
        while not rest or rest[-1][0] != "gone":
            rest.append(await next_event(first))
        async with asyncio.timeout(10):
            assert await first.content.read() == b"\n"

    assert told == [("removed", {"id": images[1]})] * 2
    assert rest[-1] == ("gone", {"id": session})
    assert all(event == ("removed", {"id": event[1]["id"]}) for event in rest[:-1])


async def test_silence_is_broken_by_a_heartbeat() -> None:
    watching = Watching(MemoryStore(), every=3600, heartbeat=0.01)
    stream = watching.follow("s")

    async with asyncio.timeout(10):
        told = [await anext(stream) for _ in range(3)]
    assert [news.images for news in told] == [[], [], []]
    await stream.aclose()
