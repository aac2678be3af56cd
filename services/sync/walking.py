"""Looks into folders, and opens files in them, without following links or waiting for whoever made the entries."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from services.sync.core import Aside, Look, Rules, is_temporary, part_of_slide
from shared.errors import SlidemillError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Opening a FIFO would wait for its writer, and a device might do anything.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoFile(SlidemillError):
    """What lies at the path is no file any more."""


@dataclass
class Listing:
    """What lies in one folder: its files by path, what is left aside, and its folders in order. Paths from the root."""

    folder: str
    files: dict[str, Look] = field(default_factory=dict)
    aside: list[Aside] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


@contextmanager
def _opened(root: str, folder: str) -> Iterator[int]:
    """A descriptor of the folder. The root may be a link, but nothing below it."""
    fd = os.open(root, _FOLDER)
    try:
        for name in folder.split("/") if folder else ():
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def look_into(root: str, folder: str, rules: Rules) -> Listing:
    """Lists one folder. Raises `OSError` if it can't be read."""
    listing = Listing(folder)
    before = f"{folder}/" if folder else ""
    folders: list[str] = []
    with _opened(root, folder) as fd, os.scandir(fd) as found:
        for entry in found:
            aside = _named(before, entry.name)
            if aside is None:
                aside = _sort(before + entry.name, entry, rules, listing, folders)
            if aside is not None:
                listing.aside.append(aside)
    names = {path.removeprefix(before) for path in listing.files}
    listing.folders = sorted(before + name for name in folders if not part_of_slide(name, names))
    return listing


def is_mount(root: str) -> bool:
    """Whether something is mounted at the root itself."""
    return os.path.ismount(os.path.realpath(root))


def look_at(root: str, folder: str, names: Sequence[str], rules: Rules) -> dict[str, Look]:
    """How files of one folder are now, by path: those that are there, can be looked at and are to be taken."""
    before = f"{folder}/" if folder else ""
    looks: dict[str, Look] = {}
    with suppress(OSError), _opened(root, folder) as fd:
        for name in names:
            with suppress(OSError):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and rules.aside(before + name, status.st_size) is None:
                    looks[before + name] = Look(status.st_size, status.st_mtime_ns)
    return looks


def _named(before: str, name: str) -> Aside | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = before + name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return Aside(shown, "name", f"The name of {shown} is not UTF-8: rename it.", keeps=False)
    return None


def _sort(path: str, entry: "os.DirEntry[str]", rules: Rules, listing: Listing, folders: list[str]) -> Aside | None:
    """Puts the entry where it belongs; why not, if it belongs nowhere."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return Aside(path, "gone", f"{path} went away while it was looked at.")
    except OSError as error:
        return Aside(path, "unreadable", f"{path} can't be looked at: {error.strerror}.")
    if stat.S_ISLNK(status.st_mode):
        return Aside(path, "link", f"{path} is a link, and links are not followed.", keeps=False)
    if stat.S_ISDIR(status.st_mode):
        if is_temporary(entry.name):
            return Aside(
                path, "hidden", f"The folder {path} is hidden, half copied or the system's: it is not looked into."
            )
        folders.append(entry.name)
        return None
    if not stat.S_ISREG(status.st_mode):
        return Aside(path, "special", f"{path} is no file but a pipe, a socket or a device.", keeps=False)
    aside = rules.aside(path, status.st_size)
    if aside is None:
        listing.files[path] = Look(status.st_size, status.st_mtime_ns)
    return aside


class Opened:
    """A file that is open for reading."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def look(self) -> Look:
        """How it is now."""
        status = os.fstat(self._fd)
        return Look(status.st_size, status.st_mtime_ns)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`: fewer than `length` only at the end."""
        pieces: list[bytes] = []
        while length > 0 and (piece := os.pread(self._fd, length, offset)):
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)


@contextmanager
def opened(root: str, path: str) -> Iterator[Opened]:
    """Opens a file. Raises `OSError` if that can't be done, `NoFile` if it is none."""
    folder, _, name = path.rpartition("/")
    with _opened(root, folder) as above:
        fd = os.open(name, _FILE, dir_fd=above)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NoFile(f"{path} is no file any more.")
        yield Opened(fd)
    finally:
        with suppress(OSError):
            os.close(fd)
