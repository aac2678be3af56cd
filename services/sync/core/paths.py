"""Paths below a store's root: their order, and what sessions and images are called by them."""

from shared.store.documents.folders import FolderStore


def parts(folder: str) -> tuple[str, ...]:
    """The names on the way to a folder. Sorted by it, folders come in the order in which a scan walks them."""
    return tuple(folder.split("/")) if folder else ()


def beneath(folder: str, above: str) -> bool:
    """Whether a folder is this other one, or lies in it."""
    return parts(folder)[: len(parts(above))] == parts(above)


def session_title(store: FolderStore, path: str) -> str:
    """The title of the session to which the file at this path goes."""
    folder, below, _ = path.partition("/")
    return store.session or (folder if below else store.name or "")


def source_of(store: FolderStore, path: str) -> str:
    """How an image says where it comes from."""
    return f"store:{store.name}/{path}"
