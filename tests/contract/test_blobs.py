import asyncio
import hashlib
import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import gridfs
import pytest
from pymongo import MongoClient

from shared.blobs import BlobInfo, Blobs, StoredChunk
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.memory import MemoryBlobs
from shared.blobs.scratch import Scratch
from shared.errors import ChunkConflict, Reject
from tests.contract.conftest import DATABASE, Real

CHUNK = 1000


def an_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def blobs(real: Real | None, tmp_path: Path) -> Blobs:
    if real is None:
        return MemoryBlobs(tmp_path / "scratch")
    blobs = GridFSBlobs(*real, tmp_path / "scratch", 2**30)
    await blobs.prepare()
    return blobs


async def stored(blobs: Blobs, data: bytes, *, chunk: int = CHUNK, commit: bool = True) -> str:
    """A file of these bytes, its chunks put in any order."""
    file = an_id()
    await blobs.create(file, name="Präparat 1.svs", chunk=chunk, refs=(f"{'a' * 32}:1",))
    count = -(-len(data) // chunk)
    for n in random.sample(range(count), count):
        assert await blobs.put_chunk(file, n, data[n * chunk : (n + 1) * chunk]) is True
    if commit:
        await blobs.commit(file, length=len(data), md5=md5_of(data), sha256=sha256_of(data))
    return file


def md5_of(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def streamed(blobs: Blobs, file: str, *span: int) -> list[bytes]:
    return [piece async for piece in blobs.stream(file, *span)]


async def test_a_file_is_complete_once_committed(blobs: Blobs) -> None:
    data = random.randbytes(2500)
    file = await stored(blobs, data, commit=False)
    name = "Präparat 1.svs"

    assert await blobs.info(file) == BlobInfo(file, name, CHUNK, 0, False, None, None)

    for _ in range(2):
        await blobs.commit(file, length=2500, md5=md5_of(data), sha256=sha256_of(data))
        assert await blobs.info(file) == BlobInfo(file, name, CHUNK, 2500, True, md5_of(data), sha256_of(data))


async def test_what_is_not_there(blobs: Blobs, tmp_path: Path) -> None:
    file = an_id()

    assert await blobs.info(file) is None
    assert await blobs.chunks(file) == []
    await blobs.delete(file)
    for attempt in (
        blobs.read(file, 0, 1),
        streamed(blobs, file),
        blobs.commit(file, length=0, md5="", sha256=""),
        blobs.local(file).__aenter__(),
    ):
        with pytest.raises(Reject, match=file):
            await attempt


async def test_making_a_file_again_changes_nothing(blobs: Blobs) -> None:
    file = await stored(blobs, b"x" * 10)
    before = await blobs.info(file)

    await blobs.create(file, name="other", chunk=7, refs=())

    assert await blobs.info(file) == before


async def test_a_repeated_chunk_is_harmless_and_another_one_a_conflict(blobs: Blobs) -> None:
    file = await stored(blobs, b"", commit=False)

    assert await blobs.put_chunk(file, 3, b"same") is True
    assert await blobs.put_chunk(file, 3, b"same") is False
    for other in (b"diff", b"sam", b"same "):
        with pytest.raises(ChunkConflict, match="3"):
            await blobs.put_chunk(file, 3, other)

    assert await blobs.chunks(file) == [StoredChunk(3, 4)]
    assert await blobs.read(file, 3000, 4) == b"same"


async def test_of_the_same_chunk_sent_at_once_one_is_new(blobs: Blobs) -> None:
    file = await stored(blobs, b"", commit=False)

    assert sum(await asyncio.gather(*(blobs.put_chunk(file, 0, b"same") for _ in range(10)))) == 1


async def test_chunks_are_listed_in_order_with_their_lengths(blobs: Blobs) -> None:
    file = await stored(blobs, b"", commit=False)
    other = await stored(blobs, b"other", commit=False)

    for n in (7, 2**33, 0, 3):
        await blobs.put_chunk(file, n, bytes(n % 100))

    expected = [StoredChunk(0, 0), StoredChunk(3, 3), StoredChunk(7, 7), StoredChunk(2**33, 2**33 % 100)]
    assert await blobs.chunks(file) == expected
    assert await blobs.chunks(other) == [StoredChunk(0, 5)]


async def test_any_range_can_be_read(blobs: Blobs) -> None:
    data = random.randbytes(10 * CHUNK + 7)
    file = await stored(blobs, data)
    edges = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 10 * CHUNK, len(data) - 1, len(data), len(data) + 5000]

    for offset in edges:
        for length in (0, 1, 2, CHUNK, 2 * CHUNK + 1, len(data)):
            assert await blobs.read(file, offset, length) == data[offset : offset + length]
            assert b"".join(await streamed(blobs, file, offset, length)) == data[offset : offset + length]
    assert b"".join(await streamed(blobs, file, 1234)) == data[1234:]


async def test_a_stream_comes_in_pieces_of_at_most_a_chunk(blobs: Blobs) -> None:
    data = random.randbytes(10 * CHUNK + 7)

    pieces = await streamed(blobs, await stored(blobs, data))

    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [CHUNK] * 10 + [7]


async def test_a_stream_of_large_chunks(blobs: Blobs) -> None:
    """Several reads ahead of the consumer, who leaves early the second time."""
    data, chunk = random.randbytes(9 * 2**20 + 5), 2**20
    file = await stored(blobs, data, chunk=chunk)

    assert b"".join(await streamed(blobs, file)) == data
    async for piece in blobs.stream(file, 2**20 - 1):
        assert piece == data[2**20 - 1 : 2**20]
        break
    assert await blobs.read(file, 2**20 - 3, 7 * 2**20) == data[2**20 - 3 : 8 * 2**20 - 3]


async def test_a_file_on_its_way_can_be_read_as_far_as_it_is_stored(blobs: Blobs) -> None:
    data = random.randbytes(2 * CHUNK + 5)
    file = await stored(blobs, data, commit=False)

    assert await blobs.read(file, 10, 10**6) == data[10:]
    assert await blobs.read(file, 5 * CHUNK, 10) == b""
    assert b"".join(await streamed(blobs, file)) == data


async def test_a_hole_is_refused_but_not_what_lies_beside_it(blobs: Blobs) -> None:
    file = await stored(blobs, b"", commit=False)
    for n in (0, 1, 3):
        await blobs.put_chunk(file, n, b"x" * CHUNK)

    assert len(await blobs.read(file, 0, 2 * CHUNK)) == 2 * CHUNK
    assert len(await blobs.read(file, 3 * CHUNK, 2 * CHUNK)) == CHUNK
    for offset, length in ((0, 4 * CHUNK), (0, 2 * CHUNK + 1), (2 * CHUNK, 1)):
        with pytest.raises(Reject, match="hole"):
            await blobs.read(file, offset, length)
    with pytest.raises(Reject, match="hole"):
        await streamed(blobs, file)


async def test_a_short_chunk_among_others_is_a_hole(blobs: Blobs) -> None:
    file = await stored(blobs, b"", commit=False)
    for n, length in ((0, CHUNK), (1, CHUNK - 1), (2, CHUNK)):
        await blobs.put_chunk(file, n, b"x" * length)

    with pytest.raises(Reject, match="hole"):
        await blobs.read(file, 0, 3 * CHUNK)
    with pytest.raises(Reject, match="hole"):
        await blobs.read(file, 0, 2 * CHUNK)


async def test_a_complete_file_without_its_end_is_refused(blobs: Blobs, tmp_path: Path) -> None:
    file = await stored(blobs, b"x" * 2 * CHUNK, commit=False)
    await blobs.commit(file, length=3 * CHUNK, md5="", sha256="")

    with pytest.raises(Reject, match="hole"):
        await blobs.read(file, CHUNK, 2 * CHUNK)
    with pytest.raises(Reject, match="hole"):
        await blobs.local(file).__aenter__()
    assert [path for path in (tmp_path / "scratch").glob("*/*") if path.name != "lock"] == []


async def test_trimming_takes_the_beginning_and_can_be_repeated(blobs: Blobs) -> None:
    await blobs.create("f" * 32, name="a.svs", chunk=4, refs=())
    for n in (0, 3, 5 * 2**31):
        await blobs.put_chunk("f" * 32, n, b"data")

    for _ in range(2):
        await blobs.trim("f" * 32, 4)
    await blobs.trim("0" * 32, 4)

    assert await blobs.chunks("f" * 32) == [(5 * 2**31, 4)]
    assert await blobs.info("f" * 32) is not None


async def test_deleting_takes_everything_and_can_be_repeated(blobs: Blobs) -> None:
    file, other = await stored(blobs, b"x" * 2500), await stored(blobs, b"y" * 2500)
    assert await blobs.read(file, 0, 1) == b"x"

    for _ in range(2):
        await blobs.delete(file)

    assert await blobs.info(file) is None
    assert await blobs.chunks(file) == []
    with pytest.raises(Reject):
        await blobs.read(file, 0, 1)
    assert await blobs.read(other, 0, 2500) == b"y" * 2500


async def test_a_shared_file_stays_until_its_last_owner_lets_go(blobs: Blobs) -> None:
    file = await stored(blobs, random.randbytes(2500))
    first, second = f"{'a' * 32}:1", f"{'b' * 32}:1"

    for _ in range(2):
        shared = await blobs.share(file, second)
        assert shared is not None
        assert (shared.file, shared.length, shared.complete) == (file, 2500, True)

    assert await blobs.release(file, [first, f"{'a' * 32}:2"]) is False
    assert await blobs.release(file, [first]) is False
    assert len(await blobs.chunks(file)) == 3
    assert await blobs.share(file, first) is not None

    assert await blobs.release(file, [first, second]) is True
    assert await blobs.info(file) is None
    assert await blobs.chunks(file) == []
    assert await blobs.share(file, first) is None
    assert await blobs.release(file, [second]) is True


async def test_a_file_on_its_way_can_not_be_shared(blobs: Blobs) -> None:
    file = await stored(blobs, random.randbytes(2500), commit=False)

    assert await blobs.share(file, "another") is None
    assert await blobs.share(an_id(), "another") is None


async def test_letting_go_takes_a_chunk_that_came_after_the_file_had_gone(blobs: Blobs) -> None:
    file = await stored(blobs, random.randbytes(2500))
    await blobs.release(file, [f"{'a' * 32}:1"])
    await blobs.put_chunk(file, 1, b"late")

    assert await blobs.release(file, [f"{'a' * 32}:1"]) is True

    assert await blobs.chunks(file) == []


async def test_of_sharing_and_letting_go_at_once_one_wins(blobs: Blobs) -> None:
    for _ in range(20):
        file = await stored(blobs, b"12345")

        shared, removed = await asyncio.gather(blobs.share(file, "new"), blobs.release(file, [f"{'a' * 32}:1"]))

        assert (shared is None) == removed
        assert (len(await blobs.chunks(file)) == 0) == removed


@pytest.mark.parametrize("kind", [pytest.param("mongodb", marks=pytest.mark.broker)])
async def test_a_file_that_is_being_removed_can_neither_be_shared_nor_committed(
    blobs: Blobs, plain_client: MongoClient[dict[str, Any]]
) -> None:
    """Its remover died between the mark and the first chunk."""
    file = await stored(blobs, random.randbytes(2500))
    going = {"metadata.refs": [], "metadata.complete": False, "metadata.deleting": True}
    plain_client[DATABASE]["fs.files"].update_one({"_id": file}, {"$set": going})

    assert await blobs.share(file, "another") is None
    with pytest.raises(Reject):
        await blobs.commit(file, length=2500, md5="", sha256="")
    assert await blobs.release(file, []) is True
    assert await blobs.chunks(file) == []


async def test_a_local_copy_is_whole_and_named_as_asked(blobs: Blobs) -> None:
    data = random.randbytes(50 * CHUNK + 3)
    file = await stored(blobs, data)

    async with blobs.local(file) as plain, blobs.local(file, ".ndpi") as named:
        assert plain.read_bytes() == data
        assert named.suffix == ".ndpi"
        assert named.samefile(plain)
    async with blobs.local(file, ".ndpi") as again:
        assert again == named
        assert again.samefile(plain)


async def test_a_deleted_file_leaves_no_local_copy(blobs: Blobs, tmp_path: Path) -> None:
    file = await stored(blobs, random.randbytes(2500))

    async with blobs.local(file, ".svs"):
        await blobs.delete(file)
        open_ = list(tmp_path.rglob("*.svs"))
    await blobs.delete(file)

    assert len(open_) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_file_on_its_way_has_no_local_copy(blobs: Blobs) -> None:
    file = await stored(blobs, b"data", commit=False)

    with pytest.raises(Reject):
        await blobs.local(file).__aenter__()


async def test_many_who_want_a_local_copy_share_one(blobs: Blobs) -> None:
    data = random.randbytes(200 * CHUNK)
    file = await stored(blobs, data)

    async def copy() -> tuple[int, bytes]:
        async with blobs.local(file, ".svs") as path:
            return path.stat().st_ino, path.read_bytes()

    copies = await asyncio.gather(*(copy() for _ in range(8)))

    assert {content for _, content in copies} == {data}
    assert len({inode for inode, _ in copies}) == 1


async def test_what_is_in_a_file_is_unpacked_once_and_seen_whole(blobs: Blobs) -> None:
    file = await stored(blobs, b"packed")
    filled: list[Path] = []

    async def fill(folder: Path) -> None:
        filled.append(folder)
        (folder / "a").write_bytes(await blobs.read(file, 0, 3))
        (folder / "b").write_bytes(await blobs.read(file, 3, 3))

    async def unpacked() -> dict[str, bytes]:
        async with blobs.unpacked(file, 6, fill) as folder:
            return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert await asyncio.gather(*(unpacked() for _ in range(5))) == [{"a": b"pac", "b": b"ked"}] * 5
    assert len(filled) == 1


async def test_a_deleted_file_leaves_nothing_unpacked(blobs: Blobs, tmp_path: Path) -> None:
    file = await stored(blobs, b"packed")

    async def fill(folder: Path) -> None:
        (folder / "a").write_bytes(b"1")

    async with blobs.unpacked(file, 1, fill) as folder:
        pass
    assert (folder / "a").exists()
    await blobs.delete(file)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with pytest.raises(Reject, match=file):
        await blobs.unpacked(file, 1, fill).__aenter__()


async def test_a_file_on_its_way_is_not_unpacked(blobs: Blobs) -> None:
    file = await stored(blobs, b"data", commit=False)

    async def fill(folder: Path) -> None:
        raise AssertionError("there is nothing whole to unpack")

    with pytest.raises(Reject):
        await blobs.unpacked(file, 1, fill).__aenter__()


class Downloads:
    """Copies of known bytes; counts how often they are made."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.made: list[str] = []

    def of(self, name: str, length: int = 100, *, real: int | None = None) -> Any:
        async def download() -> AsyncIterator[bytes]:
            self.made.append(name)
            yield bytes(length if real is None else real)

        return self.scratch.copy(name, "", length, download)

    async def use(self, *names: str) -> None:
        for name in names:
            async with self.of(name):
                pass


async def test_the_least_recently_used_copy_goes_first(tmp_path: Path) -> None:
    downloads = Downloads(Scratch(tmp_path, 300))

    await downloads.use("a", "b", "c", "a", "d")
    assert downloads.made == ["a", "b", "c", "d"]

    await downloads.use("a", "c", "d", "b")
    assert downloads.made == ["a", "b", "c", "d", "b"]
    assert len(list(tmp_path.glob("*/data"))) == 3


async def test_an_open_copy_stays_however_little_room_there_is(tmp_path: Path) -> None:
    downloads = Downloads(Scratch(tmp_path, 150))

    async with downloads.of("a") as a, downloads.of("b") as b:
        async with downloads.of("larger than all", 1000) as larger:
            assert larger.stat().st_size == 1000
        assert a.stat().st_size == b.stat().st_size == 100

    await downloads.use("c")
    assert [path.parent.name for path in tmp_path.glob("*/data")] == ["c"]


async def test_a_download_of_another_length_leaves_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    downloads = Downloads(Scratch(tmp_path, 1000))

    with pytest.raises(Reject, match="100 bytes long, but 99 bytes"):
        await downloads.of("a", real=99).__aenter__()
    assert [path.name for path in tmp_path.glob("*/*")] == ["lock"]

    await downloads.use("a")
    assert downloads.made == ["a", "a"]


async def test_what_a_crash_left_half_downloaded_is_replaced_or_goes(tmp_path: Path) -> None:
    downloads = Downloads(Scratch(tmp_path, 250))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x" * 200)

    async with downloads.of("a") as path:
        assert path.read_bytes() == bytes(100)

    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*") if path.name != "lock"] == ["a/data"]


async def test_a_copy_that_lost_its_end_with_the_machines_power_is_made_again(tmp_path: Path) -> None:
    downloads = Downloads(Scratch(tmp_path, 1000))
    async with downloads.scratch.copy("a", ".svs", 0, lambda: nothing()) as path:
        assert path.stat().st_size == 0

    async with downloads.of("a") as path:
        assert path.read_bytes() == bytes(100)
    assert [path.name for path in (tmp_path / "a").iterdir() if path.name != "lock"] == ["data"]


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def test_a_cancelled_download_frees_the_lock(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, 1000)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(scratch.copy("a", "", 100, endless).__aenter__())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await asyncio.wait_for(Downloads(scratch).use("a"), 10)


OTHER_PROCESS = """
import asyncio, os, sys
from pathlib import Path
from shared.blobs.scratch import Scratch

async def download():
    for _ in range(20):
        yield f"{os.getpid():10d}".encode()
        await asyncio.sleep(0.005)

async def main():
    async with Scratch(Path(sys.argv[1]), 10**6).copy("a", ".svs", 200, download) as path:
        print(path.read_text())

asyncio.run(main())
"""


async def test_the_processes_of_a_host_share_one_download(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        processes = []
        for _ in range(4):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", OTHER_PROCESS, str(tmp_path), stdout=asyncio.subprocess.PIPE
            )
            stack.push_async_callback(process.wait)
            processes.append(process)
        said = {(await process.communicate())[0] for process in processes}

    assert len(said) == 1
    content = said.pop().decode().strip("\n")
    assert content == content[:10] * 20


@pytest.fixture
async def real_blobs(emptied: Real, tmp_path: Path) -> GridFSBlobs:
    blobs = GridFSBlobs(*emptied, tmp_path / "scratch", 2**30)
    await blobs.prepare()
    return blobs


@pytest.mark.broker
async def test_a_foreign_driver_reads_a_committed_file(
    real_blobs: GridFSBlobs, plain_client: MongoClient[dict[str, Any]]
) -> None:
    data = random.randbytes(3 * 300_000 + 17)
    file = await stored(real_blobs, data, chunk=300_000, commit=False)
    bucket = gridfs.GridFSBucket(plain_client[DATABASE])
    with bucket.open_download_stream(file) as empty:
        assert (empty.length, empty.read()) == (0, b"")

    await real_blobs.commit(file, length=len(data), md5=md5_of(data), sha256=sha256_of(data))

    with bucket.open_download_stream_by_name("Präparat 1.svs") as whole:
        assert whole.read() == data
        assert (whole._id, whole.chunk_size, whole.length) == (file, 300_000, len(data))
        whole.seek(299_990)
        assert whole.read(20) == data[299_990:300_010]
    document = plain_client[DATABASE]["fs.files"].find_one({"_id": file})
    assert document is not None
    assert document["md5"] == md5_of(data)
    assert document["metadata"] == {"complete": True, "sha256": sha256_of(data), "refs": [f"{'a' * 32}:1"]}


@pytest.mark.broker
async def test_counting_chunks_reads_none_of_them(
    real_blobs: GridFSBlobs, plain_client: MongoClient[dict[str, Any]]
) -> None:
    file = await stored(real_blobs, bytes(5 * CHUNK))
    database = plain_client[DATABASE]
    database.command("profile", 2)
    try:
        assert len(await real_blobs.chunks(file)) == 5
    finally:
        database.command("profile", 0)

    seen = database["system.profile"].find_one({"ns": f"{DATABASE}.fs.chunks"}, sort=[("$natural", -1)])
    database.drop_collection("system.profile")
    assert seen is not None
    assert (seen["docsExamined"], seen["nreturned"]) == (0, 5)


@pytest.mark.broker
async def test_gridfs_is_prepared_however_many_services_start_at_once(
    emptied: Real, plain_client: MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    name = f"blobs-{uuid.uuid4().hex}"

    await asyncio.gather(*(GridFSBlobs(emptied.client, name, tmp_path, 1).prepare() for _ in range(5)))

    database = plain_client[name]
    chunks, files = database["fs.chunks"].index_information(), database["fs.files"].index_information()
    stats = database.command("collStats", "fs.chunks")
    plain_client.drop_database(name)
    assert chunks["files_id_1_n_1"]["unique"] is True
    assert "filename_1_uploadDate_1" in files
    assert "block_compressor=none" in stats["wiredTiger"]["creationString"]


async def test_an_open_copy_is_never_taken_away_by_those_who_need_the_room(tmp_path: Path) -> None:
    """Several users, as several processes have, of far too little room."""

    async def use(rng: random.Random) -> None:
        downloads = Downloads(Scratch(tmp_path, 150))
        for _ in range(60):
            async with downloads.of(rng.choice("abcd")) as path:
                await asyncio.sleep(rng.random() / 500)
                assert path.read_bytes() == bytes(100)

    await asyncio.gather(*(use(random.Random(n)) for n in range(6)))
