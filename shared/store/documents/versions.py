"""Everything about one processing of an image."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.events import Base, Lane, StageName
from shared.store.documents import Document
from shared.store.documents.uploads import Subsampling, Wish
from shared.tiles.geometry import Geometry

State = Literal["uploading", "dicing", "folding", "finishing", "ready", "failed"]


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
