"""The files that a zip says it holds, and why it is refused for them.

Sources: PKWARE's APPNOTE 6.3 for the records.
"""

import os
import stat
import struct
import zipfile
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import BinaryIO

from shared.errors import Reject
from shared.slides import deflate64
from shared.slides.litter import is_litter

MOST_ENTRIES = 20_000
MOST_RATIO = 200
# Scanners' index files are small and compress well, whatever the ratio.
RATIO_FREE_BYTES = 64 * 2**20
MOST_DIRECTORY_BYTES = 16 * 2**20
MOST_NAME_BYTES = 255
# A name may stand for hundreds of folders, of which a small zip could make millions.
MOST_FOLDERS = 16

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_BYTES = 20
_MOST_COMMENT = 65535
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, deflate64.METHOD)
_UNREAD = {
    1: "Shrink",
    6: "Implode",
    12: "bzip2",
    14: "LZMA",
    20: "Zstandard",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}
_AGAIN = "Choose the slide's files themselves, on the page or in ./slidemill upload, or zip them without compression."


def check_directory(file: BinaryIO, name: str) -> None:
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
        kind, *_, count64, size64, _ = _END64.unpack_from(tail, before - _END64.size)
        # Else it is no such record, and whoever reads the directory goes by the other one.
        if kind == b"PK\x06\x06":
            count, size = count64, size64
    if not size:
        raise Reject(f"The zip {name} holds no slide: there is nothing in it.", "Zip the slide with all its files.")
    if count > MOST_ENTRIES or size > MOST_DIRECTORY_BYTES:
        raise _too_many(name)


def _too_many(name: str) -> Reject:
    return Reject(
        f"The zip {name} holds more than the {MOST_ENTRIES:,} files that a slide may consist of.",
        "Zip each slide by itself and upload the zips one by one.",
    )


def checked(infos: Collection[zipfile.ZipInfo], name: str) -> dict[str, zipfile.ZipInfo]:
    """The files in a zip by name, without folders and desktop litter."""
    if len(infos) > MOST_ENTRIES:
        raise _too_many(name)
    entries: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in infos:
        if (wrong := _wrong(info)) is not None:
            raise Reject(f"The zip {name} holds {info.orig_filename!r}, which {wrong}.", _AGAIN)
        if info.is_dir() or is_litter(info.filename):
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
    if len(parts) > MOST_FOLDERS + 1:
        return f"lies more than {MOST_FOLDERS} folders deep"
    if info.header_offset < 0:
        return "starts before the zip does"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _READ:
        method = _UNREAD.get(info.compress_type, f"method {info.compress_type}")
        return f"is packed by {method}, not by Deflate or Deflate64 as slidemill unpacks"
    if info.file_size > max(RATIO_FREE_BYTES, MOST_RATIO * info.compress_size):
        return f"claims to be over {MOST_RATIO} times as large as it is packed"
    return None
