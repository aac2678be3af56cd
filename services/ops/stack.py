"""`up`, `down` and `status`: the local stack from a terminal or a script."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from deploy.local.layout import ROOT
from deploy.local.mongod import is_primary
from deploy.local.ports import accepts
from deploy.local.probes import answers_ready
from deploy.local.rabbitmq import speaks_amqp
from deploy.local.state import Part, State, read_state
from services.ops.errors import CommandFailed

START_LIMIT = 120.0


def up_detached(data: Path, port: int | None, workers: Mapping[str, int]) -> None:
    """Start the stack as a process of its own and return once every service is ready.

    Raises `CommandFailed` with the reason after everything that was started has stopped again.
    """
    running = read_state(data)
    if running is not None and running.supervisor.alive():
        if running.phase == "ready" and port is None and not workers:
            print(f"slidemill runs already at {running.url}", file=sys.stderr)
            return
        raise CommandFailed(f"The stack of {data} runs already: stop it with ./slidemill down first.")
    command = [sys.executable, "-m", "deploy.local", "--data", str(data), "--workers", json.dumps(workers)]
    if port is not None:
        command += ["--port", str(port)]
    log = data / "log" / "stack.log"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_ready(process, data, log)
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise


def _await_ready(process: "subprocess.Popen[bytes]", data: Path, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise CommandFailed(lines[-1] if lines else f"The stack ended with exit code {process.returncode}.")
        state = read_state(data)
        if state is not None and state.supervisor.pid == process.pid and state.phase == "ready":
            print(f"slidemill runs at {state.url}", file=sys.stderr)
            return
        time.sleep(0.05)
    raise CommandFailed(f"The stack was not ready within {START_LIMIT:.0f} s: read {data / 'log'}.")


async def up_here(data: Path, port: int | None, workers: Mapping[str, int], *, as_json: bool) -> None:
    """Run the stack in this process until it is signalled."""
    from deploy.local.stack import Stack, StackError, run_until_signalled

    async def tell_and_stay(stack: Stack) -> None:
        print(f"slidemill runs at {stack.state.url}. Ctrl-C stops it.", file=sys.stderr)
        if as_json:
            print(json.dumps(await status(data)), flush=True)
        await asyncio.Event().wait()

    print("Starting MongoDB, RabbitMQ, nginx and the services…", file=sys.stderr)
    try:
        await run_until_signalled(Stack(data, port=port, workers=workers), tell_and_stay)
    except StackError as error:
        raise CommandFailed(str(error)) from error


async def status(data: Path) -> dict[str, Any]:
    """What interface.md promises of `status --json`: from files and probes, whatever is down."""
    state = read_state(data)
    token = data / "token"
    told: dict[str, Any] = {
        "url": state.url if state else None,
        "mongodb": state.mongodb if state else None,
        "amqp": state.amqp if state else None,
        "management": state.management if state else None,
        "token": token.read_text().strip() if token.exists() else None,
        "data": str(data),
        "services": [],
        "servers": [],
    }
    if state is not None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            told["services"] = list(await asyncio.gather(*(_service(http, part) for part in state.services)))
        told["servers"] = list(await asyncio.gather(*(_server(state, part) for part in state.servers)))
    return told


async def _service(http: aiohttp.ClientSession, part: Part) -> dict[str, Any]:
    pid = _pid(part)
    return {**_row(part, pid), "ready": pid is not None and await answers_ready(http, part.url)}


async def _server(state: State, part: Part) -> dict[str, Any]:
    pid = _pid(part)
    port = int(part.url.rpartition(":")[2].partition("/")[0])
    look = {
        "mongod": lambda: is_primary(state.mongodb),
        "rabbitmq": lambda: speaks_amqp(port),
        "nginx": lambda: accepts(port),
    }[part.name]
    return {**_row(part, pid), "ready": pid is not None and await asyncio.to_thread(look)}


def _row(part: Part, pid: int | None) -> dict[str, Any]:
    return {"name": part.name, "pid": pid, "ready": False, "url": part.url}


def _pid(part: Part) -> int | None:
    return part.process.pid if part.process is not None and part.process.alive() else None
