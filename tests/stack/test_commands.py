"""What commands make of their arguments."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.ops.__main__ import workers
from services.ops.errors import CommandFailed
from services.ops.gathering import gather


def test_workers_are_counted_by_service() -> None:
    """The form of the interface."""
    assert workers("dicer=2,pyramid=3") == {"dicer": 2, "pyramid": 3}


@pytest.mark.parametrize("text", ["dicer", "dicer=0", "dicer=-1", "dicer=two", "cook=1", "", "dicer=2,"])
def test_wrong_workers_are_refused(text: str) -> None:
    """A typo starts nothing."""
    with pytest.raises(argparse.ArgumentTypeError, match="SERVICE=COUNT"):
        workers(text)


def test_folders_stand_for_the_files_below_them(tmp_path: Path) -> None:
    """Sub-folders too, in order, without hidden ones; a file that is named is taken as it is."""
    for name in ("b.svs", "a ä.svs", "case/c.svs", ".hidden/d.svs", "case/.e.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    named = tmp_path / "case" / ".e.svs"

    found = [slide.path.relative_to(tmp_path).as_posix() for slide in gather([tmp_path, named]).slides]

    assert found == ["a ä.svs", "b.svs", "case/.e.svs", "case/c.svs"]


def test_a_name_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Nothing is sent when one of the names is wrong."""
    with pytest.raises(CommandFailed, match=r"no file or folder .*nothing\.svs"):
        gather([tmp_path / "nothing.svs"])


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    """An upload of nothing is no success."""
    with pytest.raises(CommandFailed, match="no file in what you named"):
        gather([tmp_path])


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    """As with `./slidemill status --json | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "services.ops", "status", "--json", "--data", str(tmp_path)]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")
