"""The machine's clock, and how a test sets it wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.clock import OFFSET_FILE, SystemClock


def test_it_is_the_machines_clock_unless_a_test_names_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OFFSET_FILE, raising=False)

    assert abs(SystemClock().now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_it_jumps_in_the_midst_of_running_as_the_file_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "offset"
    monkeypatch.setenv(OFFSET_FILE, str(file))
    clock = SystemClock()

    for seconds in (7200.0, -10800.0, 0.0):
        file.write_text(str(seconds))
        assert abs(clock.now() - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(seconds=5)
