"""When a dead child starts again, how its ports are chosen, and that nothing of it outlives its end."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.children import Child, Program, Restarts, Supervisor
from deploy.local.ports import assign, free_port, is_free
from deploy.local.processes import Identity, end_sessions, identify, session_members

# Starts a grandchild that ignores SIGTERM, tells both pids, and stays.
STUBBORN_FAMILY = """
import os, signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


# Tells what its descriptors lead to.
LOOK = """
import os, time
links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
print(*(os.readlink(link) for link in links if os.path.exists(link)), flush=True)
time.sleep(600)
"""


def family(folder: Path) -> Child:
    """A child with a grandchild, both running."""
    child = Child(Program("family", [sys.executable, "-c", STUBBORN_FAMILY], grace=5.0), folder / "family.log")
    child.start()
    return child


def words_of(child: Child, least: int) -> list[str]:
    """What a child printed, once it is at least so many words; fails after 20 s."""
    deadline = time.monotonic() + 20.0
    while len(words := child.log.read_text().split()) < least:
        assert time.monotonic() < deadline, f"{child.program.name} printed only {words}"
        time.sleep(0.02)
    return words


async def eventually(look: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until `look` is true; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.02)


def test_restart_delays_follow_the_promise() -> None:
    """At once the first time, then half a second doubling to five."""
    restarts = Restarts()

    assert [restarts.delay(1.0) for _ in range(7)] == [0.0, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_child_that_was_up_for_20_seconds_starts_over() -> None:
    """A death long after the last one is a first death again."""
    restarts = Restarts()
    for _ in range(5):
        restarts.delay(1.0)

    assert [restarts.delay(20.0), restarts.delay(19.9)] == [0.0, 0.5]


def test_ports_are_remembered_until_somebody_takes_them(tmp_path: Path) -> None:
    """A second start has the same addresses, and another one where the old can't be had."""

    file = tmp_path / "ports.json"
    first = assign(file, ["a", "b"], {})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["a"]))
        taken.listen()
        second = assign(file, ["a", "b"], {})

    assert second["b"] == first["b"]
    assert second["a"] != first["a"]
    assert assign(file, ["a", "b"], {}) == second


def test_a_fixed_port_is_given_and_kept(tmp_path: Path) -> None:
    """`--port` decides, also over a part that had the port before, and the next start remembers it."""
    file = tmp_path / "ports.json"
    before = assign(file, ["a"], {})
    fixed = assign(file, ["a", "nginx"], {"nginx": before["a"]})

    assert fixed["nginx"] == before["a"]
    assert fixed["a"] != before["a"]
    assert assign(file, ["nginx"], {})["nginx"] == before["a"]


def test_chosen_ports_are_no_defaults_and_free() -> None:
    """Nothing of ours sits where a server of the same kind usually is."""
    ports = [free_port() for _ in range(20)]

    assert not {5672, 15672, 25672, 27017, 4369, 80, 8080} & set(ports)
    assert all(is_free(port) for port in ports)


async def test_a_killed_child_comes_back_in_a_session_of_its_own(tmp_path: Path) -> None:
    """The supervisor starts it again, and its state names the new process."""
    changes: list[dict[str, Identity]] = []
    supervisor = Supervisor(tmp_path, lambda: changes.append(supervisor.identities()))
    supervisor.start(Program("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"]))
    first = supervisor.identities()["sleeper"]
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: supervisor.identities().get("sleeper", first) != first)
    second = supervisor.identities()["sleeper"]

    assert os.getsid(second.pid) == second.pid != os.getsid(0)
    assert {} in changes

    await supervisor.stop(["sleeper"])
    assert not second.alive()
    assert supervisor.identities() == {}


async def test_a_program_that_can_be_run_only_later_is_tried_again(tmp_path: Path) -> None:
    """A program file that is away for a moment (an upgrade) does not end the supervision."""
    program = tmp_path / "program"
    program.symlink_to("/bin/sleep")
    supervisor = Supervisor(tmp_path, lambda: None)
    supervisor.start(Program("sleeper", [str(program), "600"]))
    first = supervisor.identities()["sleeper"]
    program.unlink()
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: "cannot be run" in (tmp_path / "sleeper.log").read_text())
    program.symlink_to("/bin/sleep")
    await eventually(lambda: "sleeper" in supervisor.identities())

    await supervisor.stop(["sleeper"])


def test_stopping_a_child_ends_its_whole_session(tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM is gone when `stop` returns."""
    child = family(tmp_path)
    assert child.identity is not None
    told = words_of(child, 2)
    grandchild = identify(int(told[1]))
    assert grandchild is not None
    assert grandchild.alive()

    child.stop()

    assert not grandchild.alive()
    assert session_members(child.identity.pid) == []


def test_survivors_of_a_dead_leader_are_ended(tmp_path: Path) -> None:
    """What a killed child left in its session is found and killed by the dead child's identity."""
    child = family(tmp_path)
    leader = child.identity
    assert leader is not None
    told = words_of(child, 2)
    os.kill(leader.pid, signal.SIGKILL)
    os.waitpid(leader.pid, 0)
    grandchild = identify(int(told[1]))
    assert grandchild is not None

    end_sessions([leader], 1.0)

    assert not grandchild.alive()


def test_a_stranger_with_a_recycled_pid_is_left_alone(tmp_path: Path) -> None:
    """A pid alone is no identity: a process that started at another time is not ours."""
    child = family(tmp_path)
    assert child.identity is not None

    end_sessions([Identity(child.identity.pid, "another boot:1")], 0.1)

    assert child.identity.alive()
    child.stop()


def test_children_inherit_no_descriptors(tmp_path: Path) -> None:
    """Standard input is /dev/null and nothing that the caller holds open reaches a child."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child = Child(Program("look", [sys.executable, "-c", LOOK]), tmp_path / "look.log")
    child.start()
    told = words_of(child, 1)
    child.stop()
    os.close(reading)
    os.close(writing)

    assert "/dev/null" in told
    assert not [name for name in told if name.startswith("pipe:")]


@pytest.mark.parametrize("code", [0, 3])
async def test_ended_gives_the_exit_code(tmp_path: Path, code: int) -> None:
    """Waiting for a child reaps it."""
    child = Child(Program("short", [sys.executable, "-c", f"raise SystemExit({code})"]), tmp_path / "short.log")
    child.start()

    assert await asyncio.wait_for(child.ended(), 20) == code
    assert child.pid is None
