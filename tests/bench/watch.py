"""What processes use while they are watched: memory and processor time, each with its children."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple

import psutil

INTERVAL = 0.1


class Use(NamedTuple):
    """Bytes resident and seconds of processor time so far."""

    resident: int
    seconds: float


def _used(pids: Mapping[str, int]) -> dict[str, Use]:
    """What each process and all its descendants use; pages that they share count for each of them.

    The list of processes is read once for all, so that looking costs the measured ones little.
    """
    parents: dict[int, int] = {}
    for process in psutil.process_iter():
        try:
            parents[process.pid] = process.ppid()
        except psutil.NoSuchProcess:
            continue
    totals = dict.fromkeys(pids, Use(0, 0.0))
    for pid in parents:
        ancestor: int | None = pid
        while ancestor is not None:
            for name, root in pids.items():
                if ancestor == root:
                    one = _use_of(pid)
                    total = totals[name]
                    totals[name] = Use(total.resident + one.resident, total.seconds + one.seconds)
            ancestor = parents.get(ancestor)
    return totals


def _use_of(pid: int) -> Use:
    try:
        process = psutil.Process(pid)
        # A decoder child that was replaced lives on in its parent's sums.
        return Use(process.memory_info().rss, sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return Use(0, 0.0)


class Watch:
    """While the context is open, samples each named process: `peaks` are the highest sums of resident bytes.

    `interval` is in seconds.
    """

    def __init__(self, pids: Mapping[str, int], *, interval: float = INTERVAL) -> None:
        self.peaks = dict.fromkeys(pids, 0)
        self._pids = pids
        self._interval = interval
        self._samples: list[tuple[float, dict[str, Use]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.is_set():
            used = _used(self._pids)
            for name, use in used.items():
                self.peaks[name] = max(self.peaks[name], use.resident)
            self._samples.append((time.time(), used))
            self._stop.wait(self._interval)

    def seconds(self, start: float, end: float) -> dict[str, float]:
        """Processor time of each process between two times of the clock, to the accuracy of the samples."""
        before = max((sample for sample in self._samples if sample[0] <= start), default=self._samples[0])
        after = min((sample for sample in self._samples if sample[0] >= end), default=self._samples[-1])
        return {name: after[1][name].seconds - before[1][name].seconds for name in self._pids}

    def resident(self, at: float) -> dict[str, int]:
        """Bytes of each process in the first sample that is not before a time of the clock."""
        sample = min((sample for sample in self._samples if sample[0] >= at), default=self._samples[-1])
        return {name: use.resident for name, use in sample[1].items()}

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
