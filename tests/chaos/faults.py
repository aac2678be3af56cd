"""The faults: processes killed outright or stopped for a while, lines that ail, messages nobody should have sent."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.chaos.pest import Pest
from tests.chaos.proxy import TOXICS
from tests.chaos.stack import SERVERS, Network

MOST_SERVER_FAULTS = 20
Status = dict[str, Any]


class Faults:
    """Breaks one thing at a time, chosen at random but reproducibly by seed; counts by kind in `done`.

    Each service and server is killed, each line ails and each pest comes once before anything comes again, so that a
    short run meets them all.
    """

    def __init__(self, status: Callable[[], Status], network: Network, pest: Pest, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._status = status
        self._network = network
        self._pest = pest
        self._random = rng
        self._first: list[Callable[[Status], bool]] | None = None

    def break_something(self) -> None:
        """One fault, if what it was to break is there. Waits only while it lasts."""
        status = self._status()
        if self._first is None:
            parts = sorted(part["name"] for part in (*status["services"], *status["servers"]))
            self._first = [partial(self._kill, name) for name in parts]
            self._first += [partial(self._ail, server) for server in SERVERS]
            self._first += [self._poison, self._double, self._pause]
            self._random.shuffle(self._first)
        if self._first:
            fault = self._first.pop()
            if not fault(status):
                self._first.insert(0, fault)
            return
        draw = self._random.random()
        if draw < 0.15:
            self._pause(status)
        elif draw < 0.30:
            self._ail(self._random.choice(SERVERS), status)
        elif draw < 0.36:
            self._poison(status)
        elif draw < 0.42:
            self._double(status)
        elif draw < 0.52:
            self._kill(self._random.choice(status["servers"])["name"], status)
        else:
            # Half of these go where the work is.
            workers = [part for part in status["services"] if part["name"].startswith(("dicer", "pyramid"))]
            self._kill(
                self._random.choice(workers if self._random.random() < 0.5 else status["services"])["name"], status
            )

    def _kill(self, name: str, status: Status) -> bool:
        is_server = name in {part["name"] for part in status["servers"]}
        if is_server and self.done[f"kill {name}"] >= MOST_SERVER_FAULTS:
            return False
        return self._signal(name, status, signal.SIGKILL) and self._count(f"kill {name}")

    def _pause(self, status: Status) -> bool:
        name = self._random.choice([*(part["name"] for part in status["services"]), *SERVERS])
        if not self._signal(name, status, signal.SIGSTOP):
            return False
        try:
            time.sleep(self._random.uniform(1, 4))
        finally:
            self._signal(name, status, signal.SIGCONT)
        return self._count(f"pause {name}")

    def _ail(self, server: str, status: Status) -> bool:
        toxic = self._random.choice(TOXICS)
        with self._network.ailing(server, toxic):
            time.sleep(self._random.uniform(1, 4))
        return self._count(f"{toxic} line to {server}")

    def _poison(self, status: Status) -> bool:
        return self._pest.send_poison() and self._count("poison")

    def _double(self, status: Status) -> bool:
        return self._pest.send_again() and self._count("doubled, reordered")

    def _count(self, kind: str) -> bool:
        self.done[kind] += 1
        return True

    def _signal(self, name: str, status: Status, number: signal.Signals) -> bool:
        """Whether there is such a process now, and it got the signal."""
        pid = next((p["pid"] for p in (*status["services"], *status["servers"]) if p["name"] == name), None)
        return pid is not None and _send(pid, number)

    def pause_between(self) -> None:
        """A breath between two faults, now and then too short for a restart to be over."""
        time.sleep(self._random.choice((0.2, 1, 2, 4)))


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
