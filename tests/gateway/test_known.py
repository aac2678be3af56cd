"""Files that are stored already are not sent again."""

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from services.upload.relay import STALE
from shared.blobs.pieces import tail_of
from shared.events import FileComplete
from shared.store.documents.versions import VersionId
from tests.gateway.conftest import ANNA, MIB, Answer, Served, look_after, md5, sha256, slide

DATA = slide(2 * MIB)


async def offer(
    gateway: Served, session: str, data: bytes = DATA, said: dict[str, str] | None = None, **arguments: Any
) -> Answer:
    params = {"name": "again.svs", "sha256": sha256(data)} if said is None else said
    headers = {"Content-Range": f"bytes */{len(data)}", **arguments.pop("headers", {})}
    return await gateway.send(session, b"", params=params, headers=headers, **arguments)


async def sent(gateway: Served, session: str, **arguments: Any) -> tuple[str, str]:
    """(upload, image) of the file, sent whole."""
    answer = await gateway.send(session, DATA, params={"name": "a.svs"}, **arguments)
    assert answer.json["state"] == "complete"
    return answer.json["_id"], answer.json["image"]


async def test_a_known_file_is_complete_at_once_and_shares_the_stored_bytes(gateway: Served) -> None:
    session = await gateway.session()
    file, image = await sent(gateway, await gateway.session(title="Another case"))

    answer = await offer(gateway, session)

    id = answer.json["_id"]
    assert answer.status == 201
    assert answer.json == {
        "_id": id,
        "image": answer.json["image"],
        "start": 0,
        "end": len(DATA) - 1,
        "total": len(DATA),
        "done": True,
        "md5": md5(DATA),
        "sha256": sha256(DATA),
        "hashed": len(DATA),
        "state": "complete",
    }
    assert answer.json["image"] != image
    (shown,) = await gateway.images(session)
    assert (shown["id"], shown["name"], shown["state"]) == (answer.json["image"], "again.svs", "dicing")
    assert (shown["length"], shown["sha256"], shown["md5"]) == (len(DATA), sha256(DATA), md5(DATA))
    assert shown["stages"]["upload"]["done"] == shown["stages"]["upload"]["total"] == len(DATA)
    assert await gateway.blobs.chunks(id) == []
    version = await gateway.store.versions.get(VersionId(image=shown["id"], n=1))
    assert version is not None
    assert version.file == file
    events = [event for event in await gateway.published() if isinstance(event, FileComplete)]
    assert [(event.image, event.file) for event in events] == [(image, file), (shown["id"], file)]
    assert (await gateway.status(session, id))["ranges"] == [{"start": 0, "end": len(DATA) - 1}]


async def test_the_digest_may_come_as_a_header(gateway: Served) -> None:
    session = await gateway.session()
    await sent(gateway, session)
    digest = base64.b64encode(hashlib.sha256(DATA).digest()).decode()

    answer = await offer(gateway, session, said={"name": "b.svs"}, headers={"Repr-Digest": f"sha-256=:{digest}:"})

    assert (answer.status, answer.json["done"]) == (201, True)


async def test_an_unknown_file_is_sent_as_ever_after_the_offer(gateway: Served) -> None:
    session = await gateway.session()
    key = {"Idempotency-Key": "k"}

    refused = await offer(gateway, session, headers=key)
    nothing = await gateway.images(session), await gateway.store.uploads.count({})
    first = await gateway.send(
        session, DATA[:MIB], (0, MIB, len(DATA)), params={"name": "again.svs", "sha256": sha256(DATA)}, headers=key
    )
    asked = await offer(gateway, session, headers=key)

    assert (refused.status, refused.json["known"]) == (404, False)
    assert nothing == ([], 0)
    assert first.status == 201
    assert (asked.status, asked.json["known"], asked.json["_id"]) == (404, False, first.json["_id"])


async def test_the_same_offer_twice_makes_one_image(gateway: Served) -> None:
    session = await gateway.session()
    await sent(gateway, await gateway.session())

    answers = await asyncio.gather(*(offer(gateway, session, headers={"Idempotency-Key": "k"}) for _ in range(4)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["_id"] for answer in answers}) == 1
    assert len(await gateway.images(session)) == 1


@pytest.mark.parametrize("by", ["id", "key"])
async def test_bytes_that_come_for_a_known_file_are_compared_and_not_stored(gateway: Served, by: str) -> None:
    session = await gateway.session()
    await sent(gateway, session)
    key = {"Idempotency-Key": "k"}
    id = (await offer(gateway, session, headers=key)).json["_id"]
    said = {"_id": id} if by == "id" else {"name": "again.svs"}

    part, headers = (0, MIB, len(DATA)), key if by == "key" else {}
    same = await gateway.send(session, DATA[:MIB], part, params=said, headers=headers)
    other = await gateway.send(session, slide(MIB, seed=2), part, params=said, headers=headers)

    assert (same.status, same.json["_id"], same.json["done"]) == (200 if by == "id" else 201, id, True)
    assert other.status == 409
    assert await gateway.blobs.chunks(id) == []
    assert await gateway.blobs.info(id) is None
    assert len(await gateway.images(session)) == 2


@pytest.mark.parametrize("first", ["original", "copy"])
async def test_deleting_one_leaves_the_other_and_the_last_takes_the_file(gateway: Served, first: str) -> None:
    session = await gateway.session()
    file, original = await sent(gateway, session)
    answer = await offer(gateway, session)
    images = {"original": original, "copy": answer.json["image"]}
    one, other = images.pop(first), next(iter(images.values()))

    await gateway.ask("DELETE", f"/api/v1/images/{one}")
    await gateway.gateway.removing.settled()

    assert md5(await gateway.blobs.read(file, 0, len(DATA))) == md5(DATA)
    third = await offer(gateway, session)
    assert third.status == 201
    for image in (other, third.json["image"]):
        assert await gateway.blobs.info(file) is not None
        await gateway.ask("DELETE", f"/api/v1/images/{image}")
        await gateway.gateway.removing.settled()
    assert await gateway.blobs.info(file) is None
    assert await gateway.blobs.chunks(file) == []
    assert (await offer(gateway, session)).status == 404


async def test_a_file_that_only_somebody_else_has_is_not_known(gateway: Served) -> None:
    hers, mine = await gateway.session(ANNA), await gateway.session()
    await sent(gateway, hers, token=ANNA)

    assert (await offer(gateway, mine)).status == 404


async def test_an_administrator_moves_no_file_to_another_account(gateway: Served) -> None:
    """What an administrator sees does not count: the file must be the session owner's own."""
    hers, mine = await gateway.session(ANNA), await gateway.session()
    await sent(gateway, mine)

    from_mine = await offer(gateway, hers)
    await sent(gateway, hers, token=ANNA)
    from_hers = await offer(gateway, hers)

    assert (from_mine.status, from_hers.status) == (404, 201)


@pytest.mark.parametrize("other", [{"length": 1}, {"md5": "0" * 32}, {"sha256": "0" * 64}])
async def test_another_length_or_digest_is_another_file(gateway: Served, other: dict[str, Any]) -> None:
    session = await gateway.session()
    await sent(gateway, session)
    said = {"name": "b.svs", "sha256": other.get("sha256", sha256(DATA)), "md5": other.get("md5", md5(DATA))}
    total = len(DATA) - other.get("length", 0)

    answer = await gateway.send(session, b"", params=said, headers={"Content-Range": f"bytes */{total}"})

    assert answer.status == 404


@pytest.mark.parametrize("wrong", ["no digest", "body", "id"])
async def test_an_offer_that_is_none_is_refused(gateway: Served, wrong: str) -> None:
    session = await gateway.session()
    id, _ = await sent(gateway, session)
    said = {"name": "b.svs"} | ({"sha256": sha256(DATA)} if wrong != "no digest" else {})
    said |= {"_id": id} if wrong == "id" else {}

    answer = await gateway.send(
        session,
        b"bytes" if wrong == "body" else b"",
        params=said,
        headers={"Content-Range": f"bytes */{len(DATA)}"},
    )

    assert answer.status == 400
    assert len(await gateway.images(session)) == 1


async def test_an_offer_while_the_file_is_deleted_is_whole_or_unknown(gateway: Served) -> None:
    session = await gateway.session()
    outcomes = set()
    for _ in range(12):
        file, image = await sent(gateway, session)

        answer, _ = await asyncio.gather(offer(gateway, session), gateway.ask("DELETE", f"/api/v1/images/{image}"))
        await gateway.gateway.removing.settled()

        outcomes.add(answer.status)
        if answer.status == 201:
            assert md5(await gateway.blobs.read(file, 0, len(DATA))) == md5(DATA)
            await gateway.ask("DELETE", f"/api/v1/images/{answer.json['image']}")
            await gateway.gateway.removing.settled()
        assert await gateway.images(session) == []
        assert await gateway.blobs.info(file) is None
        assert await gateway.blobs.chunks(file) == []
        assert await gateway.blobs.info(tail_of(file)) is None
    assert outcomes <= {201, 404}


async def test_an_offer_whose_gateway_died_before_the_file_was_deleted_leaves_nothing(gateway: Served) -> None:
    session = await gateway.session()
    file, image = await sent(gateway, session)
    half = (await gateway.upload(file)).model_copy(
        update={"id": "5" * 32, "image": "6" * 32, "state": "verifying", "file": file, "announced": False}
    )
    await gateway.ask("DELETE", f"/api/v1/images/{image}")
    await gateway.gateway.removing.settled()
    await gateway.store.uploads.insert(half)

    await look_after(gateway, gateway.gateway.clock.now() - half.updated + 2 * STALE)

    assert await gateway.store.uploads.get(half.id) is None
    assert await gateway.images(session) == []
