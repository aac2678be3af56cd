"""The documents of an upload and its image: made, moved on, refused, given up and removed."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from services.upload.announcer import Announcer
from services.upload.body import Broken
from services.upload.core import LARGEST_CHUNK
from services.upload.digests import Running
from services.upload.limits import Limits
from services.upload.removing import Removing
from services.upload.sending import Sending, about, ids_of
from shared.blobs import Blobs, owner_of
from shared.blobs.pieces import tail_of
from shared.blobs.seal import remove
from shared.clock import Clock
from shared.errors import Unavailable
from shared.http.problems import Problem
from shared.slides.sniff import FORMATS, unreadable
from shared.stages.failing import fail
from shared.stages.moving import appear
from shared.store import Store, Where
from shared.store.documents.uploads import Upload, UploadState
from shared.store.documents.versions import Failure, Version, VersionId

OVER_LIMIT = (413, 507)
AGAIN = "Send the file again."


@dataclass
class Records:
    """Writes them, each step a compare-and-set on the upload's state."""

    store: Store
    blobs: Blobs
    announcer: Announcer
    removing: Removing
    limits: Limits
    running: Running
    clock: Clock
    database: str
    _abandoned: dict[str, tuple[Upload, Exception]] = field(default_factory=dict)

    # Making

    async def create(self, sending: Sending, chunk: int, limit: int | None) -> Upload | None:
        """A new upload; None if the same first request, with the same key, has made it at this moment.

        `limit` is what a body of unknown length can't exceed: it stands in for the total until that is known.
        """
        total = (limit or 0) if sending.total is None else sending.total
        upload = self.draft(sending, total, chunk)
        if not await self.limits.admit(upload):
            return None
        await self.make_file(upload)
        return upload

    async def create_sharing(self, sending: Sending, version: Version) -> Upload | None:
        """A new upload that shares the stored file of this version, to be sealed; None if its key is taken."""
        draft = self.draft(sending, version.length or 0, LARGEST_CHUNK, "verifying")
        known = {"file": version.file, "stored": draft.total, "md5": version.md5, "sha256": version.sha256}
        upload = draft.model_copy(update=known)
        return upload if await self.limits.admit(upload) else None

    async def make_file(self, upload: Upload) -> None:
        """The files document, before any chunk. Harmless when repeated."""
        await self.blobs.create(
            upload.id, name=upload.name, chunk=upload.chunk, refs=(owner_of(upload.image, upload.version),)
        )

    def draft(self, sending: Sending, total: int, chunk: int, state: UploadState = "receiving") -> Upload:
        """A new upload's document, in this process alone."""
        id, image = ids_of(sending)
        now = self.clock.now()
        return Upload(
            id=id,
            session=sending.session.id,
            image=image,
            version=1,
            owner=sending.account,
            name=sending.named,
            folder=sending.folder,
            total=total,
            chunk=chunk,
            state=state,
            key=sending.stored_key,
            claimed_md5=sending.claims.get("md5"),
            claimed_sha256=sending.claims.get("sha256"),
            tus=sending.tus,
            created=now,
            updated=now,
        )

    async def _vanish(self, upload: Upload) -> None:
        await self.store.images.take(upload.image)
        await self.store.versions.take(VersionId(image=upload.image, n=upload.version))

    # Moving on

    async def progress(
        self,
        upload: Upload,
        new: int,
        fields: dict[str, Any] | None = None,
        *,
        when: Where | None = None,
    ) -> Upload:
        """Counts `new` stored bytes, if `when` holds; the image exists from here on. Returns the upload as it is then.

        Where the upload was cancelled meanwhile, removes its bytes and raises a 410.
        """
        now = self.clock.now()
        changed = await self.store.uploads.update(
            upload.id,
            when={"state": "receiving", **(when or {})},
            set={**(fields or {}), "updated": now},
            inc={"stored": new},
        )
        if changed is None:
            return await self._overtaken(upload)
        version = await self.store.versions.update(
            VersionId(image=upload.image, n=upload.version),
            when={"state": "uploading"},
            set={"stages.upload.done": changed.stored, "stages.upload.total": changed.total, "updated": now},
            # For people who watch; sealing says it for good.
            hint=True,
        )
        if version is None:
            await appear(self.store, changed, self.clock)
            current = await self.store.uploads.get(upload.id)
            if current is None or current.state == "expired":
                await self._vanish(upload)
        return changed

    async def _overtaken(self, upload: Upload) -> Upload:
        current = await self.store.uploads.get(upload.id)
        if current is not None and current.state == "receiving":
            # Another request has become its one writer.
            return current
        if current is not None and current.state in ("verifying", "complete"):
            # It ended while this request was at work: only pieces that nobody needs any more can be new.
            await self.blobs.delete(tail_of(upload.id))
            return current
        # Whoever ended it has removed its bytes, but not these.
        await self.remove_bytes(upload)
        if current is not None:
            await self.refuse_ended(current)
        raise self._gone(upload)

    @staticmethod
    def _gone(upload: Upload) -> Problem:
        return Problem(
            410,
            f"The upload of {upload.name} was cancelled, given up or deleted.",
            "Send the file again from its beginning.",
        )

    async def refuse_ended(self, upload: Upload) -> None:
        """Raises the problem of an upload that nobody can send to: failed, cancelled, expired, or a folder's."""
        if upload.state == "importing":
            raise Problem(
                409,
                f"{upload.name} is being taken in from a folder.",
                "Wait until that is done.",
                extra=about(upload),
            )
        if upload.state == "expired":
            raise self._gone(upload)
        if upload.state == "failed":
            version = await self.store.versions.get(VersionId(image=upload.image, n=upload.version))
            failure = version.failure if version is not None else None
            raise Problem(
                422,
                failure.reason if failure else f"The upload of {upload.name} failed.",
                failure.remedy if failure else "Send the file again.",
                extra=about(upload),
            )

    # Refusing and giving up

    async def refuse(self, sending: Sending, head: bytes) -> Problem:
        """As `refuse_upload`, of a file whose upload has not begun."""
        return await self.refuse_upload(self.draft(sending, sending.total or 0, LARGEST_CHUNK), head)

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
                await self.remove_bytes(upload)
            await self._failed(upload, reason, remedy)
        if not head:
            return Problem(422, reason, remedy, extra=about(upload))
        return Problem(415, reason, remedy, extra={**about(upload), "formats": FORMATS})

    async def _failed(self, upload: Upload, reason: str, remedy: str) -> None:
        version = VersionId(image=upload.image, n=upload.version)
        events = await fail(self.store, version, "upload", reason, remedy, database=self.database, clock=self.clock)
        self.announcer.soon(events, upload.id)

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
                await self.remove_bytes(upload)
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
        self.running.forget(upload.id)
        await self.removing.image(upload.image)

    async def remove_bytes(self, upload: Upload) -> None:
        """Removes chunks and files documents, unless another image shares them. Harmless when repeated."""
        self.running.forget(upload.id)
        await remove(upload, self.blobs)


def _why(upload: Upload, error: Exception) -> tuple[str, str]:
    """(reason, remedy) of an upload that this error ended."""
    if isinstance(error, Problem) and error.status in OVER_LIMIT:
        return error.detail, error.remedy
    if isinstance(error, Broken):
        return f"The connection broke while {upload.name} was being sent.", AGAIN
    if isinstance(error, Unavailable):
        return f"The database could not be reached while {upload.name} was being sent.", AGAIN
    return str(error), AGAIN
