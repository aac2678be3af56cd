"""A worker whose care can be taken away: `python -m tests.chaos.worker CARE AMQP PREFIX`, until SIGTERM.

It answers each `dice-block` with a `base-diced` whose version is the block's number. CARE is `careful`, as every
service is; `ack-first` acks a delivery before it is handled; `no-confirms` publishes without waiting for the broker's
word.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from shared.blobs import Blobs
from shared.blobs.memory import MemoryBlobs
from shared.bus import Consumer, Delivery, Environment
from shared.bus.rabbit import RabbitBus
from shared.bus.rabbit.publishing import Outgoing, Publisher, Publishing
from shared.bus.runner import Runner
from shared.clock import SystemClock
from shared.events import BaseDiced, DiceBlock, Event, Lane
from shared.store import Store
from shared.store.memory import MemoryStore
from shared.tiles import Tiles
from shared.tiles.geometry import Geometry
from shared.tiles.memory import MemoryTiles

GEOMETRY = Geometry(width=10, height=10, tile=256)


class AckFirst(RabbitBus):
    """Takes every delivery off its queue before anybody has looked at it."""

    async def consume(self, stage: str, lane: Lane, prefetch: int, take: Callable[[Delivery], Awaitable[None]]) -> None:
        async def acked(delivery: Delivery) -> None:
            await delivery.ack()
            await take(_Settled(delivery))

        await super().consume(stage, lane, prefetch, acked)


class _Settled:
    """A delivery that there is nothing more to say about."""

    def __init__(self, delivery: Delivery) -> None:
        self.body, self.headers, self.lane = delivery.body, delivery.headers, delivery.lane
        self.redelivered = delivery.redelivered

    async def ack(self) -> None:
        pass

    async def requeue(self) -> None:
        pass


class NoConfirms(RabbitBus):
    """Takes what is written to the socket for published."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, prefix)
        self._publisher = _Unconfirmed(self._publishing)


class _Unconfirmed(Publisher):
    async def publish_one(self, publishing: Publishing, one: Outgoing, seconds: float) -> None:
        sent = asyncio.ensure_future(super().publish_one(publishing, one, seconds))
        # Long enough to be written, and nobody asks what became of it.
        await asyncio.wait([sent], timeout=0.005)
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())


BUSES: dict[str, type[RabbitBus]] = {"careful": RabbitBus, "ack-first": AckFirst, "no-confirms": NoConfirms}


async def answer(event: DiceBlock, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
    # So that a fault finds it at work.
    await asyncio.sleep(0.02)
    return [
        BaseDiced(
            database=event.database,
            time=event.time,
            image=event.image,
            version=event.block,
            geometry=GEOMETRY,
            base="copied",
        )
    ]


async def failed(event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
    return []


async def work(care: str, amqp: str, prefix: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    bus = BUSES[care](amqp, prefix)
    await bus.connect()
    with tempfile.TemporaryDirectory() as scratch:
        environments = {"slidemill": Environment(MemoryStore(), MemoryBlobs(Path(scratch)), MemoryTiles())}
        consumer = Consumer("dicer", {DiceBlock: answer}, failed, slots=4)
        await Runner(bus, consumer, environments, SystemClock(), grace=5).run(stop)
    await bus.close()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
