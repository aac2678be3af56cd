"""What has to be in the database and on the broker before the first service starts; harmless when repeated."""

from pathlib import Path

from shared.blobs.gridfs import GridFSBlobs
from shared.bus.rabbit import apply
from shared.clock import SystemClock
from shared.http.identity import ensure_admin
from shared.mongo import connect
from shared.service.connecting import deployment_claim
from shared.store.mongo import MongoStore
from shared.tiles.mongo import MongoTiles


async def bootstrap(*, mongodb: str, database: str, amqp: str, prefix: str, scratch: Path, token: str | None) -> None:
    """Make collections and indexes, the first administrator with `token` (None: leave accounts alone), and queues.

    Raises `Unavailable` when a server can't be reached.
    """
    client = connect(mongodb)
    try:
        store = MongoStore(client, database)
        await store.prepare()
        await GridFSBlobs(client, database, scratch, 0).prepare()
        await MongoTiles(client, database).prepare()
        if token is not None:
            await ensure_admin(store, token, SystemClock())
        await apply(amqp, prefix, await deployment_claim(store))
    finally:
        client.close()
