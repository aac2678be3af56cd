"""The file inside a request, streamed: a raw body, or the file part of a form with the fields before it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import aiohttp
from aiohttp import web

from services.upload.core import Invalid
from services.upload.core.disposition import as_written, parameters, part_filename
from services.upload.form import FormReader, boundary_of
from shared.http.problems import Problem

T = TypeVar("T")
READ_SECONDS = 60.0
LONGEST_FIELD = 64 * 1024
MOST_FIELDS = 100
# More than the fields and boundaries of any sensible form take.
AROUND_FILE = 64 * 1024


class Broken(Exception):
    """The client went away in the middle of its body."""


async def _read(reading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await reading
    except TimeoutError:
        raise Problem(
            408,
            f"Nothing arrived for {READ_SECONDS:.0f} seconds.",
            "Send the rest again.",
            headers={"Connection": "close"},
        ) from None
    except (ConnectionError, aiohttp.ClientError, web.RequestPayloadError) as error:
        raise Broken(str(error)) from error


class Pieces(Protocol):
    """Bytes that arrive in order."""

    async def piece(self) -> bytes:
        """The next bytes, as few as there are; b"" at the end. Raises `Broken`, `Invalid` or a problem."""
        ...


class Counted:
    """Bytes of which `check` is told, before each is passed on, how many have come; it raises what ends them."""

    def __init__(self, body: Pieces, check: Callable[[int], None]) -> None:
        self._body = body
        self._check = check
        self._count = 0

    async def piece(self) -> bytes:
        """See `Pieces.piece`."""
        piece = await self._body.piece()
        self._count += len(piece)
        self._check(self._count)
        return piece


class Body:
    """A raw body: the request's bytes are the file's."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self.fields: dict[str, str] = {}
        self.name: str | None = None
        self.length = request.content_length
        self.limit = request.content_length

    @property
    def at_least(self) -> int:
        """How many bytes of the file there are at least, as far as that is known."""
        return self.length if self.length is not None else max(0, (self.limit or 0) - AROUND_FILE)

    async def piece(self) -> bytes:
        """The next bytes, as few as have arrived; b"" at the end. Raises `Broken`, `Invalid` or a 408."""
        return await _read(self._content.readany())

    def may_hold(self, size: int) -> bool:
        """Whether the body can be this long, as far as is known before it is read. A 411 if nothing is."""
        if self.length is None:
            raise Problem(
                411,
                f"A range of {size} bytes needs a Content-Length, so that it can be checked before it is stored.",
                "Send Content-Length, or shorter ranges.",
            )
        return self.length == size

    async def count(self) -> int:
        """Reads the rest and keeps nothing of it; returns how long it was. Raises as `piece` does."""
        length = 0
        while piece := await self.piece():
            length += len(piece)
        return length


class FormBody(Body):
    """A form: the bytes of its file part. `length` is not known before all of it is read."""

    def __init__(self, request: web.Request) -> None:
        super().__init__(request)
        self._form = FormReader(super().piece, boundary_of(request.headers["Content-Type"]))
        self._whole = request.content_length
        self.length = None

    async def open(self) -> None:
        """Reads the fields before the file part, and its name."""
        for _ in range(MOST_FIELDS):
            part = await self._form.next_part()
            if part is None:
                raise Invalid("The form holds no file.")
            disposition = part.get("content-disposition", "")
            self.name = part_filename(disposition)
            if self.name is not None:
                return
            field = as_written(parameters(disposition).get("name", ""))
            self.fields[field] = await self._field(field)
        raise Invalid(f"The form holds more than {MOST_FIELDS} fields before its file.")

    def may_hold(self, size: int) -> bool:
        """Whether a file of this size can be all that is still to come, as far as Content-Length tells.

        Asked before the file is read. A 411 if there is no Content-Length.
        """
        if self._whole is None:
            return super().may_hold(size)
        behind = self._whole - self._form.taken - size - self._form.end
        return behind in (0, len(b"\r\n"))

    async def piece(self) -> bytes:
        """See `Body.piece`."""
        piece = await self._form.content()
        if piece:
            return piece
        # Found out before the file's last block is stored, so nothing is lost without a word.
        part = await self._form.next_part()
        if part is None:
            return b""
        disposition = part.get("content-disposition", "")
        if part_filename(disposition) is not None:
            raise Problem(400, "The form holds more than one file.", "Send each file in a form of its own.")
        field = as_written(parameters(disposition).get("name", ""))
        raise Problem(
            400,
            f"The form's field '{field}' comes after its file, where it can't be heeded.",
            "Put all fields before the file, and send the form again.",
        )

    async def _field(self, name: str) -> str:
        value = bytearray()
        while piece := await self._form.content():
            value += piece
            if len(value) > LONGEST_FIELD:
                raise Invalid(f"The form's field '{name}' is longer than {LONGEST_FIELD} bytes.")
        return value.decode("utf-8", "replace")


async def open_body(request: web.Request) -> Body:
    """The request's file. Raises `Invalid`, `Broken`, or a 415 for an encoded body."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(
            415,
            f"The body is encoded as '{encoding}', but files are taken as they are.",
            "Send the file without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    if not request.content_type.startswith("multipart/"):
        return Body(request)
    form = FormBody(request)
    await form.open()
    return form
