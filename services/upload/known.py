"""Files that are stored already: offered by their SHA-256, they become a new image without being sent again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.upload.announcer import Announcer
from services.upload.body import Pieces
from services.upload.core import Invalid
from services.upload.limits import Limits
from services.upload.records import Records
from services.upload.sending import Sending, about, ids_of
from shared.blobs import Blobs
from shared.blobs.seal import seal
from shared.clock import Clock
from shared.http.problems import Problem
from shared.store import Store
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version


@dataclass
class Known:
    """Finds and shares them. Tiles are not shared: the new image is made in full, by the settings of today."""

    store: Store
    blobs: Blobs
    records: Records
    limits: Limits
    announcer: Announcer
    clock: Clock
    database: str

    async def offered(self, sending: Sending, body: Pieces, earlier: Upload | None) -> Upload:
        """Answers a request without bytes that asks if its file is stored: the complete upload, else a 404.

        `earlier` is the upload that was made with the same key.
        """
        if sending.upload is not None or "sha256" not in sending.claims:
            raise Invalid("A range without bytes offers a whole new file: it takes the file's SHA-256 and no _id.")
        if await body.piece():
            raise Invalid("The request has a body, but its range has no bytes.")
        total = sending.total or 0
        self.limits.check_size(sending.named, total)
        upload = earlier or await self.take(sending, total) or await self.store.uploads.get(ids_of(sending)[0])
        if upload is None or upload.state not in ("verifying", "complete"):
            raise Problem(
                404,
                f"{sending.named} is not stored whole.",
                "Send its bytes." if upload is None else "Go on with its upload.",
                extra={"known": False, **(about(upload) if upload else {})},
            )
        return upload

    async def take(self, sending: Sending, length: int) -> Upload | None:
        """A complete upload that shares a stored file of this length and of the claimed digests; None if there is none.

        The file must belong to an image of the session's owner, whoever asks: not even an administrator can move a file
        from one account to another by knowing its digest.
        """
        async for version in self._candidates(sending, length):
            upload = await self.records.create_sharing(sending, version)
            if upload is None:
                # The same offer, with the same key, is being answered at this moment.
                return None
            fact = await seal(upload.id, store=self.store, blobs=self.blobs, database=self.database, clock=self.clock)
            if fact is not None:
                self.announcer.soon([fact], upload.id)
            current = await self.store.uploads.get(upload.id)
            if current is not None and current.state == "complete":
                return current
        return None

    async def _candidates(self, sending: Sending, length: int) -> AsyncIterator[Version]:
        if "sha256" not in sending.claims:
            return
        same = {"length": length, **{str(name): digest for name, digest in sending.claims.items()}}
        owned = {sending.session.id: True}
        async for version in self.store.versions.each(same):
            if version.session not in owned:
                session = await self.store.sessions.get(version.session)
                owned[version.session] = session is not None and session.owner == sending.session.owner
            if owned[version.session]:
                yield version
