"""Files that are stored already: offered by their SHA-256, they become a new image without being sent again."""

from collections.abc import AsyncIterator

from services.upload.announcer import Announcer
from services.upload.records import Records
from services.upload.sending import Sending
from shared.blobs import Blobs
from shared.blobs.seal import seal
from shared.clock import Clock
from shared.store import Store
from shared.store.documents import Upload, Version


class Known:
    """Finds and shares them. Tiles are not shared: the new image is made in full, by the settings of today."""

    def __init__(
        self, *, store: Store, blobs: Blobs, records: Records, announcer: Announcer, clock: Clock, database: str
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._records = records
        self._announcer = announcer
        self._clock = clock
        self._database = database

    async def take(self, sending: Sending, length: int) -> Upload | None:
        """A complete upload that shares a stored file of this length and of the claimed digests; None if there is none.

        The file must belong to an image of the session's owner, whoever asks: not even an administrator can move a file
        from one account to another by knowing its digest.
        """
        async for version in self._candidates(sending, length):
            upload = await self._records.create_sharing(sending, version)
            if upload is None:
                # The same offer, with the same key, is being answered at this moment.
                return None
            fact = await seal(
                upload.id, store=self._store, blobs=self._blobs, database=self._database, clock=self._clock
            )
            if fact is not None:
                self._announcer.soon([fact], upload.id)
            current = await self._store.uploads.get(upload.id)
            if current is not None and current.state == "complete":
                return current
        return None

    async def _candidates(self, sending: Sending, length: int) -> AsyncIterator[Version]:
        if "sha256" not in sending.claims:
            return
        same = {"length": length, **{str(name): digest for name, digest in sending.claims.items()}}
        owned = {sending.session.id: True}
        async for version in self._store.versions.each(same):
            if version.session not in owned:
                session = await self._store.sessions.get(version.session)
                owned[version.session] = session is not None and session.owner == sending.session.owner
            if owned[version.session]:
                yield version
