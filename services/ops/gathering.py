"""Which slides are in files and folders on disk, and of which files each consists."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from services.ops.errors import CommandFailed
from shared.slides import companions, packing
from shared.slides.litter import is_litter
from shared.slides.series import dicom_file
from shared.slides.sniff import HEAD_BYTES, is_picture

MOST_TOLD = 10


class SlideFiles(NamedTuple):
    """A slide on disk: the file that it goes by, and of one that has several all of them by their names in the zip."""

    path: Path
    members: dict[str, Path]


@dataclass
class Gathered:
    """What there is to send, a sentence for each slide that lacks files of its own, and the files of folders that are
    no slides."""

    slides: list[SlideFiles] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def gather(paths: Sequence[Path]) -> Gathered:
    """The slides that are meant: files as given, of folders the pictures below them that are not hidden, in order.

    A slide's companions are taken from beside it, named or not. Raises `CommandFailed` for a path that is not there,
    and when nothing is left, `OSError` for a folder that can't be read: what is in it would be left out unseen.
    """
    found: list[Path] = []
    named = {path.absolute() for path in paths}
    for path in paths:
        if path.is_dir():
            found += _below(path)
        elif path.is_file():
            found.append(path)
        elif path.exists():
            raise CommandFailed(f"{path} is neither a file nor a folder: name a slide, or a folder with slides.")
        else:
            raise CommandFailed(f"There is no file or folder {path}: check the name.")
    if not found:
        raise CommandFailed("There is no file in what you named: name a slide, or a folder with slides.")
    gathered = _grouped(list(dict.fromkeys(file.absolute() for file in found)))
    sent: list[SlideFiles] = []
    for slide in gathered.slides:
        if slide.members or slide.path in named or _may_be_picture(slide.path):
            sent.append(slide)
        else:
            gathered.left_out.append(slide.path)
    gathered.slides = sent
    if not sent and not gathered.refusals:
        raise CommandFailed(f"There is no slide in what you named: {told(gathered.left_out)}.")
    return gathered


def told(files: Sequence[Path]) -> str:
    """The first names of many files."""
    names = ", ".join(file.name for file in files[:MOST_TOLD])
    return names if len(files) <= MOST_TOLD else f"{names} and {len(files) - MOST_TOLD:,} more"


def _may_be_picture(file: Path) -> bool:
    """True as well for one that can't be read, which is told when its turn to be sent comes."""
    try:
        with file.open("rb") as source:
            return is_picture(source.read(HEAD_BYTES), file.name)
    except OSError:
        return True


def _below(folder: Path) -> list[Path]:
    """Files below a folder, if there is one, but hidden ones and litter; raises `OSError` for what can't be listed."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    below: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _is_left_out(name)]
        files = (Path(place, name) for name in names if not _is_left_out(name))
        below += [file for file in files if file.is_file()]
    return sorted(below)


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or is_litter(name)


def _grouped(found: Collection[Path]) -> Gathered:
    root = Path(os.path.commonpath([file.parent for file in found]))
    beside = (companion for file in found for companion in _beside(file))
    there = {file.relative_to(root).as_posix(): file for file in (*found, *beside)}
    meant = set(found)
    indexes = {
        index: _start(there[index], companions.MOST_INDEX_BYTES).decode("utf-8", "replace")
        for index in map(companions.index_of, there)
        if index in there
    }
    series = {name: uid for name, file in there.items() if file in meant and (uid := _series(file)) is not None}
    gathered = Gathered()
    for slide in companions.group(there, indexes, series):
        main = there[slide.main]
        if main not in meant:
            continue
        names = packing.names_in_zip(slide) if len(slide.members) > 1 else {}
        if (refusal := companions.refusal(slide)) is not None:
            gathered.refusals.append(" ".join(refusal))
        elif any(_is_no_unicode(name) for name in names.values()):
            gathered.refusals.append(f"{slide.main} has files whose names are no Unicode text: rename them.")
        else:
            gathered.slides.append(SlideFiles(main, {name: there[member] for member, name in names.items()}))
    return gathered


def _beside(file: Path) -> list[Path]:
    """Where the companions of a file may lie, if it can have any."""
    index = companions.index_of(file.name)
    if index is None:
        return []
    if folder := PurePosixPath(index).parent.name:
        return _below(file.parent / folder)
    return [other for other in file.parent.iterdir() if other.is_file() and companions.index_of(other.name) is None]


def _series(file: Path) -> str | None:
    found = dicom_file(lambda size: _start(file, size))
    return found.series if found is not None else None


def _start(file: Path, size: int) -> bytes:
    """The first bytes; none of a file that can't be read, which is told when its turn to be sent comes."""
    try:
        with file.open("rb") as source:
            return source.read(size)
    except OSError:
        return b""


def _is_no_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False
