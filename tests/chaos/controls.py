"""Negative controls: the same faults, the same checker; what is taken away is only the runner's care.

Without a control that loses messages, "nothing was lost" might only say that nobody looked.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import aio_pika

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQ
from shared.bus import Message
from shared.bus import topology as table
from shared.bus.crash import VARIABLE
from shared.bus.rabbit import RabbitBus
from shared.events import DiceBlock
from tests.brokers import own_prefix
from tests.chaos.proxy import Proxy
from tests.chaos.verdict import Ends, Verdict, judge
from tests.running import ROOT

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CARELESS = ("ack-first", "no-confirms")
BLOCKS = 150
FAULTS = 4
PATIENCE = 60.0


def controls() -> dict[str, Verdict]:
    """The verdict on the careful worker and on each careless one, on a broker of their own."""
    ports: list[int] = []
    for _ in range(4):
        ports.append(free_port(ports))
    names = ("port", "management_port", "distribution_port", "mapper_port")
    with (
        tempfile.TemporaryDirectory(prefix="slidemill-controls-") as folder,
        RabbitMQ(Path(folder), **dict(zip(names, ports, strict=True))) as server,
    ):
        return {care: asyncio.run(_tried(care, server)) for care in ("careful", *CARELESS)}


async def _tried(care: str, server: RabbitMQ) -> Verdict:
    async with own_prefix(server) as prefix:
        return await under_fire(care, server, prefix)


async def answered(amqp: str, prefix: str) -> list[int]:
    """Which blocks were answered: everything in the next stage's queue, which nobody consumes."""
    found = []
    async with await aio_pika.connect(amqp) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(table.stage_queue(prefix, "pyramid", "express"), ensure=False)
        while (message := await queue.get(no_ack=False, fail=False)) is not None:
            found.append(int(json.loads(message.body)["version"]))
    return found


class Workers:
    """Starts one worker after the other; none of them outlives the test."""

    def __init__(self, care: str, amqp: str, prefix: str) -> None:
        self._command = [sys.executable, "-m", "tests.chaos.worker", care, amqp, prefix]
        self._started: list[asyncio.subprocess.Process] = []

    async def start(self, crash: str = "") -> asyncio.subprocess.Process:
        worker = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            env={**os.environ, VARIABLE: crash},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._started.append(worker)
        return worker

    async def end(self) -> None:
        for worker in self._started:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()


async def under_fire(care: str, server: RabbitMQ, prefix: str) -> Verdict:
    """Works off all blocks while the worker crashes between handling and publishing, and its line is forgotten."""
    events = [
        DiceBlock(database="slidemill", time=NOW, image="ab" * 16, version=1, block=block) for block in range(BLOCKS)
    ]
    bus = RabbitBus(server.amqp, prefix)
    await bus.connect()
    proxy = Proxy(lambda: server.port)
    await proxy.start()
    workers = Workers(care, server.amqp.replace(f":{server.port}/", f":{proxy.port}/"), prefix)
    try:
        await bus.publish([Message(event) for event in events])
        for fault in range(FAULTS):
            await (crash(workers, bus, 20 + fault) if fault % 2 else forget(workers, bus, proxy))
        await work_off(workers, bus)
    finally:
        await workers.end()
        await proxy.stop()
        await bus.close()
    # An answer that comes twice is no harm: delivery is at least once.
    names = {str(version) for version in await answered(server.amqp, prefix)}
    ends = Ends({name: [name] for name in names}, dict.fromkeys(names, "done"), digests=dict.fromkeys(names, ""))
    sent = [str(event.block) for event in events]
    return judge(sent, set(sent), {"block": ("done", "")}, lambda _: "block", ends)


async def crash(workers: Workers, bus: RabbitBus, passes: int) -> None:
    """A worker that dies with a handled block in its hands, if there are as many blocks."""
    worker = await workers.start(f"before-publish:{passes}")
    await left(bus, 0, worker)
    await workers.end()


async def forget(workers: Workers, bus: RabbitBus, proxy: Proxy) -> None:
    """A worker whose connection for publishing, the one it opens first, leads nowhere for a while."""
    worker = await workers.start()
    await left(bus, max(0, await bus.depth("dicer") - 10), worker)
    proxy.forget_oldest()
    await asyncio.sleep(0.5)
    proxy.heal()
    await workers.end()


async def work_off(workers: Workers, bus: RabbitBus) -> None:
    """A last worker, until nothing is left even after its end."""
    async with asyncio.timeout(PATIENCE):
        empty = False
        while not empty:
            worker = await workers.start()
            await left(bus, 0, worker)
            worker.send_signal(signal.SIGTERM)
            await worker.wait()
            # What the one before it held came back a moment after its death.
            await asyncio.sleep(0.5)
            empty = await bus.depth("dicer") == 0


async def left(bus: RabbitBus, count: int, worker: asyncio.subprocess.Process) -> None:
    """Until no more blocks than that are in the queue, or the worker has died."""
    async with asyncio.timeout(PATIENCE):
        while worker.returncode is None and await bus.depth("dicer") > count:
            await asyncio.sleep(0.02)
