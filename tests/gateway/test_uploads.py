"""Files sent by Content-Range, as people's scripts and browsers do it."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.upload.app import BYTES_IN_FLIGHT
from shared.blobs.memory import MemoryBlobs
from shared.errors import Unavailable
from shared.events import FileComplete, ImageFailed
from shared.store.documents.uploads import Upload
from shared.store.memory import MemoryStore
from tests.gateway.conftest import ANNA, MIB, Form, Served, content_range, md5, serve, sha256, slide


async def stored(gateway: Served, upload: str, length: int) -> str:
    """The MD5 of what is stored, so that a failure prints no megabytes."""
    return md5(await gateway.blobs.read(upload, 0, length))


async def test_a_file_sent_in_ranges_is_stored_verified_and_announced(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB + MIB // 2)

    first = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "kidney 7.svs"})
    seen = await gateway.images(session)
    id = first.json["_id"]
    second = await gateway.send(session, data[MIB : 2 * MIB], (MIB, 2 * MIB, len(data)), params={"_id": id})
    last = await gateway.send(session, data[2 * MIB :], (2 * MIB, len(data), len(data)), params={"_id": id})

    assert (first.status, second.status, last.status) == (201, 200, 200)
    assert first.json == {
        "_id": id,
        "image": seen[0]["id"],
        "start": 0,
        "end": MIB - 1,
        "total": len(data),
        "done": False,
        "md5": md5(data[:MIB]),
        "sha256": sha256(data[:MIB]),
        "hashed": MIB,
        "state": "receiving",
    }
    assert (seen[0]["state"], seen[0]["name"], seen[0]["stages"]["upload"]["done"]) == (
        "uploading",
        "kidney 7.svs",
        MIB,
    )
    assert second.json["md5"] == md5(data[: 2 * MIB])
    assert last.json["done"] is True
    assert (last.json["md5"], last.json["sha256"], last.json["hashed"]) == (md5(data), sha256(data), len(data))
    assert await stored(gateway, id, len(data)) == md5(data)
    (event,) = await gateway.published()
    assert isinstance(event, FileComplete)
    assert (event.file, event.image, event.session, event.name) == (id, seen[0]["id"], session, "kidney 7.svs")
    assert (event.length, event.md5, event.sha256) == (len(data), md5(data), sha256(data))
    assert (await gateway.upload(id)).announced
    (image,) = await gateway.images(session)
    assert (image["state"], image["length"], image["md5"]) == ("dicing", len(data), md5(data))
    assert image["stages"]["upload"]["ended"] >= image["stages"]["upload"]["started"]


async def test_ranges_that_are_whole_chunks_come_in_any_order_and_at_once(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(8 * MIB + 77)
    first = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})
    id = first.json["_id"]
    starts = [7 * MIB, 3 * MIB, 5 * MIB, MIB, 8 * MIB, 2 * MIB, 6 * MIB, 4 * MIB]

    answers = await asyncio.gather(
        *(
            gateway.send(session, data[at : at + MIB], (at, min(at + MIB, len(data)), len(data)), params={"_id": id})
            for at in starts
        )
    )

    assert {answer.status for answer in answers} == {200}
    status = await gateway.status(session, id)
    assert (status["state"], status["done"], status["md5"]) == ("complete", True, md5(data))
    assert await stored(gateway, id, len(data)) == md5(data)


async def test_what_is_stored_can_be_asked_for_and_resumed(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(4 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    await gateway.send(session, data[2 * MIB : 3 * MIB], (2 * MIB, 3 * MIB, len(data)), params={"_id": id})

    status = await gateway.status(session, id)

    assert status["ranges"] == [{"start": 0, "end": MIB - 1}, {"start": 2 * MIB, "end": 3 * MIB - 1}]
    assert (status["stored"], status["total"], status["done"], status["hashed"]) == (2 * MIB, 4 * MIB, False, MIB)


@pytest.mark.parametrize("repeat", [True, False], ids=["sent again", "asked for"])
async def test_a_chunk_whose_gateway_died_before_the_answer_is_counted(gateway: Served, repeat: bool) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    await gateway.blobs.put_chunk(id, 1, data[MIB : 2 * MIB])

    if repeat:
        await gateway.send(session, data[MIB : 2 * MIB], (MIB, 2 * MIB, len(data)), params={"_id": id})
    else:
        assert (await gateway.status(session, id))["stored"] == 2 * MIB
    last = await gateway.send(session, data[2 * MIB :], (2 * MIB, 3 * MIB, len(data)), params={"_id": id})

    assert (last.json["done"], last.json["md5"]) == (True, md5(data))


async def test_asking_ends_an_upload_whose_last_gateway_died_before_the_answer(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    await gateway.blobs.put_chunk(id, 1, data[MIB:])

    status = await gateway.status(session, id)

    assert (status["state"], status["md5"]) == ("complete", md5(data))


async def test_a_repeated_range_changes_nothing_and_gets_the_same_answer(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    first = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})
    id = first.json["_id"]

    again = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"_id": id})
    last = await gateway.send(session, data[MIB:], (MIB, 2 * MIB, len(data)), params={"_id": id})
    last_again = await gateway.send(session, data[MIB:], (MIB, 2 * MIB, len(data)), params={"_id": id})

    assert again.json == first.json
    assert last_again.json == last.json
    assert (await gateway.upload(id)).stored == len(data)
    assert len(await gateway.published()) == 1


async def test_other_bytes_for_a_stored_range_are_refused(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]

    other = await gateway.send(session, slide(MIB, seed=2), (0, MIB, len(data)), params={"_id": id})
    await gateway.send(session, data[MIB:], (MIB, 2 * MIB, len(data)), params={"_id": id})

    assert other.status == 409
    assert "0-1048575" in other.json["detail"]
    assert other.json["remedy"]
    assert await stored(gateway, id, len(data)) == md5(data)


@pytest.mark.parametrize("step", [100_000, 1_500_000, 4_194_319])
async def test_ranges_of_any_size_are_taken_in_order(gateway: Served, step: int) -> None:
    session = await gateway.session()
    data = slide(3 * step + 12_345)
    id = None
    for at in range(0, len(data), step):
        stop = min(at + step, len(data))
        params = {"_id": id} if id else {"name": "odd.svs"}
        answer = await gateway.send(session, data[at:stop], (at, stop, len(data)), params=params)
        assert answer.status == (200 if id else 201), answer.text
        assert (answer.json["hashed"], answer.json["md5"]) == (stop, md5(data[:stop]))
        id = answer.json["_id"]

    assert answer.json["done"] is True
    assert await stored(gateway, str(id), len(data)) == md5(data)
    assert [event.type for event in await gateway.published()] == ["slidemill.file-complete.v1"]


async def test_a_gap_in_ranges_that_need_order_names_the_expected_byte(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(400_000)
    id = (await gateway.send(session, data[:100_000], (0, 100_000, 400_000), params={"name": "a.svs"})).json["_id"]

    early = await gateway.send(session, data[200_000:300_000], (200_000, 300_000, 400_000), params={"_id": id})

    assert (early.status, early.json["expected"]) == (409, 100_000)
    assert "100000" in early.json["detail"]
    assert (await gateway.status(session, id))["ranges"] == [{"start": 0, "end": 99_999}]


async def test_odd_ranges_may_be_repeated_and_may_overlap(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2_600_000)
    id = (await gateway.send(session, data[:900_000], (0, 900_000, len(data)), params={"name": "a.svs"})).json["_id"]
    for start, stop in [(0, 900_000), (500_000, 1_500_000), (1_000_000, 1_200_000), (1_500_000, 2_600_000)]:
        answer = await gateway.send(session, data[start:stop], (start, stop, len(data)), params={"_id": id})
        assert answer.status == 200, answer.text

    assert answer.json["done"] is True
    assert await stored(gateway, id, len(data)) == md5(data)


async def test_a_request_that_was_overtaken_takes_nothing_of_an_upload_that_goes_on(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(300_000)
    id = (await gateway.send(session, data[:100_000], (0, 100_000, 300_000), params={"name": "a.svs"})).json["_id"]

    await gateway.gateway.intake.records.progress(await gateway.upload(id), 0, when={"stored": 99_999})

    assert (await gateway.status(session, id))["stored"] == 100_000


async def test_odd_ranges_with_other_bytes_are_refused(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(300_000)
    id = (await gateway.send(session, data[:100_000], (0, 100_000, 300_000), params={"name": "a.svs"})).json["_id"]
    changed = data[50_000:99_999] + b"?" + data[100_000:150_000]

    answer = await gateway.send(session, changed, (50_000, 150_000, 300_000), params={"_id": id})

    assert answer.status == 409
    assert (await gateway.status(session, id))["stored"] == 100_000


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("bytes 1048576-2097152/2097152", MIB + 1),
        ("bytes 1048576-2097151/2097152", MIB - 1),
        ("bytes 1048576-2097151/2097152", MIB + 1),
        ("bytes 1048576-2097151/3000000", MIB),
        ("bytes 1048576-2097151/*", MIB),
        ("nonsense", MIB),
    ],
    ids=["beyond the end", "too short", "too long", "another total", "no total", "no range"],
)
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
async def test_a_wrong_range_is_refused_and_changes_nothing(
    gateway: Served, header: str, length: int, form: bool
) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    before = await gateway.status(session, id)
    body = Form({"_id": id}, ("files[]", "a.svs", bytes(length))) if form else bytes(length)

    answer = await gateway.send(
        session,
        body,
        headers={"Content-Range": header},
        params={} if form else {"_id": id},
    )
    after = await gateway.status(session, id)
    right = await gateway.send(session, data[MIB:], (MIB, 2 * MIB, len(data)), params={"_id": id})

    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json["detail"]
    assert after == before
    assert right.json["done"] is True


async def test_a_form_whose_range_of_several_chunks_is_short_changes_nothing(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(10 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    form = Form({"_id": id}, ("files[]", "a.svs", data[MIB : 6 * MIB - 5]))

    answer = await gateway.send(session, form, (MIB, 6 * MIB, len(data)))

    assert answer.status == 400
    assert (await gateway.status(session, id))["stored"] == MIB


async def test_a_later_range_needs_the_id_of_its_own_session(gateway: Served) -> None:
    session, other = await gateway.session(), await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    part = (MIB, 2 * MIB, 2 * MIB)

    without = await gateway.send(session, data[MIB:], part, params={"name": "a.svs"})
    unknown = await gateway.send(session, data[MIB:], part, params={"_id": "f" * 32})
    foreign = await gateway.send(other, data[MIB:], part, params={"_id": id})

    assert (without.status, unknown.status, foreign.status) == (400, 404, 404)
    assert "_id" in without.json["detail"]
    assert len(await gateway.images(session)) == 1


async def test_nobody_sends_into_a_foreign_session(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(1000)

    foreign = await gateway.send(session, data, token=ANNA, params={"name": "a.svs"})
    nobody = await gateway.send(session, data, token=None, params={"name": "a.svs"})

    assert (foreign.status, nobody.status) == (404, 401)
    assert await gateway.images(session) == []


async def test_a_whole_file_is_sent_by_put(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(9 * MIB + 5)

    answer = await gateway.ask("PUT", f"/api/v1/sessions/{session}/files/kidney%207.svs", data=data)

    assert (answer.status, answer.json["done"], answer.json["md5"]) == (201, True, md5(data))
    assert (answer.json["start"], answer.json["end"], answer.json["total"]) == (0, len(data) - 1, len(data))
    assert await stored(gateway, answer.json["_id"], len(data)) == md5(data)
    (image,) = await gateway.images(session)
    assert image["name"] == "kidney 7.svs"
    assert image["stages"]["upload"] == {**image["stages"]["upload"], "done": len(data), "total": len(data)}


@pytest.mark.parametrize("size", [5, 1000, 4 * MIB, 4 * MIB + 1, 9 * MIB])
async def test_a_whole_file_is_sent_by_a_form(gateway: Served, size: int) -> None:
    session = await gateway.session()
    data = slide(size)
    form = Form({"md5": md5(data)}, ("file", "Präparat 7; “links”.svs", data))

    answer = await gateway.send(session, form)

    assert (answer.status, answer.json["done"], answer.json["total"]) == (201, True, size)
    assert await stored(gateway, answer.json["_id"], size) == md5(data)
    (image,) = await gateway.images(session)
    assert (image["name"], image["length"], image["sha256"]) == ("Präparat 7; “links”.svs", size, sha256(data))
    assert image["stages"]["upload"]["total"] == size


async def test_a_body_of_unknown_length_is_a_whole_file(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(5 * MIB)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 300_000):
            yield data[at : at + 300_000]

    answer = await gateway.send(session, pieces(), params={"name": "a.svs"})

    assert (answer.status, answer.json["done"], answer.json["md5"]) == (201, True, md5(data))


async def test_jquery_file_upload_sends_a_large_file(gateway: Served) -> None:
    """Its chunks are forms with Content-Range, and its name is percent-encoded in Content-Disposition."""
    session = await gateway.session()
    data = slide(25_000_000)
    step = 10_000_000
    id = None
    for at in range(0, len(data), step):
        stop = min(at + step, len(data))
        form = Form({"_id": id} if id else {}, ("files[]", "blob", data[at:stop]))
        answer = await gateway.send(
            session,
            form,
            (at, stop, len(data)),
            headers={"Content-Disposition": 'attachment; filename="Pr%C3%A4parat%207.svs"'},
        )
        assert answer.status == (200 if id else 201), answer.text
        id = answer.json["_id"]

    assert (answer.json["done"], answer.json["md5"]) == (True, md5(data))
    assert [image["name"] for image in await gateway.images(session)] == ["Präparat 7.svs"]


async def test_a_form_with_two_files_is_refused(gateway: Served) -> None:
    session = await gateway.session()
    form = Form({}, ("a", "a.svs", slide(1000)), ("b", "b.svs", slide(1000)))

    answer = await gateway.send(session, form)

    assert answer.status == 400
    assert "more than one file" in answer.json["detail"]
    assert await gateway.images(session) == []


async def test_a_file_without_a_name_is_refused(gateway: Served) -> None:
    session = await gateway.session()

    answer = await gateway.send(session, slide(1000))

    assert answer.status == 400
    assert "name" in answer.json["remedy"]
    assert await gateway.images(session) == []


@pytest.mark.parametrize("how", ["range", "whole", "form"])
async def test_an_empty_file_is_refused_and_seen_as_failed(gateway: Served, how: str) -> None:
    session = await gateway.session()
    body = Form({}, ("file", "empty.svs", b"")) if how == "form" else b""
    headers = {"Content-Range": "bytes */0"} if how == "range" else {}

    answer = await gateway.send(session, body, headers=headers, params={"name": "empty.svs"})

    (image,) = await gateway.images(session)
    assert answer.status == 422
    assert (image["name"], image["state"], image["failure"]["stage"]) == ("empty.svs", "failed", "upload")
    assert image["failure"]["reason"] == answer.json["detail"] == "empty.svs is empty: it holds 0 bytes."
    assert image["failure"]["remedy"] == answer.json["remedy"]
    assert [type(event) for event in await gateway.published()] == [ImageFailed]


@pytest.mark.parametrize("form", [False, True])
async def test_a_text_named_like_a_slide_is_refused_and_seen_as_failed(gateway: Served, form: bool) -> None:
    session = await gateway.session()
    text = b"Please find the slide attached.\n" * 100
    body = Form({}, ("file", "x.svs", text)) if form else text

    answer = await gateway.send(session, body, params={"name": "x.svs"})

    (image,) = await gateway.images(session)
    assert answer.status == 415
    assert "TIFF" in answer.json["remedy"]
    assert answer.json["image"] == image["id"]
    assert (image["state"], image["failure"]["reason"]) == ("failed", answer.json["detail"])


async def test_an_encoded_body_is_refused(gateway: Served) -> None:
    session = await gateway.session()

    answer = await gateway.send(session, slide(1000), headers={"Content-Encoding": "gzip"}, params={"name": "a.svs"})

    assert answer.status == 415
    assert "gzip" in answer.json["detail"]


async def test_a_first_request_repeated_with_its_key_makes_one_upload(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    key = {"Idempotency-Key": "k1"}

    first = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"}, headers=key)
    again = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"}, headers=key)
    other = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "b.svs"}, headers=key)

    assert (first.status, again.status, other.status) == (201, 201, 422)
    assert again.json == first.json
    assert len(await gateway.images(session)) == 1


async def test_the_same_key_in_another_session_makes_another_upload(gateway: Served) -> None:
    data = slide(1000)
    ids = [
        (
            await gateway.send(
                await gateway.session(), data, params={"name": "a.svs"}, headers={"Idempotency-Key": "k1"}
            )
        ).json["_id"]
        for _ in range(2)
    ]

    assert ids[0] != ids[1]


@pytest.mark.parametrize("header", [False, True])
async def test_a_file_that_is_not_what_its_sender_says_fails_with_both_digests(gateway: Served, header: bool) -> None:
    session = await gateway.session()
    data = slide(MIB)
    wrong = hashlib.md5(b"something else").digest()
    said = {"Content-MD5": base64.b64encode(wrong).decode()} if header else {}
    params = {"name": "a.svs"} if header else {"name": "a.svs", "md5": wrong.hex()}

    answer = await gateway.send(session, data, headers=said, params=params)

    (image,) = await gateway.images(session)
    assert answer.status == 422
    assert image["state"] == "failed"
    assert image["failure"]["stage"] == "upload"
    for told in (answer.json["detail"], image["failure"]["reason"]):
        assert wrong.hex() in told
        assert md5(data) in told
    assert not any(isinstance(event, FileComplete) for event in await gateway.published())


async def test_a_claimed_digest_that_is_right_is_proven(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(MIB)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()

    answer = await gateway.send(
        session, data, params={"name": "a.svs", "md5": md5(data)}, headers={"Repr-Digest": f"sha-256=:{digest}:"}
    )

    assert (answer.status, answer.json["state"]) == (201, "complete")


async def test_a_range_that_was_damaged_on_its_way_is_refused_and_can_be_sent_again(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    digest = {"Content-MD5": base64.b64encode(hashlib.md5(data[MIB:]).digest()).decode()}
    part = (MIB, 2 * MIB, 2 * MIB)

    damaged = await gateway.send(session, bytes(MIB), part, params={"_id": id}, headers=digest)
    between = await gateway.status(session, id)
    whole = await gateway.send(session, data[MIB:], part, params={"_id": id}, headers=digest)

    assert damaged.status == 422
    assert md5(data[MIB:]) in damaged.json["detail"]
    assert between["stored"] == MIB
    assert whole.json["done"] is True


async def test_a_cancelled_upload_leaves_nothing(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = (await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"name": "a.svs"})).json["_id"]
    path = f"/api/v1/sessions/{session}/files/{id}"

    cancelled = await gateway.ask("DELETE", path)
    again = await gateway.ask("DELETE", path)
    late = await gateway.send(session, data[MIB:], (MIB, 2 * MIB, len(data)), params={"_id": id})

    assert (cancelled.status, again.status, late.status) == (204, 204, 410)
    assert await gateway.images(session) == []
    assert await gateway.blobs.info(id) is None
    assert await gateway.blobs.chunks(id) == []


async def test_a_file_that_is_whole_can_not_be_cancelled(gateway: Served) -> None:
    session = await gateway.session()
    id = (await gateway.send(session, slide(1000), params={"name": "a.svs"})).json["_id"]

    answer = await gateway.ask("DELETE", f"/api/v1/sessions/{session}/files/{id}")

    assert answer.status == 409
    assert len(await gateway.images(session)) == 1


async def test_an_upload_is_answered_while_the_broker_is_down(gateway: Served) -> None:
    session = await gateway.session()
    gateway.bus.broken = True

    answer = await gateway.send(session, slide(1000), params={"name": "a.svs"})

    assert (answer.status, answer.json["done"]) == (201, True)
    await gateway.published()
    assert not (await gateway.upload(answer.json["_id"])).announced
    assert [image["state"] for image in await gateway.images(session)] == ["dicing"]


async def break_off(gateway: Served, session: str, data: bytes, said: int, headers: str = "") -> None:
    """Sends a PUT that says it is longer than what comes before the connection is cut."""
    host, port = gateway.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"PUT /api/v1/sessions/{session}/files?name=a.svs HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer token-of-the-administrator\r\nContent-Length: {said}\r\n{headers}\r\n"
    )
    writer.write(head.encode() + data)
    await writer.drain()
    while not await gateway.images(session):
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()


async def until_failed(gateway: Served, session: str) -> dict[str, object]:
    while (image := (await gateway.images(session))[0])["state"] != "failed":
        await asyncio.sleep(0.01)
    return image


async def test_a_connection_that_breaks_in_a_whole_file_fails_it_with_a_reason(gateway: Served) -> None:
    session = await gateway.session()

    await break_off(gateway, session, slide(13 * MIB), 40 * MIB)

    async with asyncio.timeout(20):
        image = await until_failed(gateway, session)
    assert image["failure"] == {
        "stage": "upload",
        "reason": "The connection broke while a.svs was being sent.",
        "remedy": "Send the file again.",
    }
    assert gateway.gateway.intake.budget.free == BYTES_IN_FLIGHT


async def test_a_whole_file_with_a_key_is_sent_again_after_the_connection_broke(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(20 * MIB)

    await break_off(gateway, session, data[: 13 * MIB], len(data), "Idempotency-Key: k\r\n")
    answer = await gateway.send(session, data, method="PUT", params={"name": "a.svs"}, headers={"Idempotency-Key": "k"})

    assert (answer.status, answer.json["done"], answer.json["md5"]) == (201, True, md5(data))
    assert len(await gateway.images(session)) == 1


class FullDisk(MemoryBlobs):
    """Takes the first chunk of each file and then can't be reached."""

    async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
        if n > 0:
            raise Unavailable("The disk is full.")
        return await super().put_chunk(file, n, data)


async def test_a_whole_file_that_the_database_does_not_take_is_not_left_half_way(tmp_path: Path, page: Path) -> None:
    async for gateway in serve(MemoryStore(), FullDisk(tmp_path), page):
        session = await gateway.session()

        answer = await gateway.send(session, slide(9 * MIB), params={"name": "a.svs"})

        (image,) = await gateway.images(session)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert image["failure"]["reason"] == "The database could not be reached while a.svs was being sent."


@pytest.mark.parametrize("key", ["k" * 256, "\u00e4", "a\tb"])
async def test_a_key_that_can_not_be_kept_is_refused(gateway: Served, key: str) -> None:
    session = await gateway.session()

    answer = await gateway.send(session, slide(1000), params={"name": "a.svs"}, headers={"Idempotency-Key": key})

    assert answer.status == 400
    assert await gateway.images(session) == []


async def test_a_client_that_asks_first_is_told_to_send_its_body(gateway: Served) -> None:
    session = await gateway.session()

    asked = await gateway.send(session, slide(1000), params={"name": "a.svs"}, expect100=True)
    other = await gateway.send(session, slide(1000), params={"name": "b.svs"}, headers={"Expect": "tea"})

    assert (asked.status, other.status) == (201, 417)
    assert other.headers["Content-Type"].startswith("application/problem+json")


async def test_nothing_can_be_sent_to_what_is_taken_in_from_a_folder_but_it_can_be_cancelled(gateway: Served) -> None:
    session = await gateway.session()
    now = gateway.gateway.clock.now()
    upload = Upload(
        id="5" * 32,
        session=session,
        image="6" * 32,
        version=1,
        owner="a" * 32,
        name="a.svs",
        total=2 * MIB,
        chunk=MIB,
        stored=MIB,
        state="importing",
        created=now,
        updated=now,
    )
    await gateway.store.uploads.insert(upload)
    await gateway.blobs.create(upload.id, name="a.svs", chunk=MIB, refs=("6" * 32 + ":1",))
    await gateway.blobs.put_chunk(upload.id, 0, slide(MIB))
    path = f"/api/v1/sessions/{session}/files"

    refused = await gateway.ask(
        "PUT",
        path,
        data=slide(2 * MIB)[MIB:],
        params={"_id": upload.id, "name": "a.svs"},
        headers=content_range(MIB, 2 * MIB, 2 * MIB),
    )

    assert (409, "a.svs is being taken in from a folder.") == (refused.status, refused.json["detail"])
    assert (1, "importing") == (len(await gateway.blobs.chunks(upload.id)), (await gateway.upload(upload.id)).state)
    assert (await gateway.ask("GET", f"{path}/{upload.id}")).json["state"] == "importing"
    assert (await gateway.ask("DELETE", f"{path}/{upload.id}")).status == 204
    assert (await gateway.upload(upload.id)).state == "expired"
