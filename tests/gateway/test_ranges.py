"""What ranges may and may not do besides following each other: overlaps, repeats, digests, ended uploads, odd forms."""

import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from services.sync.expiry import expire
from shared.blobs.memory import MemoryBlobs
from shared.blobs.pieces import tail_of
from shared.clock import ManualClock
from shared.http.problems import REMEDIES
from shared.store.memory import MemoryStore
from tests.gateway.conftest import MIB, Form, Served, md5, serve, sha256, slide

KIB = 1024


async def begin(gateway: Served, session: str, data: bytes, stop: int = MIB) -> str:
    """Sends the first range; returns the upload's id."""
    answer = await gateway.send(session, data[:stop], (0, stop, len(data)), params={"name": "a.svs"})
    assert answer.status == 201, answer.text
    return str(answer.json["_id"])


async def go_on(gateway: Served, session: str, id: str, data: bytes, start: int, stop: int) -> int:
    answer = await gateway.send(session, data[start:stop], (start, stop, len(data)), params={"_id": id})
    return answer.status


async def expire_idle(gateway: Served) -> None:
    """What the tick does when a day has passed."""
    clock = ManualClock(gateway.gateway.clock.now() + timedelta(hours=25))
    await expire(gateway.store, gateway.blobs, gateway.bus, database="slidemill", limit=10, clock=clock)


async def nothing_stored(gateway: Served, id: str) -> bool:
    return not [
        there
        for file in (id, tail_of(id))
        for there in (await gateway.blobs.info(file), *await gateway.blobs.chunks(file))
        if there is not None
    ]


def content_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


async def test_a_range_that_is_not_on_the_grid_meets_a_chunk_that_came_early(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    id = await begin(gateway, session, data)
    assert await go_on(gateway, session, id, data, 2 * MIB, 3 * MIB) == 200
    other = data[: 2 * MIB] + bytes(MIB)

    conflicting = await go_on(gateway, session, id, other, MIB, 2 * MIB + 500 * KIB)
    stored = (await gateway.status(session, id))["stored"]
    right = await go_on(gateway, session, id, data, MIB, 2 * MIB + 500 * KIB)

    assert (conflicting, stored, right) == (409, 3 * MIB, 200)
    status = await gateway.status(session, id)
    assert (status["state"], status["md5"]) == ("complete", md5(data))


async def test_odd_parts_of_a_chunk_that_came_early_are_repeats(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(4 * MIB)
    id = await begin(gateway, session, data)
    await go_on(gateway, session, id, data, 2 * MIB, 3 * MIB)

    same = await go_on(gateway, session, id, data, 2 * MIB + 1, 3 * MIB - 1)
    other = await go_on(gateway, session, id, bytes(4 * MIB), 2 * MIB + 1, 3 * MIB - 1)

    assert (same, other) == (200, 409)
    assert (await gateway.status(session, id))["stored"] == 2 * MIB


async def test_a_whole_chunk_over_an_acknowledged_piece_of_it_must_agree_with_it(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    id = await begin(gateway, session, data)
    assert await go_on(gateway, session, id, data, MIB, MIB + 300_000) == 200

    other = await go_on(gateway, session, id, data[:MIB] + bytes(2 * MIB), MIB, 2 * MIB)
    right = await go_on(gateway, session, id, data, MIB, 2 * MIB)
    last = await go_on(gateway, session, id, data, 2 * MIB, 3 * MIB)

    assert (other, right, last) == (409, 200, 200)
    assert (await gateway.status(session, id))["md5"] == md5(data)
    assert await gateway.blobs.info(tail_of(id)) is None


@pytest.mark.parametrize(
    ("start", "stop", "total", "change", "status"),
    [
        (0, MIB, 2 * MIB, 0, 200),
        (100, 2 * MIB, 2 * MIB, 0, 200),
        (MIB, 2 * MIB, 2 * MIB, 1, 409),
        (2 * MIB, 3 * MIB, 3 * MIB, 0, 400),
    ],
    ids=["again", "again, and odd", "other bytes", "beyond its end"],
)
async def test_a_finished_upload_takes_repeats_and_nothing_else(
    gateway: Served, start: int, stop: int, total: int, change: int, status: int
) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = await begin(gateway, session, data)
    assert await go_on(gateway, session, id, data, MIB, 2 * MIB) == 200
    sent = bytearray((data + data)[start:stop])
    sent[-1] ^= change

    answer = await gateway.send(session, bytes(sent), (start, stop, total), params={"_id": id})

    assert answer.status == status
    if status == 200:
        assert (answer.json["done"], answer.json["md5"], answer.json["sha256"]) == (True, md5(data), sha256(data))
    assert md5(await gateway.blobs.read(id, 0, 2 * MIB)) == md5(data)
    assert len(await gateway.published()) == 1


async def test_a_finished_upload_is_not_said_to_be_something_else(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = await begin(gateway, session, data)
    await go_on(gateway, session, id, data, MIB, 2 * MIB)
    params = {"_id": id, "sha256": sha256(b"")}

    answer = await gateway.send(session, data[MIB:], (MIB, 2 * MIB, 2 * MIB), params=params)

    assert answer.status == 400
    assert sha256(data) in answer.json["detail"]


async def test_a_finished_file_that_was_removed_is_not_begun_again_by_a_late_repeat(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = await begin(gateway, session, data)
    await go_on(gateway, session, id, data, MIB, 2 * MIB)
    await gateway.blobs.delete(id)

    late = await go_on(gateway, session, id, data, MIB, 2 * MIB)

    assert late == 422
    assert await nothing_stored(gateway, id)


async def test_an_expired_upload_is_gone_with_all_its_bytes(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(4 * MIB)
    id = await begin(gateway, session, data)
    await go_on(gateway, session, id, data, MIB, MIB + 100)
    await expire_idle(gateway)

    late = await gateway.send(session, data[:MIB], (0, MIB, len(data)), params={"_id": id})

    assert late.status == 410
    assert late.json["remedy"]
    assert await nothing_stored(gateway, id)
    (image,) = await gateway.images(session)
    assert image["state"] == "failed"


class Overtaken(MemoryBlobs):
    """The upload of each file ends as failed just before its second chunk is stored."""

    def __init__(self, scratch: Path, store: MemoryStore) -> None:
        super().__init__(scratch)
        self.store = store

    async def put_chunk(self, file: str, n: int, data: bytes) -> bool:
        if n == 1:
            await self.store.uploads.update(file, set={"state": "failed"})
            await self.delete(file)
        return await super().put_chunk(file, n, data)


async def test_a_failed_upload_takes_no_chunk_that_was_on_its_way(tmp_path: Path, page: Path) -> None:
    store = MemoryStore()
    async for gateway in serve(store, Overtaken(tmp_path, store), page):
        session = await gateway.session()
        data = slide(2 * MIB)
        id = await begin(gateway, session, data)

        late = await go_on(gateway, session, id, data, MIB, 2 * MIB)

        assert late == 422
        assert await nothing_stored(gateway, id)


@pytest.mark.parametrize("ranged", [True, False], ids=["range", "whole"])
async def test_a_field_after_the_file_is_refused_and_changes_nothing(gateway: Served, ranged: bool) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = await begin(gateway, session, data)
    form = LateField({"_id": id} if ranged else {}, ("files[]", "a.svs", data[MIB:]))

    answer = await gateway.send(session, form, (MIB, 2 * MIB, 2 * MIB) if ranged else None)

    assert answer.status == 400
    assert answer.json["detail"] == "The form's field 'title' comes after its file, where it can't be heeded."
    assert answer.json["remedy"] == "Put all fields before the file, and send the form again."
    assert (await gateway.status(session, id))["stored"] == MIB
    assert len(await gateway.images(session)) == 1


class LateField(Form):
    """A form with its field `title` behind its file."""

    def __init__(self, fields: dict[str, str], *files: tuple[str, str, bytes]) -> None:
        super().__init__(fields, *files)
        end = f"--{self.boundary}--\r\n".encode()
        late = f'--{self.boundary}\r\nContent-Disposition: form-data; name="title"\r\n\r\nlate\r\n'.encode()
        whole = self.getvalue().removesuffix(end) + late + end
        self.seek(0)
        self.write(whole)
        self.seek(0)


async def test_a_range_in_a_form_with_two_files_changes_nothing(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    id = await begin(gateway, session, data)
    form = Form({"_id": id}, ("a", "a.svs", data[MIB : 2 * MIB]), ("b", "b.svs", data[2 * MIB :]))

    answer = await gateway.send(session, form, (MIB, 2 * MIB, 3 * MIB))

    assert answer.status == 400
    assert "more than one file" in answer.json["detail"]
    assert answer.json["remedy"] != REMEDIES[400]
    assert (await gateway.status(session, id))["stored"] == MIB


@pytest.mark.parametrize("wrong", ["short", "long", "late field", "no length"])
async def test_a_large_range_in_a_form_is_checked_before_it_is_stored(gateway: Served, wrong: str) -> None:
    """It is stored while it arrives, so that all of it can't be looked at first."""
    session = await gateway.session()
    data = slide(18 * MIB)
    id = await begin(gateway, session, data)
    part = (MIB, 18 * MIB, 18 * MIB)
    file = ("file", "a.svs", data[MIB:] + b"?" if wrong == "long" else data[MIB : -1 if wrong == "short" else None])
    form = LateField({"_id": id}, file) if wrong == "late field" else Form({"_id": id}, file)
    headers = {"Content-Type": f"multipart/form-data; boundary={Form.boundary}"} if wrong == "no length" else {}

    async def pieces() -> AsyncIterator[bytes]:
        while piece := form.read(MIB):
            yield piece

    answer = await gateway.send(session, pieces() if wrong == "no length" else form, part, headers=headers)
    between = await gateway.status(session, id)
    right = await gateway.send(session, Form({"_id": id}, ("file", "a.svs", data[MIB:])), part)

    assert answer.status == (411 if wrong == "no length" else 400)
    assert ("title" in answer.json["detail"]) == (wrong == "late field")
    assert between["stored"] == MIB
    assert right.json["md5"] == md5(data)


@pytest.mark.parametrize("field", [False, True], ids=["header", "field"])
@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("Content-MD5", lambda data: base64.b64encode(hashlib.md5(data).digest()).decode()),
        ("Content-Digest", content_digest),
        ("Content-MD5", md5),
    ],
    ids=["md5", "sha256", "md5 in hex"],
)
async def test_a_range_is_proven_by_its_own_digest(
    gateway: Served, name: str, digest: Callable[[bytes], str], field: bool
) -> None:
    session = await gateway.session()
    data = slide(3 * MIB)
    id = await begin(gateway, session, data)
    part = (MIB, 3 * MIB, 3 * MIB)

    async def send(content: bytes) -> int:
        said = {name: digest(data[MIB:])}
        form = Form({"_id": id, **(said if field else {})}, ("file", "a.svs", content))
        answer = await gateway.send(session, form, part, headers={} if field else said)
        return answer.status

    damaged = await send(data[MIB:-1] + b"?")
    between = await gateway.status(session, id)
    whole = await send(data[MIB:])

    assert (damaged, between["stored"], whole) == (422, MIB, 200)
    assert (await gateway.status(session, id))["state"] == "complete"


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("field", [False, True], ids=["header", "field"])
async def test_a_whole_file_in_ranges_is_proven_by_its_digest(gateway: Served, right: bool, field: bool) -> None:
    session = await gateway.session()
    data = slide(2 * MIB)
    id = await begin(gateway, session, data)
    said = {"Repr-Digest": content_digest(data if right else data[1:])}
    form = Form({"_id": id, **(said if field else {})}, ("file", "a.svs", data[MIB:]))

    answer = await gateway.send(session, form, (MIB, 2 * MIB, 2 * MIB), headers={} if field else said)

    (image,) = await gateway.images(session)
    assert (answer.status, image["state"]) == ((200, "dicing") if right else (422, "failed"))
    assert await nothing_stored(gateway, id) is not right
    assert len(await gateway.published()) == int(right)
    if not right:
        assert sha256(data) in answer.json["detail"]
        assert sha256(data[1:]) in answer.json["detail"]


async def test_two_digests_that_contradict_each_other_are_refused(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(1000)

    answer = await gateway.send(
        session,
        data,
        params={"name": "a.svs", "sha256": sha256(b"")},
        headers={"Repr-Digest": content_digest(data)},
    )

    assert answer.status == 400
    assert await gateway.images(session) == []


async def test_a_whole_file_sent_again_with_its_key_must_be_the_same(gateway: Served) -> None:
    session = await gateway.session()
    data = slide(5 * MIB)
    key = {"Idempotency-Key": "k"}

    async def send(content: bytes) -> tuple[int, str | None]:
        answer = await gateway.send(session, content, params={"name": "a.svs"}, headers=key)
        return answer.status, answer.json.get("md5")

    assert await send(data) == (201, md5(data))
    assert await send(data) == (201, md5(data))
    for other in (data[:-1], data + b"?", data[: 4 * MIB], bytes(5 * MIB)):
        assert await send(other) == (409, None)
    assert len(await gateway.images(session)) == 1
