"""Every collection of one MongoDB database."""

from typing import TYPE_CHECKING, TypeVar

from shared.mongo import translated
from shared.store import Store
from shared.store.documents import Document
from shared.store.mongo.collection import MongoCollection
from shared.store.mongo.indexes import INDEXES
from shared.store.schema import Kind

if TYPE_CHECKING:
    from shared.mongo import Client

D = TypeVar("D", bound=Document)


class MongoStore(Store):
    """See `shared.store.Store`."""

    def __init__(self, client: "Client", database: str) -> None:
        self._client = client
        self._database = client[database]

        def make(kind: Kind[D]) -> MongoCollection[D]:
            return MongoCollection(self._database, kind)

        super().__init__(make)

    async def prepare(self) -> None:
        """See `Store.prepare`."""
        with translated():
            for name, indexes in INDEXES.items():
                await self._database[name].create_indexes(indexes)

    async def free_bytes(self) -> int | None:
        """See `Store.free_bytes`. Of a sharded cluster it is what all its disks have together."""
        with translated():
            stats = await self._database.command("dbStats", freeStorage=1)
        total, used = stats.get("fsTotalSize"), stats.get("fsUsedSize")
        if not total or used is None:
            return None
        # What was deleted is not given back to the disk, but filled again.
        return int(total - used + stats.get("totalFreeStorageSize", 0))

    async def ping(self) -> None:
        """See `Store.ping`."""
        with translated():
            await self._client.admin.command("ping")
