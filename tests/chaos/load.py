"""What is sent while things break: small files of every kind that the pipeline treats differently."""

import shutil
import sys
import time
from pathlib import Path

from tests.running import RunningStack
from tests.slides import plain
from tests.slides.aperio import write_svs
from tests.slides.dicom import write_dicom
from tests.slides.jpeg2000 import write_jpeg2000_svs

DECODED = ("png", "jpeg", "webp", "striped", "tiled-lzw", "bigtiff", "one-pixel")
PATIENCE_SECONDS = 300
FAILING = ("text", "empty", "truncated-png", "truncated-tiff")


def make_kinds(folder: Path) -> dict[str, Path]:
    """One file of each kind, by name: copied, decoded in every way, of one pixel, and such as must fail."""
    folder.mkdir(parents=True, exist_ok=True)
    copied, dicom, jpeg2000 = (folder / name for name in ("copied.svs", "copied.dcm", "jpeg2000.svs"))
    write_svs(copied, 4000, 3000)
    write_dicom(dicom, 1500, 1100)
    write_jpeg2000_svs(jpeg2000, 700, 530)
    # The failing ones first: such as are cut short take the whole file away.
    plains = [plain.write(kind, folder) for kind in (*FAILING, *DECODED)]
    return {path.name: path for path in (copied, dicom, jpeg2000, *plains)}


def expected_end(kind: str) -> str:
    """How a file of this kind ends when nothing is broken."""
    return "failed" if kind.partition(".")[0] in FAILING else "ready"


def fill(folder: Path, kinds: dict[str, Path], round_number: int) -> list[str]:
    """Puts one file of each kind into a folder under a name of its own; returns the names."""
    folder.mkdir(parents=True)
    names = []
    for name, path in kinds.items():
        unique = f"{round_number:03}-{name}"
        shutil.copyfile(path, folder / unique)
        names.append(unique)
    return names


def kind_of(name: str) -> str:
    """The kind that a name made by `fill` carries."""
    return name.partition("-")[2]


def send(stack: RunningStack, folder: Path, acknowledged: set[str]) -> int:
    """Uploads a folder and notes which files the gateway acknowledged; what it has no room for is sent again.

    Returns how often there was no room for a file.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    wanting = sorted(folder.iterdir())
    refused = 0
    while True:
        outcome = stack.run("upload", *map(str, wanting), "--session", "chaos", check=False)
        if outcome is None:
            print(f"  the upload of {folder.name} was given up", file=sys.stderr)
            return refused
        acknowledged.update(image["name"] for image in outcome["images"])
        wanting = [file for file in wanting if file.name not in acknowledged]
        if not wanting or time.monotonic() > deadline:
            return refused
        refused += len(wanting)
        time.sleep(2)
