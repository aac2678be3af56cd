"""Progress of an upload on stderr: bars of bytes and stages in a terminal, a line per finished file elsewhere."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, Task, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Column
from rich.text import Text

# Files that have a bar at the same time, however many are sent.
ROWS = 10
_STAGES = {"uploading": "upload", "dicing": "dice", "folding": "fold", "finishing": "finish"}


class _Rate(TransferSpeedColumn):
    """The speed of what is still being sent; nothing for the rest."""

    def render(self, task: Task) -> Text:
        return Text() if task.finished or task.speed is None else super().render(task)


class UploadProgress:
    """Bytes, then the stages of each file, and a line for all of them; a context manager that owns the bars."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._count = 0
        self._done: set[Path] = set()
        self._all: TaskID | None = None
        # Of the files with a bar, those that are there whole and those that have ended; and the first for want of rows.
        self._bars: dict[Path, TaskID] = {}
        self._delivered: dict[Path, int] = {}
        self._ended: dict[Path, None] = {}
        self._later: dict[Path, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=20),
            DownloadColumn(table_column=Column(no_wrap=True)),
            _Rate(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[stage]}", table_column=Column(no_wrap=True, min_width=12)),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, count: int, total: int) -> None:
        """Say how many files and bytes there will be; more than one get a line for all."""
        self._count = count
        if count > 1:
            self._all = self._progress.add_task(f"{count} files", total=total, stage="")

    def started(self, file: Path, total: int, stored: int) -> None:
        """Add a file of `total` bytes, of which `stored` were there already: they count for no rate."""
        if self._all is not None and stored:
            self._progress.update(self._all, total=(self._task(self._all).total or 0) - stored)
        if len(self._bars) >= ROWS and not self._end_one() and self._delivered:
            latest, size = self._delivered.popitem()
            self._later[latest] = size
            self._progress.remove_task(self._bars.pop(latest))
        self._show(file, total, stored)

    def reading(self, file: Path) -> None:
        """Say that a file is read before a byte of it is sent."""
        self._progress.update(self._bars[file], stage="read")

    def sent(self, file: Path, sent: int) -> None:
        """Say that the first `sent` bytes have arrived."""
        before = self._task(self._bars[file]).completed
        self._progress.update(self._bars[file], completed=sent, stage="upload")
        if self._all is not None:
            self._progress.advance(self._all, sent - before)

    def delivered(self, file: Path, *, last: bool) -> None:
        """Say that all bytes have arrived; `last` where nothing more will be told of the file."""
        self._delivered[file] = int(self._task(self._bars[file]).total or 0)
        if last:
            self.finished(file, "sent")
        else:
            self._progress.update(self._bars[file], stage="sent")

    def at(self, file: Path, image: dict[str, Any]) -> None:
        """Show the stage that the file's image is in, with its count of tiles."""
        name = _STAGES.get(image["state"])
        if name is None:
            self.finished(file, image["state"])
        elif name != "upload" and file in self._bars and file not in self._done:
            stage = image["stages"][name]
            count = f" {stage['done']}/{stage['total']}" if stage["total"] else ""
            self._progress.update(self._bars[file], stage=f"{name}{count}")

    def finished(self, file: Path, state: str) -> None:
        """Say how a file ended, once."""
        if file in self._done:
            return
        self._done.add(file)
        self._later.pop(file, None)
        self._delivered.pop(file, None)
        if file in self._bars:
            self._ended[file] = None
            self._progress.update(self._bars[file], stage=state)
        if self._all is not None:
            self._progress.update(self._all, stage=f"{len(self._done)} done")
        while self._later and (len(self._bars) < ROWS or self._end_one()):
            next_file = next(iter(self._later))
            self._delivered[next_file] = size = self._later.pop(next_file)
            self._show(next_file, size, size)
        if not self._console.is_terminal:
            self._console.print(f"{escape(file.name)}: {state}", highlight=False, soft_wrap=True)

    def _show(self, file: Path, total: int, stored: int) -> None:
        stage = "sent" if file in self._delivered else "upload"
        self._bars[file] = self._progress.add_task(escape(file.name), total=total, completed=stored, stage=stage)

    def _end_one(self) -> bool:
        """Take away the bar of the file that ended first; false if none has."""
        if not self._ended:
            return False
        file = next(iter(self._ended))
        del self._ended[file]
        self._progress.remove_task(self._bars.pop(file))
        return True

    def _task(self, id: TaskID) -> Task:
        return next(task for task in self._progress.tasks if task.id == id)
