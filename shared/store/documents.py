"""The shapes of every document in MongoDB. Times are UTC; ids are 32 hex digits unless said otherwise."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import Base, Lane, StageName
from shared.tiles.geometry import Geometry, Rect

State = Literal["uploading", "dicing", "folding", "finishing", "ready", "failed"]
# `importing` is `receiving` from a folder: only the import brings bytes, and nobody else ends it.
UploadState = Literal["receiving", "importing", "verifying", "complete", "failed", "expired"]


class Document(BaseModel):
    """Common part: `id` is `_id` in the database; unknown fields of a newer release are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Account(Document):
    """Somebody who may sign in."""

    id: str = Field(alias="_id")
    name: str
    admin: bool = False
    created: datetime


class Token(Document):
    """A bearer token or a browser's session cookie. `id` is the SHA-256 of the secret, which is kept nowhere."""

    id: str = Field(alias="_id")
    account: str
    kind: Literal["api", "browser"]
    created: datetime
    expires: datetime | None = None


class SignIn(Document):
    """A one-time sign-in link. `id` is the SHA-256 of its code; taking it deletes it."""

    id: str = Field(alias="_id")
    account: str
    expires: datetime


class Session(Document):
    """A set of images that belong together, such as a case. Owned by an account."""

    id: str = Field(alias="_id")
    title: str
    owner: str
    created: datetime


class Tus(BaseModel):
    """What an upload by the tus protocol has besides. Its offset is the upload's `stored`.

    `token` is raised by whoever asks where to go on: nobody who was bringing bytes before moves the offset after that.
    `sized` says that `chunk` is settled: from then on there may be chunks. While `deferred`, the upload's `total` is 0
    and unknown. A `partial` upload makes no image; a `final` one is made of the partial uploads `parts`, in order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: int = 0
    metadata: str = ""
    sized: bool = False
    deferred: bool = False
    partial: bool = False
    final: bool = False
    parts: tuple[str, ...] = ()


Subsampling = Literal["420", "444"]


class Wish(BaseModel):
    """What somebody wants of the JPEG tiles that are encoded; None: what the dicer that plans them is set to."""

    model_config = ConfigDict(frozen=True)

    quality: int | None = Field(default=None, ge=1, le=100)
    subsampling: Subsampling | None = None


class Upload(Document):
    """One file on its way in. `id` is the GridFS files id too, but where `file` names a stored file that it shares.

    `session` is empty for a part that named none. `folder` is where its sender had it, as far as that was told. `wish`
    becomes its version's.
    """

    id: str = Field(alias="_id")
    session: str
    image: str
    version: int
    owner: str
    name: str
    folder: str | None = None
    total: int
    chunk: int
    stored: int = 0
    state: UploadState = "receiving"
    announced: bool = False
    file: str | None = None
    key: str | None = None
    claimed_md5: str | None = None
    claimed_sha256: str | None = None
    md5: str | None = None
    sha256: str | None = None
    tus: Tus | None = None
    wish: Wish = Wish()
    created: datetime
    updated: datetime

    @property
    def stored_as(self) -> str:
        """The GridFS files id."""
        return self.file or self.id


class Image(Document):
    """What people see: `latest` is the newest version's number, `current` the newest one that can be seen (0: none).

    `folder` is where the sender of an upload had the file: it tells files of one name apart. `source` is `upload`, or
    `store:NAME/PATH` for a file in a folder store; `source_vanished` says since when that file is no longer there.
    `replaced` is since when `current` has stood in for older versions that are still to be removed, None if none are;
    `cleared` is when that was last done.
    """

    id: str = Field(alias="_id")
    session: str
    name: str
    latest: int
    current: int = 0
    folder: str | None = None
    source: str = "upload"
    source_vanished: datetime | None = None
    replaced: datetime | None = None
    cleared: datetime | None = None
    created: datetime


class VersionId(BaseModel):
    """Names one processing of an image."""

    model_config = ConfigDict(frozen=True)

    image: str
    n: int


class Stage(BaseModel):
    """Times and counts of one stage. upload counts bytes, the others tiles; `total` is 0 until it is known."""

    model_config = ConfigDict(frozen=True)

    started: datetime | None = None
    ended: datetime | None = None
    done: int = 0
    total: int = 0


class Stages(BaseModel):
    """The four stages in order."""

    model_config = ConfigDict(frozen=True)

    upload: Stage = Stage()
    dice: Stage = Stage()
    fold: Stage = Stage()
    finish: Stage = Stage()


class Failure(BaseModel):
    """Why a version came to nothing, in words for the person who sent it."""

    model_config = ConfigDict(frozen=True)

    stage: StageName
    reason: str
    remedy: str


class Recipe(BaseModel):
    """Everything besides the source that decides the output bytes. Pinned by the first plan."""

    model_config = ConfigDict(frozen=True)

    revision: int
    quality: int
    subsampling: Subsampling
    tile: int


Reader = Literal[
    "tiff-tiles",
    "dicom-frames",
    "tiff-jpeg2000",
    "tiff-lossless",
    "openslide",
    "czi",
    "vips-random",
    "vips-sequential",
]


class Source(BaseModel):
    """What the slide's header says, in the same words whoever made it.

    `mpp` in micrometres per pixel, `objective` as a magnification, `scanned` in ISO 8601 as far as it is known;
    `properties` are the maker's own words. `reader` names the way its pixels are read, `layout` is that reader's own
    data.
    """

    model_config = ConfigDict(frozen=True)

    reader: Reader
    suffix: str
    vendor: str | None = None
    mpp: float | None = None
    objective: float | None = None
    barcode: str | None = None
    scanned: str | None = None
    properties: dict[str, str] = {}
    layout: dict[str, Any] = {}


class Version(Document):
    """Everything about one processing of an image. `recipe` is what its first plan made of `wish`.

    `climb` is how many levels the squares of tiles are folded that the dicer cuts, None where it leaves that to others.
    """

    id: VersionId = Field(alias="_id")
    session: str
    file: str
    name: str
    length: int | None = None
    md5: str | None = None
    sha256: str | None = None
    state: State = "uploading"
    stages: Stages = Stages()
    failure: Failure | None = None
    wish: Wish = Wish()
    recipe: Recipe | None = None
    source: Source | None = None
    geometry: Geometry | None = None
    base: Base | None = None
    base_reason: str | None = None
    lane: Lane = "express"
    climb: int | None = None
    planned: tuple[StageName, ...] = ()
    rounds: int = 0
    stored: int = 0
    sparse: int = 0
    reissues: int = 0
    workers: tuple[str, ...] = ()
    created: datetime
    updated: datetime


class BlockId(BaseModel):
    """Names one block. `stage` is `dice` or `fold`; `n` counts from 0 within the version's stage."""

    model_config = ConfigDict(frozen=True)

    image: str
    version: int
    stage: Literal["dice", "fold"]
    n: int


class Block(Document):
    """One message's work: a rectangle of tiles.

    dice: `rect` lies on level 0. fold: `rect` is the square of tiles on `rect.level` that is folded into the levels
    above it. `tiles` is how many positions it fills. Round 0 folds base tiles, each next round the `root`s of the round
    before: plain pixels, so that no level starts from a JPEG of ours. `sparse` is a bitmap (see `shared.tiles.sparse`)
    of the positions without a tile. `extents` says where a copied base's tiles lie in the file: byte offsets, then
    lengths, little-endian 64-bit.
    """

    id: BlockId = Field(alias="_id")
    rect: Rect
    tiles: int
    round: int = 0
    done: bool = False
    attempts: int = 0
    deaths: int = 0
    issued: datetime
    root: bytes | None = None
    sparse: bytes | None = None
    extents: bytes | None = None
    by: str | None = None


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
    report: dict[str, Any] = {}

    @classmethod
    def at(cls, due: datetime, **fields: Any) -> "Tick":
        """That of a due time."""
        return cls(id=due.isoformat(), order=newest_first(due), **fields)

    @property
    def due(self) -> datetime:
        """When it was due."""
        return datetime.fromisoformat(self.id)


class Audit(Document):
    """What somebody did by hand to messages or images: who, when, why, to what.

    `id` is `run-part`: a run goes on in a further part after so many subjects, each noted before it is done. `images`
    are those that the subjects are about.
    """

    id: str = Field(alias="_id")
    run: str
    at: datetime
    by: str
    action: str
    reason: str
    selection: dict[str, Any] = {}
    subjects: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


class Thumbnail(Document):
    """A small picture of a version: `kind` is thumbnail, label or macro; `id` is `image:n:kind`."""

    id: str = Field(alias="_id")
    kind: Literal["thumbnail", "label", "macro"]
    width: int
    height: int
    data: bytes


class Tombstone(Document):
    """An image or a session that was deleted, or a version that a newer one replaced. `id` is its own, a version's is
    `image:n`. What belongs to it is swept until this document goes.

    `files` and `versions` are those that an image was found to have. `due` is when to sweep next, `sweeps` how often
    that was done.
    """

    id: str = Field(alias="_id")
    kind: Literal["image", "session", "version"]
    files: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    sweeps: int = 0
    created: datetime
    due: datetime


class Deployment(Document):
    """This database's own record: `id` is `deployment`; `claim` names it on the broker."""

    id: str = Field(alias="_id")
    claim: str
