"""What an operator says to the pipeline itself, past the gateway."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.layout import DATABASE, PREFIX
from deploy.local.state import State, read_state
from services.ops.errors import StackUnreachable
from shared.blobs.gridfs import GridFSBlobs
from shared.bus.rabbit import RabbitBus
from shared.errors import Unavailable
from shared.mongo import connect
from shared.store.mongo import MongoStore


@dataclass(frozen=True)
class Database:
    """A running stack: its main database, the stores of each that it serves by name, and where the rest of it is."""

    state: State
    store: MongoStore
    stores: Mapping[str, MongoStore]
    blobs: Mapping[str, GridFSBlobs]


@dataclass(frozen=True)
class Pipeline:
    """An open stack: its main database, the stores of each that it serves by name, and its broker."""

    store: MongoStore
    stores: Mapping[str, MongoStore]
    blobs: Mapping[str, GridFSBlobs]
    bus: RabbitBus
    amqp: str

    async def home_of(self, image: str) -> str:
        """The database that has this image; the main one where none has."""
        for name, store in self.stores.items():
            if await store.images.get(image) is not None:
                return name
        return DATABASE


@asynccontextmanager
async def database_of(data: Path) -> AsyncIterator[Database]:
    """The running stack in a data folder and its main database; raises `StackUnreachable`."""
    state = read_state(data)
    if state is None or not state.supervisor.alive():
        raise StackUnreachable(f"No stack runs in {data}: start it with ./slidemill up.")
    client = connect(state.mongodb)
    try:
        stores = {name: MongoStore(client, name) for name in state.databases}
        blobs = {name: GridFSBlobs(client, name, data / "scratch", scratch_bytes=0) for name in state.databases}
        yield Database(state, stores[DATABASE], stores, blobs)
    except Unavailable as error:
        raise StackUnreachable(f"The stack of {data} can't be reached: {error}") from error
    finally:
        client.close()


@asynccontextmanager
async def pipeline_of(data: Path) -> AsyncIterator[Pipeline]:
    """Connect to the database and the broker of the stack in a data folder; raises `StackUnreachable`."""
    async with database_of(data) as database:
        amqp = database.state.amqp
        bus = RabbitBus(amqp, PREFIX)
        try:
            await bus.connect()
            yield Pipeline(database.store, database.stores, database.blobs, bus, amqp)
        finally:
            await bus.close()
