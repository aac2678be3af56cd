"""Progress of an upload on stderr: a bar per file in a terminal, a line per finished file elsewhere."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

_STAGES = {"uploading": "upload", "dicing": "dice", "folding": "fold", "finishing": "finish"}


class UploadProgress:
    """Bytes, then the stages of each file; a context manager that owns the bars."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True, quiet=quiet)
        self._console = console
        self._bars: dict[Path, TaskID] = {}
        self._done: set[Path] = set()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[stage]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, file: Path, total: int) -> None:
        """Add a file of `total` bytes."""
        self._bars[file] = self._progress.add_task(escape(file.name), total=total, stage="upload")

    def sent(self, file: Path, sent: int) -> None:
        """Say that the first `sent` bytes have arrived."""
        self._progress.update(self._bars[file], completed=sent)

    def at(self, file: Path, image: dict[str, Any]) -> None:
        """Show the stage that the file's image is in, with its count of tiles."""
        name = _STAGES.get(image["state"])
        if name is None:
            self.finished(file, image["state"])
            return
        stage = image["stages"][name]
        count = f" {stage['done']}/{stage['total']}" if stage["total"] and name != "upload" else ""
        self._progress.update(self._bars[file], stage=f"{name}{count}")

    def finished(self, file: Path, state: str) -> None:
        """Say how a file ended, once."""
        if file in self._done:
            return
        self._done.add(file)
        if file in self._bars:
            self._progress.update(self._bars[file], stage=state)
        if not self._console.is_terminal:
            self._console.print(f"{escape(file.name)}: {state}", highlight=False, soft_wrap=True)
