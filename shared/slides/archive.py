"""A zip that holds one slide: what is in it, why it is refused, and its bounded unpacking. Runs in decoder children.

Sources: PKWARE's APPNOTE 6.3 for the records. Nothing that a zip says of itself is believed while it is unpacked.
"""

import errno
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from shared.errors import Reject
from shared.slides import companions
from shared.slides.dicom import series_of
from shared.slides.sniff import Kind, sniff

MOST_ENTRIES = 20_000
MOST_RATIO = 200
# Scanners' index files are small and compress well, whatever the ratio.
RATIO_FREE_BYTES = 64 * 2**20
MOST_DIRECTORY_BYTES = 16 * 2**20
MOST_INDEX_BYTES = 4 * 2**20
MOST_NAME_BYTES = 255
HEAD_BYTES = 512
# What of a DICOM header comes before its series.
SERIES_BYTES = 64 * 2**10
PIECE_BYTES = 4 * 2**20

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_BYTES = 20
_MOST_COMMENT = 65535
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
# Anywhere in an index, since readers of such files differ in what they take for a line.
_UPWARDS = re.compile(r"(?<![^\s=/\\])\.\.(?![^\s/\\])")
_LOCAL_HEADER_BYTES = 30
# Kinds of file of which some can be read tile by tile.
_LOOKED_INTO = ("tiff", "dicom")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_AGAIN = "Zip the slide again with an ordinary zip program and upload that."
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, ValueError, OverflowError)


class Inside(NamedTuple):
    """The one slide of a zip: the file that it is opened by, and every file to unpack, with their bytes in all.

    Names are relative. `kind` is the main file's, None where an index names the slide's files. `stored` tells of files
    that a reader may look into where they lie in the zip, as they are: (offset, length) in bytes.
    """

    main: str
    kind: Kind | None
    members: tuple[str, ...]
    length: int
    stored: dict[str, tuple[int, int]]


def find(name: str, budget: int, *, source: BinaryIO) -> Inside:
    """Looks into a zip, called `name`, without unpacking it.

    Raises `Reject` for whatever is wrong with it, and where its slide has more than `budget` bytes.
    """
    with _told(name):
        _check_directory(source, name)
        with zipfile.ZipFile(source) as archive:
            entries = _checked(archive.infolist(), name)
            inside = _inside(archive, entries, name, budget)
        places = {member: _place(source, entries[member]) for member in inside.members if inside.kind in _LOOKED_INTO}
    return inside._replace(stored={member: place for member, place in places.items() if place is not None})


def unpack(folder: str, name: str, budget: int, *, source: BinaryIO) -> bool:
    """Unpacks the slide into an empty folder, at most `budget` bytes of it; False where the disk is full.

    Raises what `find` does, and `Reject` where the zip's data are not what its directory says.
    """
    with _told(name):
        _check_directory(source, name)
        with zipfile.ZipFile(source) as archive:
            entries = _checked(archive.infolist(), name)
            inside = _inside(archive, entries, name, budget)
            try:
                _write(archive, [entries[member] for member in inside.members], Path(folder), name, budget)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                return False
    return True


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise Reject(f"The zip {name} is damaged ({error}).", "Upload it again, or zip the slide again.") from error


def _check_directory(file: BinaryIO, name: str) -> None:
    """The directory is read into memory as a whole: refuses one that is too large before that."""
    length = file.seek(0, os.SEEK_END)
    start = max(0, length - _END.size - _MOST_COMMENT - _LOCATOR_BYTES - _END64.size)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise Reject(f"The zip {name} ends before its directory does.", "It was cut short: upload it whole again.")
    *_, count, size, _, _ = _END.unpack_from(tail, at)
    before = at - _LOCATOR_BYTES
    if before >= _END64.size and tail[before : before + 4] == b"PK\x06\x07":
        *_, count, size, _ = _END64.unpack_from(tail, before - _END64.size)
    if count > MOST_ENTRIES or size > MOST_DIRECTORY_BYTES:
        raise _too_many(name)


def _too_many(name: str) -> Reject:
    return Reject(
        f"The zip {name} holds more than the {MOST_ENTRIES:,} files that a slide may consist of.",
        "Zip each slide by itself and upload the zips one by one.",
    )


def _checked(infos: Collection[zipfile.ZipInfo], name: str) -> dict[str, zipfile.ZipInfo]:
    """The files in a zip by name, without folders and desktop litter."""
    if len(infos) > MOST_ENTRIES:
        raise _too_many(name)
    entries: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in infos:
        if (wrong := _wrong(info)) is not None:
            raise Reject(f"The zip {name} holds {info.orig_filename!r}, which {wrong}.", _AGAIN)
        if info.is_dir() or not {info.filename.split("/")[0], PurePosixPath(info.filename).name}.isdisjoint(_LITTER):
            continue
        if info.filename.casefold() in folded:
            raise Reject(f"The zip {name} holds {info.filename!r} twice (upper and lower case are the same).", _AGAIN)
        folded.add(info.filename.casefold())
        entries[info.filename] = info
    for entry in entries:
        for parent in PurePosixPath(entry).parents:
            if str(parent).casefold() in folded:
                raise Reject(f"The zip {name} holds {str(parent)!r} both as a file and as a folder.", _AGAIN)
    return entries


def _wrong(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    mode = info.external_attr >> 16
    if "\0" in name or "\\" in name or not name.isprintable():
        return "has a character in its name that no slide's file has"
    if name.startswith("/") or name[1:2] == ":":
        return "is an absolute name"
    if not all(parts) or not {".", ".."}.isdisjoint(parts):
        return "leads out of the folder that it is unpacked to"
    if any(len(part.encode(errors="replace")) > MOST_NAME_BYTES for part in parts) or len(name) > 4 * MOST_NAME_BYTES:
        return "is too long a name"
    if info.header_offset < 0:
        return "starts before the zip does"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed in a way that slidemill does not read (only deflate and stored are)"
    if info.file_size > max(RATIO_FREE_BYTES, MOST_RATIO * info.compress_size):
        return f"claims to be over {MOST_RATIO} times as large as it is packed"
    return None


def _too_large(name: str, budget: int) -> Reject:
    return Reject(
        f"The zip {name} holds more than the {budget:,} bytes that are unpacked.",
        "Zip only the files of one slide, or ask the operator for a larger scratch folder.",
    )


def _inside(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str, budget: int) -> Inside:
    """Finds the one slide. A note or a list that lies beside it is no slide and is left out."""
    indexes: dict[str, str] = {}
    for entry in entries:
        index = companions.index_of(entry)
        if index is not None and index in entries:
            indexes[index] = _index(archive, entries[index], name)
    of_indexes = [slide for slide in companions.group(entries, indexes, {}) if companions.index_of(slide.main)]
    taken = {member for slide in of_indexes for member in slide.members}
    kinds: dict[str, Kind] = {}
    series: dict[str, str] = {}
    for entry, info in entries.items():
        kind = None if entry in taken else sniff(_start(archive, info, HEAD_BYTES), entry)
        if kind is not None and kind != "zip":
            kinds[entry] = kind
            if kind == "dicom" and (found := series_of(_start(archive, info, SERIES_BYTES))) is not None:
                series[entry] = found
    slides = of_indexes + companions.group(kinds, {}, series)
    if not slides:
        there = ", ".join(sorted(entries)[:3]) or "nothing"
        raise Reject(f"The zip {name} holds no slide: there is {there}.", "Zip the slide with all its files.")
    if len(slides) > 1:
        first, second = sorted(slide.main for slide in slides)[:2]
        raise Reject(
            f"The zip {name} holds {len(slides)} slides, such as {first} and {second}; one zip is one slide.",
            "Zip each slide by itself and upload the zips one by one.",
        )
    (slide,) = slides
    refusal = companions.refusal(slide)
    if refusal is not None:
        raise Reject(*refusal)
    length = sum(entries[member].file_size for member in slide.members)
    if length > budget:
        raise _too_large(name, budget)
    return Inside(slide.main, kinds.get(slide.main), slide.members, length, {})


def _index(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> str:
    text = _start(archive, info, MOST_INDEX_BYTES).decode("utf-8", "replace")
    if _UPWARDS.search(text):
        raise Reject(
            f"The zip {name} holds {info.filename!r}, which names files outside of the slide's folder.",
            "Copy the slide from the scanner again and zip it with the files that lie beside it.",
        )
    return text


def _place(source: BinaryIO, info: zipfile.ZipInfo) -> tuple[int, int] | None:
    """Where an entry's bytes lie as they are; None where they are compressed."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return None
    source.seek(info.header_offset)
    header = source.read(_LOCAL_HEADER_BYTES)
    named, extra = struct.unpack_from("<2H", header, _LOCAL_HEADER_BYTES - 4)
    return info.header_offset + len(header) + named + extra, info.file_size


def _start(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(info) as source:
        return source.read(most)


def _write(archive: zipfile.ZipFile, infos: Collection[zipfile.ZipInfo], folder: Path, name: str, budget: int) -> None:
    left = budget
    # In the order of the zip, which comes from a database in large pieces.
    for info in sorted(infos, key=lambda info: info.header_offset):
        path = folder / info.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not even a link that somebody has put there is followed.
        with archive.open(info) as source, path.open("xb") as target:
            while piece := source.read(PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    raise _too_large(name, budget)
                target.write(piece)
