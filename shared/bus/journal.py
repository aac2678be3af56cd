"""The journal: every fact that was ever published, as far as the broker keeps it, and which of them are meant."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.bus.envelope import Undecodable, decode
from shared.events import Event


@dataclass(frozen=True)
class Entry:
    """One message of the journal. `event` is None for what is no event of this release."""

    offset: int
    headers: Mapping[str, Any]
    event: Event | None

    @classmethod
    def read(cls, offset: int, headers: Mapping[str, Any], body: bytes) -> "Entry":
        """The entry of a message as it lies in the stream."""
        try:
            return cls(offset, headers, decode(headers, body))
        except Undecodable:
            return cls(offset, headers, None)


class Journal(Protocol):
    """The stream of facts, oldest first."""

    def read(self, since: datetime | None = None) -> AsyncGenerator[Entry, None]:
        """What was published until now, or only from `since` on. Raises `Unavailable` if it can't be read whole."""
        ...


@dataclass(frozen=True)
class Wanted:
    """Which facts are meant: every condition that is given has to hold. `until` is the first moment too late.

    `images` are ids; `session` takes a fact that names it, and those of the images in `of_session`.
    """

    since: datetime | None = None
    until: datetime | None = None
    types: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    session: str | None = None
    of_session: frozenset[str] = frozenset()
    database: str | None = None

    def takes(self, event: Event) -> bool:
        """Whether this fact is meant. Its time is that of what happened, not of its publication."""
        return (
            (self.since is None or event.time >= self.since)
            and (self.until is None or event.time < self.until)
            and (not self.types or event.type in self.types)
            and (not self.images or event.correlation in self.images)
            and (
                self.session is None
                or getattr(event, "session", None) == self.session
                or event.correlation in self.of_session
            )
            and self.database in (None, event.database)
        )
