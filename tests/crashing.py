"""Dying between any two steps: ports that kill whoever uses them at a chosen one."""

import inspect
from dataclasses import dataclass
from typing import Any


class Crash(BaseException):
    """A process's death: nothing in the code under test may catch it."""


@dataclass
class Fuse:
    """Counts the steps that touch the outside world and kills at step `at`."""

    at: int | None = None
    steps: int = 0

    def burn(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise Crash


class Fused:
    """A port whose every call burns the fuse before and after it is carried out."""

    def __init__(self, port: object, fuse: Fuse) -> None:
        self._port = port
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not callable(value):
            return Fused(value, self._fuse)
        if not inspect.iscoroutinefunction(value):
            self._fuse.burn()
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.burn()
            result = await value(*args, **kwargs)
            self._fuse.burn()
            return result

        return call
