"""The shapes of the documents about folder stores: the stores, what lies in them, and the reports of their runs."""

import uuid
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.store.documents import Document
from shared.store.documents.uploads import Subsampling

_REPORTS = uuid.UUID("0d0e4b9f-3c64-4d1c-8a39-5a0b6f8a7c52")

StoreState = Literal["active", "paused", "removed"]
RunState = Literal["waiting", "scanning", "importing", "done", "missed"]
Reason = Literal[
    "unstable",
    "temporary",
    "hidden",
    "link",
    "special",
    "name",
    "empty",
    "unreadable",
    "changing",
    "gone",
    "duplicate",
    "too-large",
    "no-room",
    "account-full",
    "incomplete",
    "excluded",
]


class FolderStore(Document):
    """A folder that is watched. `id` is its own and never used again; `name` is null once it is removed.

    `session` is the title of the one session that all its slides go to; without it each first-level sub-folder has one
    of its own. `include` and `exclude` are globs over the path below `root`. `quality` and `subsampling` are those
    of the JPEG tiles.
    `found` is what `root` was when something was last found in it, null if whatever it is now is meant.
    """

    id: str = Field(alias="_id")
    name: str | None
    kind: Literal["folder"] = "folder"
    root: str
    session: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quality: int | None = None
    subsampling: Subsampling | None = None
    owner: str
    state: StoreState = "active"
    found: Literal["mount", "folder"] | None = None
    created: datetime


class Example(BaseModel):
    """One entry that a report names: its path below the root, and what is the matter in a word and in a sentence."""

    model_config = ConfigDict(frozen=True)

    path: str
    reason: str
    detail: str


class Report(Document):
    """What one tick found in one store and made of it.

    `id` is made of the ids of the store and of the tick, see `report_id`; by `order` the newest come first. `seen` and
    `skipped` are how things stood, the other counts what this run found or did. `note` says why a run did less than it
    should. `walked` is the folder up to which the scan has come, `again` when it looks again at what it found new or
    changed; `updated` is when something was last done about the run, or asked for.
    """

    id: str = Field(alias="_id")
    store: str
    tick: str
    name: str
    order: int
    state: RunState = "waiting"
    due: datetime
    started: datetime
    ended: datetime | None = None
    updated: datetime
    walked: str | None = None
    again: datetime | None = None
    seen: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    vanished: int = 0
    back: int = 0
    imported: int = 0
    failed: int = 0
    bytes: int = 0
    skipped: dict[str, int] = Field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    note: str | None = None


def report_id(store: str, tick: str) -> str:
    """The id of the report of this tick's run of this store."""
    return uuid.uuid5(_REPORTS, f"{store}|{tick}").hex
