"""What happened to an image, from what MongoDB, the journal and the audit keep of it; in words for a person. Pure.

MongoDB has what lasts: every fact of a version follows from its document, with the id and the time it was published
under. The journal adds, as far back as the broker keeps it, what documents forget: a failure that was overcome. The
audit adds what was done by hand. A fact that two of them know is told once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from shared.events import BaseDiced, Event, FileComplete, ImageEvent, ImageFailed, ImageReady, PyramidBuilt, StageName
from shared.repair import STAGE_IN_WORDS
from shared.stages.facts import announcement
from shared.stages.states import WORKING
from shared.store.documents.audits import Audit
from shared.store.documents.images import Image
from shared.store.documents.versions import State, Version
from shared.store.view import moment

Kind = Literal["fact", "step", "failure", "hand", "now"]
Source = Literal["database", "journal", "audit"]
BY_HAND = {
    "replay": "Sent again by hand",
    "reprocess": "Processed anew by hand",
    "dead-retry": "A dead letter of it was sent again by hand",
    "dead-discard": "A dead letter of it was thrown away by hand",
    "dead-import": "A dead letter of it was put back by hand",
}
STEPS: dict[StageName, str] = {"dice": "Cutting began", "fold": "Folding began", "finish": "Finishing began"}
# The state in which a version announces a fact, the stage that ended with it, and the one that then begins.
ANNOUNCED_IN: tuple[tuple[State, StageName, StageName], ...] = (
    ("dicing", "upload", "dice"),
    ("folding", "dice", "fold"),
    ("finishing", "fold", "finish"),
)
# Of what is the same to the clock: what a person did comes behind what the pipeline did, and a failure behind both.
RANK: dict[Kind, int] = {"fact": 0, "step": 0, "hand": 1, "failure": 2, "now": 3}
# What each fact, and each step of a stage, follows from.
FOLLOWS: dict[type[Event], tuple[type[Event], ...]] = {
    BaseDiced: (FileComplete,),
    PyramidBuilt: (BaseDiced,),
    ImageReady: (PyramidBuilt,),
}
BEGINS: dict[StageName, type[Event]] = {"dice": FileComplete, "fold": BaseDiced, "finish": PyramidBuilt}


@dataclass(frozen=True)
class Happening:
    """One line of the timeline. `follows` names the kinds of event that it follows from, `after` the one it was."""

    time: datetime
    version: int
    kind: Kind
    title: str
    detail: str | None = None
    event: Event | None = None
    follows: tuple[type[Event], ...] = ()
    after: str | None = None
    by: str | None = None
    source: Source = "database"

    def told(self) -> dict[str, Any]:
        """The item of the interface."""
        return {
            "time": moment(self.time),
            "version": self.version,
            "kind": self.kind,
            "title": self.title,
            "detail": self.detail,
            "event": self.event.id if self.event else None,
            "type": self.event.type if self.event else None,
            "after": self.after,
            "by": self.by,
            "source": self.source,
        }


def timeline(
    image: Image, versions: Sequence[Version], audits: Iterable[Audit], journal: Iterable[Event], database: str
) -> list[dict[str, Any]]:
    """Everything in order of time."""
    found: list[Happening] = []
    for version in versions:
        found += _of_version(image, version, database)
    known = {_same(one.event) for one in found if one.event is not None}
    for event in journal:
        if isinstance(event, ImageEvent) and _same(event) not in known:
            known.add(_same(event))
            found.append(_of_fact(event, "journal"))
    if image.cleared is not None:
        found.append(_came(image))
        removed = f"Their tiles and pictures gave way to version {image.current}."
        found.append(Happening(image.cleared, image.current, "step", "Older versions were removed", detail=removed))
    found += [
        Happening(
            audit.at,
            image.latest,
            "hand",
            BY_HAND.get(audit.action, audit.action),
            detail=audit.reason or None,
            by=audit.by,
            source="audit",
        )
        for audit in audits
    ]
    found.sort(key=lambda one: (one.kind == "now", one.time, RANK[one.kind]))
    return [one.told() for one in _linked(found)]


def _same(event: Event) -> tuple[str, str | None]:
    """What tells facts apart: one that failed twice in a stage has one id, and two times."""
    return event.id, moment(event.time)


def _came(image: Image) -> Happening:
    return Happening(image.created, 1, "step", "Its first bytes were stored")


def _of_version(image: Image, version: Version, database: str) -> list[Happening]:
    n, stages = version.id.n, version.stages
    found = [_came(image) if n == 1 else Happening(version.created, n, "step", f"Version {n} was begun")]
    for state, before, stage in ANNOUNCED_IN:
        # The fact with which a stage ended, as that state announces it, then the beginning of the next one.
        ended, started = getattr(stages, before).ended, getattr(stages, stage).started
        fact = announcement(version.model_copy(update={"state": state}), database) if ended is not None else None
        if isinstance(fact, ImageEvent):
            found.append(_of_fact(fact, "database"))
        if started is not None:
            found.append(Happening(started, n, "step", STEPS[stage], follows=(BEGINS[stage],)))
    about: dict[str, Any] = {"database": database, "image": version.id.image, "version": n}
    if version.state == "ready" and stages.finish.ended is not None:
        found.append(_of_fact(ImageReady(**about, time=stages.finish.ended), "database"))
    if version.state == "failed" and version.failure is not None:
        failed = ImageFailed(**about, time=version.updated, **version.failure.model_dump())
        found.append(_of_fact(failed, "database"))
    if version.state in WORKING.values():
        found.append(_now(version))
    return found


def _now(version: Version) -> Happening:
    stage = next(name for name, state in WORKING.items() if state == version.state)
    progress = getattr(version.stages, stage)
    what = STAGE_IN_WORDS.get(stage, "being sent")
    count = f"{progress.done:,} of {progress.total:,} {'bytes' if stage == 'upload' else 'tiles'}. "
    again = f"Announced again {version.reissues} times, since it stood still. " if version.reissues else ""
    detail = f"{count if progress.total else ''}{again}".strip() or None
    by = ", ".join(version.workers) or None
    return Happening(version.updated, version.id.n, "now", f"Last change while {what}", detail=detail, by=by)


def _of_fact(event: ImageEvent, source: Source) -> Happening:
    title, detail = _in_words(event)
    follows = FOLLOWS.get(type(event), ())
    if isinstance(event, ImageFailed) and event.stage in BEGINS:
        follows = (BEGINS[event.stage],)
    kind: Kind = "failure" if isinstance(event, ImageFailed) else "fact"
    return Happening(event.time, event.version, kind, title, detail=detail, event=event, follows=follows, source=source)


def _in_words(event: ImageEvent) -> tuple[str, str | None]:
    match event:
        case FileComplete():
            return "Arrived whole", f"{event.length:,} bytes, SHA-256 {event.sha256}"
        case BaseDiced():
            how = "copied from the scanner's file" if event.base == "copied" else "encoded anew"
            size = f"{event.geometry.width:,} × {event.geometry.height:,} px"
            return "Base level cut", f"{size}, tiles {how}{f': {event.base_reason}' if event.base_reason else ''}"
        case PyramidBuilt():
            sparse = f", {event.sparse:,} empty ones left out" if event.sparse else ""
            return "Every level built", f"{event.levels} levels, {event.stored:,} tiles{sparse}"
        case ImageReady():
            return "Ready", None
        case ImageFailed():
            where = STAGE_IN_WORDS.get(event.stage, "it was being sent")
            return f"Failed while {where}", f"{event.reason} {event.remedy}"
    return event.type, None


def _linked(found: Sequence[Happening]) -> list[Happening]:
    """Each with the newest event before it, of its version, that it follows from."""
    linked: list[Happening] = []
    for one in found:
        causes = [
            earlier.event.id
            for earlier in found
            if earlier.event is not None
            and isinstance(earlier.event, one.follows)
            and earlier.version == one.version
            and earlier.time <= one.time
        ]
        linked.append(replace(one, after=causes[-1]) if causes else one)
    return linked
