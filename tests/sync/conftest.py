"""Memory ports, a clock that stands still, and versions in any state."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.rabbitmq import RabbitMQ
from shared.blobs.memory import MemoryBlobs
from shared.bus.envelope import decode
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.clock import ManualClock
from shared.events import Event
from shared.store.documents.images import Image, Session
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version, VersionId
from shared.store.memory import MemoryStore
from shared.tiles.geometry import Geometry
from shared.tiles.memory import MemoryTiles
from tests.brokers import remove_topology
from tests.sync.place import Place
from tests.sync.watching import Watch

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SESSION, OWNER = "5" * 32, "a" * 32


def image_id(number: int) -> str:
    return f"{number:032x}"


class House:
    """What the sync service looks after."""

    def __init__(self, scratch: Path) -> None:
        self.clock = ManualClock(NOW)
        self.store = MemoryStore()
        self.blobs = MemoryBlobs(scratch)
        self.tiles = MemoryTiles()
        self.broker = MemoryBroker(self.clock)
        self.bus = MemoryBus(self.broker)

    def queued(self, stage: str, lane: str) -> list[Event]:
        """What waits in a stage's queue, in order."""
        return [decode(stored.headers, stored.body) for stored in self.broker[f"slidemill.{stage}.{lane}"].ready]

    async def put_version(
        self, number: int = 1, *, state: str = "dicing", still: timedelta = timedelta(), reissues: int = 0
    ) -> VersionId:
        """A version in this state that nothing has touched for `still`, with everything its announcement needs."""
        id = VersionId(image=image_id(number), n=1)
        ended = {"started": NOW - timedelta(days=3), "ended": NOW - timedelta(days=2)}
        stages: dict[str, Any] = {"upload": ended}
        if state in ("folding", "finishing"):
            stages["dice"] = ended
        if state == "finishing":
            stages["fold"] = ended
        await self.store.images.insert(Image(id=id.image, session=SESSION, name="a.svs", latest=1, created=NOW))
        await self.store.versions.insert(
            Version.model_validate(
                {
                    "_id": id,
                    "session": SESSION,
                    "file": image_id(number),
                    "name": "a.svs",
                    "length": 8,
                    "md5": "m" * 32,
                    "sha256": "s" * 64,
                    "state": state,
                    "stages": stages,
                    "geometry": Geometry(width=600, height=400, tile=256),
                    "base": "copied",
                    "reissues": reissues,
                    "created": NOW - timedelta(days=3),
                    "updated": self.clock.now() - still,
                }
            )
        )
        return id

    async def version(self, number: int = 1) -> Version:
        version = await self.store.versions.get(VersionId(image=image_id(number), n=1))
        assert version is not None
        return version

    async def put_upload(self, number: int = 1, *, idle: timedelta, chunks: Sequence[bytes] = (b"12345678",)) -> str:
        """An upload of 20 bytes with these chunks stored, and its image in state uploading."""
        id = image_id(number)
        moment = self.clock.now() - idle
        await self.store.sessions.insert(Session(id=SESSION, title="Case 12", owner=OWNER, created=NOW))
        await self.store.uploads.insert(
            Upload(
                id=id,
                session=SESSION,
                image=id,
                version=1,
                owner=OWNER,
                name="a.svs",
                total=20,
                chunk=8,
                stored=sum(map(len, chunks)),
                created=moment,
                updated=moment,
            )
        )
        await self.blobs.create(id, name="a.svs", chunk=8, refs=(f"{id}:1",))
        for n, data in enumerate(chunks):
            await self.blobs.put_chunk(id, n, data)
        await self.store.images.insert(Image(id=id, session=SESSION, name="a.svs", latest=1, created=moment))
        await self.store.versions.insert(
            Version.model_validate(
                {
                    "_id": VersionId(image=id, n=1),
                    "session": SESSION,
                    "file": id,
                    "name": "a.svs",
                    "stages": {"upload": {"started": moment}},
                    "created": moment,
                    "updated": moment,
                }
            )
        )
        return id


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def watch_folder(house: House, tmp_path: Path, blobs: Any, store: Any = None) -> Watch:
    root = tmp_path / "slides"
    root.mkdir()
    watch = Watch(root, store or house.store, {"blobs": blobs, "tiles": house.tiles}, house.bus, house.clock)
    await watch.add()
    return watch


@pytest.fixture
async def watch(house: House, tmp_path: Path) -> Watch:
    return await watch_folder(house, tmp_path, house.blobs)


@pytest.fixture
async def place(mongod: str, rabbitmq: RabbitMQ) -> AsyncIterator[Place]:
    built = Place(mongod, rabbitmq.amqp)
    try:
        yield built
    finally:
        await built.client.drop_database(built.name)
        built.client.close()
        await remove_topology(rabbitmq.amqp, built.name)
