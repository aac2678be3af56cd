"""The runs of stores: begun by a tick, counted from the entries, and ended once everything in them is done.

One run of a store goes on at a time, and one more waits in line for its end. Whoever ends one announces the next.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from services.sync.core.waits import LONGEST_WAIT
from shared.clock import SKEW, Clock
from shared.events import Event, ScanStore
from shared.store import Greater, In, Less, Store
from shared.store.documents.folders import Example, FolderStore, Report, report_id
from shared.store.documents.ticks import Tick, newest_first

GOING_ON = ("waiting", "scanning", "importing")
KEPT = 100
MOST_EXAMPLES = 20
# Its message is lost, or whoever had it is dead: the broker itself gives back what a consumer holds for so long.
STILL = timedelta(minutes=35)
SHOWN = 5
_MOMENT = "%Y-%m-%d %H:%M:%S"


async def begin(store: Store, tick: Tick, due: datetime, *, database: str, clock: Clock) -> list[Event]:
    """Begins a run in each active store that the tick is about. Harmless when repeated: the same runs are announced.

    Where one is going on already, the new one comes after it; where one waits for that already, it is noted as missed.
    One that stands still is announced again.
    """
    where: dict[str, Any] = {"state": "active"}
    if tick.store is not None:
        where["_id"] = tick.store
    events: list[Event] = []
    async for watched in store.stores.each(where):
        run = report_id(watched.id, tick.id)
        if await store.reports.get(run) is None:
            others = await _going_on(store, watched.id)
            await store.reports.insert(_report(watched, run, tick, due, clock.now(), others))
            events += [_scan(other, database) for other in others[:1] if clock.now() - other.updated > STILL]
    return [*events, *await waiting(store, tick, database=database)]


async def waiting(store: Store, tick: Tick, *, database: str) -> list[Event]:
    """Announces what is to be begun so that the tick's own runs, of which nobody has begun, come to their turn."""
    reports = await store.reports.find({"tick": tick.id, "state": "waiting"})
    return [event for report in reports for event in await following(store, report.store, database=database)]


async def following(store: Store, watched: str, *, database: str) -> list[Event]:
    """Announces the store's run that waits for its turn, unless another is under way."""
    runs = await _going_on(store, watched)
    # What was inserted or ended meanwhile was so by somebody who comes here after it.
    return [_scan(runs[0], database)] if runs and all(run.state == "waiting" for run in runs) else []


async def _going_on(store: Store, watched: str) -> list[Report]:
    """The store's runs that have not ended: what is under way first, then the oldest."""
    runs = await store.reports.find({"store": watched, "state": In(GOING_ON)}, sort="order")
    return sorted(reversed(runs), key=lambda run: run.state == "waiting")


def _report(
    watched: FolderStore, run: str, tick: Tick, due: datetime, now: datetime, others: Sequence[Report]
) -> Report:
    report = Report(
        id=run,
        store=watched.id,
        tick=tick.id,
        name=watched.name or "",
        order=newest_first(due),
        due=due,
        started=now,
        updated=now,
    )
    if not others:
        return report
    first = f"The run of {others[0].due:{_MOMENT}} UTC was still going on"
    if len(others) == 1:
        return report.model_copy(update={"note": f"{first}: this one begins when that has ended."})
    note = f"{first}, and that of {others[1].due:{_MOMENT}} UTC comes after it."
    return report.model_copy(update={"state": "missed", "ended": now, "note": note})


def _scan(report: Report, database: str) -> ScanStore:
    return ScanStore(database=database, time=report.due, store=report.store, run=report.id)


async def forget(store: Store, *, limit: int) -> int:
    """Forgets what was known of the files of removed stores, of at most `limit` stores; returns of how many."""
    forgotten = 0
    for watched in await store.stores.find({"state": "removed"}):
        if forgotten < limit and await store.entries.count({"_id.store": watched.id}, limit=1):
            await store.entries.delete({"_id.store": watched.id})
            forgotten += 1
    return forgotten


async def finish(store: Store, run: str, clock: Clock, *, database: str) -> list[Event]:
    """Ends the run if none of its imports is left to do, and announces the next. Harmless when repeated."""
    report = await store.reports.get(run)
    if report is None:
        return []
    if report.state == "importing" and not await store.entries.count({"asked": run}, limit=1):
        now = clock.now()
        counts = await _counts(store, report, now)
        await store.reports.update(
            run, when={"state": "importing"}, set={**counts, "state": "done", "ended": now, "updated": now}
        )
        await _prune(store, report.store)
    elif report.state in GOING_ON:
        return []
    return await following(store, report.store, database=database)


async def end(store: Store, run: str, note: str, clock: Clock, *, database: str) -> list[Event]:
    """Ends a run that can't go on, saying why, and announces the next."""
    now = clock.now()
    ended = {"state": "done", "note": note, "again": None, "ended": now, "updated": now}
    await store.reports.update(run, when={"state": In(GOING_ON)}, set=ended)
    report = await store.reports.get(run)
    return await following(store, report.store, database=database) if report is not None else []


async def _counts(store: Store, report: Report, now: datetime) -> dict[str, Any]:
    """What the entries say about the run. `report` has what only its scan could see."""
    found = await store.entries.tally({"found_by": report.id}, ["found"])
    done = await store.entries.tally({"done_by": report.id}, ["outcome"])
    present = {"_id.store": report.store, "vanished": None}
    skipped = dict(report.skipped)
    states = await store.entries.tally({**present, "state": In(("waiting", "due", "duplicate"))}, ["state", "reason"])
    for (state, reason), count in states.items():
        named = reason or ("unstable" if state == "waiting" else None)
        if named is not None:
            skipped[named] = skipped.get(named, 0) + count
    examples = list(report.examples)
    for reason in skipped:
        states_of = ("waiting",) if reason == "incomplete" else ("due", "duplicate")
        named_so = await store.entries.find({**present, "state": In(states_of), "reason": reason}, limit=SHOWN)
        examples += [Example(path=e.id.path, reason=reason, detail=e.detail or e.id.path) for e in named_so]
    left = await store.entries.count({**present, "state": "due", "reason": None})
    note = f"{left:,} more files are due: the next runs take them in." if left else None
    taken = {"done_by": report.id, "outcome": In(("new", "changed"))}
    return {
        "new": found.get(("new",), 0),
        "vanished": found.get(("vanished",), 0),
        "back": found.get(("back",), 0),
        "changed": done.get(("changed",), 0),
        "moved": done.get(("moved",), 0),
        "imported": done.get(("new",), 0) + done.get(("changed",), 0),
        "failed": done.get(("refused",), 0) + done.get(("failed",), 0),
        "bytes": await store.entries.total(taken, "size"),
        "skipped": skipped,
        "examples": examples[:MOST_EXAMPLES],
        "note": note,
    }


async def _prune(store: Store, watched: str) -> None:
    newest = await store.reports.find({"store": watched}, sort="order", limit=KEPT)
    if len(newest) == KEPT:
        await store.reports.delete({"store": watched, "order": Greater(newest[-1].order)})


async def due_now(store: Store, watched: str, now: datetime, limit: int) -> list[Any]:
    """The ids of entries that may be imported now, at most `limit`: what was never tried comes first."""
    due = {"_id.store": watched, "state": "due", "vanished": None, "asked": None}
    found = await store.entries.find({**due, "next_try": None}, limit=limit)
    # What is dated further ahead was put off before a clock was set back.
    for next_try in (Less(now), Greater(now + LONGEST_WAIT + SKEW)):
        found += await store.entries.find({**due, "next_try": next_try}, limit=limit - len(found))
    return [entry.id for entry in found]
