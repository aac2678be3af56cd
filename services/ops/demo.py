"""`demo`: the stack in this terminal with one slide in it, until Ctrl-C."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from deploy.local.sample import draw_sample
from deploy.local.stack import Stack, StackError, run_until_signalled
from services.ops.errors import CommandFailed
from services.ops.gateway import PATIENCE, Gateway
from services.ops.progress import UploadProgress
from services.ops.uploading import find_session, upload

SESSION = "Demo"
SAMPLE = "slidemill sample.svs"


async def demo(data: Path, port: int | None, workers: Mapping[str, int], slide: Path | None) -> None:
    """Start the stack, send the slide (None: a drawn one, once), print the sign-in link and stay until signalled."""
    console = Console(stderr=True, highlight=False)
    if slide is not None and not slide.is_file():
        raise CommandFailed(f"There is no file {slide}: name a slide with make demo SLIDE=path.")

    async def show(stack: Stack) -> None:
        async with Gateway(stack.data, PATIENCE) as gateway:
            await _fill(gateway, stack.data, slide, console)
            link = await gateway.request("POST", "/signin-links")
        console.print("[bold]Sign in once with this address:[/bold]")
        print(link["url"], flush=True)
        console.print("Ctrl-C stops everything; the next start continues with the same data.")
        await asyncio.Event().wait()

    console.print("Starting MongoDB, RabbitMQ, nginx and the services…")
    try:
        await run_until_signalled(Stack(data, port=port, workers=workers), show)
    except StackError as error:
        raise CommandFailed(str(error)) from error
    finally:
        console.print("Everything has stopped.")


async def _fill(gateway: Gateway, data: Path, slide: Path | None, console: Console) -> None:
    """Send the slide and wait until it can be seen; the drawn one only where it is not there yet."""
    if slide is None:
        session = await find_session(gateway, SESSION)
        async for image in gateway.items(f"/sessions/{session}/images"):
            if image["name"] == SAMPLE and image["viewable"]:
                console.print(f"{SAMPLE} is there from an earlier start.")
                return
        slide = data / SAMPLE
        if not slide.exists():
            console.print("Drawing a sample slide…")
            await asyncio.to_thread(draw_sample, slide)
    with UploadProgress() as progress:
        outcome = await upload(gateway, [slide], SESSION, wait=True, progress=progress)
    for failure in outcome.failures:
        console.print(failure, markup=False)
