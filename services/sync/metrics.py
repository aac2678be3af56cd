"""What the sync service tells at `/metrics`: ticks, the last run of each store, what this process has imported."""

from collections.abc import AsyncIterator, Mapping, Sequence

from shared.bus import Environment
from shared.metrics import Family
from shared.store import In, Less, Store
from shared.store.documents.entries import Outcome
from shared.store.documents.folders import FolderStore, Report

_COUNTS = ("seen", "new", "changed", "moved", "vanished", "back", "imported", "failed")


class Imports:
    """Counts what the imports of this process came to."""

    def __init__(self) -> None:
        self._files = Family(
            "slidemill_store_imports_total", "counter", "Files that this process has imported or tried to, by outcome."
        )
        self._bytes = Family(
            "slidemill_store_import_bytes_total", "counter", "Bytes of files that became an image or a version."
        )

    def count(self, database: str, store: FolderStore, outcome: Outcome, size: int) -> None:
        """One file of this store, of `size` bytes."""
        about = {"database": database, "store": store.name or ""}
        self._files.add(1, {**about, "outcome": outcome})
        self._bytes.add(size if outcome in ("new", "changed") else 0, about)

    async def families(self, environments: Mapping[str, Environment]) -> Sequence[Family]:
        """These counts, and of the served databases what ticks did, and each store's last run that has ended."""
        files = Family("slidemill_store_run_files", "gauge", "Files in the store's last run, by what it found or did.")
        skipped = Family(
            "slidemill_store_run_skipped", "gauge", "Files that the store's last run left aside, by reason."
        )
        size = Family("slidemill_store_run_bytes", "gauge", "Bytes that the store's last run imported.")
        seconds = Family("slidemill_store_run_seconds", "gauge", "Seconds that the store's last run took.")
        ended = Family("slidemill_store_run_ended_seconds", "gauge", "When it ended: seconds since 1970.")
        missed = Family("slidemill_ticks_missed", "gauge", "Ticks of the last 30 days that nobody did.")
        ticked = Family("slidemill_tick_ended_seconds", "gauge", "When the newest tick was done: seconds since 1970.")
        for database, environment in environments.items():
            ticks, done = environment.store.ticks, {"done": True, "missed": False, "order": Less(0)}
            missed.set(await ticks.count({"done": False, "missed": True}), {"database": database})
            for tick in await ticks.find(done, sort="order", limit=1):
                if tick.ended is not None:
                    ticked.set(tick.ended.timestamp(), {"database": database})
            async for store, report in _last_runs(environment.store):
                about = {"database": database, "store": store.name or ""}
                for count in _COUNTS:
                    files.set(getattr(report, count), {**about, "what": count})
                for reason, number in report.skipped.items():
                    skipped.set(number, {**about, "reason": reason})
                size.set(report.bytes, about)
                if report.ended is not None:
                    seconds.set((report.ended - report.started).total_seconds(), about)
                    ended.set(report.ended.timestamp(), about)
        return [missed, ticked, files, skipped, size, seconds, ended, self._files, self._bytes]


async def _last_runs(store: Store) -> AsyncIterator[tuple[FolderStore, Report]]:
    async for watched in store.stores.each({"state": In(("active", "paused"))}):
        for report in await store.reports.find({"store": watched.id, "state": "done"}, sort="order", limit=1):
            yield watched, report
