"""The bodies of the HTTP interface as models: requests are checked with them, docs/openapi.yaml is made of them."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from shared.events import StageName
from shared.names import visible
from shared.store.documents.uploads import UploadState
from shared.store.documents.versions import State

Moment = Annotated[
    str, Field(description="UTC, RFC 3339 with milliseconds and Z", json_schema_extra={"format": "date-time"})
]
Id = Annotated[str, Field(description="32 hex digits")]


class Body(BaseModel):
    """Common part: nothing that is not named here."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def _visible(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


class NewSession(Body):
    """What a new session is called."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200), BeforeValidator(_visible)]


class SessionObject(Body):
    """A set of images that belong together. `images` counts them by state."""

    id: Id
    title: str
    owner: Id
    created: Moment
    images: dict[State, int]


class StageObject(Body):
    """Progress of one stage: bytes for upload, tiles for the others."""

    started: Moment | None
    ended: Moment | None
    done: int
    total: int | None


class StagesObject(Body):
    """The four stages in order."""

    upload: StageObject
    dice: StageObject
    fold: StageObject
    finish: StageObject


class FailureObject(Body):
    """Why an image failed, and what to do."""

    stage: StageName
    reason: str
    remedy: str


class TilesObject(Body):
    """Tiles of all levels: stored ones, and those that the source left out."""

    stored: int | None
    sparse: int | None


class ImageObject(Body):
    """An image as its latest version is. Unknown values are null."""

    id: Id
    session: Id
    name: str
    folder: Annotated[
        str | None, Field(description="Where the sender of an upload had the file, inside the folder that was sent")
    ]
    state: State
    viewable: bool
    stages: StagesObject
    failure: FailureObject | None
    width: int | None
    height: int | None
    tile_size: int | None
    levels: int | None
    tiles: TilesObject
    base: Literal["copied", "encoded"] | None
    base_reason: str | None
    quality: int | None
    subsampling: Literal["420", "444"] | None
    mpp: float | None
    objective: float | None
    vendor: str | None
    barcode: str | None
    scanned: str | None
    version: int
    length: int | None
    md5: str | None
    sha256: str | None
    source: Annotated[str, Field(description="`upload`, or `store:NAME/PATH` for a file in a folder store")]
    source_vanished: Annotated[
        Moment | None, Field(description="Since when the file is no longer in its store; the image stays")
    ]


class ImageProgress(ImageObject):
    """An event's data: the image, its present stage and how far that is."""

    stage: StageName
    done: int
    total: int | None


class SessionPage(Body):
    """Sessions in order of creation; `next` is the cursor of the next page, or null."""

    items: list[SessionObject]
    next: str | None


class ImagePage(Body):
    """Images in order of creation; `next` is the cursor of the next page, or null."""

    items: list[ImageObject]
    next: str | None


class StoredRange(Body):
    """Stored bytes, both ends inclusive."""

    start: int
    end: int


class UploadReply(Body):
    """The stored range (`end` inclusive). `md5` and `sha256` are those of the first `hashed` bytes, null for none."""

    id: Id = Field(alias="_id")
    image: Id
    start: int
    end: int
    total: int
    done: bool
    md5: str | None
    sha256: str | None
    hashed: int
    state: UploadState


class UploadStatus(Body):
    """What is stored of an upload. `total` is null while only the sender knows it."""

    id: Id = Field(alias="_id")
    image: Id
    name: str
    total: int | None
    chunk: int
    stored: int
    ranges: list[StoredRange]
    done: bool
    md5: str | None
    sha256: str | None
    hashed: int
    state: UploadState


class AccountObject(Body):
    """The account behind a request."""

    id: Id
    name: str
    admin: bool


class SignInLink(Body):
    """An address that signs one browser in, once."""

    url: str
    expires: Moment


class ProblemObject(BaseModel):
    """Problem details (RFC 9457). Some problems have further members, such as `expected`, `_id` or `formats`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    remedy: str
