"""What systems leave in folders is the same to the page as to everybody else."""

import re
from pathlib import Path

from shared.slides.litter import LITTER, is_litter

PAGE = Path(__file__).parents[2] / "services/upload/web/src/upload/dropped-files.ts"


def test_the_page_leaves_out_the_same() -> None:
    listed = re.search(r"LITTER = \[(.*?)\]", PAGE.read_text(), re.DOTALL)
    assert listed is not None

    # The page leaves out all that begins with a dot.
    assert set(re.findall(r'"([^"]+)"', listed[1])) == {name for name in LITTER if not name.startswith(".")}


def test_litter_is_known_in_any_case_and_below_its_folder() -> None:
    names = ["a/Thumbs.db", "__MACOSX/a.svs", "b/@eaDir/c.jpg/thumb.jpg", "._a.svs", "a.svs", "lost/found.svs"]

    assert [name for name in names if not is_litter(name)] == ["a.svs", "lost/found.svs"]
