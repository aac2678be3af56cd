"""Processes by identity: a pid alone may be another process's tomorrow, so it goes with its start time and the boot."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """One process for good: its pid and when it started (clock ticks of one boot)."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Tell whether this very process still runs (one that ended but was not yet reaped does not)."""
        return identify(self.pid) == self


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the program's name: state first; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def identify(pid: int) -> Identity | None:
    """Identity of the running process with this pid, or None."""
    fields = _stat(pid)
    if not fields or fields[0] in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Identity(pid, f"{boot}:{fields[19]}")


def session_members(session: int) -> list[int]:
    """Pids of the running processes of a process session."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and fields[0] not in "ZX" and fields[3] == str(session):
                members.append(int(entry))
    return members


def end_sessions(leaders: Iterable[Identity], grace: float) -> None:
    """End processes and all of their sessions: SIGTERM to each leader, SIGKILL to what is left after `grace` seconds.

    A leader may be gone already and have left members of its session behind; those are killed. Returns when every one
    of them has gone.
    """
    ours = [leader for leader in leaders if _still_ours(leader)]
    for leader in ours:
        if leader.alive():
            send(leader.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(leader.alive() for leader in ours) and time.monotonic() < deadline:
        time.sleep(0.02)
    while left := [pid for leader in ours for pid in session_members(leader.pid)]:
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(0.02)


def _still_ours(leader: Identity) -> bool:
    """Tell whether the session with the leader's pid can only be the one it made: nothing else has taken its pid."""
    now = identify(leader.pid)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return now == leader or (now is None and leader.started.startswith(boot))


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that has just gone is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
