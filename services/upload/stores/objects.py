"""Documents about folder stores turned into the objects of the interface. Pure."""

from collections.abc import Sequence
from typing import Any

from shared.store.documents.folders import FolderStore, Report
from shared.store.documents.ticks import Tick
from shared.store.view import moment

COUNTS = ("seen", "new", "changed", "moved", "vanished", "back", "imported", "failed", "bytes")


def housekeeping(tick: Tick | None) -> dict[str, int]:
    """The counts of what a tick did besides looking at stores."""
    report = tick.report if tick is not None else {}
    return {name: count for name, count in report.items() if isinstance(count, int)}


def report_object(report: Report, tick: Tick | None) -> dict[str, Any]:
    """The report, with the housekeeping of its tick."""
    return {
        "store": report.name,
        "tick": moment(report.due),
        "state": report.state,
        "started": moment(report.started),
        "ended": moment(report.ended),
        **{name: getattr(report, name) for name in COUNTS},
        "skipped": report.skipped,
        "seconds": round((report.ended - report.started).total_seconds(), 3) if report.ended else None,
        "examples": [example.model_dump() for example in report.examples],
        "note": report.note,
        "housekeeping": housekeeping(tick),
    }


def store_object(store: FolderStore, last: dict[str, Any] | None) -> dict[str, Any]:
    """The store, with the report object of its newest run."""
    return {
        "name": store.name,
        "kind": store.kind,
        "root": store.root,
        "session": store.session,
        "include": list(store.include),
        "exclude": list(store.exclude),
        "quality": store.quality,
        "subsampling": store.subsampling,
        "state": store.state,
        "owner": store.owner,
        "created": moment(store.created),
        "last": last,
    }


def tick_object(tick: Tick, store: str | None, reports: Sequence[Report]) -> dict[str, Any]:
    """The tick, which is done once every run that it caused is."""
    ended = [report.ended for report in reports]
    done = tick.done and all(ended)
    last = max([end for end in (*ended, tick.ended) if end is not None], default=None)
    error = tick.report.get("error")
    return {
        "tick": moment(tick.due),
        "store": store,
        "state": "missed" if tick.missed and not tick.done else "done" if done else "running",
        "started": moment(tick.started),
        "ended": moment(last) if done else None,
        "housekeeping": housekeeping(tick),
        "reports": [report_object(report, tick) for report in reports],
        "error": f"{error} {tick.report.get('remedy', '')}".strip() if error else None,
    }
