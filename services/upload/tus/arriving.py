"""The bytes that one request brings, as they are to be stored: after what is there already of the same chunk."""

from services.upload.body import Body, Broken
from services.upload.core import Invalid
from services.upload.tus.writers import Writer
from shared.http.problems import Problem


class Arriving:
    """Bytes of a chunk that were stored `before`, then the request's own: at most `room` of them, if that is known.

    A body that breaks off, or whose `writer` has to stop, just ends here, so that what came of it is stored, unless it
    is to come `whole`. `broken` is then the error that its sender gets. See `services.upload.body.Pieces`.
    """

    def __init__(self, before: bytes, body: Body, writer: Writer, room: int | None, *, whole: bool) -> None:
        self._before = before
        self._body = body
        self._writer = writer
        self._room = room
        self._whole = whole
        self.broken: Broken | Problem | None = None

    async def piece(self) -> bytes:
        """See `Pieces.piece`."""
        if self._before:
            before, self._before = self._before, b""
            return before
        if self.broken is not None:
            return b""
        try:
            piece = await self._writer.wait(self._body.piece())
        except (Broken, Problem) as error:
            if self._whole:
                raise
            self.broken = error
            return b""
        if self._room is not None:
            self._room -= len(piece)
            if self._room < 0:
                raise Invalid("The body is longer than what the upload still lacks.")
        return piece
