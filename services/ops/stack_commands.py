"""The command line of the stack: `up`, `down`, `status` and `demo`. Each imports what it needs."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from deploy.local.layout import SERVICES
from services.ops.commandline import Commands
from services.ops.tables import print_table


def register(commands: Commands) -> None:
    """Add `up`, `down` and `status` to the command line."""
    up = commands.add("up", up_command, "up --detach --workers dicer=2,pyramid=2", _starting())
    up.add_argument("--detach", action="store_true", help="return once every service is ready")
    commands.add("down", down_command, "down")
    commands.add("status", status_command, "status --json")


def register_demo(commands: Commands) -> None:
    """Add `demo`, the last in the list."""
    show = commands.add("demo", demo_command, "demo --slide scan.svs", _starting())
    show.add_argument("--slide", type=Path, metavar="FILE", help="your own slide instead of the drawn one")


def _starting() -> argparse.ArgumentParser:
    starting = argparse.ArgumentParser(add_help=False)
    starting.add_argument("--port", type=port, metavar="N", help="port of the one address (default: a free one, kept)")
    starting.add_argument(
        "--workers", type=workers, default={}, metavar="NAME=N,…", help="copies of services (default: one of each)"
    )
    return starting


def workers(text: str) -> dict[str, int]:
    """Parse `dicer=2,pyramid=2`; raises argparse's error for an unknown service or a count below 1."""
    counts: dict[str, int] = {}
    for part in text.split(","):
        name, _, count = part.partition("=")
        if name not in SERVICES or not count.isdecimal() or int(count) < 1:
            raise argparse.ArgumentTypeError(f"{part!r} is not SERVICE=COUNT with one of {', '.join(SERVICES)}")
        counts[name] = int(count)
    return counts


def port(text: str) -> int:
    """Parse a TCP port; raises argparse's error outside 1 to 65535."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


async def up_command(given: argparse.Namespace) -> int:
    """Start the stack, here or as a process of its own."""
    from services.ops import stack

    if not given.detach:
        await stack.up_here(given.data, given.port, given.workers, as_json=given.json)
        return 0
    await asyncio.to_thread(stack.up_detached, given.data, given.port, given.workers)
    if given.json:
        print(json.dumps(await stack.status(given.data)))
    return 0


async def down_command(given: argparse.Namespace) -> int:
    """Stop the stack."""
    from deploy.local.ending import stop_stack

    ran = await asyncio.to_thread(stop_stack, given.data)
    print("Everything has stopped." if ran else f"Nothing ran in {given.data}.", file=sys.stderr)
    if given.json:
        print(json.dumps({"stopped": ran}))
    return 0


async def status_command(given: argparse.Namespace) -> int:
    """Show addresses and processes."""
    from services.ops import stack

    told = await stack.status(given.data)
    if given.json:
        print(json.dumps(told))
        return 0
    rows = [
        (part["name"], "ready" if part["ready"] else "down" if part["pid"] is None else "not ready", part["pid"] or "")
        for part in (*told["servers"], *told["services"])
    ]
    print_table(("part", "state", "pid"), rows)
    print(told["url"] or f"No stack was ever started in {given.data}.")
    return 0


async def demo_command(given: argparse.Namespace) -> int:
    """Run the stack here with a slide in it."""
    from services.ops.demo import demo

    await demo(given.data, given.port, given.workers, given.slide)
    return 0
