"""The files of one slide as the zip that they would make, read from where they lie."""

import os
import stat
import zlib
from collections.abc import Sequence

from services.sync.core.looks import Look, signature
from services.sync.walking import NoFile, folder_of, opened
from shared.slides.packing import Member as Packable
from shared.slides.packing import Piece, pack
from shared.store.documents.entries import Entry, Member


class Files:
    """The members of an entry, by their paths."""

    def __init__(self, root: str, members: Sequence[Member]) -> None:
        self.members = members
        self._root = root

    def look(self) -> Look:
        """How they are now; of none of the signatures that there are where one has gone."""
        now = []
        for member in self.members:
            folder, _, name = member.path.rpartition("/")
            try:
                with folder_of(self._root, folder) as fd:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return Look(0, 0, "gone")
            if not stat.S_ISREG(status.st_mode):
                return Look(0, 0, "gone")
            now.append(member.model_copy(update={"size": status.st_size, "mtime_ns": status.st_mtime_ns}))
        return Look(0, 0, signature(now))

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of one of them from `offset`; fewer than `length` only at its end, or where it has gone."""
        try:
            with opened(self._root, path) as file:
                return file.read(offset, length)
        except (FileNotFoundError, NotADirectoryError, NoFile):
            return b""

    def crc(self, path: str, offset: int, length: int, before: int) -> tuple[int, int]:
        """How many bytes there are from `offset` on, and the CRC-32 up to their end."""
        data = self.read(path, offset, length)
        return len(data), zlib.crc32(data, before)


class Packed:
    """A slide's files, whose CRCs are known, as one source."""

    def __init__(self, entry: Entry, files: Files) -> None:
        before = f"{entry.folder}/" if entry.folder else ""
        named = {member.path.removeprefix(before): member for member in files.members}
        self._zip = pack(Packable(name, member.size, member.crc or 0) for name, member in named.items())
        self._paths = {name: member.path for name, member in named.items()}
        self._entry = entry
        self._files = files

    def look(self) -> Look:
        """See `Source.look`."""
        return self._files.look()._replace(size=self._zip.length, mtime_ns=self._entry.mtime_ns)

    def read(self, offset: int, length: int) -> bytes:
        """See `Source.read`."""
        return b"".join(self._bytes(part) for part in self._zip.within(offset, offset + length))

    def _bytes(self, part: bytes | Piece) -> bytes:
        if isinstance(part, bytes):
            return part
        return self._files.read(self._paths[part.member], part.start, part.length)
