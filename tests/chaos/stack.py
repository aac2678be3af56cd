"""The local stack as a chaos run needs it: its services reach broker and database through proxies, and may crash.

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
from dataclasses import replace
from pathlib import Path

from deploy.local.children import Program
from deploy.local.stack import Stack, run_until_signalled
from deploy.local.state import read_state
from shared.bus.crash import VARIABLE
from tests.chaos.proxy import Proxy, Toxic, running
from tests.running import ROOT, RunningStack, command, eventually

START_SECONDS = 120
SERVERS = ("mongod", "rabbitmq")


class FrailStack(Stack):
    """Every service gets the proxies' ports instead of the servers', and passes the named crash point so often."""

    def __init__(self, data: Path, *, workers: Mapping[str, int], through: Mapping[str, int], crash: str) -> None:
        super().__init__(data, workers=workers)
        self._through = through
        self._crash = crash

    def _service(self, name: str, module: str, port: int) -> Program:
        program = super()._service(name, module, port)
        environment = dict(program.environment)
        environment["SLIDEMILL_AMQP"] = _moved(environment["SLIDEMILL_AMQP"], self._through.get("rabbitmq"))
        mongodb = _moved(environment["SLIDEMILL_MONGODB"], self._through.get("mongod"))
        # A client of the set would ask it for its address, and go there past the proxy.
        environment["SLIDEMILL_MONGODB"] = mongodb.replace("replicaSet=slidemill", "directConnection=true")
        if self._crash:
            environment[VARIABLE] = self._crash
        return replace(program, environment=environment)


def _moved(url: str, port: int | None) -> str:
    """The URL with another port."""
    if port is None:
        return url
    before, _, rest = url.rpartition("@")
    host, _, path = rest.partition("/")
    return f"{before}@{host.partition(':')[0]}:{port}/{path}"


@contextmanager
def frail_stack(workers: Mapping[str, int], crash: str = "") -> Iterator[tuple[RunningStack, "Network"]]:
    """Starts it with a proxy before each server, in a folder of its own; afterwards all of it goes."""
    folder = Path(tempfile.mkdtemp(prefix="slidemill-chaos-"))
    proxies = {server: Proxy(lambda server=server: _port(folder, server)) for server in SERVERS}  # type: ignore[misc]
    try:
        with running(*proxies.values()) as loop:
            through = {server: proxy.port for server, proxy in proxies.items()}
            options = ["--data", str(folder), "--workers", json.dumps(workers), "--through", json.dumps(through)]
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.stack", *options, "--crash", crash],
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
                yield RunningStack(folder), Network(proxies, loop)
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


def main() -> None:
    """Runs the stack until it is signalled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=json.loads, default={})
    parser.add_argument("--through", type=json.loads, default={})
    parser.add_argument("--crash", default="")
    given = parser.parse_args()
    stack = FrailStack(given.data, workers=given.workers, through=given.through, crash=given.crash)

    async def stay(_: Stack) -> None:
        await asyncio.Event().wait()

    try:
        asyncio.run(run_until_signalled(stack, stay))
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()
