"""The command line of `store`, `tick` and `ticks`: options in, tables out. Each imports what it needs itself."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.ops.commandline import Commands
from services.ops.tables import print_table

COUNTS = ("seen", "new", "changed", "moved", "vanished", "back", "imported", "failed", "bytes", "seconds")


def register(commands: Commands) -> None:
    """Add them to the command line."""
    group = commands.group("store", "Folders that are watched for slides.", "store list")
    adding = _named(group.add("add", add_command, "store add 'Scanner 1' --kind folder --root /data/scanner"))
    adding.add_argument("--kind", choices=("folder",), default="folder", help="what it is (default: folder)")
    adding.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="the folder, on the machine of the stack"
    )
    adding.add_argument(
        "--session", metavar="TITLE", help="one session for all its slides (default: one for each sub-folder)"
    )
    adding.add_argument(
        "--include", action="append", default=[], metavar="GLOB", help="only such files, as '*.svs'; may be repeated"
    )
    adding.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="no such files and folders; may be repeated"
    )
    adding.add_argument(
        "--quality", type=int, metavar="N", help="JPEG quality of the tiles, 1 to 100 (default: the service's)"
    )
    adding.add_argument(
        "--subsampling",
        choices=("420", "444"),
        help="chroma of the tiles: halved both ways, or whole (default: the service's)",
    )
    group.add("list", list_command, "store list")
    showing = _named(group.add("show", show_command, "store show 'Scanner 1'"))
    showing.add_argument("--limit", type=int, default=10, metavar="N", help="at most so many reports (default: 10)")
    _named(group.add("pause", pause_command, "store pause 'Scanner 1'"))
    _named(group.add("resume", resume_command, "store resume 'Scanner 1'"))
    _named(group.add("remove", remove_command, "store remove 'Scanner 1'"))
    ticking = commands.add("tick", tick_command, "tick --store 'Scanner 1'")
    ticking.add_argument("--store", metavar="NAME", help="of all stores, look at this one alone")
    listing = commands.add("ticks", ticks_command, "ticks --missed")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: 20)")
    listing.add_argument("--missed", action="store_true", help="only those that nobody did")


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="of the store")
    return parser


async def add_command(given: argparse.Namespace) -> int:
    """Have a folder watched from the next tick on; what it makes belongs to the stack's first administrator."""
    from services.ops import stores
    from services.ops.gateway import Gateway

    root = stores.folder(given.root)
    async with Gateway(given.data) as gateway:
        store = await stores.add(
            gateway,
            given.name,
            root,
            kind=given.kind,
            session=given.session,
            include=given.include,
            exclude=given.exclude,
            quality=given.quality,
            subsampling=given.subsampling,
        )
    print(json.dumps(store) if given.json else f"{store['root']} is watched from the next tick on.")
    return 0


async def list_command(given: argparse.Namespace) -> int:
    """List stores and what the last look at each found."""
    from services.ops import stores
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        found = await stores.stores(gateway)
    if given.json:
        print(json.dumps({"items": found, "next": None}))
    elif not found:
        print("There are no stores: add one with ./slidemill store add.", file=sys.stderr)
    else:
        rows = [(s["name"], s["state"], s["root"], *_last(s["last"])) for s in found]
        print_table(("store", "state", "root", "last look", "", "seen", "failed"), rows)
    return 0


def _last(report: dict[str, Any] | None) -> tuple[object, ...]:
    return ("", "", "", "") if report is None else tuple(report[name] for name in ("tick", "state", "seen", "failed"))


async def show_command(given: argparse.Namespace) -> int:
    """Show a store and the reports of its last runs."""
    from services.ops import stores
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        store, reports = await stores.show(gateway, given.name, given.limit)
    if given.json:
        print(json.dumps({"store": store, "reports": reports}))
        return 0
    shown = {name: value for name, value in store.items() if name != "last" and value not in (None, [])}
    print_table(("what", "value"), [(name, _words(value)) for name, value in shown.items()])
    if reports:
        print()
        _print_reports(reports, "tick")
        _print_examples(reports[:1])
    return 0


async def pause_command(given: argparse.Namespace) -> int:
    """Look at a store no longer until it is resumed; what is being imported goes on."""
    return await _change(given, "paused", f"{given.name} is paused.")


async def resume_command(given: argparse.Namespace) -> int:
    """Go on with a store that was paused."""
    return await _change(given, "active", f"{given.name} is looked at again from the next tick on.")


async def _change(given: argparse.Namespace, state: str, sentence: str) -> int:
    from services.ops import stores
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        store = await stores.change(gateway, given.name, state)
    print(json.dumps(store) if given.json else sentence)
    return 0


async def remove_command(given: argparse.Namespace) -> int:
    """Watch a folder no longer; its files and its images stay."""
    from services.ops import stores
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        await stores.remove(gateway, given.name)
    print(json.dumps({"removed": given.name}) if given.json else f"{given.name} is removed; its images stay.")
    return 0


async def tick_command(given: argparse.Namespace) -> int:
    """Do a sync tick now and print its report, once scans and imports are done; slides may still be diced then."""
    from services.ops import stores
    from services.ops.gateway import Gateway

    async with Gateway(given.data, stores.PATIENCE) as gateway:
        told = await stores.tick(gateway, given.store, _say)
    if given.json:
        # `due` and `report` are what scripts knew before there were stores.
        print(json.dumps({"due": told["tick"], "report": told["housekeeping"], **told}))
        return 0
    print_table(("what", "count"), list(told["housekeeping"].items()))
    if told["reports"]:
        print()
        _print_reports(told["reports"], "store")
        _print_examples(told["reports"])
    return 0


async def ticks_command(given: argparse.Namespace) -> int:
    """List the last ticks, the newest first: what each did, and which ones nobody did."""
    from services.ops import stores
    from services.ops.gateway import Gateway

    async with Gateway(given.data) as gateway:
        found = await stores.ticks(gateway, given.limit, missed=given.missed)
    if given.json:
        print(json.dumps({"items": found, "next": None}))
    elif not found:
        print("No tick was missed." if given.missed else "There was no tick yet.", file=sys.stderr)
    else:
        rows = [
            (t["tick"], t["state"], t["store"] or "", _did(t["housekeeping"]), _looked(t["reports"])) for t in found
        ]
        print_table(("tick", "state", "store", "house", "stores"), rows)
    return 0


def _did(housekeeping: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in housekeeping.items() if count)


def _looked(reports: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{r['store']}: {r['imported']} imported, {r['failed']} failed" for r in reports)


def _say(report: dict[str, Any]) -> None:
    """Progress, for whoever waits at a terminal."""
    if sys.stderr.isatty():
        counts = f"{report['seen']} files seen, {report['imported']} imported"
        note = f" {report['note']}" if report["note"] is not None else ""
        print(f"{report['store']}: {report['state']}, {counts}.{note}", file=sys.stderr)


def _print_reports(reports: Sequence[dict[str, Any]], first: str) -> None:
    columns = (first, "state", *COUNTS, "skipped", "note")
    rows = [
        (r[first], r["state"], *(_words(r[name]) for name in COUNTS), _words(r["skipped"]), r["note"] or "")
        for r in reports
    ]
    print_table(columns, rows)


def _print_examples(reports: Sequence[dict[str, Any]]) -> None:
    rows = [(e["path"], e["reason"], e["detail"]) for report in reports for e in report["examples"]]
    if rows:
        print()
        print_table(("file", "why not", "what it says"), rows)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {reason}" for reason, count in value.items())
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return "" if value is None else str(value)
