"""`upload`: files in parallel, in chunks that can be repeated, through a gateway that may die meanwhile."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.ops.errors import CommandFailed, Refused, StackUnreachable
from services.ops.gateway import Gateway
from services.ops.progress import UploadProgress

CHUNK = 4 * 2**20
PARALLEL = 4
_LOOK_AGAIN = 0.5
FINAL = ("ready", "failed")


@dataclass
class Outcome:
    """What became of an upload: the session's id, the images, and a line for each that came to nothing."""

    session: str
    images: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def slides_in(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant: files as given, of folders everything below them that is not hidden, in order.

    Raises `CommandFailed` for a path that is not there, and when nothing is left.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = (file for file in path.rglob("*") if file.is_file())
            found += sorted(file for file in below if not any(p.startswith(".") for p in file.relative_to(path).parts))
        elif path.is_file():
            found.append(path)
        else:
            raise CommandFailed(f"There is no file or folder {path}: check the name.")
    if not found:
        raise CommandFailed("There is no file in what you named: name a slide, or a folder with slides.")
    return found


async def upload(
    gateway: Gateway, files: Sequence[Path], session_title: str, *, wait: bool, progress: UploadProgress
) -> Outcome:
    """Send the files to the caller's newest session of that title, or a new one; with `wait` until all are processed.

    Raises `StackUnreachable` when the gateway stays dead; a file that is refused is a line in the outcome.
    """
    outcome = Outcome(await find_session(gateway, session_title))
    gate = asyncio.Semaphore(PARALLEL)

    async def one(file: Path) -> str | None:
        async with gate:
            try:
                return await send(gateway, outcome.session, file, progress)
            except StackUnreachable:
                raise
            except (CommandFailed, OSError) as refusal:
                if isinstance(refusal, Refused) and refusal.image is not None:
                    return refusal.image
                progress.finished(file, "failed")
                outcome.failures.append(f"{file.name}: {refusal}")
                return None

    try:
        async with asyncio.TaskGroup() as group:
            sending = [group.create_task(one(file)) for file in files]
    except ExceptionGroup as ended:
        raise ended.exceptions[0] from ended
    by_image = {image: file for task, file in zip(sending, files, strict=True) if (image := task.result()) is not None}
    outcome.images = await images_of(gateway, outcome.session, by_image, wait=wait, progress=progress)
    outcome.failures += [
        f"{image['name']}: {image['failure']['reason']} {image['failure']['remedy']}"
        for image in outcome.images
        if image["failure"] is not None
    ]
    return outcome


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


async def send(gateway: Gateway, session: str, file: Path, progress: UploadProgress) -> str:
    """Send one file; returns its image's id. The first chunk carries a key, so that a repeat makes no second upload."""
    total = file.stat().st_size
    progress.started(file, total)
    path = f"/sessions/{session}/files"
    where = {"name": file.name}
    key = uuid.uuid4().hex
    sent = 0
    with file.open("rb") as source:
        while True:
            chunk = await asyncio.to_thread(source.read, CHUNK)
            last = sent + len(chunk)
            if last > total or (len(chunk) < CHUNK and last < total):
                raise CommandFailed("The file changed while it was being sent. Upload it again once it is complete.")
            span = f"bytes {sent}-{last - 1}/{total}" if total else "bytes */0"
            answer = await gateway.request(
                "POST",
                path,
                params=where,
                body=chunk,
                headers={
                    "Content-Range": span,
                    "Content-Type": "application/octet-stream",
                    "Idempotency-Key": key,
                },
            )
            where = {"_id": answer["_id"]}
            sent = last
            progress.sent(file, sent)
            if sent >= total:
                return str(answer["image"])


async def images_of(
    gateway: Gateway, session: str, by_image: dict[str, Path], *, wait: bool, progress: UploadProgress
) -> list[dict[str, Any]]:
    """The images of a session that came from these files; with `wait` once each is ready or failed."""
    while True:
        images = [image async for image in gateway.items(f"/sessions/{session}/images") if image["id"] in by_image]
        for image in images:
            progress.at(by_image[image["id"]], image)
        if not wait or all(image["state"] in FINAL for image in images):
            return images
        await asyncio.sleep(_LOOK_AGAIN)
