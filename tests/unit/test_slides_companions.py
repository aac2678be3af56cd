"""Which files are one slide together: what `companions.json` does not hold."""

import pytest

from shared.slides.companions import Slide, index_of, refusal


def test_a_missing_part_is_named() -> None:
    lacking = Slide("x.mrxs", ("x.mrxs", "x/Slidedat.ini"), ("x/Data0000.dat", "x/Data0001.dat", "x/Index.dat"))

    said = refusal(lacking)

    assert said is not None
    assert said[0] == "x.mrxs lacks x/Data0000.dat and 2 more."
    assert refusal(Slide("x.mrxs", ("x.mrxs",), ())) is None


@pytest.mark.parametrize(
    ("name", "index"),
    [("c/x.y.mrxs", "c/x.y/Slidedat.ini"), ("a.vmu", "a.vmu"), ("a.svs", None), ("mrxs", None)],
)
def test_the_file_that_tells(name: str, index: str | None) -> None:
    assert index_of(name) == index
