"""The faults: processes killed outright, or stopped for a while and woken."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

MOST_SERVER_FAULTS = 20
Status = dict[str, Any]


class Faults:
    """Breaks one thing at a time, chosen at random but reproducibly by seed; counts by kind in `done`.

    Every service and server is killed once before anything is killed again, so that a short run meets each.
    """

    def __init__(self, status: Callable[[], Status], seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._status = status
        self._random = random.Random(seed)
        self._unbroken: list[str] | None = None

    def break_something(self) -> None:
        """One fault. Waits only while a stopped process stays stopped."""
        status = self._status()
        parts = {part["name"]: part for part in (*status["services"], *status["servers"]) if part["pid"]}
        if self._unbroken is None:
            self._unbroken = sorted(parts)
            self._random.shuffle(self._unbroken)
        services = [part for part in status["services"] if part["pid"]]
        servers = [
            part for part in status["servers"] if part["pid"] and self.done[f"kill {part['name']}"] < MOST_SERVER_FAULTS
        ]
        draw = self._random.random()
        if services and draw < 0.15:
            self._pause(self._random.choice(services))
        elif self._unbroken:
            name = self._unbroken.pop()
            if name in parts:
                self._kill(parts[name])
            else:
                self._unbroken.insert(0, name)
        elif servers and draw < 0.25:
            self._kill(self._random.choice(servers))
        elif services:
            # Half of the kills go where the work is.
            workers = [part for part in services if part["name"].startswith(("dicer", "pyramid"))]
            self._kill(self._random.choice(workers if workers and self._random.random() < 0.5 else services))

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
