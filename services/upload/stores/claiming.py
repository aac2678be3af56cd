"""Adds a store so that no folder is in two of them, however many are added at once."""

import asyncio
import random

from shared.http.problems import Problem
from shared.store import In, Store
from shared.store.documents.folders import FolderStore

KEPT: tuple[str, ...] = ("active", "paused")
TRIES = 10
_LONGEST_PAUSE = 0.1


async def claim(store: Store, watched: FolderStore) -> None:
    """Puts the store down, paused, if no other watches a folder above, below, or the same; raises a 409 if one does.

    Each looks again after it has put its own down, so of two at once at least one sees the other. Those that do
    withdraw, and try again after a while of chance: then one of them is first.
    """
    for _ in range(TRIES):
        await _refuse_beside(store, watched)
        if not await store.stores.insert(watched.model_copy(update={"state": "paused"})):
            raise Problem(409, f"There is a store {watched.name} already.", "Choose another name.")
        if await _beside(store, watched) is None:
            return
        await store.stores.take(watched.id)
        await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - nobody gains by guessing it
    await _refuse_beside(store, watched)
    raise Problem(503, "Too many stores were added at once.", "Add it again.")


async def _refuse_beside(store: Store, watched: FolderStore) -> None:
    other = await _beside(store, watched)
    if other is not None:
        raise Problem(
            409,
            f"The store {other.name} watches {other.root} already.",
            "Remove that store first, or name a folder that has nothing in common with it.",
        )


async def _beside(store: Store, watched: FolderStore) -> FolderStore | None:
    """Another store whose folder is the same, or one of the two in the other."""
    own = _within(watched.root)
    for other in await store.stores.find({"state": In(KEPT)}):
        theirs = _within(other.root)
        if other.id != watched.id and (own.startswith(theirs) or theirs.startswith(own)):
            return other
    return None


def _within(root: str) -> str:
    return f"{root.rstrip('/')}/"
