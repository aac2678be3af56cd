"""Children of the stack: in process sessions of their own, restarted by a fixed policy, ended without a trace."""

import asyncio
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.processes import Identity, identify, send, session_members

SETTLED = 20.0  # seconds up after which a death counts as the first one again


@dataclass(frozen=True)
class Program:
    """What to run: the command, what is added to the caller's environment, and the seconds SIGTERM is given."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path.cwd)
    grace: float = 15.0


class Child:
    """One running copy of a program, leader of its own process session, with its output appended to a log file."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.identity: Identity | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the program; raises OSError when it cannot be run."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.program.command,
                env={**os.environ, **self.program.environment},
                cwd=self.program.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.identity = identify(self._process.pid)

    async def ended(self) -> int:
        """Wait until the process is dead, reap it, and give its exit code."""
        process = self._running()
        loop = asyncio.get_running_loop()
        dead = asyncio.Event()
        descriptor = os.pidfd_open(process.pid)
        try:
            loop.add_reader(descriptor, dead.set)
            await dead.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return process.wait()

    def stop(self) -> None:
        """End it with SIGTERM, after its grace with SIGKILL, and its whole session; returns when all is gone."""
        process = self._running()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            descriptor = os.pidfd_open(process.pid)
            try:
                select.select([descriptor], [], [], self.program.grace)
            finally:
                os.close(descriptor)
        self.kill()

    def kill(self) -> None:
        """SIGKILL it and everything in its session; returns when all is gone."""
        process = self._running()
        if process.poll() is None:
            process.kill()
            process.wait()
        while members := session_members(process.pid):
            for pid in members:
                send(pid, signal.SIGKILL)
            time.sleep(0.01)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.program.name} was never started.")
        return self._process


class Restarts:
    """When a dead child starts again: at once, then after 0.5 s doubling to at most 5 s; anew once it was up long."""

    def __init__(self) -> None:
        self._deaths = 0

    def delay(self, up: float) -> float:
        """Seconds to wait before the next start of a child that died after `up` seconds."""
        if up >= SETTLED:
            self._deaths = 0
        self._deaths += 1
        return 0.0 if self._deaths == 1 else min(0.5 * 2 ** (self._deaths - 2), 5.0)


class Supervisor:
    """Keeps children alive until it is told to stop them; calls `changed` whenever a pid came or went."""

    def __init__(self, logs: Path, changed: Callable[[], None]) -> None:
        self._logs = logs
        self._changed = changed
        self._children: dict[str, Child] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}

    def identities(self) -> dict[str, Identity]:
        """Processes that run now, by the name of their program."""
        return {
            name: child.identity
            for name, child in self._children.items()
            if child.identity is not None and child.pid is not None
        }

    def start(self, program: Program) -> None:
        """Start a program and keep it alive; raises OSError when it cannot be run at all."""
        child = Child(program, self._logs / f"{program.name}.log")
        child.start()
        self._children[program.name] = child
        self._changed()
        self._keepers[program.name] = asyncio.create_task(self._keep(child), name=program.name)

    async def stop(self, names: Sequence[str]) -> None:
        """End the named children side by side; returns when their processes have gone."""
        keepers = [self._keepers.pop(name) for name in names if name in self._keepers]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        stopping = [self._children[name] for name in names if name in self._children]
        # A thread for each: none waits for its signal until another one has ended.
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=max(1, len(stopping))) as threads:
            await asyncio.gather(*(loop.run_in_executor(threads, child.stop) for child in stopping))
        self._changed()

    async def _keep(self, child: Child) -> None:
        restarts = Restarts()
        while True:
            since = time.monotonic()
            if child.pid is not None:
                await child.ended()
            self._changed()
            await asyncio.to_thread(child.kill)
            await asyncio.sleep(restarts.delay(time.monotonic() - since))
            _try_to_start(child)
            self._changed()


def _try_to_start(child: Child) -> None:
    try:
        child.start()
    except OSError as error:
        with child.log.open("a") as log:
            log.write(f"{child.program.name} cannot be run: {error}\n")
