"""`store` and `tick` on a running stack, as an operator types them."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import few_ticks
from tests.slides.aperio import write_svs
from tests.stack.test_stack import slidemill, up

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def data() -> Iterator[Path]:
    """Data folder of a running stack; down at the end."""
    folder = Path(tempfile.mkdtemp(prefix="slidemill-stores-"))
    try:
        with few_ticks():
            up(folder)
        yield folder
    finally:
        slidemill(folder, "down")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_is_added_looked_at_paused_and_removed(data: Path, tmp_path: Path) -> None:
    """The slides of a sub-folder are images of its session once one `tick` has returned."""
    (tmp_path / "Case 31").mkdir()
    write_svs(tmp_path / "Case 31" / "A1.svs", 1000, 800)
    missing = slidemill(data, "store", "add", "x", "--root", str(tmp_path / "nothing"))
    assert (missing.returncode, len(missing.stderr.strip().splitlines())) == (1, 1)

    asked = ("--root", str(tmp_path), "--exclude", "old/*", "--quality", "92", "--subsampling", "444")
    added = json.loads(slidemill(data, "store", "add", "Scanner 1", *asked, "--json").stdout)
    assert (added["root"], added["quality"], added["subsampling"]) == (str(tmp_path), 92, "444")
    told = json.loads(slidemill(data, "tick", "--store", "Scanner 1", "--json").stdout)

    assert (told["state"], told["due"], told["report"]["failed"]) == ("done", told["tick"], 0)
    (report,) = told["reports"]
    assert (report["seen"], report["new"], report["imported"], report["skipped"]) == (1, 1, 1, {})
    images = json.loads(slidemill(data, "images", "--session", "Case 31", "--json").stdout)["items"]
    assert [image["name"] for image in images] == ["A1.svs"]
    shown = json.loads(slidemill(data, "store", "show", "Scanner 1", "--json").stdout)
    assert [report["imported"] for report in shown["reports"]] == [1]
    assert slidemill(data, "store", "pause", "Scanner 1").returncode == 0
    paused = slidemill(data, "tick", "--store", "Scanner 1")
    assert (paused.returncode, paused.stderr) == (1, "The store Scanner 1 is paused. Resume it first.\n")
    assert slidemill(data, "store", "resume", "Scanner 1").returncode == 0
    assert slidemill(data, "store", "remove", "Scanner 1").returncode == 0
    assert json.loads(slidemill(data, "store", "list", "--json").stdout)["items"] == []
    assert slidemill(data, "store", "show", "Scanner 1").returncode == 1
