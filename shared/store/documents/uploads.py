"""Files on their way in."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.store.documents import Document

# `importing` is `receiving` from a folder: only the import brings bytes, and nobody else ends it.
UploadState = Literal["receiving", "importing", "verifying", "complete", "failed", "expired"]


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
