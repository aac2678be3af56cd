"""DATA/stack.json: the stack's addresses and processes, for `status`, `down` and the next `up`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from deploy.local.layout import DATABASE
from deploy.local.processes import Identity


class Part(BaseModel):
    """One service or server: its address, and its process while it has one."""

    model_config = ConfigDict(frozen=True)

    name: str
    url: str
    process: Identity | None = None


class State(BaseModel):
    """The stack as its supervisor last knew it; a killed supervisor can't say so, hence the identities."""

    phase: Literal["starting", "ready", "stopping", "stopped", "failed"]
    reason: str | None = None
    supervisor: Identity
    url: str
    mongodb: str
    amqp: str
    management: str
    databases: list[str] = [DATABASE]
    services: list[Part] = []
    servers: list[Part] = []

    def write(self, data: Path) -> None:
        """Replace DATA/stack.json in one step; only the owner can read it, since it holds passwords."""
        fresh = data / ".stack.json"
        fresh.touch(mode=0o600)
        fresh.write_text(self.model_dump_json(indent=1))
        fresh.rename(data / "stack.json")


def read_state(data: Path) -> State | None:
    """Read DATA/stack.json; None when no stack was ever started there."""
    try:
        return State.model_validate_json((data / "stack.json").read_text())
    except FileNotFoundError:
        return None
