"""Sending what was said before once more, so that whatever is missing is made; of a whole image nothing is.

A replayed event is the one it was: same id, same time, same content. Its headers say in which audited run, by whom and
why it was sent again. It goes straight to the stage that answers it, behind all other work, and not into the journal a
second time.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

from shared.audit import Audited
from shared.bus import Bus, Message
from shared.bus.envelope import TRACE, replaying
from shared.bus.journal import Journal, Wanted
from shared.bus.topology import STAGES
from shared.clock import Clock
from shared.errors import SlidemillError
from shared.events import Event, ImageEvent
from shared.stages.facts import announcement, version_id
from shared.stages.failing import revive, revived
from shared.stages.states import STAGE_OF_STATE
from shared.store import Store
from shared.store.documents.versions import State, Version, VersionId


class NothingToReplay(SlidemillError):
    """There is no such image, or it never arrived whole."""


@dataclass(frozen=True)
class Replay:
    """An event that is to be sent again, and to which stage; `state` is that of the version it concerns, if any."""

    event: Event
    stage: str
    state: State | None
    trace: str | None = None


def answering(event: Event) -> str | None:
    """The stage that answers an event; None for one that is only news."""
    return next((stage for stage, events in STAGES.items() if type(event) in events), None)


async def of_images(
    images: Iterable[str], stores: Mapping[str, Store], *, clock: Clock, dry_run: bool
) -> AsyncIterator[Replay]:
    """What the next step of each image's latest version waits for; a failed version first goes back to its stage.

    `stores` are the databases, by name, that are looked through for the images. Raises `NothingToReplay` before
    anything is done for that image.
    """
    for id in images:
        found = [(name, latest) for name, store in stores.items() if (latest := await _latest(store, id)) is not None]
        if not found:
            raise NothingToReplay(f"There is no image {id}: list them with ./slidemill images.")
        database, version = found[0]
        store = stores[database]
        replay = await _onward(version, store, database=database, clock=clock, dry_run=dry_run)
        if replay is None:
            raise NothingToReplay(
                f"{version.name} never arrived whole, so there is nothing to replay: upload it again."
            )
        yield replay


async def _latest(store: Store, id: str) -> Version | None:
    image = await store.images.get(id)
    return await store.versions.get(VersionId(image=image.id, n=image.latest)) if image is not None else None


async def of_journal(
    journal: Journal, wanted: Wanted, stores: Mapping[str, Store], *, failed: bool, clock: Clock, dry_run: bool
) -> AsyncIterator[Replay | Event]:
    """The wanted facts again, each with the stage that answers it; those that no stage answers come as they are.

    With `failed`, a fact about a version that has failed stands for that version, which goes back to the stage it
    failed in, once.
    """
    gone_on: set[tuple[str, VersionId]] = set()
    async for entry in journal.read(wanted.since):
        event = entry.event
        if event is None or not wanted.takes(event):
            continue
        if failed and isinstance(event, ImageEvent) and event.database in stores:
            store = stores[event.database]
            version = await store.versions.get(version_id(event))
            known = (event.database, version_id(event))
            if version is not None and version.state == "failed" and known not in gone_on:
                gone_on.add(known)
                replay = await _onward(version, store, database=event.database, clock=clock, dry_run=dry_run)
                if replay is not None:
                    yield replay
                    continue
        stage = answering(event)
        trace = entry.headers.get(TRACE)
        yield event if stage is None else Replay(event, stage, None, trace if isinstance(trace, str) else None)


async def send(replay: Replay, bus: Bus, audited: Audited) -> None:
    """Sends it, having noted so; raises `Unavailable`, and may then be repeated."""
    event = replay.event
    await audited.note(f"{event.id} {event.type} {event.correlation} to {replay.stage}", event.correlation)
    marks = replaying(audited.run, audited.by, audited.reason)
    headers = {**marks, **({TRACE: replay.trace} if replay.trace else {})}
    await bus.publish_to(replay.stage, "bulk", [Message(replay.event, headers)])


async def _onward(version: Version, store: Store, *, database: str, clock: Clock, dry_run: bool) -> Replay | None:
    version = revived(version, clock.now()) if dry_run else await revive(store, version, clock)
    event = announcement(version, database)
    return None if event is None else Replay(event, STAGE_OF_STATE.get(version.state, "dicer"), version.state)
