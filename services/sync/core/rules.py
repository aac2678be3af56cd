"""Which files and folders of a store are taken at all, and why not the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from shared.slides.litter import LITTER
from shared.store.documents.folders import FolderStore, Reason

_TEMPORARY = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".swp", "~")


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
