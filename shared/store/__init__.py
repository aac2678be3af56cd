"""The document store's port: typed collections with compare-and-set on single documents.

Every write is acknowledged by majority and journal, every read goes to the primary. Each method raises `Unavailable`
when the store can't be reached. Paths are dotted (`stages.dice.done`), `_id` and its parts included (`_id.image`).
A condition is a plain value (equality) or one of `In`, `Less`, `Greater`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from shared.store import schema
from shared.store.documents import Document
from shared.store.schema import Kind

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class In:
    """The value is one of these."""

    values: Sequence[Any]


@dataclass(frozen=True)
class Less:
    """The value is less than this; missing or null values do not match."""

    value: Any


@dataclass(frozen=True)
class Greater:
    """The value is greater than this; missing or null values do not match."""

    value: Any


Where = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """What to `set` in the document of this id, if it matches `when`."""

    id: Any
    when: Where
    set: Mapping[str, Any]


class Collection(Protocol[D]):
    """One kind of document."""

    async def insert(self, *documents: D) -> int:
        """Inserts, unordered; returns how many were new. A clash with `_id` or a unique key is no error."""
        ...

    async def get(self, id: Any) -> D | None:
        """One document by id."""
        ...

    async def find(
        self, where: Where, *, sort: str = "_id", after: tuple[Any, Any] | None = None, limit: int | None = None
    ) -> list[D]:
        """Documents that match, ascending by (`sort`, `_id`), past the pair `after` if given."""
        ...

    def each(self, where: Where) -> AsyncIterator[D]:
        """All that match, ascending by `_id`, without holding them in memory together."""
        ...

    async def count(self, where: Where, *, limit: int | None = None) -> int:
        """How many match, counting no further than `limit`."""
        ...

    async def tally(self, where: Where, by: Sequence[str]) -> dict[tuple[Any, ...], int]:
        """Counts of the matching documents grouped by the values at the paths `by`."""
        ...

    async def total(self, where: Where, path: str) -> int:
        """The sum of the whole numbers at `path` in the matching documents; what is missing or null counts nothing."""
        ...

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
        """Compare-and-set on one document: returns it as it is after the change, or None where it did not match.

        `set` takes plain values or pydantic models, `inc` adds numbers, `add` adds a value to a list that is a set.
        With `hint` nobody waits for majority and journal: for what can be found out again if the server dies.
        """
        ...

    async def amend(self, *changes: Change) -> int:
        """Many compare-and-sets in few requests, each for itself, in any order; returns how many matched."""
        ...

    async def take(self, id: Any, *, when: Where | None = None) -> D | None:
        """Deletes one document and returns it; of several callers exactly one gets it."""
        ...

    async def delete(self, where: Where) -> int:
        """Deletes all that match; returns how many."""
        ...


class Makes(Protocol):
    """Makes the collection of a kind of document."""

    def __call__(self, kind: Kind[D], /) -> Collection[D]:
        """For the kinds of `schema`."""
        ...


class Store(ABC):
    """Every collection of one database."""

    def __init__(self, make: Makes) -> None:
        self.accounts = make(schema.ACCOUNTS)
        self.tokens = make(schema.TOKENS)
        self.signins = make(schema.SIGNINS)
        self.sessions = make(schema.SESSIONS)
        self.uploads = make(schema.UPLOADS)
        self.images = make(schema.IMAGES)
        self.versions = make(schema.VERSIONS)
        self.blocks = make(schema.BLOCKS)
        self.audits = make(schema.AUDITS)
        self.thumbnails = make(schema.THUMBNAILS)
        self.ticks = make(schema.TICKS)
        self.tombstones = make(schema.TOMBSTONES)
        self.deployments = make(schema.DEPLOYMENTS)
        self.stores = make(schema.STORES)
        self.reports = make(schema.REPORTS)
        self.entries = make(schema.ENTRIES)

    @abstractmethod
    async def prepare(self) -> None:
        """Makes collections and indexes (idempotent). Called once at the start of every service."""

    @abstractmethod
    async def free_bytes(self) -> int | None:
        """How much more the database can take: what is free on its disk and in its files; None if it does not say."""

    @abstractmethod
    async def ping(self) -> None:
        """Raises `Unavailable` unless the primary answers."""
