"""The difference of two states of a folder: what a scan makes of files that it knew and of new ones."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from services.sync.core.looks import Look, Unit, seen
from shared.store.documents.entries import Entry, EntryId


@dataclass(frozen=True)
class Step:
    """What to do about a known entry. `set` holds the fields that change; what is forgotten is deleted instead."""

    kind: Literal["changed", "due", "vanished", "back", "forgotten", "learned"]
    set: dict[str, Any]


def fresh(store: str, path: str, look: Look, unit: Unit | None, *, token: str, now: datetime, run: str) -> Entry:
    """The entry of a slide that was never seen before."""
    folder, _, name = path.rpartition("/")
    return Entry(
        id=EntryId(store=store, path=path),
        folder=folder,
        name=name,
        token=token,
        looked=now,
        found_by=run,
        found="new",
        **_as_seen(look, unit or Unit()),
    )


def _as_seen(look: Look, unit: Unit) -> dict[str, Any]:
    """What an entry says of a slide that waits until it has looked the same for a while, or until it is whole."""
    return {
        **look._asdict(),
        "members": unit.members,
        "series": unit.series,
        "index": unit.index,
        "reason": "incomplete" if unit.lacks else "unstable",
        "detail": unit.lacks,
    }


def step(
    entry: Entry, look: Look | None, unit: Unit | None = None, *, now: datetime, stable: timedelta, run: str
) -> Step | None:
    """What becomes of an entry whose slide looks like this now, or is gone; None if all is as it was.

    A slide is due for import when it has looked the same for `stable` and lacks nothing.
    """
    if look is None:
        return _gone(entry, now, run)
    unit = unit or Unit()
    changed = look != seen(entry)
    if entry.state == "waiting" and entry.looked > now:
        # It was looked at before the clock was set back.
        changed = True
    # From the beginning: what was tried in vain before was tried with another file.
    anew = {
        "state": "waiting",
        "looked": now,
        "digest": None,
        "claim": None,
        "tries": 0,
        "next_try": None,
        **_as_seen(look, unit),
    }
    if entry.vanished is not None:
        again: dict[str, Any] = {"vanished": None, "found_by": run, "found": "back"}
        if entry.heir is not None:
            # Its image lives on at another path.
            lost = {"image": None, "version": 0, "sha256": None, "heir": None, "found": "new"}
            return Step("changed", {**again, **anew, **lost})
        return Step("back", again if entry.state == "imported" and not changed else {**again, **anew})
    if changed:
        return Step("changed", anew)
    if entry.state == "waiting" and entry.reason != "incomplete" and now - entry.looked >= stable:
        return Step("due", {"state": "due", "series": unit.series, "reason": None, "detail": None})
    if unit.series != entry.series:
        return Step("learned", {"series": unit.series})
    return None


def _gone(entry: Entry, now: datetime, run: str) -> Step | None:
    if entry.vanished is not None:
        return None
    if entry.image is None:
        return Step("forgotten", {})
    return Step("vanished", {"vanished": now, "asked": None, "claim": None, "found_by": run, "found": "vanished"})


def unchanged(entry: Entry) -> dict[str, Any]:
    """The condition under which a step may be taken: nobody has done anything about the entry meanwhile."""
    return {
        "state": entry.state,
        "size": entry.size,
        "mtime_ns": entry.mtime_ns,
        "signature": entry.signature,
        "looked": entry.looked,
        "vanished": entry.vanished,
        "image": entry.image,
    }
