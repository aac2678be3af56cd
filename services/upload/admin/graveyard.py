"""Dead letters through the gateway: one reader at a time, and long runs that go on after the answer.

A reader holds what it reads, so that a second one would not see it, nor would the queue count it. A run that is broken
off, by a restart of the gateway too, leaves the rest of the letters where they are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from shared import dead
from shared.audit import Audited
from shared.bus import Bus, Gauge
from shared.bus.letters import DeadLetters
from shared.clock import Clock
from shared.dead import Selection
from shared.errors import SlidemillError, Unavailable
from shared.store import Store

ANSWER_SECONDS = 10.0
MOST_SHOWN_BYTES = 100_000
Action = Literal["retry", "discard"]
log = structlog.get_logger()


class Busy(SlidemillError):
    """Letters are being sent again or thrown away already."""


@dataclass(frozen=True)
class Run:
    """Something that is being done with letters."""

    action: Action
    audited: Audited
    work: "asyncio.Task[int]"


class Graveyard:
    """The dead letters of this deployment; `stores` are the served databases by name."""

    def __init__(self, letters: DeadLetters, bus: Bus, stores: Mapping[str, Store], clock: Clock) -> None:
        self._letters = letters
        self._bus = bus
        self._stores = stores
        self._clock = clock
        self._alone = asyncio.Lock()
        self._counted: dict[str, int] = {}
        self._run: Run | None = None

    @property
    def run(self) -> Run | None:
        """What is under way."""
        return self._run if self._run is not None and not self._run.work.done() else None

    def counts(self, gauge: Gauge) -> dict[str, int]:
        """Letters of each stage; while they are being read, those of the last look, since held ones do not count."""
        now = {stage: queues.dead for stage, queues in gauge.stages.items() if queues is not None}
        if not self._alone.locked():
            self._counted = now
        return {**now, **self._counted}

    async def groups(self, stage: str | None) -> list[dict[str, Any]]:
        """Every group of letters that died of the same, the largest first."""
        async with self._alone:
            return [group.told() for group in await dead.groups(self._letters, Selection(everything=True, stage=stage))]

    async def show(self, name: str, limit: int) -> list[dict[str, Any]]:
        """The first `limit` letters of this id or group, whole."""
        found: list[dict[str, Any]] = []
        async with self._alone, aclosing(dead.select(self._letters, Selection(frozenset((name,))))) as letters:
            async for letter in letters:
                told = letter.whole()
                if len(letter.body) > MOST_SHOWN_BYTES:
                    told |= {"event": None, "text": None, "base64": None}
                found.append({**told, "bytes": len(letter.body)})
                if len(found) == limit:
                    break
        return found

    async def retry(self, selection: Selection, audited: Audited) -> Run:
        """Sends the selected letters again; returns when that has ended, or after 10 s while it goes on."""

        async def work() -> int:
            return await dead.retry(
                self._letters, self._bus, selection, stores=self._stores, audited=audited, clock=self._clock
            )

        return await self._begin("retry", audited, work)

    async def discard(self, selection: Selection, audited: Audited) -> Run:
        """Throws the selected letters away; otherwise as `retry`."""
        return await self._begin("discard", audited, lambda: dead.discard(self._letters, selection, audited=audited))

    async def _begin(self, action: Action, audited: Audited, work: Callable[[], Awaitable[int]]) -> Run:
        if (under_way := self.run) is not None:
            raise Busy(
                f"Dead letters are being worked on already ({under_way.action}, {under_way.audited.noted} done)."
            )

        async def alone() -> int:
            async with self._alone:
                return await work()

        task = asyncio.create_task(alone())
        task.add_done_callback(_log_end)
        self._run = Run(action, audited, task)
        await asyncio.wait([task], timeout=ANSWER_SECONDS)
        if task.done():
            task.result()
        return self._run

    async def close(self) -> None:
        """Ends what is under way where it is."""
        if (under_way := self.run) is not None:
            under_way.work.cancel()
            await asyncio.wait([under_way.work])


def _log_end(task: "asyncio.Task[int]") -> None:
    if task.cancelled():
        log.info("dead letters: broken off; the rest stay where they are")
    elif isinstance(error := task.exception(), Unavailable):
        log.warning("dead letters: broken off; the rest stay where they are", error=str(error))
    elif error is not None:
        log.error("dead letters: broken off by a bug; the rest stay where they are", exc_info=error)
