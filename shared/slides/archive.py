"""A zip that holds one slide: what is in it, why it is refused, and its bounded unpacking. Runs in decoder children.

Nothing that a zip says of itself is believed while it is unpacked.
"""

import errno
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from shared.errors import Reject
from shared.slides import companions, deflate64
from shared.slides.companions import Slide
from shared.slides.deflate64 import Inflated
from shared.slides.series import SERIES_BYTES, DicomFile, in_series
from shared.slides.sniff import HEAD_BYTES, Kind, sniff
from shared.slides.zip_entries import check_directory, checked

PIECE_BYTES = 4 * 2**20

_LOCAL_HEADER_BYTES = 30
# Kinds of file of which some can be read tile by tile.
_LOOKED_INTO = ("tiff", "dicom")
# Kinds that hold no slide but a photograph or a preview of it where there is something else.
_PICTURES = ("png", "jpeg", "webp")
_FULL = (errno.ENOSPC, errno.EDQUOT)
# `NotImplementedError` is how zipfile says that an entry needs a newer way of unpacking than it knows.
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
        check_directory(source, name)
        with zipfile.ZipFile(source) as archive:
            entries = checked(archive.infolist(), name)
            inside = _inside(archive, entries, name, budget)
        places = {member: _place(source, entries[member]) for member in inside.members if inside.kind in _LOOKED_INTO}
    return inside._replace(stored={member: place for member, place in places.items() if place is not None})


def unpack(folder: str, name: str, budget: int, *, source: BinaryIO) -> bool:
    """Unpacks the slide into an empty folder, at most `budget` bytes of it; False where the disk is full.

    Raises what `find` does, and `Reject` where the zip's data are not what its directory says.
    """
    with _told(name):
        check_directory(source, name)
        with zipfile.ZipFile(source) as archive:
            entries = checked(archive.infolist(), name)
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
        raise Reject(f"The zip {name} is damaged.", "Upload it again, or zip the slide again.", str(error)) from error


def _too_large(name: str, budget: int) -> Reject:
    return Reject(
        f"The zip {name} holds more than the {budget:,} bytes that are unpacked.",
        "Zip only the files of one slide, or ask the operator for a larger scratch folder.",
    )


def _inside(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str, budget: int) -> Inside:
    """Finds the one slide. What else a scanner leaves beside it is left out: notes, reports, pictures of the glass."""
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
        kind, dicom = (None, None) if entry in taken else _begun(archive, info)
        if dicom is not None:
            if not dicom.is_of_slide:
                continue
            if dicom.series is not None:
                series[entry] = dicom.series
        if kind is not None and kind != "zip":
            kinds[entry] = kind
    slides = of_indexes + companions.group(kinds, {}, series)
    if any(not _is_picture(slide, kinds) for slide in slides):
        slides = [slide for slide in slides if not _is_picture(slide, kinds)]
    else:
        _refuse_part(set(entries) - taken, name)
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


def _is_picture(slide: Slide, kinds: Mapping[str, Kind]) -> bool:
    return kinds.get(slide.main) in _PICTURES


def _refuse_part(entries: Collection[str], name: str) -> None:
    """Without the file that it goes by, an MRXS slide's folder is no slide, whatever pictures lie beside it."""
    for entry in sorted(entries):
        if PurePosixPath(entry).name == companions.MIRAX_INDEX:
            raise Reject(
                f"The zip {name} holds {entry}, a part of an MRXS slide, without the slide's {companions.MIRAX} file.",
                f"Zip the {companions.MIRAX} file together with the folder that has its name.",
            )


def _index(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> str:
    text = _start(archive, info, companions.MOST_INDEX_BYTES).decode("utf-8", "replace")
    # Wherever it stands: readers of such files differ in what they take for a line.
    if "../" in text:
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


def _begun(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[Kind | None, DicomFile | None]:
    """What an entry is by how it starts; and of DICOM, what it is in its series."""
    with _opened(archive, info) as source:
        head = source.read(HEAD_BYTES)
        kind = sniff(head, info.filename)
        return kind, in_series(head + source.read(SERIES_BYTES - len(head))) if kind == "dicom" else None


def _start(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    with _opened(archive, info) as source:
        return source.read(most)


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes] | Inflated:
    return Inflated(archive, info) if info.compress_type == deflate64.METHOD else archive.open(info)


def _write(archive: zipfile.ZipFile, infos: Collection[zipfile.ZipInfo], folder: Path, name: str, budget: int) -> None:
    left = budget
    # In the order of the zip, which comes from a database in large pieces.
    for info in sorted(infos, key=lambda info: info.header_offset):
        path = folder / info.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not even a link that somebody has put there is followed.
        with _opened(archive, info) as source, path.open("xb") as target:
            while piece := source.read(PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    raise _too_large(name, budget)
                target.write(piece)
