"""What was deleted or replaced, until the last trace of it is swept."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.store.documents import Document


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
