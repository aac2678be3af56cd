"""What is refused before it takes room: large files, full accounts, a full disk, too many at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.upload.limits import LOOK_AGAIN_SECONDS, Bounds
from shared.blobs.memory import MemoryBlobs
from shared.store.memory import MemoryStore
from tests.gateway import tus
from tests.gateway.conftest import ANNA, MIB, Form, Served, serve, slide


class Disk(MemoryStore):
    """A database whose disk says how much room it has."""

    free: int | None = None

    async def free_bytes(self) -> int | None:
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def bounds() -> Bounds:
    return Bounds(file=5 * MIB, account=8 * MIB, uploads=3, reserve=100 * MIB)


@pytest.fixture
async def gateway(disk: Disk, bounds: Bounds, tmp_path: Path, page: Path) -> AsyncIterator[Served]:
    async for served in serve(disk, MemoryBlobs(tmp_path / "scratch"), page, bounds=bounds):
        yield served


async def nothing_stored(gateway: Served, session: str) -> bool:
    return await gateway.images(session) == [] and await gateway.store.uploads.count({}) == 0


@pytest.mark.parametrize("how", ["range", "offer", "whole", "form"])
async def test_a_file_that_is_too_large_is_refused_at_its_first_request(gateway: Served, how: str) -> None:
    session = await gateway.session()
    data = slide(6 * MIB)
    bodies: dict[str, bytes | Form] = {
        "range": data[:MIB],
        "offer": b"",
        "whole": data,
        "form": Form({}, ("file", "a.svs", data)),
    }
    said = {"range": f"bytes 0-{MIB - 1}/{len(data)}", "offer": f"bytes */{len(data)}"}
    headers = {"Content-Range": said[how]} if how in said else {}
    params = {"name": "a.svs"} | ({"sha256": "0" * 64} if how == "offer" else {})

    answer = await gateway.send(session, bodies[how], params=params, headers=headers)

    assert (answer.status, answer.json["limit"]) == (413, 5 * MIB)
    assert answer.json["detail"] == "a.svs has more than the 5,242,880 bytes that a file may have here."
    assert await nothing_stored(gateway, session)


async def test_a_file_of_just_the_largest_size_is_taken(gateway: Served) -> None:
    session = await gateway.session()

    assert (await gateway.send(session, Form({}, ("file", "a.svs", slide(5 * MIB))))).status == 201


async def test_a_body_of_unknown_length_ends_where_it_gets_too_large(gateway: Served) -> None:
    session = await gateway.session()

    async def endless() -> AsyncIterator[bytes]:
        yield slide(MIB)
        for _ in range(30):
            yield bytes(MIB)

    answer = await gateway.send(session, endless(), params={"name": "a.svs"})

    (image,) = await gateway.images(session)
    (upload,) = await gateway.store.uploads.find({})
    assert answer.status == 413
    assert image["state"] == "failed"
    assert image["failure"]["reason"] == answer.json["detail"]
    assert image["failure"]["remedy"] == answer.json["remedy"]
    assert await gateway.blobs.chunks(upload.id) == []
    assert await gateway.blobs.info(upload.id) is None


async def test_an_account_that_is_full_takes_no_more_until_something_is_deleted(gateway: Served) -> None:
    session, hers = await gateway.session(), await gateway.session(ANNA)
    first = await gateway.send(session, slide(5 * MIB), params={"name": "a.svs"})
    # What is being sent counts with its whole size.
    half = await gateway.send(session, slide(MIB, 2), (0, MIB, 2 * MIB), params={"name": "b.svs"})

    full = await gateway.send(session, slide(2 * MIB, 3), params={"name": "c.svs"})
    others = await gateway.send(hers, slide(2 * MIB, 3), token=ANNA, params={"name": "c.svs"})
    await gateway.ask("DELETE", f"/api/v1/images/{first.json['image']}")
    again = await gateway.send(session, slide(2 * MIB, 3), params={"name": "c.svs"})

    assert (first.status, half.status, full.status, others.status, again.status) == (201, 201, 507, 201, 201)
    assert (full.json["limit"], full.json["stored"]) == (8 * MIB, 7 * MIB)
    assert "Retry-After" not in full.headers
    assert full.json["remedy"].startswith("Delete")
    assert [image["name"] for image in await gateway.images(session)] == ["b.svs", "c.svs"]


async def test_a_shared_file_counts_for_each_of_its_images(gateway: Served) -> None:
    session = await gateway.session()
    sent = await gateway.send(session, slide(5 * MIB), params={"name": "a.svs"})
    said = {"name": "b.svs", "sha256": sent.json["sha256"]}

    answer = await gateway.send(session, b"", params=said, headers={"Content-Range": f"bytes */{5 * MIB}"})

    assert answer.status == 507
    assert len(await gateway.images(session)) == 1


async def test_a_body_of_unknown_length_that_finds_no_room_in_the_account_leaves_nothing(gateway: Served) -> None:
    session = await gateway.session()
    await gateway.send(session, slide(5 * MIB), params={"name": "a.svs"})

    async def pieces() -> AsyncIterator[bytes]:
        for seed in range(4):
            yield slide(MIB, seed)

    answer = await gateway.send(session, pieces(), params={"name": "b.svs"})

    _, image = await gateway.images(session)
    (upload,) = await gateway.store.uploads.find({"image": image["id"]})
    assert answer.status == 507
    assert (image["state"], image["failure"]["reason"]) == ("failed", answer.json["detail"])
    assert await gateway.blobs.chunks(upload.id) == []
    assert await gateway.blobs.info(upload.id) is None


async def test_too_many_uploads_at_once_wait_for_one_another(gateway: Served) -> None:
    session, hers = await gateway.session(), await gateway.session(ANNA)
    half, part = slide(MIB), (0, MIB, 2 * MIB)
    ids = [(await gateway.send(session, half, part, params={"name": f"{n}.svs"})).json["_id"] for n in range(3)]

    refused = await gateway.send(session, half, part, params={"name": "3.svs"})
    others = await gateway.send(hers, half, part, token=ANNA, params={"name": "3.svs"})
    goes_on = await gateway.send(session, half, (MIB, 2 * MIB, 2 * MIB), params={"_id": ids[0]})
    then = await gateway.send(session, half, part, params={"name": "3.svs"})

    assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
    assert (others.status, goes_on.status, then.status) == (201, 200, 201)
    assert len(await gateway.images(session)) == 4


async def test_nothing_is_stored_on_a_disk_that_has_only_its_reserve(
    gateway: Served, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.upload.limits.LOOK_AGAIN_SECONDS", 0.0)
    session = await gateway.session()
    half, rest = slide(MIB), (MIB, 2 * MIB, 2 * MIB)
    disk.free = 103 * MIB
    begun = await gateway.send(session, half, (0, MIB, 2 * MIB), params={"name": "a.svs"})
    too_large = await gateway.send(session, slide(4 * MIB), params={"name": "b.svs"})
    disk.free = 99 * MIB

    later = await gateway.send(session, half, rest, params={"_id": begun.json["_id"]})
    asked = await gateway.status(session, begun.json["_id"])
    disk.free = None
    last = await gateway.send(session, half, rest, params={"_id": begun.json["_id"]})

    assert (begun.status, too_large.status, later.status, last.status) == (201, 507, 507, 200)
    assert (too_large.headers["Retry-After"], later.headers["Retry-After"]) == ("60", "60")
    assert "reserve" in later.json["detail"]
    assert asked["stored"] == MIB
    assert last.json["done"] is True
    assert [image["name"] for image in await gateway.images(session)] == ["a.svs"]


async def test_tus_keeps_the_same_limits_and_says_the_largest_size(gateway: Served, disk: Disk) -> None:
    session = await gateway.session()
    told = await tus.ask(gateway, "OPTIONS", tus.ADDRESS)

    large = await tus.create(gateway, session, 6 * MIB)
    place = await tus.begin(gateway, session, 4 * MIB)
    deferred = await tus.begin(gateway, session, None, headers={"Upload-Defer-Length": "1"})
    full = await tus.patch(gateway, deferred, 0, slide(MIB), headers={"Upload-Length": str(5 * MIB)})
    open_end = await tus.patch(gateway, deferred, 0, slide(6 * MIB))
    third = await tus.begin(gateway, session, MIB)
    many = await tus.create(gateway, session, MIB)
    sent = await tus.patch(gateway, place, 0, slide(4 * MIB))

    assert told.headers["Tus-Max-Size"] == str(5 * MIB)
    assert (large.status, full.status, open_end.status, many.status, sent.status) == (413, 507, 413, 429, 204)
    assert await tus.offset_of(gateway, third) == 0


async def test_the_disk_is_asked_only_now_and_then(gateway: Served, disk: Disk) -> None:
    session = await gateway.session()
    await gateway.send(session, slide(1000), params={"name": "a.svs"})
    disk.free = 0

    assert LOOK_AGAIN_SECONDS > 1
    assert (await gateway.send(session, slide(1000, 2), params={"name": "b.svs"})).status == 201
