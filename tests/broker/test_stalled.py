"""A worker that was stopped for so long that its message went to another one: woken, it changes nothing."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from deploy.local.rabbitmq import RabbitMQ
from shared.blobs.gridfs import GridFSBlobs
from shared.bus import Message
from shared.clock import SystemClock
from shared.mongo import connect
from shared.stages.facts import announcement
from shared.store.documents.versions import Version, VersionId
from shared.store.mongo import MongoStore
from shared.tiles.mongo import MongoTiles
from tests.broker.test_service import PATIENCE, Deployment
from tests.pipeline.mill import store_upload
from tests.slides.aperio import write_svs

pytestmark = [pytest.mark.broker, pytest.mark.slow]

IMAGE = "ab" * 16
DICER = "tests.broker.impatient"


async def until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not await true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"Not within {PATIENCE:.0f} s: {what}.")


def everything(mongodb: str, database: str) -> dict[str, list[str]]:
    """Every document of every collection."""
    with MongoClient[dict[str, Any]](mongodb) as client:
        names = client[database].list_collection_names()
        return {name: sorted(map(repr, client[database][name].find({}))) for name in names}


async def test_a_worker_that_was_stopped_past_its_messages_redelivery_changes_nothing_once_it_wakes(
    mongod: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    slide = tmp_path / "large.svs"
    write_svs(slide, 9000, 9000)
    deployment = Deployment(mongod, rabbitmq, tmp_path / "scratch")
    await deployment.apply()
    client = connect(mongod)
    store = MongoStore(client, deployment.database)
    blobs = GridFSBlobs(client, deployment.database, tmp_path / "own", 2**30)
    for port in (store, blobs, MongoTiles(client, deployment.database)):
        await port.prepare()
    await store_upload(slide, IMAGE, store=store, blobs=blobs, now=SystemClock().now())

    async def version() -> Version:
        found = await store.versions.get(VersionId(image=IMAGE, n=1))
        assert found is not None
        return found

    async def at_work() -> bool:
        return bool(await store.blocks.count({"done": False, "by": "dicer-1"}))

    async def is_cut() -> bool:
        return (await version()).state == "folding"

    first = await deployment.start(DICER, SLIDEMILL_SERVICE="dicer-1")
    try:
        await first.ready()
        fact = announcement(await version(), deployment.database)
        assert fact is not None
        bus = await deployment.bus()
        await bus.publish([Message(fact)])
        await bus.close()
        await until(at_work, "the first dicer has a block in its hands")
        first.process.send_signal(signal.SIGSTOP)
        assert (await version()).state == "dicing"
        second = await deployment.start(DICER, SLIDEMILL_SERVICE="dicer-2")
        await until(is_cut, "the broker gives the stopped one's work to the other")
        assert "dicer-2" in (await version()).workers
        second.process.terminate()
        assert await second.ended() == 0
        before = everything(mongod, deployment.database)

        async def too_late() -> bool:
            return any("came too late" in line["event"] for line in first.lines)

        first.process.send_signal(signal.SIGCONT)
        await until(too_late, "the first one has seen its work through, and the broker wants no word of it")
        await first.ready()
        first.process.terminate()
        assert await first.ended() == 0

        assert everything(mongod, deployment.database) == before, first.lines
    finally:
        await deployment.close()
        client.close()
