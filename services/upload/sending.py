"""What one upload request says, what is answered to it, and the names that follow from it."""

import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.upload.core.digests import DigestName
from services.upload.core.spans import Span
from services.upload.digests import Digests
from shared.http.problems import Problem
from shared.store.documents.images import Session
from shared.store.documents.uploads import Tus, Upload

_KEYED = uuid.UUID("0f3a6f0e-7a4f-4c57-93ff-52f6ad6fb3c1")


@dataclass(frozen=True)
class Sending:
    """What one request says about its body. `span` and `total` are None where the body is a whole file.

    `claims` are digests of the whole file, `range_claims` of this request's bytes, both in hex. `tus` is what an upload
    by that protocol has besides.
    """

    session: Session
    account: str
    name: str | None
    folder: str | None = None
    upload: str | None = None
    key: str | None = None
    span: Span | None = None
    total: int | None = None
    claims: dict[DigestName, str] = field(default_factory=dict)
    range_claims: dict[DigestName, str] = field(default_factory=dict)
    tus: Tus | None = None

    @property
    def named(self) -> str:
        """The file's name; a 400 if it has none."""
        if self.name is None:
            raise Problem(
                400,
                "The file has no name.",
                "Name it in the form, in Content-Disposition, or with ?name= in the address.",
            )
        return self.name

    @property
    def offers(self) -> bool:
        """Whether it asks, without bytes, if the file is stored already."""
        return self.span is not None and self.span.stop == 0 and self.total != 0

    @property
    def stored_key(self) -> str | None:
        """The key as the database has it, where it is unique for its owner: it means something in one session only."""
        return None if self.key is None else f"{self.session.id}/{self.key}"


class Receipt(NamedTuple):
    """What has become of a request: its upload, the range that is stored, and the digests of what was hashed."""

    upload: Upload
    span: Span
    created: bool
    digests: Digests


def ids_of(sending: Sending) -> tuple[str, str]:
    """The ids of a new upload and its image. With an Idempotency-Key they are the same whenever it is sent again."""
    if sending.key is None:
        return uuid.uuid4().hex, uuid.uuid4().hex
    upload = uuid.uuid5(_KEYED, "|".join((sending.account, sending.session.id, sending.key)))
    return upload.hex, uuid.uuid5(upload, "image").hex


def about(upload: Upload) -> dict[str, Any]:
    """The members that every answer about an upload has."""
    return {"_id": upload.id, "image": upload.image}
