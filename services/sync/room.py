"""Whether there is room for a file: in the database, and in its owner's account."""

from dataclasses import dataclass

from shared.errors import SlidemillError
from shared.quota import stored_by
from shared.store import Store
from shared.store.documents.folders import Reason
from shared.store.documents.uploads import Upload


@dataclass(frozen=True)
class Bounds:
    """What imports may take, in bytes, as for uploads.

    `reserve` must stay free in the database; `account` is all that the store's owner may have, None for any amount.
    """

    reserve: int = 0
    account: int | None = None


class NoRoom(SlidemillError):
    """There is no room for it: try again after a while. `reason` says in a word where."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def check_room(store: Store, bounds: Bounds, more: int) -> None:
    """Raises `NoRoom` where the database would have less than its reserve after so many bytes more."""
    free = await store.free_bytes()
    if free is not None and free - more < bounds.reserve:
        raise NoRoom("no-room", "The database has no room for it: free some, or enlarge it.")


async def check_account(store: Store, bounds: Bounds, upload: Upload) -> None:
    """Raises `NoRoom`, and takes the upload away, where its owner has too much with it.

    Counted with this upload in it, so that of several at once no two get the last place.
    """
    most = bounds.account
    if most is None or (stored := await stored_by(store, upload.owner)) <= most:
        return
    await store.uploads.take(upload.id)
    raise NoRoom(
        "account-full",
        f"{stored - upload.total:,} of the {most:,} bytes that the store's owner may have are taken: "
        "delete images that are not needed, or ask the operator for more room.",
    )
