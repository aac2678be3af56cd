"""No decoder outlives its service, however the service ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICE = """
import asyncio, sys
from shared.decoding import Decoders
from tests.unit import decoding_functions as functions

async def main():
    async with Decoders("tests.unit.decoding_functions", children=2, memory=2**29) as decoders:
        await asyncio.gather(
            decoders.call(functions.ignore_signals_for_ever, sys.argv[1]),
            decoders.call(functions.ignore_signals_for_ever, sys.argv[2]),
        )

asyncio.run(main())
"""


def wait_until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_with_their_service(tmp_path: Path, number: signal.Signals) -> None:
    marks = [tmp_path / "first", tmp_path / "second"]
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, *map(str, marks)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as service:
        try:
            wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
            family = psutil.Process(service.pid).children(recursive=True)
            assert len(family) == 3

            service.send_signal(number)
            service.wait(30)

            wait_until(lambda: not any(process.is_running() for process in family))
        finally:
            service.kill()


def test_children_end_with_their_fork_server(tmp_path: Path) -> None:
    marks = [tmp_path / "first", tmp_path / "second"]
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, *map(str, marks)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as service:
        try:
            wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
            (server,) = psutil.Process(service.pid).children()
            family = server.children()
            assert len(family) == 2

            server.kill()

            wait_until(lambda: not any(process.is_running() for process in family))
        finally:
            service.kill()
