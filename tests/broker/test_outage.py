"""MongoDB dies with 200 images queued: they wait, and that is all that happens to them."""

import asyncio
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQ
from shared.blobs import Blobs
from shared.blobs.memory import MemoryBlobs
from shared.bus import Consumer, Environment, Message
from shared.bus import topology as table
from shared.bus.rabbit import RabbitBus
from shared.bus.runner import Runner
from shared.clock import SystemClock
from shared.events import Event, FileComplete
from shared.mongo import connect
from shared.store import Store
from shared.store.documents.images import Session
from shared.store.mongo import MongoStore
from shared.tiles import Tiles
from shared.tiles.memory import MemoryTiles
from tests.brokers import own_prefix
from tests.events import NOW, file_complete, image_id

pytestmark = pytest.mark.broker

IMAGES = 200
PATIENCE = 60.0


async def handle(event: FileComplete, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
    """Leaves a trace of each event in the database, as a stage does."""
    await store.sessions.insert(Session(id=event.image, title="seen", owner="a" * 32, created=NOW))
    return []


async def failed(event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
    raise AssertionError(reason)


async def waiting_in(server: RabbitMQ, queues: list[str]) -> list[int | None]:
    async with await aio_pika.connect(server.amqp) as connection:
        channel = await connection.channel()
        declared = [await channel.declare_queue(queue, passive=True) for queue in queues]
        return [queue.declaration_result.message_count for queue in declared]


async def test_a_dead_mongodb_costs_the_backlog_nothing(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    with Mongod(tmp_path / "mongod", free_port(), cache_gb=0.25) as server:
        async with own_prefix(rabbitmq) as prefix:
            client = connect(server.url)
            store = MongoStore(client, "slidemill")
            await store.prepare()
            bus = RabbitBus(rabbitmq.amqp, prefix)
            await bus.connect()
            environments = {"slidemill": Environment(store, MemoryBlobs(tmp_path), MemoryTiles())}
            runner = Runner(bus, Consumer("dicer", {FileComplete: handle}, failed, 4), environments, SystemClock())
            stop = asyncio.Event()
            running = asyncio.create_task(runner.run(stop))

            await asyncio.to_thread(server.kill)
            await bus.publish([Message(file_complete(image=image_id(number))) for number in range(IMAGES)])
            async with asyncio.timeout(PATIENCE):
                # What the runner has taken stays with it, the rest in the queue.
                while await bus.depth("dicer") != IMAGES - 4:
                    await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(PATIENCE):
                while await store.sessions.count({}) < IMAGES:
                    await asyncio.sleep(0.1)

            assert not running.done()
            stop.set()
            async with asyncio.timeout(PATIENCE):
                await running
            await bus.close()
            client.close()
            unwanted = [table.dead_queue(prefix, "dicer"), *(table.delay_name(prefix, delay) for delay in (1, 2, 3))]
            assert await waiting_in(rabbitmq, unwanted) == [0, 0, 0, 0]
