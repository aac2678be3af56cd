"""Plain images, and files that are not what they say."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from deploy.local.sample import write_svs
from deploy.local.tissue import Pixels, Tissue

WIDTH, HEIGHT = 700, 530


def picture(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Tissue, glass included: shape (height, width, 3)."""
    tissue = Tissue(width, height)
    drawn = tissue.draw(0, 0, width, height)
    return tissue.glass(width, height) if drawn is None else drawn


def write(kind: str, folder: Path) -> Path:
    """Writes one file of a kind into the folder and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = {"text": ".svs", "truncated-svs": ".svs"}.get(kind) or _SUFFIX.get(kind, ".tif")
    path = folder / f"{kind}{suffix}"
    match kind:
        case "png" | "jpeg" | "webp":
            Image.fromarray(picture()).save(path)
        case "one-pixel":
            Image.fromarray(picture(1, 1)).save(path)
        case "striped":
            tifffile.imwrite(path, picture(), photometric="rgb", rowsperstrip=16)
        case "tiled-lzw":
            tifffile.imwrite(path, picture(), photometric="rgb", tile=(256, 256), compression="lzw")
        case "bigtiff":
            tifffile.imwrite(path, picture(), photometric="rgb", rowsperstrip=16, bigtiff=True)
        case "16-bit":
            tifffile.imwrite(path, picture().astype(np.uint16) * 257, photometric="rgb", rowsperstrip=16)
        case "text":
            path.write_text("This is a shopping list, not a slide.\n" * 40)
        case "empty":
            path.write_bytes(b"")
        case "truncated-tiff":
            _cut_short(write("striped", folder), path)
        case "truncated-png":
            _cut_short(write("png", folder), path)
        case "truncated-svs":
            whole = folder / "whole.svs"
            write_svs(whole, 1500, 1100)
            _cut_short(whole, path)
        case _:
            raise ValueError(f"no writer for {kind}")
    return path


_SUFFIX = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "one-pixel": ".png", "truncated-png": ".png"}


def _cut_short(whole: Path, path: Path) -> None:
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    whole.unlink()
