"""What the `__main__` of every service is made of: start, readiness, stop and exit status, the same for all.

A service that consumes is a builder and one call. The builder is a context that yields the `Consumer`; what it opens
first is opened before any thread or client of a server exists, which is when decoder children have to be started:

    @asynccontextmanager
    async def dicer(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
        slots = settings.dicer_slots
        async with Decoders(preload="services.dicer.pixels", children=slots, memory=MEMORY) as decoders:
            handlers = Dicer(decoders=decoders, clock=clock, quality=settings.quality, worker=settings.service)
            yield Consumer(
                stage="dicer",
                handlers={FileComplete: handlers.file_complete, DiceBlock: handlers.dice_block},
                failed=handlers.failed,
                slots=slots,
            )

    if __name__ == "__main__":
        run_service(Settings(), dicer)

A service of another kind is a coroutine that works until `stop` is set, made of the same parts:

    async def timer(settings: Settings, stop: asyncio.Event) -> None:
        async with environments(settings, stop) as databases:
            store = databases[settings.database].store
            async with broker(settings, store, stop) as bus:
                app = web.Application()
                add_health(app, [bus.ready, store.ping])
                async with served(app, settings.http_host, settings.http_port):
                    await until(stop, keep_ticking(bus, databases=databases, interval=300, clock=SystemClock()))

    if __name__ == "__main__":
        run(Settings(), timer)
"""

import asyncio
import gc
import logging
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

import structlog
from aiohttp import web

from shared.blobs.gridfs import GridFSBlobs
from shared.bus import Bus, Consumer, Environment
from shared.bus.rabbit import RabbitBus
from shared.bus.runner import Runner
from shared.clock import Clock, SystemClock
from shared.errors import SlidemillError, Unavailable
from shared.heap import keep_heap
from shared.http.health import Check, add_health, served
from shared.http.metrics import add_metrics
from shared.metrics import Source
from shared.mongo import connect
from shared.settings import Settings
from shared.store import Store
from shared.store.documents.deployments import Deployment
from shared.store.mongo import MongoStore
from shared.telemetry import set_up_logging
from shared.tiles.mongo import MongoTiles

Builder = Callable[[Settings, Clock, Bus], AbstractAsyncContextManager[Consumer]]

# Shorter than the 20 s after which a supervisor kills, so that messages are given back in order.
GRACE_SECONDS = 15.0
RETRY_SECONDS = 1.0
DEPLOYMENT = "deployment"
# One for the event loop, one for the threads of the database's driver.
_HEAPS = 2

T = TypeVar("T")
log = structlog.get_logger()


class Stopped(SlidemillError):
    """The service was told to stop before it had started."""


def run_service(settings: Settings, build: Builder) -> NoReturn:
    """Runs a service that consumes until it is told to stop; see above for `build`, and `run` for how it ends.

    While MongoDB or the broker can't be reached at the start it waits for them: alive, but not ready.
    """

    async def consume(settings: Settings, stop: asyncio.Event) -> None:
        clock = SystemClock()
        bus = RabbitBus(settings.amqp, settings.prefix)
        checks: list[Check] = [_starting]
        app = web.Application()
        add_health(app, checks)
        sources: list[Source] = []
        add_metrics(app, sources)
        async with (
            build(settings, clock, bus) as consumer,
            served(app, settings.http_host, settings.http_port),
            environments(settings, stop) as databases,
        ):
            store = databases[settings.database].store
            async with _connected(bus, store, stop):
                runner = Runner(bus, consumer, databases, clock, grace=GRACE_SECONDS)
                checks[:] = [bus.ready, store.ping, runner.ready]
                sources.append(runner.metrics)
                if consumer.metrics is not None:
                    sources.append(partial(consumer.metrics, databases))
                besides = [consumer.beside(databases)] if consumer.beside is not None else []
                # The runner stops in order by itself; what goes on beside it does so until then.
                await until(asyncio.Event(), runner.run(stop), *besides)

    run(settings, consume)


def run(settings: Settings, work: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> NoReturn:
    """Runs `work` in an event loop and ends the process; SIGTERM and SIGINT set the event that it gets.

    Exit status 0 after an ordered stop; 1, with one sentence in the log, if it can't go on or ended by itself.
    """
    set_up_logging(settings.service, settings.log)
    keep_heap(_HEAPS)
    # What is loaded by now stays: the collector need not look through it whenever it looks at everything.
    gc.freeze()
    for client in ("aiormq", "aio_pika"):
        # The bus says itself, in one line each, what becomes of a connection.
        logging.getLogger(client).setLevel(logging.CRITICAL)
    sys.exit(asyncio.run(_status(settings, work)))


async def _status(settings: Settings, work: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("starting")
    try:
        await work(settings, stop)
    except Stopped:
        log.info("stopped before it had started")
        return 0
    except (SlidemillError, OSError) as error:
        log.error("can't go on", reason=str(error))
        return 1
    except Exception:
        log.exception("ended by a bug")
        return 1
    if not stop.is_set():
        log.error("ended by itself")
        return 1
    log.info("stopped")
    return 0


async def until(stop: asyncio.Event, *works: Coroutine[Any, Any, None]) -> None:
    """Runs these until `stop` is set, then cancels them; ends early, raising what it raised, as soon as one ends."""
    stopped = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.wait([stopped, *tasks])


@asynccontextmanager
async def environments(settings: Settings, stop: asyncio.Event) -> AsyncIterator[dict[str, Environment]]:
    """The stores of every served database by name, prepared. Waits for MongoDB; raises `Stopped` if told to stop."""
    client = connect(settings.mongodb)
    try:
        databases = {}
        for name in sorted(settings.served):
            store = MongoStore(client, name)
            blobs = GridFSBlobs(client, name, settings.scratch, settings.scratch_bytes)
            tiles = MongoTiles(client, name)
            for step in (store.prepare, blobs.prepare, tiles.prepare):
                await _insist(step, stop)
            databases[name] = Environment(store, blobs, tiles)
        yield databases
    finally:
        client.close()


@asynccontextmanager
async def broker(
    settings: Settings, store: Store, stop: asyncio.Event, *, wait: bool = True
) -> AsyncIterator[RabbitBus]:
    """The bus, connected under the claim that the main database's `store` keeps.

    Waits for the broker, unless told not to: then it connects meanwhile, and `ready` says when. Raises `Stopped` if
    told to stop, `ForeignPrefix` if the prefix belongs to another deployment.
    """
    bus = RabbitBus(settings.amqp, settings.prefix)
    async with _connected(bus, store, stop, wait=wait):
        yield bus


async def deployment_claim(store: Store) -> str:
    """The name under which this database claims its prefix on a broker; made once, kept in the database."""
    await store.deployments.insert(Deployment(id=DEPLOYMENT, claim=uuid.uuid4().hex))
    deployment = await store.deployments.get(DEPLOYMENT)
    if deployment is None:
        raise Unavailable("The deployment's record was deleted while it was being made; start again.")
    return deployment.claim


@asynccontextmanager
async def _connected(bus: RabbitBus, store: Store, stop: asyncio.Event, *, wait: bool = True) -> AsyncIterator[None]:
    async def connect_bus() -> None:
        await bus.connect(await deployment_claim(store))

    async def connect_meanwhile() -> None:
        try:
            await _insist(connect_bus, stop)
        except SlidemillError as error:
            log.error("not connected to the broker", reason=str(error))

    if wait:
        await _insist(connect_bus, stop)
    connecting = None if wait else asyncio.create_task(connect_meanwhile())
    try:
        yield
    finally:
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        await bus.close()


async def _insist(step: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
    """Does a step of the start as soon as it can be done."""
    while not stop.is_set():
        try:
            return await step()
        except Unavailable as error:
            log.warning("waiting", error=str(error))
            try:
                await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
            except TimeoutError:
                continue
    raise Stopped("The service was told to stop while it was starting.")


async def _starting() -> None:
    raise Unavailable("The service is starting.")
