"""Settings that every service reads from its environment (`SLIDEMILL_…`)."""

import os
import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.store.documents.uploads import Subsampling


class Settings(BaseSettings):
    """One service process's settings; workers take imaging settings from the plan instead, never from here."""

    model_config = SettingsConfigDict(env_prefix="SLIDEMILL_", frozen=True)

    service: str = Field(default_factory=lambda: f"service@{socket.gethostname()}")
    mongodb: str = "mongodb://127.0.0.1:27017/?replicaSet=slidemill"
    database: str = "slidemill"
    databases: Annotated[tuple[str, ...], NoDecode] = ()
    amqp: str = "amqp://127.0.0.1:5672/"
    prefix: str = "slidemill"
    http_host: str = "127.0.0.1"
    http_port: int = 0
    public_url: str = "http://127.0.0.1"
    scratch: Path = Path("var/scratch")
    scratch_bytes: int = 50 * 2**30
    unpacked_bytes: int = Field(default=20 * 2**30, ge=1)
    dicer_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    pyramid_slots: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    max_file_bytes: int = Field(default=100 * 2**30, ge=1)
    account_bytes: int | None = Field(default=None, ge=0)
    account_uploads: int = Field(default=500, ge=1)
    disk_reserve_bytes: int = Field(default=2 * 2**30, ge=0)
    sync_interval: int = Field(default=300, ge=1)
    sync_stable: float = Field(default=5.0, ge=0)
    sync_imports: int = Field(default=500, ge=1)
    sync_slots: int = Field(default=4, ge=1)
    sync_bytes_per_second: int | None = Field(default=None, ge=2**20)
    superseded_grace: int = Field(default=3600, ge=60)
    quality: int = Field(default=80, ge=1, le=100)
    subsampling: Subsampling = "420"
    log: str = "console"

    @field_validator("databases", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def served(self) -> frozenset[str]:
        """Every database this deployment serves, the main one included; events that name another are rejected."""
        return frozenset((self.database, *self.databases))
