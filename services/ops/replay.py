"""`events`, `replay`, `reprocess`: what the journal holds, sent again, or processed anew."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.layout import PREFIX
from services.ops.errors import CommandFailed, Misused
from services.ops.operator import operator
from services.ops.pipeline import Pipeline
from shared import replay
from shared.audit import Audited
from shared.bus.journal import Entry, Wanted
from shared.bus.rabbit import RabbitJournal
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.events import EVENTS, Event
from shared.replay import NothingToReplay, Replay
from shared.reprocess import CannotReprocess, finish_again, renew, set_going
from shared.store.documents.images import Image
from shared.store.documents.uploads import Wish
from shared.store.view import moment

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
# Publishing is tried again for so long while the broker is away.
_PATIENCE = timedelta(minutes=5)


def point_in_time(text: str, now: datetime) -> datetime:
    """`2026-11-25T07:00` (UTC unless it says otherwise) or `90min`, `2h`, `7d` ago; raises ValueError. Pure."""
    for unit, seconds in _UNITS.items():
        number = text.removesuffix(unit)
        if number != text and number.isdecimal():
            return now - timedelta(seconds=int(number) * seconds)
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def event_type(name: str) -> str:
    """The name on the wire of `file-complete` or of that name itself; raises `Misused`."""
    known = {event.route.split(".", 1)[1]: type for type, event in EVENTS.items() if event.route.startswith("fact.")}
    if name in known.values():
        return name
    if name not in known:
        raise Misused(f"There is no fact {name}: it is one of {', '.join(known)}.")
    return known[name]


async def wanted(
    pipeline: Pipeline,
    *,
    since: datetime | None,
    until: datetime | None,
    types: Iterable[str],
    images: Iterable[str],
    session: str | None,
    database: str | None,
) -> Wanted:
    """The selection that was named; a session's images are those that the databases have now."""
    of_session: list[Image] = []
    if session is not None:
        for store in pipeline.stores.values():
            of_session += await store.images.find({"session": session})
    return Wanted(
        since=since,
        until=until,
        types=frozenset(map(event_type, types)),
        images=frozenset(images),
        session=session,
        of_session=frozenset(image.id for image in of_session),
        database=database,
    )


async def events(pipeline: Pipeline, selection: Wanted) -> AsyncIterator[dict[str, Any]]:
    """The selected facts of the journal, oldest first."""
    async with aclosing(RabbitJournal(pipeline.amqp, PREFIX).read(selection.since)) as entries:
        async for entry in entries:
            if entry.event is not None and selection.takes(entry.event):
                yield told(entry, entry.event)


def told(entry: Entry, event: Event) -> dict[str, Any]:
    """A fact for scripts: what every one has, and the rest of it under `data`."""
    data = event.model_dump(mode="json")
    common = {name: data.pop(name, None) for name in ("database", "image", "version", "session", "cause")}
    data.pop("time")
    time = moment(event.time)
    return {"offset": entry.offset, "id": event.id, "type": event.type, "time": time, **common, "data": data}


async def replay_images(
    pipeline: Pipeline, images: Iterable[str], *, dry_run: bool, rate: float | None, reason: str
) -> dict[str, Any]:
    """Send again what each image's next step waits for; raises `CommandFailed` at the first that can't be."""
    chosen = list(dict.fromkeys(images))
    audited = _audited(pipeline, "replay", reason, {"images": len(chosen)})
    found = replay.of_images(chosen, pipeline.stores, clock=SystemClock(), dry_run=dry_run)
    try:
        return await _replay(pipeline, found, audited, dry_run=dry_run, rate=rate)
    except NothingToReplay as refusal:
        raise CommandFailed(str(refusal)) from refusal


async def replay_journal(
    pipeline: Pipeline, selection: Wanted, *, failed: bool, dry_run: bool, rate: float | None, reason: str
) -> dict[str, Any]:
    """Send the selected facts again; with `failed`, let the failed versions among them go on."""
    if selection.database is not None and selection.database not in pipeline.stores:
        raise Misused(
            f"This deployment serves no database {selection.database}, where its events become dead letters: "
            f"name one of {', '.join(pipeline.stores)}, or start it with that one in SLIDEMILL_DATABASES."
        )
    chosen = {name: value for name, value in vars(selection).items() if value and name != "of_session"}
    chosen = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in chosen.items()}
    audited = _audited(pipeline, "replay", reason, {**chosen, "failed": failed})
    found = replay.of_journal(
        RabbitJournal(pipeline.amqp, PREFIX),
        selection,
        pipeline.stores,
        failed=failed,
        clock=SystemClock(),
        dry_run=dry_run,
    )
    return await _replay(pipeline, found, audited, dry_run=dry_run, rate=rate)


async def _replay(
    pipeline: Pipeline,
    found: AsyncIterator[Replay | Event] | AsyncIterator[Replay],
    audited: Audited,
    *,
    dry_run: bool,
    rate: float | None,
) -> dict[str, Any]:
    items = []
    unanswered = 0
    clock = SystemClock()
    async for one in found:
        if not isinstance(one, Replay):
            unanswered += 1
            continue
        if not dry_run:
            await _insist(lambda one=one: replay.send(one, pipeline.bus, audited))  # type: ignore[misc]
            if rate is not None:
                await clock.sleep(1 / rate)
        items.append(_sent(one))
    run = None if dry_run or not items else audited.run
    return {"items": items, "count": len(items), "unanswered": unanswered, "dry_run": dry_run, "audit": run}


def _sent(one: Replay) -> dict[str, Any]:
    event = one.event
    return {
        "image": event.correlation,
        "version": getattr(event, "version", None),
        "event": event.type,
        "id": event.id,
        "stage": one.stage,
        "state": one.state,
    }


async def reprocess(pipeline: Pipeline, image: str, *, from_finish: bool, wish: Wish, reason: str) -> dict[str, Any]:
    """Make a further version of an image, with tiles as wished, or finish its latest one again in place."""
    clock = SystemClock()
    about = {"image": image, "from": "finish" if from_finish else "dice", **wish.model_dump(exclude_none=True)}
    audited = _audited(pipeline, "reprocess", reason, about)
    await audited.note(image, image)
    database = await pipeline.home_of(image)
    store, blobs = pipeline.stores[database], pipeline.blobs[database]
    try:
        version = await (finish_again(store, image, clock) if from_finish else renew(store, blobs, image, clock, wish))
    except CannotReprocess as refusal:
        raise CommandFailed(str(refusal)) from refusal
    await set_going(version, pipeline.bus, database=database)
    return {"image": image, "version": version.id.n, "state": version.state, "audit": audited.run}


def _audited(pipeline: Pipeline, action: str, reason: str, selection: dict[str, Any]) -> Audited:
    return Audited(pipeline.store, SystemClock(), action=action, by=operator(), reason=reason, selection=selection)


async def _insist(step: Callable[[], Any]) -> None:
    """Does it as soon as the broker takes it; a selection of thousands is not broken off by a restart."""
    clock = SystemClock()
    deadline = clock.now() + _PATIENCE
    while True:
        try:
            await step()
            return
        except Unavailable:
            if clock.now() > deadline:
                raise
            await clock.sleep(1)
