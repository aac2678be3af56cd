"""Takes files in: begins an upload, goes on with it, and has it ended once every byte is there."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any

from services.upload.announcer import Announcer
from services.upload.body import Body, Broken
from services.upload.budget import Budget
from services.upload.conflicts import conflict
from services.upload.core import Invalid
from services.upload.core.chunks import LARGEST_CHUNK, chunk_size
from services.upload.core.spans import Span
from services.upload.digests import Running
from services.upload.ending import Ending
from services.upload.feed import Block, Feed
from services.upload.holding import Holding
from services.upload.known import Known
from services.upload.limits import Limits
from services.upload.proving import feed_of
from services.upload.records import Records
from services.upload.refusing import Refusing
from services.upload.removing import Removing
from services.upload.sending import Receipt, Sending, about, ids_of
from services.upload.storing import Stored, Storing, in_any_order
from shared.blobs import Blobs
from shared.clock import Clock
from shared.errors import Unavailable
from shared.http.problems import Problem, not_found
from shared.slides.sniff import HEAD_BYTES, sniff
from shared.store import Store
from shared.store.documents.images import Session
from shared.store.documents.uploads import Upload

PROGRESS_SECONDS = 0.5


class Intake:
    """The one way in through the gateway."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        announcer: Announcer,
        removing: Removing,
        limits: Limits,
        clock: Clock,
        database: str,
        budget: Budget,
    ) -> None:
        self.running = Running()
        self.records = Records(store, blobs, limits, self.running, clock)
        self.refusing = Refusing(store, self.records, announcer, removing, clock, database)
        self.limits = limits
        self.known = Known(store, blobs, self.records, limits, announcer, clock, database)
        self.budget = budget
        self._store = store
        self.holding = Holding(blobs)
        self.storing = Storing(blobs, self.holding, self.running, budget.give)
        self.ending = Ending(store, blobs, announcer, clock, database, self.records, self.refusing, self.holding)

    async def receive(self, sending: Sending, body: Body) -> Receipt:
        """Stores a request's bytes; the last of a file's requests ends its upload.

        Raises a `Problem` for whatever the client can mend, `Invalid`, `Broken` and `Unavailable`.
        """
        known, pieces = await asyncio.gather(self._earlier(sending), self._pieces(sending))
        if sending.total == 0 and known is None:
            raise await self.refusing.refuse(sending, b"")
        if sending.offers:
            upload = await self.known.offered(sending, body, known)
            return Receipt(upload, Span(0, upload.total), True, self.running.of(upload.id))
        span = sending.span
        if span is not None and body.length is not None and body.length != span.stop - span.start:
            raise Invalid(f"The body is {body.length} bytes long, but its range {span.stop - span.start}.")
        if known is not None:
            chunk = known.chunk
            await self.limits.check_room()
        else:
            self.limits.check_size(sending.named, sending.total or body.at_least)
            chunk = LARGEST_CHUNK if span is None else chunk_size(span, sending.total or 0)
        async with aclosing(await feed_of(sending, body, chunk, self.limits, self.budget)) as feed:
            if known is None:
                return await self._begin(sending, feed, chunk, body.limit)
            if sending.upload is None and known.state == "receiving":
                # Whoever made the upload may have died before its file was made.
                await self.records.make_file(known)
            return await self._take(known, sending, feed, pieces, created=sending.upload is None)

    async def _pieces(self, sending: Sending) -> tuple[Span, ...]:
        """The pieces of chunks that are not whole yet. Asked for before it is known that there is such an upload."""
        id = sending.upload or (ids_of(sending)[0] if sending.key is not None else None)
        return await self.holding.pieces(id) if id is not None and sending.span is not None else ()

    async def find(self, session: Session, id: str) -> Upload:
        """An upload of this session, or 404."""
        upload = await self._store.uploads.get(id)
        if upload is None or upload.session != session.id:
            raise not_found("upload")
        return upload

    # Beginning and going on

    async def _earlier(self, sending: Sending) -> Upload | None:
        """The upload that a request goes on with, or repeats the beginning of; None for a new one."""
        if sending.upload is not None:
            upload = await self.find(sending.session, sending.upload)
            if upload.tus is not None:
                raise Problem(
                    409,
                    f"{upload.name} is being sent by the tus protocol.",
                    "Go on with it at its tus address, or begin a new upload.",
                )
            if sending.span is None:
                raise Invalid("A request that goes on with an upload must say with Content-Range which bytes it holds.")
        else:
            if sending.span is not None and sending.span.start != 0:
                raise Invalid(f"A range from byte {sending.span.start} needs the _id that the first request answered.")
            known = await self._store.uploads.get(ids_of(sending)[0]) if sending.key is not None else None
            if known is None:
                return None
            upload = known
            if sending.name is not None and sending.name != upload.name:
                raise Problem(
                    422,
                    f"This Idempotency-Key was used before, for {upload.name}.",
                    "Use a new key for each file.",
                    extra=about(upload),
                )
        await self.records.refuse_ended(upload)
        if sending.total is not None and sending.total != upload.total:
            raise Invalid(f"The file is said to have {sending.total} bytes, but {upload.total} when it began.")
        for name, claim in sending.claims.items():
            earlier = getattr(upload, f"claimed_{name}")
            if earlier is not None and earlier != claim:
                raise Invalid(f"The {name} is said to be {claim}, but {earlier} when the upload began.")
            found = getattr(upload, name)
            if upload.state == "complete" and found != claim:
                raise Invalid(f"The {name} is said to be {claim}, but {upload.name} arrived whole with {found}.")
        return upload

    async def _begin(self, sending: Sending, feed: Feed, chunk: int, limit: int | None) -> Receipt:
        await self._look_into(sending, await feed.peek())
        upload = await self.records.create(sending, chunk, limit) or await self._earlier(sending)
        if upload is None or upload.chunk != chunk:
            raise Problem(409, f"{sending.named} is beginning to be sent with this Idempotency-Key.", "Try again.")
        try:
            return await self._take(upload, sending, feed, (), created=True)
        except (Broken, Invalid, Problem, Unavailable) as error:
            # Without an Idempotency-Key the client, which was never told the id, can't go on with it.
            if sending.key is None:
                await self.refusing.abandon(upload, error)
            raise

    async def _look_into(self, sending: Sending, first: Block | None) -> None:
        """Refuses a file by how it begins."""
        if first is None:
            raise await self.refusing.refuse(sending, b"")
        whole = first.last and (sending.span is None or sending.span.stop == sending.total)
        if (whole or len(first.data) >= HEAD_BYTES) and sniff(first.data, sending.named) is None:
            raise await self.refusing.refuse(sending, first.data)

    async def _take(
        self, upload: Upload, sending: Sending, feed: Feed, pieces: Sequence[Span], *, created: bool
    ) -> Receipt:
        span = sending.span
        start = 0 if span is None else span.start
        stored = Stored(stop=start, noted_at=monotonic() if upload.stored else 0.0)

        async def note() -> None:
            if monotonic() - stored.noted_at >= PROGRESS_SECONDS:
                stored.noted_at = monotonic()
                await self.records.progress(upload, stored.unnoted())

        try:
            if upload.state != "receiving":
                await self.storing.repeated(upload, feed, stored)
            elif span is None or in_any_order(upload, span, pieces):
                await self.storing.whole_chunks(upload, feed, stored, note)
            else:
                await self.storing.in_order(upload, feed, stored)
        except BaseException:
            if (new := stored.unnoted()) > 0:
                await self.records.progress(upload, new)
            raise
        digests = self.running.of(upload.id)
        total = stored.stop if span is None else upload.total
        if span is None and stored.repeated:
            await self._refuse_shorter(upload, total)
        said: dict[str, Any] = {"total": total, **{f"claimed_{name}": claim for name, claim in sending.claims.items()}}
        if digests.length == total:
            said |= {"md5": digests.md5, "sha256": digests.sha256}
        upload = await self.records.progress(upload, stored.unnoted(), said)
        if span is None:
            await self.limits.check_account(upload)
        if upload.state == "receiving" and (stored.repeated or upload.stored >= upload.total):
            upload = await self.ending.end(upload)
        await self.records.refuse_ended(upload)
        return Receipt(upload, Span(start, stored.stop), created, digests)

    async def _refuse_shorter(self, upload: Upload, total: int) -> None:
        """A whole file sent again must reach at least as far as what is stored."""
        spans = await self.ending.held(upload)
        if spans and spans[-1].stop > total:
            raise conflict(upload, Span(total, spans[-1].stop))
