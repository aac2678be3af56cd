"""The life of a service's process: from its start to its exit status."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import structlog

from shared.errors import SlidemillError
from shared.heap import keep_heap
from shared.settings import Settings
from shared.telemetry import set_up_logging

# One for the event loop, one for the threads of the database's driver.
_HEAPS = 2
log = structlog.get_logger()


class Stopped(SlidemillError):
    """The service was told to stop before it had started."""


def run(settings: Settings, work: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> NoReturn:
    """Runs `work` in an event loop and ends the process; SIGTERM and SIGINT set the event that it gets.

    Exit status 0 after an ordered stop; 1, with one sentence in the log, if it can't go on or ended by itself.
    """
    set_up_logging(settings.service, settings.log)
    keep_heap(_HEAPS)
    # What is loaded by now stays: the collector need not look through it whenever it looks at everything.
    gc.freeze()
    for client in ("aiormq", "aio_pika"):
        # The bus says itself, in one line each, what becomes of a connection.
        logging.getLogger(client).setLevel(logging.CRITICAL)
    sys.exit(asyncio.run(_status(settings, work)))


async def _status(settings: Settings, work: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("starting")
    try:
        await work(settings, stop)
    except Stopped:
        log.info("stopped before it had started")
        return 0
    except (SlidemillError, OSError) as error:
        log.error("can't go on", reason=str(error))
        return 1
    except Exception:
        log.exception("ended by a bug")
        return 1
    if not stop.is_set():
        log.error("ended by itself")
        return 1
    log.info("stopped")
    return 0


async def until(stop: asyncio.Event, *works: Coroutine[Any, Any, None]) -> None:
    """Runs these until `stop` is set, then cancels them; ends early, raising what it raised, as soon as one ends."""
    stopped = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.wait([stopped, *tasks])
