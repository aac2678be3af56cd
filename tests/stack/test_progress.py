"""What an upload shows while it runs: in a terminal and in a pipe."""

import io
from pathlib import Path

from rich.console import Console

from services.ops.progress import ROWS, UploadProgress

SIZE = 1000


def shown(terminal: bool, count: int, processed: int) -> list[str]:
    """The last lines on stderr after `count` files were sent and the first `processed` of them became ready."""
    out = io.StringIO()
    files = [Path(f"slide {n}.svs") for n in range(count)]
    with UploadProgress(Console(file=out, force_terminal=terminal, width=100, color_system=None)) as progress:
        progress.expect(count, count * SIZE)
        for file in files:
            progress.started(file, SIZE, 0)
            progress.sent(file, SIZE)
            progress.delivered(file, last=False)
        for file in files[:processed]:
            progress.at(file, {"state": "ready"})
    return out.getvalue().rpartition("\x1b[2K")[2].splitlines()


def test_many_files_take_a_screen_with_a_line_for_all() -> None:
    """What waits or has ended makes room for what is going on."""
    rows = [line for line in shown(terminal=True, count=150, processed=50) if "files" in line or "slide" in line]

    assert len(rows) == ROWS + 1
    assert "150 files" in rows[0]
    assert "50 done" in rows[0]
    assert all(row.rstrip().endswith("sent") for row in rows[1:])


def test_one_file_needs_no_line_for_all() -> None:
    """Its own bar says everything."""
    (row,) = [line for line in shown(terminal=True, count=1, processed=1) if "slide" in line or "files" in line]

    assert "slide 0.svs" in row
    assert "ready" in row


def test_a_pipe_gets_one_line_a_file() -> None:
    """Once its end is known."""
    assert shown(terminal=False, count=3, processed=2) == ["slide 0.svs: ready", "slide 1.svs: ready"]
