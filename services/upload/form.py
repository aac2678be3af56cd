"""Forms (multipart/form-data, RFC 7578) as they arrive: part after part, nothing kept but what may be a boundary."""

import re
from collections.abc import Awaitable, Callable, Mapping

from services.upload.core import Invalid
from services.upload.core.disposition import parameters

LONGEST_HEAD = 16 * 1024
LONGEST_EPILOGUE = 64 * 1024
_BOUNDARY = re.compile(r"[\x20-\x7e]{1,70}")
_PLAIN = ("", "binary", "8bit", "7bit")


def boundary_of(content_type: str) -> bytes:
    """The boundary that the request's Content-Type names. Raises `Invalid`."""
    boundary = parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise Invalid("The form can't be read: its Content-Type names no boundary of at most 70 characters.")
    return boundary.encode()


class FormReader:
    """The parts of a form in order. `read` gives the next bytes of the body, b"" at its end."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], boundary: bytes) -> None:
        self._read = read
        self._delimiter = b"\r\n--" + boundary
        # The first boundary may be the first thing in the body; all others follow the end of a line.
        self._buffer = b"\r\n"
        self._taken = -len(self._buffer)

    @property
    def taken(self) -> int:
        """How many bytes of the body were given out or passed over."""
        return self._taken

    @property
    def end(self) -> int:
        """The least that follows the last part's content: the closing boundary. Clients may end its line, too."""
        return len(self._delimiter) + len(b"--")

    async def next_part(self) -> Mapping[str, str] | None:
        """The headers of the next part, by lower-case name; None behind the last. The part before it is passed over."""
        while await self.content():
            pass
        self._take(len(self._delimiter))
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer.startswith(b"--"):
            await self._pass_over_epilogue()
            return None
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > LONGEST_HEAD:
                raise Invalid(f"The form can't be read: a part's headers are longer than {LONGEST_HEAD} bytes.")
            await self._more()
        padding, *lines = self._take(end + 4)[:-4].split(b"\r\n")
        if padding.strip(b" \t"):
            raise Invalid("The form can't be read: a line begins with its boundary and goes on otherwise.")
        return _headers(lines)

    async def content(self) -> bytes:
        """The next bytes of the part's content, as few as have arrived; b"" at its end."""
        while True:
            found = self._buffer.find(self._delimiter)
            if found >= 0:
                return self._take(found)
            # All but what may be the beginning of a boundary.
            begin = self._buffer.find(b"\r", max(0, len(self._buffer) - len(self._delimiter) + 1))
            sure = len(self._buffer) if begin < 0 else begin
            if sure:
                return self._take(sure)
            await self._more()

    def _take(self, count: int) -> bytes:
        self._taken += count
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def _more(self) -> None:
        data = await self._read()
        if not data:
            raise Invalid("The form can't be read: it ends before its closing boundary.")
        self._buffer += data

    async def _pass_over_epilogue(self) -> None:
        passed = 0
        while data := self._take(len(self._buffer)) or await self._read():
            passed += len(data)
            if passed > LONGEST_EPILOGUE:
                raise Invalid("The form can't be read: it goes on behind its closing boundary.")


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, found, value = line.decode("utf-8", "surrogateescape").partition(":")
        if not found:
            raise Invalid("The form can't be read: a line among a part's headers has no colon.")
        headers.setdefault(name.strip().lower(), value.strip())
    if headers.get("content-type", "").lower().startswith("multipart/"):
        raise Invalid("The form holds a form within a form.")
    for header in ("content-transfer-encoding", "content-encoding"):
        encoding = headers.get(header, "").lower()
        if encoding not in _PLAIN and encoding != "identity":
            raise Invalid(f"A part of the form is encoded as '{encoding}', but files are taken as they are.")
    return headers
