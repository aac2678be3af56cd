"""Which files of a folder are one slide together, and what is known of them already.

What is new or has changed is read as far as that takes: an index, or the first 64 KiB of what may be a DICOM file.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from services.sync.core.looks import Look, Unit, signature
from services.sync.core.rules import Aside, Rules
from services.sync.walking import Listing, NoFile, opened, starts
from shared.slides import companions
from shared.slides.companions import HAMAMATSU, MIRAX, MOST_INDEX_BYTES, Slide, essence, index_of, refusal
from shared.slides.packing import length_of, names_in_zip
from shared.slides.series import dicom_file
from shared.store import Store
from shared.store.documents.entries import Entry, Member

# So many fit into one document.
MOST_MEMBERS = 20_000
_AT_ONCE = 2000
_DICOM = ("", ".dcm", ".dicom", ".dic", ".ima")


@dataclass
class _Known:
    """What entries say of files: by path the look with which it was read, and what was."""

    series: dict[str, tuple[Look, str]] = field(default_factory=dict)
    indexes: dict[str, tuple[Look, str]] = field(default_factory=dict)
    crcs: dict[str, tuple[Look, int]] = field(default_factory=dict)
    mains: dict[str, str] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Keeps what the entry says, if that is anything."""
        path = entry.id.path
        looks = {member.path: Look(member.size, member.mtime_ns) for member in entry.members}
        for member in entry.members:
            if member.crc is not None:
                self.crcs[member.path] = looks[member.path], member.crc
        index = index_of(path)
        if entry.index is not None and index in looks:
            self.indexes[index] = looks[index], entry.index
        if entry.series is not None:
            for file, look in (looks or {path: Look(entry.size, entry.mtime_ns)}).items():
                self.series[file] = look, entry.series
            if entry.series and entry.vanished is None:
                self.mains.setdefault(entry.series, path)


async def gather(store: Store, watched: str, root: str, listing: Listing, rules: Rules) -> dict[str, Unit]:
    """Makes of the listing's files of one slide the one that it goes by; returns what is known of each by its path.

    A folder without files that may have companions costs nothing.
    """
    mains = [path for path in listing.files if _suffix(path) in (MIRAX, *HAMAMATSU)]
    maybe = [path for path in listing.files if _may_be_dicom(path)]
    if not mains and not maybe:
        return {}
    known = await _known(store, watched, listing.folder)
    looks = {**listing.files, **listing.beside}
    for within in listing.within.values():
        looks |= within
    indexes = {main: index for main in mains if (index := index_of(main)) in looks}
    texts = await _read(known.indexes, looks, indexes.values(), lambda paths: _indexes(root, paths, indexes))
    series = await _read(known.series, looks, maybe, lambda paths: _series(root, paths))
    units: dict[str, Unit] = {}
    for slide in _slides(listing, mains, texts, {path: uid for path, uid in series.items() if uid}, known.mains):
        _put(listing, slide, looks, known, rules, units)
        if slide.main in units:
            index = texts.get(indexes.get(slide.main, ""))
            units[slide.main] = replace(units[slide.main], series=series.get(slide.main), index=index)
    return units


def _suffix(path: str) -> str:
    """As `PurePosixPath` has it, in small letters; a large folder is asked for all of its files at each scan."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def _may_be_dicom(path: str) -> bool:
    """Whether it is worth looking into a file of this name: DICOM's are called anything, often by numbers."""
    suffix = _suffix(path)
    return suffix in _DICOM or suffix[1:].isdigit()


async def _known(store: Store, watched: str, folder: str) -> _Known:
    known, after = _Known(), None
    while True:
        where = {"_id.store": watched, "folder": folder}
        page = await store.entries.find(where, sort="name", after=after, limit=_AT_ONCE)
        for entry in page:
            known.add(entry)
        if len(page) < _AT_ONCE:
            return known
        after = (page[-1].name, page[-1].id)


async def _read(
    known: Mapping[str, tuple[Look, str]],
    looks: Mapping[str, Look],
    paths: Iterable[str],
    read: Callable[[Sequence[str]], dict[str, str]],
) -> dict[str, str]:
    """What is known of these files by path; of those that look otherwise than they did it is read."""
    told, unread = dict[str, str](), list[str]()
    for path in paths:
        look, value = known.get(path, (None, ""))
        if look == looks[path]:
            told[path] = value
        else:
            unread.append(path)
    for n in range(0, len(unread), _AT_ONCE):
        told |= await asyncio.to_thread(read, unread[n : n + _AT_ONCE])
    return told


def _series(root: str, paths: Sequence[str]) -> dict[str, str]:
    """The series of DICOM files; nothing for what is none."""
    found: dict[str, str] = {}
    for path in paths:
        with suppress(OSError, NoFile), opened(root, path) as file:
            dicom = dicom_file(partial(file.read, 0))
            found[path] = (dicom and dicom.series) or ""
    return found


def _indexes(root: str, paths: Sequence[str], mains: Mapping[str, str]) -> dict[str, str]:
    texts = starts(root, paths, MOST_INDEX_BYTES)
    return {
        index: essence(texts[index].decode("utf-8", "replace"), main) for main, index in mains.items() if index in texts
    }


def _slides(
    listing: Listing,
    mains: Sequence[str],
    texts: Mapping[str, str],
    series: Mapping[str, str],
    known: Mapping[str, str],
) -> list[Slide]:
    """Those of several files, and every DICOM file. Each MIRAX slide by itself, since its files are its own."""
    slides: list[Slide] = []
    beside = {*listing.files, *listing.beside}
    for main in mains:
        names = {main, *listing.within[main]} if _suffix(main) == MIRAX else beside
        slides += [slide for slide in companions.group(names, texts, {}) if slide.main == main]
    taken = {member for slide in slides for member in slide.members}
    dicom = [path for path in listing.files if path not in taken and _may_be_dicom(path)]
    for slide in companions.group(dicom, {}, series):
        # It goes by the same file for as long as that is there, whichever come besides.
        main = known.get(series.get(slide.main, ""), slide.main)
        slides.append(Slide(main if main in slide.members else slide.main, slide.members, ()))
    return slides


def _put(
    listing: Listing, slide: Slide, looks: Mapping[str, Look], known: _Known, rules: Rules, units: dict[str, Unit]
) -> None:
    if len(slide.members) == 1 and not slide.missing:
        units[slide.main] = Unit()
        return
    members = tuple(_member(path, looks[path], known) for path in slide.members)
    for path in slide.members:
        listing.files.pop(path, None)
    listing.aside = [aside for aside in listing.aside if aside.path not in slide.members]
    size = length_of({name: looks[path].size for path, name in names_in_zip(slide).items()})
    aside = rules.aside(slide.main, size)
    if aside is None and len(members) > MOST_MEMBERS:
        many = f"{slide.main} consists of {len(members):,} files: more than the {MOST_MEMBERS:,} allowed."
        aside = Aside(slide.main, "too-large", many)
    if aside is not None:
        listing.aside.append(aside)
        return
    latest = max(member.mtime_ns for member in members)
    listing.files[slide.main] = Look(size, latest, signature(members))
    why = refusal(slide)
    units[slide.main] = Unit(members, lacks=" ".join(why) if why is not None else None)


def _member(path: str, look: Look, known: _Known) -> Member:
    was, crc = known.crcs.get(path, (None, None))
    return Member(path=path, size=look.size, mtime_ns=look.mtime_ns, crc=crc if was == look else None)
