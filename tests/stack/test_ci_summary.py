"""The end of a CI run: what it counts, and that no test is skipped in silence."""

import subprocess
import sys
from pathlib import Path

import pytest

SUMMARY = Path(__file__).resolve().parents[2] / ".ci" / "summary.py"
PASSED = '<testcase classname="tests.a" name="test_one"/>'
FAILED = '<testcase classname="tests.a" name="test_two"><failure message="no"/></testcase>'
SKIPPED = '<testcase classname="tests.a" name="test_three"><skipped message="no broker"/></testcase>'


def summary(folder: Path, cases: str, allowed: str = "", steps: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Exit code and printed lines for a run with these test cases."""
    results = folder / "results"
    results.mkdir()
    (results / "test.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    (folder / "allowed.txt").write_text(allowed)
    done = subprocess.run(
        [sys.executable, SUMMARY, folder / "allowed.txt", results, *steps], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("cases", "allowed", "steps", "code", "last"),
    [
        (PASSED, "", (), 0, "1 passed, 0 failed, 0 skipped"),
        (PASSED + FAILED, "", ("test",), 1, "1 passed, 1 failed, 0 skipped"),
        (PASSED, "", ("check",), 1, "1 passed, 1 failed, 0 skipped"),
        (PASSED + SKIPPED, "", (), 1, "1 passed, 1 failed, 0 skipped"),
        (PASSED + SKIPPED, "tests.a.test_three: needs a scanner", (), 0, "1 passed, 0 failed, 1 skipped"),
        (PASSED + SKIPPED, "tests.a.test_three:", (), 1, None),
        ("", "", (), 1, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_summary(tmp_path: Path, cases: str, allowed: str, steps: tuple[str, ...], code: int, last: str | None) -> None:
    """Green only when something passed, nothing failed and every skip is allowed with a reason."""
    returned, lines = summary(tmp_path, cases, allowed, steps)

    assert returned == code
    assert (lines[-1] if lines else None) == last
