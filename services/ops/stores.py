"""Folder stores and ticks, as the commands ask the gateway for them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from services.ops.errors import CommandFailed, StackUnreachable
from services.ops.gateway import Gateway

# A tick may import for hours; one of which nothing has moved for so many seconds is given up.
STANDING = 600.0
# A gateway that is away for a moment costs no tick.
PATIENCE = 30.0
_LOOK_AGAIN = 0.2

Store = dict[str, Any]
Report = dict[str, Any]
Tick = dict[str, Any]


def folder(path: Path) -> str:
    """The absolute path of a folder on this machine. Raises `CommandFailed` if there is none."""
    if not path.is_dir():
        raise CommandFailed(f"There is no folder {path}: name the folder that the scanner writes into.")
    # Behind a link, `..` is not what the spelling says.
    return str(path.resolve() if ".." in path.parts else path.absolute())


async def add(
    gateway: Gateway,
    name: str,
    root: str,
    *,
    kind: str,
    session: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    quality: int | None,
    subsampling: str | None,
) -> Store:
    """Have a folder watched from the next tick on."""
    what = {"name": name, "kind": kind, "root": root, "session": session}
    files = {"include": [*include], "exclude": [*exclude]}
    tiles = {"quality": quality, "subsampling": subsampling}
    return await gateway.request("POST", "/stores", json={**what, **files, **tiles})


async def stores(gateway: Gateway) -> list[Store]:
    """All stores, in order of creation."""
    return [store async for store in gateway.items("/stores")]


async def show(gateway: Gateway, name: str, limit: int) -> tuple[Store, list[Report]]:
    """A store and the reports of its last runs, the newest first."""
    store = await gateway.request("GET", _address(name))
    page = await gateway.request("GET", f"{_address(name)}/reports", params={"limit": str(limit)})
    return store, page["items"]


async def change(gateway: Gateway, name: str, state: str) -> Store:
    """Pause a store (`paused`) or go on with it (`active`)."""
    return await gateway.request("PATCH", _address(name), json={"state": state})


async def remove(gateway: Gateway, name: str) -> None:
    """Watch the folder no longer."""
    await gateway.request("DELETE", _address(name))


async def ticks(gateway: Gateway, limit: int, *, missed: bool) -> list[Tick]:
    """The last ticks, the newest first; only those that nobody did, if asked for `missed` ones."""
    params = {"limit": str(limit), **({"missed": "true"} if missed else {})}
    page = await gateway.request("GET", "/ticks", params=params)
    items: list[Tick] = page["items"]
    return items


async def tick(gateway: Gateway, store: str | None, told: Callable[[Report], None]) -> Tick:
    """Look at one store, or at all, and after the house, and return once scans and imports are done.

    `told` hears of each report as it changes. Raises `CommandFailed` for a tick that came to nothing, or of which
    nothing has moved for `STANDING` seconds.
    """
    loop = asyncio.get_running_loop()
    now = await gateway.request("POST", "/ticks", json={"store": store})
    moved, heard = loop.time(), dict[str, Report]()
    while now["state"] == "running":
        await asyncio.sleep(_LOOK_AGAIN)
        try:
            then, now = now, await gateway.request("GET", f"/ticks/{quote(now['tick'])}")
        except StackUnreachable as error:
            raise StackUnreachable(f"{error} The tick goes on without this command.") from error
        if then != now:
            moved = loop.time()
        elif loop.time() - moved > STANDING:
            raise CommandFailed(_standing(now["reports"]))
        for report in now["reports"]:
            if heard.get(report["store"]) != report:
                heard[report["store"]] = report
                told(report)
    if now["error"] is not None:
        raise CommandFailed(now["error"])
    if now["state"] == "missed":
        raise CommandFailed("No sync service took the tick in time: see with ./slidemill status whether sync runs.")
    return now


def _standing(reports: Sequence[Report]) -> str:
    """Why a tick does not get on."""
    for report in reports:
        if report["state"] == "waiting" and report["note"] is not None:
            return f"{report['store']}: {report['note']} It does so without this command."
    return f"Nothing of the tick has moved for {STANDING:.0f} s: see with ./slidemill status whether sync runs."


def _address(name: str) -> str:
    return f"/stores/{quote(name, safe='')}"
