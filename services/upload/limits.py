"""What one account, one file and the database's disk may take: refused before the first byte is stored."""

from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from shared.clock import Clock
from shared.http.problems import Problem
from shared.quota import stored_by
from shared.store import Greater, Store
from shared.store.documents.uploads import Upload

GIB = 2**30
# An upload that got nothing for so long is not under way, though it may still be gone on with.
ACTIVE = timedelta(minutes=5)
LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Bounds:
    """The numbers, in bytes but for `uploads`, which is how many an account may have under way at once.

    `account` counts every image with its whole file, also while that is being sent, and where two images share one;
    None for as much as there is. `reserve` stays free on the database's disk: MongoDB may not start on a full one.
    """

    file: int = 100 * GIB
    account: int | None = None
    uploads: int = 500
    reserve: int = 2 * GIB


class Limits:
    """Asks the database, so that all gateways together keep them."""

    def __init__(self, store: Store, clock: Clock, bounds: Bounds) -> None:
        self.bounds = bounds
        self._store = store
        self._clock = clock
        self._free: int | None = None
        self._looked = float("-inf")

    async def admit(self, upload: Upload) -> bool:
        """Inserts a new upload's document; False if it is there already.

        Raises a 429 for too many uploads at once, a 507 where there is no room. The size is checked by `check_size`.
        """
        await self.check_room(upload.total)
        if not await self._store.uploads.insert(upload):
            return False
        try:
            # Counted with this one in it, so that of several at once no two get the last place.
            await self._check_uploads(upload)
            await self.check_account(upload)
        except Problem:
            await self._store.uploads.take(upload.id)
            raise
        return True

    def check_size(self, name: str, length: int) -> None:
        """Raises the 413 for a file that has at least this many bytes."""
        if length > self.bounds.file:
            raise Problem(
                413,
                f"{name} has more than the {self.bounds.file:,} bytes that a file may have here.",
                "Export it smaller, or ask the operator to raise SLIDEMILL_MAX_FILE_BYTES.",
                extra={"limit": self.bounds.file},
            )

    async def check_room(self, length: int = 0) -> None:
        """Raises the 507 where the database's disk would have less than its reserve after these bytes."""
        if monotonic() - self._looked >= LOOK_AGAIN_SECONDS:
            self._free = await self._store.free_bytes()
            self._looked = monotonic()
        if self._free is not None and self._free - length < self.bounds.reserve:
            raise Problem(
                507,
                "The disk of the database is full but for its reserve.",
                "Try again later; what is stored stays. The operator can free or add room.",
                headers={"Retry-After": "60"},
            )

    async def _check_uploads(self, upload: Upload) -> None:
        since = Greater(self._clock.now() - ACTIVE)
        where = {"owner": upload.owner, "state": "receiving", "updated": since}
        if await self._store.uploads.count(where, limit=self.bounds.uploads + 1) > self.bounds.uploads:
            raise Problem(
                429,
                f"This account has {self.bounds.uploads} uploads under way already.",
                "Let one of them end, or cancel it, then send this file again.",
                headers={"Retry-After": "10"},
                extra={"limit": self.bounds.uploads},
            )

    async def check_account(self, upload: Upload, more: int = 0) -> None:
        """Raises the 507 where the account has more than it may, with this upload and `more` bytes of it."""
        if self.bounds.account is None:
            return
        stored = more + await stored_by(self._store, upload.owner)
        if stored > self.bounds.account:
            before = stored - more - upload.total
            raise Problem(
                507,
                f"{upload.name} finds no room: {before:,} of this account's {self.bounds.account:,} bytes are taken.",
                "Delete images that are not needed, or ask the operator for more room.",
                extra={"limit": self.bounds.account, "stored": before},
            )
