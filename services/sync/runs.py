"""The runs of stores: begun by a tick, counted from the entries, and ended once everything in them is done."""

from datetime import datetime, timedelta
from typing import Any

from shared.clock import Clock
from shared.events import Event, ScanStore
from shared.store import Greater, In, Less, Store
from shared.store.documents import Tick
from shared.store.folders import Example, FolderStore, Report, report_id, report_order

GOING_ON = ("waiting", "scanning", "importing")
KEPT = 100
MOST_EXAMPLES = 20
# Its message is lost, or whoever had it is dead: the broker itself gives back what a consumer holds for so long.
STILL = timedelta(minutes=35)
_SHOWN = 5


async def begin(store: Store, tick: Tick, due: datetime, *, database: str, clock: Clock) -> list[Event]:
    """Begins a run in each active store that the tick is about. Harmless when repeated: the same runs are announced.

    Where one is going on already, the new one is noted as missed; one that stands still is announced again.
    """
    where: dict[str, Any] = {"state": "active"}
    if tick.store is not None:
        where["_id"] = tick.store
    events: list[Event] = []
    async for watched in store.stores.each(where):
        run = report_id(watched.id, tick.id)
        if await store.reports.get(run) is None:
            others = await store.reports.find({"store": watched.id, "state": In(GOING_ON)}, limit=1)
            await store.reports.insert(_report(watched, run, tick, due, clock, others[0] if others else None))
            if others and clock.now() - others[0].updated > STILL:
                events.append(_scan(others[0], database))
    return [*events, *await waiting(store, tick, database=database)]


async def waiting(store: Store, tick: Tick, *, database: str) -> list[Event]:
    """Announces again the tick's runs that nobody has begun."""
    return [_scan(report, database) for report in await store.reports.find({"tick": tick.id, "state": "waiting"})]


def _report(watched: FolderStore, run: str, tick: Tick, due: datetime, clock: Clock, other: Report | None) -> Report:
    now = clock.now()
    report = Report(
        id=run,
        store=watched.id,
        tick=tick.id,
        name=watched.name or "",
        order=report_order(due),
        due=due,
        started=now,
        updated=now,
    )
    if other is None:
        return report
    note = f"The run of {other.due:%Y-%m-%d %H:%M:%S} UTC was still going on."
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


async def finish(store: Store, run: str, clock: Clock) -> None:
    """Ends the run if none of its imports is left to do. Harmless when repeated."""
    report = await store.reports.get(run)
    if report is None or report.state != "importing" or await store.entries.count({"asked": run}, limit=1):
        return
    now = clock.now()
    counts = await _counts(store, report, now)
    await store.reports.update(
        run, when={"state": "importing"}, set={**counts, "state": "done", "ended": now, "updated": now}
    )
    await _prune(store, report.store)


async def end(store: Store, run: str, note: str, clock: Clock) -> None:
    """Ends a run that can't go on, saying why."""
    now = clock.now()
    ended = {"state": "done", "note": note, "ended": now, "updated": now}
    await store.reports.update(run, when={"state": In(GOING_ON)}, set=ended)


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
        named_so = await store.entries.find(
            {**present, "state": In(("due", "duplicate")), "reason": reason}, limit=_SHOWN
        )
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
    found += await store.entries.find({**due, "next_try": Less(now)}, limit=limit - len(found))
    return [entry.id for entry in found]
