"""Results as a person reads them: tables on stdout."""

import sys
from collections.abc import Sequence
from typing import Any


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """Print rows for a person; in a pipe nothing is cut to a terminal's width."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)


def counted(number: int, thing: str) -> str:
    """`1 letter`, `2,000 letters`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def print_images(images: list[dict[str, Any]]) -> None:
    """Print images for a person."""
    rows = [
        (
            image["id"],
            image["name"],
            image["state"],
            f"{image['width']} x {image['height']}" if image["width"] else "",
            image["failure"]["reason"] if image["failure"] else "",
        )
        for image in images
    ]
    print_table(("image", "name", "state", "size", "reason"), rows)
