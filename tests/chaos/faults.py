"""The faults: processes killed outright, or stopped for a while and woken."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

SERVICES = ("upload", "dicer", "pyramid", "sync", "timer", "viewer")
MOST_SERVER_FAULTS = 20
Status = dict[str, Any]


class Faults:
    """Breaks one thing at a time, chosen at random but reproducibly by seed; counts by kind in `done`."""

    def __init__(self, status: Callable[[], Status], seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._status = status
        self._random = random.Random(seed)

    def break_something(self) -> None:
        """One fault. Waits only while a stopped process stays stopped."""
        status = self._status()
        running = [part for part in status["services"] if part["pid"]]
        servers = [
            part for part in status["servers"] if part["pid"] and self.done[f"kill {part['name']}"] < MOST_SERVER_FAULTS
        ]
        draw = self._random.random()
        if servers and draw < 0.1:
            self._kill(self._random.choice(servers))
        elif draw < 0.25 and running:
            self._pause(self._random.choice(running))
        elif running:
            # Half of the kills go where the work is.
            workers = [part for part in running if part["name"].startswith(("dicer", "pyramid"))]
            self._kill(self._random.choice(workers if workers and self._random.random() < 0.5 else running))

    def _kill(self, part: dict[str, Any]) -> None:
        if _send(part["pid"], signal.SIGKILL):
            self.done[f"kill {part['name']}"] += 1

    def _pause(self, part: dict[str, Any]) -> None:
        if _send(part["pid"], signal.SIGSTOP):
            try:
                time.sleep(self._random.uniform(1, 4))
            finally:
                _send(part["pid"], signal.SIGCONT)
            self.done[f"pause {part['name']}"] += 1

    def pause_between(self) -> None:
        """A breath between two faults, now and then too short for a restart to be over."""
        time.sleep(self._random.choice((0.2, 1, 2, 4)))


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
