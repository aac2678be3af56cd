"""Uploads that come to nothing: refused, given up or cancelled."""

from contextlib import suppress
from dataclasses import dataclass, field

from services.upload.announcer import Announcer
from services.upload.body import Broken
from services.upload.core.chunks import LARGEST_CHUNK
from services.upload.records import Records
from services.upload.removing import Removing
from services.upload.sending import Sending, about
from shared.clock import Clock
from shared.errors import Unavailable
from shared.http.problems import Problem
from shared.slides.sniff import FORMATS, unreadable
from shared.stages.failing import fail
from shared.stages.moving import appear
from shared.store import Store
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Failure, VersionId

OVER_LIMIT = (413, 507)
AGAIN = "Send the file again."


@dataclass
class Refusing:
    """Ends uploads that come to nothing, each step a compare-and-set on the upload's state."""

    store: Store
    records: Records
    announcer: Announcer
    removing: Removing
    clock: Clock
    database: str
    _abandoned: dict[str, tuple[Upload, Exception]] = field(default_factory=dict)

    async def refuse(self, sending: Sending, head: bytes) -> Problem:
        """As `refuse_upload`, of a file whose upload has not begun."""
        return await self.refuse_upload(self.records.draft(sending, sending.total or 0, LARGEST_CHUNK), head)

    async def refuse_upload(self, upload: Upload, head: bytes) -> Problem:
        """Records the file as a failed image of its session, where people look for it; returns the problem to raise.

        `head` is how the file begins: empty for an empty file. The upload may have begun, or be a mere draft.
        """
        reason, remedy = unreadable(upload.name, head)
        failed = {"state": "failed", "updated": self.clock.now()}
        drafted = await self.store.uploads.insert(upload.model_copy(update=failed))
        if drafted or await self.store.uploads.update(upload.id, when={"state": "receiving"}, set=failed):
            await appear(self.store, upload, self.clock, Failure(stage="upload", reason=reason, remedy=remedy))
            if not drafted:
                await self.records.remove_bytes(upload)
            await self._failed(upload, reason, remedy)
        if not head:
            return Problem(422, reason, remedy, extra=about(upload))
        return Problem(415, reason, remedy, extra={**about(upload), "formats": FORMATS})

    async def abandon(self, upload: Upload, error: Exception) -> None:
        """Fails an upload that nobody can go on with; if that is impossible now, the relay does it."""
        self._abandoned[upload.id] = upload, error
        with suppress(Unavailable):
            await self.end_abandoned()

    async def end_abandoned(self) -> None:
        """Fails what `abandon` could not."""
        for upload, error in list(self._abandoned.values()):
            failed = await self.store.uploads.update(
                upload.id, when={"state": "receiving"}, set={"state": "failed", "updated": self.clock.now()}
            )
            if failed is not None:
                # In this order: as long as nothing is announced, the relay takes the bytes of whoever dies here.
                await self.records.remove_bytes(upload)
                await self._failed(upload, *_why(upload, error))
            self._abandoned.pop(upload.id, None)

    async def cancel(self, upload: Upload) -> None:
        """Ends an upload and removes what there is of it, its image too. Harmless when repeated."""
        for state in ("receiving", "importing", "failed"):
            await self.store.uploads.update(
                upload.id, when={"state": state}, set={"state": "expired", "updated": self.clock.now()}
            )
        current = await self.store.uploads.get(upload.id)
        if current is not None and current.state != "expired":
            raise Problem(
                409,
                f"{upload.name} is stored whole and can't be cancelled any more.",
                "Leave it, or delete its image.",
                extra=about(upload),
            )
        self.records.running.forget(upload.id)
        await self.removing.image(upload.image)

    async def _failed(self, upload: Upload, reason: str, remedy: str) -> None:
        version = VersionId(image=upload.image, n=upload.version)
        events = await fail(self.store, version, "upload", reason, remedy, database=self.database, clock=self.clock)
        self.announcer.soon(events, upload.id)


def _why(upload: Upload, error: Exception) -> tuple[str, str]:
    """(reason, remedy) of an upload that this error ended."""
    if isinstance(error, Problem) and error.status in OVER_LIMIT:
        return error.detail, error.remedy
    if isinstance(error, Broken):
        return f"The connection broke while {upload.name} was being sent.", AGAIN
    if isinstance(error, Unavailable):
        return f"The database could not be reached while {upload.name} was being sent.", AGAIN
    return str(error), AGAIN
