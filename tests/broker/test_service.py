"""A service as a process between a real MongoDB and a real RabbitMQ: start, readiness, crashes, stop."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQ
from shared.bus import Message
from shared.bus import topology as table
from shared.bus.rabbit import RabbitBus, RabbitDeadLetters, apply
from shared.events import FileComplete
from shared.mongo import connect
from shared.service.connecting import deployment_claim
from shared.store.mongo import MongoStore
from tests.brokers import remove_topology
from tests.events import file_complete

pytestmark = [pytest.mark.broker, pytest.mark.slow]

PATIENCE = 40.0


@dataclass
class Service:
    process: asyncio.subprocess.Process
    url: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as answer:
            return answer.status, await answer.json()

    async def ready(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self.process.returncode is None, self.lines
                try:
                    if (await self.get("/readyz"))[0] == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@dataclass
class Deployment:
    """One database and one prefix of the shared servers, and the services that were started on them."""

    mongodb: str
    server: RabbitMQ
    scratch: Path
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    database: str = field(default_factory=lambda: f"test_{uuid.uuid4().hex[:8]}")
    services: list[tuple[Service, "asyncio.Task[None]"]] = field(default_factory=list)

    async def start(self, module: str = "tests.broker.echo", **environment: str) -> Service:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            env={
                "PATH": "/usr/bin:/bin",
                "SLIDEMILL_SERVICE": "dicer",
                "SLIDEMILL_MONGODB": self.mongodb,
                "SLIDEMILL_DATABASE": self.database,
                "SLIDEMILL_AMQP": self.server.amqp,
                "SLIDEMILL_PREFIX": self.prefix,
                "SLIDEMILL_HTTP_PORT": str(port),
                "SLIDEMILL_SCRATCH": str(self.scratch),
                "SLIDEMILL_LOG": "json",
                "SLIDEMILL_DICER_SLOTS": "1",
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        service = Service(process, f"http://127.0.0.1:{port}")
        self.services.append((service, asyncio.create_task(service.read())))
        return service

    async def apply(self) -> None:
        """Makes the whole topology, for this database, as the first start of a stack does."""
        client = connect(self.mongodb)
        try:
            claim = await deployment_claim(MongoStore(client, self.database))
        finally:
            client.close()
        await apply(self.server.amqp, self.prefix, claim)

    async def bus(self) -> RabbitBus:
        bus = RabbitBus(self.server.amqp, self.prefix)
        await bus.connect()
        return bus

    async def publish(self, *versions: int) -> None:
        bus = await self.bus()
        events = [file_complete(version, database=self.database) for version in versions]
        await bus.publish([Message(event) for event in events])
        await bus.close()

    async def depth(self, stage: str) -> int:
        bus = await self.bus()
        try:
            return await bus.depth(stage)
        finally:
            await bus.close()

    async def depth_becomes(self, stage: str, depth: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.depth(stage) != depth:
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        for service, reading in self.services:
            if service.process.returncode is None:
                service.process.kill()
            await service.process.wait()
            await reading
        await remove_topology(self.server.amqp, self.prefix)


@pytest.fixture
async def deployment(mongod: str, rabbitmq: RabbitMQ, tmp_path: Path) -> AsyncIterator[Deployment]:
    deployment = Deployment(mongod, rabbitmq, tmp_path)
    try:
        yield deployment
    finally:
        await deployment.close()


async def test_a_service_gets_ready_works_and_stops_in_order(deployment: Deployment) -> None:
    await deployment.apply()
    service = await deployment.start()
    await service.ready()
    assert await service.get("/healthz") == (200, {"status": "alive"})

    await deployment.publish(1)
    await deployment.depth_becomes("pyramid", 1)
    service.process.send_signal(signal.SIGTERM)

    assert await service.ended() == 0
    (line,) = service.said("message")
    assert (line["outcome"], line["image"], line["version"]) == ("handled", "ab" * 16, 1)
    assert line["service"] == "dicer"
    assert service.said("stopped")


async def test_while_mongodb_is_away_a_service_is_alive_but_not_ready_and_can_be_stopped(
    deployment: Deployment,
) -> None:
    nowhere = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    service = await deployment.start(SLIDEMILL_MONGODB=nowhere)
    async with asyncio.timeout(PATIENCE):
        while not service.said("waiting"):
            await asyncio.sleep(0.1)

    assert (await service.get("/healthz"))[0] == 200
    assert await service.get("/readyz") == (503, {"status": "not ready", "reason": "The service is starting."})
    service.process.send_signal(signal.SIGTERM)

    assert await service.ended() == 0


async def test_a_prefix_of_another_deployment_ends_the_service_with_that_sentence(deployment: Deployment) -> None:
    await apply(deployment.server.amqp, deployment.prefix, "somebody-else")
    service = await deployment.start()

    assert await service.ended() == 1
    (line,) = service.said("can't go on")
    assert f"The prefix {deployment.prefix} on this broker belongs to another deployment" in line["reason"]


async def test_services_that_start_at_once_on_an_empty_broker_claim_it_together(deployment: Deployment) -> None:
    services = [await deployment.start() for _ in range(3)]

    await asyncio.gather(*(service.ready() for service in services))


@pytest.mark.parametrize(("point", "published"), [("before-publish", 0), ("after-publish", 1)])
async def test_a_crash_between_work_and_ack_only_repeats(deployment: Deployment, point: str, published: int) -> None:
    await deployment.apply()
    await deployment.publish(1, 2, 3)
    service = await deployment.start(SLIDEMILL_CRASH=f"{point}:2")

    assert await service.ended() == 137
    await deployment.depth_becomes("dicer", 2)
    assert await deployment.depth("pyramid") == 1 + published

    await (await deployment.start()).ready()
    await deployment.depth_becomes("pyramid", 3 + published)
    await deployment.depth_becomes("dicer", 0)


async def test_a_killed_service_loses_nothing(deployment: Deployment) -> None:
    await deployment.apply()
    service = await deployment.start()
    await service.ready()
    await deployment.publish(*range(1, 201))
    async with asyncio.timeout(PATIENCE):
        while len(service.said("message")) < 20:
            await asyncio.sleep(0.01)
    service.process.kill()
    await service.ended()

    await deployment.start()
    await deployment.depth_becomes("dicer", 0)

    async with asyncio.timeout(PATIENCE):
        while await deployment.depth("pyramid") < 200:
            await asyncio.sleep(0.1)


async def test_poison_is_put_aside_with_its_reason_and_stops_nobody(deployment: Deployment) -> None:
    await deployment.apply()
    poison: list[tuple[dict[str, Any], bytes]] = [
        ({}, b"not even JSON"),
        ({"ce-type": "slidemill.polish-glass.v1"}, b"{}"),
        ({"ce-type": FileComplete.type}, b'{"database": "x"}'),
        ({"ce-type": "slidemill.file-complete.v9"}, b'{"database": "y"}'),
        ({"ce-type": FileComplete.type}, b" " * 10_000_000),
    ]
    queue = table.stage_queue(deployment.prefix, "dicer", "express")
    async with await aio_pika.connect(deployment.server.amqp) as connection:
        channel = await connection.channel()
        for headers, body in poison:
            message = aio_pika.Message(body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue)
    await deployment.publish(1)

    service = await deployment.start()
    await deployment.depth_becomes("pyramid", 1)

    bus = await deployment.bus()
    letters = RabbitDeadLetters(deployment.server.amqp, deployment.prefix, bus)
    found = {held.letter.body: held.letter async for held in letters.each("dicer")}
    await bus.close()
    reasons = ("no header ce-type", "polish-glass", "time: Field required", "a newer one may know it", "Invalid JSON")
    assert [letter.cause for letter in found.values()] == ["undecodable"] * len(poison)
    for (headers, body), reason in zip(poison, reasons, strict=True):
        letter = found[body]
        assert reason in letter.detail
        assert letter.type == headers.get("ce-type")
    assert service.process.returncode is None


async def test_a_port_that_is_taken_is_said_in_one_sentence(deployment: Deployment) -> None:
    first = await deployment.start()
    await first.ready()

    second = await deployment.start(SLIDEMILL_HTTP_PORT=first.url.rsplit(":", 1)[1])

    assert await second.ended() == 1
    (line,) = second.said("can't go on")
    assert "address already in use" in line["reason"]
