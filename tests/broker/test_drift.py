"""`topology check`: each way in which a broker can be otherwise than the table is told, and nothing is touched."""

import json
import uuid
from collections.abc import AsyncIterator

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from deploy.local.rabbitmq import RabbitMQ
from services.ops.drift import Difference, differences
from services.ops.topology import broker_has
from shared.bus import topology as table
from shared.bus.rabbit import apply

pytestmark = pytest.mark.broker


class Place:
    """An applied topology under a prefix of its own, and a channel to spoil it with."""

    def __init__(self, server: RabbitMQ, channel: AbstractChannel) -> None:
        self.server = server
        self.channel = channel
        self.prefix = f"t{uuid.uuid4().hex[:8]}"

    async def differences(self) -> list[Difference]:
        claim = table.Exchange(table.claim_exchange(self.prefix, "ours"), "fanout")
        exchanges = [*table.exchanges(self.prefix), claim]
        actual = await broker_has(self.server.amqp, self.server.management)
        return differences(exchanges, table.queues(self.prefix), actual, self.prefix)


@pytest.fixture
async def place(rabbitmq: RabbitMQ) -> AsyncIterator[Place]:
    async with await aio_pika.connect(rabbitmq.amqp) as connection:
        place = Place(rabbitmq, await connection.channel())
        await apply(rabbitmq.amqp, place.prefix, "ours")
        yield place
        for queue in table.queues(place.prefix):
            await place.channel.queue_delete(queue.name)
        for exchange in (
            *table.exchanges(place.prefix),
            *(table.Exchange(f"{place.prefix}.{name}", "fanout") for name in ("claim.ours", "claim.theirs")),
        ):
            await place.channel.exchange_delete(exchange.name)


async def test_an_applied_topology_does_not_differ(place: Place) -> None:
    assert await place.differences() == []


async def test_each_difference_is_told_and_left_as_it_is(place: Place) -> None:
    prefix, channel = place.prefix, place.channel
    dead, lane = table.dead_queue(prefix, "sync"), table.stage_queue(prefix, "dicer", "bulk")
    events = table.events_exchange(prefix)
    await channel.queue_delete(dead)
    await channel.declare_queue(dead, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 5})
    await channel.queue_delete(table.delay_name(prefix, 1))
    await channel.declare_queue(f"{prefix}.old.bulk", durable=True)
    await channel.declare_exchange(table.claim_exchange(prefix, "theirs"), "fanout", durable=True)
    queue = await channel.get_queue(lane, ensure=False)
    await queue.bind(events, "fact.#")
    await queue.unbind(events, "work.dice-block.bulk")

    found = await place.differences()

    assert {(one.kind, one.name, one.what, one.field) for one in found} == {
        ("queue", dead, "differs", "x-delivery-limit"),
        ("queue", dead, "differs", "x-max-length"),
        ("queue", dead, "differs", "x-overflow"),
        ("binding", f"{prefix}.dead --sync--> {dead}", "missing", None),
        ("queue", table.delay_name(prefix, 1), "missing", None),
        ("binding", f"{table.delay_name(prefix, 1)} ----> {table.delay_name(prefix, 1)}", "missing", None),
        ("queue", f"{prefix}.old.bulk", "unexpected", None),
        ("exchange", table.claim_exchange(prefix, "theirs"), "unexpected", None),
        ("binding", f"{events} --fact.#--> {lane}", "unexpected", None),
        ("binding", f"{events} --work.dice-block.bulk--> {lane}", "missing", None),
    }
    (limit,) = [one for one in found if one.field == "x-max-length"]
    assert limit.sentence == f"queue {dead}: x-max-length is 5, the table says 1000000"
    assert await place.differences() == found
    json.dumps([one.expected for one in found])
    await channel.queue_delete(f"{prefix}.old.bulk")
