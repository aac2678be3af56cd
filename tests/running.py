"""A local stack of real processes, driven by the launcher and over HTTP as people and scripts do."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
TWO_OF_EACH = "dicer=2,pyramid=2"


class CommandError(Exception):
    """A command of the launcher failed; the message is what it said."""


class RunningStack:
    """The stack in a data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        told = self.status()
        self.url: str = told["url"]
        self.token: str = told["token"]
        self.mongodb: str = told["mongodb"]
        self.amqp: str = told["amqp"]

    def run(self, *words: str, check: bool = True) -> Any:
        """One command; returns its JSON, or None if it printed none. Raises `CommandError` unless told not to."""
        return command(self.data, *words, check=check)

    def status(self) -> dict[str, Any]:
        """Addresses and processes."""
        told: dict[str, Any] = command(self.data, "status")
        return told

    def pid(self, name: str) -> int:
        """The process of a service or server, waited for while it is being restarted."""

        def look() -> int | None:
            told = self.status()
            parts = (*told["services"], *told["servers"])
            pid: int | None = next(part["pid"] for part in parts if part["name"] == name)
            return pid

        return eventually(look, 60, f"{name} has no process")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        known: bool = True,
    ) -> tuple[int, bytes]:
        """Status and body of one request below /api/v1; `known` says whether it carries the token."""
        credentials = {"Authorization": f"Bearer {self.token}"} if known else {}
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}", data=body, method=method, headers={**credentials, **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read()

    def get(self, path: str) -> bytes:
        """What a GET answers, which must be 200."""
        status, body = self.request("GET", path)
        assert status == 200, (path, status, body[:300])
        return body

    def image(self, id: str) -> dict[str, Any]:
        """One image."""
        told: dict[str, Any] = json.loads(self.get(f"/images/{id}"))
        return told

    def session(self, title: str) -> str:
        """Id of a new session."""
        body = json.dumps({"title": title}).encode()
        status, told = self.request("POST", "/sessions", body, {"Content-Type": "application/json"})
        assert status == 201, (status, told)
        return str(json.loads(told)["id"])

    def upload(self, *paths: Path, session: str = "end to end") -> dict[str, dict[str, Any]]:
        """Uploads and waits for the end of each; returns the images by name."""
        sent = self.run("upload", *map(str, paths), "--session", session, "--wait", check=False)
        assert sent is not None, f"the upload of {paths} printed nothing"
        return {image["name"]: image for image in sent["images"]}


def command(data: Path, *words: str, check: bool = True) -> Any:
    """One command of the launcher on a data folder; returns its JSON, or None if it printed none."""
    done = subprocess.run([ROOT / "slidemill", *words, "--data", data, "--json"], capture_output=True, text=True)
    if check and done.returncode:
        raise CommandError(f"slidemill {words[0]} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


@contextmanager
def few_ticks() -> Iterator[None]:
    """A stack started inside has a timer that ticks at midnight alone: a test's own look is the latest one it sees."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLIDEMILL_SYNC_INTERVAL", "86400")
        yield


@contextmanager
def running_stack(*options: str) -> Iterator[RunningStack]:
    """Starts a stack in a folder of its own; afterwards stops it and removes the folder."""
    folder = Path(tempfile.mkdtemp(prefix="slidemill-running-"))
    try:
        command(folder, "up", "--detach", *options)
        yield RunningStack(folder)
    finally:
        command(folder, "down")
        shutil.rmtree(folder, ignore_errors=True)


def eventually(look: Callable[[], T | None], seconds: float, otherwise: str) -> T:
    """What `look` gives once it gives something; fails after `seconds` with the sentence."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
    return found
