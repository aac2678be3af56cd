"""Writes zips as Windows does that of files over 2 GB: by Deflate64, which Python's zipfile does not.

Source: PKWARE's APPNOTE 6.3, 4.3.7, 4.3.12 and 4.3.16.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from inflate64 import Deflater

from shared.slides.deflate64 import METHOD

_VERSION, _UTF8_NAMES = 21, 0x0800


def deflated64(data: bytes) -> bytes:
    """The data, packed."""
    deflater = Deflater()
    return bytes(deflater.deflate(data) + deflater.flush())


def write_deflate64(path: Path, files: Mapping[str, bytes], packed: Mapping[str, bytes] | None = None) -> Path:
    """A zip of these files; of those in `packed` what is said there lies in it, whatever comes of that."""
    directory = b""
    with path.open("wb") as file:
        for name, data in files.items():
            body = (packed or {}).get(name) or deflated64(data)
            said = name.encode()
            fixed = (_VERSION, _UTF8_NAMES, METHOD, 0, 0x21, zlib.crc32(data), len(body), len(data), len(said), 0)
            directory += struct.pack("<4sH5H3L2H3H2L", b"PK\x01\x02", _VERSION, *fixed, 0, 0, 0, 0, file.tell()) + said
            file.write(struct.pack("<4s5H3L2H", b"PK\x03\x04", *fixed) + said + body)
        at = file.tell()
        ends = (0, 0, len(files), len(files), len(directory), at, 0)
        file.write(directory + struct.pack("<4s4H2LH", b"PK\x05\x06", *ends))
    return path
