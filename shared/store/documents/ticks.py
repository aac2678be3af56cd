"""The sync ticks, done and missed."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.store.documents import Document


def newest_first(moment: datetime) -> int:
    """What sorts the newest first: milliseconds since 1970, negative."""
    return -round(moment.timestamp() * 1000)


class Tick(Document):
    """One sync tick; `id` is its due time in ISO form, and by `order` the newest come first.

    `interval` is that of the timer, in seconds, null for a tick that somebody asked for. `store` is the id of the only
    store that it is about, if it is; `missed` says that nobody did it in time, and nobody has done it since.
    """

    id: str = Field(alias="_id")
    order: int = 0
    interval: int | None = None
    store: str | None = None
    done: bool = False
    missed: bool = False
    started: datetime
    ended: datetime | None = None
    report: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def at(cls, due: datetime, **fields: Any) -> "Tick":
        """That of a due time."""
        return cls(id=due.isoformat(), order=newest_first(due), **fields)

    @property
    def due(self) -> datetime:
        """When it was due."""
        return datetime.fromisoformat(self.id)
