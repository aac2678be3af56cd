"""`dead`: the dead letters of the stack in a data folder, and letters in a file."""

import base64
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.layout import PREFIX
from services.ops.errors import CommandFailed, Misused
from services.ops.operator import operator
from services.ops.pipeline import Pipeline, pipeline_of
from shared import dead
from shared.audit import Audited
from shared.bus.letters import Letter
from shared.bus.rabbit import RabbitDeadLetters
from shared.bus.topology import STAGES
from shared.clock import SystemClock
from shared.dead import Selection


@dataclass(frozen=True)
class Graveyard:
    """The open stack with its dead letters."""

    pipeline: Pipeline
    letters: RabbitDeadLetters

    def audited(self, action: str, reason: str, selection: dict[str, Any]) -> Audited:
        """What will be noted of a run of an action."""
        return Audited(
            self.pipeline.store, SystemClock(), action=action, by=operator(), reason=reason, selection=selection
        )


@asynccontextmanager
async def graveyard_of(data: Path) -> AsyncIterator[Graveyard]:
    """The dead letters of the stack in a data folder; raises `StackUnreachable`."""
    async with pipeline_of(data) as pipeline:
        yield Graveyard(pipeline, RabbitDeadLetters(pipeline.amqp, PREFIX, pipeline.bus))


async def groups(graveyard: Graveyard, stage: str | None) -> list[dict[str, Any]]:
    """Every group of letters that died of the same, with its last letter as an example."""
    return [group.told() for group in await dead.groups(graveyard.letters, Selection(everything=True, stage=stage))]


async def show(graveyard: Graveyard, selection: Selection, limit: int) -> list[dict[str, Any]]:
    """The first `limit` of the selected letters, with headers and body."""
    found = []
    async with aclosing(dead.select(graveyard.letters, selection)) as letters:
        async for letter in letters:
            found.append(letter.whole())
            if len(found) == limit:
                break
    _expect(len(found), selection)
    return found


async def retry(graveyard: Graveyard, selection: Selection, reason: str) -> dict[str, Any]:
    """Send the selected letters again; returns how many, and the run of the audit."""
    audited = graveyard.audited("dead-retry", reason, selection.told())
    pipeline = graveyard.pipeline
    sent = await dead.retry(
        graveyard.letters, pipeline.bus, selection, stores=pipeline.stores, audited=audited, clock=SystemClock()
    )
    _expect(sent, selection)
    return {"sent": sent, "audit": audited.run}


async def discard(graveyard: Graveyard, selection: Selection, reason: str) -> dict[str, Any]:
    """Throw the selected letters away; returns how many, and the run of the audit."""
    audited = graveyard.audited("dead-discard", reason, selection.told())
    gone = await dead.discard(graveyard.letters, selection, audited=audited)
    _expect(gone, selection)
    return {"discarded": gone, "audit": audited.run}


async def export(graveyard: Graveyard, selection: Selection, file: Path) -> dict[str, Any]:
    """Write the selected letters, a JSON object a line, to a file that appears whole; they stay where they are."""
    count = 0
    fresh = file.with_name(f".{file.name}.part")
    with fresh.open("w") as lines:
        async for letter in dead.select(graveyard.letters, selection):
            print(json.dumps(letter.whole()), file=lines)
            count += 1
    if not selection.everything:
        _expect(count, selection)
    fresh.rename(file)
    return {"exported": count, "file": str(file)}


async def import_(
    graveyard: Graveyard, exported: Sequence[tuple[str, Letter]], name: str, *, again: bool, reason: str
) -> dict[str, Any]:
    """Put letters back, or send them again; returns how many were not there already as they are."""
    audited = graveyard.audited("dead-import", reason, {"file": name, "retry": again})
    done = await dead.bring_back(
        graveyard.letters,
        graveyard.pipeline.bus,
        exported,
        again=again,
        stores=graveyard.pipeline.stores,
        audited=audited,
        clock=SystemClock(),
    )
    return {"imported": done, "unchanged": len(exported) - done, "retried": again, "audit": audited.run}


def read(file: Path) -> list[tuple[str, Letter]]:
    """The letters of an exported file with the ids that they had; raises `CommandFailed` naming the line."""
    letters = []
    try:
        lines = (sys.stdin if str(file) == "-" else file.open()).read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CommandFailed(f"{file} can't be read ({why}): name what ./slidemill dead export wrote.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            letters.append(_read_line(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CommandFailed(
                f"Line {number} of {file} is no exported letter ({type(error).__name__}: {error}): "
                "mend it, or export anew. Nothing was sent."
            ) from error
    return letters


def _read_line(line: dict[str, Any]) -> tuple[str, Letter]:
    if line["stage"] not in STAGES:
        raise ValueError(f"there is no stage {line['stage']}")
    if line["event"] is not None:
        body = json.dumps(line["event"], separators=(",", ":"), ensure_ascii=False).encode()
    elif line["text"] is not None:
        body = str(line["text"]).encode()
    else:
        body = base64.b64decode(line["base64"], validate=True)
    return str(line["id"]), Letter.read(line["stage"], dict(line["headers"].items()), body)


def chosen(names: Sequence[str], *, everything: bool, stage: str | None) -> Selection:
    """The selection that was named; raises `Misused` if that is nothing or contradicts itself."""
    if everything == bool(names):
        raise Misused("Name letters or groups, or say --all: ./slidemill dead list shows them.")
    return Selection(frozenset(names), everything, stage)


def _expect(count: int, selection: Selection) -> None:
    if count == 0 and not selection.everything:
        raise CommandFailed(
            f"There is no dead letter or group {', '.join(sorted(selection.names))}: see ./slidemill dead list."
        )
