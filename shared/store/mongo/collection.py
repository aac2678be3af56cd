"""One kind of document in MongoDB: every compare-and-set is one `findAndModify`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern

from shared.mongo import only_duplicates, translated
from shared.store import Change, Where
from shared.store.documents import Document
from shared.store.mongo.queries import matching, one, past
from shared.store.schema import Kind, plain

if TYPE_CHECKING:
    from shared.mongo import Database

D = TypeVar("D", bound=Document)


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
        query = matching(where) if after is None else {"$and": [matching(where), past(sort, after)]}
        order = [("_id", 1)] if sort == "_id" else [(sort, 1), ("_id", 1)]
        with translated():
            found = await self._collection.find(query, sort=order, limit=limit or 0).to_list(None)
        return [self._model.model_validate(document) for document in found]

    async def each(self, where: Where) -> AsyncIterator[D]:
        """See `Collection.each`."""
        cursor = self._collection.find(matching(where), sort=[("_id", 1)])
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
            return await self._collection.count_documents(matching(where), **options)

    async def tally(self, where: Where, by: Sequence[str]) -> dict[tuple[Any, ...], int]:
        """See `Collection.tally`."""
        group = {"_id": [{"$ifNull": [f"${path}", None]} for path in by], "count": {"$sum": 1}}
        with translated():
            groups = await self._collection.aggregate([{"$match": matching(where)}, {"$group": group}]).to_list(None)
        return {tuple(group["_id"]): group["count"] for group in groups}

    async def total(self, where: Where, path: str) -> int:
        """See `Collection.total`."""
        group = {"_id": None, "total": {"$sum": f"${path}"}}
        with translated():
            groups = await self._collection.aggregate([{"$match": matching(where)}, {"$group": group}]).to_list(None)
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
        query = one(id, when)
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
                one(change.id, change.when),
                {"$set": {path: plain(value) for path, value in change.set.items()}},
            )
            for change in changes
        ]
        with translated():
            return (await self._collection.bulk_write(writes, ordered=False)).matched_count

    async def take(self, id: Any, *, when: Where | None = None) -> D | None:
        """See `Collection.take`."""
        with translated():
            return self._load(await self._collection.find_one_and_delete(one(id, when)))

    async def delete(self, where: Where) -> int:
        """See `Collection.delete`."""
        with translated():
            return (await self._collection.delete_many(matching(where))).deleted_count
