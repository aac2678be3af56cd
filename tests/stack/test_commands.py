"""What commands make of their arguments."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.ops.__main__ import main, parser
from services.ops.errors import CommandFailed
from services.ops.gathering import gather
from services.ops.stack_commands import workers


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


def test_options_may_stand_before_the_command_or_after_it(tmp_path: Path) -> None:
    """People try both."""
    for words in (
        ["--data", str(tmp_path), "--json", "dead", "list"],
        ["dead", "list", "--json", "--data", str(tmp_path)],
    ):
        given = parser().parse_args(words)
        assert (given.data, given.json) == (tmp_path, True)
    assert parser().parse_args(["status"]).json is False
    assert parser().parse_args(["status"]).data.name == "var"


@pytest.mark.parametrize("words", [["status"], ["up", "--detach"], ["signin"]])
def test_a_stack_in_a_file_is_misuse(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is started, and no traceback is shown."""
    (tmp_path / "notes.txt").touch()

    with pytest.raises(SystemExit) as ended:
        main([*words, "--data", str(tmp_path / "notes.txt")])

    assert ended.value.code == 2
    assert "notes.txt' is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["up", "--detach"], ["down"], ["sessions"]])
def test_a_folder_that_cannot_be_is_told_in_a_sentence(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for one that others may not read."""
    (tmp_path / "notes.txt").touch()

    code = main([*words, "--data", str(tmp_path / "notes.txt" / "var")])

    told = capsys.readouterr().err
    assert code in (0, 1, 3)
    assert told.count("\n") <= 1
    assert "Traceback" not in told


def test_an_upload_says_what_is_wrong_with_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Before it looks for a stack."""
    assert main(["upload", "/dev/null", "--session", "Case 12"]) == 1
    assert "/dev/null is neither a file nor a folder" in capsys.readouterr().err

    with pytest.raises(SystemExit) as ended:
        main(["upload", "slide.svs", "--session", " "])
    assert ended.value.code == 2
