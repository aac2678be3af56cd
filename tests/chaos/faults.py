"""The faults: processes killed or stopped, ailing lines, full disks, clocks that jump, messages nobody should send."""

import os
import random
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.chaos.disk import ALARM_BYTES, RESERVE_BYTES
from tests.chaos.pest import Pest, short_of_disk
from tests.chaos.proxy import TOXICS, Toxic
from tests.chaos.stack import SERVERS, Frail

# Kills, pauses, lines and disks together, of MongoDB as of RabbitMQ.
MOST_SERVER_FAULTS = 20
MOST_TOGETHER = 3
MOST_HOURS = 8
FULL_SECONDS = 8.0
ALARM_SECONDS = 30.0
PAUSES = (0.5, 1, 2, 4, 8)
# Whether it was done: what it was to break may be away just then.
Fault = Callable[[], bool]


class Tally:
    """Counts faults by kind, for both hands; `full` once there were so many."""

    def __init__(self, most: int) -> None:
        self.by_kind: Counter[str] = Counter()
        self._by_server: Counter[str] = Counter()
        self._most = most
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """How many there were."""
        with self._lock:
            return self.by_kind.total()

    @property
    def full(self) -> bool:
        """Whether there were as many as there should be."""
        return self.total >= self._most

    def add(self, kind: str, server: str | None = None) -> bool:
        """Counts one, of a server if it is named; True, for the caller to return."""
        with self._lock:
            self.by_kind[kind] += 1
            if server is not None:
                self._by_server[server] += 1
        return True

    def spent(self, server: str) -> bool:
        """Whether this server has had its share."""
        with self._lock:
            return self._by_server[server] >= MOST_SERVER_FAULTS


class Hand(ABC):
    """Does one thing after the other until the tally is full: first everything once, then whatever it draws."""

    def __init__(self, frail: Frail, tally: Tally, seed: int) -> None:
        self._frail = frail
        self._tally = tally
        self._random = random.Random(seed)

    def begin(self) -> threading.Thread:
        """Lets it work in a thread of its own."""
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        first = self._once()
        self._random.shuffle(first)
        while not self._tally.full:
            if first:
                fault = first.pop()
                if not fault():
                    first.insert(0, fault)
            else:
                self._draw()()
            time.sleep(self._random.choice(PAUSES))

    @abstractmethod
    def _once(self) -> list[Fault]: ...

    @abstractmethod
    def _draw(self) -> Fault: ...

    def _strike(self, name: str, number: signal.Signals) -> bool:
        """Whether there is such a process now, and it got the signal."""
        state = self._frail.state()
        process = next((part.process for part in (*state.services, *state.servers) if part.name == name), None)
        if process is None:
            return False
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _stop_for_a_while(self, names: list[str]) -> list[str]:
        """Stops these for 1 to 4 s and wakes them; returns those that there were."""
        stopped = [name for name in names if self._strike(name, signal.SIGSTOP)]
        try:
            time.sleep(self._random.uniform(1, 4))
        finally:
            for name in stopped:
                self._strike(name, signal.SIGCONT)
        return stopped


class ServiceHand(Hand):
    """Kills and stops services, up to three at once."""

    def _once(self) -> list[Fault]:
        names = [part.name for part in self._frail.state().services]
        return [partial(strike, [name]) for name in names for strike in (self._kill, self._pause)]

    def _draw(self) -> Fault:
        services = [part.name for part in self._frail.state().services]
        # Half of them where the work is.
        workers = [name for name in services if name.startswith(("dicer", "pyramid"))]
        pool = workers if self._random.random() < 0.5 else services
        chosen = self._random.sample(pool, self._random.randint(1, MOST_TOGETHER))
        return partial(self._kill if self._random.random() < 0.65 else self._pause, chosen)

    def _kill(self, names: list[str]) -> bool:
        killed = [name for name in names if self._strike(name, signal.SIGKILL)]
        return any([self._tally.add(f"kill {name}") for name in killed])

    def _pause(self, names: list[str]) -> bool:
        return any([self._tally.add(f"pause {name}") for name in self._stop_for_a_while(names)])


class OtherHand(Hand):
    """Breaks servers, lines and disks, sets the clock, and sends what nobody should."""

    def __init__(self, frail: Frail, tally: Tally, seed: int, pest: Pest) -> None:
        super().__init__(frail, tally, seed)
        self._pest = pest

    def _once(self) -> list[Fault]:
        kills = [partial(self._kill, server) for server in (*SERVERS, "nginx")]
        pauses = [partial(self._pause, server) for server in SERVERS]
        lines = [partial(self._ail, server, toxic) for server in SERVERS for toxic in TOXICS]
        return [*kills, *pauses, *lines, *self._disks(), *self._others()]

    def _draw(self) -> Fault:
        server = self._random.choice([*SERVERS, "nginx"])
        of_server: list[Fault] = [partial(self._kill, server)]
        if server in SERVERS:
            of_server += [partial(self._pause, server), partial(self._ail, server, self._random.choice(TOXICS))]
        disks = self._disks()
        kinds = [of_server, self._others(), *([disks] if disks else [])]
        return self._random.choice(self._random.choices(kinds, weights=[5, 4, 2][: len(kinds)])[0])

    def _disks(self) -> list[Fault]:
        return [self._fill, self._fill_to_reserve, self._alarm] if self._frail.disks else []

    def _others(self) -> list[Fault]:
        return [self._poison, self._double, partial(self._set_clock, 1), partial(self._set_clock, -1)]

    def _kill(self, name: str) -> bool:
        return (
            not self._tally.spent(name)
            and self._strike(name, signal.SIGKILL)
            and self._tally.add(f"kill {name}", server=name)
        )

    def _pause(self, name: str) -> bool:
        return (
            not self._tally.spent(name)
            and bool(self._stop_for_a_while([name]))
            and self._tally.add(f"pause {name}", server=name)
        )

    def _ail(self, server: str, toxic: Toxic) -> bool:
        if self._tally.spent(server):
            return False
        with self._frail.network.ailing(server, toxic):
            time.sleep(self._random.uniform(1, 4))
        return self._tally.add(f"{toxic} line to {server}", server=server)

    def _fill(self) -> bool:
        """To the last byte: MongoDB can't write its journal, ends itself, and can't start until there is room again."""
        if self._tally.spent("mongod"):
            return False
        with self._frail.disks["mongod"].filled() as ballast:
            self._hold(ballast.grow)
        return self._tally.add("full disk of mongod", server="mongod")

    def _fill_to_reserve(self) -> bool:
        """Less than the gateways want to keep free, so that they take no new file; everything else goes on."""
        if self._tally.spent("mongod"):
            return False
        with self._frail.disks["mongod"].filled(RESERVE_BYTES // 2):
            self._hold(lambda: None)
        return self._tally.add("disk of mongod full but for the reserve", server="mongod")

    def _hold(self, meanwhile: Callable[[], None]) -> None:
        end = time.monotonic() + FULL_SECONDS
        while time.monotonic() < end:
            meanwhile()
            time.sleep(0.1)

    def _alarm(self) -> bool:
        """RabbitMQ is short of disk space, and takes nothing from publishers until there is room again."""
        if self._tally.spent("rabbitmq"):
            return False
        raised = False
        with self._frail.disks["rabbitmq"].filled(ALARM_BYTES):
            end = time.monotonic() + ALARM_SECONDS
            while not raised and time.monotonic() < end:
                time.sleep(0.2)
                with suppress(OSError, ValueError):
                    raised = short_of_disk(self._frail.state().management)
            time.sleep(self._random.uniform(1, 4))
        return raised and self._tally.add("disk alarm of rabbitmq", server="rabbitmq")

    def _set_clock(self, direction: int) -> bool:
        """By hours. Kept within bounds, so that no upload comes to be idle for a day."""
        bound = MOST_HOURS * 3600.0
        offset = self._frail.clock.offset + direction * self._random.uniform(1, MOST_HOURS) * 3600
        if abs(offset) > bound:
            return False
        self._frail.clock.set(offset)
        return self._tally.add("clock set forward" if direction > 0 else "clock set back")

    def _poison(self) -> bool:
        return self._pest.send_poison() and self._tally.add("poison")

    def _double(self) -> bool:
        return self._pest.send_again() and self._tally.add("doubled, reordered")
