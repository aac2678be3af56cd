"""Ending a stack from outside, whether its supervisor still lives or not."""

import signal
import time
from pathlib import Path

from deploy.local.processes import end_sessions, send
from deploy.local.state import read_state

SERVICE_GRACE = 20.0  # seconds that a service gets to hand back what it holds
_SERVER_GRACE = 60.0


def end_survivors(data: Path) -> None:
    """End what a killed supervisor left running; returns when all of it has gone."""
    state = read_state(data)
    if state is not None:
        end_sessions([part.process for part in state.services if part.process], SERVICE_GRACE)
        end_sessions([part.process for part in state.servers if part.process], _SERVER_GRACE)


def stop_stack(data: Path) -> bool:
    """Stop the stack of this data folder, whoever started it; True if anything ran. Returns when all has gone."""
    state = read_state(data)
    if state is None:
        return False
    processes = [state.supervisor, *(part.process for part in (*state.services, *state.servers) if part.process)]
    ran = any(process.alive() for process in processes)
    deadline = time.monotonic() + 120.0
    while state.supervisor.alive() and time.monotonic() < deadline:
        # Repeated, since a supervisor that is only just starting may not listen to signals yet.
        send(state.supervisor.pid, signal.SIGTERM)
        time.sleep(0.1)
    if state.supervisor.alive():
        send(state.supervisor.pid, signal.SIGKILL)
    end_survivors(data)
    state = read_state(data) or state
    if state.phase not in ("stopped", "failed"):
        state.model_copy(
            update={
                "phase": "stopped",
                "services": [part.model_copy(update={"process": None}) for part in state.services],
                "servers": [part.model_copy(update={"process": None}) for part in state.servers],
            }
        ).write(data)
    return ran
