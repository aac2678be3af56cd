"""`./slidemill`: the operator's command line. Results go to stdout, everything else to stderr.

Each command imports what it needs itself: scripts call `status` often, and it needs little of what `demo` does.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from deploy.local.layout import ROOT, SERVICES
from services.ops.errors import CommandFailed

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


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


async def upload_command(given: argparse.Namespace) -> int:
    """Send files; with --wait until each is ready or failed."""
    from services.ops.gateway import PATIENCE, Gateway
    from services.ops.progress import UploadProgress
    from services.ops.records import Records
    from services.ops.uploading import slides_in, upload

    files, records = slides_in(given.paths), Records(given.data)
    async with Gateway(given.data, PATIENCE) as gateway:
        with UploadProgress() as progress:
            outcome = await upload(gateway, files, given.session, records=records, wait=given.wait, progress=progress)
    for failure in outcome.failures:
        print(failure, file=sys.stderr)
    if given.json:
        print(json.dumps({"session": outcome.session, "images": outcome.images}))
    else:
        print_images(outcome.images)
    return 1 if outcome.failures else 0


async def sessions_command(given: argparse.Namespace) -> int:
    """List sessions."""
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        sessions = [session async for session in gateway.items("/sessions")]
    if given.json:
        print(json.dumps({"items": sessions, "next": None}))
        return 0
    rows = [
        (s["id"], s["title"], ", ".join(f"{count} {state}" for state, count in s["images"].items())) for s in sessions
    ]
    print_table(("session", "title", "images"), rows)
    return 0


async def images_command(given: argparse.Namespace) -> int:
    """List images, of one session (by id or title) or of all."""
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        sessions = [session async for session in gateway.items("/sessions")]
        chosen = [s for s in sessions if given.session is None or given.session in (s["id"], s["title"])]
        if given.session is not None and not chosen:
            raise CommandFailed(f"There is no session {given.session}: list them with ./slidemill sessions.")
        images = [image for s in chosen async for image in gateway.items(f"/sessions/{s['id']}/images")]
    if given.json:
        print(json.dumps({"items": images, "next": None}))
    else:
        print_images(images)
    return 0


async def tick_command(given: argparse.Namespace) -> int:
    """Do a sync tick now and print its report."""
    from services.ops.pipeline import pipeline_of, tick

    async with pipeline_of(given.data) as pipeline:
        told = await tick(pipeline)
    if given.json:
        print(json.dumps(told))
    else:
        print_table(("what", "count"), [(name, value) for name, value in told["report"].items()])
    return 0


async def replay_command(given: argparse.Namespace) -> int:
    """Announce an image again."""
    from services.ops.pipeline import pipeline_of, replay

    async with pipeline_of(given.data) as pipeline:
        told = await replay(pipeline, given.image)
    print(json.dumps(told) if given.json else f"{told['event']} announced again; the image is {told['state']}.")
    return 0


async def signin_command(given: argparse.Namespace) -> int:
    """Print a fresh one-time sign-in address."""
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        link = await gateway.request("POST", "/signin-links")
    print(json.dumps(link) if given.json else link["url"])
    return 0


async def topology_command(given: argparse.Namespace) -> int:
    """Show the table of exchanges and queues, or make on the broker what is missing of it."""
    from services.ops.pipeline import apply_topology, show_topology

    if given.action == "apply":
        told = await apply_topology(given.data)
        print(json.dumps(told) if given.json else f"Every queue of {told['prefix']} is there.")
        return 0
    table = show_topology()
    if given.json:
        print(json.dumps(table))
        return 0
    for kind, entries in table.items():
        print_table((kind, "arguments"), [(entry.pop("name"), json.dumps(entry)) for entry in entries])
    return 0


async def demo_command(given: argparse.Namespace) -> int:
    """Run the stack here with a slide in it."""
    from services.ops.demo import demo

    await demo(given.data, given.port, given.workers, given.slide)
    return 0


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """Print rows for a person; in a pipe nothing is cut to a terminal's width."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)


def print_images(images: list[dict[str, Any]]) -> None:
    """Print images for a person."""
    rows = [
        (
            image["id"],
            image["name"],
            image["state"],
            f"{image['width']} x {image['height']}" if image["width"] else "",
            image["failure"]["reason"] if image["failure"] else "",
        )
        for image in images
    ]
    print_table(("image", "name", "state", "size", "reason"), rows)


def parser() -> argparse.ArgumentParser:
    """Every command with its options, and an example in each help text."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data", type=Path, default=ROOT / "var", metavar="DIR", help="folder of the stack (default: var)"
    )
    shared.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else there")
    starting = argparse.ArgumentParser(add_help=False)
    starting.add_argument("--port", type=port, metavar="N", help="port of the one address (default: a free one, kept)")
    starting.add_argument(
        "--workers", type=workers, default={}, metavar="NAME=N,…", help="copies of services (default: one of each)"
    )

    root = argparse.ArgumentParser(
        prog="slidemill",
        description="Run slidemill on this machine, send slides, see what became of them.",
        epilog="example: ./slidemill up --detach && ./slidemill upload scan.svs --session 'Case 12' --wait",
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, run: Command, example: str, parents: tuple[argparse.ArgumentParser, ...] = ()
    ) -> argparse.ArgumentParser:
        words = " ".join((run.__doc__ or "").split())
        added = commands.add_parser(
            name, help=words, description=words, epilog=f"example: ./slidemill {example}", parents=[shared, *parents]
        )
        added.set_defaults(run=run)
        return added

    up = add("up", up_command, "up --detach --workers dicer=2,pyramid=2", (starting,))
    up.add_argument("--detach", action="store_true", help="return once every service is ready")
    add("down", down_command, "down")
    add("status", status_command, "status --json")
    sending = add("upload", upload_command, "upload scans/ --session 'Case 12' --wait")
    sending.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help="slides, or folders of slides")
    sending.add_argument(
        "--session", required=True, metavar="TITLE", help="your newest session of this title, or a new one"
    )
    sending.add_argument("--wait", action="store_true", help="until every image is ready or failed")
    add("sessions", sessions_command, "sessions")
    images = add("images", images_command, "images --session 'Case 12' --json")
    images.add_argument("--session", metavar="ID_OR_TITLE", help="only this session's")
    add("tick", tick_command, "tick")
    replaying = add("replay", replay_command, "replay 5f0c2f6a9d3e4b7c8a1d2e3f4a5b6c7d")
    replaying.add_argument("image", metavar="IMAGE", help="the image's id")
    add("signin", signin_command, "signin")
    topology = add("topology", topology_command, "topology apply")
    topology.add_argument("action", choices=("show", "apply"))
    show = add("demo", demo_command, "demo --slide scan.svs", (starting,))
    show.add_argument("--slide", type=Path, metavar="FILE", help="your own slide instead of the drawn one")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 usage, 3 stack unreachable."""
    given = parser().parse_args(arguments)
    given.data = given.data.absolute()
    run: Command = given.run
    try:
        return asyncio.run(run(given))
    except CommandFailed as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is how `up` and `demo` are meant to end; anything else was broken off.
        if given.command == "upload":
            print("Stopped. The same command goes on from where this one was.", file=sys.stderr)
        return 0 if given.command in ("up", "demo") else 1


if __name__ == "__main__":
    sys.exit(main())
