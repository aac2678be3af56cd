"""The bodies of the interface about folder stores, their runs and ticks."""

import posixpath
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from services.upload.models import Body, Id, Moment
from shared.names import visible


def _visible(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


def _folder(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("it must be an absolute path, such as /data/scanner")
    return posixpath.normpath("/" + path.lstrip("/"))


Name = Annotated[
    str,
    StringConstraints(pattern=r"^\w[\w .-]{0,62}$"),
    BeforeValidator(_visible),
    Field(description="Letters, digits, spaces, and the signs `._-`: at most 63 of them."),
]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Globs = Annotated[list[Glob], Field(max_length=100)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200), BeforeValidator(_visible)]


class NewStore(Body):
    """A folder to be watched, as the sync service sees it."""

    name: Name
    kind: Literal["folder"] = "folder"
    root: Annotated[str, StringConstraints(max_length=4096), AfterValidator(_folder)]
    session: Annotated[
        Title | None, Field(description="Title of the one session of all its slides; null: one for each sub-folder.")
    ] = None
    include: Annotated[Globs, Field(description="Only files that one of these globs matches; none: all.")] = Field(
        default_factory=list
    )
    exclude: Annotated[Globs, Field(description="No files and folders that one of these globs matches.")] = Field(
        default_factory=list
    )
    quality: Annotated[
        int | None, Field(ge=1, le=100, description="JPEG quality of the tiles; null: what the service is set to.")
    ] = None
    subsampling: Annotated[
        Literal["420", "444"] | None,
        Field(description="Chroma of the tiles, halved both ways or whole; null: what the service is set to."),
    ] = None


class StoreChange(Body):
    """A paused store is not looked at; what is being imported goes on."""

    state: Literal["active", "paused"]


class ExampleObject(Body):
    """One file that a report names."""

    path: str
    reason: str
    detail: str


class ReportObject(Body):
    """What one tick found in one store and made of it.

    `seen` and `skipped` (by reason) are how things stood, the other counts what this run found or did. `note` says why
    it did less than it should. `housekeeping` is what its tick did besides.
    """

    store: str
    tick: Moment
    state: Literal["waiting", "scanning", "importing", "done", "missed"]
    started: Moment
    ended: Moment | None
    seen: int
    new: int
    changed: int
    moved: int
    vanished: int
    back: int
    imported: int
    skipped: dict[str, int]
    failed: int
    bytes: int
    seconds: float | None
    examples: list[ExampleObject]
    note: str | None
    housekeeping: dict[str, int]


class StoreObject(Body):
    """A watched folder. `last` is the report of its newest run."""

    name: str
    kind: Literal["folder"]
    root: str
    session: str | None
    include: list[str]
    exclude: list[str]
    quality: int | None
    subsampling: Literal["420", "444"] | None
    state: Literal["active", "paused"]
    owner: Id
    created: Moment
    last: ReportObject | None


class StorePage(Body):
    """Stores in order of creation; `next` is the cursor of the next page, or null."""

    items: list[StoreObject]
    next: str | None


class ReportPage(Body):
    """Reports, the newest first; `next` is the cursor of the next page, or null."""

    items: list[ReportObject]
    next: str | None


class NewTick(Body):
    """Which store to look at; null: all of them. The house is looked after in any case."""

    store: str | None = None


class TickObject(Body):
    """A tick: done once scans and imports are, dicing apart. `tick` is its due time and names it.

    `store` is the only one that it is about, or null; `error` says why it came to nothing. It is `missed` if nobody has
    done it and a later one was done; `housekeeping.missed` is how many were, just before this one.
    """

    tick: Moment
    store: str | None
    state: Literal["running", "done", "missed"]
    started: Moment
    ended: Moment | None
    housekeeping: dict[str, int]
    reports: list[ReportObject]
    error: str | None


class TickPage(Body):
    """Ticks, the newest first; `next` is the cursor of the next page, or null."""

    items: list[TickObject]
    next: str | None
