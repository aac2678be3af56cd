"""What is done with dead letters: grouped by cause, sent again, thrown away, put back; each safe to be broken off.

A letter leaves its queue only after what replaces it is confirmed by the broker and what was done is written down. So
whatever breaks off in between leaves the letter where it was, and at worst a message that comes twice.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from shared.audit import Audited
from shared.bus import Bus, Message
from shared.bus.envelope import encode, replaying, risen
from shared.bus.letters import DeadLetters, HeldLetter, Letter
from shared.bus.topology import STAGES
from shared.clock import Clock
from shared.events import ImageEvent
from shared.stages.facts import announcement, version_id
from shared.stages.failing import revive
from shared.stages.states import STAGE_OF_STATE
from shared.store import Store
from shared.store.documents.versions import Version


@dataclass(frozen=True)
class Selection:
    """Which letters are meant: those of these ids or groups, or `everything`; of one stage, if it is named."""

    names: frozenset[str] = frozenset()
    everything: bool = False
    stage: str | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether this letter is meant."""
        return self.everything or letter.id in self.names or letter.group in self.names

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages whose queues it concerns."""
        return tuple(stage for stage in STAGES if self.stage in (None, stage))

    def told(self) -> dict[str, Any]:
        """The selection for the audit."""
        return {"names": sorted(self.names), "all": self.everything, "stage": self.stage}


@dataclass
class Group:
    """Letters of one stage and type that died of the same: how many, from when to when, and the last one of them."""

    example: Letter
    count: int = 0
    first: str | None = None
    last: str | None = None

    def add(self, letter: Letter) -> None:
        """Counts a letter in."""
        self.count += 1
        self.first = min(filter(None, (self.first, letter.first)), default=None)
        # Of those that died at the same moment always the same one, in whatever order they come.
        if letter.last is not None and (letter.last, letter.id) >= (self.last or "", self.example.id):
            self.last, self.example = letter.last, letter

    def told(self) -> dict[str, Any]:
        """The group for people and scripts."""
        return {
            "group": self.example.group,
            "stage": self.example.stage,
            "cause": self.example.cause,
            "type": self.example.type,
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "example": self.example.summary(),
        }


async def groups(letters: DeadLetters, selection: Selection) -> list[Group]:
    """Every group of the selected letters, the largest first. Holds one letter of each in memory."""
    found: dict[str, Group] = {}
    async with aclosing(_each(letters, selection)) as chosen:
        async for held in chosen:
            found.setdefault(held.letter.group, Group(held.letter)).add(held.letter)
    return sorted(found.values(), key=lambda group: -group.count)


async def select(letters: DeadLetters, selection: Selection) -> AsyncGenerator[Letter, None]:
    """The selected letters, about in their order; they stay where they are."""
    async with aclosing(_each(letters, selection)) as chosen:
        async for held in chosen:
            yield held.letter


async def retry(
    letters: DeadLetters,
    bus: Bus,
    selection: Selection,
    *,
    stores: Mapping[str, Store],
    audited: Audited,
    clock: Clock,
) -> int:
    """Sends the selected letters again, behind other work, with all their tries; returns how many.

    A version that had failed goes back to the stage it failed in: then the fact that all of that stage's open work
    follows from is sent, rather than one message of many. `stores` are the served databases by name.
    """
    sent = 0
    async with aclosing(_each(letters, selection)) as chosen:
        async for held in chosen:
            await audited.note(_subject(held.letter), held.letter.image)
            await _send(letters, bus, held.letter, stores, audited, clock)
            await held.remove()
            sent += 1
    return sent


async def discard(letters: DeadLetters, selection: Selection, *, audited: Audited) -> int:
    """Throws the selected letters away; returns how many. What they were stays in the audit."""
    gone = 0
    async with aclosing(_each(letters, selection)) as chosen:
        async for held in chosen:
            await audited.note(_subject(held.letter), held.letter.image)
            await held.remove()
            gone += 1
    return gone


async def bring_back(
    letters: DeadLetters,
    bus: Bus,
    exported: Sequence[tuple[str, Letter]],
    *,
    again: bool,
    stores: Mapping[str, Store],
    audited: Audited,
    clock: Clock,
) -> int:
    """Puts exported letters, as they have been edited since, in the place of those of the same id; returns how many.

    With `again` they are sent to their stage instead. Those that lie there already as they are stay untouched, so a
    repeat does no harm.
    """
    there = {letter.id async for letter in select(letters, Selection(everything=True))}
    done = 0
    replaced = set()
    for id, edited in exported:
        letter = _consistent(edited)
        if again or letter.id not in there:
            await audited.note(_subject(letter), letter.image)
            if again:
                await _send(letters, bus, letter, stores, audited, clock)
            else:
                await letters.bury(letter.stage, letter.headers, letter.body)
            done += 1
        if id in there and (again or id != letter.id):
            replaced.add(id)
    async with aclosing(_each(letters, Selection(names=frozenset(replaced)))) as chosen:
        async for held in chosen:
            await held.remove()
    return done


async def _each(letters: DeadLetters, selection: Selection) -> AsyncGenerator[HeldLetter, None]:
    for stage in selection.stages:
        async with aclosing(letters.each(stage)) as queue:
            async for held in queue:
                if selection.takes(held.letter):
                    yield held


async def _send(
    letters: DeadLetters, bus: Bus, letter: Letter, stores: Mapping[str, Store], audited: Audited, clock: Clock
) -> None:
    marks = replaying(audited.run, audited.by, audited.reason)
    revived = await _revived(letter, stores, clock)
    fact = announcement(revived, letter.event.database) if revived is not None and letter.event is not None else None
    if revived is not None and fact is not None:
        await bus.publish_to(STAGE_OF_STATE[revived.state], "bulk", [Message(fact, marks)])
    else:
        await letters.send(letter.stage, risen(letter.headers, marks), letter.body)


async def _revived(letter: Letter, stores: Mapping[str, Store], clock: Clock) -> Version | None:
    """The letter's version, if it had failed and is the image's latest and now goes on."""
    event = letter.event
    if not isinstance(event, ImageEvent) or event.database not in stores:
        return None
    store = stores[event.database]
    version, image = await store.versions.get(version_id(event)), await store.images.get(event.image)
    if version is None or version.state != "failed" or image is None or image.latest != version.id.n:
        return None
    revived = await revive(store, version, clock)
    return revived if revived.state in STAGE_OF_STATE else None


def _consistent(letter: Letter) -> Letter:
    """The letter with the headers that follow from its event, which may have been edited."""
    event = letter.event
    if event is None:
        return letter
    headers, _ = encode(Message(event, {}))
    own = {name: value for name, value in headers.items() if name.startswith("ce-")}
    return replace(letter, headers={**letter.headers, **own})


def _subject(letter: Letter) -> str:
    about = " ".join(filter(None, (letter.type, letter.image)))
    return f"{letter.id} {letter.stage} {about or 'no event'}: {letter.cause}: {letter.detail[:300]}"
