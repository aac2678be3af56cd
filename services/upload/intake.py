"""Takes files in: makes an upload with its image, goes on with it, refuses what can't become a slide, and ends it."""

import asyncio
import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any, NamedTuple

from services.upload.announcer import Announcer
from services.upload.body import Body, Broken, Feed, cut
from services.upload.budget import Budget
from services.upload.core import (
    LARGEST_CHUNK,
    SNIFFABLE,
    DigestName,
    Invalid,
    Span,
    chunk_size,
    on_grid,
    stored_bytes,
)
from services.upload.digests import Digests, Running
from services.upload.storing import AT_ONCE, Held, Stored, Storing, tail_of
from shared.blobs import Blobs
from shared.blobs.seal import seal
from shared.clock import Clock
from shared.events import FileComplete
from shared.http.problems import Problem, not_found
from shared.slides.sniff import FORMATS, sniff, unreadable
from shared.stages import fail
from shared.store import Store
from shared.store.documents import (
    Failure,
    Image,
    Session,
    Stage,
    Stages,
    Upload,
    Version,
    VersionId,
)

PROVEN_RANGE = 16 * 1024 * 1024
PROGRESS_SECONDS = 0.5
SEAL_SECONDS = 20.0
UNANSWERED = timedelta(seconds=10)
RESUMABLE = timedelta(minutes=10)
MOST_RESUMED = 1000
_KEYED = uuid.UUID("0f3a6f0e-7a4f-4c57-93ff-52f6ad6fb3c1")


@dataclass(frozen=True)
class Sending:
    """What one request says about its body. `span` and `total` are None where the body is a whole file.

    `claims` are digests of the whole file, `range_claims` of this request's bytes, both in hex.
    """

    session: Session
    account: str
    name: str | None
    upload: str | None = None
    key: str | None = None
    span: Span | None = None
    total: int | None = None
    claims: dict[DigestName, str] = field(default_factory=dict)
    range_claims: dict[DigestName, str] = field(default_factory=dict)


class Receipt(NamedTuple):
    """What has become of a request: its upload, the range that is stored, and the digests of what was hashed."""

    upload: Upload
    span: Span
    created: bool
    digests: Digests


def ids_of(sending: Sending) -> tuple[str, str]:
    """The ids of a new upload and its image. With an Idempotency-Key they are the same whenever it is sent again."""
    if sending.key is None:
        return uuid.uuid4().hex, uuid.uuid4().hex
    upload = uuid.uuid5(_KEYED, "|".join((sending.account, sending.session.id, sending.key)))
    return upload.hex, uuid.uuid5(upload, "image").hex


def _stored_key(sending: Sending) -> str | None:
    """A key is unique for its owner in the database, but means something within one session only."""
    return None if sending.key is None else f"{sending.session.id}/{sending.key}"


def about(upload: Upload) -> dict[str, Any]:
    """The members that every answer about an upload has."""
    return {"_id": upload.id, "image": upload.image}


@dataclass
class Intake:
    """The one way in through the gateway."""

    store: Store
    blobs: Blobs
    announcer: Announcer
    clock: Clock
    database: str
    budget: Budget
    running: Running = field(default_factory=Running)
    _sealing: "set[asyncio.Task[FileComplete | None]]" = field(default_factory=set)

    def __post_init__(self) -> None:
        self.storing = Storing(self.blobs, self.running, self.budget.give)

    # One request

    async def receive(self, sending: Sending, body: Body) -> Receipt:
        """Stores a request's bytes; the last of a file's requests ends its upload.

        Raises a `Problem` for whatever the client can mend, `Invalid`, `Broken` and `Unavailable`.
        """
        known = await self._known(sending)
        if sending.total == 0 and known is None:
            raise await self._refuse_empty(sending)
        span = sending.span
        if span is not None and body.length is not None and body.length != span.stop - span.start:
            raise Invalid(f"The body is {body.length} bytes long, but its range {span.stop - span.start}.")
        if known is not None:
            chunk = known.chunk
        else:
            chunk = LARGEST_CHUNK if span is None else chunk_size(span, sending.total or 0)
        async with aclosing(await self._feed(sending, body, chunk)) as feed:
            if known is not None:
                return await self._store(known, sending, feed, created=sending.upload is None)
            first = await feed.peek()
            if first is None:
                raise await self._refuse_empty(sending)
            whole = first.last and (span is None or span.stop == sending.total)
            if (whole or len(first.data) >= SNIFFABLE) and sniff(first.data, self._name(sending)) is None:
                raise await self._refuse_format(sending, first.data)
            upload = await self._create(sending, chunk, body.limit)
            try:
                return await self._store(upload, sending, feed, created=True)
            except (Broken, Invalid, Problem) as error:
                # Without an Idempotency-Key the client, which was never told the id, can't go on with it.
                if sending.key is None:
                    await self._abandon(upload, error)
                raise

    async def _known(self, sending: Sending) -> Upload | None:
        """The upload that a request goes on with, or repeats the beginning of; None for a new one."""
        if sending.upload is not None:
            upload = await self.find(sending.session, sending.upload)
            if sending.span is None:
                raise Invalid("A request that goes on with an upload must say with Content-Range which bytes it holds.")
        else:
            if sending.span is not None and sending.span.start != 0:
                raise Invalid(f"A range from byte {sending.span.start} needs the _id that the first request answered.")
            known = await self.store.uploads.get(ids_of(sending)[0]) if sending.key is not None else None
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
        if sending.total is not None and sending.total != upload.total:
            raise Invalid(f"The file is said to have {sending.total} bytes, but {upload.total} when it began.")
        await self._refuse_ended(upload)
        for name, claim in sending.claims.items():
            earlier = getattr(upload, f"claimed_{name}")
            if earlier is not None and earlier != claim:
                raise Invalid(f"The {name} is said to be {claim}, but {earlier} when the upload began.")
        return upload

    async def find(self, session: Session, id: str) -> Upload:
        """An upload of this session, or 404."""
        upload = await self.store.uploads.get(id)
        if upload is None or upload.session != session.id:
            raise not_found("upload")
        return upload

    async def _refuse_ended(self, upload: Upload) -> None:
        if upload.state == "expired":
            raise Problem(
                410,
                f"The upload of {upload.name} was cancelled or given up.",
                "Send the file again from its beginning.",
            )
        if upload.state == "failed":
            version = await self.store.versions.get(VersionId(image=upload.image, n=upload.version))
            failure = version.failure if version is not None else None
            raise Problem(
                422,
                failure.reason if failure else f"The upload of {upload.name} failed.",
                failure.remedy if failure else "Send the file again.",
                extra=about(upload),
            )

    async def _feed(self, sending: Sending, body: Body, chunk: int) -> Feed:
        span = sending.span
        if span is None:
            return Feed(cut(body, 0, None, chunk, self.budget), self.budget)
        if span.stop - span.start > PROVEN_RANGE:
            if sending.range_claims:
                raise Invalid(f"Ranges with a digest of their own may be at most {PROVEN_RANGE} bytes long.")
            return Feed(cut(body, span.start, span.stop, chunk, self.budget), self.budget)
        if body.length is not None and not sending.range_claims:
            return Feed(cut(body, span.start, span.stop, chunk, self.budget), self.budget)
        feed = await Feed.proven(body, span, chunk, self.budget)
        try:
            await self._prove(sending, feed)
        except BaseException:
            await feed.aclose()
            raise
        return feed

    async def _prove(self, sending: Sending, feed: Feed) -> None:
        if not sending.range_claims:
            return
        digests = Digests()
        for data in feed.ready():
            digests = await digests.after(data)
        for name, claim in sending.range_claims.items():
            found = getattr(digests, name)
            if found != claim:
                raise Problem(
                    422, f"The range's {name} is {found}, but the request says {claim}.", "Send this range again."
                )

    # Making and refusing

    async def _create(self, sending: Sending, chunk: int, limit: int | None) -> Upload:
        id, image = ids_of(sending)
        now = self.clock.now()
        upload = Upload(
            id=id,
            session=sending.session.id,
            image=image,
            version=1,
            owner=sending.account,
            name=self._name(sending),
            total=(limit or 0) if sending.total is None else sending.total,
            chunk=chunk,
            key=_stored_key(sending),
            claimed_md5=sending.claims.get("md5"),
            claimed_sha256=sending.claims.get("sha256"),
            created=now,
            updated=now,
        )
        await self.store.uploads.insert(upload)
        await self.blobs.create(id, name=upload.name, chunk=chunk, refs=(f"{image}:1",))
        return await self.store.uploads.get(id) or upload

    @staticmethod
    def _name(sending: Sending) -> str:
        if sending.name is None:
            raise Problem(
                400,
                "The file has no name.",
                "Name it in the form, in Content-Disposition, or with ?name= in the address.",
            )
        return sending.name

    def _documents(self, upload: Upload, failure: Failure | None) -> tuple[Version, Image]:
        now = self.clock.now()
        id = VersionId(image=upload.image, n=upload.version)
        stage = Stage(started=upload.created, done=upload.stored, total=upload.total)
        version = Version(
            id=id,
            session=upload.session,
            file=upload.id,
            name=upload.name,
            state="failed" if failure else "uploading",
            stages=Stages(upload=stage),
            failure=failure,
            created=upload.created,
            updated=now,
        )
        image = Image(
            id=upload.image, session=upload.session, name=upload.name, latest=upload.version, created=upload.created
        )
        return version, image

    async def _appear(self, upload: Upload) -> None:
        """Makes the image; the version first, so that an image always has one. Takes both back if it was cancelled."""
        version, image = self._documents(upload, None)
        await self.store.versions.insert(version)
        await self.store.images.insert(image)
        current = await self.store.uploads.get(upload.id)
        if current is None or current.state == "expired":
            await self._vanish(upload)

    async def _vanish(self, upload: Upload) -> None:
        await self.store.images.take(upload.image)
        await self.store.versions.take(VersionId(image=upload.image, n=upload.version))

    async def _refuse_empty(self, sending: Sending) -> Problem:
        return await self._refuse(sending, 422, *unreadable(self._name(sending), b""))

    async def _refuse_format(self, sending: Sending, head: bytes) -> Problem:
        return await self._refuse(sending, 415, *unreadable(self._name(sending), head), formats=FORMATS)

    async def _refuse(self, sending: Sending, status: int, reason: str, remedy: str, **extra: Any) -> Problem:
        """Records the file as a failed image of its session, where people look for it, and returns the problem."""
        id, image = ids_of(sending)
        now = self.clock.now()
        upload = Upload(
            id=id,
            session=sending.session.id,
            image=image,
            version=1,
            owner=sending.account,
            name=self._name(sending),
            total=sending.total or 0,
            chunk=LARGEST_CHUNK,
            state="failed",
            key=_stored_key(sending),
            created=now,
            updated=now,
        )
        if await self.store.uploads.insert(upload):
            version, document = self._documents(upload, Failure(stage="upload", reason=reason, remedy=remedy))
            await self.store.versions.insert(version)
            await self.store.images.insert(document)
            await self._failed(upload, reason, remedy)
        return Problem(status, reason, remedy, extra={**about(upload), **extra})

    async def _failed(self, upload: Upload, reason: str, remedy: str) -> None:
        version = VersionId(image=upload.image, n=upload.version)
        events = await fail(self.store, version, "upload", reason, remedy, database=self.database, clock=self.clock)
        self.announcer.soon(events, upload.id)

    async def _abandon(self, upload: Upload, error: Exception) -> None:
        failed = await self.store.uploads.update(
            upload.id,
            when={"state": "receiving"},
            set={"state": "failed", "updated": self.clock.now()},
        )
        if failed is not None:
            broke = f"The connection broke while {upload.name} was being sent."
            await self._failed(upload, broke if isinstance(error, Broken) else str(error), "Send the file again.")
            await self._remove_bytes(upload)

    # Storing and ending

    async def _store(self, upload: Upload, sending: Sending, feed: Feed, *, created: bool) -> Receipt:
        span = sending.span
        stored = Stored(noted_at=monotonic() if upload.stored else 0.0)

        async def note() -> None:
            if monotonic() - stored.noted_at >= PROGRESS_SECONDS:
                stored.noted_at = monotonic()
                await self._progress(upload, stored.unnoted())

        try:
            if span is None or on_grid(span, upload.chunk, upload.total):
                await self.storing.whole_chunks(upload, feed, stored, note)
            else:
                await self.storing.in_order(upload, feed, stored)
        except BaseException:
            if (new := stored.unnoted()) > 0:
                await self._progress(upload, new)
            raise
        digests = self.running.of(upload.id)
        total = stored.stop if span is None else upload.total
        ended: dict[str, Any] = {"total": total}
        if digests.length == total:
            ended |= {"md5": digests.md5, "sha256": digests.sha256}
        ended |= {f"claimed_{name}": claim for name, claim in sending.claims.items()}
        upload = await self._progress(upload, stored.unnoted(), ended)
        if upload.state == "receiving" and (stored.repeated or upload.stored >= upload.total):
            upload = await self._end(upload)
        if upload.state == "failed":
            await self._refuse_ended(upload)
        return Receipt(upload, Span(0 if span is None else span.start, stored.stop), created, digests)

    async def _progress(self, upload: Upload, new: int, fields: dict[str, Any] | None = None) -> Upload:
        """Counts stored bytes. Where the upload was cancelled meanwhile, removes them and raises a 410."""
        now = self.clock.now()
        changed = await self.store.uploads.update(
            upload.id, when={"state": "receiving"}, set={**(fields or {}), "updated": now}, inc={"stored": new}
        )
        if changed is None:
            current = await self.store.uploads.get(upload.id)
            if current is None or current.state == "expired":
                await self._remove_bytes(upload)
                await self._refuse_ended(upload.model_copy(update={"state": "expired"}))
            return current or upload
        version = await self.store.versions.update(
            VersionId(image=upload.image, n=upload.version),
            when={"state": "uploading"},
            set={"stages.upload.done": changed.stored, "stages.upload.total": changed.total, "updated": now},
        )
        if version is None:
            await self._appear(changed)
        return changed

    async def _end(self, upload: Upload) -> Upload:
        """Completes the upload if every byte is there; answers after a while even if the digests take longer."""
        held = await self.storing.held(upload)
        exact = stored_bytes(held.spans)
        if exact != upload.stored:
            changed = await self.store.uploads.update(
                upload.id, when={"state": "receiving", "stored": upload.stored}, set={"stored": exact}
            )
            upload = changed or upload
        if exact < upload.total:
            return upload
        task = asyncio.create_task(self._seal(upload))
        self._sealing.add(task)
        task.add_done_callback(self._sealing.discard)
        await asyncio.wait([task], timeout=SEAL_SECONDS)
        if task.done():
            task.result()
        return await self.store.uploads.get(upload.id) or upload

    async def resume(self) -> None:
        """Ends uploads whose last request stored everything but did not live to say so."""
        now = self.clock.now()
        recent = await self.store.uploads.find(
            {"state": "receiving"}, sort="updated", after=(now - RESUMABLE, ""), limit=MOST_RESUMED
        )
        for upload in recent:
            unsaid = upload.total - upload.stored
            if upload.updated > now - UNANSWERED or upload.total == 0 or unsaid > AT_ONCE * upload.chunk:
                continue
            exact = stored_bytes((await self.storing.held(upload)).spans)
            if exact == upload.total:
                await self._end(await self._progress(upload, exact - upload.stored))

    async def _seal(self, upload: Upload) -> FileComplete | None:
        event = await seal(upload.id, store=self.store, blobs=self.blobs, database=self.database, clock=self.clock)
        if event is not None:
            self.announcer.soon([event], upload.id)
        self.running.forget(upload.id)
        if await self.blobs.info(tail_of(upload.id)) is not None:
            await self.blobs.delete(tail_of(upload.id))
        return event

    async def _remove_bytes(self, upload: Upload) -> None:
        self.running.forget(upload.id)
        await self.blobs.delete(upload.id)
        await self.blobs.delete(tail_of(upload.id))

    # Asking and cancelling

    async def held(self, upload: Upload) -> Held:
        """Exactly what is stored of an upload."""
        if upload.state in ("receiving", "verifying"):
            return await self.storing.held(upload)
        spans = [Span(0, upload.total)] if upload.state == "complete" and upload.total else []
        return Held(frozenset(), (), spans)

    async def cancel(self, upload: Upload) -> None:
        """Ends an upload and removes what there is of it, its image too. Harmless when repeated."""
        for state in ("receiving", "failed"):
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
        await self._vanish(upload)
        await self._remove_bytes(upload)
        await self.store.uploads.update(upload.id, when={"state": "expired"}, set={"announced": True})
