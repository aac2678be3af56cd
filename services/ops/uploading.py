"""`upload`: sends slides, several at a time, and follows their images."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.ops.errors import CommandFailed, Refused, StackUnreachable
from services.ops.gateway import Gateway
from services.ops.gathering import Gathered, SlideFiles
from services.ops.progress import UploadProgress
from services.ops.records import Records, size_of
from services.ops.sending import Sender

PARALLEL = 4
_LOOK_AGAIN = 0.5
FINAL = ("ready", "failed")


@dataclass
class Outcome:
    """What became of an upload: the session's id, the images, and a line for each that came to nothing."""

    session: str
    images: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def upload(
    gateway: Gateway,
    gathered: Gathered,
    session_title: str,
    *,
    records: Records,
    wait: bool,
    progress: UploadProgress,
) -> Outcome:
    """Send the slides to the caller's newest session of that title, or a new one; with `wait` until all are processed.

    Raises `StackUnreachable` when the gateway stays dead; one that is refused is a line in the outcome. Until this
    has returned, the records tell the next call what is there already.
    """
    records.sweep()
    slides = gathered.slides
    progress.expect(len(slides), sum(_size(slide) for slide in slides))
    outcome = Outcome(await find_session(gateway, session_title), failures=list(gathered.refusals))
    sender = Sender(gateway, outcome.session, records, progress)
    by_image: dict[str, Path] = {}
    following = asyncio.create_task(_follow(gateway, outcome.session, by_image, progress)) if wait else None
    try:
        await _send_all(sender, slides, by_image, outcome.failures, wait=wait)
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    outcome.images = await images_of(gateway, outcome.session, by_image, wait=wait, progress=progress)
    outcome.failures += [
        f"{image['name']}: {image['failure']['reason']} {image['failure']['remedy']}"
        for image in outcome.images
        if image["failure"] is not None
    ]
    sender.forget()
    return outcome


def _size(slide: SlideFiles) -> int:
    """Bytes to send; 0 for a file that has gone since it was found, which is told when its turn comes."""
    try:
        return size_of(slide)
    except OSError:
        return 0


async def _send_all(
    sender: Sender, slides: Sequence[SlideFiles], by_image: dict[str, Path], failures: list[str], *, wait: bool
) -> None:
    """Send slides, `PARALLEL` at a time; notes each one's image, or why it has none."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(slide: SlideFiles) -> None:
        file = slide.path
        async with gate:
            try:
                by_image[await sender.send(slide)] = file
                sender.progress.delivered(file, last=not wait)
            except StackUnreachable:
                raise
            except (CommandFailed, OSError) as refusal:
                sender.progress.finished(file, "failed")
                if isinstance(refusal, Refused) and refusal.image is not None:
                    by_image[refusal.image] = file
                elif isinstance(refusal, OSError):
                    why = refusal.strerror or "the disk does not answer"
                    failures.append(f"{file.name}: It can't be read ({why}). Mend that, then run the command again.")
                else:
                    failures.append(f"{file.name}: {refusal}")

    try:
        async with asyncio.TaskGroup() as group:
            for slide in slides:
                group.create_task(one(slide))
    except ExceptionGroup as ended:
        first = ended.exceptions[0]
        raise StackUnreachable(f"{first} The same command goes on then.") from ended


async def find_session(gateway: Gateway, title: str) -> str:
    """Id of the caller's newest session with this title, made where there is none."""
    me = await gateway.request("GET", "/me")
    mine = [
        session["id"]
        async for session in gateway.items("/sessions")
        if session["title"] == title and session["owner"] == me["id"]
    ]
    if mine:
        return str(mine[-1])
    return str((await gateway.request("POST", "/sessions", json={"title": title}))["id"])


async def images_of(
    gateway: Gateway, session: str, by_image: dict[str, Path], *, wait: bool, progress: UploadProgress
) -> list[dict[str, Any]]:
    """The images of a session that came from these files; with `wait` once each is ready or failed."""
    while True:
        images = await _look(gateway, session, by_image, progress if wait else None)
        if not wait or all(image["state"] in FINAL for image in images):
            return images
        await asyncio.sleep(_LOOK_AGAIN)


async def _follow(gateway: Gateway, session: str, by_image: dict[str, Path], progress: UploadProgress) -> None:
    """Show the stages of what has been sent while the rest is being sent."""
    while True:
        await asyncio.sleep(_LOOK_AGAIN)
        await _look(gateway, session, by_image, progress)


async def _look(
    gateway: Gateway, session: str, by_image: dict[str, Path], progress: UploadProgress | None
) -> list[dict[str, Any]]:
    images = [image async for image in gateway.items(f"/sessions/{session}/images") if image["id"] in by_image]
    if progress is not None:
        for image in images:
            progress.at(by_image[image["id"]], image)
    return images
