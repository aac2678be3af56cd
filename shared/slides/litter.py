"""What operating systems and file servers leave in folders, and nobody means to be a slide. Pure: names in."""

LITTER = frozenset(
    (
        "__macosx",
        ".ds_store",
        "thumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "@eadir",
        "#recycle",
    )
)
# What macOS puts beside each file on other systems' disks, under the file's own name.
_BESIDE_A_FILE = "._"


def is_litter(path: str) -> bool:
    """Whether a file is such, or lies in a folder that is. Of a relative path with `/` between folders."""
    parts = path.split("/")
    return parts[-1].startswith(_BESIDE_A_FILE) or not LITTER.isdisjoint(part.casefold() for part in parts)
