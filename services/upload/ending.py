"""Ends uploads: counts exactly what is stored, and completes what is all there."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from services.upload.announcer import Announcer
from services.upload.core.spans import Span, expected_offset, stored_bytes
from services.upload.holding import Holding
from services.upload.records import Records
from services.upload.refusing import Refusing
from services.upload.storing import AT_ONCE
from shared.blobs import Blobs
from shared.blobs.seal import seal
from shared.clock import Clock
from shared.store import Store
from shared.store.documents.uploads import Upload

SEAL_SECONDS = 20.0
UNANSWERED = timedelta(seconds=10)
RESUMABLE = timedelta(minutes=10)
MOST_RESUMED = 1000


@dataclass
class Ending:
    """Any request may be an upload's last, and may die before it has said so."""

    store: Store
    blobs: Blobs
    announcer: Announcer
    clock: Clock
    database: str
    records: Records
    refusing: Refusing
    holding: Holding
    _sealing: set[asyncio.Task[None]] = field(default_factory=set)

    async def held(self, upload: Upload) -> list[Span]:
        """Exactly what is stored of an upload."""
        if upload.state in ("receiving", "importing", "verifying") and upload.file is None:
            return (await self.holding.held(upload)).spans
        return [Span(0, upload.total)] if upload.state in ("verifying", "complete") else []

    async def look(self, upload: Upload) -> tuple[Upload, list[Span]]:
        """The upload and exactly what is stored of it; ends it if that is all, as its last request may have died."""
        if upload.state != "receiving" or upload.tus is not None:
            return upload, await self.held(upload)
        upload, spans = await self._counted(upload)
        if spans and stored_bytes(spans) == upload.total:
            upload = await self.end(await self.records.progress(upload, 0))
            spans = await self.held(upload)
        return upload, spans

    async def _counted(self, upload: Upload) -> tuple[Upload, list[Span]]:
        """Writes down how much is stored exactly, lest the last of its requests takes itself for the last but one.

        A chunk that is counted here before its own request does so counts twice, which only makes somebody look again.
        """
        while True:
            spans = (await self.holding.held(upload)).spans
            exact = stored_bytes(spans)
            if upload.state != "receiving" or upload.stored == exact:
                return upload, spans
            seen = {"state": "receiving", "stored": upload.stored}
            changed = await self.store.uploads.update(upload.id, when=seen, set={"stored": exact})
            if changed is not None:
                return changed, spans
            upload = await self.store.uploads.get(upload.id) or upload.model_copy(update={"state": "expired"})

    async def resume(self) -> None:
        """Ends uploads that were abandoned, and those whose last request stored everything but did not say so."""
        await self.refusing.end_abandoned()
        now = self.clock.now()
        recent = await self.store.uploads.find(
            {"state": "receiving"}, sort="updated", after=(now - RESUMABLE, ""), limit=MOST_RESUMED
        )
        for upload in recent:
            if upload.tus is not None and upload.tus.partial:
                continue
            unsaid = upload.total - upload.stored
            if upload.updated > now - UNANSWERED or upload.total == 0 or unsaid > AT_ONCE * upload.chunk:
                continue
            spans = (await self.holding.held(upload)).spans
            if expected_offset(spans) == upload.total:
                await self.end(await self.records.progress(upload, upload.total - upload.stored))

    async def end(self, upload: Upload) -> Upload:
        """Completes the upload if every byte is there; answers after a while even if the digests take longer."""
        upload, spans = await self._counted(upload)
        if stored_bytes(spans) < upload.total:
            return upload
        task = asyncio.create_task(self._seal(upload))
        self._sealing.add(task)
        task.add_done_callback(self._sealing.discard)
        await asyncio.wait([task], timeout=SEAL_SECONDS)
        if task.done():
            task.result()
        return await self.store.uploads.get(upload.id) or upload

    async def _seal(self, upload: Upload) -> None:
        event = await seal(upload.id, store=self.store, blobs=self.blobs, database=self.database, clock=self.clock)
        if event is not None:
            self.announcer.soon([event], upload.id)
        self.records.running.forget(upload.id)
