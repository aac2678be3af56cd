"""One kind of document in this process's memory."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import bson

from shared.store import Change, Where
from shared.store.documents import Document
from shared.store.memory import values
from shared.store.schema import Kind, plain

D = TypeVar("D", bound=Document)


class MemoryCollection(Generic[D]):
    """See `shared.store.Collection`."""

    def __init__(self, kind: Kind[D]) -> None:
        self._model = kind.model
        self._unique = kind.unique
        # What is in here is never handed out: `_load` makes copies.
        self._documents: dict[bytes, dict[str, Any]] = {}
        self._taken: dict[tuple[Any, ...], bytes] = {}

    def _load(self, document: dict[str, Any]) -> D:
        return self._model.model_validate(bson.decode(bson.encode(document), values.CODEC))

    @staticmethod
    def _slot(id: Any) -> bytes:
        return bson.encode({"": plain(id)})

    def _unique_key(self, document: dict[str, Any]) -> tuple[Any, ...] | None:
        key = tuple(values.at(document, path) for path in self._unique)
        return key if key and None not in key else None

    def _store(self, slot: bytes, document: dict[str, Any]) -> bool:
        """Puts the document into its slot; False if another one has its unique key."""
        key = self._unique_key(document)
        if key is not None and self._taken.get(key, slot) != slot:
            return False
        self._forget(slot)
        self._documents[slot] = document
        if key is not None:
            self._taken[key] = slot
        return True

    def _forget(self, slot: bytes) -> None:
        """Gives the unique key of the slot's document back; the document keeps its place in the collection."""
        if slot in self._documents and (key := self._unique_key(self._documents[slot])) is not None:
            del self._taken[key]

    def _remove(self, slot: bytes) -> dict[str, Any]:
        self._forget(slot)
        return self._documents.pop(slot)

    def _matching(self, where: Where) -> Iterator[dict[str, Any]]:
        prepared = values.prepared(where)
        return (document for document in self._documents.values() if values.matches(document, prepared))

    async def insert(self, *documents: D) -> int:
        """See `Collection.insert`."""
        new = 0
        for document in documents:
            fields = bson.decode(bson.encode(plain(document)), values.CODEC)
            slot = self._slot(fields["_id"])
            new += slot not in self._documents and self._store(slot, fields)
        return new

    async def get(self, id: Any) -> D | None:
        """See `Collection.get`."""
        document = self._documents.get(self._slot(id))
        return None if document is None else self._load(document)

    async def find(
        self, where: Where, *, sort: str = "_id", after: tuple[Any, Any] | None = None, limit: int | None = None
    ) -> list[D]:
        """See `Collection.find`."""

        def place(document: dict[str, Any]) -> tuple[Any, Any]:
            return values.order(values.at(document, sort)), values.order(document["_id"])

        found = sorted(self._matching(where), key=place)
        if after is not None:
            value, id = values.normal(after[0]), values.normal(after[1])
            past = (values.order(id if sort == "_id" else value), values.order(id))
            found = [document for document in found if place(document) > past]
        return [self._load(document) for document in found[:limit]]

    async def each(self, where: Where) -> AsyncIterator[D]:
        """See `Collection.each`."""
        for document in sorted(self._matching(where), key=lambda document: values.order(document["_id"])):
            yield self._load(document)

    async def count(self, where: Where, *, limit: int | None = None) -> int:
        """See `Collection.count`."""
        count = 0
        for _ in self._matching(where):
            count += 1
            if count == limit:
                break
        return count

    async def tally(self, where: Where, by: Sequence[str]) -> dict[tuple[Any, ...], int]:
        """See `Collection.tally`."""
        counts: dict[tuple[Any, ...], int] = {}
        for document in self._matching(where):
            group = tuple(values.at(document, path) for path in by)
            counts[group] = counts.get(group, 0) + 1
        return counts

    async def total(self, where: Where, path: str) -> int:
        """See `Collection.total`."""
        return sum(values.at(document, path) or 0 for document in self._matching(where))

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
        slot = self._slot(id)
        before = self._documents.get(slot)
        if before is None or not values.matches(before, values.prepared(when or {})):
            return None
        after = bson.decode(bson.encode(before), values.CODEC)
        for path, value in (set or {}).items():
            values.put(after, path, values.normal(value))
        for path, step in (inc or {}).items():
            values.put(after, path, (values.at(after, path) or 0) + step)
        for path, value in (add or {}).items():
            members, member = list(values.at(after, path) or ()), values.normal(value)
            if not any(values.same(known, member) for known in members):
                members.append(member)
            values.put(after, path, members)
        return self._load(after) if self._store(slot, after) else None

    async def amend(self, *changes: Change) -> int:
        """See `Collection.amend`."""
        matched = 0
        for change in changes:
            matched += await self.update(change.id, when=change.when, set=change.set) is not None
        return matched

    async def take(self, id: Any, *, when: Where | None = None) -> D | None:
        """See `Collection.take`."""
        slot = self._slot(id)
        document = self._documents.get(slot)
        if document is None or not values.matches(document, values.prepared(when or {})):
            return None
        return self._load(self._remove(slot))

    async def delete(self, where: Where) -> int:
        """See `Collection.delete`."""
        gone = [self._slot(document["_id"]) for document in self._matching(where)]
        for slot in gone:
            self._remove(slot)
        return len(gone)
