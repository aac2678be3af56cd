"""The command line of `events`, `replay` and `reprocess`. Each imports what it needs itself, as in `__main__`."""

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.ops.commandline import Commands
from services.ops.errors import Misused
from services.ops.tables import counted, print_table

if TYPE_CHECKING:
    from services.ops.pipeline import Pipeline
    from shared.bus.journal import Wanted

SELECTORS = ("since", "until", "type", "session", "database")


def register(commands: Commands) -> None:
    """Add them to the command line."""
    _selectors(commands.add("events", events_command, "events --since 2h --type image-failed")).add_argument(
        "--image", action="append", default=[], metavar="ID", help="only this image's; may be given again"
    )
    replaying = _selectors(
        commands.add("replay", replay_command, "replay 5f0c2f6a9d3e4b7c8a1d2e3f4a5b6c7d --reason 'disk was full'")
    )
    replaying.add_argument("images", nargs="*", metavar="IMAGE", help="ids of images; - reads them from stdin")
    replaying.add_argument("--image", action="append", default=[], metavar="ID", help="only this image's facts")
    replaying.add_argument("--all", action="store_true", help="every fact of the journal")
    replaying.add_argument("--failed", action="store_true", help="let failed images among the facts go on")
    replaying.add_argument("--dry-run", action="store_true", help="tell what would be sent, and send nothing")
    replaying.add_argument("--rate", type=rate, metavar="N", help="at most so many a second")
    replaying.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit and the events' headers")
    anew = commands.add("reprocess", reprocess_command, "reprocess 5f0c2f6a9d3e4b7c8a1d2e3f4a5b6c7d")
    anew.add_argument("image", metavar="IMAGE", help="the image's id")
    anew.add_argument(
        "--from", dest="start", choices=("dice", "finish"), default="dice", help="finish: redo that alone, in place"
    )
    anew.add_argument(
        "--quality", type=quality, metavar="N", help="JPEG quality of the tiles that are encoded, 1 to 100"
    )
    anew.add_argument("--subsampling", choices=("420", "444"), help="their chroma: halved both ways, or whole")
    anew.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit")


def rate(text: str) -> float:
    """Parse a number of events a second; raises argparse's error for one that is not above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give events a second, such as 50 or 0.5")
    return number


def quality(text: str) -> int:
    """Parse a JPEG quality; raises argparse's error for one that is not 1 to 100."""
    if not (text.isdecimal() and 1 <= int(text) <= 100):
        raise argparse.ArgumentTypeError(f"{text!r} is no JPEG quality: give a whole number from 1 to 100")
    return int(text)


def time(text: str) -> datetime:
    """Parse a point in time; raises argparse's error for what is none."""
    from services.ops.replay import point_in_time

    try:
        return point_in_time(text, datetime.now(UTC))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-11-25T07:00 (UTC), or 90min, 2h, 7d ago"
        ) from None


def _selectors(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--since", type=time, metavar="TIME", help="2026-11-25T07:00 (UTC), or 90min, 2h, 7d ago")
    parser.add_argument("--until", type=time, metavar="TIME", help="the first moment too late")
    parser.add_argument(
        "--type", action="append", default=[], metavar="NAME", help="such as image-failed; may be given again"
    )
    parser.add_argument("--session", metavar="ID", help="only those of this session's images")
    parser.add_argument("--database", metavar="NAME", help="only those of this database")
    return parser


async def _wanted(given: argparse.Namespace, pipeline: "Pipeline") -> "Wanted":
    from services.ops.replay import wanted

    return await wanted(
        pipeline,
        since=given.since,
        until=given.until,
        types=given.type,
        images=given.image,
        session=given.session,
        database=given.database,
    )


async def events_command(given: argparse.Namespace) -> int:
    """List the facts of the journal, oldest first."""
    from services.ops.pipeline import pipeline_of
    from services.ops.replay import events

    async with pipeline_of(given.data) as pipeline:
        found = [event async for event in events(pipeline, await _wanted(given, pipeline))]
    if given.json:
        print(json.dumps({"items": found, "next": None}))
        return 0
    rows = [(event["time"], event["type"], event["image"], event["version"], _detail(event)) for event in found]
    print_table(("time", "type", "image", "version", "detail"), rows)
    return 0


def _detail(event: dict[str, Any]) -> str:
    data = event["data"]
    return next((str(data[name]) for name in ("reason", "name", "base") if data.get(name)), "")


async def replay_command(given: argparse.Namespace) -> int:
    """Send images' next steps again, or facts of the journal, behind other work: what is missing is made.

    With IMAGEs, each goes on where it stands or where it failed. With selectors, facts of the journal are sent as they
    were.
    """
    from services.ops import replay
    from services.ops.pipeline import pipeline_of

    by_selector = given.all or bool(given.image) or given.failed or any(getattr(given, name) for name in SELECTORS)
    if bool(given.images) == by_selector:
        raise Misused("Name images, or select facts with --since, --type and the like: see ./slidemill replay --help.")
    options: dict[str, Any] = {"dry_run": given.dry_run, "rate": given.rate, "reason": given.reason}
    async with pipeline_of(given.data) as pipeline:
        if by_selector:
            wanted = await _wanted(given, pipeline)
            told = await replay.replay_journal(pipeline, wanted, failed=given.failed, **options)
        else:
            told = await replay.replay_images(pipeline, _ids(given.images), **options)
    if len(given.images) == 1 and len(told["items"]) == 1:
        told = {**told, **told["items"][0]}
    if given.json:
        print(json.dumps(told))
        return 0
    columns = ("image", "version", "event", "stage", "state")
    print_table(columns, [tuple(item[name] or "" for name in columns) for item in told["items"]])
    what = "To be sent again" if given.dry_run else "Sent again"
    news = f"; news that no stage answers: {told['unanswered']:,}" if told["unanswered"] else ""
    print(f"{what}: {counted(told['count'], 'event')}{news}.", file=sys.stderr)
    return 0


def _ids(images: list[str]) -> list[str]:
    return [id for image in images for id in (sys.stdin.read().split() if image == "-" else [image])]


async def reprocess_command(given: argparse.Namespace) -> int:
    """Process an image anew as a further version; the one that people see stays until the new one is ready."""
    from services.ops.pipeline import pipeline_of
    from services.ops.replay import reprocess
    from shared.store.documents.uploads import Wish

    wish = Wish(quality=given.quality, subsampling=given.subsampling)
    if given.start == "finish" and wish != Wish():
        raise Misused("Finishing makes no tiles: leave out --from finish to make them anew with another quality.")
    async with pipeline_of(given.data) as pipeline:
        told = await reprocess(
            pipeline, given.image, from_finish=given.start == "finish", wish=wish, reason=given.reason
        )
    print(json.dumps(told) if given.json else f"Version {told['version']} of {told['image']} is {told['state']}.")
    return 0
