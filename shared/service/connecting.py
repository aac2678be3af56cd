"""The databases and the broker of a service: waited for at its start, closed at its end."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog

from shared.blobs.gridfs import GridFSBlobs
from shared.bus import Environment
from shared.bus.rabbit import RabbitBus
from shared.errors import SlidemillError, Unavailable
from shared.mongo import connect
from shared.service.running import Stopped
from shared.settings import Settings
from shared.store import Store
from shared.store.documents.deployments import Deployment
from shared.store.mongo import MongoStore
from shared.tiles.mongo import MongoTiles

RETRY_SECONDS = 1.0
DEPLOYMENT = "deployment"
T = TypeVar("T")
log = structlog.get_logger()


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
    async with connected(bus, store, stop, wait=wait):
        yield bus


@asynccontextmanager
async def connected(bus: RabbitBus, store: Store, stop: asyncio.Event, *, wait: bool = True) -> AsyncIterator[None]:
    """Connects the bus under the claim that `store` keeps, and closes it in the end; see `broker`."""

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


async def deployment_claim(store: Store) -> str:
    """The name under which this database claims its prefix on a broker; made once, kept in the database."""
    await store.deployments.insert(Deployment(id=DEPLOYMENT, claim=uuid.uuid4().hex))
    deployment = await store.deployments.get(DEPLOYMENT)
    if deployment is None:
        raise Unavailable("The deployment's record was deleted while it was being made; start again.")
    return deployment.claim


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
