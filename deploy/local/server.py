"""A server of the stack run by itself, without the rest: for tests, and for whoever needs just the one."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from deploy.local.children import Child, Program


class Server(ABC):
    """One private server with its data in `folder`.

    `program` is what to run. As a context manager it runs the server itself, for as long as the context lasts.
    """

    title: ClassVar[str]
    patience: ClassVar[float]

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._child: Child | None = None

    @property
    @abstractmethod
    def program(self) -> Program:
        """The server, ready to start; makes what is missing in its folder."""

    @abstractmethod
    def advance(self) -> bool:
        """Bring it one step nearer to being of use, where it takes any; True once it is."""

    def start(self) -> None:
        """Run the server and wait until it can be used; raises TimeoutError after its `patience` in seconds."""
        self._child = Child(self.program, self.folder / f"{self.program.name}.log")
        self._child.start()
        deadline = time.monotonic() + self.patience
        while not self.advance():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.title} did not become ready within {self.patience:.0f} s: read its log.")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server that `start` ran."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """SIGKILL the server that `start` ran."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
