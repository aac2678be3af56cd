"""The tus protocol's extensions, and what the server says that it can do."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from services.sync.expiry import expire
from services.upload.app import BYTES_IN_FLIGHT
from services.upload.proving import PROVEN_RANGE
from shared.blobs.pieces import tail_of
from shared.blobs.seal import IDLE
from shared.clock import ManualClock
from tests.gateway.conftest import ANNA, MIB, Served, look_after, sha256, slide
from tests.gateway.tus import ADDRESS, MEDIA, ask, begin, create, id_of, offset_of, patch

PARTIAL = {"Upload-Concat": "partial", "Upload-Metadata": ""}


def checksum(algorithm: str, data: bytes) -> dict[str, str]:
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"}


async def test_the_server_says_what_it_can_do(gateway: Served) -> None:
    place = await begin(gateway, await gateway.session(), 10)

    for address in (ADDRESS, place):
        answer = await gateway.ask("OPTIONS", address)

        assert (answer.status, answer.headers["Tus-Version"], answer.headers["Tus-Resumable"]) == (
            204,
            "1.0.0",
            "1.0.0",
        )
        assert answer.headers["Tus-Extension"].split(",") == [
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "checksum",
            "termination",
            "expiration",
            "concatenation",
        ]
        assert answer.headers["Tus-Checksum-Algorithm"] == "md5,sha1,sha256"
        assert answer.headers["Tus-Max-Size"] == str(100 * 2**30)


# Beginnings


@pytest.mark.parametrize("late", [False, True], ids=["told at once", "seen late"])
async def test_a_file_that_is_stored_already_is_done_without_its_bytes(gateway: Served, late: bool) -> None:
    session = await gateway.session()
    data = slide(MIB)
    claim = {"sha256": sha256(data)}
    await patch(gateway, await begin(gateway, session, MIB, said=claim), 0, data)
    headers = {"Content-Type": MEDIA} if late else {}
    body: dict[str, Any] = {"data": data} if late else {}

    again = await create(gateway, session, MIB, said={**claim, "filename": "again.svs"}, headers=headers, **body)
    place = again.headers["Location"]
    # Clients that do not look at the offset that the creation answers begin with the first byte.
    patched = await patch(gateway, place, 0, data)

    assert (again.status, again.headers["Upload-Offset"]) == (201, str(MIB))
    assert (patched.status, patched.headers["Upload-Offset"]) == (204, str(MIB))
    assert await offset_of(gateway, place) == MIB
    assert await gateway.blobs.chunks(id_of(place)) == []
    images = {image["name"]: image for image in await gateway.images(session)}
    assert {image["sha256"] for image in images.values()} == {sha256(data)}
    assert {name: image["state"] for name, image in images.items()} == {"kidney 7.svs": "dicing", "again.svs": "dicing"}
    assert len(await gateway.published()) == 2


async def test_a_file_of_somebody_else_is_not_known(gateway: Served) -> None:
    data = slide(MIB)
    claim = {"sha256": sha256(data)}
    await patch(gateway, await begin(gateway, await gateway.session(), MIB, said=claim), 0, data)

    annas = await create(gateway, await gateway.session(ANNA), MIB, token=ANNA, said=claim)

    assert (annas.status, "Upload-Offset" in annas.headers) == (201, False)
    assert await offset_of(gateway, annas.headers["Location"]) == 0


async def test_a_creation_repeated_with_its_key_makes_one_upload(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(1000)
    key = {"Idempotency-Key": "key 1"}

    first = await create(gateway, session, 1000, headers=key)
    place = first.headers["Location"]
    await patch(gateway, place, 0, data[:300])
    again = await create(gateway, session, 1000, headers={**key, "Content-Type": MEDIA}, data=data)
    other = await create(gateway, session, 1000, headers=key, said={"filename": "other.svs"})
    last = await patch(gateway, place, 300, data[300:])
    after = await create(gateway, session, 1000, headers=key)

    assert (again.status, again.headers["Location"], again.headers["Upload-Offset"]) == (201, place, "300")
    assert other.status == 422
    assert last.status == 204
    assert (after.headers["Location"], after.headers["Upload-Offset"]) == (place, "1000")
    assert len(await gateway.images(session)) == 1


# Methods


async def test_other_methods_can_be_sent_as_post(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, MIB)
    sent = {"Content-Type": MEDIA, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}

    patched = await ask(gateway, "POST", place, headers=sent, data=data[:1000])
    asked = await ask(gateway, "POST", place, headers={"X-HTTP-Method-Override": "HEAD"})
    unsafe = await ask(gateway, "HEAD", place, headers={"X-HTTP-Method-Override": "DELETE"})
    deleted = await ask(gateway, "POST", place, headers={"X-HTTP-Method-Override": "DELETE"})

    assert (patched.status, patched.headers["Upload-Offset"]) == (204, "1000")
    assert (asked.status, asked.headers["Upload-Offset"]) == (200, "1000")
    assert (unsafe.status, unsafe.headers["Upload-Offset"]) == (200, "1000")
    assert deleted.status == 204
    assert (await ask(gateway, "HEAD", place)).status == 410


async def test_what_an_address_does_not_take_is_said(gateway: Served) -> None:
    place = await begin(gateway, await gateway.session(), 10)

    answers = [
        await ask(gateway, "POST", place),
        await ask(gateway, "POST", ADDRESS, headers={"X-HTTP-Method-Override": "DELETE"}),
        await ask(gateway, "GET", place),
    ]

    assert [answer.status for answer in answers] == [405, 405, 405]
    assert "PATCH" in answers[0].headers["Allow"]
    assert answers[1].headers["Allow"] == "POST, OPTIONS"


# Checksum


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
async def test_a_step_with_its_checksum_is_stored_and_one_with_another_leaves_nothing(
    gateway: Served, algorithm: str
) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    place = await begin(gateway, session, len(data))

    first = await patch(gateway, place, 0, data[:1000], headers=checksum(algorithm, data[:1000]))
    wrong = await patch(gateway, place, 1000, data[1000 : 2 * MIB], headers=checksum(algorithm, data[: 2 * MIB]))
    after = await offset_of(gateway, place)
    held = await gateway.gateway.intake.ending.held(await gateway.upload(id_of(place)))
    none = await patch(gateway, place, 1000, b"", headers=checksum(algorithm, b""))
    other = await patch(gateway, place, 1000, b"", headers=checksum(algorithm, b"other"))
    right = await patch(gateway, place, 1000, data[1000:], headers=checksum(algorithm, data[1000:]))

    assert [answer.status for answer in (first, wrong, none, other, right)] == [204, 460, 204, 460, 204]
    assert (after, held) == (1000, [(0, 1000)])
    assert wrong.json["title"] == "Checksum Mismatch"
    assert algorithm in wrong.json["detail"]
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)
    assert gateway.gateway.intake.budget.free == BYTES_IN_FLIGHT


async def test_a_first_step_with_a_wrong_checksum_leaves_no_upload(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(1000)

    wrong = await create(gateway, session, 1000, headers={"Content-Type": MEDIA, **checksum("md5", b"")}, data=data)
    right = await create(gateway, session, 1000, headers={"Content-Type": MEDIA, **checksum("md5", data)}, data=data)

    assert (wrong.status, right.status) == (460, 201)
    assert len(await gateway.images(session)) == 1


async def test_a_checksum_needs_a_length_that_fits_in_memory(gateway: Served) -> None:
    session = await gateway.session()
    place = await begin(gateway, session, 10**9)
    data = slide(PROVEN_RANGE + 1)

    async def pieces() -> AsyncIterator[bytes]:
        yield data[:1000]

    large = await patch(gateway, place, 0, data, headers=checksum("md5", data))
    unknown = await patch(gateway, place, 0, pieces(), headers=checksum("md5", data[:1000]))

    assert (large.status, unknown.status) == (413, 411)
    assert await offset_of(gateway, place) == 0


# Termination and expiration


async def test_a_terminated_upload_is_gone_with_all_its_bytes(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:300_001])

    answers = [await ask(gateway, "DELETE", place), await ask(gateway, "DELETE", place)]

    assert [answer.status for answer in answers] == [204, 204]
    assert (await ask(gateway, "HEAD", place)).status == 410
    assert (await patch(gateway, place, 300_001, data[300_001:])).status == 410
    assert await gateway.images(session) == []
    assert await gateway.blobs.chunks(tail_of(id_of(place))) == []


async def test_a_whole_file_is_not_terminated(gateway: Served) -> None:
    session = await gateway.session()
    place = await begin(gateway, session, 1000)
    await patch(gateway, place, 0, slide(1000))

    answer = await ask(gateway, "DELETE", place)

    assert answer.status == 409
    assert len(await gateway.images(session)) == 1


async def test_an_upload_says_when_it_expires_and_then_does(gateway: Served) -> None:
    session = await gateway.session()
    made = await create(gateway, session, 10**6)
    place = made.headers["Location"]
    step = await patch(gateway, place, 0, slide(1000))
    told = parsedate_to_datetime(step.headers["Upload-Expires"])
    part = await begin(gateway, session, 10, headers=PARTIAL)
    await patch(gateway, part, 0, slide(10))

    async def tick(hours: timedelta) -> int:
        clock = ManualClock(gateway.gateway.clock.now() + hours)
        return await expire(gateway.store, gateway.blobs, gateway.bus, database="slidemill", limit=10, clock=clock)

    early, late = await tick(IDLE - timedelta(minutes=1)), await tick(IDLE + timedelta(minutes=1))

    expected = (await gateway.upload(id_of(place))).created + IDLE
    assert abs(told - expected) < timedelta(seconds=30)
    assert parsedate_to_datetime(made.headers["Upload-Expires"]) <= told
    assert (early, late) == (0, 2)
    assert [(await ask(gateway, "HEAD", there)).status for there in (place, part)] == [410, 410]
    assert await gateway.blobs.chunks(id_of(part)) == []
    (image,) = await gateway.images(session)
    assert image["state"] == "failed"


# Concatenation


async def parts_of(gateway: Served, data: bytes, *cuts: int) -> list[str]:
    """The addresses of whole partial uploads, without name and session as tus-js-client makes them."""
    places = []
    for start, stop in zip((0, *cuts), (*cuts, len(data)), strict=True):
        places.append(await begin(gateway, "", stop - start, headers=PARTIAL))
        if start < stop:
            answer = await patch(gateway, places[-1], 0, data[start:stop])
            assert answer.status == 204, answer.text
    return places


async def join(gateway: Served, session: str, *parts: str, **arguments: Any) -> tuple[int, str]:
    headers = {"Upload-Concat": "final;" + " ".join(parts)}
    answer = await create(gateway, session, None, headers=headers, **arguments)
    return answer.status, answer.headers.get("Location", "")


@pytest.mark.parametrize(
    "cuts", [(MIB,), (5 * MIB, 5 * MIB, 7 * MIB + 1), (100, 9 * MIB)], ids=["two", "an empty one", "odd"]
)
async def test_parts_make_one_file_and_no_image_before(gateway: Served, cuts: tuple[int, ...]) -> None:
    session = await gateway.session()
    data = slide(9 * MIB + 123)
    parts = await parts_of(gateway, data, *cuts)
    before = [list(await gateway.published()), await gateway.images(session), await gateway.store.images.count({})]

    status, place = await join(
        gateway, session, *(f"https://slides.example{part}" for part in parts), said={"sha256": sha256(data)}
    )

    assert before == [[], [], 0]
    assert status == 201
    answer = await ask(gateway, "HEAD", place)
    assert (answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == (str(len(data)), str(len(data)))
    assert answer.headers["Upload-Concat"] == "final;" + " ".join(parts)
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)
    assert [event.type for event in await gateway.published()] == ["slidemill.file-complete.v1"]
    (image,) = await gateway.images(session)
    assert (image["state"], image["name"], image["length"]) == ("dicing", "kidney 7.svs", len(data))
    assert (await patch(gateway, place, len(data), b"")).status == 403


async def test_parts_come_at_once_and_tell_what_they_are(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    places = [await begin(gateway, "", MIB, headers=PARTIAL) for _ in range(2)]

    answers = await asyncio.gather(*(patch(gateway, place, 0, data[n * MIB :][:MIB]) for n, place in enumerate(places)))
    told = await ask(gateway, "HEAD", places[0])
    status, place = await join(gateway, session, *places)

    assert [answer.status for answer in answers] == [204, 204]
    assert (told.headers["Upload-Concat"], told.headers["Upload-Offset"]) == ("partial", str(MIB))
    assert status == 201
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_a_part_of_unknown_length_can_be_joined_once_it_is_known(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(1000)
    place = await begin(gateway, "", None, headers={**PARTIAL, "Upload-Defer-Length": "1"})
    await patch(gateway, place, 0, data)
    early, _ = await join(gateway, session, place)

    await patch(gateway, place, 1000, b"", headers={"Upload-Length": "1000"})
    status, whole = await join(gateway, session, place)

    assert (early, status) == (409, 201)
    assert (await gateway.upload(id_of(whole))).sha256 == sha256(data)


async def test_what_is_no_whole_part_of_ones_own_is_not_joined(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2000)
    (part,) = await parts_of(gateway, data)
    unfinished = await begin(gateway, "", 10, headers=PARTIAL)
    file = await begin(gateway, session, 10)
    annas = await gateway.session(ANNA)
    foreign, _ = await join(gateway, annas, part, token=ANNA)

    statuses = [
        (await join(gateway, session, part, other))[0]
        for other in (unfinished, file, ADDRESS + "0" * 32, ADDRESS + "x", "http://[", "/elsewhere")
    ]
    body = await create(
        gateway, session, None, headers={"Upload-Concat": f"final;{part}", "Content-Type": MEDIA}, data=data
    )
    length = await create(gateway, session, 2000, headers={"Upload-Concat": f"final;{part}"})

    assert statuses == [409, 400, 404, 400, 400, 400]
    assert foreign == 404
    assert (body.status, length.status) == (415, 400)
    assert await gateway.images(session) == []


async def test_parts_of_what_no_reader_can_take_are_seen_as_failed(gateway: Served) -> None:
    session = await gateway.session()
    parts = await parts_of(gateway, b"Rar!" + bytes(1000), 2)

    status, _ = await join(gateway, session, *parts, said={"filename": "slides.rar"})

    assert status == 415
    (image,) = await gateway.images(session)
    assert (image["state"], "archive" in image["failure"]["reason"]) == ("failed", True)


async def test_what_a_dead_gateway_had_half_joined_is_joined_by_another(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(9 * MIB)
    parts = await parts_of(gateway, data, 3 * MIB)
    _, place = await join(gateway, session, *parts)
    # As it was when a gateway died that had stored one chunk and noted it.
    id = id_of(place)
    await gateway.published()
    upload = await gateway.upload(id)
    gateway.bus.broker.journal.clear()
    await gateway.store.versions.delete({"_id.image": upload.image})
    await gateway.blobs.delete(id)
    half = {"state": "receiving", "stored": 4 * MIB, "announced": False, "md5": None, "sha256": None}
    await gateway.store.uploads.update(id, set=half)
    await gateway.blobs.create(id, name="kidney 7.svs", chunk=upload.chunk, refs=())
    await gateway.blobs.put_chunk(id, 0, data[: 4 * MIB])

    before = await ask(gateway, "HEAD", place)
    await look_after(gateway, timedelta(seconds=60))

    assert (before.status, "Upload-Offset" in before.headers) == (200, False)
    assert before.headers["Upload-Length"] == str(len(data))
    assert (await ask(gateway, "HEAD", place)).headers["Upload-Offset"] == str(len(data))
    upload = await gateway.upload(id)
    assert (upload.state, upload.sha256, upload.announced) == ("complete", sha256(data), True)


async def test_a_file_whose_part_has_gone_meanwhile_fails(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    parts = await parts_of(gateway, data, MIB)
    _, place = await join(gateway, session, *parts)
    upload = await gateway.upload(id_of(place))
    await gateway.published()
    await gateway.store.versions.update({"image": upload.image, "n": 1}, set={"state": "uploading"})
    await gateway.blobs.delete(upload.id)
    await gateway.store.uploads.update(upload.id, set={"state": "receiving", "stored": 0})
    await ask(gateway, "DELETE", parts[1])

    await look_after(gateway, timedelta(seconds=60))

    (image,) = await gateway.images(session)
    assert (image["state"], image["failure"]["stage"]) == ("failed", "upload")
    assert (await ask(gateway, "HEAD", place)).status == 422
