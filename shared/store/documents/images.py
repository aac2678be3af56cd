"""What people see: sessions, images and their small pictures."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.store.documents import Document


class Session(Document):
    """A set of images that belong together, such as a case. Owned by an account."""

    id: str = Field(alias="_id")
    title: str
    owner: str
    created: datetime


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


class Thumbnail(Document):
    """A small picture of a version: `kind` is thumbnail, label or macro; `id` is `image:n:kind`."""

    id: str = Field(alias="_id")
    kind: Literal["thumbnail", "label", "macro"]
    width: int
    height: int
    data: bytes
