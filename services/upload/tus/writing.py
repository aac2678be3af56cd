"""Appends what tus requests bring. An upload's offset is its `stored`, and moves by compare-and-set on (stored, token).

Whole chunks go where they belong; what is left of a request that ends within a chunk goes to the upload's tail file,
from which the next request begins that chunk. So any gateway can go on where any other one stopped, at any byte.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from time import monotonic
from typing import Any

from services.upload.body import Body, Counted
from services.upload.conflicts import conflict
from services.upload.core.spans import Span, expected_offset
from services.upload.feed import Block, Feed, cut
from services.upload.intake import PROGRESS_SECONDS, Intake
from services.upload.proving import PROVEN_RANGE
from services.upload.storing import Stored
from services.upload.tus.arriving import Arriving
from services.upload.tus.checks import check_step, elsewhere, first_byte, is_whole, mismatch, room_of, tus_of
from services.upload.tus.core import Checksum, settled_chunk
from services.upload.tus.writers import Writer, Writers
from shared.blobs import Blobs
from shared.blobs.pieces import tail_of
from shared.clock import Clock
from shared.errors import ChunkConflict
from shared.http.problems import Problem
from shared.slides.sniff import HEAD_BYTES, sniff
from shared.store import Store
from shared.store.documents.uploads import Upload


class Writing:
    """The one who moves offsets."""

    def __init__(self, store: Store, blobs: Blobs, intake: Intake, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._intake = intake
        self._clock = clock
        self._writers = Writers()

    async def offset(self, upload: Upload) -> Upload:
        """The upload with its exact offset. Whoever was bringing bytes has stopped: the caller goes on from there."""
        await self._writers.displace(upload.id)
        taken = await self._store.uploads.update(upload.id, when={"state": "receiving"}, inc={"tus.token": 1})
        if taken is None:
            return await self._current(upload)
        reached = expected_offset((await self._intake.holding.held(taken)).spans)
        # More than was noted, if a gateway died or was overtaken between storing and saying so.
        moved = await self._move(taken, reached) if reached > taken.stored else taken
        return await self._ended(moved)

    async def cancel(self, upload: Upload) -> None:
        """Ends an upload that is not whole and removes what there is of it."""
        await self._writers.displace(upload.id)
        await self._intake.refusing.cancel(upload)

    async def forget(self, upload: Upload) -> None:
        """Removes an upload that nobody was told of, unless it has ended as something to be seen."""
        if (await self._current(upload)).state == "receiving":
            await self.cancel(upload)

    async def append(
        self,
        upload: Upload,
        offset: int,
        body: Body,
        *,
        total: int | None = None,
        checksum: Checksum | None = None,
    ) -> Upload:
        """Stores a request's bytes from `offset` on; `total` is the length of a file that was not known before.

        What came of a body that broke off is kept. Raises a `Problem`, `Invalid`, `Broken` or `Unavailable`.
        """
        if upload.file is not None:
            # Shared with another image: whatever is sent of it is there.
            return upload
        check_step(upload, offset, body.length, total)
        async with self._writers.only(upload.id) as writer:
            upload = await self._current(upload)
            await self._intake.records.refuse_ended(upload)
            check_step(upload, offset, body.length, total)
            if body.length == 0 and checksum is not None and not checksum.proves([]):
                raise mismatch(upload, checksum.algorithm)
            if body.length == 0 and (total is None or not tus_of(upload).deferred):
                return await self._ended(upload)
            await self._intake.limits.check_room()
            upload = await self._prepared(upload, body, total)
            if upload.stored == 0:
                await self._intake.records.make_file(upload)
            return await self._append(upload, body, writer, checksum)

    async def _current(self, upload: Upload) -> Upload:
        return await self._store.uploads.get(upload.id) or upload

    async def _prepared(self, upload: Upload, body: Body, total: int | None) -> Upload:
        """The upload with its chunk size settled, its length as it is known now, and its file."""
        tus = tus_of(upload)
        if tus.sized and total is None:
            return upload
        if tus.deferred and total == upload.stored:
            await self._fold(upload)
        fields: dict[str, Any] = {"updated": self._clock.now()}
        if total is not None:
            self._intake.limits.check_size(upload.name, total)
            await self._intake.limits.check_account(upload, more=total - upload.total)
            fields |= {"total": total, "tus.deferred": False}
        if not tus.sized:
            known = total if total is not None or tus.deferred else upload.total
            fields |= {"chunk": settled_chunk(body.length or None, known), "tus.sized": True}
        # Of several at once one settles it: chunks of two sizes would never fit together.
        seen = {"state": "receiving", "stored": upload.stored, "tus.sized": tus.sized, "tus.deferred": tus.deferred}
        prepared = await self._store.uploads.update(upload.id, when={**seen, "tus.token": tus.token}, set=fields)
        if prepared is None:
            raise elsewhere(upload)
        if prepared.total == 0 and not tus_of(prepared).deferred and not tus.partial:
            raise await self._intake.refusing.refuse_upload(prepared, b"")
        return prepared

    async def _append(self, upload: Upload, body: Body, writer: Writer, checksum: Checksum | None) -> Upload:
        offset = upload.stored
        start = first_byte(upload, body.length)
        before = await self._intake.holding.begun(upload, Span(start, offset))
        arriving = Arriving(before, body, writer, room_of(upload), whole=checksum is not None)
        stored = Stored(stop=offset, noted_at=monotonic() if offset else 0.0)
        moved = upload

        async def note() -> None:
            nonlocal moved
            if monotonic() - stored.noted_at >= PROGRESS_SECONDS and stored.stop > offset:
                stored.noted_at = monotonic()
                moved = await self._move(moved, stored.stop)

        async with aclosing(await self._feed(upload, start, len(before), arriving, body, checksum)) as feed:
            await self._sniff(upload, start, feed)
            rest: list[Block] = []
            try:
                await self._intake.storing.whole_chunks(upload, self._whole(upload, feed, rest), stored, note)
                for block in rest:
                    await self._keep(upload, block, offset)
                    stored.stop = block.span.stop
            except BaseException:
                if stored.stop > moved.stored:
                    await self._move(moved, stored.stop)
                raise
            finally:
                self._intake.budget.give(sum(len(block.data) for block in rest))
        if stored.stop > moved.stored:
            moved = await self._move(moved, stored.stop)
        if before:
            await self._drop_tail(moved)
        moved = await self._ended(moved)
        if arriving.broken is not None and not is_whole(moved):
            raise arriving.broken
        return moved

    async def _feed(
        self, upload: Upload, start: int, before: int, arriving: Arriving, body: Body, checksum: Checksum | None
    ) -> Feed:
        """The blocks to store. With a checksum all of them are read and proven before the first is given out."""
        budget = self._intake.budget
        if checksum is None or body.length == 0:
            counted = Counted(arriving, lambda count: self._intake.limits.check_size(upload.name, start + count))
            return Feed(cut(counted, start, None, upload.chunk, budget), budget)
        if body.length is None:
            raise Problem(411, "A request with Upload-Checksum needs a Content-Length.", "Send it with one.")
        if body.length > PROVEN_RANGE:
            raise Problem(
                413,
                f"Requests with Upload-Checksum may be at most {PROVEN_RANGE} bytes long.",
                "Send smaller ones, or announce the sha256 of the whole file in Upload-Metadata instead.",
            )
        feed = await Feed.proven(arriving, Span(start, start + before + body.length), upload.chunk, budget)
        try:
            first, *others = feed.ready()
            if not await asyncio.to_thread(checksum.proves, [memoryview(first)[before:], *others]):
                raise mismatch(upload, checksum.algorithm)
        except BaseException:
            await feed.aclose()
            raise
        return feed

    async def _sniff(self, upload: Upload, start: int, feed: Feed) -> None:
        """Refuses a file that no reader can take as soon as its beginning is there."""
        first = await feed.peek() if start == 0 and not tus_of(upload).partial else None
        if first is not None and (len(first.data) >= HEAD_BYTES or first.span.stop == upload.total):
            if sniff(first.data, upload.name) is None:
                raise await self._intake.refusing.refuse_upload(upload, first.data)

    @staticmethod
    async def _whole(upload: Upload, feed: Feed, rest: list[Block]) -> AsyncIterator[Block]:
        """The blocks that are whole chunks. Only the last one may not be: then it is the `rest`."""
        async for block in feed:
            if block.span.stop % upload.chunk == 0 or block.span.stop == upload.total:
                yield block
            else:
                rest.append(block)
            # Or it would be kept, and nobody would count it, until the next one has come.
            del block

    async def _keep(self, upload: Upload, block: Block, offset: int) -> None:
        begin = max(block.span.start, offset)
        await self._intake.holding.begin(upload, begin, block.data[begin - block.span.start :])

    async def _fold(self, upload: Upload) -> None:
        """Makes the last chunk of what is kept in the tail, before anybody takes the upload for whole."""
        start = upload.stored - upload.stored % upload.chunk
        last = await self._intake.holding.begun(upload, Span(start, upload.stored))
        try:
            if last:
                await self._blobs.put_chunk(upload.id, start // upload.chunk, last)
        except ChunkConflict:
            raise conflict(upload, Span(start, upload.stored)) from None

    async def _drop_tail(self, upload: Upload) -> None:
        """Removes what is kept in the tail of chunks that are whole."""
        if is_whole(upload):
            await self._blobs.delete(tail_of(upload.id))
        else:
            await self._blobs.trim(tail_of(upload.id), upload.stored - upload.stored % upload.chunk)

    async def _move(self, upload: Upload, stop: int) -> Upload:
        """Moves the offset to `stop`, as long as nobody else has become the writer."""
        digests = self._intake.running.of(upload.id)
        proven = {"md5": digests.md5, "sha256": digests.sha256} if digests.length == stop == upload.total else None
        moved = await self._intake.records.progress(
            upload,
            stop - upload.stored,
            proven,
            when={"stored": upload.stored, "tus.token": tus_of(upload).token},
        )
        if moved.stored != stop or tus_of(moved).token != tus_of(upload).token:
            raise elsewhere(moved)
        return moved

    async def _ended(self, upload: Upload) -> Upload:
        """Completes the file if every byte is there."""
        if upload.state == "receiving" and is_whole(upload) and not tus_of(upload).partial:
            upload = await self._intake.ending.end(upload)
            await self._intake.records.refuse_ended(upload)
        return upload
