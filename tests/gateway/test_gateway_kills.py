"""Gateways as real processes on a real MongoDB, killed while files are on their way."""

import asyncio
import hashlib
import http.client
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import gridfs
import pymongo
import pytest

from services.sync.expiry import expire
from services.upload.core.spans import Span, joined
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.relay import relay
from shared.bus.memory import MemoryBus
from shared.clock import ManualClock, SystemClock
from shared.mongo import connect
from shared.store.mongo import MongoStore
from tests.gateway.conftest import sha256, slide
from tests.serving import Client, GatewayProcess, prepare

pytestmark = [pytest.mark.broker, pytest.mark.slow]

T = TypeVar("T")
CHUNK = 256 * 1024
ODD = 100_000
PATIENCE = 60.0


@pytest.fixture
def database(mongod: str) -> Iterator[str]:
    name = f"kills_{uuid.uuid4().hex[:8]}"
    prepare(mongod, name)
    yield name
    with pymongo.MongoClient[dict[str, Any]](mongod) as client:
        client.drop_database(name)


@dataclass
class Sender:
    """Sends to whichever of the gateways answers, and keeps at it; every call is a connection of its own."""

    urls: list[str]
    retried: Callable[[], None] = lambda: None

    def insist(self, work: Callable[[Client], T], first: int = 0) -> T:
        deadline = time.monotonic() + PATIENCE
        for n in range(first, first + 100_000):
            try:
                with Client(self.urls[n % len(self.urls)]) as client:
                    return work(client)
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline, "no gateway answers"
                self.retried()
                time.sleep(0.02)
        raise AssertionError

    def send(self, session: str, data: bytes, span: Span, id: str | None, name: str, first: int = 0) -> dict[str, Any]:
        def work(client: Client) -> dict[str, Any]:
            status, told = client.send(
                session, data[span.start : span.stop], span.start, len(data), id, name=name, key="" if id else name
            )
            assert status in (200, 201), told
            return dict(told)

        return self.insist(work, first)

    def held(self, session: str, id: str) -> list[Span]:
        status, told = self.insist(lambda client: client.ask("GET", f"/api/v1/sessions/{session}/files/{id}"))
        assert status == 200, told
        return [Span(part["start"], part["end"] + 1) for part in told["ranges"]]


def test_two_gateways_share_an_upload_and_one_of_them_is_killed(mongod: str, database: str, tmp_path: Path) -> None:
    data = slide(40 * CHUNK + 99)
    spans = [Span(at, min(at + CHUNK, len(data))) for at in range(0, len(data), CHUNK)]
    with GatewayProcess(mongod, database, tmp_path) as left, GatewayProcess(mongod, database, tmp_path) as right:
        sender = Sender([left.url, right.url])
        with Client(left.url) as client:
            session = client.session()
        id = sender.send(session, data, spans[0], None, "shared.svs")["_id"]
        acknowledged: list[Span] = [spans[0]]

        def send(n: int) -> dict[str, Any]:
            # Alternating between the two; what the killed one does not answer goes to the other.
            told = sender.send(session, data, spans[n], id, "shared.svs", first=n)
            acknowledged.append(spans[n])
            if len(acknowledged) == 15:
                right.kill()
            return told

        with ThreadPoolExecutor(4) as threads:
            order = random.Random(3).sample(range(1, len(spans)), len(spans) - 1)
            answers = list(threads.map(send, order))

        assert any(answer["done"] for answer in answers)
        assert sender.held(session, id) == joined(acknowledged) == [Span(0, len(data))]
    with pymongo.MongoClient[dict[str, Any]](mongod) as driver:
        out = gridfs.GridFSBucket(driver[database]).open_download_stream(id)
        read = out.read()
        assert hashlib.sha256(read).hexdigest() == sha256(data)
        stored = driver[database]["fs.files"].find_one({"_id": id})
        assert stored is not None
        assert stored["md5"] == hashlib.md5(data).hexdigest()


@dataclass
class Upload:
    """A file on its way, and what of it was acknowledged."""

    n: int
    step: int
    data: bytes
    acknowledged: list[Span] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.n:03}.svs"

    def send(self, session: str, url: str, acked: Callable[[], None]) -> None:
        """Sends range after range; after each break asks what is there, which must be what was acknowledged."""
        broken = threading.Event()
        sender = Sender([url], broken.set)
        id: str | None = None
        for at in range(0, len(self.data), self.step):
            span = Span(at, min(at + self.step, len(self.data)))
            if id is not None and broken.is_set():
                broken.clear()
                held = sender.held(session, id)
                assert joined([*held, *self.acknowledged]) == held
            told = sender.send(session, self.data, span, id, self.name)
            id = told["_id"]
            self.acknowledged.append(span)
            acked()
        assert told["done"], told


def test_a_hundred_uploads_survive_a_gateway_that_is_killed_at_random_moments(
    mongod: str, database: str, tmp_path: Path
) -> None:
    chance = random.Random(7)
    uploads = []
    for n in range(100):
        step = ODD if n % 4 == 0 else CHUNK
        uploads.append(Upload(n, step, slide(chance.randint(step + 1, 5 * step), seed=n)))
    total = sum(-(-len(upload.data) // upload.step) for upload in uploads)
    # Each death is due after so many ranges more, and a moment later.
    deaths = sorted(chance.sample(range(5, total - 10), 6))
    acked = threading.Semaphore(0)

    with GatewayProcess(mongod, database, tmp_path) as gateway, Client(gateway.url) as client:
        session = client.session()

        def kill_now_and_then() -> None:
            for before, due in zip([0, *deaths], deaths, strict=False):
                for _ in range(due - before):
                    assert acked.acquire(timeout=PATIENCE)
                time.sleep(chance.random() * 0.03)
                gateway.kill()
                gateway.start()

        with ThreadPoolExecutor(9) as threads:
            killing = threads.submit(kill_now_and_then)
            list(threads.map(lambda upload: upload.send(session, gateway.url, acked.release), uploads))
            killing.result()
        asyncio.run(sweep(mongod, database, tmp_path))
        images = Sender([gateway.url]).insist(
            lambda client: client.ask("GET", f"/api/v1/sessions/{session}/images?limit=1000")[1]["items"]
        )

    assert sorted(image["name"] for image in images) == [upload.name for upload in uploads]
    told = {image["name"]: image for image in images}
    with pymongo.MongoClient[dict[str, Any]](mongod) as driver:
        files = {file["filename"]: file for file in driver[database]["fs.files"].find()}
        bucket = gridfs.GridFSBucket(driver[database])
        for upload in uploads:
            assert told[upload.name]["state"] == "dicing"
            assert told[upload.name]["sha256"] == sha256(upload.data)
            assert sha256(bucket.open_download_stream(files[upload.name]["_id"]).read()) == sha256(upload.data)
        assert len(files) == 100
        owners = driver[database]["fs.chunks"].distinct("files_id")
        assert set(owners) == {file["_id"] for file in files.values()}
        assert driver[database]["fs.chunks"].count_documents({}) == sum(
            -(-file["length"] // file["chunkSize"]) for file in files.values()
        )


async def sweep(mongod: str, database: str, folder: Path) -> None:
    """What the tick does a day later."""
    client = connect(mongod)
    clock = ManualClock(SystemClock().now() + timedelta(hours=25))
    blobs = GridFSBlobs(client, database, folder, 10**9)
    store, bus = MongoStore(client, database), MemoryBus()
    await relay(store, blobs, bus, database=database, clock=clock, stale=timedelta(seconds=20))
    await expire(store, blobs, bus, database=database, limit=1000, clock=clock)
    client.close()
