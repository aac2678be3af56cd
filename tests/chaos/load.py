"""What is sent while things break: small files of every kind that the pipeline treats differently."""

import shutil
from pathlib import Path

from tests.slides import plain
from tests.slides.aperio import write_svs

COPIED, FAILING = "copied.svs", "text.svs"


def make_kinds(folder: Path) -> dict[str, Path]:
    """One file of each kind, by name: copied, decoded, of one tile, and one that must fail."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = folder / COPIED
    write_svs(copied, 6000, 4500)
    kinds = {COPIED: copied}
    for kind in ("png", "jpeg", "striped", "tiled-lzw", "one-pixel", "text"):
        path = plain.write(kind, folder)
        kinds[path.name] = path
    return kinds


def expected_end(kind: str) -> str:
    """How a file of this kind ends when nothing is broken."""
    return "failed" if kind == FAILING else "ready"


def fill(folder: Path, kinds: dict[str, Path], round_number: int, copies: int) -> list[str]:
    """Puts `copies` of each kind into a folder under names of their own; returns the names."""
    folder.mkdir(parents=True)
    names = []
    for name, path in kinds.items():
        for copy in range(copies):
            unique = f"{round_number:03}-{copy:02}-{name}"
            shutil.copyfile(path, folder / unique)
            names.append(unique)
    return names


def kind_of(name: str) -> str:
    """The kind that a name made by `fill` carries."""
    return name.split("-", 2)[2]
