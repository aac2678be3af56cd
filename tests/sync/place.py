"""A deployment of its own on the servers of the test session, with services as processes."""

import asyncio
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from deploy.local.ports import free_port
from shared.blobs.gridfs import GridFSBlobs
from shared.mongo import connect
from shared.store.mongo import MongoStore
from shared.tiles.mongo import MongoTiles

BOUND = 60


async def until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits for a condition; fails with its name after a minute."""
    try:
        async with asyncio.timeout(BOUND):
            while not await true():
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"Not within {BOUND} s: {what}.")


class Place:
    """One deployment on the session's servers under a name of its own."""

    def __init__(self, mongodb: str, amqp: str) -> None:
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.amqp = amqp
        self.client = connect(mongodb)
        self.store = MongoStore(self.client, self.name)
        self.tiles = MongoTiles(self.client, self.name)
        self.blobs = GridFSBlobs(self.client, self.name, Path(tempfile.gettempdir()), 10**9)
        self.environment = {
            **os.environ,
            "SLIDEMILL_MONGODB": mongodb,
            "SLIDEMILL_AMQP": amqp,
            "SLIDEMILL_DATABASE": self.name,
            "SLIDEMILL_PREFIX": self.name,
            "SLIDEMILL_SYNC_INTERVAL": "1",
        }

    async def start(self, module: str, port: int) -> asyncio.subprocess.Process:
        """A service as a process."""
        environment = {**self.environment, "SLIDEMILL_HTTP_PORT": str(port)}
        return await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=environment)

    @asynccontextmanager
    async def service(self, module: str) -> AsyncIterator[str]:
        """The address of a service once it is ready. At the end it is told to stop, and must do so in order."""
        port = free_port()
        process = await self.start(module, port)
        address = f"http://127.0.0.1:{port}"
        try:
            async with ClientSession() as http:

                async def ready() -> bool:
                    assert process.returncode is None, f"{module} ended"
                    try:
                        async with http.get(f"{address}/readyz") as response:
                            return response.status == 200
                    except ClientError:
                        return False

                await until(ready, f"{module} is ready")
            yield address
            process.terminate()
            assert 0 == await asyncio.wait_for(process.wait(), BOUND)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
