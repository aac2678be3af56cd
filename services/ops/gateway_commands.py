"""The command line of `upload`, `sessions`, `images` and `signin`, asked of the gateway. Each imports what it needs."""

import argparse
import json
import sys
from pathlib import Path

from services.ops.commandline import Commands
from services.ops.errors import CommandFailed
from services.ops.tables import print_images, print_table


def register(commands: Commands) -> None:
    """Add `upload`, `sessions` and `images` to the command line."""
    sending = commands.add("upload", upload_command, "upload scans/ slide.mrxs --session 'Case 12' --wait")
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
    commands.add("sessions", sessions_command, "sessions")
    images = commands.add("images", images_command, "images --session 'Case 12' --json")
    images.add_argument("--session", metavar="ID_OR_TITLE", help="only this session's")


def register_signin(commands: Commands) -> None:
    """Add `signin`, after the stores."""
    commands.add("signin", signin_command, "signin")


def title(text: str) -> str:
    """Parse a session's title; raises argparse's error for an empty one."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a title is not empty: name the case or the run, for example 'Case 12'")
    return text


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
