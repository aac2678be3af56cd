"""Looks into folders, and opens files in them, without following links or waiting for whoever made the entries."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from services.sync.core.looks import Look
from services.sync.core.rules import Aside, Rules, is_temporary
from shared.errors import SlidemillError
from shared.slides.companions import MIRAX, MIRAX_INDEX, index_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Opening a FIFO would wait for its writer, and a device might do anything.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MIRAX_PARTS = (".dat", ".ini")


class NoFile(SlidemillError):
    """What lies at the path is no file any more."""


@dataclass
class Listing:
    """What lies in one folder: its files by path, what is left aside, and its folders in order. Paths from the root.

    `beside` are files that are left aside but may belong to a slide, `within` those in the folders of MIRAX slides.
    """

    folder: str
    files: dict[str, Look] = field(default_factory=dict)
    aside: list[Aside] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    beside: dict[str, Look] = field(default_factory=dict)
    within: dict[str, dict[str, Look]] = field(default_factory=dict)


@contextmanager
def folder_of(root: str, folder: str) -> Iterator[int]:
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
    with folder_of(root, folder) as fd, os.scandir(fd) as found:
        for entry in found:
            aside = _named(before, entry.name)
            if aside is None:
                aside = _sort(before + entry.name, entry, rules, listing, folders)
            if aside is not None:
                listing.aside.append(aside)
        listing.folders = sorted(before + name for name in folders)
        _take_folders_of_slides(fd, before, listing)
    if f"{before}{MIRAX_INDEX}" in listing.files:
        _set_part_aside(listing)
    return listing


def is_mount(root: str) -> bool:
    """Whether something is mounted at the root itself."""
    return os.path.ismount(os.path.realpath(root))


def _set_part_aside(listing: Listing) -> None:
    """What has got here, or stayed, of a MIRAX slide without the file that it goes by is no slide for each file."""
    parts = {path for path in (*listing.files, *listing.beside) if path.lower().endswith(_MIRAX_PARTS)}
    for path in parts:
        listing.files.pop(path, None)
    lacks = f"{listing.folder or 'The folder'} holds a part of a slide, which lacks its {MIRAX} file."
    again = "Copy the slide from the scanner again, with every file that belongs to it."
    listing.aside = [aside for aside in listing.aside if aside.path not in parts]
    listing.aside.append(Aside(listing.folder, "incomplete", f"{lacks} {again}", keeps=False))


def _take_folders_of_slides(fd: int, before: str, listing: Listing) -> None:
    """The folder of a MIRAX slide is not one to be walked, whether or not the slide is taken."""
    for main in [path for path in (*listing.files, *listing.beside) if path.lower().endswith(MIRAX)]:
        own = str(PurePosixPath(index_of(main) or main).parent)
        if own in listing.folders:
            listing.folders.remove(own)
        within: dict[str, Look] = {}
        try:
            _list_all(fd, own.removeprefix(before), f"{own}/", within)
        except (FileNotFoundError, NotADirectoryError):
            within.clear()
        except OSError as error:
            if listing.files.pop(main, None) is not None:
                listing.aside.append(Aside(main, "unreadable", f"The folder {own} can't be read: {error.strerror}."))
        listing.within[main] = within


def _list_all(above: int, name: str, before: str, files: dict[str, Look]) -> None:
    """Every plain file below a folder, whatever its size and whatever the store's rules say."""
    fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    try:
        with os.scandir(fd) as found:
            for entry in found:
                if _named(before, entry.name) is not None or is_temporary(entry.name):
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    files[before + entry.name] = Look(status.st_size, status.st_mtime_ns)
                elif stat.S_ISDIR(status.st_mode):
                    _list_all(fd, entry.name, f"{before}{entry.name}/", files)
    finally:
        os.close(fd)


def look_at(root: str, folder: str, names: Sequence[str], rules: Rules) -> dict[str, Look]:
    """How files of one folder are now, by path: those that are there, can be looked at and are to be taken."""
    before = f"{folder}/" if folder else ""
    looks: dict[str, Look] = {}
    with suppress(OSError), folder_of(root, folder) as fd:
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
    look = Look(status.st_size, status.st_mtime_ns)
    if aside is None:
        listing.files[path] = look
    elif aside.reason != "temporary":
        listing.beside[path] = look
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


def starts(root: str, paths: Sequence[str], length: int) -> dict[str, bytes]:
    """The first bytes of those of these files that can be read."""
    found: dict[str, bytes] = {}
    for path in paths:
        with suppress(OSError, NoFile), opened(root, path) as file:
            found[path] = file.read(0, length)
    return found


@contextmanager
def opened(root: str, path: str) -> Iterator[Opened]:
    """Opens a file. Raises `OSError` if that can't be done, `NoFile` if it is none."""
    folder, _, name = path.rpartition("/")
    with folder_of(root, folder) as above:
        fd = os.open(name, _FILE, dir_fd=above)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NoFile(f"{path} is no file any more.")
        yield Opened(fd)
    finally:
        with suppress(OSError):
            os.close(fd)
