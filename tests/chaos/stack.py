"""The local stack as a chaos run needs it: lines that ail, small disks, a clock that jumps, services that crash.

As a program it is the stack's own process: `python -m tests.chaos.stack --data DIR --through '{"rabbitmq": 1234}' …`
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local.children import Program
from deploy.local.stack import Stack, run_until_signalled
from deploy.local.state import State, read_state
from shared.bus.crash import VARIABLE
from shared.clock import OFFSET_FILE
from tests.chaos.disk import DISKS, RESERVE_BYTES, Disk, can_mount, with_disks
from tests.chaos.proxy import Proxy, Toxic, running
from tests.running import ROOT, RunningStack, command, eventually

START_SECONDS = 120
SERVERS = ("mongod", "rabbitmq")
WORKERS = {"dicer": 2, "pyramid": 2}
# Where a service ends as if killed, and at which pass; again and again.
CRASHES = {
    "dicer": "before-publish:40",
    "dicer-2": "after-last-block:12",
    "pyramid": "after-publish:40",
    "pyramid-2": "after-last-block:12",
}
OFFSET = "clock-offset"


class FrailStack(Stack):
    """Every service gets the proxies' ports instead of the servers', the run's clock, and its crash point."""

    def __init__(self, data: Path, *, workers: Mapping[str, int], through: Mapping[str, int]) -> None:
        super().__init__(data, workers=workers)
        self._through = through

    def _service(self, name: str, module: str, port: int) -> Program:
        program = super()._service(name, module, port)
        environment = dict(program.environment)
        environment["SLIDEMILL_AMQP"] = _moved(environment["SLIDEMILL_AMQP"], self._through.get("rabbitmq"))
        mongodb = _moved(environment["SLIDEMILL_MONGODB"], self._through.get("mongod"))
        # A client of the set would ask it for its address, and go there past the proxy.
        environment["SLIDEMILL_MONGODB"] = mongodb.replace("replicaSet=slidemill", "directConnection=true")
        environment[VARIABLE] = CRASHES.get(name, "")
        environment[OFFSET_FILE] = str(self.data / OFFSET)
        environment["SLIDEMILL_DISK_RESERVE_BYTES"] = str(RESERVE_BYTES)
        return replace(program, environment=environment)


def _moved(url: str, port: int | None) -> str:
    """The URL with another port."""
    if port is None:
        return url
    before, _, rest = url.rpartition("@")
    host, _, path = rest.partition("/")
    return f"{before}@{host.partition(':')[0]}:{port}/{path}"


@dataclass(frozen=True)
class Frail:
    """The running stack, and everything of it that can ail; no disks where they can't be mounted."""

    stack: RunningStack
    network: "Network"
    clock: "SettableClock"
    disks: Mapping[str, Disk]

    def state(self) -> State:
        """Its processes at this moment."""
        state = read_state(self.stack.data)
        if state is None:
            raise RuntimeError("The stack's state has gone.")
        return state


@contextmanager
def frail_stack() -> Iterator[Frail]:
    """Starts it in a folder of its own, with a proxy before each server; afterwards all of it goes."""
    folder = Path(tempfile.mkdtemp(prefix="slidemill-chaos-"))
    proxies = {server: Proxy(lambda server=server: _port(folder, server)) for server in SERVERS}  # type: ignore[misc]
    try:
        with running(*proxies.values()) as loop:
            through = {server: proxy.port for server, proxy in proxies.items()}
            clock = SettableClock(folder / OFFSET)
            program = [sys.executable, "-m", "tests.chaos.stack", "--data", str(folder)]
            program += ["--through", json.dumps(through)]
            small_disks = can_mount()
            process = subprocess.Popen(
                with_disks(folder, program) if small_disks else program,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

            def ready() -> bool:
                if process.poll() is not None:
                    raise RuntimeError(f"the stack ended with exit code {process.returncode} before it was ready")
                state = read_state(folder)
                return state is not None and state.phase == "ready"

            try:
                eventually(ready, START_SECONDS, "the stack is not ready")
                disks = {name: Disk(process.pid, folder / below) for name, (below, _) in DISKS.items()}
                yield Frail(RunningStack(folder), Network(proxies, loop), clock, disks if small_disks else {})
            finally:
                command(folder, "down")
                process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _port(folder: Path, server: str) -> int:
    return int(json.loads((folder / "ports.json").read_text())[server])


class Network:
    """The lines to the servers."""

    def __init__(self, proxies: Mapping[str, Proxy], loop: asyncio.AbstractEventLoop) -> None:
        self._proxies = proxies
        self._loop = loop

    @contextmanager
    def ailing(self, server: str, toxic: Toxic) -> Iterator[None]:
        """Lets the line to a server ail for as long as the context lasts."""
        proxy = self._proxies[server]
        self._loop.call_soon_threadsafe(proxy.poison, toxic)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(proxy.heal)


class SettableClock:
    """The clock of every service, in the midst of their running: so many seconds before or behind this machine's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offset = 0.0
        self.set(0.0)

    def set(self, offset: float) -> None:
        """Sets it for all of them at once."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(offset))
        fresh.rename(self._file)
        self.offset = offset


def main() -> None:
    """Runs the stack until it is signalled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--through", type=json.loads, default={})
    given = parser.parse_args()
    stack = FrailStack(given.data, workers=WORKERS, through=given.through)

    async def stay(_: Stack) -> None:
        await asyncio.Event().wait()

    try:
        asyncio.run(run_until_signalled(stack, stay))
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()
