"""Which files of a folder are one slide together, and which of them are missing. Pure: names in, names out.

Names are relative, with `/` between folders. Sources: OpenSlide's notes on MIRAX and Hamamatsu, DICOM PS3.3 C.7.3.1;
as OpenSlide does, files of one DICOM series are one slide if they lie in one folder.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

MIRAX = ".mrxs"
HAMAMATSU = (".vms", ".vmu")
# Lies in the folder of every MIRAX slide.
MIRAX_INDEX = "Slidedat.ini"
# An index is a text of some kilobytes.
MOST_INDEX_BYTES = 4 * 2**20
_HAMAMATSU_NAMES = re.compile(r"(ImageFile(\(\d+,\d+\))?|MapFile|MacroImage)", re.IGNORECASE)
_OPTIONAL = re.compile(r"OptimisationFile|ImageFile\(\d+,\d+,\d+\)", re.IGNORECASE)
_DATA_FILE = re.compile(r"FILE_\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Slide:
    """One slide: the file that it goes by, every file of it that is there, and those that it lacks."""

    main: str
    members: tuple[str, ...]
    missing: tuple[str, ...]


def index_of(name: str) -> str | None:
    """The file that says of which files the slide `name` consists, or None if it is no such slide's main file."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix == MIRAX:
        return str(path.with_suffix("") / MIRAX_INDEX)
    return name if suffix in HAMAMATSU else None


def group(names: Iterable[str], indexes: Mapping[str, str], series: Mapping[str, str]) -> list[Slide]:
    """Every slide among `names`, in order of their main files; a file that belongs to no other is a slide by itself.

    `indexes` holds the text of each `index_of` that is there, `series` the SeriesInstanceUID of each DICOM file.
    Of a DICOM series the first file by name is the main one; that one of its files is missing can't be told.
    """
    there = frozenset(names)
    slides = []
    taken: set[str] = set()
    for main in sorted(there):
        index = index_of(main)
        if index is not None:
            slide = _of_index(main, index, there, indexes.get(index))
            slides.append(slide)
            taken.update(slide.members)
    sets: dict[tuple[str, str], list[str]] = {}
    for name in sorted(there - taken):
        # A file without a series shares its key with nobody.
        key = (str(PurePosixPath(name).parent), series[name]) if name in series else ("", name)
        sets.setdefault(key, []).append(name)
    slides += [Slide(members[0], tuple(members), ()) for members in sets.values()]
    return sorted(slides, key=lambda slide: slide.main)


def essence(text: str, main: str) -> str:
    """The index of the slide `main` cut down to what `group` takes from it."""
    stated = _stated(text, main)
    if main.lower().endswith(MIRAX):
        return "\n".join(["[DATAFILE]", *(f"FILE_{n} = {name}" for n, (name, _) in enumerate(stated))])
    return "\n".join(f"{'ImageFile' if needed else 'OptimisationFile'} = {name}" for name, needed in stated)


def refusal(slide: Slide) -> tuple[str, str] | None:
    """(reason, remedy) where a slide lacks files, or None."""
    if not slide.missing:
        return None
    more = f" and {len(slide.missing) - 1} more" if len(slide.missing) > 1 else ""
    return (
        f"{slide.main} lacks {slide.missing[0]}{more}.",
        "Copy the slide from the scanner again, with every file that belongs to it.",
    )


def _of_index(main: str, index: str, there: Collection[str], text: str | None) -> Slide:
    folder = PurePosixPath(index).parent
    stated = [] if text is None else _stated(text, main)
    needed = {main, index, *(str(folder / name) for name, needed in stated if needed)}
    members = {*needed, *(str(folder / name) for name, _ in stated)}
    if index != main:
        # A MIRAX slide's folder is its own, whatever else the scanner has put there.
        members.update(name for name in there if name.startswith(f"{folder}/"))
    return Slide(main, tuple(sorted(members.intersection(there))), tuple(sorted(needed.difference(there))))


def _stated(text: str, main: str) -> list[tuple[str, bool]]:
    """The files that an index names, and whether the slide can't be read without each."""
    mirax = main.lower().endswith(MIRAX)
    stated = []
    section = ""
    for line in text.lstrip("\ufeff").splitlines():
        key, separator, value = (part.strip() for part in line.partition("="))
        if not separator:
            section = key.upper()
        elif not value:
            continue
        elif mirax:
            if (section == "[DATAFILE]" and _DATA_FILE.fullmatch(key)) or (
                section == "[HIERARCHICAL]" and key.upper() == "INDEXFILE"
            ):
                stated.append((value, True))
        elif _HAMAMATSU_NAMES.fullmatch(key):
            stated.append((value, True))
        elif _OPTIONAL.fullmatch(key):
            stated.append((value, False))
    return stated
