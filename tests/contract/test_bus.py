"""What any bus must do, asked of the memory bus and of a real RabbitMQ alike."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Protocol

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from deploy.local.rabbitmq import RabbitMQ
from shared.bus import Bus, Delivery, Message, StageQueues
from shared.bus import topology as table
from shared.bus.envelope import REPLAY, decode
from shared.bus.memory import MemoryBroker, MemoryBus
from shared.bus.rabbit import RabbitBus, apply
from shared.clock import ManualClock
from shared.errors import Unavailable
from shared.events import Event, ImageFailed, Lane, SyncTick
from tests.brokers import remove_topology
from tests.events import IMAGE, NOW, base_diced, dice_block, file_complete, pyramid_built

PATIENCE = 30.0


class Inbox:
    """A consumer that keeps what it gets; the tests settle it."""

    def __init__(self) -> None:
        self.held: list[Delivery] = []
        self._came = asyncio.Condition()

    async def take(self, delivery: Delivery) -> None:
        async with self._came:
            self.held.append(delivery)
            self._came.notify_all()

    async def first(self, count: int = 1) -> list[Delivery]:
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self.held) >= count)
        return self.held[:count]


class Broker(Protocol):
    async def connect(self) -> Bus: ...

    async def dead(self, stage: str) -> list[tuple[dict[str, Any], bytes]]: ...

    async def delayed(self, delay: int) -> list[tuple[dict[str, Any], bytes]]: ...

    async def journal(self) -> list[Event]: ...

    async def waited(self, since: float) -> timedelta:
        """How much time has gone by on the broker's clock; `since` is when the wait began on ours."""
        ...


class InMemory:
    def __init__(self) -> None:
        self._broker = MemoryBroker(ManualClock(NOW))

    async def connect(self) -> Bus:
        return MemoryBus(self._broker)

    async def dead(self, stage: str) -> list[tuple[dict[str, Any], bytes]]:
        return [(dict(one.headers), one.body) for one in self._broker.dead[stage]]

    async def delayed(self, delay: int) -> list[tuple[dict[str, Any], bytes]]:
        return [(dict(one.headers), one.body) for one in self._broker.delayed]

    async def journal(self) -> list[Event]:
        return self._broker.journal

    async def waited(self, since: float) -> timedelta:
        return self._broker.clock.now() - NOW


class Real:
    def __init__(self, url: str) -> None:
        self._url = url
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self._buses: list[Bus] = []

    async def connect(self) -> Bus:
        bus = RabbitBus(self._url, self.prefix, clock=ManualClock(NOW))
        await bus.connect()
        self._buses.append(bus)
        return bus

    async def dead(self, stage: str) -> list[tuple[dict[str, Any], bytes]]:
        return await self._emptied(table.dead_queue(self.prefix, stage))

    async def delayed(self, delay: int) -> list[tuple[dict[str, Any], bytes]]:
        return await self._emptied(table.delay_name(self.prefix, delay))

    async def _emptied(self, name: str) -> list[tuple[dict[str, Any], bytes]]:
        messages = []
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(name, ensure=False)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                messages.append((dict(message.headers), message.body))
        return messages

    async def journal(self) -> list[Event]:
        """What the stream holds: a last fact of our own marks its end."""
        mark = ImageFailed(
            database="slidemill", time=NOW, image=IMAGE, version=99, stage="upload", reason="end", remedy="none"
        )
        bus = await self.connect()
        await bus.publish([Message(mark)])
        facts: list[Event] = []
        ended = asyncio.Event()

        async def read(message: AbstractIncomingMessage) -> None:
            event = decode(message.headers, message.body)
            await message.ack()
            if event == mark:
                ended.set()
            else:
                facts.append(event)

        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=100)
            queue = await channel.get_queue(table.journal_queue(self.prefix), ensure=False)
            await queue.consume(read, arguments={"x-stream-offset": "first"})
            async with asyncio.timeout(PATIENCE):
                await ended.wait()
        return facts

    async def waited(self, since: float) -> timedelta:
        return timedelta(seconds=time.monotonic() - since)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()
        await remove_topology(self._url, self.prefix, "test")


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.broker)])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    if request.param == "memory":
        yield InMemory()
        return
    server: RabbitMQ = request.getfixturevalue("rabbitmq")
    real = Real(server.amqp)
    await apply(server.amqp, real.prefix, "test")
    try:
        yield real
    finally:
        await real.close()


async def consuming(bus: Bus, stage: str, *, prefetch: int = 100) -> dict[Lane, Inbox]:
    inboxes: dict[Lane, Inbox] = {lane: Inbox() for lane in table.LANES}
    for lane, inbox in inboxes.items():
        await bus.consume(stage, lane, prefetch, inbox.take)
    return inboxes


async def depth_becomes(bus: Bus, stage: str, depth: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await bus.depth(stage) != depth:
            await asyncio.sleep(0.05)


def event_of(delivery: Delivery) -> Event:
    return decode(delivery.headers, delivery.body)


async def test_a_fact_reaches_the_next_stage_as_it_was(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")

    await bus.publish([Message(file_complete())])
    (delivery,) = await inboxes["express"].first()

    assert event_of(delivery) == file_complete()
    assert delivery.lane == "express"
    assert not delivery.redelivered
    assert delivery.headers["ce-id"] == file_complete().id
    assert delivery.headers["ce-subject"] == IMAGE
    assert delivery.headers["traceparent"].startswith("00-")


async def test_work_goes_to_the_lane_that_it_names(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")

    await bus.publish([Message(dice_block(1, "bulk")), Message(dice_block(2, "express"))])

    assert event_of((await inboxes["bulk"].first())[0]) == dice_block(1, "bulk")
    assert event_of((await inboxes["express"].first())[0]) == dice_block(2, "express")


async def test_a_replay_goes_behind_everything_else_whatever_it_is(broker: Broker) -> None:
    bus = await broker.connect()
    dicer, pyramid = await consuming(bus, "dicer"), await consuming(bus, "pyramid")

    events = [file_complete(), dice_block(1, "express"), base_diced(), pyramid_built()]
    await bus.publish([Message(event, {REPLAY: "1"}) for event in events])

    assert {event_of(one).type for one in await dicer["bulk"].first(2)} == {events[0].type, events[1].type}
    assert {event_of(one).type for one in await pyramid["bulk"].first(2)} == {events[2].type, events[3].type}
    assert not dicer["express"].held
    assert not pyramid["express"].held


async def test_the_journal_keeps_facts_only(broker: Broker) -> None:
    bus = await broker.connect()

    await bus.publish([Message(file_complete()), Message(dice_block()), Message(base_diced(), {REPLAY: "1"})])
    await bus.publish_to("dicer", "bulk", [Message(file_complete(2))])

    assert await broker.journal() == [file_complete(), base_diced()]


async def test_publishing_to_a_stage_passes_every_other_by(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")

    await bus.publish_to("pyramid", "bulk", [Message(file_complete())])
    await depth_becomes(bus, "pyramid", 1)
    await bus.publish_to("dicer", "bulk", [Message(file_complete(2))])

    assert event_of((await inboxes["bulk"].first())[0]) == file_complete(2)
    assert not inboxes["express"].held


async def test_the_same_event_published_twice_at_once_arrives_twice(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")

    await bus.publish([Message(dice_block()), Message(dice_block())])

    assert [event_of(one) for one in await inboxes["bulk"].first(2)] == [dice_block(), dice_block()]


async def test_many_messages_are_confirmed_in_one_go(broker: Broker) -> None:
    bus = await broker.connect()

    await bus.publish([Message(dice_block(block)) for block in range(1000)])

    await depth_becomes(bus, "dicer", 1000)


async def test_an_acked_delivery_is_gone(broker: Broker) -> None:
    bus, other = await broker.connect(), await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish([Message(dice_block(1))])
    await (await inboxes["bulk"].first())[0].ack()
    await bus.close()

    await other.publish([Message(dice_block(2))])
    again = await consuming(other, "dicer")

    (delivery,) = await again["bulk"].first()
    assert event_of(delivery) == dice_block(2)


async def test_what_a_dead_consumer_held_comes_again(broker: Broker) -> None:
    bus, other = await broker.connect(), await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish([Message(file_complete())])
    await inboxes["express"].first()

    await bus.close()
    (delivery,) = await (await consuming(other, "dicer"))["express"].first()

    assert event_of(delivery) == file_complete()
    assert delivery.redelivered


async def test_what_is_given_back_comes_again(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish([Message(file_complete())])
    (delivery,) = await inboxes["express"].first()

    await delivery.requeue()
    _, again = await inboxes["express"].first(2)

    assert event_of(again) == file_complete()
    assert again.redelivered


async def test_a_consumer_holds_no_more_than_its_prefetch(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer", prefetch=2)

    await bus.publish([Message(dice_block(block)) for block in range(5)])
    await inboxes["bulk"].first(2)
    await depth_becomes(bus, "dicer", 3)
    assert len(inboxes["bulk"].held) == 2

    await inboxes["bulk"].held[0].ack()
    await inboxes["bulk"].first(3)
    await depth_becomes(bus, "dicer", 2)


async def test_consumers_share_the_work(broker: Broker) -> None:
    one, other = await broker.connect(), await broker.connect()
    first, second = await consuming(one, "dicer", prefetch=2), await consuming(other, "dicer", prefetch=2)

    await one.publish([Message(dice_block(block)) for block in range(4)])
    held = [*await first["bulk"].first(2), *await second["bulk"].first(2)]

    assert {event_of(delivery) for delivery in held} == {dice_block(block) for block in range(4)}


async def test_after_stopping_nothing_more_comes_and_what_is_held_can_be_acked(broker: Broker) -> None:
    bus, other = await broker.connect(), await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish([Message(dice_block(1))])
    (held,) = await inboxes["bulk"].first()

    await bus.stop_consuming()
    await bus.publish([Message(dice_block(2))])
    await depth_becomes(bus, "dicer", 1)
    await held.ack()
    await bus.close()

    (delivery,) = await (await consuming(other, "dicer"))["bulk"].first()
    assert event_of(delivery) == dice_block(2)
    assert inboxes["bulk"].held == [held]


async def test_the_gauge_tells_lanes_delays_dead_letters_and_workers_apart(broker: Broker) -> None:
    """What a worker holds is not counted, and each process that consumes counts once, whatever its lanes."""
    bus, worker, other = await broker.connect(), await broker.connect(), await broker.connect()
    inboxes = [Inbox() for _ in range(4)]
    await worker.consume("dicer", "express", 1, inboxes[0].take)
    await worker.consume("dicer", "bulk", 1, inboxes[1].take)
    await other.consume("pyramid", "express", 1, inboxes[2].take)
    await other.consume("pyramid", "bulk", 1, inboxes[3].take)
    await bus.publish([Message(dice_block(n, "bulk")) for n in range(3)])
    await bus.publish([Message(dice_block(9, "express"))])
    (bulk,), (express,) = await inboxes[1].first(), await inboxes[0].first()
    await worker.retry("dicer", bulk, 2)
    await worker.dead_letter("dicer", express, "reject", "torn")

    async with asyncio.timeout(PATIENCE):
        while (gauge := await bus.gauge()).stages["dicer"] != StageQueues(express=0, bulk=2, dead=1, workers=1):
            await asyncio.sleep(0.05)
    assert gauge.stages["pyramid"] == StageQueues(express=0, bulk=0, dead=0, workers=1)
    assert list(gauge.delayed) == ["10s", "1min", "10min"]
    assert sum(gauge.delayed.values()) == 1
    sync = gauge.stages["sync"]
    assert sync is None or sync.workers == 0


async def test_depth_counts_what_waits_and_what_is_delayed_but_not_what_is_held(broker: Broker) -> None:
    bus = await broker.connect()
    await bus.publish([Message(file_complete()), Message(dice_block())])
    await depth_becomes(bus, "dicer", 2)
    assert await bus.depth("sync") == 0

    inboxes = await consuming(bus, "dicer")
    (delivery,) = await inboxes["express"].first()
    await inboxes["bulk"].first()
    await depth_becomes(bus, "dicer", 0)

    await bus.retry("dicer", delivery, 3)
    assert await bus.depth("dicer") == 1


async def test_a_retry_comes_back_later_to_the_failing_stage_alone_and_counted(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish([Message(dice_block())])
    (delivery,) = await inboxes["bulk"].first()
    before = time.monotonic()

    await bus.retry("dicer", delivery, 1)
    await delivery.ack()
    _, again = await inboxes["bulk"].first(2)

    assert event_of(again) == dice_block()
    assert again.headers["x-slidemill-attempt"] == 1
    assert again.headers["traceparent"] == delivery.headers["traceparent"]
    assert again.headers["x-slidemill-routing"] == delivery.headers["x-slidemill-routing"]
    assert await broker.waited(before) >= timedelta(seconds=9.9)
    assert await bus.depth("pyramid") == 0


@pytest.mark.parametrize(("soon", "delay"), [(False, table.DEFERRAL), (True, table.POSTPONEMENT)])
async def test_what_is_put_off_waits_without_being_counted_as_tried(broker: Broker, soon: bool, delay: int) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish_to("dicer", "bulk", [Message(dice_block(), {"x-slidemill-attempt": 2})])
    (delivery,) = await inboxes["bulk"].first()

    await bus.defer("dicer", delivery, soon=soon)
    await delivery.ack()

    ((headers, body),) = await broker.delayed(delay)
    assert decode(headers, body) == dice_block()
    assert headers["x-slidemill-attempt"] == 2


async def test_a_dead_letter_says_why_where_and_when_it_died_first(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")
    await bus.publish([Message(file_complete())])
    (delivery,) = await inboxes["express"].first()

    await bus.dead_letter("dicer", delivery, "reject", "x.svs is no slide. Send a slide.")
    await delivery.ack()
    ((headers, body),) = await broker.dead("dicer")

    assert decode(headers, body) == file_complete()
    assert headers["x-slidemill-cause"] == "reject"
    assert headers["x-slidemill-detail"] == "x.svs is no slide. Send a slide."
    assert headers["x-slidemill-stage"] == "dicer"
    assert headers["x-slidemill-first-death"] == "2026-01-02T03:04:05.678Z"
    assert headers["x-slidemill-routing"].endswith(".events:fact.file-complete")
    assert not await broker.dead("pyramid")


async def test_dying_again_keeps_the_first_death_and_the_first_routing(broker: Broker) -> None:
    bus = await broker.connect()
    inboxes = await consuming(bus, "dicer")
    first = {"x-slidemill-first-death": "2020-01-01T00:00:00.000Z", "x-slidemill-routing": "s.events:fact.before"}
    await bus.publish_to("dicer", "bulk", [Message(file_complete(), first)])
    (delivery,) = await inboxes["bulk"].first()

    await bus.dead_letter("dicer", delivery, "retries", "again")
    ((headers, _),) = await broker.dead("dicer")

    assert {name: headers[name] for name in first} == first
    assert headers["x-slidemill-cause"] == "retries"


async def test_a_bus_is_ready_until_it_is_closed(broker: Broker) -> None:
    bus = await broker.connect()
    await consuming(bus, "dicer")
    await bus.ready()

    await bus.close()

    with pytest.raises(Unavailable):
        await bus.ready()
    with pytest.raises(Unavailable):
        await bus.publish([Message(SyncTick(database="slidemill", time=NOW, due=NOW))])


async def test_publishing_nothing_is_done_at_once(broker: Broker) -> None:
    bus = await broker.connect()

    await bus.publish([])

    assert await bus.depth("dicer") == 0
