import asyncio
import random
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.relay import relay
from shared.bus.memory import MemoryBus
from shared.clock import ManualClock
from shared.errors import Unavailable
from shared.mongo import connect
from shared.repair import MOST_REISSUES, give_up, reissue
from shared.stages.states import STAGE_OF_STATE
from shared.store import Change, Greater, In, Less, Store
from shared.store.documents.accounts import Account, SignIn
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.entries import Entry, EntryId
from shared.store.documents.images import Session
from shared.store.documents.ticks import Tick
from shared.store.documents.uploads import Upload, Wish
from shared.store.documents.versions import Failure, Recipe, Source, Stage, Stages, Version, VersionId
from shared.store.memory import MemoryStore
from shared.store.mongo import MongoStore
from shared.tiles import Tile
from shared.tiles.geometry import Geometry, Rect
from shared.tiles.mongo import MongoTiles
from tests.contract.conftest import DATABASE, Real

NOW = datetime(2026, 3, 4, 5, 6, 7, 891000, tzinfo=UTC)


@pytest.fixture
async def store(real: Real | None) -> Store:
    store: Store = MemoryStore() if real is None else MongoStore(*real)
    await store.prepare()
    return store


def an_id() -> str:
    return uuid.uuid4().hex


def a_version(image: str | None = None, n: int = 1, **fields: Any) -> Version:
    about = {"session": "s", "file": "f", "name": "slide.svs", "created": NOW, "updated": NOW} | fields
    return Version(id=VersionId(image=image or an_id(), n=n), **about)


def a_block(n: int = 0, image: str = "i" * 32, **fields: Any) -> Block:
    about = {"rect": Rect(level=0, top=0, left=0, bottom=2, right=2), "tiles": 4, "issued": NOW} | fields
    return Block(id=BlockId(image=image, version=1, stage="dice", n=n), **about)


def an_upload(**fields: Any) -> Upload:
    about = {"session": "s", "image": "i", "version": 1, "owner": "o", "name": "n", "total": 1, "chunk": 1} | fields
    return Upload(id=an_id(), created=NOW, updated=NOW, **about)


def a_session(created: datetime = NOW, **fields: Any) -> Session:
    return Session(id=an_id(), created=created, **({"title": "t", "owner": "o"} | fields))


async def test_a_document_comes_back_as_it_went_in(store: Store) -> None:
    version = a_version(
        stages=Stages(upload=Stage(started=NOW, ended=NOW + timedelta(seconds=1), done=5 * 2**40, total=5 * 2**40)),
        failure=Failure(stage="dice", reason="Müßig.", remedy="Nochmal."),
        wish=Wish(quality=91),
        recipe=Recipe(revision=1, quality=80, subsampling="420", tile=256),
        source=Source(
            reader="tiff-tiles",
            suffix=".svs",
            mpp=0.25,
            properties={"a b": "c"},
            layout={"rows": [1, [2, 3]], "x": None},
        ),
        geometry=Geometry(width=100_000, height=50_000, tile=240),
        planned=("dice", "fold"),
        workers=("dicer@a",),
    )
    block = a_block(root=b"\x00\xff", sparse=b"", extents=bytes(1000))

    await store.versions.insert(version)
    await store.blocks.insert(block)

    assert await store.versions.get(version.id) == version
    assert await store.blocks.get(block.id) == block


async def test_times_come_back_in_utc_cut_to_milliseconds(store: Store) -> None:
    elsewhere = datetime(2026, 3, 4, 7, 0, 0, 123999, tzinfo=timezone(timedelta(hours=2)))

    await store.sessions.insert(session := a_session(elsewhere))

    found = await store.sessions.get(session.id)
    assert found is not None
    assert found.created == datetime(2026, 3, 4, 5, 0, 0, 123000, tzinfo=UTC)
    assert found.created.utcoffset() == timedelta(0)


def an_entry(path: str, **fields: Any) -> Entry:
    folder, _, name = path.rpartition("/")
    about = {"token": "t", "size": 1, "mtime_ns": 2**60 + 1, "looked": NOW} | fields
    return Entry(id=EntryId(store="s", path=path), folder=folder, name=name, **about)


async def test_many_documents_are_changed_together_each_if_it_matches(store: Store) -> None:
    await store.entries.insert(*(an_entry(f"a/{n}") for n in range(3)))

    due = [
        Change(EntryId(store="s", path=f"a/{n}"), {"size": size}, {"state": "due"})
        for n, size in enumerate((1, 2, 1, 1))
    ]

    assert await store.entries.amend(*due) == 2
    assert await store.entries.amend() == 0
    found = await store.entries.find({"_id.store": "s", "folder": "a"}, sort="name")
    assert [entry.state for entry in found] == ["due", "waiting", "due"]
    assert found[0] == an_entry("a/0", state="due")
    assert await store.entries.tally({"_id.store": "s"}, ["state"]) == {("due",): 2, ("waiting",): 1}


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.versions.get(VersionId(image="x", n=1)) is None
    assert await store.versions.update(VersionId(image="x", n=1), set={"name": "y"}) is None
    assert await store.versions.take(VersionId(image="x", n=1)) is None
    assert await store.versions.find({}) == []
    assert await store.versions.count({}) == 0
    assert await store.versions.delete({}) == 0
    assert await store.versions.insert() == 0


async def test_the_first_of_two_inserts_of_an_id_stays(store: Store) -> None:
    first, later = a_block(0, by="first"), a_block(0, by="later")

    assert await store.blocks.insert(first) == 1
    assert await store.blocks.insert(a_block(1), later, a_block(2)) == 2

    assert await store.blocks.get(first.id) == first
    assert await store.blocks.count({}) == 3


async def test_numbers_are_summed_up(store: Store) -> None:
    sizes = [(f"{n % 2}", n * 2**40) for n in range(1, 6)]
    await store.uploads.insert(*(an_upload(owner=owner, total=total) for owner, total in sizes))

    assert await store.uploads.total({"owner": "1"}, "total") == 9 * 2**40
    assert await store.uploads.total({"owner": In(["0", "1"])}, "total") == 15 * 2**40
    assert await store.uploads.total({"owner": "2"}, "total") == 0
    assert await store.uploads.total({}, "md5") == 0


async def test_the_room_on_the_disk_is_some_number_of_bytes_or_not_known(store: Store) -> None:
    free = await store.free_bytes()

    assert free is None if isinstance(store, MemoryStore) else 0 < (free or 0) < 2**60


async def test_unique_keys_hold_and_are_free_again_afterwards(store: Store) -> None:
    first = an_upload(owner="o", key="k")

    assert await store.uploads.insert(first) == 1
    assert await store.uploads.insert(an_upload(owner="o", key="k"), an_upload(owner="p", key="k")) == 1
    assert await store.uploads.insert(an_upload(owner="o"), an_upload(owner="o")) == 2

    await store.uploads.take(first.id)

    assert await store.uploads.insert(an_upload(owner="o", key="k")) == 1


async def test_account_names_are_unique(store: Store) -> None:
    ada, bob = (Account(id=an_id(), name=name, created=NOW) for name in ("ada", "bob"))

    assert await store.accounts.insert(ada, Account(id=an_id(), name="ada", created=NOW), bob) == 2
    assert await store.accounts.update(bob.id, set={"name": "ada"}) is None
    assert await store.accounts.update(bob.id, set={"name": "bobby"}) is not None
    assert await store.accounts.insert(Account(id=an_id(), name="bob", created=NOW)) == 1
    assert [account.name for account in await store.accounts.find({}, sort="name")] == ["ada", "bob", "bobby"]


async def test_what_is_handed_out_is_a_copy(store: Store) -> None:
    layout = {"rows": [1, 2]}
    version = a_version(source=Source(reader="tiff-tiles", suffix=".svs", layout=layout))
    await store.versions.insert(version)
    layout["rows"].append(3)
    found = await store.versions.get(version.id)
    assert found is not None
    assert found.source is not None

    found.source.layout["rows"].append(4)

    again = await store.versions.get(version.id)
    assert again is not None
    assert again.source is not None
    assert again.source.layout == {"rows": [1, 2]}


async def test_conditions(store: Store) -> None:
    old, new = a_version("a" * 32, state="dicing", lane="bulk"), a_version("b" * 32, updated=NOW + timedelta(hours=1))
    second = a_version("b" * 32, 2, state="failed", planned=("dice", "fold"), length=7)
    await store.versions.insert(new, second, old)

    async def found(where: dict[str, Any]) -> list[Version]:
        return await store.versions.find(where)

    assert await found({}) == [old, new, second]
    assert await found({"state": "dicing"}) == [old]
    assert await found({"state": In(("dicing", "failed")), "lane": "express"}) == [second]
    assert await found({"state": In(())}) == []
    assert await found({"_id.image": "b" * 32}) == [new, second]
    assert await found({"_id.image": In(["b" * 32]), "_id.n": Greater(1)}) == [second]
    assert await found({"_id": second.id}) == [second]
    assert await found({"_id": In([old.id, second.id.model_dump()])}) == [old, second]
    assert await found({"_id": In([{"n": 1, "image": "a" * 32}])}) == []
    assert await found({"updated": Less(NOW + timedelta(minutes=1))}) == [old, second]
    assert await found({"updated": Greater(NOW)}) == [new]
    assert await found({"updated": NOW + timedelta(microseconds=999)}) == [old, second]
    assert await found({"stages.dice.started": None, "stages.nothing.at.all": None}) == [old, new, second]
    assert await found({"stages.upload.done": 0, "lane": "bulk"}) == [old]
    assert await found({"planned": "fold"}) == [second]
    assert await found({"planned": ("dice", "fold")}) == [second]
    assert await found({"planned": []}) == [old, new]


async def test_null_is_neither_less_nor_greater(store: Store) -> None:
    await store.versions.insert(a_version(), whole := a_version(length=7))

    assert await store.versions.find({"length": Less(8)}) == [whole]
    assert await store.versions.find({"length": Greater(6)}) == [whole]
    assert await store.versions.find({"length": Greater("")}) == []
    assert await store.versions.find({"length": Less(10**12)}) == [whole]


async def test_a_value_that_looks_like_an_operator_is_a_value(store: Store) -> None:
    await store.versions.insert(a_version(length=7))

    assert await store.versions.find({"length": {"$gt": 1}}) == []


@pytest.mark.parametrize("sort", ["length", "created", "_id"])
async def test_pages_hold_everything_once_in_order(store: Store, sort: str) -> None:
    versions = [
        a_version(length=random.choice([None, 1, 2]), created=NOW + timedelta(days=n % 3), n=n % 5) for n in range(23)
    ]
    await store.versions.insert(*versions)
    seen: list[Version] = []
    after = None

    while page := await store.versions.find({}, sort=sort, after=after, limit=5):
        seen += page
        last = page[-1]
        after = (last.id if sort == "_id" else getattr(last, sort), last.id)

    def place(version: Version) -> tuple[Any, ...]:
        own = () if sort == "_id" else (getattr(version, sort) or 0,) if sort == "length" else (version.created,)
        return (*own, version.id.image, version.id.n)

    assert seen == sorted(versions, key=place)


async def test_a_limit_of_none_is_none(store: Store) -> None:
    await store.sessions.insert(a_session(), a_session())

    assert await store.sessions.find({}, limit=0) == []
    assert len(await store.sessions.find({}, limit=1)) == 1


async def test_each_gives_all_in_order(store: Store) -> None:
    await store.blocks.insert(*(a_block(n, done=n % 2 == 0) for n in random.sample(range(300), 300)))

    assert [block.id.n async for block in store.blocks.each({"done": True})] == list(range(0, 300, 2))


async def test_each_may_be_left_early(store: Store) -> None:
    await store.blocks.insert(*(a_block(n) for n in range(3)))

    async for block in store.blocks.each({}):
        assert block.id.n == 0
        break

    assert await store.blocks.count({}) == 3


async def test_count_stops_at_its_limit(store: Store) -> None:
    await store.blocks.insert(*(a_block(n, done=n == 0) for n in range(5)))

    assert await store.blocks.count({"done": False}) == 4
    assert await store.blocks.count({"done": False}, limit=2) == 2
    assert await store.blocks.count({"done": True}, limit=2) == 1


async def test_tally_counts_by_the_values_at_paths(store: Store) -> None:
    await store.versions.insert(
        a_version(session="a", state="ready", length=5),
        a_version(session="a", state="ready", length=6),
        a_version(session="a", state="failed"),
        a_version(session="b", state="ready"),
        a_version(session="c", state="ready"),
    )

    tally = await store.versions.tally({"session": In(("a", "b"))}, ["session", "state"])

    assert tally == {("a", "ready"): 2, ("a", "failed"): 1, ("b", "ready"): 1}
    assert await store.versions.tally({"session": In("a")}, ["stages.upload.done"]) == {(0,): 3}
    assert await store.versions.tally({}, ["length"]) == {(5,): 1, (6,): 1, (None,): 3}
    assert await store.versions.tally({"session": "nobody's"}, ["state"]) == {}


async def test_update_changes_what_matches_and_returns_it_as_it_is_then(store: Store) -> None:
    await store.versions.insert(version := a_version(workers=("a",)), other := a_version())
    geometry = Geometry(width=3, height=4, tile=256)

    changed = await store.versions.update(
        version.id,
        when={"state": "uploading", "stages.dice.started": None, "_id.n": 1},
        set={"state": "dicing", "stages.dice.started": NOW, "geometry": geometry, "planned": ("dice",)},
        inc={"stages.dice.done": 3, "reissues": -1},
        add={"workers": "b"},
    )

    assert changed is not None
    expected = version.model_copy(
        update={
            "state": "dicing",
            "stages": Stages(dice=Stage(started=NOW, done=3)),
            "geometry": geometry,
            "planned": ("dice",),
            "reissues": -1,
            "workers": ("a", "b"),
        }
    )
    assert changed == expected == await store.versions.get(version.id)
    assert await store.versions.get(other.id) == other


async def test_update_leaves_alone_what_does_not_match(store: Store) -> None:
    await store.versions.insert(version := a_version())

    assert await store.versions.update(version.id, when={"state": "dicing"}, set={"name": "other"}) is None
    assert await store.versions.get(version.id) == version


async def test_update_of_nothing_is_a_conditional_get(store: Store) -> None:
    await store.versions.insert(version := a_version())

    assert await store.versions.update(version.id) == version
    assert await store.versions.update(version.id, when={"state": "ready"}) is None


async def test_add_is_to_a_set(store: Store) -> None:
    await store.versions.insert(version := a_version())

    for worker in ("a", "b", "a"):
        changed = await store.versions.update(version.id, add={"workers": worker})

    assert changed is not None
    assert changed.workers == ("a", "b")


async def test_fields_of_a_newer_release_survive_an_update(
    store: Store, real: Real | None, request: pytest.FixtureRequest
) -> None:
    if real is None:
        # Nothing but a newer release's own code can put such a field there, and memory does not outlive a process.
        return
    client: MongoClient[dict[str, Any]] = request.getfixturevalue("plain_client")
    await store.versions.insert(version := a_version())
    documents = client[DATABASE]["versions"]
    documents.update_one({"_id": version.id.model_dump()}, {"$set": {"stages.upload.speed": 7, "newer": 1}})

    await store.versions.update(version.id, set={"state": "dicing", "stages.upload.done": 5})

    document = documents.find_one({"_id": version.id.model_dump()})
    assert document is not None
    assert (document["newer"], document["stages"]["upload"]["speed"]) == (1, 7)
    assert list(document["_id"]) == ["image", "n"]


async def test_of_many_that_compare_and_set_one_wins(store: Store) -> None:
    await store.blocks.insert(block := a_block())

    changes = await asyncio.gather(
        *(store.blocks.update(block.id, when={"done": False}, set={"done": True, "by": str(n)}) for n in range(20))
    )

    winners = [changed for changed in changes if changed is not None]
    assert winners == [await store.blocks.get(block.id)]


async def test_of_many_that_increase_none_is_lost(store: Store) -> None:
    await store.versions.insert(version := a_version())

    await asyncio.gather(*(store.versions.update(version.id, inc={"stages.dice.done": n}) for n in range(20)))

    changed = await store.versions.get(version.id)
    assert changed is not None
    assert changed.stages.dice.done == sum(range(20))


async def test_of_many_that_insert_one_is_first(store: Store) -> None:
    uploads = [an_upload(key="k") for _ in range(20)]

    assert sum(await asyncio.gather(*(store.uploads.insert(upload) for upload in uploads))) == 1
    assert await store.uploads.count({}) == 1


async def test_one_of_many_takes(store: Store) -> None:
    await store.signins.insert(link := SignIn(id="5" * 64, account="a", expires=NOW))

    assert await store.signins.take(link.id, when={"expires": Greater(NOW)}) is None
    taken = await asyncio.gather(
        *(store.signins.take(link.id, when={"expires": Greater(NOW - timedelta(hours=1))}) for _ in range(10))
    )

    assert [document for document in taken if document is not None] == [link]
    assert await store.signins.get(link.id) is None


async def test_delete_takes_what_matches(store: Store) -> None:
    await store.ticks.insert(*(Tick(id=str(n), started=NOW + timedelta(hours=n)) for n in range(5)))

    assert await store.ticks.delete({"started": Less(NOW + timedelta(hours=2))}) == 2
    assert [tick.id for tick in await store.ticks.find({})] == ["2", "3", "4"]


async def test_a_plan_of_thousands_of_blocks(store: Store) -> None:
    blocks = [a_block(n, extents=bytes(16_000)) for n in range(2_500)]

    assert await store.blocks.insert(*blocks[::2]) == 1_250
    assert await store.blocks.insert(*blocks) == 1_250

    assert await store.blocks.count({"_id.image": "i" * 32, "done": False}) == 2_500
    assert await store.blocks.find({"_id.image": "i" * 32}, limit=3) == blocks[:3]


async def test_prepare_and_ping(store: Store) -> None:
    await asyncio.gather(*(store.prepare() for _ in range(4)))
    await store.ping()


@pytest.mark.broker
async def test_memory_answers_like_mongodb(emptied: Real) -> None:
    """Random documents, questions and changes put to both."""
    rng = random.Random(7)
    memory, mongo = MemoryStore(), MongoStore(*emptied)
    await mongo.prepare()
    versions = [
        a_version(
            f"{rng.randrange(6):032x}",
            rng.randrange(1, 8),
            state=rng.choice(["dicing", "folding", "ready"]),
            length=rng.choice([None, 1, 2, 3]),
            updated=NOW + timedelta(seconds=rng.randrange(3)),
            planned=rng.choice([(), ("dice",), ("dice", "fold")]),
        )
        for _ in range(60)
    ]
    for store in (memory, mongo):
        await store.versions.insert(*versions)
    paths = ["_id", "_id.image", "_id.n", "state", "length", "updated", "planned", "stages.dice.ended", "none.such"]

    def value(path: str) -> Any:
        document: Any = rng.choice(versions).model_dump(by_alias=True)
        for name in path.split("."):
            document = document.get(name) if isinstance(document, dict) else None
        return document

    def condition(path: str) -> Any:
        kind = rng.choice([In, Less, Greater, None])
        if kind is In:
            return In([value(path) for _ in range(rng.randrange(3))])
        if kind is None or isinstance(value(path), list | tuple):
            return value(path)
        return (found := value(path)) and kind(found)

    def where(most: int) -> dict[str, Any]:
        return {path: condition(path) for path in rng.sample(paths, rng.randrange(most + 1))}

    for _ in range(150):
        asked, sort, limit = where(2), rng.choice(["_id", "length", "updated", "_id.n"]), rng.choice([None, 4])
        place = rng.choice(versions)
        at = {"_id": place.id, "length": place.length, "updated": place.updated, "_id.n": place.id.n}[sort]
        after = rng.choice([None, (at, place.id)])
        changing, when = rng.choice(versions).id, where(1)
        fields = {"state": rng.choice(["dicing", "ready"]), "stages.dice.done": rng.randrange(5)}
        answers = []
        for store in (memory, mongo):
            answers.append(
                (
                    await store.versions.find(asked, sort=sort, after=after, limit=limit),
                    await store.versions.count(asked),
                    await store.versions.tally(asked, ["state", "length"]),
                    await store.versions.update(changing, when=when, set=fields, inc={"stored": 1}),
                )
            )
        assert answers[0] == answers[1], (asked, sort, after, when)


WORKING = In(tuple(STAGE_OF_STATE))
BLOCK = {"_id.image": "i", "_id.version": 1}
QUESTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("sessions", {"owner": "o"}, "created"),
    ("sessions", {}, "created"),
    ("uploads", {"state": "receiving", "updated": Less(NOW)}, "updated"),
    ("uploads", {"state": In(("complete", "failed")), "announced": False}, "updated"),
    ("uploads", {"session": "s"}, "_id"),
    ("images", {"session": "s"}, "created"),
    ("images", {"session": In(("s", "t"))}, "_id"),
    ("versions", {"_id.image": In(("i", "j"))}, "_id"),
    ("versions", {"session": "s"}, "_id"),
    ("versions", {"session": "s", "updated": Greater(NOW)}, "updated"),
    ("versions", {"state": WORKING, "updated": Less(NOW), "reissues": 0}, "updated"),
    ("blocks", BLOCK, "_id"),
    ("blocks", {**BLOCK, "_id.stage": "dice", "done": False}, "round"),
    ("ticks", {"started": Less(NOW)}, "_id"),
]


@pytest.mark.broker
@pytest.mark.parametrize(("collection", "where", "sort"), QUESTIONS)
async def test_no_question_reads_a_whole_collection(
    emptied: Real, plain_client: MongoClient[dict[str, Any]], collection: str, where: dict[str, Any], sort: str
) -> None:
    store = MongoStore(*emptied)
    await store.prepare()
    await store.blocks.insert(*(a_block(n) for n in range(3)))
    database = plain_client[DATABASE]
    database.command("profile", 2)
    try:
        await getattr(store, collection).find(where, sort=sort, limit=10)
    finally:
        database.command("profile", 0)

    seen = database["system.profile"].find_one({"ns": f"{DATABASE}.{collection}"}, sort=[("$natural", -1)])
    database.drop_collection("system.profile")
    assert seen is not None
    assert "COLLSCAN" not in seen["planSummary"]
    assert "IXSCAN" in seen["planSummary"] or "IDHACK" in seen["planSummary"]


@pytest.mark.broker
async def test_looking_for_what_was_lost_reads_neither_what_waits_nor_what_is_done(
    emptied: Real, plain_client: MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    """Every gateway does so every few seconds, however many images are queued or were ever sent."""
    many, limit = 300, 5
    store, blobs, bus = MongoStore(*emptied), GridFSBlobs(*emptied, tmp_path, 0), MemoryBus()
    await store.prepare()
    uploaded: dict[str, Any] = {"length": 1, "md5": "m", "sha256": "s", "stages": Stages(upload=Stage(ended=NOW))}
    await store.versions.insert(*(a_version(state="dicing", **uploaded) for _ in range(many)))
    await store.uploads.insert(*(an_upload(state="complete", announced=True) for _ in range(many)))
    clock, second = ManualClock(NOW + timedelta(hours=1)), timedelta(seconds=1)
    # From here on the dicer's queue is not empty.
    assert await reissue(store, bus, database=DATABASE, since=second, limit=1, clock=clock) == 1
    database = plain_client[DATABASE]
    database.command("profile", 2)
    try:
        assert await reissue(store, bus, database=DATABASE, since=second, limit=limit, clock=clock) == 0
        assert await give_up(store, bus, database=DATABASE, limit=limit, clock=clock) == 0
        assert await relay(store, blobs, bus, database=DATABASE, clock=clock, stale=second) == 0
    finally:
        database.command("profile", 0)

    asked = [seen for seen in database["system.profile"].find({"op": "query"}) if "docsExamined" in seen]
    database.drop_collection("system.profile")
    assert len(asked) > MOST_REISSUES
    assert sum(seen["docsExamined"] for seen in asked) <= 2 * limit
    assert sum(seen["keysExamined"] for seen in asked) < many / 3


@pytest.mark.broker
async def test_what_was_acknowledged_outlives_a_killed_server(tmp_path: Path) -> None:
    """And while it is away every port says Unavailable, and afterwards goes on with the same client."""
    with Mongod(tmp_path / "mongod", free_port(), cache_gb=0.3) as server:
        client = connect(server.url)
        store, tiles = MongoStore(client, "kept"), MongoTiles(client, "kept")
        blobs = GridFSBlobs(client, "kept", tmp_path / "scratch", 2**30)
        for port in (store, tiles, blobs):
            await port.prepare()
        await store.sessions.insert(session := a_session())
        await tiles.put([tile := Tile(b"k" * 29, b"tile")])
        await blobs.create("f", name="n", chunk=4, refs=())
        await blobs.put_chunk("f", 0, b"data")

        server.kill()

        outcomes = await asyncio.gather(
            store.ping(),
            store.sessions.update(session.id, set={"title": "x"}),
            tiles.put([Tile(b"l" * 29, b"tile")]),
            blobs.put_chunk("f", 1, b"more"),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 4
        await asyncio.to_thread(server.start)

        assert await store.sessions.get(session.id) == session
        assert await tiles.get(tile.key) == tile.data
        assert await blobs.read("f", 0, 4) == b"data"
        await store.ping()
        client.close()
