"""The slide that the demo shows when it is given none."""

from pathlib import Path

WIDTH, HEIGHT = 20_000, 15_000


def write_sample(path: Path) -> None:
    """Draw an Aperio-like slide with tissue, label and macro image; `path` exists only once it is whole."""
    from tests.slides.aperio import write_svs

    unfinished = path.with_name(f".{path.name}")
    write_svs(unfinished, WIDTH, HEIGHT)
    unfinished.rename(path)
