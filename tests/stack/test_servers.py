"""The private servers behind the broker tests and the local stack."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.local.mongod import Mongod
from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQ

pytestmark = pytest.mark.broker


def test_mongod_takes_majority_writes_in_a_transaction(mongod: str) -> None:
    """The one node is a replica set, so that transactions and majority writes work."""
    with MongoClient[Mapping[str, Any]](mongod) as client, client.start_session() as session:
        client["stack_probe"]["writes"].drop()
        with session.start_transaction():
            client["stack_probe"]["writes"].insert_one({"_id": 1}, session=session)

        assert client["stack_probe"]["writes"].count_documents({}) == 1


def test_mongod_refuses_strangers(mongod: str) -> None:
    """Without the password nothing can be read, even from this machine."""
    address = mongod.partition("@")[2].partition("/")[0]

    with (
        MongoClient[Mapping[str, Any]](f"mongodb://{address}/?directConnection=true") as client,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        client["stack_probe"]["writes"].find_one()


def test_mongod_keeps_data_when_its_port_changes(tmp_path: Path) -> None:
    """A second start on another port finds the data of the first, though the replica set knew the old address."""
    with Mongod(tmp_path, free_port(), cache_gb=0.25) as first, MongoClient[Mapping[str, Any]](first.url) as client:
        client["slides"]["kept"].insert_one({"_id": "slide"})

    with Mongod(tmp_path, free_port(), cache_gb=0.25) as second, MongoClient[Mapping[str, Any]](second.url) as client:
        assert second.port != first.port
        assert client["slides"]["kept"].find_one() == {"_id": "slide"}


async def test_rabbitmq_keeps_messages_over_a_restart(rabbitmq: RabbitMQ) -> None:
    """What was confirmed before a restart is there after it."""
    async with await aio_pika.connect(rabbitmq.amqp) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("stack.kept", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"slide", delivery_mode=2), queue.name)
    # A broker killed within half a second of the declaration forgets which log belongs to the queue.
    (names,) = rabbitmq.folder.glob("mnesia/*/quorum/*/names.dets")
    async with asyncio.timeout(30):
        while b"stack.kept" not in await asyncio.to_thread(names.read_bytes):
            await asyncio.sleep(0.05)

    await asyncio.to_thread(rabbitmq.kill)
    await asyncio.to_thread(rabbitmq.start)

    async with await aio_pika.connect(rabbitmq.amqp) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("stack.kept")
        async with queue.iterator(timeout=30) as deliveries:
            message = await anext(deliveries)
            await message.ack()
        await queue.delete(if_unused=False, if_empty=False)
    assert message.body == b"slide"


def test_servers_listen_on_loopback_alone(mongod: str, rabbitmq: RabbitMQ) -> None:
    """Nothing of a private server can be reached from another machine."""
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    local = [line.split()[3] for line in listening.splitlines()]
    ports = {rabbitmq.port, rabbitmq.management_port, int(mongod.rpartition(":")[2].partition("/")[0])}

    assert {address for address in local if int(address.rpartition(":")[2]) in ports} == {
        f"127.0.0.1:{port}" for port in ports
    }
