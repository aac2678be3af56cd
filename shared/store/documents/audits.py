"""What was done by hand."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.store.documents import Document


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
    selection: dict[str, Any] = Field(default_factory=dict)
    subjects: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
