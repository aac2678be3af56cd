"""What a slide in a folder looks like, by which it is told from what it was before."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.store.documents.entries import Entry, Member


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
