"""A gateway as a process of its own on a MongoDB, and a plain client that sends files to it."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from deploy.local.ports import free_port
from shared.clock import SystemClock
from shared.http.identity import ensure_admin
from shared.mongo import connect
from shared.store.mongo import MongoStore
from tests.running import eventually

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "token-of-the-administrator"
# Nobody listens there: files are taken in while the broker is away.
NO_BROKER = "amqp://127.0.0.1:1/"


class GatewayProcess:
    """Runs for as long as the context lasts, on a port that it keeps; may be killed and started again meanwhile."""

    def __init__(
        self, mongodb: str, database: str, folder: Path, amqp: str = NO_BROKER, prefix: str = "gateway"
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"gateway-{port}.log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "SLIDEMILL_SERVICE": "upload",
            "SLIDEMILL_MONGODB": mongodb,
            "SLIDEMILL_DATABASE": database,
            "SLIDEMILL_AMQP": amqp,
            "SLIDEMILL_PREFIX": prefix,
            "SLIDEMILL_HTTP_PORT": str(port),
            "SLIDEMILL_SCRATCH": str(folder / "scratch"),
            "SLIDEMILL_LOG": "json",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, and returns once it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.upload"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        eventually(self._ready, 60, f"the gateway did not become ready: read {self.log}")

    def _ready(self) -> bool:
        try:
            with Client(self.url) as client:
                return client.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL; returns once it has gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def prepare(mongodb: str, database: str) -> None:
    """Makes the database with the account that `TOKEN` stands for."""

    async def make() -> None:
        client = connect(mongodb)
        store = MongoStore(client, database)
        await store.prepare()
        await ensure_admin(store, TOKEN, SystemClock())
        client.close()

    asyncio.run(make())


class Client:
    """One connection, opened when first needed; every method raises OSError or HTTPException where it breaks."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status, and the JSON answered, if any."""
        self._connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def session(self, title: str = "Case 7") -> str:
        """Id of a new session."""
        body = json.dumps({"title": title})
        status, told = self.ask("POST", "/api/v1/sessions", body, {"Content-Type": "application/json"})
        assert status == 201, told
        return str(told["id"])

    def send(
        self,
        session: str,
        data: Any,
        start: int,
        total: int,
        id: str | None = None,
        *,
        name: str = "a.svs",
        key: str = "",
    ) -> tuple[int, Any]:
        """Sends one range as a raw body."""
        headers = {
            "Content-Range": f"bytes {start}-{start + len(data) - 1}/{total}",
            "Content-Length": str(len(data)),
            **({"Idempotency-Key": key} if key else {}),
        }
        query = urlencode({"_id": id} if id else {"name": name})
        return self.ask("POST", f"/api/v1/sessions/{session}/files?{query}", data, headers)
