"""`demo`: the stack in this terminal with one slide in it, until Ctrl-C."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from deploy.local.layout import ROOT
from deploy.local.stack import Stack, StackError, run_until_signalled
from services.ops.errors import CommandFailed
from services.ops.gateway import PATIENCE, Gateway
from services.ops.gathering import gather
from services.ops.progress import UploadProgress
from services.ops.records import Records
from services.ops.uploading import find_session, images_of, upload

SESSION = "Demo"
SAMPLE = "slidemill sample.svs"


async def demo(data: Path, port: int | None, workers: Mapping[str, int], slide: Path | None) -> None:
    """Start the stack, send the slide (None: a drawn one, once), print the sign-in link and stay until signalled."""
    console = Console(stderr=True, highlight=False)
    if slide is not None and not slide.is_file():
        raise CommandFailed(f"There is no file {slide}: name a slide with make demo SLIDE=path.")

    async def show(stack: Stack) -> None:
        async with Gateway(stack.data, PATIENCE) as gateway:
            if slide is not None:
                await _send(gateway, slide, data, console)
            elif not await _sample_there(gateway):
                await drawing
                await _send(gateway, data / SAMPLE, data, console)
            link = await gateway.request("POST", "/signin-links")
        console.print("[bold]Sign in once with this address:[/bold]")
        print(link["url"], flush=True)
        console.print("Ctrl-C stops everything; the next start continues with the same data.")
        await asyncio.Event().wait()

    console.print("Starting MongoDB, RabbitMQ, nginx and the services…")
    # Drawing takes as long as starting does, so both go on at once.
    drawing = asyncio.create_task(_draw(data / SAMPLE, console) if slide is None else asyncio.sleep(0))
    try:
        await run_until_signalled(Stack(data, port=port, workers=workers), show)
    except StackError as error:
        raise CommandFailed(str(error)) from error
    finally:
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
        console.print("Everything has stopped.")


async def _draw(file: Path, console: Console) -> None:
    """Draw the sample slide where it is not there yet, in a process that ends when this is cancelled."""
    if file.exists():
        return
    console.print("Drawing a sample slide…")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    code = "import sys, pathlib, deploy.local.sample as sample; sample.draw_sample(pathlib.Path(sys.argv[1]))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, file, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        if await process.wait() != 0:
            raise CommandFailed("The sample slide could not be drawn: give one of your own with make demo SLIDE=path.")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _sample_there(gateway: Gateway) -> bool:
    """Whether the sample arrived in an earlier start; waits until what was begun then is done."""
    session = await find_session(gateway, SESSION)
    arrived = [
        image
        async for image in gateway.items(f"/sessions/{session}/images")
        if image["name"] == SAMPLE and image["state"] not in ("uploading", "failed")
    ]
    if not arrived:
        return False
    file = Path(SAMPLE)
    with UploadProgress() as progress:
        progress.started(file, arrived[-1]["length"], arrived[-1]["length"])
        await images_of(gateway, session, {arrived[-1]["id"]: file}, wait=True, progress=progress)
    return True


async def _send(gateway: Gateway, slide: Path, data: Path, console: Console) -> None:
    """Send the slide and wait until it is ready or failed."""
    with UploadProgress() as progress:
        outcome = await upload(gateway, gather([slide]), SESSION, records=Records(data), wait=True, progress=progress)
    for failure in outcome.failures:
        console.print(failure, markup=False)
