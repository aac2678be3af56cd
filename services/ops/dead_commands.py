"""The command line of `dead`: options in, tables out. Each imports what it needs itself, as in `__main__`."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.ops.commandline import Commands
from services.ops.tables import counted, print_table

if TYPE_CHECKING:
    from shared.dead import Selection

# As in the table of queues, which this does not import: a usage error is to be told at once.
STAGES = ("dicer", "pyramid", "sync")


def register(commands: Commands) -> None:
    """Add them to the command line."""
    dead = commands.group("dead", "Messages that came to nothing: see why, send again, throw away.", "dead list")
    _stage(dead.add("list", list_command, "dead list"))
    showing = _named(dead.add("show", show_command, "dead show 3f1c9a2b"))
    showing.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    _reason(_named(dead.add("retry", retry_command, "dead retry 3f1c9a2b --reason 'mended in 1.4'")), required=False)
    _reason(_named(dead.add("discard", discard_command, "dead discard 3f1c9a2b --reason 'tests of the scanner'")))
    exporting = dead.add("export", export_command, "dead export letters.jsonl 3f1c9a2b")
    exporting.add_argument("file", type=Path, metavar="FILE", help="what to write: one letter a line")
    exporting.add_argument("names", nargs="*", metavar="LETTER_OR_GROUP", help="which ones (default: all)")
    _stage(exporting)
    importing = dead.add("import", import_command, "dead import letters.jsonl --retry --reason 'name mended'")
    importing.add_argument("file", type=Path, metavar="FILE", help="what export wrote, edited or not; - is stdin")
    importing.add_argument("--retry", action="store_true", help="send them again instead of putting them back")
    _reason(importing, required=False)


def _stage(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--stage", choices=STAGES, help="only this stage's")
    return parser


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("names", nargs="*", metavar="LETTER_OR_GROUP", help="ids that `dead list` shows")
    parser.add_argument("--all", action="store_true", help="every one")
    return _stage(parser)


def _reason(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--reason", required=required, default="", metavar="TEXT", help="why, for the audit")


def _selection(given: argparse.Namespace) -> "Selection":
    from services.ops.dead import chosen

    return chosen(given.names, everything=given.all, stage=given.stage)


async def list_command(given: argparse.Namespace) -> int:
    """List dead letters, grouped by stage and cause."""
    from services.ops import dead

    async with dead.graveyard_of(given.data) as graveyard:
        groups = await dead.groups(graveyard, given.stage)
    if given.json:
        print(json.dumps({"items": groups, "next": None}))
    elif not groups:
        print("There are no dead letters.", file=sys.stderr)
    else:
        columns = ("group", "stage", "cause", "count", "first", "last", "example", "what it says")
        print_table(columns, [_row(group) for group in groups])
    return 0


def _row(group: dict[str, Any]) -> tuple[object, ...]:
    example = group["example"]
    values = [group[name] for name in ("group", "stage", "cause", "count", "first", "last")]
    return (*(value if value is not None else "" for value in values), example["id"], example["detail"])


async def show_command(given: argparse.Namespace) -> int:
    """Show letters whole: why they died, headers and body."""
    from services.ops import dead

    selection = _selection(given)
    async with dead.graveyard_of(given.data) as graveyard:
        letters = await dead.show(graveyard, selection, given.limit)
    if given.json:
        print(json.dumps({"items": letters, "next": None}))
        return 0
    for letter in letters:
        # A message of megabytes tells nobody more than its beginning does; --json and export have it all.
        print(json.dumps({name: _short(value) for name, value in letter.items() if value is not None}, indent=2))
    return 0


def _short(value: object) -> object:
    return f"{value[:2000]}… ({len(value):,} characters)" if isinstance(value, str) and len(value) > 2000 else value


async def retry_command(given: argparse.Namespace) -> int:
    """Send letters again with all their tries; an image that had failed goes on where it failed."""
    from services.ops import dead

    selection = _selection(given)
    async with dead.graveyard_of(given.data) as graveyard:
        told = await dead.retry(graveyard, selection, given.reason)
    print(json.dumps(told) if given.json else f"Sent again: {counted(told['sent'], 'letter')}.")
    return 0


async def discard_command(given: argparse.Namespace) -> int:
    """Throw letters away; what they were and why stays in the audit."""
    from services.ops import dead

    selection = _selection(given)
    async with dead.graveyard_of(given.data) as graveyard:
        told = await dead.discard(graveyard, selection, given.reason)
    print(json.dumps(told) if given.json else f"Thrown away: {counted(told['discarded'], 'letter')}.")
    return 0


async def export_command(given: argparse.Namespace) -> int:
    """Write letters to a file, one a line, to be read, edited, kept or imported; they stay where they are."""
    from services.ops import dead
    from shared.dead import Selection

    selection = Selection(frozenset(given.names), not given.names, given.stage)
    async with dead.graveyard_of(given.data) as graveyard:
        told = await dead.export(graveyard, selection, given.file)
    print(json.dumps(told) if given.json else f"In {told['file']}: {counted(told['exported'], 'letter')}.")
    return 0


async def import_command(given: argparse.Namespace) -> int:
    """Put the letters of a file in the place of those they were exported from, or send them again instead."""
    from services.ops import dead

    letters = dead.read(given.file)
    async with dead.graveyard_of(given.data) as graveyard:
        told = await dead.import_(graveyard, letters, given.file.name, again=given.retry, reason=given.reason)
    what = "Sent again" if given.retry else "Back among the dead"
    words = f"{what}: {counted(told['imported'], 'letter')}; there already: {told['unchanged']:,}."
    print(json.dumps(told) if given.json else words)
    return 0
