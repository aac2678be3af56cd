"""Makes a file of partial uploads: their bytes are copied in order into chunks of its own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic

import structlog

from services.upload.core import Invalid
from services.upload.ending import SEAL_SECONDS, UNANSWERED
from services.upload.feed import Feed, cut
from services.upload.intake import PROGRESS_SECONDS, Intake
from services.upload.storing import Stored
from services.upload.tus.checks import tus_of
from shared.blobs import Blobs
from shared.clock import SKEW, Clock
from shared.errors import Reject, Unavailable
from shared.http.problems import Problem
from shared.slides.sniff import HEAD_BYTES, sniff
from shared.store import Greater, Less, Store
from shared.store.documents.uploads import Upload

MOST_JOINED = 100
log = structlog.get_logger()


class _Joined:
    """The bytes of stored files in order. See `services.upload.body.Pieces`."""

    def __init__(self, blobs: Blobs, parts: Sequence[Upload], start: int) -> None:
        self._pieces = self._read(blobs, parts, start)

    @staticmethod
    async def _read(blobs: Blobs, parts: Sequence[Upload], start: int) -> AsyncGenerator[bytes, None]:
        for part in parts:
            if start < part.total:
                async for piece in blobs.stream(part.id, start, part.total - start):
                    yield piece
            start = max(0, start - part.total)

    async def piece(self) -> bytes:
        """See `Pieces.piece`."""
        return await anext(self._pieces, b"")

    async def aclose(self) -> None:
        """Reads no further."""
        await self._pieces.aclose()


class Joining:
    """Copies in the background; what a dead gateway left half copied, another one goes on with."""

    def __init__(self, store: Store, blobs: Blobs, intake: Intake, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._intake = intake
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    async def join(self, draft: Upload, parts: Sequence[Upload]) -> Upload | None:
        """Begins a file made of whole parts; answers after a while even if copying takes longer.

        None if it was begun before, with the same key. Raises the problem of a file that no reader can take.
        """
        upload = draft.model_copy(update={"total": sum(part.total for part in parts)})
        async with aclosing(_Joined(self._blobs, parts, 0)) as joined:
            head = b""
            while len(head) < HEAD_BYTES and (piece := await joined.piece()):
                head += piece
        if sniff(head, upload.name) is None:
            raise await self._intake.refusing.refuse_upload(upload, head)
        self._intake.limits.check_size(upload.name, upload.total)
        if not await self._intake.limits.admit(upload):
            return None
        await self._intake.records.make_file(upload)
        task = self._soon(upload)
        await asyncio.wait([task], timeout=SEAL_SECONDS)
        return await self._store.uploads.get(upload.id) or upload

    async def resume(self) -> None:
        """Goes on with what nobody is copying any more."""
        now = self._clock.now()
        left: list[Upload] = []
        # What is dated ahead was touched before the clock was set back.
        for untouched in (Less(now - UNANSWERED), Greater(now + SKEW)):
            where = {"state": "receiving", "tus.final": True, "updated": untouched}
            left += await self._store.uploads.find(where, sort="updated", limit=MOST_JOINED)
        for upload in left:
            # Of several gateways one goes on.
            seen = {"state": "receiving", "updated": upload.updated}
            taken = await self._store.uploads.update(upload.id, when=seen, set={"updated": self._clock.now()})
            if taken is not None:
                await self._intake.records.make_file(taken)
                await asyncio.wait([self._soon(taken)])

    def _soon(self, upload: Upload) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._finish(upload))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _finish(self, upload: Upload) -> None:
        try:
            await self._copy(upload)
        except Problem as problem:
            log.info("not joined", upload=upload.id, reason=problem.detail)
        except Unavailable as error:
            log.warning("left to the relay", upload=upload.id, error=str(error))
        except (Invalid, Reject) as error:
            await self._intake.refusing.abandon(upload, error)
        except Exception:
            log.exception("joining failed", upload=upload.id)

    async def _copy(self, upload: Upload) -> None:
        parts = [await self._store.uploads.get(part) for part in tus_of(upload).parts]
        start = upload.stored - upload.stored % upload.chunk
        stored = Stored(stop=start, noted_at=monotonic() if upload.stored else 0.0)

        async def note() -> None:
            if monotonic() - stored.noted_at >= PROGRESS_SECONDS:
                stored.noted_at = monotonic()
                await self._intake.records.progress(upload, stored.unnoted())

        budget = self._intake.budget
        async with (
            aclosing(_Joined(self._blobs, [part for part in parts if part is not None], start)) as joined,
            aclosing(Feed(cut(joined, start, upload.total, upload.chunk, budget), budget)) as feed,
        ):
            await self._intake.storing.whole_chunks(upload, feed, stored, note)
        digests = self._intake.running.of(upload.id)
        proven = {"md5": digests.md5, "sha256": digests.sha256} if digests.length == upload.total else None
        await self._intake.ending.end(await self._intake.records.progress(upload, stored.unnoted(), proven))
