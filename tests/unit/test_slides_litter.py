"""What systems leave in folders."""

from shared.slides.litter import is_litter


def test_litter_is_known_in_any_case_and_below_its_folder() -> None:
    names = ["a/Thumbs.db", "__MACOSX/a.svs", "b/@eaDir/c.jpg/thumb.jpg", "._a.svs", "a.svs", "lost/found.svs"]

    assert [name for name in names if not is_litter(name)] == ["a.svs", "lost/found.svs"]
