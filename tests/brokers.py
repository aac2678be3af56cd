"""A topology of one's own on a broker that several tests share."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika

from deploy.local.rabbitmq import RabbitMQ
from shared.bus import topology as table
from shared.bus.rabbit import apply


@asynccontextmanager
async def own_prefix(server: RabbitMQ) -> AsyncIterator[str]:
    """The topology under a name that nobody else has."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    await apply(server.amqp, prefix, "ours")
    try:
        yield prefix
    finally:
        async with await aio_pika.connect(server.amqp) as connection:
            channel = await connection.channel()
            for queue in table.queues(prefix):
                await channel.queue_delete(queue.name)
