"""Documents in this process's memory, for tests of whole pipelines.

They are kept as BSON, so that what goes in and comes out is what MongoDB would make of it: copies, milliseconds, order.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any, Generic, TypeVar

import bson
from bson.codec_options import CodecOptions

from shared.store import Change, Greater, In, Less, Store, Where, schema
from shared.store.documents import Document
from shared.store.schema import Kind, plain

D = TypeVar("D", bound=Document)

_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)


def _normal(value: Any) -> Any:
    return bson.decode(bson.encode({"": plain(value)}), _CODEC)[""]


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = value


def _same(left: Any, right: Any) -> bool:
    """Equal as MongoDB sees it: a document's fields have an order, and true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left.items()) == list(right.items())
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _equals(stored: Any, value: Any) -> bool:
    return _same(stored, value) or (isinstance(stored, list) and any(_same(item, value) for item in stored))


def _order(value: Any) -> Any:
    """A sort key: null first, an embedded document by its values in order."""
    if value is None:
        return (0,)
    return (1, tuple(_order(item) for item in value.values()) if isinstance(value, dict) else value)


def _comparable(stored: Any, limit: Any) -> bool:
    # Whole numbers come in two sizes.
    numbers = (int, bson.Int64, float)
    return type(stored) is type(limit) or (type(stored) in numbers and type(limit) in numbers)


def _holds(stored: Any, condition: Any) -> bool:
    match condition:
        case In(values):
            return any(_equals(stored, value) for value in values)
        case Less(limit):
            return _comparable(stored, limit) and _order(stored) < _order(limit)
        case Greater(limit):
            return _comparable(stored, limit) and _order(stored) > _order(limit)
    return _equals(stored, condition)


def _prepared(where: Where) -> list[tuple[str, Any]]:
    prepared: list[tuple[str, Any]] = []
    for path, condition in where.items():
        match condition:
            case In(values):
                prepared.append((path, In(_normal(list(values)))))
            case Less(limit):
                prepared.append((path, Less(_normal(limit))))
            case Greater(limit):
                prepared.append((path, Greater(_normal(limit))))
            case _:
                prepared.append((path, _normal(condition)))
    return prepared


def _matches(document: dict[str, Any], prepared: list[tuple[str, Any]]) -> bool:
    return all(_holds(_at(document, path), condition) for path, condition in prepared)


class MemoryCollection(Generic[D]):
    """See `shared.store.Collection`."""

    def __init__(self, kind: Kind[D]) -> None:
        self._model = kind.model
        self._unique = kind.unique
        # What is in here is never handed out: `_load` makes copies.
        self._documents: dict[bytes, dict[str, Any]] = {}
        self._taken: dict[tuple[Any, ...], bytes] = {}

    def _load(self, document: dict[str, Any]) -> D:
        return self._model.model_validate(bson.decode(bson.encode(document), _CODEC))

    @staticmethod
    def _slot(id: Any) -> bytes:
        return bson.encode({"": plain(id)})

    def _unique_key(self, document: dict[str, Any]) -> tuple[Any, ...] | None:
        key = tuple(_at(document, path) for path in self._unique)
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
        prepared = _prepared(where)
        return (document for document in self._documents.values() if _matches(document, prepared))

    async def insert(self, *documents: D) -> int:
        """See `Collection.insert`."""
        new = 0
        for document in documents:
            fields = bson.decode(bson.encode(plain(document)), _CODEC)
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
            return _order(_at(document, sort)), _order(document["_id"])

        found = sorted(self._matching(where), key=place)
        if after is not None:
            value, id = _normal(after[0]), _normal(after[1])
            past = (_order(id if sort == "_id" else value), _order(id))
            found = [document for document in found if place(document) > past]
        return [self._load(document) for document in found[:limit]]

    async def each(self, where: Where) -> AsyncIterator[D]:
        """See `Collection.each`."""
        for document in sorted(self._matching(where), key=lambda document: _order(document["_id"])):
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
            group = tuple(_at(document, path) for path in by)
            counts[group] = counts.get(group, 0) + 1
        return counts

    async def total(self, where: Where, path: str) -> int:
        """See `Collection.total`."""
        return sum(_at(document, path) or 0 for document in self._matching(where))

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
        if before is None or not _matches(before, _prepared(when or {})):
            return None
        after = bson.decode(bson.encode(before), _CODEC)
        for path, value in (set or {}).items():
            _put(after, path, _normal(value))
        for path, step in (inc or {}).items():
            _put(after, path, (_at(after, path) or 0) + step)
        for path, value in (add or {}).items():
            members, member = list(_at(after, path) or ()), _normal(value)
            if not any(_same(known, member) for known in members):
                members.append(member)
            _put(after, path, members)
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
        if document is None or not _matches(document, _prepared(when or {})):
            return None
        return self._load(self._remove(slot))

    async def delete(self, where: Where) -> int:
        """See `Collection.delete`."""
        gone = [self._slot(document["_id"]) for document in self._matching(where)]
        for slot in gone:
            self._remove(slot)
        return len(gone)


class MemoryStore(Store):
    """See `shared.store.Store`."""

    def __init__(self) -> None:
        self.accounts = MemoryCollection(schema.ACCOUNTS)
        self.tokens = MemoryCollection(schema.TOKENS)
        self.signins = MemoryCollection(schema.SIGNINS)
        self.sessions = MemoryCollection(schema.SESSIONS)
        self.uploads = MemoryCollection(schema.UPLOADS)
        self.images = MemoryCollection(schema.IMAGES)
        self.versions = MemoryCollection(schema.VERSIONS)
        self.blocks = MemoryCollection(schema.BLOCKS)
        self.audits = MemoryCollection(schema.AUDITS)
        self.thumbnails = MemoryCollection(schema.THUMBNAILS)
        self.ticks = MemoryCollection(schema.TICKS)
        self.tombstones = MemoryCollection(schema.TOMBSTONES)
        self.deployments = MemoryCollection(schema.DEPLOYMENTS)
        self.stores = MemoryCollection(schema.STORES)
        self.reports = MemoryCollection(schema.REPORTS)
        self.entries = MemoryCollection(schema.ENTRIES)

    async def prepare(self) -> None:
        """See `Store.prepare`."""

    async def free_bytes(self) -> int | None:
        """See `Store.free_bytes`."""
        return None

    async def ping(self) -> None:
        """See `Store.ping`."""
