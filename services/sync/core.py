"""The difference of two states of a folder: what a scan makes of files that it knew and of new ones. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from shared.slides.litter import LITTER
from shared.store.documents.entries import Entry, EntryId, Member
from shared.store.documents.folders import FolderStore, Reason

FIRST_WAIT = timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=24)
_TEMPORARY = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".swp", "~")


class Look(NamedTuple):
    """What tells a slide from what it was before: bytes, nanoseconds since 1970, the signature of several files."""

    size: int
    mtime_ns: int
    signature: str | None = None


@dataclass(frozen=True)
class Unit:
    """What a scan has found out about the slide at one path besides its look: see `Entry`.

    `lacks` says in a sentence or two which files of it are missing, if any are.
    """

    members: tuple[Member, ...] = ()
    series: str | None = None
    index: str | None = None
    lacks: str | None = None


def signature(members: Sequence[Member]) -> str:
    """What tells these files, with their sizes and times, from any others."""
    said = sorted(f"{member.path}\0{member.size}\0{member.mtime_ns}" for member in members)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def seen(entry: Entry) -> Look:
    """How the entry's slide looked when it was last looked at."""
    return Look(entry.size, entry.mtime_ns, entry.signature)


class Aside(NamedTuple):
    """A file that is not taken, why in a word and in a sentence, and whether what was known of it stays as it is."""

    path: str
    reason: Reason
    detail: str
    keeps: bool = True


@dataclass(frozen=True)
class Rules:
    """Which files of a store are taken at all. Globs are matched against the whole path, whatever its case."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    most_bytes: int | None = None

    @classmethod
    def of(cls, store: FolderStore, most_bytes: int | None) -> "Rules":
        """Those of a store."""
        return cls(store.include, store.exclude, most_bytes)

    def aside(self, path: str, size: int) -> Aside | None:
        """Why the file of this path and size, in bytes, is not taken; None if it is."""
        if is_temporary(path.rpartition("/")[2]):
            return Aside(path, "temporary", f"{path} has the name of a file that is still being written.")
        if not self._wanted(path):
            return Aside(path, "excluded", f"{path} is left out by the store's settings.")
        if size == 0:
            return Aside(path, "empty", f"{path} holds 0 bytes.")
        if self.most_bytes is not None and size > self.most_bytes:
            return Aside(path, "too-large", f"{path} has {size:,} bytes: more than the {self.most_bytes:,} allowed.")
        return None

    def _wanted(self, path: str) -> bool:
        folded = path.casefold()
        included = not self.include or any(fnmatchcase(folded, glob.casefold()) for glob in self.include)
        return included and not any(fnmatchcase(folded, glob.casefold()) for glob in self.exclude)


def is_temporary(name: str) -> bool:
    """Whether files and folders of this name are somebody's own business: half copied, hidden, or the system's."""
    folded = name.casefold()
    return folded.startswith((".", "~$")) or folded.endswith(_TEMPORARY) or folded in LITTER


def parts(folder: str) -> tuple[str, ...]:
    """The names on the way to a folder. Sorted by it, folders come in the order in which a scan walks them."""
    return tuple(folder.split("/")) if folder else ()


def beneath(folder: str, above: str) -> bool:
    """Whether a folder is this other one, or lies in it."""
    return parts(folder)[: len(parts(above))] == parts(above)


@dataclass(frozen=True)
class Step:
    """What to do about a known entry. `set` holds the fields that change; what is forgotten is deleted instead."""

    kind: Literal["changed", "due", "vanished", "back", "forgotten", "learned"]
    set: dict[str, Any]


def fresh(store: str, path: str, look: Look, unit: Unit | None, *, token: str, now: datetime, run: str) -> Entry:
    """The entry of a slide that was never seen before."""
    folder, _, name = path.rpartition("/")
    return Entry(
        id=EntryId(store=store, path=path),
        folder=folder,
        name=name,
        token=token,
        looked=now,
        found_by=run,
        found="new",
        **_as_seen(look, unit or Unit()),
    )


def _as_seen(look: Look, unit: Unit) -> dict[str, Any]:
    """What an entry says of a slide that waits until it has looked the same for a while, or until it is whole."""
    return {
        **look._asdict(),
        "members": unit.members,
        "series": unit.series,
        "index": unit.index,
        "reason": "incomplete" if unit.lacks else "unstable",
        "detail": unit.lacks,
    }


def step(
    entry: Entry, look: Look | None, unit: Unit | None = None, *, now: datetime, stable: timedelta, run: str
) -> Step | None:
    """What becomes of an entry whose slide looks like this now, or is gone; None if all is as it was.

    A slide is due for import when it has looked the same for `stable` and lacks nothing.
    """
    if look is None:
        return _gone(entry, now, run)
    unit = unit or Unit()
    changed = look != seen(entry)
    if entry.state == "waiting" and entry.looked > now:
        # It was looked at before the clock was set back.
        changed = True
    # From the beginning: what was tried in vain before was tried with another file.
    anew = {
        "state": "waiting",
        "looked": now,
        "digest": None,
        "claim": None,
        "tries": 0,
        "next_try": None,
        **_as_seen(look, unit),
    }
    if entry.vanished is not None:
        again: dict[str, Any] = {"vanished": None, "found_by": run, "found": "back"}
        if entry.heir is not None:
            # Its image lives on at another path.
            lost = {"image": None, "version": 0, "sha256": None, "heir": None, "found": "new"}
            return Step("changed", {**again, **anew, **lost})
        return Step("back", again if entry.state == "imported" and not changed else {**again, **anew})
    if changed:
        return Step("changed", anew)
    if entry.state == "waiting" and entry.reason != "incomplete" and now - entry.looked >= stable:
        return Step("due", {"state": "due", "series": unit.series, "reason": None, "detail": None})
    if unit.series != entry.series:
        return Step("learned", {"series": unit.series})
    return None


def _gone(entry: Entry, now: datetime, run: str) -> Step | None:
    if entry.vanished is not None:
        return None
    if entry.image is None:
        return Step("forgotten", {})
    return Step("vanished", {"vanished": now, "asked": None, "claim": None, "found_by": run, "found": "vanished"})


def unchanged(entry: Entry) -> dict[str, Any]:
    """The condition under which a step may be taken: nobody has done anything about the entry meanwhile."""
    return {
        "state": entry.state,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "signature": entry.signature,
        "looked": entry.looked,
        "vanished": entry.vanished,
        "image": entry.image,
    }


def wait(tries: int) -> timedelta:
    """How long a file that could not be imported is left alone after so many tries, from 1."""
    return min(FIRST_WAIT * (1 << min(tries - 1, 16)), LONGEST_WAIT)


def session_title(store: FolderStore, path: str) -> str:
    """The title of the session to which the file at this path goes."""
    folder, below, _ = path.partition("/")
    return store.session or (folder if below else store.name or "")


def source_of(store: FolderStore, path: str) -> str:
    """How an image says where it comes from."""
    return f"store:{store.name}/{path}"
