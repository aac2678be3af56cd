"""Topologies of one's own on a broker that several tests share."""

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
        await remove_topology(server.amqp, prefix)


async def remove_topology(amqp: str, prefix: str, claim: str = "ours") -> None:
    """Deletes every queue of a prefix that is there, with what is in it, and its exchanges."""
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        for queue in table.queues(prefix):
            await channel.queue_delete(queue.name)
        for exchange in table.exchanges(prefix):
            await channel.exchange_delete(exchange.name)
        await channel.exchange_delete(table.claim_exchange(prefix, claim))
