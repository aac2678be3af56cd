"""What only a real broker can show: the wire, limits, claims, alarms, and its own death."""

import asyncio
import json
import os
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from deploy.local.rabbitmq import SERVER, RabbitMQ
from shared.blobs import Blobs
from shared.blobs.memory import MemoryBlobs
from shared.bus import Consumer, Delivery, Environment, Message
from shared.bus import topology as table
from shared.bus.rabbit import ForeignPrefix, RabbitBus, TopologyMismatch, apply
from shared.bus.runner import Runner
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.events import BaseDiced, DiceBlock, Event, FileComplete
from shared.store import Store
from shared.store.memory import MemoryStore
from shared.tiles import Tiles
from shared.tiles.memory import MemoryTiles
from tests.events import IMAGE, base_diced, dice_block, file_complete

pytestmark = pytest.mark.broker

PATIENCE = 60.0


@dataclass
class Place:
    """A prefix of its own on the shared broker."""

    server: RabbitMQ
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    buses: list[RabbitBus] = field(default_factory=list)

    async def bus(self, claim: str | None = None) -> RabbitBus:
        bus = RabbitBus(self.server.amqp, self.prefix)
        self.buses.append(bus)
        await bus.connect(claim)
        return bus

    async def apply(self, claim: str = "claim") -> None:
        await apply(self.server.amqp, self.prefix, claim)

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        async with await aio_pika.connect(self.server.amqp) as connection:
            yield await connection.channel()

    async def get(self, queue: str) -> AbstractIncomingMessage | None:
        async with self.channel() as channel:
            return await (await channel.get_queue(queue, ensure=False)).get(no_ack=True, fail=False)

    async def comes(self, queue: str) -> AbstractIncomingMessage:
        async with asyncio.timeout(PATIENCE):
            while (message := await self.get(queue)) is None:
                await asyncio.sleep(0.05)
        return message

    def control(self, *arguments: str) -> str:
        program = SERVER.with_name("rabbitmqctl")
        environment = {**os.environ, **self.server.program.environment}
        done = subprocess.run([program, *arguments], env=environment, check=True, capture_output=True, timeout=60)
        return done.stdout.decode()


@pytest.fixture
async def place(rabbitmq: RabbitMQ) -> AsyncIterator[Place]:
    place = Place(rabbitmq)
    try:
        yield place
    finally:
        for bus in place.buses:
            await bus.close()
        async with place.channel() as channel:
            for queue in table.queues(place.prefix):
                await channel.queue_delete(queue.name)
            for exchange in table.exchanges(place.prefix):
                await channel.exchange_delete(exchange.name)


async def test_an_event_on_the_wire_is_a_persistent_cloud_event(place: Place) -> None:
    await place.apply()
    event = file_complete().model_copy(update={"cause": "c" * 8})

    await (await place.bus()).publish([Message(event)])
    message = await place.comes(table.stage_queue(place.prefix, "dicer", "express"))

    trace = str(message.headers["traceparent"])
    assert {name: value for name, value in message.headers.items() if name != "x-delivery-count"} == {
        "ce-specversion": "1.0",
        "ce-id": event.id,
        "ce-type": "slidemill.file-complete.v1",
        "ce-source": "urn:slidemill:slidemill",
        "ce-time": "2026-01-02T03:04:05.678Z",
        "ce-subject": IMAGE,
        "ce-correlationid": IMAGE,
        "ce-causationid": "c" * 8,
        "traceparent": trace,
    }
    assert [len(part) for part in trace.split("-")] == [2, 32, 16, 2]
    assert message.content_type == "application/json"
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.message_id == event.id
    assert message.correlation_id == IMAGE
    assert FileComplete.model_validate_json(message.body) == event


async def test_what_no_queue_takes_is_not_published(place: Place) -> None:
    bus = await place.bus()

    with pytest.raises(Unavailable, match=r"work\.dice-block\.bulk is not published: no queue takes it"):
        await bus.publish([Message(dice_block(1))])
    with pytest.raises(Unavailable, match=r"dicer\.bulk is not published: no queue takes it"):
        await bus.publish_to("dicer", "bulk", [Message(dice_block(1))])

    await place.apply()
    await bus.publish([Message(dice_block(1))])


async def test_what_a_full_queue_refuses_is_not_published(place: Place) -> None:
    await place.apply()
    queue = table.stage_queue(place.prefix, "dicer", "bulk")
    place.control("set_policy", "-p", "slidemill", place.prefix, f"^{queue}$", '{"max-length": 2}')
    bus = await place.bus()
    try:
        with pytest.raises(Unavailable, match="refused it; its queue may be full"):
            # A quorum queue may take a few more than its limit before it closes.
            await bus.publish([Message(dice_block(block)) for block in range(500)])
    finally:
        place.control("clear_policy", "-p", "slidemill", place.prefix)


async def test_applying_the_topology_again_changes_nothing_and_a_mismatch_is_named(place: Place) -> None:
    await place.apply()
    await place.apply()
    queue = table.dead_queue(place.prefix, "sync")
    async with place.channel() as channel:
        await channel.queue_delete(queue)
        await channel.declare_queue(queue, durable=True)

    with pytest.raises(TopologyMismatch, match=queue):
        await place.apply()


async def test_every_queue_has_its_limits(place: Place) -> None:
    await place.apply()

    rows: list[dict[str, Any]] = json.loads(
        place.control("list_queues", "-p", "slidemill", "name", "type", "arguments", "--formatter", "json", "--silent")
    )

    ours = {row["name"]: row for row in rows if row["name"].startswith(f"{place.prefix}.")}
    stages = {f"{place.prefix}.{stage}.{lane}" for stage in table.STAGES for lane in table.LANES}
    dead = {f"{place.prefix}.{stage}.dead" for stage in table.STAGES}
    delays = {f"{place.prefix}.delay.{delay}" for delay in ("10s", "1min", "10min")}
    assert set(ours) == stages | dead | delays | {f"{place.prefix}.journal"}
    assert {row["type"] for name, row in ours.items() if name != f"{place.prefix}.journal"} == {"quorum"}
    assert ours[f"{place.prefix}.journal"]["type"] == "stream"


async def test_a_prefix_belongs_to_the_deployment_that_claimed_it(place: Place) -> None:
    await place.bus("ours")

    await place.bus("ours")
    with pytest.raises(ForeignPrefix, match=f"The prefix {place.prefix} on this broker belongs to another deployment"):
        await place.bus("theirs")

    async with place.channel() as channel:
        await channel.exchange_delete(table.claim_exchange(place.prefix, "ours"))


async def test_a_message_that_kills_its_consumers_ends_among_the_dead_letters(place: Place) -> None:
    """The backstop for what no handler survives to count."""
    await place.apply()
    bus = await place.bus()
    deliveries = 0

    async def give_back(delivery: Delivery) -> None:
        nonlocal deliveries
        deliveries += 1
        await delivery.requeue()

    await bus.consume("dicer", "bulk", 1, give_back)
    await bus.publish([Message(dice_block(7))])
    letter = await place.comes(table.dead_queue(place.prefix, "dicer"))

    assert DiceBlock.model_validate_json(letter.body) == dice_block(7)
    assert deliveries == table.DELIVERY_LIMIT + 1
    assert letter.headers["x-first-death-reason"] == "delivery_limit"


async def test_a_broker_short_of_memory_makes_the_bus_unready_until_it_recovers(place: Place) -> None:
    await place.apply()
    bus = await place.bus()
    await bus.ready()
    published = 0

    async def keep_publishing() -> None:
        nonlocal published
        while True:
            await bus.publish([Message(file_complete())])
            published += 1

    place.control("set_vm_memory_high_watermark", "absolute", "1MiB")
    # The broker tells a connection that it is blocked only when that tries to publish, and looks at its memory only now
    # and then.
    publishing = asyncio.create_task(keep_publishing())
    try:
        reason = ""
        async with asyncio.timeout(PATIENCE):
            while not reason:
                try:
                    await bus.ready()
                    await asyncio.sleep(0.05)
                except Unavailable as error:
                    reason = str(error)
        assert "short of memory or of disk space" in reason
        assert not publishing.done()
    finally:
        place.control("set_vm_memory_high_watermark", "0.4")
    blocked = published
    async with asyncio.timeout(PATIENCE):
        while published == blocked:
            await asyncio.sleep(0.05)
    await bus.ready()
    publishing.cancel()


async def test_a_consumer_whose_queue_was_deleted_makes_it_again(place: Place) -> None:
    await place.apply()
    bus = await place.bus()
    came = asyncio.Event()

    async def take(delivery: Delivery) -> None:
        await delivery.ack()
        came.set()

    await bus.consume("dicer", "bulk", 1, take)
    async with place.channel() as channel:
        await channel.queue_delete(table.stage_queue(place.prefix, "dicer", "bulk"))
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await bus.publish([Message(dice_block(1))])
                break
            except Unavailable:
                await asyncio.sleep(0.05)
        await came.wait()


async def test_after_a_rejected_password_the_reason_names_the_setting(place: Place) -> None:
    bus = RabbitBus(place.server.amqp.replace("slidemill:", "slidemill:wrong"), place.prefix)

    with pytest.raises(Unavailable, match="SLIDEMILL_AMQP"):
        await bus.connect()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_killed_broker_loses_nothing_and_the_runner_goes_on_by_itself(place: Place, tmp_path: Path) -> None:
    """Killed in mid-stream and started again on the same data: every event is handled, every answer published."""
    await place.apply()
    events = 300
    handled: set[int] = set()
    half = asyncio.Event()

    async def answer(event: DiceBlock, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        handled.add(event.block)
        if len(handled) >= events // 3:
            half.set()
        await asyncio.sleep(0.005)
        return [base_diced(event.block)]

    async def failed(event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
        raise AssertionError(reason)

    bus, publisher = await place.bus(), await place.bus()
    environments = {"slidemill": Environment(MemoryStore(), MemoryBlobs(tmp_path), MemoryTiles())}
    runner = Runner(bus, Consumer("dicer", {DiceBlock: answer}, failed, 4), environments, SystemClock())
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run(stop))
    await publisher.publish([Message(dice_block(block)) for block in range(events)])

    async with asyncio.timeout(PATIENCE):
        await half.wait()
    await asyncio.to_thread(place.server.kill)
    async with asyncio.timeout(PATIENCE):
        while not await _unready(bus):
            await asyncio.sleep(0.05)
    with pytest.raises(Unavailable):
        await publisher.publish([Message(dice_block(0))])
    await asyncio.to_thread(place.server.start)

    answered: set[int] = set()
    async with asyncio.timeout(PATIENCE * 2):
        while len(answered) < events:
            message = await place.comes(table.stage_queue(place.prefix, "pyramid", "express"))
            answered.add(BaseDiced.model_validate_json(message.body).version)
    assert not running.done()
    stop.set()
    async with asyncio.timeout(PATIENCE):
        await running
    assert handled == answered == set(range(events))
    assert await publisher.depth("dicer") == 0


async def _unready(bus: RabbitBus) -> bool:
    try:
        await bus.ready()
    except Unavailable:
        return True
    return False
