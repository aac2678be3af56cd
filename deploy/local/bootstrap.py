"""What has to be in the database and on the broker before the first service starts; harmless when repeated."""

from pathlib import Path
from uuid import uuid4

from shared.blobs.gridfs import GridFSBlobs
from shared.bus.rabbit import apply
from shared.clock import SystemClock
from shared.http.identity import ensure_admin
from shared.mongo import connect
from shared.store.documents import Deployment
from shared.store.mongo import MongoStore
from shared.tiles.mongo import MongoTiles


async def bootstrap(*, mongodb: str, database: str, amqp: str, prefix: str, scratch: Path, token: str) -> None:
    """Make collections and indexes, the first administrator with `token`, and the broker's queues.

    Raises `Unavailable` when a server can't be reached.
    """
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    client = connect(mongodb)
    try:
        store = MongoStore(client, database)
        await store.prepare()
        await GridFSBlobs(client, database, scratch, 0).prepare()
        await MongoTiles(client, database).prepare()
        await ensure_admin(store, token, SystemClock())
        await apply(amqp, prefix, await deployment_claim(store))
    finally:
        client.close()


async def deployment_claim(store: MongoStore) -> str:
    """Name under which this database claims its prefix on a broker; made once, kept in the database."""
    await store.deployments.insert(Deployment(id="deployment", claim=uuid4().hex))
    deployment = await store.deployments.get("deployment")
    if deployment is None:
        raise RuntimeError("The deployment's record was deleted while it was being made; start again.")
    return deployment.claim
