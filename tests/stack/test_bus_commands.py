"""What the commands about messages make of their arguments, before they reach any stack."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ops import dead
from services.ops.__main__ import main, parser
from services.ops.errors import CommandFailed, Misused
from services.ops.replay import event_type, point_in_time
from shared.bus.letters import Letter

NOW = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)
LETTER: dict[str, object] = {
    "id": "a" * 16,
    "stage": "dicer",
    "headers": {},
    "event": None,
    "text": "poison",
    "base64": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", datetime(2026, 11, 25, 7, 29, 30, tzinfo=UTC)),
        ("90min", datetime(2026, 11, 25, 6, 0, tzinfo=UTC)),
        ("2h", datetime(2026, 11, 25, 5, 30, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 18, 7, 30, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24T10:00+02:00", datetime(2026, 11, 24, 8, 0, tzinfo=UTC)),
        ("2026-11-24T10:00:00.123Z", datetime(2026, 11, 24, 10, 0, 0, 123000, tzinfo=UTC)),
    ],
)
def test_times_are_moments_or_how_long_ago(text: str, expected: datetime) -> None:
    assert point_in_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "h", "-2h", "2 h", "2w", "25.11.2026"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        point_in_time(text, NOW)


def test_facts_are_named_shortly_or_as_on_the_wire() -> None:
    assert event_type("image-failed") == event_type("slidemill.image-failed.v1") == "slidemill.image-failed.v1"
    with pytest.raises(Misused, match="file-complete, base-diced"):
        event_type("dice-block")


@pytest.mark.parametrize(
    "words",
    [
        ["replay"],
        ["replay", "abc", "--since", "2h"],
        ["replay", "--rate", "0", "abc"],
        ["replay", "--since", "yesterday"],
        ["dead", "retry"],
        ["dead", "retry", "--all", "abc"],
        ["dead", "discard", "--all"],
        ["dead", "list", "--stage", "kitchen"],
        ["reprocess", "abc", "--from", "upload"],
        ["reprocess", "abc", "--quality", "0"],
        ["reprocess", "abc", "--from", "finish", "--quality", "90"],
        ["topology"],
    ],
)
def test_misuse_is_told_with_exit_code_2(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And not with 3, though no stack runs there."""
    try:
        code: object = main([*words, "--data", str(tmp_path)])
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    assert capsys.readouterr().err


def test_every_command_answers_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["events"], ["replay"], ["reprocess"], ["dead"], ["dead", "import"], ["topology", "check"]):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([*words, "--help"])
        assert ended.value.code == 0
        assert f"example: ./slidemill {' '.join(words)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("no JSON", "JSONDecodeError"),
        (json.dumps({"id": "a"}), "KeyError"),
        (json.dumps({**LETTER, "stage": "kitchen"}), "there is no stage kitchen"),
        (json.dumps({**LETTER, "text": None, "base64": "%"}), "Error"),
        (json.dumps({**LETTER, "headers": []}), "AttributeError"),
    ],
)
def test_a_spoiled_file_of_letters_is_told_with_its_line(tmp_path: Path, line: str, what: str) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_text(f"{json.dumps(LETTER)}\n\n{line}\n")

    with pytest.raises(CommandFailed, match=rf"Line 3 of .*letters\.jsonl is no exported letter .*{what}"):
        dead.read(file)


def test_what_was_exported_is_read_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "letters.jsonl"
    bodies = [b'{"a":1}', "Präparat".encode(), b"\xff\xfe"]
    letters = [Letter.read("dicer", {"ce-type": "x"}, body) for body in bodies]
    file.write_text("".join(json.dumps(letter.whole()) + "\n" for letter in letters))

    assert [(id, letter.body) for id, letter in dead.read(file)] == [
        (letter.id, body) for letter, body in zip(letters, bodies, strict=True)
    ]
