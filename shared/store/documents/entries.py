"""The shape of what is known of one file in a folder store, from one scan to the next."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.store.documents import Document
from shared.store.documents.folders import Reason

EntryState = Literal["waiting", "due", "imported", "duplicate"]
Found = Literal["new", "vanished", "back"]
Outcome = Literal["new", "changed", "same", "moved", "duplicate", "refused", "failed"]


class EntryId(BaseModel):
    """Names one entry: the id of its store, and its path below the root, with `/` between the folders."""

    model_config = ConfigDict(frozen=True)

    store: str
    path: str


class Member(BaseModel):
    """One of the files of a slide that has several: its path below the root, bytes, nanoseconds since 1970.

    `crc` is the CRC-32 of its bytes, once they were read.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    size: int
    mtime_ns: int
    crc: int | None = None


class Entry(Document):
    """One slide as the last scan saw it, and what was made of it: a file, or the `members` of a slide of several.

    Of several files `size` is that of the zip that they make, `mtime_ns` the latest, and `signature` tells their names,
    sizes and times from others. `series` is the DICOM series of the file or files, empty where that was looked for in
    vain, and `index` the part of the slide's index that says which files belong to it.

    `folder` is the part of the path before the last `/`, empty at the root. `size` is in bytes, `mtime_ns` in
    nanoseconds since 1970; `looked` is when the file was first seen with both, `digest` the SHA-256 of what was read of
    it since then. `token` is what the ids of its uploads are made of. `sha256`, `image` and `version` are those of the
    last import. `asked` is the run that wants it imported now, `claim` the digest of what is being made an image or a
    version. `heir` is the path to which its image has moved.
    `reason` and `detail` say why it is not imported yet, which is tried again after `next_try`.

    `found_by` and `found` say which run's scan found what, `done_by` and `outcome` which run's import came to what:
    a run's report is counted from them, so it is right however often a message is repeated.
    """

    id: EntryId = Field(alias="_id")
    folder: str
    name: str
    token: str
    size: int
    mtime_ns: int
    signature: str | None = None
    members: tuple[Member, ...] = ()
    series: str | None = None
    index: str | None = None
    looked: datetime
    digest: str | None = None
    state: EntryState = "waiting"
    sha256: str | None = None
    image: str | None = None
    version: int = 0
    vanished: datetime | None = None
    heir: str | None = None
    reason: Reason | None = None
    detail: str | None = None
    tries: int = 0
    next_try: datetime | None = None
    asked: str | None = None
    claim: str | None = None
    found_by: str | None = None
    found: Found | None = None
    done_by: str | None = None
    outcome: Outcome | None = None
