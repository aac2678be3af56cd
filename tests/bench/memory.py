"""Summed memory of each service with its children, sampled ten times a second."""

import threading
from collections.abc import Mapping
from types import TracebackType

import psutil

INTERVAL = 0.1


def _resident(pid: int) -> int:
    """Bytes resident in a process and all its descendants; pages they share count for each of them."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


class MemoryWatch:
    """While the context is open, keeps the highest sum seen for each named process: `peaks` in bytes."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.peaks = dict.fromkeys(pids, 0)
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            for name, pid in self._pids.items():
                self.peaks[name] = max(self.peaks[name], _resident(pid))
            self._stop.wait(INTERVAL)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
