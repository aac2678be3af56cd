"""Summed memory of each service with its children, sampled ten times a second."""

import threading
from collections.abc import Mapping
from types import TracebackType

import psutil

INTERVAL = 0.1


def _resident(pids: Mapping[str, int]) -> dict[str, int]:
    """Bytes resident in each process and all its descendants; pages they share count for each of them.

    The list of processes is read once for all, so that looking costs the measured ones little.
    """
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for process in psutil.process_iter():
        try:
            parents[process.pid] = process.ppid()
        except psutil.NoSuchProcess:
            continue
    totals = dict.fromkeys(pids, 0)
    for name, root in pids.items():
        for pid in parents:
            ancestor: int | None = pid
            while ancestor is not None and ancestor != root:
                ancestor = parents.get(ancestor)
            if ancestor == root:
                if pid not in sizes:
                    try:
                        sizes[pid] = psutil.Process(pid).memory_info().rss
                    except psutil.NoSuchProcess:
                        sizes[pid] = 0
                totals[name] += sizes[pid]
    return totals


class MemoryWatch:
    """While the context is open, keeps the highest sum seen for each named process: `peaks` in bytes."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.peaks = dict.fromkeys(pids, 0)
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            for name, total in _resident(self._pids).items():
                self.peaks[name] = max(self.peaks[name], total)
            self._stop.wait(INTERVAL)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
