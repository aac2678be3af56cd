"""`./slidemill`: the operator's command line. Results go to stdout, everything else to stderr.

Each command imports what it needs itself: scripts call `status` often, and it needs little of what `demo` does.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from deploy.local.layout import SERVICES
from services.ops import bus_commands, store_commands
from services.ops.commandline import Command, Commands, before_the_command
from services.ops.errors import CommandFailed
from services.ops.tables import print_images, print_table


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


def title(text: str) -> str:
    """Parse a session's title; raises argparse's error for an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a title is not empty: name the case or the run, for example 'Case 12'")
    return text


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
    """Send slides, those of several files (MRXS, VMS, DICOM) as one; with --wait until each is ready or failed."""
    from services.ops.gateway import PATIENCE, Gateway
    from services.ops.gathering import gather, told
    from services.ops.progress import UploadProgress
    from services.ops.records import Records
    from services.ops.uploading import upload

    slides, records = gather(given.paths), Records(given.data)
    if slides.left_out:
        print(f"Left out, being no slides: {told(slides.left_out)}.", file=sys.stderr)
    async with Gateway(given.data, PATIENCE) as gateway:
        with UploadProgress() as progress:
            outcome = await upload(gateway, slides, given.session, records=records, wait=given.wait, progress=progress)
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


async def signin_command(given: argparse.Namespace) -> int:
    """Print a fresh one-time sign-in address."""
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        link = await gateway.request("POST", "/signin-links")
    print(json.dumps(link) if given.json else link["url"])
    return 0


async def demo_command(given: argparse.Namespace) -> int:
    """Run the stack here with a slide in it."""
    from services.ops.demo import demo

    await demo(given.data, given.port, given.workers, given.slide)
    return 0


def parser() -> argparse.ArgumentParser:
    """Every command with its options, and an example in each help text."""
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
    before_the_command(root)
    commands = Commands(root, "command")
    add = commands.add

    up = add("up", up_command, "up --detach --workers dicer=2,pyramid=2", starting)
    up.add_argument("--detach", action="store_true", help="return once every service is ready")
    add("down", down_command, "down")
    add("status", status_command, "status --json")
    sending = add("upload", upload_command, "upload scans/ slide.mrxs --session 'Case 12' --wait")
    sending.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FILE_OR_FOLDER",
        help="slides, or folders of slides; what belongs to a slide goes with it",
    )
    sending.add_argument(
        "--session",
        type=title,
        required=True,
        metavar="TITLE",
        help="your newest session of this title, or a new one",
    )
    sending.add_argument("--wait", action="store_true", help="until every image is ready or failed")
    add("sessions", sessions_command, "sessions")
    images = add("images", images_command, "images --session 'Case 12' --json")
    images.add_argument("--session", metavar="ID_OR_TITLE", help="only this session's")
    store_commands.register(commands)
    add("signin", signin_command, "signin")
    bus_commands.register(commands)
    show = add("demo", demo_command, "demo --slide scan.svs", starting)
    show.add_argument("--slide", type=Path, metavar="FILE", help="your own slide instead of the drawn one")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 usage, 3 stack unreachable."""
    given = parser().parse_args(arguments)
    given.data = given.data.absolute()
    run: Command = given.run
    try:
        code = asyncio.run(run(given))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except CommandFailed as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except OSError as error:
        # A file or folder that was named, or lies in the stack's; anything else is a bug.
        if error.filename is None:
            raise
        print(f"{error.filename} can't be used ({error.strerror}): see its rights, or name another.", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is how `up` and `demo` are meant to end; anything else was broken off.
        if given.command == "upload":
            print("Stopped. The same command goes on from where this one was.", file=sys.stderr)
        return 0 if given.command in ("up", "demo") else 1


if __name__ == "__main__":
    sys.exit(main())
