"""Unpacks what is in a zip by Deflate64, as Windows packs files of over 2 GB; Python's own zipfile does not.

Source: PKWARE's APPNOTE 6.3, 4.4.5 (methods). The decoder, `inflate64` 1.0, is as fast as zlib and knows no limits: it
returns all that its input makes, and keeps its input for ever. So it is given little at a time, from one buffer.
"""

import zipfile
import zlib
from copy import copy
from types import TracebackType

from inflate64 import Inflater

METHOD = 9
# The shortest match takes 18 bits and makes 65,538 bytes, so that this makes at most 15 MB.
_GIVEN_BYTES = 512
_PACKED_BYTES = 256 * _GIVEN_BYTES


class Inflated:
    """The bytes of an entry, for reading. Closing it leaves the zip open."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._name = info.filename
        self._packed = archive.open(_as_it_lies(info))
        self._inflater = Inflater()
        self._given = bytearray(_GIVEN_BYTES)
        self._piece = b""
        self._at = 0
        self._ready = bytearray()
        self._left = info.file_size
        self._expected, self._crc = info.CRC, 0

    def __enter__(self) -> "Inflated":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._packed.close()

    def read(self, size: int) -> bytes:
        """The next bytes: fewer than `size` only at the end, where length and CRC turned out as the directory says.

        Raises `BadZipFile` where they did not, and for what Deflate64 does not make.
        """
        while len(self._ready) < size and not self._inflater.eof:
            self._inflate()
        data = bytes(self._ready[:size])
        del self._ready[:size]
        return data

    def _inflate(self) -> None:
        try:
            data = self._inflater.inflate(self._next())
        except ValueError as error:
            raise zipfile.BadZipFile(f"what is packed of {self._name!r} is no Deflate64") from error
        self._left -= len(data)
        if self._left < 0:
            raise zipfile.BadZipFile(f"{self._name!r} is longer than its directory says")
        self._crc = zlib.crc32(data, self._crc)
        self._ready += data
        if self._inflater.eof and (self._left or self._crc != self._expected):
            raise zipfile.BadZipFile(f"{self._name!r} is not what its directory says by length and CRC-32")

    def _next(self) -> bytes | bytearray:
        if self._at >= len(self._piece):
            self._piece, self._at = self._packed.read(_PACKED_BYTES), 0
            if not self._piece:
                raise zipfile.BadZipFile(f"{self._name!r} ends before its data do")
        piece = self._piece[self._at : self._at + _GIVEN_BYTES]
        self._at += len(piece)
        if len(piece) < _GIVEN_BYTES:
            # The last one, the only one that is kept besides the buffer.
            return piece
        self._given[:] = piece
        return self._given


def _as_it_lies(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """An entry of the bytes that lie in the zip, with the checks that zipfile makes of where they do."""
    raw = copy(info)
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
    # It is that of the unpacked bytes; zipfile checks none that is not there.
    del raw.CRC
    return raw
