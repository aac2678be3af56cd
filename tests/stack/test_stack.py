"""`./slidemill up`, `status` and `down` on a real stack, started once for this module as a script would."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from pymongo import MongoClient

from deploy.local.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ["upload", "dicer", "dicer-2", "pyramid", "sync", "timer", "viewer"]
SERVERS = ["mongod", "rabbitmq", "nginx"]

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]


def slidemill(data: Path, *arguments: str, seconds: float = 180.0) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [ROOT / "slidemill", *arguments, "--data", data], capture_output=True, text=True, timeout=seconds, check=False
    )


def up(data: Path, *options: str) -> None:
    """Start the stack, detached."""
    done = slidemill(data, "up", "--detach", *options)
    assert done.returncode == 0, done.stderr


def status(data: Path) -> dict[str, Any]:
    """What the stack tells of itself."""
    done = slidemill(data, "status", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def part(data: Path, name: str) -> dict[str, Any]:
    """One service or server."""
    told = status(data)
    return next(part for part in (*told["services"], *told["servers"]) if part["name"] == name)


def processes_of(data: Path) -> list[psutil.Process]:
    """Every process that runs for this data folder, found without the stack's own words."""
    found = []
    for process in psutil.process_iter(["environ", "cmdline", "status"]):
        words = " ".join((*(process.info["cmdline"] or ()), *(process.info["environ"] or {}).values()))
        if str(data) in words and process.pid != os.getpid() and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def eventually(look: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `look` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answer_of(url: str, token: str | None) -> int:
    """Status code of a GET."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """Data folder of a running stack with two dicers; down at the end of the module."""
    folder = Path(tempfile.mkdtemp(prefix="slidemill-stack-"))
    try:
        up(folder, "--workers", "dicer=2")
        yield folder
    finally:
        slidemill(folder, "down")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def idle() -> Iterator[Path]:
    """A data folder without a stack; whatever a test starts there is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="slidemill-idle-"))
    yield folder
    slidemill(folder, "down")
    shutil.rmtree(folder, ignore_errors=True)


def test_up_returns_when_everything_is_ready(data: Path) -> None:
    """Every part has a process and is ready, under the names of the interface."""
    told = status(data)

    assert set(told) == {"url", "mongodb", "amqp", "management", "token", "data", "services", "servers"}
    assert sorted(service["name"] for service in told["services"]) == sorted(SERVICES)
    assert sorted(server["name"] for server in told["servers"]) == sorted(SERVERS)
    assert all(part["ready"] and part["pid"] for part in (*told["services"], *told["servers"]))
    assert told["data"] == str(data)


def test_the_token_opens_what_is_closed_without_it(data: Path) -> None:
    """The first admin's token lies in a file that only its owner reads, and is asked for."""
    told = status(data)
    file = data / "token"

    assert (file.read_text().strip(), stat.S_IMODE(file.stat().st_mode)) == (told["token"], 0o600)
    assert answer_of(f"{told['url']}/api/v1/sessions", None) == 401
    assert answer_of(f"{told['url']}/api/v1/sessions", told["token"]) == 200


def test_no_port_is_a_default_one(data: Path) -> None:
    """Another MongoDB or RabbitMQ on this machine is never in the way."""
    told = status(data)

    assert not {":5672", ":27017", ":15672"} & {
        f":{url.rpartition(':')[2].partition('/')[0]}" for url in (told["mongodb"], told["amqp"], told["management"])
    }


def test_a_second_up_says_that_it_runs(data: Path) -> None:
    """Starting what runs changes nothing; asking for something else is refused with the way out."""
    before = status(data)
    again = slidemill(data, "up", "--detach")
    other = slidemill(data, "up", "--detach", "--workers", "dicer=3")

    assert (again.returncode, again.stdout) == (0, "")
    assert other.returncode == 1
    assert "./slidemill down" in other.stderr
    assert status(data) == before


def test_upload_tells_what_became_of_each_file(data: Path, tmp_path: Path) -> None:
    """Names come back as they were; a file that is no slide fails alone, with reason and remedy on stderr."""
    (tmp_path / "Fall 1").mkdir()
    Image.new("RGB", (700, 300), (200, 120, 150)).save(tmp_path / "Fall 1" / "größe ä.png")
    Image.new("RGB", (1, 1), (200, 120, 150)).save(tmp_path / "one.png")
    (tmp_path / "notes.svs").write_text("no slide")
    done = slidemill(data, "upload", str(tmp_path), "--session", "Fälle", "--wait", "--json")
    again = slidemill(data, "upload", str(tmp_path / "one.png"), "--session", "Fälle", "--json")
    told = json.loads(done.stdout)
    failures = [line for line in done.stderr.splitlines() if line.startswith("notes.svs: ") and ". " in line]

    assert done.returncode == 1
    assert {image["name"]: image["state"] for image in told["images"]} == {
        "größe ä.png": "ready",
        "one.png": "ready",
        "notes.svs": "failed",
    }
    assert len(failures) == 1
    assert (again.returncode, json.loads(again.stdout)["session"]) == (0, told["session"])


def test_upload_outlives_a_dead_gateway(data: Path, tmp_path: Path) -> None:
    """A gateway that dies while a file is sent costs time, not the upload."""
    slide = tmp_path / "noise.bmp.png"
    Image.effect_noise((6000, 6000), 200).convert("RGB").save(slide, compress_level=0)
    process = subprocess.Popen(
        [ROOT / "slidemill", "upload", slide, "--session", "Noise", "--wait", "--json", "--data", data],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with MongoClient[dict[str, Any]](status(data)["mongodb"]) as client:
        eventually(lambda: client["slidemill"]["uploads"].count_documents({"name": slide.name}) > 0)
        os.kill(part(data, "upload")["pid"], signal.SIGKILL)
        out, messages = process.communicate(timeout=180)

        assert process.returncode == 0, messages
        assert [image["length"] for image in json.loads(out)["images"]] == [slide.stat().st_size]
        assert client["slidemill"]["uploads"].count_documents({"name": slide.name}) == 1


@pytest.mark.parametrize("name", ["dicer-2", "timer", "nginx", "rabbitmq", "mongod"])
def test_a_killed_part_comes_back(data: Path, name: str) -> None:
    """kill -9 of any child: a new process is ready at the same address."""
    before = part(data, name)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: (now := part(data, name))["ready"] and now["pid"] != before["pid"])

    assert part(data, name)["url"] == before["url"]
    eventually(lambda: all(service["ready"] for service in status(data)["services"]))


def test_children_have_sessions_of_their_own_and_nothing_of_the_caller(data: Path) -> None:
    """Closing the terminal or the caller's pipes concerns no child."""
    told = status(data)
    mine = {os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)}
    for child in (*told["services"], *told["servers"]):
        links = {number: os.readlink(f"/proc/{child['pid']}/fd/{number}") for number in (0, 1, 2)}
        assert os.getsid(child["pid"]) == child["pid"]
        assert links[0] == "/dev/null"
        assert links[1] == links[2] == str(data / "log" / f"{child['name']}.log")
        assert not mine & set(links.values())


def test_a_killed_supervisor_leaves_nothing_that_up_stumbles_over(data: Path) -> None:
    """Its children live on; the next start ends them, finds the data, and has the same address and token."""
    before = status(data)
    with MongoClient[dict[str, Any]](before["mongodb"]) as client:
        client["slidemill"]["probe"].insert_one({"_id": "kept"})
    supervisor = psutil.Process(before["services"][0]["pid"]).parent()
    assert supervisor is not None
    supervisor.kill()
    supervisor.wait(20)
    up(data, "--workers", "dicer=2")
    after = status(data)

    assert not any(psutil.pid_exists(part["pid"]) for part in (*before["services"], *before["servers"]))
    assert (after["url"], after["token"], after["mongodb"]) == (before["url"], before["token"], before["mongodb"])
    with MongoClient[dict[str, Any]](after["mongodb"]) as client:
        assert client["slidemill"]["probe"].find_one() == {"_id": "kept"}


def test_down_leaves_no_process_and_up_continues(data: Path) -> None:
    """After `down` nothing of the stack runs; `status` still answers; `up` goes on with the same token and data."""
    token = status(data)["token"]
    first = slidemill(data, "down", "--json")
    left = processes_of(data)
    second = slidemill(data, "down", "--json")
    idle = status(data)

    assert (first.returncode, json.loads(first.stdout)) == (0, {"stopped": True})
    assert left == []
    assert (second.returncode, json.loads(second.stdout)) == (0, {"stopped": False})
    assert not any(part["ready"] or part["pid"] for part in (*idle["services"], *idle["servers"]))

    up(data)
    now = status(data)
    assert now["token"] == token
    assert answer_of(f"{now['url']}/api/v1/sessions", token) == 200


def test_status_of_nothing_answers(idle: Path) -> None:
    """No stack was ever started: every key is there, and the exit code is 0."""
    told = status(idle)

    assert (told["url"], told["token"], told["services"], told["servers"]) == (None, None, [], [])


def test_an_unreachable_stack_is_exit_code_3(idle: Path) -> None:
    """What needs a stack says so in one sentence."""
    for arguments in (["sessions"], ["images"], ["signin"], ["tick"], ["store", "list"], ["replay", "0" * 32]):
        done = slidemill(idle, *arguments, "--json")
        assert (done.returncode, done.stdout) == (3, "")
        assert len(done.stderr.strip().splitlines()) == 1
        assert "./slidemill up" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["unknown"], ["up", "--workers", "dicer=0"], ["up", "--workers", "cook=1"], ["up", "--port", "x"], ["upload"]],
)
def test_wrong_usage_is_exit_code_2(idle: Path, arguments: list[str]) -> None:
    """The usage is told on stderr."""
    done = slidemill(idle, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "usage" in done.stderr


@pytest.mark.parametrize(
    "command", ["up", "down", "status", "upload", "sessions", "images", "tick", "store", "replay", "signin"]
)
def test_help_has_an_example(idle: Path, command: str) -> None:
    """Every command answers --help with a line that can be copied."""
    done = slidemill(idle, command, "--help")

    assert done.returncode == 0
    assert f"./slidemill {command}" in done.stdout


def test_a_taken_port_fails_with_the_remedy_and_leaves_nothing(idle: Path) -> None:
    """A start that can't succeed says why and has stopped everything again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        done = slidemill(idle, "up", "--detach", "--port", str(port))

    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"Port {port} is in use: give another with --port."
    assert processes_of(idle) == []


def test_an_ordinary_user_runs_it_in_the_foreground_until_ctrl_c(idle: Path) -> None:
    """No part needs root; `up` without --detach stays, takes the port it is given, and Ctrl-C stops every child."""
    command: list[str | Path] = []
    if os.geteuid() == 0:
        # The Python that made .venv may lie in a folder that only root may enter, hence the right to read.
        right = "dac_read_search"
        ids = ["--reuid=65534", "--regid=65534", "--clear-groups"]
        command = ["setpriv", *ids, f"--inh-caps=-all,+{right}", f"--ambient-caps=+{right}"]
        os.chown(idle, 65534, 65534)
    port = free_port()
    process = subprocess.Popen(
        [*command, ROOT / "slidemill", "up", "--json", "--port", str(port), "--data", idle],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": "/nonexistent"},
    )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline() or "{}")
    users = {psutil.Process(part["pid"]).uids().real for part in (*told.get("services", []), *told.get("servers", []))}
    process.send_signal(signal.SIGINT)
    rest, messages = process.communicate(timeout=60)

    assert told, messages
    assert told["url"] == f"http://127.0.0.1:{port}"
    assert all(part["ready"] for part in (*told["services"], *told["servers"]))
    assert users == {os.geteuid() or 65534}
    assert (process.returncode, rest) == (0, "")
    assert processes_of(idle) == []
