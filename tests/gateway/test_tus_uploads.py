"""The tus protocol's core and creation, as clients speak it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.upload.app import BYTES_IN_FLIGHT
from shared.errors import Unavailable
from shared.events import FileComplete
from tests.gateway.conftest import ANNA, MIB, Served, md5, serve, sha256, slide
from tests.gateway.tus import ADDRESS, MEDIA, ask, begin, create, id_of, metadata, offset_of, patch


async def test_a_file_sent_in_steps_is_stored_verified_and_announced(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB + MIB // 2)

    made = await create(gateway, session, len(data), said={"folder": "run 12/case 1"})
    place = made.headers["Location"]
    nothing = await gateway.images(session)
    first = await patch(gateway, place, 0, data[:MIB])
    (seen,) = await gateway.images(session)
    second = await patch(gateway, place, MIB, data[MIB : 2 * MIB])
    last = await patch(gateway, place, 2 * MIB, data[2 * MIB :])

    assert (made.status, first.status, second.status, last.status) == (201, 204, 204, 204)
    assert [answer.headers["Upload-Offset"] for answer in (first, second, last)] == ["1048576", "2097152", "2621440"]
    assert {answer.headers["Tus-Resumable"] for answer in (made, first, last)} == {"1.0.0"}
    assert nothing == []
    assert (seen["state"], seen["name"], seen["stages"]["upload"]["done"]) == ("uploading", "kidney 7.svs", MIB)
    (event,) = await gateway.published()
    assert isinstance(event, FileComplete)
    assert (event.file, event.image, event.session, event.name) == (id_of(place), seen["id"], session, "kidney 7.svs")
    assert (event.length, event.md5, event.sha256) == (len(data), md5(data), sha256(data))
    assert md5(await gateway.blobs.read(id_of(place), 0, len(data))) == md5(data)
    (image,) = await gateway.images(session)
    assert (image["state"], image["sha256"], image["folder"]) == ("dicing", sha256(data), "run 12/case 1")


@pytest.mark.parametrize("step", [7, 100_000, 1_500_000, 4_194_319], ids=str)
async def test_steps_of_any_length_make_the_same_file(gateway: Served, step: int) -> None:
    session = await gateway.session()
    data = slide(step * 3 + 5)
    place = await begin(gateway, session, len(data))

    for offset in range(0, len(data), step):
        answer = await patch(gateway, place, offset, data[offset : offset + step])
        assert (answer.status, int(answer.headers["Upload-Offset"])) == (204, min(offset + step, len(data)))

    assert md5(await gateway.blobs.read(id_of(place), 0, len(data))) == md5(data)
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_a_body_of_unknown_length_is_taken_as_it_comes(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(5 * MIB)
    place = await begin(gateway, session, len(data))

    async def pieces() -> AsyncIterator[bytes]:
        for offset in range(0, len(data), 300_000):
            yield data[offset : offset + 300_000]

    answer = await patch(gateway, place, 0, pieces())

    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(len(data)))
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_head_tells_where_to_go_on_and_what_was_said(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:300_001])

    answer = await ask(gateway, "HEAD", place)

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == ("300001", str(MIB))
    assert answer.headers["Upload-Metadata"] == metadata(filename="kidney 7.svs", session=session)
    assert "Upload-Expires" in answer.headers
    await patch(gateway, place, 300_001, data[300_001:])
    done = await ask(gateway, "HEAD", place)
    assert (done.headers["Upload-Offset"], "Upload-Expires" in done.headers) == (str(MIB), False)


async def test_nobody_is_answered_where_to_go_on_while_the_database_is_away(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await gateway.session()
    place = await begin(gateway, session, 2 * MIB)
    await patch(gateway, place, 0, slide(2 * MIB)[:MIB])

    async def away(id: str) -> None:
        raise Unavailable("The database is away.")

    with monkeypatch.context() as patched:
        patched.setattr(gateway.store.uploads, "get", away)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(gateway, "HEAD", place)
        other = await patch(gateway, place, MIB, slide(2 * MIB)[MIB:])

    assert other.status == 503
    assert await offset_of(gateway, place) == MIB


async def test_another_offset_is_refused_and_changes_nothing(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:1000])

    ahead = await patch(gateway, place, 2000, data[2000:3000])
    behind = await patch(gateway, place, 0, data[:1000])

    assert (ahead.status, behind.status) == (409, 409)
    assert "byte 1000" in ahead.json["detail"]
    assert ahead.headers["Tus-Resumable"] == "1.0.0"
    assert await offset_of(gateway, place) == 1000


async def test_no_bytes_at_the_offset_are_welcome_at_the_end_too(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))

    at = []
    for offset, more in ((0, data[:500_000]), (500_000, data[500_000:]), (MIB, b"")):
        at.append(await patch(gateway, place, offset, b""))
        await patch(gateway, place, offset, more)

    assert [(answer.status, answer.headers["Upload-Offset"]) for answer in at] == [
        (204, "0"),
        (204, "500000"),
        (204, "1048576"),
    ]
    assert len(await gateway.published()) == 1


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "unstated"])
async def test_more_than_the_announced_length_is_refused(gateway: Served, stated: bool) -> None:
    session = await gateway.session()
    data = slide(MIB)
    place = await begin(gateway, session, len(data))
    await patch(gateway, place, 0, data[:1000])

    async def unstated() -> AsyncIterator[bytes]:
        yield data[1000:]
        yield b"more"

    answer = await patch(gateway, place, 1000, data[1000:] + b"more" if stated else unstated())

    assert answer.status == (413 if stated else 400)
    assert await offset_of(gateway, place) == 1000
    assert (await patch(gateway, place, 1000, data[1000:])).status == 204
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Tus-Resumable": ""}, 412),
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "1e3"}, 400),
        ({"Upload-Offset": "9" * 30}, 400),
        ({"Upload-Length": "7"}, 400),
        ({"Upload-Checksum": "crc32 AAAA"}, 400),
        ({"Upload-Checksum": "sha1 AAAA"}, 400),
        ({"Upload-Checksum": "sha1"}, 400),
    ],
    ids=str,
)
async def test_a_step_that_can_not_be_understood_changes_nothing(
    gateway: Served, headers: dict[str, str], status: int
) -> None:
    session = await gateway.session()
    place = await begin(gateway, session, 1000)

    answer = await patch(gateway, place, 0, slide(100), headers=headers)

    assert (answer.status, answer.headers["Tus-Resumable"]) == (status, "1.0.0")
    assert answer.json["detail"]
    assert answer.json["remedy"]
    assert answer.headers.get("Tus-Version") == ("1.0.0" if status == 412 else None)
    assert await offset_of(gateway, place) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "2.0.0"}, 412),
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": "ten"}, 400),
        ({"Upload-Defer-Length": "1"}, 400),
        ({"Upload-Defer-Length": "2"}, 400),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": "filename !!!"}, 400),
        ({"Upload-Metadata": "filename YQ==,filename YQ=="}, 400),
        ({"Upload-Metadata": "filename YQ=="}, 400),
        ({"Upload-Metadata": metadata(filename="a.svs", session="0" * 32)}, 404),
        ({"Upload-Metadata": metadata(filename="a.svs", session="x\0y")}, 404),
        ({"Upload-Concat": "whole"}, 400),
        ({"Upload-Concat": "final;"}, 400),
        ({"Content-Type": "text/plain"}, 415),
    ],
    ids=str,
)
async def test_a_creation_that_can_not_be_understood_makes_nothing(
    gateway: Served, headers: dict[str, str], status: int
) -> None:
    session = await gateway.session()
    body: dict[str, Any] = {"data": slide(10)} if "Content-Type" in headers else {}

    answer = await create(gateway, session, 1000, headers=headers, **body)

    assert (answer.status, "Location" in answer.headers) == (status, False)
    assert answer.json["detail"]
    assert answer.json["remedy"]
    assert await gateway.store.uploads.count({}) == 0
    assert await gateway.images(session) == []


async def test_an_upload_needs_a_session_and_a_name(gateway: Served) -> None:
    session = await gateway.session()

    nameless = await create(gateway, session, 10, said={"filename": "\u202e../"})
    homeless = await create(gateway, None, 10)

    assert (nameless.status, homeless.status) == (400, 400)
    assert "filename" in nameless.json["detail"]
    assert "session" in homeless.json["detail"]


async def test_nobody_else_sees_or_touches_an_upload(gateway: Served) -> None:
    session = await gateway.session()
    place = await begin(gateway, session, 1000)

    foreign = await create(gateway, session, 1000, token=ANNA)
    answers = [
        await ask(gateway, "HEAD", place, ANNA),
        await patch(gateway, place, 0, slide(10), ANNA),
        await ask(gateway, "DELETE", place, ANNA),
    ]

    assert (foreign.status, [answer.status for answer in answers]) == (404, [404, 404, 404])
    assert (await ask(gateway, "HEAD", place, None)).status == 401
    assert await offset_of(gateway, place) == 0


async def test_what_is_no_tus_upload_is_not_found_and_each_way_keeps_to_its_own(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    other = (await gateway.send(session, data[:MIB], (0, MIB, 2 * MIB), params={"name": "a.svs"})).json["_id"]
    place = await begin(gateway, session, 2 * MIB)

    mixed = await gateway.send(session, data[:MIB], (0, MIB, 2 * MIB), params={"_id": id_of(place)})

    assert (await ask(gateway, "HEAD", ADDRESS + other)).status == 404
    assert (await ask(gateway, "HEAD", ADDRESS + "0" * 32)).status == 404
    assert mixed.status == 409
    assert await offset_of(gateway, place) == 0


async def test_the_first_bytes_may_come_with_the_creation(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)

    some = await create(gateway, session, MIB, headers={"Content-Type": MEDIA}, data=data[:1000])
    whole = await create(gateway, session, MIB, headers={"Content-Type": MEDIA}, data=data)
    excess = await create(gateway, session, MIB - 1, headers={"Content-Type": MEDIA}, data=data)

    assert (some.status, some.headers["Upload-Offset"]) == (201, "1000")
    assert (whole.status, whole.headers["Upload-Offset"]) == (201, str(MIB))
    assert (await gateway.upload(id_of(whole.headers["Location"]))).sha256 == sha256(data)
    assert (excess.status, "Location" in excess.headers) == (413, False)
    assert len(await gateway.images(session)) == 2


@pytest.mark.parametrize("with_bytes", [True, False], ids=["with the last bytes", "after the last bytes"])
@pytest.mark.parametrize("length", [300, MIB, 4 * MIB + 5], ids=str)
async def test_the_length_may_come_last(gateway: Served, length: int, with_bytes: bool) -> None:
    session = await gateway.session()
    data = slide(length)
    place = await begin(gateway, session, None, headers={"Upload-Defer-Length": "1"})
    told = await ask(gateway, "HEAD", place)
    stop = length - 100 if with_bytes else length

    first = await patch(gateway, place, 0, data[:stop])
    state = (await gateway.upload(id_of(place))).state
    wrong = await patch(gateway, place, stop, b"", headers={"Upload-Length": str(stop - 1)})
    last = await patch(gateway, place, stop, data[stop:], headers={"Upload-Length": str(length)})

    assert (told.headers["Upload-Defer-Length"], "Upload-Length" in told.headers) == ("1", False)
    assert (first.status, state, wrong.status) == (204, "receiving", 400)
    assert (last.status, last.headers["Upload-Offset"]) == (204, str(length))
    upload = await gateway.upload(id_of(place))
    assert (upload.state, upload.total, upload.sha256) == ("complete", length, sha256(data))
    assert len(await gateway.published()) == 1


async def test_a_file_that_is_empty_is_seen_as_failed(gateway: Served) -> None:
    session = await gateway.session()
    place = await begin(gateway, session, None, headers={"Upload-Defer-Length": "1"}, said={"filename": "late.svs"})

    at_once = await create(gateway, session, 0)
    late = await patch(gateway, place, 0, b"", headers={"Upload-Length": "0"})

    assert (at_once.status, late.status) == (422, 422)
    images = {image["name"]: image for image in await gateway.images(session)}
    assert {image["state"] for image in images.values()} == {"failed"}
    assert "0 bytes" in images["late.svs"]["failure"]["reason"]
    assert len(images) == 2


@pytest.mark.parametrize("step", [100, 1_000_000], ids=["a little at a time", "at once"])
async def test_what_no_reader_can_take_is_refused_early_with_the_formats(gateway: Served, step: int) -> None:
    session = await gateway.session()
    data = b"Rar!" + bytes(999_996)
    place = await begin(gateway, session, 10**10, said={"filename": "slides.rar"})

    for offset in range(0, len(data), step):
        answer = await patch(gateway, place, offset, data[offset : offset + step])
        if answer.status != 204:
            break

    assert (answer.status, offset < 600) == (415, True)
    assert "SVS" in answer.json["formats"]
    (image,) = await gateway.images(session)
    assert (image["state"], image["failure"]["stage"]) == ("failed", "upload")
    assert "archive" in image["failure"]["reason"]
    assert await gateway.blobs.chunks(id_of(place)) == []
    assert (await ask(gateway, "HEAD", place)).status == 422
    assert (await patch(gateway, place, 0, b"")).json["detail"] == image["failure"]["reason"]


@pytest.mark.parametrize("digest", ["sha256", "md5"])
async def test_a_file_that_is_not_what_was_announced_fails_with_both_digests(gateway: Served, digest: str) -> None:
    session = await gateway.session()
    data = slide(MIB)
    found = {"sha256": sha256, "md5": md5}[digest]
    claims = {digest: found(b"something else")}
    right = await begin(gateway, session, MIB, said={digest: found(data), "filename": "right.svs"})
    wrong = await begin(gateway, session, MIB, said=claims)
    nonsense = await create(gateway, session, MIB, said={digest: "nonsense"})

    answers = [await patch(gateway, place, 0, data) for place in (right, wrong)]

    assert ([answer.status for answer in answers], nonsense.status) == ([204, 422], 400)
    images = {image["name"]: image for image in await gateway.images(session)}
    assert (images["right.svs"]["state"], images["kidney 7.svs"]["state"]) == ("dicing", "failed")
    reason = images["kidney 7.svs"]["failure"]["reason"]
    assert found(data) in reason
    assert claims[digest] in reason
    assert answers[1].json["detail"] == reason


async def test_an_upload_goes_on_at_another_gateway_at_any_byte(gateway: Served, page: Path) -> None:
    session = await gateway.session()
    data = slide(3 * MIB + 11)
    place = await begin(gateway, session, len(data))

    async for other in serve(gateway.store, gateway.blobs, page):
        offset = 0
        for turn, step in enumerate((700_001, 1_000_000, 3, 600_000, 900_000)):
            answer = await patch((gateway, other)[turn % 2], place, offset, data[offset : offset + step])
            offset = int(answer.headers["Upload-Offset"])

    assert offset == len(data)
    assert (await gateway.upload(id_of(place))).sha256 == sha256(data)


async def test_many_files_arrive_at_once(gateway: Served) -> None:
    session = await gateway.session()
    files = [slide(5 * MIB + n, seed=n) for n in range(8)]

    async def send(data: bytes) -> str:
        place = await begin(gateway, session, len(data))
        assert (await patch(gateway, place, 0, data)).status == 204
        return id_of(place)

    ids = await asyncio.gather(*(send(data) for data in files))

    uploads = [await gateway.upload(id) for id in ids]
    assert [upload.sha256 for upload in uploads] == [sha256(data) for data in files]
    assert gateway.gateway.intake.budget.free == BYTES_IN_FLIGHT
