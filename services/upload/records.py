"""The documents of an upload and its image: made, moved on and removed."""

from dataclasses import dataclass
from typing import Any

from services.upload.core.chunks import LARGEST_CHUNK
from services.upload.digests import Running
from services.upload.limits import Limits
from services.upload.sending import Sending, about, ids_of
from shared.blobs import Blobs, owner_of
from shared.blobs.pieces import tail_of
from shared.blobs.seal import remove
from shared.clock import Clock
from shared.http.problems import Problem
from shared.stages.moving import appear
from shared.store import Store, Where
from shared.store.documents.uploads import Upload, UploadState
from shared.store.documents.versions import Version, VersionId


@dataclass
class Records:
    """Writes them, each step a compare-and-set on the upload's state."""

    store: Store
    blobs: Blobs
    limits: Limits
    running: Running
    clock: Clock

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

    async def remove_bytes(self, upload: Upload) -> None:
        """Removes chunks and files documents, unless another image shares them. Harmless when repeated."""
        self.running.forget(upload.id)
        await remove(upload, self.blobs)
