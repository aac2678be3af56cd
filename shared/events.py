"""Every event of slidemill, in pipeline order. The first file to read.

`file-complete` -> the dicer cuts the base level (`dice-block`, many workers) -> `base-diced` -> the pyramid service
folds the levels above (`fold-block`) -> `pyramid-built` -> it finishes -> `image-ready`; any stage may end in
`image-failed`. `sync-tick` comes from the timer; in folder stores it makes the sync service look (`scan-store`) and
take in what is new (`import-file`).

Facts say that something happened, work says that something is to be done. MongoDB is the truth and these are hints:
nothing deduplicates by event id, ids are for people and logs. Only optional fields are ever added.
"""

import uuid
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.tiles.geometry import Geometry

_NAMESPACE = uuid.UUID("6f6b4c6e-3a53-5d0b-9a63-0f5c9a1b7d11")

Lane = Literal["express", "bulk"]
Number = Annotated[int, Field(ge=0, lt=2**31)]
Base = Literal["copied", "encoded"]
StageName = Literal["upload", "dice", "fold", "finish"]


class Event(BaseModel, ABC):
    """Common part. `time` is the recorded time of the fact, so that a repeat is byte-identical."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    route: ClassVar[str]

    database: str
    time: datetime
    cause: str | None = None

    @abstractmethod
    def identity(self) -> tuple[str, ...]:
        """What makes this event the one it is."""

    @property
    def id(self) -> str:
        """UUIDv5 of the type and the identity: the same fact always has the same id."""
        return str(uuid.uuid5(_NAMESPACE, "|".join((self.type, self.database, *self.identity()))))

    @property
    @abstractmethod
    def correlation(self) -> str:
        """What a person would follow it by: the image, for ticks the due time, in stores the run."""

    @property
    def routing_key(self) -> str:
        """The key on the topic exchange: `fact.NAME`, or `work.NAME.LANE`."""
        return self.route


class ImageEvent(Event):
    """About one version of one image."""

    image: str
    version: Number

    def identity(self) -> tuple[str, ...]:
        """See `Event.identity`."""
        return (self.image, str(self.version))

    @property
    def correlation(self) -> str:
        """See `Event.correlation`."""
        return self.image


class BlockEvent(ImageEvent):
    """Work on one block of a version; it travels in the lane of the version."""

    block: Number
    lane: Lane = "bulk"

    def identity(self) -> tuple[str, ...]:
        """See `Event.identity`."""
        return (*super().identity(), str(self.block))

    @property
    def routing_key(self) -> str:
        """See `Event.routing_key`."""
        return f"{self.route}.{self.lane}"


class FileComplete(ImageEvent):
    """A file is stored whole and its digests are proven."""

    type = "slidemill.file-complete.v1"
    route = "fact.file-complete"

    file: str
    session: str
    name: str
    length: int
    md5: str
    sha256: str


class DiceBlock(BlockEvent):
    """Cut one block of base tiles."""

    type = "slidemill.dice-block.v1"
    route = "work.dice-block"


class BaseDiced(ImageEvent):
    """Every base tile is stored."""

    type = "slidemill.base-diced.v1"
    route = "fact.base-diced"

    geometry: Geometry
    tile_format: Literal["jpeg"] = "jpeg"
    base: Base
    base_reason: str | None = None


class FoldBlock(BlockEvent):
    """Fold one block of tiles into the levels above it."""

    type = "slidemill.fold-block.v1"
    route = "work.fold-block"


class PyramidBuilt(ImageEvent):
    """Every level is stored."""

    type = "slidemill.pyramid-built.v1"
    route = "fact.pyramid-built"

    levels: int
    stored: int
    sparse: int


class ImageReady(ImageEvent):
    """The version can be seen, whole."""

    type = "slidemill.image-ready.v1"
    route = "fact.image-ready"


class ImageFailed(ImageEvent):
    """The version came to nothing; `reason` and `remedy` are for the person who sent it."""

    type = "slidemill.image-failed.v1"
    route = "fact.image-failed"

    stage: StageName
    reason: str
    remedy: str
    attempt: int = 1

    def identity(self) -> tuple[str, ...]:
        """See `Event.identity`."""
        return (*super().identity(), self.stage, str(self.attempt))


class StoreEvent(Event):
    """About one run of one folder store; `run` is the id of its report."""

    store: str
    run: str

    def identity(self) -> tuple[str, ...]:
        """See `Event.identity`."""
        return (self.store, self.run)

    @property
    def correlation(self) -> str:
        """See `Event.correlation`."""
        return self.run


class ScanStore(StoreEvent):
    """Look what has changed in a store."""

    type = "slidemill.scan-store.v1"
    route = "work.scan-store"


class ImportFile(StoreEvent):
    """Take in what lies at this path below the store's root."""

    type = "slidemill.import-file.v1"
    route = "work.import-file"

    path: str
    lane: Lane = "bulk"

    def identity(self) -> tuple[str, ...]:
        """See `Event.identity`."""
        return (*super().identity(), self.path)

    @property
    def routing_key(self) -> str:
        """See `Event.routing_key`."""
        return f"{self.route}.{self.lane}"


class SyncTick(Event):
    """Time to look after the stores and the house; `due` is the tick's id. `store` is the id of the only one meant.

    A timer says its `interval`, in seconds, and since which due time its clock has run without being set, if it was.
    """

    type = "slidemill.sync-tick.v1"
    route = "work.sync-tick"

    due: datetime
    store: str | None = None
    interval: int | None = None
    since: datetime | None = None

    def identity(self) -> tuple[str, ...]:
        """See `Event.identity`."""
        return (self.due.isoformat(),)

    @property
    def correlation(self) -> str:
        """See `Event.correlation`."""
        return self.due.isoformat()


EVENTS: dict[str, type[Event]] = {
    event.type: event
    for event in (
        FileComplete,
        DiceBlock,
        BaseDiced,
        FoldBlock,
        PyramidBuilt,
        ImageReady,
        ImageFailed,
        SyncTick,
        ScanStore,
        ImportFile,
    )
}
