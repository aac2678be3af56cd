"""Uploads that were begun and whose command has not ended: one small file each, so that the same command goes on."""

import hashlib
import time
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from services.ops.gathering import SlideFiles
from shared.slides.packing import length_of

# A gateway gives up long before that what nobody goes on with.
_KEPT_SECONDS = 7 * 24 * 3600


class Begun(BaseModel):
    """One slide on its way into one session, as it was when its upload began; `size` is that of what is sent.

    `key` makes the gateway take a repeated first chunk for the same upload; `upload` is the id that it answered.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    size: int
    mtime_ns: int
    session: str
    key: str
    upload: str | None = None

    def still(self, other: "Begun") -> bool:
        """Whether what is on disk is the same as far as its size and time tell."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


def begin(slide: SlideFiles, session: str) -> Begun:
    """A new upload of a slide as it is now; of several files the latest time counts. Raises `OSError`."""
    return Begun(
        path=str(slide.path.absolute()),
        size=size_of(slide),
        mtime_ns=max(file.stat().st_mtime_ns for file in (slide.path, *slide.members.values())),
        session=session,
        key=uuid.uuid4().hex,
    )


def size_of(slide: SlideFiles) -> int:
    """The bytes that are sent of a slide. Raises `OSError`."""
    if slide.members:
        return length_of({name: file.stat().st_size for name, file in slide.members.items()})
    return slide.path.stat().st_size


class Records:
    """The records in a stack's data folder. Commands that run at once may share it: a file is replaced in one step."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "uploads"

    def find(self, begun: Begun) -> Begun | None:
        """The record of the same path and session, of whatever size and time."""
        try:
            return Begun.model_validate_json(self._place(begun).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, begun: Begun) -> None:
        """Write a record, in place of an earlier one of the same path and session."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        place = self._place(begun)
        fresh = place.with_suffix(f".{uuid.uuid4().hex}")
        fresh.write_text(begun.model_dump_json())
        fresh.rename(place)

    def forget(self, begun: Begun) -> None:
        """Remove a record. Harmless when repeated."""
        self._place(begun).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what is so old that no gateway knows of it any more."""
        if self._folder.is_dir():
            for place in self._folder.iterdir():
                if place.stat().st_mtime < time.time() - _KEPT_SECONDS:
                    place.unlink(missing_ok=True)

    def _place(self, begun: Begun) -> Path:
        name = hashlib.sha256(f"{begun.session}\0{begun.path}".encode("utf-8", "surrogateescape")).hexdigest()
        return self._folder / f"{name[:32]}.json"
