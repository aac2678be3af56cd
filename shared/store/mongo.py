"""Documents in MongoDB: one collection per kind, every compare-and-set one `findAndModify`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pymongo import IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern

from shared.mongo import only_duplicates, translated
from shared.stages.states import STAGE_OF_STATE
from shared.store import Change, Greater, In, Less, Store, Where, schema
from shared.store.documents import Document
from shared.store.schema import Kind, plain

if TYPE_CHECKING:
    from shared.mongo import Client, Database

D = TypeVar("D", bound=Document)


def _index(*paths: str, unique: bool = False, only: Mapping[str, Any] | None = None) -> IndexModel:
    options: dict[str, Any] = {"unique": True} if unique else {}
    if only is not None:
        options["partialFilterExpression"] = dict(only)
    return IndexModel([(path, 1) for path in paths], **options)


INDEXES: dict[str, list[IndexModel]] = {
    "accounts": [_index("name", unique=True)],
    "tokens": [_index("account")],
    "sessions": [_index("owner", "created", "_id"), _index("created", "_id")],
    "uploads": [
        _index("owner", "key", unique=True, only={"key": {"$type": "string"}}),
        _index("state", "updated"),
        # Few, while `complete` are all that ever came: the relay asks for these every few seconds.
        _index("announced", "state", "updated", only={"announced": False}),
        _index("session"),
        _index("image"),
        _index("owner", "state", "total"),
    ],
    "images": [_index("session", "created", "_id"), _index("replaced")],
    "versions": [
        _index("_id.image", "_id.n"),
        _index("session", "updated"),
        _index("sha256"),
        # With `_id`, as `find` sorts: the first hundred of those that wait are found without reading the others.
        _index("state", "updated", "_id", only={"state": {"$in": list(STAGE_OF_STATE)}}),
        # Hardly any: repair asks for each count of them, and must not read all that waits to find none.
        _index("reissues", "state", "updated", only={"reissues": {"$gt": 0}}),
    ],
    "blocks": [
        _index("_id.image", "_id.version", "_id.stage"),
        _index("_id.image", "_id.version", "_id.stage", "done", "round", only={"done": False}),
    ],
    "audits": [_index("at"), _index("images")],
    "ticks": [_index("started"), _index("order", "_id"), _index("done", "missed", "order", "_id")],
    "tombstones": [_index("due")],
    "stores": [_index("name", unique=True, only={"name": {"$type": "string"}}), _index("created", "_id")],
    "entries": [
        _index("_id.store", "folder", "name", "_id"),
        _index("_id.store", "state", "_id"),
        _index("_id.store", "sha256"),
        _index("_id.store", "claim", only={"claim": {"$type": "string"}}),
        _index("asked", only={"asked": {"$type": "string"}}),
        _index("found_by", "found", only={"found_by": {"$type": "string"}}),
        _index("done_by", "outcome", only={"done_by": {"$type": "string"}}),
    ],
    "reports": [_index("store", "order", "_id"), _index("tick"), _index("again")],
}


def _condition(value: Any) -> Any:
    match value:
        case In(values):
            return {"$in": [plain(item) for item in values]}
        case Less(limit):
            return {"$lt": plain(limit)}
        case Greater(limit):
            return {"$gt": plain(limit)}
    # Spelled out, so that no value can be taken for an operator.
    return {"$eq": plain(value)}


def _query(where: Where) -> dict[str, Any]:
    return {path: _condition(value) for path, value in where.items()}


def _one(id: Any, when: Where | None) -> dict[str, Any]:
    return {"_id": plain(id), "$and": [_query(when)]} if when else {"_id": plain(id)}


def _past(sort: str, after: tuple[Any, Any]) -> dict[str, Any]:
    value, id = plain(after[0]), plain(after[1])
    if sort == "_id":
        return {"_id": {"$gt": id}}
    # Null comes first in order, but compares with nothing.
    higher = {sort: {"$ne": None}} if value is None else {sort: {"$gt": value}}
    return {"$or": [higher, {sort: value, "_id": {"$gt": id}}]}


class MongoCollection(Generic[D]):
    """See `shared.store.Collection`."""

    def __init__(self, database: "Database", kind: Kind[D]) -> None:
        self._collection = database[kind.name]
        self._hints = self._collection.with_options(write_concern=WriteConcern(w=1, j=False))
        self._model = kind.model

    def _load(self, document: Mapping[str, Any] | None) -> D | None:
        return None if document is None else self._model.model_validate(document)

    async def insert(self, *documents: D) -> int:
        """See `Collection.insert`."""
        if not documents:
            return 0
        with translated():
            try:
                await self._collection.insert_many([plain(document) for document in documents], ordered=False)
            except BulkWriteError as error:
                outcome: Mapping[str, Any] = error.details
            else:
                return len(documents)
        only_duplicates(outcome["writeErrors"], outcome["writeConcernErrors"])
        return int(outcome["nInserted"])

    async def get(self, id: Any) -> D | None:
        """See `Collection.get`."""
        with translated():
            return self._load(await self._collection.find_one({"_id": plain(id)}))

    async def find(
        self, where: Where, *, sort: str = "_id", after: tuple[Any, Any] | None = None, limit: int | None = None
    ) -> list[D]:
        """See `Collection.find`."""
        if limit == 0:
            return []
        query = _query(where) if after is None else {"$and": [_query(where), _past(sort, after)]}
        order = [("_id", 1)] if sort == "_id" else [(sort, 1), ("_id", 1)]
        with translated():
            found = await self._collection.find(query, sort=order, limit=limit or 0).to_list(None)
        return [self._model.model_validate(document) for document in found]

    async def each(self, where: Where) -> AsyncIterator[D]:
        """See `Collection.each`."""
        cursor = self._collection.find(_query(where), sort=[("_id", 1)])
        try:
            while True:
                with translated():
                    document = await anext(cursor, None)
                if document is None:
                    return
                yield self._model.model_validate(document)
        finally:
            await cursor.close()

    async def count(self, where: Where, *, limit: int | None = None) -> int:
        """See `Collection.count`."""
        options: dict[str, Any] = {} if limit is None else {"limit": limit}
        with translated():
            return await self._collection.count_documents(_query(where), **options)

    async def tally(self, where: Where, by: Sequence[str]) -> dict[tuple[Any, ...], int]:
        """See `Collection.tally`."""
        group = {"_id": [{"$ifNull": [f"${path}", None]} for path in by], "count": {"$sum": 1}}
        with translated():
            groups = await self._collection.aggregate([{"$match": _query(where)}, {"$group": group}]).to_list(None)
        return {tuple(group["_id"]): group["count"] for group in groups}

    async def total(self, where: Where, path: str) -> int:
        """See `Collection.total`."""
        group = {"_id": None, "total": {"$sum": f"${path}"}}
        with translated():
            groups = await self._collection.aggregate([{"$match": _query(where)}, {"$group": group}]).to_list(None)
        return int(groups[0]["total"]) if groups else 0

    async def update(
        self,
        id: Any,
        *,
        when: Where | None = None,
        set: Mapping[str, Any] | None = None,
        inc: Mapping[str, int] | None = None,
        add: Mapping[str, Any] | None = None,
        hint: bool = False,
    ) -> D | None:
        """See `Collection.update`. A change that would take another document's unique key does not match."""
        changes: dict[str, Any] = {}
        if set:
            changes["$set"] = {path: plain(value) for path, value in set.items()}
        if inc:
            changes["$inc"] = dict(inc)
        if add:
            changes["$addToSet"] = {path: plain(value) for path, value in add.items()}
        query = _one(id, when)
        with translated():
            if not changes:
                return self._load(await self._collection.find_one(query))
            try:
                changed = await (self._hints if hint else self._collection).find_one_and_update(
                    query, changes, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                return None
        return self._load(changed)

    async def amend(self, *changes: Change) -> int:
        """See `Collection.amend`."""
        if not changes:
            return 0
        writes = [
            UpdateOne(
                _one(change.id, change.when), {"$set": {path: plain(value) for path, value in change.set.items()}}
            )
            for change in changes
        ]
        with translated():
            return (await self._collection.bulk_write(writes, ordered=False)).matched_count

    async def take(self, id: Any, *, when: Where | None = None) -> D | None:
        """See `Collection.take`."""
        with translated():
            return self._load(await self._collection.find_one_and_delete(_one(id, when)))

    async def delete(self, where: Where) -> int:
        """See `Collection.delete`."""
        with translated():
            return (await self._collection.delete_many(_query(where))).deleted_count


class MongoStore(Store):
    """See `shared.store.Store`."""

    def __init__(self, client: "Client", database: str) -> None:
        self._client = client
        self._database = client[database]
        self.accounts = MongoCollection(self._database, schema.ACCOUNTS)
        self.tokens = MongoCollection(self._database, schema.TOKENS)
        self.signins = MongoCollection(self._database, schema.SIGNINS)
        self.sessions = MongoCollection(self._database, schema.SESSIONS)
        self.uploads = MongoCollection(self._database, schema.UPLOADS)
        self.images = MongoCollection(self._database, schema.IMAGES)
        self.versions = MongoCollection(self._database, schema.VERSIONS)
        self.blocks = MongoCollection(self._database, schema.BLOCKS)
        self.audits = MongoCollection(self._database, schema.AUDITS)
        self.thumbnails = MongoCollection(self._database, schema.THUMBNAILS)
        self.ticks = MongoCollection(self._database, schema.TICKS)
        self.tombstones = MongoCollection(self._database, schema.TOMBSTONES)
        self.deployments = MongoCollection(self._database, schema.DEPLOYMENTS)
        self.stores = MongoCollection(self._database, schema.STORES)
        self.reports = MongoCollection(self._database, schema.REPORTS)
        self.entries = MongoCollection(self._database, schema.ENTRIES)

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
